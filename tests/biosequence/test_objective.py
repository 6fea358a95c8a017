"""Questions put to a model: what is asked, what is not, and that nothing of the answer is in the input."""

import pytest
import torch
from sequence_models import bases, causal, masked

from xlstm_apps.biosequence.alphabets import DNA, PROTEIN
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.objective import ask, default_weights, hide_symbols, loss_sums

BORDERS = torch.tensor([0, 3, 4, 9])


def test_only_definite_symbols_count():
    ids = torch.arange(12)[None]
    assert default_weights(ids, DNA).tolist() == [[0] * 7 + [1] * 4 + [0]]


def test_causal_with_a_begin_token_asks_for_every_symbol():
    ids, ones = bases(2, 5), torch.ones(2, 5)
    question = ask(SequenceConfig(), DNA, ids, ones)
    assert question.inputs[:, 0].tolist() == [DNA.bos] * 2 and torch.equal(question.inputs[:, 1:], ids[:, :-1])
    assert torch.equal(question.targets, ids) and torch.equal(question.weights, ones)


@pytest.mark.parametrize("begin_token", [True, False])
def test_packed_documents_are_asked_one_by_one(begin_token):
    config, ids, weights = SequenceConfig(begin_token=begin_token), bases(1, 9), torch.rand(1, 9)
    whole = ask(config, DNA, ids, weights, BORDERS)
    parts = [ask(config, DNA, ids[:, a:b], weights[:, a:b]) for a, b in [(0, 3), (3, 4), (4, 9)]]
    real = whole.weights > 0
    assert torch.equal(whole.inputs, torch.cat([p.inputs for p in parts], 1))
    assert torch.equal(whole.weights, torch.cat([p.weights for p in parts], 1))
    assert torch.equal(whole.targets[real], torch.cat([p.targets for p in parts], 1)[real])
    assert int((~real).sum()) == (0 if begin_token else 3)


def test_causal_without_a_begin_token_asks_for_the_next_symbol():
    ids, weights = torch.tensor([[7, 8, 9, 11, 10]]), torch.tensor([[1.0, 1, 1, 0, 1]])
    question = ask(SequenceConfig(begin_token=False), DNA, ids, weights)
    assert torch.equal(question.inputs, ids)
    assert question.targets[:, :4].tolist() == [[8, 9, 11, 10]] and question.weights.tolist() == [[1, 1, 0, 1, 0]]


def test_shares_of_masked_symbols():
    config, ids = SequenceConfig(objective="masked"), torch.randint(7, 11, (200, 500))
    question = hide_symbols(config, DNA, ids, torch.ones(200, 500), torch.Generator().manual_seed(0))
    chosen = question.weights > 0
    asked, given = question.inputs[chosen], question.targets[chosen]
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.005)
    assert (asked == DNA.mask).float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert (asked == given).float().mean().item() == pytest.approx(0.1 + 0.1 / 4, abs=0.01)
    assert set(asked.tolist()) == {DNA.mask, 7, 8, 9, 10}  # no special and no N is drawn
    assert torch.equal(question.inputs[~chosen], ids[~chosen]) and torch.equal(question.targets, ids)


def test_masking_is_that_of_its_generator_and_spares_what_does_not_count():
    config, ids = SequenceConfig(objective="masked", mask_rate=1.0), bases(4, 30)
    weights = default_weights(ids, DNA)
    one, two, other = (hide_symbols(config, DNA, ids, weights, torch.Generator().manual_seed(n)) for n in (1, 1, 2))
    assert torch.equal(one.inputs, two.inputs) and not torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.weights, weights) and torch.equal(one.inputs[weights == 0], ids[weights == 0])
    specials = torch.arange(7)[None]
    question = hide_symbols(config, DNA, specials, torch.ones(1, 7))
    assert torch.equal(question.inputs, specials) and not question.weights.any()
    protein = hide_symbols(SequenceConfig(alphabet="protein", objective="masked", mask_rate=1.0), PROTEIN,
                           torch.full((9, 99), 5), torch.ones(9, 99))  # fmt: skip
    assert set(protein.inputs.unique().tolist()) == {*PROTEIN.definite, PROTEIN.mask}


def test_no_input_holds_its_own_target():
    for model in (
        causal(),
        causal(begin_token=False),
        masked(symmetry="shared", mask_token_share=1, mask_random_share=0),
    ):
        ids = torch.randint(7, 11, (1, 12))
        weights = torch.ones(1, 12)
        for place in range(12):
            changed = ids.clone()
            changed[0, place] = 7 + (ids[0, place] - 6) % 4
            old, new = (
                ask(model.sequence, DNA, x, weights, generator=torch.Generator().manual_seed(place))
                for x in (ids, changed)
            )
            asked = (old.targets != new.targets) & (old.weights > 0)
            difference = (model(old.inputs) - model(new.inputs))[asked]
            assert (difference.abs() < 1e-12).all()


def test_sums_over_batches_make_the_exact_mean():
    model, ids = causal(), bases(3, 8)
    weights = torch.rand(3, 8) * (ids < 11)
    question = ask(model.sequence, DNA, ids, weights)
    total, count = loss_sums(model(question.inputs), question)
    parts = [
        loss_sums(model(part.inputs), part)
        for part in (ask(model.sequence, DNA, ids[rows], weights[rows]) for rows in ([0], [1, 2]))
    ]
    torch.testing.assert_close(sum(p[0] for p in parts), total)
    torch.testing.assert_close(sum(p[1] for p in parts), count)
    probability = model(question.inputs).softmax(-1).gather(-1, ids[..., None])[..., 0]
    torch.testing.assert_close((-probability.log() * weights).sum(), total)
