"""Training of sequence models: exact losses over the part, both strands, and a few steps that do learn."""

import math

import pytest
import torch
from sequence_models import bases, causal, layers, make, masked

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.module import SequenceModule, other_strand_at_random
from xlstm_apps.training import BatchLoader, FitConfig, fit


class Windows(torch.utils.data.Dataset):
    """Windows of a text with a rule: a repeat, in an order of its own in each window."""

    def __init__(self, count: int, form: str = "plain"):
        generator = torch.Generator().manual_seed(count)
        start = torch.randint(4, (count, 1), generator=generator)
        self.ids = 7 + (start + torch.arange(12)) % 4
        self.ids[:, 5] = 11
        self.lengths = torch.randint(6, 13, (count,), generator=generator)
        self.form = form

    def __len__(self):
        return len(self.ids)

    def __getitems__(self, indices):
        ids, lengths = self.ids[indices], self.lengths[indices]
        if self.form == "plain":
            return {"ids": ids}
        real = torch.arange(12) < lengths[:, None]
        weights = (real & (ids < 11)).float()
        if self.form == "padded":
            return {"ids": torch.where(real, ids, 4), "weights": weights, "lengths": lengths}
        cu_seqlens = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return {"ids": ids[real][None], "weights": weights[real][None], "cu_seqlens": cu_seqlens}


def losses(module, form, batch_size):
    loader = BatchLoader(Windows(20, form), batch_size)
    module.on_validation_epoch_start()
    for number, batch in enumerate(loader):
        module.validation_step(batch, number)
    return module._total, module._count


@pytest.mark.parametrize("form", ["plain", "padded", "packed"])
def test_validation_loss_does_not_depend_on_the_batches(form):
    module = SequenceModule(causal()).eval()
    whole = losses(module, form, 20)
    for batch_size in (1, 3, 16):
        assert losses(module, form, batch_size) == pytest.approx(whole, rel=1e-5)
    if form == "packed":
        assert losses(module, "padded", 7) == pytest.approx(whole, rel=1e-5)
    scores = module.model.score(Windows(20).ids) if form == "plain" else None
    if scores is not None:
        assert scores.nansum().item() == pytest.approx(whole[0], rel=1e-5)


def test_masks_of_validation_are_the_same_in_every_epoch():
    module = SequenceModule(masked(symmetry="shared")).eval()
    assert losses(module, "padded", 6) == losses(module, "padded", 6)


@pytest.mark.parametrize(
    ("config", "direction", "form"),
    [
        ({"objective": "causal"}, "causal", "plain"),
        ({"objective": "causal", "symmetry": "posthoc"}, "causal", "packed"),
        ({"objective": "masked", "symmetry": "shared", "mask_rate": 0.4}, "causal", "padded"),
        ({"objective": "masked", "symmetry": "augment", "mask_rate": 0.4}, "bidirectional", "plain"),
    ],
)
def test_a_few_steps_learn(config, direction, form):
    torch.manual_seed(0)
    model = SequenceModel(SequenceConfig(**config), layers(direction=direction))
    train, valid = BatchLoader(Windows(64, form), 16, shuffle=True), BatchLoader(Windows(20, form), 8)
    options = FitConfig(max_epochs=8, learning_rate=0.02, accelerator="cpu", patience=None)
    result = fit(SequenceModule(model), train, valid, options)
    first, last = result.history[0], result.history[-1]
    assert last["val_loss"] < 0.8 * first["val_loss"]
    assert last["val_perplexity"] == pytest.approx(math.exp(last["val_loss"]))
    assert last["val_bits"] == pytest.approx(last["val_loss"] / math.log(2))


def test_half_of_the_sequences_are_read_on_the_other_strand():
    model = causal(symmetry="augment")
    ids, weights = bases(400, 9), torch.rand(400, 9)
    seen, moved = other_strand_at_random(model, ids, weights, None)
    twins = model.complement[ids.flip(1)]
    turned = (seen == twins).all(1) & ~(ids == twins).all(1)
    assert 150 < turned.sum() < 250
    assert torch.equal(seen, torch.where(turned[:, None], twins, ids))
    assert torch.equal(moved, torch.where(turned[:, None], weights.flip(1), weights))


def test_packed_documents_turn_one_by_one():
    model, borders = causal(symmetry="augment"), torch.tensor([0, 2, 7, 13])
    ids, weights, seen = bases(1, 13), torch.rand(1, 13), set()
    for _ in range(40):
        now, _ = other_strand_at_random(model, ids, weights, borders)
        parts = []
        for a, b in [(0, 2), (2, 7), (7, 13)]:
            part, twin = ids[:, a:b], model.complement[ids[:, a:b].flip(1)]
            assert torch.equal(now[:, a:b], part) or torch.equal(now[:, a:b], twin)
            parts.append(torch.equal(now[:, a:b], part))
        seen.add(tuple(parts))
    assert len(seen) > 3


def test_only_training_reads_strands_at_random():
    module = SequenceModule(causal(symmetry="augment"))
    batch = {"ids": torch.randint(7, 11, (4, 9))}
    module.eval()
    assert len({module.training_step(batch, 0).item() for _ in range(5)}) == 1
    module.train()
    assert len({module.training_step(batch, 0).item() for _ in range(9)}) > 1


def test_a_batch_without_targets_gives_no_loss_and_finite_gradients():
    module = SequenceModule(make(SequenceConfig(), layers()).float()).train()
    loss = module.training_step({"ids": torch.full((2, 6), 11)}, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
