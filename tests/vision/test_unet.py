"""The segmentation network: any size, both ways, half precision, equal sizes, slices, other people's harnesses."""

import dataclasses

import pytest
import torch

from xlstm_apps.core.size import count_weights
from xlstm_apps.vision.segment_loss import dice_cross_entropy
from xlstm_apps.vision.unet import XLSTMUNet, plain_of_equal_size
from xlstm_apps.vision.unet_blocks import InstanceNorm
from xlstm_apps.vision.unet_config import UNetConfig, strides_for
from xlstm_apps.vision.unet_plans import xlstm_unet
from xlstm_apps.vision.unet_slices import read_slices, stream_slices

SMALL = (8, 12, 16)
WHERE = ["none", "bottleneck", "encoder", "decoder", "all"]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def lively(*args, **options):
    """A network with every parameter off its initial value."""
    network = XLSTMUNet(*args, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("size", [(17, 23), (1, 5), (5, 6, 3)])
def test_any_size_and_every_weight_is_used(where, size):
    network = XLSTMUNet(len(size), 2, 3, SMALL, where=where, deep_supervision=True)
    fine, coarse = network(torch.randn(2, 2, *size))
    assert fine.shape == (2, 3, *size)
    assert coarse.shape == (2, 3, *(-(-n // 2) for n in size))
    (fine.square().mean() + coarse.square().mean()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_strides_and_kernels_by_dimension():
    strides, kernels = strides_for((16, 64, 64), (5.0, 1.0, 1.0), stages=4)
    assert strides == [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)]
    assert kernels == [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)]
    network = XLSTMUNet(3, 1, 2, (8, 8, 8, 8), strides=strides, kernel_sizes=kernels)
    assert network(torch.randn(1, 1, 5, 20, 12)).shape == (1, 2, 5, 20, 12)
    assert strides_for((64, 64), stages=3)[0] == [(1, 1), (2, 2), (2, 2)]
    assert len(strides_for((9, 9), smallest=4)[0]) == 2  # 9 -> 5, which is not halved again


@pytest.mark.parametrize("where", WHERE[1:])
def test_what_is_read_reaches_everywhere_both_ways(where):
    """One pixel in either corner changes the far corner, which convolutions of a plain network do not reach."""
    x = torch.randn(1, 1, 64, 64).double()

    def reaches(network, there, here):
        network.double()
        changed = x.clone()
        changed[0, 0, there, there] += 5.0
        # Norms see the whole map as well; without them only what reads carries anything across.
        for module in network.modules():
            if isinstance(module, InstanceNorm):
                module.forward = lambda x: x
        return (network(changed) - network(x))[0, :, here, here].abs().max().item()

    assert reaches(lively(2, 1, 2, SMALL, where="none"), 0, 63) < 1e-13
    for there, here in ((0, 63), (63, 0)):
        assert reaches(lively(2, 1, 2, SMALL, where=where), there, here) > 1e-9
    one_way = lively(2, 1, 2, SMALL, where=where, scan="raster")
    assert reaches(one_way, 0, 63) > 1e-9 and reaches(one_way, 63, 0) < 1e-13


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite(dtype):
    network = XLSTMUNet(2, 1, 2, SMALL, where="all")
    with torch.autocast("cpu", dtype=dtype):
        logits = network(torch.randn(2, 1, 20, 20) * 300)
    logits.float().square().mean().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_half_precision_gates_are_exact():
    network = XLSTMUNet(2, 1, 2, SMALL)
    seen = []
    network.encoder[-1].scan.blocks[0].mixer.gates.register_forward_hook(lambda _, x, y: seen.append(y.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.randn(1, 1, 8, 8))
    assert seen == [torch.float32]


@pytest.mark.parametrize("where", ["bottleneck", "all"])
def test_plain_network_of_equal_size(where):
    config = UNetConfig(features=(16, 32, 64), where=where)
    plain = plain_of_equal_size(2, 3, 2, config)
    weights, others = (count_weights(XLSTMUNet.from_config(2, 3, 2, c)) for c in (config, plain))
    assert plain.where == "none" and abs(weights / others - 1) < 0.02
    unchanged = dataclasses.replace(config, where="none")
    assert plain_of_equal_size(2, 3, 2, unchanged) == unchanged


def test_saved_and_loaded(tmp_path):
    network = lively(3, 1, 2, SMALL, [1, [1, 2, 2], 2], "all", "bidirectional", True, num_heads=2)
    network.save_pretrained(tmp_path)
    again = XLSTMUNet.from_pretrained(tmp_path)
    x = torch.randn(1, 1, 4, 6, 6)
    torch.testing.assert_close(again(x), network(x))


def test_resolutions_can_be_switched_off_and_on():
    network = lively(2, 1, 2, SMALL, deep_supervision=True)
    x = torch.randn(1, 1, 12, 12)
    all_of_them = network(x)
    network.decoder.deep_supervision = False
    torch.testing.assert_close(network(x), all_of_them[0])
    network.decoder.deep_supervision = True
    assert len(network(x)) == 2
    with pytest.raises(ValueError, match="one head only"):
        lively(2, 1, 2, SMALL).decoder.deep_supervision = True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "2 or 3"),
        ({"features": (8,)}, "two or more"),
        ({"strides": (1, 2)}, "one a stage"),
        ({"strides": (1, (2, 2, 2), 2)}, "or 2 of them"),
        ({"kernel_sizes": (2,)}, "odd"),
        ({"where": "middle"}, "where is one of none, bottleneck, .*, not 'middle'"),
        ({"scan": "diagonal"}, "scan is one of alternate, .*, not 'diagonal'"),
        ({"features": (8, 8), "where": "decoder"}, "three stages"),
        ({"num_heads": 0}, "num_heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"out_channels": 0}, "out_channels"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        XLSTMUNet(**{"features": SMALL, **options})


def test_wrong_images_are_refused():
    network = XLSTMUNet(2, 3, 2, SMALL)
    for x in (torch.randn(1, 1, 8, 8), torch.randn(3, 8, 8), torch.randn(1, 3, 0, 8)):
        with pytest.raises(ValueError, match=r"\[batch, 3, height, width\]"):
            network(x)
    with pytest.raises(ValueError, match="floating"):
        network(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("scan", ["alternate", "bidirectional", "quad", "snake"])
def test_slice_by_slice_is_all_slices(scan):
    network = lively(2, 1, 2, SMALL, where="all", scan=scan).double()
    volume = torch.randn(2, 1, 5, 9, 10).double()
    with torch.no_grad():
        whole, _ = read_slices(network, volume)
        first, state = read_slices(network, volume[:, :, :2])
        rest, _ = read_slices(network, volume[:, :, 2:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=2), whole, **CLOSE)
    streamed = torch.stack([*stream_slices(network, volume[0].transpose(0, 1))], dim=1)
    torch.testing.assert_close(streamed, whole[0], **CLOSE)


def test_slices_know_those_before_them_and_no_others():
    network = lively(2, 1, 2, SMALL).double()
    volume = torch.randn(1, 1, 4, 8, 8).double()
    changed = volume.clone()
    changed[0, 0, 1] += 1
    with torch.no_grad():
        difference = (read_slices(network, changed)[0] - read_slices(network, volume)[0]).abs().amax((0, 1, 3, 4))
        alone = network(volume[:, :, 0])
        first = read_slices(network, volume)[0][:, :, 0]
    assert difference[0] < 1e-13 and (difference[1:] > 1e-9).all()
    torch.testing.assert_close(alone, first, **CLOSE)  # a single slice is a picture
    with pytest.raises(ValueError, match="spatial_dims=2"):
        read_slices(lively(3, 1, 2, SMALL), volume)


def striped_then_squares(count, depth=4, side=8):
    """Volumes whose first slice has stripes along rows or columns, which decides the class of squares in the rest."""
    kind = torch.randint(1, 3, (count,))
    volume = 0.1 * torch.randn(count, 1, depth, side, side)
    label = torch.zeros(count, depth, side, side, dtype=torch.long)
    stripes = (torch.arange(side) % 2) * 2.0 - 1
    for number, k in enumerate(kind.tolist()):
        volume[number, 0, 0] += stripes if k == 1 else stripes[:, None]
        volume[number, 0, 1:, 2:6, 2:6] += 1
        label[number, 1:, 2:6, 2:6] = k
    return volume, label


@pytest.mark.parametrize("where", ["bottleneck", "none"])
def test_what_a_slice_showed_is_remembered(where):
    network = XLSTMUNet(2, 1, 3, (6, 12), where=where, num_heads=2)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(45):
        volume, label = striped_then_squares(8)
        loss = dice_cross_entropy(read_slices(network, volume)[0], label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        volume, label = striped_then_squares(64)
        right = (read_slices(network, volume)[0].argmax(1) == label)[label > 0].float().mean()
    assert right > 0.9 if where == "bottleneck" else right < 0.75  # without memory it is a guess


PLANS = {
    "n_stages": 3,
    "features_per_stage": [8, 12, 16],
    "kernel_sizes": [[3, 3], [3, 3], [3, 3]],
    "strides": [[1, 1], [2, 2], [2, 2]],
    "n_conv_per_stage": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin_kwargs": {"inplace": True},
}


def test_plans_of_nnunet_own_words():
    network = xlstm_unet(3, 4, conv_op=torch.nn.Conv2d, norm_op=torch.nn.InstanceNorm2d, where="all", **PLANS)
    assert network(torch.randn(1, 3, 12, 12)).shape == (1, 4, 12, 12)
    deep = xlstm_unet(3, 4, conv_op=torch.nn.Conv2d, deep_supervision=True, **PLANS)
    network = xlstm_unet(3, 4, conv_op=torch.nn.Conv2d, deep_supervision=False, **PLANS)
    network.load_state_dict(deep.state_dict())  # as inference does, which wants one output only
    with pytest.raises(ValueError, match="norm_op"):
        xlstm_unet(3, 4, conv_op=torch.nn.Conv2d, norm_op=torch.nn.BatchNorm2d, **PLANS)
    with pytest.raises(ValueError, match="stride_x"):
        xlstm_unet(3, 4, conv_op=torch.nn.Conv2d, stride_x=1, **PLANS)
    with pytest.raises(ValueError, match="n_stages"):
        xlstm_unet(3, 4, conv_op=torch.nn.Conv2d, **{**PLANS, "n_stages": 4})


@pytest.mark.filterwarnings("ignore")  # theirs
def test_nnunet_finds_the_network_by_its_dotted_path():
    loading = pytest.importorskip(
        "nnunetv2.utilities.get_network_from_plans",
        reason="nnunetv2 is not installed; it brings torchvision along, which not every torch has",
        exc_type=ImportError,
    )
    classes = {"conv_op": "torch.nn.Conv2d", "norm_op": "torch.nn.InstanceNorm2d", "nonlin": "torch.nn.LeakyReLU"}
    network = loading.get_network_from_plans(
        "xlstm_apps.vision.unet_plans.xlstm_unet", {**PLANS, **classes}, [*classes], 1, 4, deep_supervision=True
    )
    outputs = network(torch.rand(2, 1, 32, 32))
    assert [tuple(one.shape) for one in outputs] == [(2, 4, 32, 32), (2, 4, 16, 16)]
    network.decoder.deep_supervision = False
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 4, 32, 32)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_monai_windows_and_loss():
    inferers = pytest.importorskip("monai.inferers", reason="monai is not installed", exc_type=ImportError)
    losses = pytest.importorskip("monai.losses", reason="monai is not installed", exc_type=ImportError)
    network = XLSTMUNet(spatial_dims=2, in_channels=1, out_channels=3, features=SMALL).eval()
    with torch.no_grad():
        logits = inferers.sliding_window_inference(torch.rand(1, 1, 40, 50), (32, 32), 2, network, overlap=0.25)
    assert logits.shape == (1, 3, 40, 50)
    loss = losses.DiceCELoss(to_onehot_y=True, softmax=True)(logits, torch.zeros(1, 1, 40, 50))
    assert loss.isfinite()
