"""Windows that cover, augmentation that moves images and masks alike, training, the saved model."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from xlstm_apps.vision.segment_augment import augmented, moved
from xlstm_apps.vision.segment_config import SegmentAugment, SegmentImages
from xlstm_apps.vision.segment_loss import IGNORE
from xlstm_apps.vision.segment_module import SegmentModule
from xlstm_apps.vision.segmenter import Segmenter
from xlstm_apps.vision.unet import XLSTMUNet
from xlstm_apps.vision.unet_config import UNetConfig
from xlstm_apps.vision.windows import flipped_mean, importance, slide, starts


def images(dims=2, **options):
    known = {"in_chans": 1, "names": ("background", "object"), "values": (0, 255), "patch_size": (16,) * dims}
    return SegmentImages(dims=dims, **{**known, **options})


def test_windows_cover_and_share_what_they_should():
    for length in range(1, 60):
        for window in (1, 7, 16):
            found = starts(length, window, 0.5)
            assert found[0] == 0 and max(found[-1] + window, length) == max(length, window)
            assert all(0 < b - a <= max(1, window // 2) for a, b in pairwise(found))
    assert importance((8,)).argmax() in (3, 4) and importance((4, 5)).min() >= 1e-3


@pytest.mark.parametrize("window", [None, (4, 5, 6), (100, 3, 4)])
def test_what_depends_on_no_neighbour_comes_out_of_windows_as_it_is(window):
    x = torch.randn(2, 9, 11, 7)
    slabs = [*slide(lambda x: 2 * x, lambda box: x[(slice(None), *box)], x.shape[1:], window, batch_size=3)]
    torch.testing.assert_close(torch.cat(slabs, dim=1), 2 * x)
    if window == (4, 5, 6):
        assert len(slabs) == 4 and max(slab.shape[1] for slab in slabs) <= 4


def test_only_rows_within_reach_are_read():
    """When a slab is handed out, nothing beyond its windows was read: a volume may be larger than memory."""
    x, deepest = torch.randn(1, 20, 4), 0

    def read(box):
        nonlocal deepest
        deepest = max(deepest, box[0].stop)
        return x[(slice(None), *box)]

    first = 0
    for slab in slide(lambda x: x, read, x.shape[1:], (6, 4)):
        assert deepest <= first + 6
        first += slab.shape[1]
    assert first == 20
    with pytest.raises(ValueError, match="overlap"):
        next(slide(lambda x: x, read, (20, 4), (6, 4), overlap=1.0))
    with pytest.raises(ValueError, match="window"):
        next(slide(lambda x: x, read, (20, 4), (6,)))


def test_mirror_images_are_mirrored_back():
    x = torch.randn(2, 1, 4, 5)
    torch.testing.assert_close(flipped_mean(lambda x: x, x), x)
    seen = []
    flipped_mean(lambda x: seen.append(x) or x, x)
    assert len(seen) == 4
    pushed = flipped_mean(lambda x: x.roll(1, -1), x)  # a shift becomes one to both sides
    torch.testing.assert_close(pushed, (x.roll(1, -1) + x.roll(-1, -1)) / 2)


@pytest.mark.parametrize("size", [(16, 16), (12, 16), (6, 12, 12)])
def test_images_and_masks_move_alike(size):
    label = torch.zeros(6, *size, dtype=torch.long)
    label[:, 2 : size[0] // 2 + 2, 3 : size[1] // 2] = 1
    label[:, : size[0] // 2, -3:] = 2
    image = label[:, None].float()
    new_image, new_label = moved(image, label, SegmentAugment())
    known = new_label != IGNORE
    assert known.float().mean() > 0.7 and not torch.equal(new_label, label)
    assert new_label.unique().tolist() == [IGNORE, 0, 1, 2]
    close = (new_image[:, 0][known] - new_label[known]).abs() < 0.75  # bilinear against nearest
    assert close.float().mean() > 0.97
    again_image, again = moved(image, label, SegmentAugment(flips=False, turns=False, rotate=0.0, scale=0.0))
    assert torch.equal(again, label) and torch.equal(again_image, image)


def test_a_turn_keeps_shapes_in_pictures_that_are_not_square():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    disc = (((y - 19.5) ** 2 + (x - 39.5) ** 2) < 144).long().expand(8, -1, -1)
    _, turned = moved(disc[:, None].float(), disc, SegmentAugment(flips=False, scale=0.0, rotate=45.0))
    assert ((turned == 1) == (disc == 1)).float().mean() > 0.99


def test_augmentation_repeats_with_the_seed():
    image, label = torch.randn(3, 2, 8, 8), torch.randint(0, 2, (3, 8, 8))
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(augmented(image, label, SegmentAugment()))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    for wrong in ({"rotate": -1.0}, {"scale": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SegmentAugment(**wrong)


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_training_brings_the_loss_down(precision):
    """Bright squares on noise, in single and half precision: nothing becomes NaN on the way."""
    network = XLSTMUNet(2, 1, 2, (8, 16), deep_supervision=True)
    module = SegmentModule(network, SegmentAugment())
    label = torch.zeros(4, 16, 16, dtype=torch.long)
    label[:, 4:10, 5:12] = 1
    batch = {"image": torch.randn(4, 1, 16, 16) + 3 * label[:, None], "label": label}
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    losses = []
    for _ in range(20):
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all() and losses[-1] < 0.6 * losses[0]


def test_validation_sums_over_the_whole_part(monkeypatch):
    network = XLSTMUNet(2, 1, 2, (8, 16)).eval()
    module, logged = SegmentModule(network), {}
    monkeypatch.setattr(module, "log", logged.__setitem__)
    image, label = torch.randn(5, 1, 8, 8), torch.randint(-1, 2, (5, 8, 8))
    found = network(image).argmax(1)
    truth, said = (label == 1), (found == 1) & (label != IGNORE)
    expected = 2 * (truth & said).sum() / (truth.sum() + said.sum())
    for parts in ((slice(0, 5),), (slice(0, 2), slice(2, 5))):
        module.on_validation_epoch_start()
        for n, part in enumerate(parts):
            module.validation_step({"image": image[part], "label": label[part]}, n)
        module.on_validation_epoch_end()
        assert logged["val_dice"] == pytest.approx(float(expected)) and np.isfinite(logged["val_loss"])


@pytest.mark.parametrize("dims", [2, 3])
def test_saved_model_and_prediction(tmp_path, dims):
    config = UNetConfig(features=(8, 12), deep_supervision=True, strides=(1, (2,) * dims))
    model = Segmenter(config, images(dims, mean=(1.0,), std=(2.0,))).eval()
    model.save_pretrained(tmp_path)
    again = Segmenter.from_pretrained(tmp_path)
    assert again.images == model.images and again.unet == model.unet
    pixels = np.random.default_rng(0).normal(size=(1, 20, 18, 7)[: dims + 1]).astype(np.float32)
    moments = ([1.0], [2.0])
    whole = model.classes(pixels, moments, window=None)
    with torch.no_grad():
        x = (torch.from_numpy(pixels)[None] - 1) / 2
        torch.testing.assert_close(torch.from_numpy(whole).long(), model.probabilities(x).argmax(1)[0])
    lean = again.without_coarse_heads()
    np.testing.assert_array_equal(lean.classes(pixels, moments, window=(16,) * dims, flips=True),
                                  model.classes(pixels, moments, window=(16,) * dims, flips=True))  # fmt: skip
    assert not hasattr(lean(x), "append") and isinstance(model(x), list) == (len(config.features) > 1)


@pytest.mark.parametrize("flips", [False, True])
def test_a_model_of_slices_reads_them_one_by_one(flips):
    config = UNetConfig(features=(8, 12), where="all", deep_supervision=False)
    model = Segmenter(config, images(3, slices=True)).eval()
    assert model.network.spatial_dims == 2
    volume = np.random.default_rng(0).normal(size=(1, 4, 12, 10)).astype(np.float32)
    volume.setflags(write=False)  # as what was unpacked from a file
    deepest = []

    class Volume:
        shape = volume.shape

        def __getitem__(self, box):
            deepest.append(box[1].stop)
            return volume[box]

    slabs = []
    for number, slab in enumerate(model.stream(Volume(), ([0.0], [1.0]), window=None, flips=flips)):
        assert max(deepest) == number + 1
        slabs.append(slab)
    with torch.no_grad():  # mirrored in the slices, not in their order
        x = torch.from_numpy(volume.copy())[None]
        axes = [(), (3,), (4,), (3, 4)] if flips else [()]
        whole = sum(model.probabilities(x.flip(a)).flip(a) for a in axes) / len(axes)
    np.testing.assert_allclose(np.concatenate(slabs, axis=1), whole[0].numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="slices are of volumes"):
        images(2, slices=True)
