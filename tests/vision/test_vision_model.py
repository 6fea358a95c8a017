"""The vision model: sizes as published, any resolution, packed images, symmetries, features, training."""

import dataclasses

import pytest
import torch
from small_models import small_model

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.core.size import count_weights
from xlstm_apps.vision import SCANS, VisionConfig, VisionLSTM, create_model
from xlstm_apps.vision.config import Pooling
from xlstm_apps.vision.layers import DropPath
from xlstm_apps.vision.scanning import Layout

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("vil_tiny", 6.39),
        ("vil_small", 23.40),
        ("vil_base", 89.26),
        ("vil_v1_tiny", 6.09),
        ("vil_v1_tinyplus", 7.28),
        ("vil_v1_small", 22.79),
        ("vil_v1_smallplus", 24.63),
        ("vil_v1_base", 88.05),
        ("vil_mlp_tiny", 6.18),
    ],
)
def test_parameters_as_published(name, millions):
    with torch.device("meta"):
        assert round(count_weights(create_model(name)) / 1e6, 2) == millions


@pytest.mark.parametrize("positions", ["learned", "sincos", "none"])
@pytest.mark.parametrize("name", ["vil_tiny", "vil_v1_tiny", "vil_mlp_tiny"])
def test_built_small_and_run_large_is_built_large(name, positions):
    model = small_model(name, positions=positions)
    large = small_model(name, positions=positions)
    large.load_state_dict(model.state_dict())
    large.set_input_size(32)
    assert large.vision.grid == (8, 8) and model.vision.grid == (4, 4)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(x), large(x), **CLOSE)
    small = x[:, :, :16, :16]
    if positions != "learned":  # interpolating there and back again blurs
        torch.testing.assert_close(model(small), large(small), **CLOSE)


def test_a_finer_grid_changes_positions_smoothly():
    model = small_model(positions="learned")
    x = model.positions((8, 8)).view(8, 8, -1)
    assert x.shape[-1] == 16 and not torch.equal(x[0, 0], x[0, 1])
    there = small_model(positions="sincos").positions
    coarse, fine = there((4, 4)).view(4, 4, -1), there((12, 12)).view(12, 12, -1)
    torch.testing.assert_close(fine[1::3, 1::3], coarse)  # the same points of the picture


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("name", ["vil_tiny", "vil_mlp_tiny"])
def test_single_packed_and_padded_images_agree(name, scan):
    model = small_model(name, scan=scan)
    images = [torch.randn(3, *size) for size in ((16, 16), (8, 20), (16, 16), (5, 9))]
    alone = torch.cat([model(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(model(images), alone, **CLOSE)
    padded = torch.full((4, 3, 16, 20), 7.0)
    for row, image in zip(padded, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    sizes = torch.tensor([image.shape[1:] for image in images])
    torch.testing.assert_close(model(padded, sizes), alone, **CLOSE)
    features = model.forward_features(images)
    assert [len(one) for one in features] == [16, 10, 16, 6]
    torch.testing.assert_close(features[1], model.forward_features(images[1][None])[0], **CLOSE)


def test_scans_differ():
    x = torch.randn(1, 3, 16, 12)
    models = [small_model(scan=scan) for scan in SCANS]
    outputs = [model.load_state_dict(models[0].state_dict()) and model(x) for model in models]
    for n, one in enumerate(outputs):
        assert all((one - other).abs().max() > 1e-3 for other in outputs[:n])


@pytest.mark.parametrize(
    ("scan", "turn"),
    [
        ("bidirectional", lambda x: x.flip(-1, -2)),
        ("quad", lambda x: x.flip(-1, -2)),
        ("quad", lambda x: x.mT),
    ],
)
@pytest.mark.parametrize("name", ["vil_tiny", "vil_mlp_tiny"])
def test_all_paths_in_a_block_make_turning_a_symmetry(name, scan, turn):
    model = small_model(name, scan=scan, positions="none", patch_size=1, img_size=8)
    x = torch.randn(1, 3, 6, 4)
    maps = model.forward_intermediates(x, 1, intermediates_only=True)[0]
    turned = model.forward_intermediates(turn(x), 1, intermediates_only=True)[0]
    torch.testing.assert_close(turned, turn(maps), **CLOSE)


def test_reading_from_the_start_only_is_causal():
    model = small_model(scan="raster", conv="causal", positions="none")
    x = torch.randn(1, 3, 16, 16)
    y = model.forward_features(x)
    x[:, :, 8:12, 8:12] += 1  # the patch in row 2, column 2
    changed = (model.forward_features(x) - y).abs().amax(-1)[0] > 1e-4
    assert changed.tolist() == [False] * 10 + [True] * 6


@pytest.mark.parametrize("positions", ["learned", "sincos"])
@pytest.mark.parametrize("name", ["vil_tiny", "vil_mlp_tiny"])
def test_half_precision(name, positions):
    model = small_model(name, positions=positions)
    x = torch.randn(2, 3, 20, 16)
    y = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (model(x) - y).abs().max() < 0.1 * y.abs().max()
    z = model.bfloat16()(x.bfloat16())
    assert z.dtype == torch.bfloat16 and (z - y).abs().max() < 0.1 * y.abs().max()


@pytest.mark.parametrize("size", [(20,), (8, 12, 6)])
@pytest.mark.parametrize("name", ["vil_tiny", "vil_mlp_tiny"])
def test_signals_and_volumes(name, size):
    model = small_model(name, img_size=(8,) * len(size), in_chans=2)
    images = torch.randn(2, 2, *size)
    y = model(images)
    assert y.shape == (2, 5) and y.isfinite().all()
    torch.testing.assert_close(model([*images]), y, **CLOSE)
    maps = model.forward_intermediates(images, 2, intermediates_only=True)
    assert [one.shape[2:] for one in maps] == [torch.Size(model.vision.grid_of(size))] * 2


@pytest.mark.parametrize("pooling", Pooling.__args__)
def test_poolings(pooling):
    model = small_model(pooling=pooling)
    x = torch.randn(2, 3, 16, 16)
    tokens = model.forward_features(x)
    expected = {
        "bilateral_concat": torch.cat([tokens[:, 0], tokens[:, -1]], -1),
        "bilateral_avg": (tokens[:, 0] + tokens[:, 15]) / 2,
        "first": tokens[:, 0],
        "last": tokens[:, 15],
        "middle": tokens[:, 8],
        "mean": tokens.mean(1),
        "max": tokens.amax(1),
    }
    if pooling == "attention":
        weights = (tokens * model.pool.query).sum(-1).div(4).softmax(-1)
        expected[pooling] = (weights[..., None] * tokens).sum(1)
    pooled = model.forward_head(tokens, pre_logits=True)
    assert pooled.shape == (2, model.num_features)
    torch.testing.assert_close(pooled, model.head_norm(expected[pooling]))
    torch.testing.assert_close(model.head(pooled), model(x))


def test_overlapping_patches_and_pixels_that_fill_no_patch():
    model = small_model(patch_size=4, stride=2)
    assert model.vision.grid == (7, 7)
    x = torch.randn(1, 3, 10, 9)
    _, grid = model.patch_embed(x)
    assert grid == (4, 4)
    padded = torch.nn.functional.pad(x, (0, 1))
    torch.testing.assert_close(model(x), model(padded))
    apart = small_model(stride=None)
    conv = torch.nn.functional.conv2d(padded[:, :, :8, :8], apart.patch_embed.weight, apart.patch_embed.bias, stride=4)
    torch.testing.assert_close(apart.patch_embed(padded[:, :, :8, :8])[0], conv.flatten(2).mT, **CLOSE)


def test_intermediates():
    model = small_model()
    x = torch.randn(2, 3, 16, 8)
    final, maps = model.forward_intermediates(x, [-1, 1], norm=True)
    assert [one.shape for one in maps] == [(2, 16, 4, 2)] * 2
    torch.testing.assert_close(maps[1].flatten(2).mT, model.forward_features(x))
    torch.testing.assert_close(final, model.forward_features(x))
    ran = []
    hooks = [block.register_forward_hook(lambda *_: ran.append(1)) for block in model.blocks]
    early = model.forward_intermediates(x, [0, 1], stop_early=True, intermediates_only=True, output_fmt="NLC")
    assert len(ran) == 2 and early[0].shape == (2, 8, 16)
    for hook in hooks:
        hook.remove()
    for wrong in ({"indices": [4]}, {"indices": 5}, {"output_fmt": "NHWC"}):
        with pytest.raises(ValueError):
            model.forward_intermediates(x, **wrong)


def test_a_new_head_is_saved_and_loaded(tmp_path):
    model = small_model()
    before, x = model.forward_features(torch.ones(1, 3, 16, 16)), torch.randn(2, 3, 24, 16)
    model.reset_classifier(3)
    assert model.get_classifier().out_features == 3 and model(x).shape == (2, 3)
    model.reset_classifier(7, "mean")
    model.set_input_size((16, 24))
    torch.testing.assert_close(model.forward_features(torch.ones(1, 3, 16, 16)), before, rtol=0.3, atol=0.3)
    model.save_pretrained(tmp_path)
    twin = VisionLSTM.from_pretrained(tmp_path)
    assert twin.vision == model.vision and twin.vision.pooling == "mean"
    torch.testing.assert_close(twin(x), model(x))
    model.reset_classifier(0)
    assert model(x).shape == (2, model.num_features) and isinstance(model.get_classifier(), torch.nn.Identity)


def test_checkpointed_gradients_are_the_same():
    model = small_model("vil_mlp_tiny").train()
    x = torch.randn(2, 3, 16, 16)
    found = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(x).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("packed", [False, True])
def test_drop_path_leaves_out_whole_images(packed):
    drop = DropPath(0.25).train()
    x = torch.ones(1, 4000, 1) if packed else torch.ones(1000, 4, 1)
    layout = Layout(((1000, (2, 2)),), packed)
    y = drop(x, layout).view(1000, 4)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (y == y[:, :1]).all() and abs(y.mean() - 1) < 0.06
    assert torch.equal(drop.eval()(x, layout), x)


def test_drop_path_rates():
    rates = [block.drop_path.rate for block in small_model(drop_path_rate=0.3, drop_path_decay=True).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [block.drop_path.rate for block in small_model(drop_path_rate=0.3).blocks] == [0.3] * 4


def test_a_small_model_learns():
    torch.manual_seed(1)
    model = create_model(
        "vil_tiny", embedding_dim=16, num_blocks=2, img_size=8, patch_size=2, num_classes=2, in_chans=1
    )
    x = torch.randn(64, 1, 8, 8)
    y = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).float().mean() > 0.9


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 1, 16, 16), r"shape \[batch, 3, height, width\], got \[1, 1, 16, 16\]"),
        (torch.zeros(3, 16, 16), "got \\[3, 16, 16\\]"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "scale and normalise"),
        ([], "an empty one"),
        ([torch.zeros(1, 3, 16, 16)], r"a list of images \[channels, \*size\]"),
    ],
)
def test_images_that_do_not_fit(images, message):
    with pytest.raises(ValueError, match=message):
        small_model()(images)


@pytest.mark.parametrize("sizes", [[(16, 16)], [(16, 17), (8, 8)], [(0, 4), (8, 8)], [(8,), (8,)]])
def test_sizes_that_do_not_fit(sizes):
    with pytest.raises(ValueError, match="size"):
        small_model()(torch.zeros(2, 3, 16, 16), sizes)


@pytest.mark.parametrize(
    ("vision", "backbone", "message"),
    [
        ({"stride": 20}, {}, "pixels between patches would be lost"),
        ({"scan": "zigzag"}, {}, "scan is one of .*, not 'zigzag'"),
        ({"img_size": (8,), "patch_size": 2, "scan": "quad"}, {}, "at least two dimensions"),
        ({"img_size": (8, 8, 8, 8)}, {}, "one to three positive whole numbers"),
        ({"patch_size": (4, 4, 4)}, {}, "has 3 dimensions, img_size has 2"),
        ({"conv": "none", "conv_kernel_size": 3}, {}, "has no effect"),
        ({"conv_kernel_size": 4}, {}, "odd over the grid"),
        ({"drop_path_rate": 1.0}, {}, "drop_path_rate=1.0"),
        ({"num_classes": -1}, {}, "num_classes=-1"),
        ({"head_norm_eps": 0.0}, {}, "head_norm_eps=0.0 must be positive"),
        ({"positions": "sincos"}, {"embedding_dim": 18, "num_heads": 2, "proj_round_to": 4}, "multiple of 4"),
        ({}, {"direction": "bidirectional"}, "`vision.scan` says how they read"),
        ({}, {"slstm_at": (0,)}, "made of mLSTM blocks"),
        ({}, {"rotary_base": 1e4}, "leave rotary_base out"),
        ({}, {"conv1d_kernel_size": 4}, "`vision.conv`"),
        ({"conv": "causal"}, {"family": "xlstm-large"}, "'grid' or 'none'"),
    ],
)
def test_options_that_do_not_fit(vision, backbone, message):
    with pytest.raises(ValueError, match=message):
        VisionLSTM(VisionConfig(**vision), xLSTMConfig(**backbone))


def test_config_takes_numbers_and_lists():
    config = VisionConfig(img_size=32, patch_size=[8, 4])
    assert (config.img_size, config.patch_size, config.stride, config.grid) == ((32, 32), (8, 4), (8, 4), (4, 8))
    assert VisionConfig(**dataclasses.asdict(config)) == config


def test_exported_for_any_batch_size():
    model = small_model(scan="quad", num_blocks=1)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (torch.zeros(2, 3, 8, 12),), dynamic_shapes={"x": {0: batch}}).module()
    x = torch.randn(5, 3, 8, 12)
    torch.testing.assert_close(exported(x), model(x))


def test_compiled_without_a_break():
    model = small_model(scan="hilbert", num_blocks=2)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(compiled(x), model(x))
