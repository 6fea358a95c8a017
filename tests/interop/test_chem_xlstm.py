"""Chem-xLSTM checkpoints: there is no golden file, but they are those of the language model under other names."""

import pytest
import torch
from test_xlstm import relative, to_cuda_layout, weights_of

from xlstm_apps.core import xLSTMConfig, xLSTMLanguageModel
from xlstm_apps.interop import load_reference

ARGUMENTS = {"mode": "smiles", "model_dim": 32, "state_dim": 64, "n_layers": 3, "n_heads": 4, "dropout": 0.25,
             "vocab_size": 37, "sequence_length": 99, "learning_rate": 1e-3, "token2label": {"[PAD]": 0}}  # fmt: skip


def published(tensors):
    return {f"model.{key}": tensor for key, tensor in weights_of(tensors).items()}


@pytest.mark.parametrize("heads", [4, 1, None])
@pytest.mark.parametrize("layout", ["vanilla", "cuda"])
def test_equals_the_language_model(golden, heads, layout):
    tensors, meta = golden("xlstm_lm")
    weights = published(tensors) if layout == "vanilla" else to_cuda_layout(published(tensors))
    model = load_reference("chem-xlstm", {**ARGUMENTS, "n_heads": heads}, weights)
    assert relative(model(tensors["ids"]), tensors["logits"]) < 1e-5
    own = load_reference("xlstm-lm", meta, tensors)
    ids = tensors["ids"][:, :3]
    assert torch.equal(model.generate(ids, max_new_tokens=5), own.generate(ids, max_new_tokens=5))
    assert model.vocab_size == 50
    assert model.config.slstm_at == (1,)
    assert model.config.num_heads == 4


def test_of_mlstm_blocks_only(golden):
    weights = {key: tensor for key, tensor in published(golden("xlstm_lm")[0]).items() if "blocks.1." not in key}
    weights = {key.replace("blocks.2.", "blocks.1."): tensor for key, tensor in weights.items()}
    model = load_reference("chem-xlstm", {**ARGUMENTS, "n_layers": 2}, weights)
    assert model.config.slstm_at == ()
    assert model(torch.tensor([[1, 5, 2]])).shape == (1, 3, 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 2}, "chem-xlstm: config says num_heads=2, the weights have 4"),
        ({"model_dim": 64}, "config says embedding_dim=64"),
        ({"n_layers": 4}, "config says num_blocks=4"),
    ],
)
def test_contradictions_are_refused(golden, options, message):
    with pytest.raises(ValueError, match=message):
        load_reference("chem-xlstm", {**ARGUMENTS, **options}, published(golden("xlstm_lm")[0]))


@pytest.mark.parametrize(
    ("width", "blocks", "heads", "vocabulary", "count"),
    [(256, 4, 1, 37, 1_644_296), (512, 9, 8, 37, 14_816_400), (512, 9, 8, 200, 14_983_312)],
)
def test_published_sizes(width, blocks, heads, vocabulary, count):
    with torch.device("meta"):
        model = xLSTMLanguageModel(xLSTMConfig(embedding_dim=width, num_blocks=blocks, num_heads=heads), vocabulary)
    assert sum(p.numel() for p in model.parameters()) == count
