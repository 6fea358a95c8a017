"""Vision-LSTM checkpoints: the golden files in hub and raw form, sizes, what does not fit."""

import re

import pytest
import torch
from test_xlstm import relative, weights_of

from xlstm_apps.interop import load_reference

GOLDEN = ["vil_v1", "vil_v2", "vil_v2_conv1d_nobias"]


def raw(tensors):
    """The names of the training code, from those of torch.hub."""
    renamed = {}
    version = 2 if any("rowwise" in name for name in tensors) else 1
    norms = {"legacy_norm": "xlstm.post_blocks_norm", "norm": "head.0"}
    if version == 2:
        norms = {"norm": "xlstm.post_blocks_norm", "legacy_norm": "head.0"}
    for name, tensor in tensors.items():
        new = re.sub(
            r"^blocks\.(\d+)\.rowwise_from_(top_left|bot_right)",
            lambda m: f"blocks.{2 * int(m[1]) + (m[2] == 'bot_right')}",
            name,
        )
        new = re.sub(r"^(blocks\.\d+)\.norm\.", r"\1.xlstm_norm.", new)
        new = re.sub(r"^(blocks\.\d+)\.layer\.", r"\1.xlstm.", new).replace(".xlstm.conv.", ".xlstm.conv1d.")
        new = re.sub(r"^blocks", "xlstm.blocks", new)
        new = re.sub(r"^(legacy_norm|norm)\b", lambda m: norms[m[1]], new)
        renamed[re.sub(r"^head\.(weight|bias)$", r"head.1.\1", new)] = tensor
    return renamed


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_logits(golden, name, stated):
    tensors, meta = golden(name)
    model = load_reference("vision-lstm", meta if stated else {}, tensors)
    assert relative(model(tensors["x"]), tensors["y"]) < 1e-5


@pytest.mark.parametrize("name", GOLDEN)
def test_raw_form_behind_a_prefix(golden, name):
    tensors, _ = golden(name)
    weights = {f"model.{key}": tensor for key, tensor in raw(weights_of(tensors)).items()}
    # The raw form of version 2 was trained with the other numbers in its two norms.
    config = {"final_norm_eps": 1e-6, "head_norm_eps": 1e-5} if "v2" in name else {}
    model = load_reference("vision-lstm", config, {"state_dict": weights})
    assert relative(model(tensors["x"]), tensors["y"]) < 1e-5


def test_numbers_added_to_variances_follow_the_form(golden):
    tensors, _ = golden("vil_v2")
    hub = load_reference("vision-lstm", {}, tensors).vision
    trained = load_reference("vision-lstm", {}, raw(weights_of(tensors))).vision
    assert (hub.final_norm_eps, hub.head_norm_eps) == (1e-6, 1e-5)
    assert (trained.final_norm_eps, trained.head_norm_eps) == (1e-5, 1e-6)


def test_positions_of_half_the_stride_are_stretched(golden):
    tensors, _ = golden("vil_v2")
    model = load_reference("vision-lstm", {"stride": 4}, tensors)
    assert model.vision.img_size == (20, 20) and model.vision.grid == (4, 4)
    assert model(tensors["x"]).shape == (2, 7)
    assert model.forward_features(tensors["x"]).shape[1] == 49


@pytest.mark.parametrize("name", GOLDEN[:2])
def test_without_head(golden, name):
    tensors, meta = golden(name)
    weights = {key: tensor for key, tensor in weights_of(tensors).items() if not key.startswith("head.")}
    model = load_reference("vision-lstm", {**meta, "mode": "features", "output_shape": None}, weights)
    whole = load_reference("vision-lstm", meta, tensors)
    x = tensors["x"]
    torch.testing.assert_close(model(x), whole.forward_head(whole.forward_features(x), pre_logits=True))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dim": 64}, "dim=64, the weights have 32"),
        ({"depth": 3}, "depth=3, the weights have 2"),
        ({"patch_size": 4}, r"patch_size=\[4, 4\], the weights have \[8, 8\]"),
        ({"input_shape": [1, 32, 32]}, "input channels=1, the weights have 3"),
        ({"output_shape": [9]}, "classes=9, the weights have 7"),
        ({"pooling": "bilateral_avg"}, "pooling='bilateral_avg', the weights have 'bilateral_flatten'"),
        ({"pooling": "to_image"}, "pooling='to_image' is not supported"),
        ({"cls": "VisionLSTM"}, "version=1, the weights have 2"),
        ({"proj_bias": False}, "proj_bias=False, the weights have True"),
        ({"alternation": "quaddirectional"}, "alternation='quaddirectional' is not supported"),
    ],
)
def test_a_config_that_does_not_fit(golden, config, message):
    tensors, _ = golden("vil_v2")
    with pytest.raises(ValueError, match=message):
        load_reference("vision-lstm", config, tensors)


def test_tensors_that_do_not_fit(golden):
    tensors, _ = golden("vil_v2")
    weights = weights_of(tensors)
    with pytest.raises(ValueError, match=r"extra\.weight is not used"):
        load_reference("vision-lstm", {}, {**weights, "extra.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="no complete blocks"):
        load_reference("vision-lstm", {}, {k: v for k, v in weights.items() if "1.rowwise_from_bot" not in k})
    with pytest.raises(ValueError, match=r"no key ends in 'patch_embed\.proj\.weight'"):
        load_reference("vision-lstm", {}, {"blocks.0.weight": torch.zeros(1)})
