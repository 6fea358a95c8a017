import pytest
import torch

from xlstm_apps.biosequence.baselines.network_config import NetworkConfig, matched, parameter_count
from xlstm_apps.biosequence.baselines.networks import NetworkBackbone, NetworkModel
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.module import SequenceModule
from xlstm_apps.biosequence.sizes import named_size

FAMILIES = ("lstm", "transformer")


def layers(family: str, **options) -> NetworkConfig:
    return NetworkConfig(
        **{"embedding_dim": 16, "num_blocks": 2, "num_heads": 2, "hidden_dim": 24, **options}, family=family
    )


def make(family: str, objective: str = "causal", **options) -> NetworkModel:
    direction = "causal" if objective == "causal" else "bidirectional"
    model = NetworkModel(SequenceConfig(objective=objective, **options), layers(family, direction=direction))
    return model.double().eval()


def bases(*shape: int) -> torch.Tensor:
    return torch.randint(7, 11, shape)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_as_counted(family, direction, tied):
    objective = "causal" if direction == "causal" else "masked"
    sequence = SequenceConfig(objective=objective, tie_weights=tied)
    config = layers(family, direction=direction)
    model = NetworkModel(sequence, config)
    assert sum(p.numel() for p in model.parameters()) == parameter_count(config, 12, tied)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
@pytest.mark.parametrize("size", ["dna-500k", "dna-500k-mlstm", "dna-2m", "dna-2m-mlstm"])
def test_a_matched_network_is_within_two_percent(family, direction, size):
    objective = "causal" if direction == "causal" else "masked"
    model = SequenceModel(SequenceConfig(objective=objective), named_size(size, direction=direction))
    target = sum(p.numel() for p in model.parameters())
    config = matched(layers(family, direction=direction, num_blocks=5), target, 12)
    assert config.num_blocks == 5
    assert parameter_count(config, 12) == pytest.approx(target, rel=0.02)


def test_no_network_of_a_size_that_its_blocks_exceed():
    with pytest.raises(ValueError, match="change num_blocks"):
        matched(layers("transformer", num_blocks=40), 2000, 12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_causal_network_sees_the_past_alone(family):
    torch.manual_seed(0)
    model, ids = make(family), bases(2, 20)
    other = ids.clone()
    other[:, 12:] = 17 - other[:, 12:]  # another base
    before, after = model(ids), model(other)
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bidirectional_network_sees_both_sides(family):
    torch.manual_seed(0)
    model, ids = make(family, "masked"), bases(1, 9)
    other = ids.clone()
    other[:, 4] = 17 - other[:, 4]
    changed = (model(ids) - model(other)).abs().amax(-1)[0]
    assert (changed > 1e-6).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_packed_documents_are_read_as_if_alone(family, objective):
    torch.manual_seed(0)
    model, ids, lengths = make(family, objective), bases(3, 11), [11, 4, 7]
    together = model(ids, lengths=lengths)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(together[row, :length], model(ids[row : row + 1, :length])[0])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_scores_do_not_depend_on_the_chunks(family, chunk):
    torch.manual_seed(0)
    model, ids = make(family), bases(2, 19)
    torch.testing.assert_close(model.score(ids, chunk_length=chunk), model.score(ids), equal_nan=True)
    context = model.read(ids[:1, :7])
    rest = model.score(ids[:1, 7:], context=context)
    torch.testing.assert_close(rest, model.score(ids[:1])[:, 7:], equal_nan=True)
    torch.testing.assert_close(
        model.score(ids[:1, 7:].expand(2, -1), context=context.select([0, 0])), rest.expand(2, -1), equal_nan=True
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_strands_are_equivariant(family):
    torch.manual_seed(0)
    model, ids = make(family, "masked", symmetry="shared"), bases(2, 13)
    other = model(model.complement[ids.flip(1)])
    torch.testing.assert_close(other.flip(1)[..., model.complement], model(ids))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_networks_train_with_the_module_of_sequence_models(family, objective):
    torch.manual_seed(0)
    model = make(family, objective, mask_rate=0.5).float().train()
    module = SequenceModule(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batch = {"ids": torch.tensor([7, 8, 9, 10]).repeat(8, 6)}
    losses = []
    for step in range(60):
        loss = module.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_are_saved_and_loaded(family, tmp_path):
    model, ids = make(family).float(), bases(1, 6)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(NetworkModel.from_pretrained(tmp_path)(ids), model(ids))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_networks_do_not_do_is_said(family):
    with pytest.raises(ValueError, match="train an xLSTM"):
        make(family).generate(max_new_tokens=3)
    with pytest.raises(ValueError, match="twice num_heads"):
        NetworkConfig(embedding_dim=12, num_heads=4)
    with pytest.raises(ValueError, match="causal"):
        make(family, "masked").backbone(torch.zeros(1, 3, 16).double(), return_state=True)


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
def test_the_recurrence_of_an_lstm_keeps_its_precision_under_autocast(direction):
    network = NetworkBackbone(NetworkConfig(family="lstm", direction=direction, embedding_dim=16, hidden_dim=8))
    seen = []
    for block in network.blocks:
        block.lstm.register_forward_hook(lambda module, given, out: seen.append((given[0].dtype, out[0].dtype)))
        block.proj.register_forward_hook(lambda module, given, out: seen.append((out.dtype,)))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 5, 16))
    assert seen == [(torch.float32, torch.float32), (torch.bfloat16,)] * len(network.blocks)
