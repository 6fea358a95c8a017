"""DNA-xLSTM checkpoints: the golden files, their variants, and the symmetry the published sharing was meant to have."""

import pytest
import torch
from test_xlstm import relative, to_cuda_layout, weights_of

from xlstm_apps.core.strands import mirror
from xlstm_apps.interop import load_reference

GOLDEN = [
    "dna_xlstm_causal",
    "dna_xlstm_mlm_bidirectional_mixed",
    "dna_xlstm_mlm_ps_slstm_1head",
    "dna_xlstm_mlm_ps_slstm_4head_headflip",
]
SHARED = GOLDEN[2:]
COMPLEMENT = torch.tensor([0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11])


def load(golden, name, **options):
    tensors, meta = golden(name)
    return load_reference("dna-xlstm", {**meta["config"], **options}, weights_of(tensors)), tensors


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_logits(golden, name, nested):
    tensors, meta = golden(name)
    model = load_reference("dna-xlstm", meta if nested else meta["config"], tensors)
    assert relative(model(tensors["ids"]), tensors["logits"]) < 1e-5


@pytest.mark.parametrize("name", GOLDEN)
def test_cuda_layout(golden, name):
    tensors, meta = golden(name)
    weights = weights_of(tensors)
    twin = to_cuda_layout(weights)
    assert any(not torch.equal(twin[key], weights[key]) for key in weights if key.endswith("_kernel_"))
    model = load_reference("dna-xlstm", meta["config"], twin)
    assert relative(model(tensors["ids"]), tensors["logits"]) < 1e-5


@pytest.mark.parametrize("prefix", ["model.backbone.", "model.backbone.backbone.", "backbone."])
@pytest.mark.parametrize("name", [GOLDEN[0], GOLDEN[3]])
def test_lightning_checkpoints(golden, name, prefix):
    tensors, meta = golden(name)
    weights = {prefix + key: tensor for key, tensor in weights_of(tensors).items()}
    weights["train_torchmetrics.num_tokens.count"] = torch.tensor(7)
    checkpoint = {"epoch": 3, "state_dict": weights}
    model = load_reference("dna-xlstm", meta["config"], checkpoint)
    assert relative(model(tensors["ids"]), tensors["logits"]) < 1e-5


@pytest.mark.parametrize("name", SHARED)
def test_without_the_head_flip_the_strands_are_exchangeable(golden, name):
    model, tensors = load(golden, name, legacy_head_flip=False)
    ids = tensors["ids"]
    twin = mirror(model(COMPLEMENT[ids.flip(1)]))[..., COMPLEMENT]
    torch.testing.assert_close(model(ids), twin, rtol=1e-5, atol=1e-5)


def test_the_published_head_flip_breaks_the_symmetry(golden):
    model, tensors = load(golden, SHARED[1])
    ids = tensors["ids"]
    assert (model(ids) - mirror(model(COMPLEMENT[ids.flip(1)]))[..., COMPLEMENT]).abs().max() > 1


def test_packed_sequences_equal_separate_ones(golden):
    model, tensors = load(golden, SHARED[1])
    ids = tensors["ids"]
    packed = model(ids.reshape(1, -1), cu_seqlens=torch.tensor([0, 32, 64]))
    torch.testing.assert_close(packed.view(2, 32, -1), model(ids), rtol=1e-5, atol=1e-5)


def test_causal_model_generates(golden):
    model, tensors = load(golden, GOLDEN[0])
    ids = tensors["ids"][:, :3]
    text = model.generate(ids, max_new_tokens=5)
    logits = model(text[:, :-1])
    assert torch.equal(text[:, 3:], logits[:, 2:].argmax(-1))


def test_alternating_direction_is_read_from_the_config(golden):
    model, _ = load(golden, GOLDEN[1], bidirectional_alternating=True)
    assert model.config.direction == "alternating"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (GOLDEN[0], {"m_position_embeddings": True}, "m_position_embeddings=True is not supported"),
        (GOLDEN[0], {"m_backend_bidirectional": True}, "m_backend_bidirectional=True is not supported"),
        (GOLDEN[0], {"rcps": True}, "config says rcps=True"),
        (GOLDEN[2], {"rcps": False}, "config says rcps=False"),
        (GOLDEN[0], {"vocab_size": 16}, "vocab_size=16, the weights have 12"),
        (GOLDEN[0], {"legacy_head_flip": True}, "legacy_head_flip belongs to parameter sharing"),
        (GOLDEN[2], {"complement_map": {"7": 8, "8": 7}}, "complement maps differ"),
    ],
)
def test_a_config_that_does_not_fit(golden, name, options, message):
    with pytest.raises(ValueError, match=message):
        load(golden, name, **options)


def test_shared_strands_cannot_be_stepped(golden):
    model, tensors = load(golden, SHARED[0])
    with pytest.raises(ValueError, match="not step by step"):
        model.step(tensors["ids"][:, 0])
    with pytest.raises(ValueError, match="stepped"):
        model.generate(tensors["ids"], max_new_tokens=2)
