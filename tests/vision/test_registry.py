"""Models by name, weights from elsewhere, feature maps, groups for the optimizer."""

import re

import pytest
import torch
from small_models import small_model

from xlstm_apps.vision import FeaturePyramid, create_model, list_models, parameter_groups
from xlstm_apps.vision.groups import layer_of
from xlstm_apps.vision.weights import adapt_channels

SMALL = {"embedding_dim": 16, "num_blocks": 4, "num_heads": 2, "patch_size": 4, "img_size": 16}


def test_names():
    assert list_models("vil_v1*") == [f"vil_v1_{n}" for n in ("base", "small", "smallplus", "tiny", "tinyplus")]
    assert "vil_mlp_small" in list_models()
    with pytest.raises(ValueError, match=r"no model 'vil_tinny'; did you mean 'vil_tiny'"):
        create_model("vil_tinny")
    with pytest.raises(ValueError, match="did you mean 'num_classes'"):
        create_model("vil_tiny", num_clases=3)
    with pytest.raises(ValueError, match="features_only=True"):
        create_model("vil_tiny", **SMALL, out_indices=2)


def test_names_of_others_for_options():
    model = create_model("vil_v1_tiny", embed_dim=16, depth=3, global_pool="max", img_size=(16, 16), conv="grid")
    assert (model.config.embedding_dim, model.config.num_blocks, model.vision.pooling) == (16, 3, "max")
    assert model.vision.kernel_size == 3


def test_signals_get_patches_of_the_same_length():
    model = create_model("vil_tiny", embedding_dim=16, num_blocks=2, img_size=(64,), in_chans=1)
    assert model.vision.patch_size == (16,) and model(torch.zeros(1, 1, 80)).shape == (1, 1000)


def test_feature_maps():
    model = create_model("vil_tiny", **{**SMALL, "num_blocks": 8}, features_only=True)
    assert isinstance(model, FeaturePyramid) and model.out_indices == [1, 3, 5, 7]
    assert [one.shape for one in model(torch.zeros(2, 3, 24, 16))] == [(2, 16, 6, 4)] * 4
    assert model.feature_info[0] == {"num_chs": 16, "reduction": 4, "module": "blocks.1"}
    model = create_model("vil_tiny", **SMALL, features_only=True, out_indices=(0, -1))
    assert model.out_indices == [0, 3]
    model = create_model("vil_tiny", **SMALL, features_only=True, out_indices=[1], pooling="attention")
    model(torch.zeros(1, 3, 16, 16))[0].sum().backward()
    assert len(model.model.blocks) == 2 and all(p.grad is not None for p in model.parameters())


def test_weights_from_a_folder(tmp_path):
    trained = small_model(scan="quad_alternate", pooling="mean")
    trained.save_pretrained(tmp_path)
    x = torch.randn(2, 3, 24, 24)
    same = create_model("vil_tiny", **SMALL, pretrained_path=tmp_path).eval()
    torch.testing.assert_close(same(x), trained(x))
    larger = create_model("vil_tiny", **{**SMALL, "img_size": 24}, pretrained_path=tmp_path).eval()
    assert larger.vision.grid == (6, 6) and larger.vision.scan == "quad_alternate"
    torch.testing.assert_close(larger(x), trained(x), rtol=1e-4, atol=1e-5)
    other = create_model("vil_tiny", **SMALL, pretrained_path=tmp_path, num_classes=3, drop_path_rate=0.1).eval()
    assert other(x).shape == (2, 3) and other.blocks[0].drop_path.rate == 0.1
    torch.testing.assert_close(other.forward_features(x), trained.forward_features(x))
    grey = create_model("vil_tiny", **SMALL, pretrained_path=tmp_path, in_chans=1).eval()
    torch.testing.assert_close(grey(x[:, :1]), trained(x[:, :1].expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_weights_from_a_published_file(golden, tmp_path):
    tensors, _ = golden("vil_v2")
    file = tmp_path / "vil.th"
    torch.save({"state_dict": {k.removeprefix("sd."): v for k, v in tensors.items() if k[:3] == "sd."}}, file)
    options = {"embedding_dim": 32, "num_blocks": 4, "patch_size": 8, "img_size": 32}
    model = create_model("vil_tiny", **options, pretrained_path=file).eval()
    torch.testing.assert_close(model(tensors["x"]), tensors["y"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="these weights are not of vil_tiny: embedding_dim is 32 there, 192 here"):
        create_model("vil_tiny", pretrained_path=file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no readable weights"),
        (b"garbage", "no readable weights"),
        (b"hello, world", "no readable weights"),  # read as a pickle, whose second letter asks for a memory
        (b"PK\x03\x04", "no readable weights"),
        (b"\x89PNG\r\n\x1a\n", "no readable weights: it is damaged, or no file of tensors alone .*not run.$"),
        ([1, 2], "holds a list, not a dictionary of weights by name"),
        ({1: torch.zeros(2)}, "holds a dict, not a dictionary of weights by name"),
        ({"conv1.weight": torch.zeros(2)}, "this is no vision-lstm state dict"),
    ],
)
def test_files_that_are_no_weights(content, words, tmp_path):
    file = tmp_path / "vil.th"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=rf"vil\.th: {words}"):
        create_model("vil_tiny", pretrained_path=file)
    with pytest.raises(ValueError, match="no such file"):
        create_model("vil_tiny", pretrained_path=tmp_path / "missing.th")


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_channels_that_are_all_alike_give_the_same(channels):
    weight = torch.randn(5, 3, 2, 2)
    if channels != 2:
        torch.testing.assert_close(adapt_channels(weight, channels).sum(1), weight.sum(1))
    assert adapt_channels(weight, channels).shape == (5, channels, 2, 2)


def test_groups_for_the_optimizer():
    model = small_model(pooling="attention")
    groups = parameter_groups(model, learning_rate=1.0, layer_decay=0.5, blocks_per_layer=2, weight_decay=0.1)
    assert sum(len(group["params"]) for group in groups) == len([*model.parameters()])
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    by_name = dict(model.named_parameters())
    layers = {"patch_embed.weight": 1 / 8, "blocks.1.skip": 1 / 4, "blocks.2.norm.weight": 1 / 2, "head.weight": 1.0}
    layers["blocks.1.mixer.skip"] = layers.pop("blocks.1.skip")
    assert {name: scale[id(by_name[name])] for name in layers} == layers
    free = {name for name, p in by_name.items() if decay[id(p)] == 0}
    assert {"positions.embedding", "pool.query", "head.bias", "blocks.0.mixer.skip"} <= free
    assert "blocks.0.mixer.q_proj.weight" not in free and "head.weight" not in free
    assert model.no_weight_decay() == {"positions.embedding", "pool.query"}
    torch.optim.AdamW(groups)
    for wrong in ({"layer_decay": 0.0}, {"blocks_per_layer": 0}):
        with pytest.raises(ValueError):
            parameter_groups(model, learning_rate=1.0, **wrong)


def test_patterns_of_layers_sort_parameters_as_the_groups_do():
    model = create_model("vil_nano", num_classes=3)
    found = model.group_matcher()
    (blocks, _), (last, _) = found["blocks"]
    for name, _ in model.named_parameters():
        layer, block = layer_of(name, len(model.blocks)), re.match(blocks, name)
        assert bool(re.match(found["stem"], name)) == (layer == 0), name
        assert (1 + int(block[1]) == layer) if block else layer in (0, 1 + len(model.blocks)), name
        assert not re.match(last, name) or layer == 1 + len(model.blocks)
    assert model.group_matcher(coarse=True)["blocks"] == blocks
