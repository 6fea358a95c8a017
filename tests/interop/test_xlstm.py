"""Checkpoints of the package `xlstm`: the golden files, and every variant of their form."""

import pytest
import torch

from xlstm_apps.interop import load_reference

STACKS = ["xlstm_blockstack_mlstm", "xlstm_blockstack_slstm", "xlstm_blockstack_mixed"]


def relative(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def weights_of(tensors):
    return {key.removeprefix("sd."): tensor for key, tensor in tensors.items() if key.startswith("sd.")}


@pytest.mark.parametrize("name", STACKS)
def test_golden_block_stacks_in_values_and_gradients(golden, name):
    tensors, meta = golden(name)
    module = load_reference("xlstm-blockstack", meta, weights_of(tensors))
    x = tensors["x"].requires_grad_()
    y = module(x)
    y.backward(tensors["dy"])
    assert relative(y, tensors["y"]) < 1e-5
    assert relative(x.grad, tensors["dx"]) < 1e-5


@pytest.mark.parametrize("name", STACKS)
def test_golden_block_stacks_step_by_step(golden, name):
    tensors, meta = golden(name)
    module, x = load_reference("xlstm-blockstack", meta, tensors), tensors["x"]
    state, steps = None, []
    with torch.no_grad():
        for t in range(x.shape[1]):
            y, state = module.step(x[:, t], state)
            steps.append(y)
    assert relative(torch.stack(steps, 1), tensors["y"]) < 1e-5


def test_golden_language_model(golden):
    tensors, meta = golden("xlstm_lm")
    model = load_reference("xlstm-lm", meta, weights_of(tensors))
    ids, logits = tensors["ids"], tensors["logits"]
    assert relative(model(ids), logits) < 1e-5
    text = model.generate(ids[:, :10], max_new_tokens=5)
    assert torch.equal(text[:, :10], ids[:, :10])
    assert torch.equal(text[:, 10], logits[:, 9].argmax(-1))


@pytest.mark.parametrize("prefix", ["", "sd.", "model.", "module.xlstm_block_stack.", "backbone.xlstm_block_stack."])
def test_any_prefix(golden, prefix):
    tensors, meta = golden("xlstm_blockstack_mixed")
    weights = {prefix + key: tensor for key, tensor in weights_of(tensors).items()}
    assert relative(load_reference("xlstm-blockstack", meta, weights)(tensors["x"]), tensors["y"]) < 1e-5


def to_cuda_layout(weights):
    """The same model as its CUDA cell would have stored it, written down from the shapes in the original."""
    twin = dict(weights)
    for key, tensor in weights.items():
        if key.endswith("_recurrent_kernel_"):  # [H, (gate, out), in] -> [H, in, (gate, out)]
            twin[key] = tensor.mT.contiguous()
            H, D = tensor.shape[0], tensor.shape[2]
            bias = key.replace("_recurrent_kernel_", "_bias_")  # [gate, H, D] -> [H, gate, D]
            twin[bias] = weights[bias].view(4, H, D).transpose(0, 1).reshape(-1)
    return twin


@pytest.mark.parametrize("name", STACKS[1:])
def test_both_layouts_of_recurrent_weights(golden, name):
    tensors, meta = golden(name)
    twin = to_cuda_layout(weights_of(tensors))
    assert any(not torch.equal(twin[key], tensor) for key, tensor in weights_of(tensors).items() if "_bias_" in key)
    assert relative(load_reference("xlstm-blockstack", meta, twin)(tensors["x"]), tensors["y"]) < 1e-5


def test_nested_original_arguments(golden):
    tensors, _ = golden("xlstm_lm")
    config = {
        "vocab_size": 50, "embedding_dim": 32, "num_blocks": 3, "slstm_at": [1], "context_length": 40, "dropout": 0.2,
        "add_embedding_dropout": True,
        "mlstm_block": {"mlstm": {"num_heads": 4, "qkv_proj_blocksize": 4, "proj_factor": 2.0}},
        "slstm_block": {"slstm": {"num_heads": 4, "backend": "cuda"}, "feedforward": {"act_fn": "gelu"}},
    }  # fmt: skip
    model = load_reference("xlstm-lm", config, tensors)
    assert relative(model(tensors["ids"]), tensors["logits"]) < 1e-5
    assert (model.dropout.p, model.config.dropout, model.training) == (0.2, 0.2, False)


def test_biases_missing_norms_and_other_activations(golden):
    """Options that the golden files do not use, against the formulas of the original."""
    tensors, meta = golden("xlstm_blockstack_mixed")
    weights, x = weights_of(tensors), tensors["x"]
    del weights["post_blocks_norm.weight"], weights["blocks.1.xlstm.group_norm.weight"]
    down = torch.randn(32)
    for layer, size in (("blocks.0", 64), ("blocks.2", 64)):
        for name, width in (("proj_up", 2 * size), ("proj_down", 32), *((f"{c}_proj", size) for c in "qkv")):
            weights[f"{layer}.xlstm.{name}.bias"] = torch.zeros(width)
    plain = load_reference("xlstm-blockstack", {**meta, "add_post_blocks_norm": False}, weights)(x)
    weights["blocks.2.xlstm.proj_down.bias"] = down
    shifted = load_reference("xlstm-blockstack", {**meta, "add_post_blocks_norm": False, "bias": True}, weights)(x)
    torch.testing.assert_close(shifted, plain + down, rtol=1e-4, atol=1e-4)
    swish = load_reference("xlstm-blockstack", {**meta, "act_fn": "swish"}, weights)
    assert swish.config.ffn_activation == "silu"
    assert relative(swish(x), shifted) > 1e-3


def test_no_feed_forward_and_no_convolution(golden):
    tensors, meta = golden("xlstm_blockstack_slstm")
    weights = {key: t for key, t in weights_of(tensors).items() if "ffn" not in key and "conv1d" not in key}
    module = load_reference("xlstm-blockstack", meta | {"conv1d_kernel_size": 0}, weights)
    assert module(tensors["x"]).shape == tensors["x"].shape
    assert (module.config.slstm_conv, module.config.ffn_dim) == (0, 0)


def test_tied_head(golden):
    tensors, meta = golden("xlstm_lm")
    weights = weights_of(tensors)
    with pytest.raises(ValueError, match=r"tie_weights=True, but lm_head.weight and token_embedding.weight differ"):
        load_reference("xlstm-lm", {**meta, "tie_weights": True}, weights)
    weights["lm_head.weight"] = weights["token_embedding.weight"].clone()
    both = load_reference("xlstm-lm", {**meta, "tie_weights": True}, weights)
    assert both.head.weight is both.embedding.weight
    apart = load_reference("xlstm-lm", meta, weights)
    assert torch.equal(both(tensors["ids"]), apart(tensors["ids"]))
    del weights["lm_head.weight"]
    assert torch.equal(
        load_reference("xlstm-lm", {**meta, "tie_weights": True}, weights)(tensors["ids"]), both(tensors["ids"])
    )
    with pytest.raises(ValueError, match=r"the state dict has no 'lm_head.weight'"):
        load_reference("xlstm-lm", meta, weights)


def test_saved_again_in_our_form(golden, tmp_path):
    tensors, meta = golden("xlstm_lm")
    model = load_reference("xlstm-lm", meta, tensors)
    model.save_pretrained(tmp_path)
    assert torch.equal(type(model).from_pretrained(tmp_path)(tensors["ids"]), model(tensors["ids"]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_heads": 8}, "config says num_heads=8, the weights have 4"),
        ({"embedding_dim": 64}, "config says embedding_dim=64, the weights have 32"),
        ({"num_blocks": 2}, "config says num_blocks=2, the weights have 3"),
        ({"slstm_at": [0]}, r"config says slstm_at=\[0\], the weights have \[1\]"),
        ({"slstm_at": "all"}, r"config says slstm_at=\[0, 1, 2\], the weights have \[1\]"),
        ({"qkv_proj_blocksize": 8}, "config says qkv_proj_blocksize=8, the weights have 4"),
        ({"act_fn": "mish"}, "act_fn='mish' is not supported"),
        ({"slstm_block": {"slstm": {"function": "lstm"}}}, "function='lstm' is not supported"),
    ],
)
def test_a_config_that_contradicts_the_weights(golden, change, message):
    tensors, meta = golden("xlstm_blockstack_mixed")
    with pytest.raises(ValueError, match=message):
        load_reference("xlstm-blockstack", {**meta, **change}, tensors)


def test_leftover_missing_and_misshapen_tensors_are_named(golden):
    tensors, meta = golden("xlstm_blockstack_mixed")
    weights = weights_of(tensors)
    for change, message in (
        ({"blocks.0.xlstm.extra.weight": torch.zeros(1)}, "blocks.0.xlstm.extra.weight is not used"),
        (
            {"blocks.1.xlstm_norm.weight": torch.zeros(5)},
            r"blocks.1.norm.weight has shape \[5\] where \[32\] is expected",
        ),
        ({"blocks.1.xlstm.slstm_cell._recurrent_kernel_": torch.zeros(4, 8, 8)}, "are neither"),
    ):
        with pytest.raises(ValueError, match=message):
            load_reference("xlstm-blockstack", meta, {**weights, **change})
    optional = ("post_blocks_norm", "group_norm")  # constructor options say so, not a loss
    for key in weights:
        if not any(name in key for name in optional):
            with pytest.raises(ValueError, match="xlstm-blockstack"):
                load_reference("xlstm-blockstack", meta, {other: t for other, t in weights.items() if other != key})
