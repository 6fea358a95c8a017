"""Checkpoints of the 7B architecture: the golden folder, its other forms, and transformers itself at odd sizes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from xlstm_apps.interop import SOURCES, load_reference


def relative(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.fixture
def folder(golden_path):
    path = golden_path("hf_xlstm")
    return json.loads((path / "config.json").read_text()), load_file(path / "model.safetensors")


def fused(weights):
    """The same weights as `weight_mode="fused"` stores them."""
    groups = {
        "qkv_opreact": ("q", "k", "v", "ogate_preact"),
        "ifgate_preact": ("igate_preact", "fgate_preact"),
        "proj_up_gate_z": ("proj_up_gate", "proj_up"),
    }
    parts, twin = {name: (group, names) for group, names in groups.items() for name in names}, {}
    for key, tensor in weights.items():
        *module, name, kind = key.split(".")
        if len(module) > 1 and name in parts and module[-1] in ("mlstm_layer", "ffn"):
            group, names = parts[name]
            together = [weights[".".join([*module, other, kind])] for other in names]
            twin[".".join([*module, group, kind])] = torch.cat(together)
        else:
            twin[key] = tensor
    return twin


def long_names(weights):
    names = {".q.": ".query.", ".k.": ".key.", ".v.": ".value."}
    for short, long in names.items():
        weights = {key.replace(short, long): tensor for key, tensor in weights.items()}
    return weights


FORMS = {"single": dict, "fused": fused, "long names": long_names}


@pytest.mark.parametrize("form", FORMS)
def test_golden_logits_and_greedy_continuation(golden, folder, form):
    config, weights = folder
    expected, _ = golden("hf_xlstm_io")
    changed = FORMS[form](weights)
    assert form == "single" or changed.keys() != weights.keys()
    model = load_reference("hf-xlstm", config, changed)
    assert relative(model(expected["ids"]), expected["logits"]) < 1e-5
    assert torch.equal(model.generate(expected["greedy"][:, :16], max_new_tokens=12), expected["greedy"])


@pytest.mark.parametrize("form", FORMS)
def test_the_same_model_under_the_names_of_xlstm_large(golden, folder, form):
    config, weights = folder
    names = {"backbone.embeddings.weight": "embedding.weight"}
    weights = {names.get(key, key): tensor for key, tensor in FORMS[form](weights).items()}
    arguments = ("embedding_dim", "num_heads", "num_blocks", "vocab_size", "norm_eps", "eps", "gate_soft_cap")
    expected, _ = golden("hf_xlstm_io")
    model = load_reference("xlstm-large", {name: config[name] for name in arguments}, weights)
    assert relative(model(expected["ids"]), expected["logits"]) < 1e-5
    without = {key: tensor for key, tensor in weights.items() if "out_norm" not in key}
    assert not load_reference("xlstm-large", {"add_out_norm": False}, without).config.final_norm


def test_a_config_that_contradicts_the_weights(folder):
    config, weights = folder
    for change, message in (
        ({"num_heads": 4}, "config says num_heads=4, the weights have 2"),
        ({"hidden_size": 64}, "config says embedding_dim=64, the weights have 128"),
        ({"vocab_size": 97}, "config says vocab_size=97, the weights have 96"),
        ({"use_bias": True}, "config says use_bias=True, the weights have False"),
    ):
        with pytest.raises(ValueError, match=message):
            load_reference("hf-xlstm", {**config, **change}, weights)


def test_every_tensor_counts(folder):
    config, weights = folder
    for key in weights:
        if "out_norm" not in key:
            with pytest.raises(ValueError, match=r"hf-xlstm"):
                load_reference("hf-xlstm", config, {other: t for other, t in weights.items() if other != key})
    with pytest.raises(ValueError, match=r"backbone.rope.weight is not used"):
        load_reference("hf-xlstm", config, {**weights, "backbone.rope.weight": torch.zeros(1)})


def test_unknown_sources_and_foreign_files():
    with pytest.raises(ValueError, match="cannot load from 'mamba'; supported are xlstm-blockstack, xlstm-lm"):
        load_reference("mamba", {}, {})
    for source in SOURCES:
        with pytest.raises(ValueError, match=rf"this is no {source} state dict: no key ends in .*'encoder.weight'"):
            load_reference(source, {}, {"encoder.weight": torch.zeros(2)})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": True, "num_heads": 4, "ffn_proj_factor": 1.7},
        {"tie_word_embeddings": True, "num_heads": 1},
        {"qk_dim_factor": 1.0, "v_dim_factor": 1.5, "gate_soft_cap": 2.0, "output_logit_soft_cap": 5.0,
         "norm_eps": 1e-3, "eps": 1e-2, "ffn_round_up_to_multiple_of": 8},
    ],
)  # fmt: skip
def test_transformers_itself(options):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    small = {"vocab_size": 37, "hidden_size": 128, "num_hidden_layers": 2, "num_heads": 2, "chunk_size": 8}
    config = transformers.xLSTMConfig(**{**small, "autocast_kernel_dtype": "float32", **options})
    original = transformers.xLSTMForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.normal_(0, 0.3)
        ids = torch.randint(3, 37, (2, 21))
        logits = original(ids).logits
        text = original.generate(ids[:1, :9], max_new_tokens=14, do_sample=False)
    model = load_reference("hf-xlstm", config.to_dict(), original.state_dict())
    assert relative(model(ids), logits) < 1e-5
    assert torch.equal(model.generate(ids[:1, :9], max_new_tokens=14), text)
