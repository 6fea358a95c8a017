"""Loss, overlap, outlines and objects of masks, on cases that can be counted by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from xlstm_apps.datasets.images.objects import objects_of, parted, renumbered
from xlstm_apps.vision.segment_loss import IGNORE, dice_cross_entropy
from xlstm_apps.vision.segment_scores import f1, hausdorff95, instance_counts, overlap


def sure(labels, classes=3):
    return 50.0 * torch.nn.functional.one_hot(labels.clamp(min=0), classes).movedim(-1, 1).float()


def test_loss_is_zero_for_what_is_right_and_large_for_what_is_wrong():
    labels = torch.randint(0, 3, (2, 6, 7))
    assert dice_cross_entropy(sure(labels), labels) < 1e-5
    assert dice_cross_entropy(sure((labels + 1) % 3), labels) > 10
    logits = torch.zeros(1, 2, 1, 4)
    labels = torch.tensor([[[0, 0, 0, 1]]])
    # Uniform: cross-entropy ln 2; Dice of class 1 = 2 * 0.5 / (1 + 2).
    expected = 0.5 * math.log(2) + 0.5 * (1 - 1 / 3)
    torch.testing.assert_close(dice_cross_entropy(logits, labels), torch.tensor(expected))
    torch.testing.assert_close(dice_cross_entropy(logits, labels, dice=0.0), torch.tensor(math.log(2)))


def test_loss_leaves_out_what_is_unknown_and_classes_nobody_has():
    labels = torch.randint(0, 2, (1, 5, 5))
    logits = torch.randn(1, 3, 5, 5, requires_grad=True)
    hidden = labels.clone()
    hidden[:, 2:] = IGNORE
    loss = dice_cross_entropy(logits, hidden)
    loss.backward()
    assert (logits.grad[:, :, 2:] == 0).all() and (logits.grad[:, :, :2] != 0).any()
    torch.testing.assert_close(loss.detach(), dice_cross_entropy(logits[:, :, :2], hidden[:, :2]).detach())
    nothing = torch.full_like(labels, IGNORE)
    assert dice_cross_entropy(logits, nothing) == 0
    assert dice_cross_entropy(logits, torch.zeros_like(labels)).isfinite()  # no foreground at all


def test_loss_of_several_resolutions_and_half_precision():
    labels = torch.randint(0, 2, (2, 8, 8))
    fine, coarse = torch.randn(2, 2, 8, 8), torch.randn(2, 2, 4, 4)
    one, other = dice_cross_entropy(fine, labels), dice_cross_entropy(coarse, labels[:, 1::2, 1::2])
    torch.testing.assert_close(dice_cross_entropy([fine, coarse], labels), (one + 0.5 * other) / 1.5)
    half = dice_cross_entropy(fine.half() * 1000, labels)
    assert half.dtype == torch.float32 and half.isfinite()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), "two classes"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5, dtype=torch.long), "one label"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4), "whole numbers"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), 2), "from 2 to 2.*0 to 1"),
    ],
)
def test_loss_refuses_what_does_not_fit(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        dice_cross_entropy(logits, labels)


def square(low, high, size=20, dims=2):
    mask = np.zeros((size,) * dims, bool)
    mask[(slice(low, high),) * dims] = True
    return mask


def test_overlap():
    a, b = square(0, 4), square(2, 6)
    assert overlap(a, b) == {"dice": pytest.approx(2 * 4 / 32), "iou": pytest.approx(4 / 28)}
    assert overlap(a, a) == {"dice": 1, "iou": 1}
    assert overlap(a, ~a)["dice"] == 0
    assert math.isnan(overlap(a & ~a, a & ~a)["dice"])
    with pytest.raises(ValueError, match="one size"):
        overlap(a, square(0, 4, size=21))


def test_hausdorff():
    a = square(5, 10)
    assert hausdorff95(a, a) == 0
    assert hausdorff95(a, np.roll(a, 3, axis=0)) == 3
    assert hausdorff95(a, np.roll(a, 3, axis=0), (2.0, 1.0)) == 6
    line, speck = np.zeros((2, 30, 30), bool)
    line[10, :] = True
    speck |= line
    speck[29, 0] = True  # one pixel of 31 on the outline is within the worst 5 %
    assert hausdorff95(line, speck) == 0
    empty = np.zeros_like(a)
    assert math.isnan(hausdorff95(empty, empty))
    assert hausdorff95(a, empty) == hausdorff95(empty, a) == pytest.approx(math.hypot(20, 20))


@pytest.mark.parametrize("dims", [2, 3])
def test_hausdorff_as_all_pairs_have_it(dims):
    generator = np.random.default_rng(0)
    masks = [ndimage.binary_dilation(generator.random((12,) * dims) > 0.98, iterations=2) for _ in range(2)]
    spacing = (1.5, 1.0, 0.5)[:dims]
    points = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing for mask in masks]
    pairs = np.sqrt(((points[0][:, None] - points[1][None]) ** 2).sum(-1))
    expected = max(np.percentile(pairs.min(1), 95), np.percentile(pairs.min(0), 95))
    assert hausdorff95(*masks, spacing) == pytest.approx(expected)


def test_instances():
    truth = np.zeros((10, 10), int)
    truth[:4, :4], truth[6:, 6:], truth[0, 9] = 7, 3, 9
    found = np.zeros_like(truth)
    found[:4, :3], found[6:8, 6:], found[9, 0] = 1, 2, 5  # 12 of 16; 8 of 16, not above one half; made up
    assert instance_counts(truth, found, (0.5, 0.8)) == [(1, 2, 2), (0, 3, 3)]
    assert f1(1, 2, 2) == pytest.approx(1 / 3)
    assert instance_counts(truth, truth) == [(3, 0, 0)]
    empty = np.zeros_like(truth)
    assert instance_counts(truth, empty) == [(0, 0, 3)] and instance_counts(empty, truth) == [(0, 3, 0)]
    assert math.isnan(f1(*instance_counts(empty, empty)[0]))
    with pytest.raises(ValueError, match=r"0\.5"):
        instance_counts(truth, found, (0.3,))


def discs(*centres, radius=7, size=40):
    y, x = np.mgrid[:size, :size]
    return np.any([(y - a) ** 2 + (x - b) ** 2 <= radius**2 for a, b in centres], axis=0)


def test_objects():
    mask = discs((10, 10), (10, 21), (30, 30))  # the first two overlap
    assert objects_of(mask).max() == 2
    cut = objects_of(mask, "watershed")
    assert cut.max() == 3 and ((cut > 0) == mask).all()
    assert cut[10, 10] != cut[10, 21] and cut[30, 30] not in (0, cut[10, 10], cut[10, 21])
    specks = mask.copy()
    specks[0, 39] = True
    assert objects_of(specks).max() == 3 and objects_of(specks, smallest=5).max() == 2
    assert objects_of(specks, "watershed").max() == 4  # a piece of one pixel is still an object
    assert objects_of(np.zeros((5, 5), bool), "watershed").max() == 0
    ball = np.zeros((9, 9, 9), bool)
    ball[1:4, 1:4, 1:4] = ball[6:8, 6:8, 6:8] = True
    assert objects_of(ball, "watershed", apart=2).max() == 2
    with pytest.raises(ValueError, match="watershed"):
        objects_of(mask, "magic")


def test_more_objects_than_there_is_room_for_pairs_of():
    numbers = np.arange(1 << 18).reshape(1 << 9, 1 << 9)
    assert instance_counts(numbers, numbers) == [((1 << 18) - 1, 0, 0)]
    assert instance_counts(numbers, numbers // 2) == [(0, (1 << 17) - 1, (1 << 18) - 1)]


def test_objects_with_the_highest_number_of_their_type_are_parted_as_all_are():
    for kind in (np.uint8, np.uint16, np.int32):
        numbers = np.zeros((5, 5), kind)
        numbers[1:4, 1:4] = np.iinfo(kind).max
        np.testing.assert_array_equal(parted(numbers), numbers > 0)


def test_watershed_of_specks_takes_a_moment():
    specks = np.random.default_rng(0).random((400, 400)) < 0.05
    pieces, cut = objects_of(specks), objects_of(specks, "watershed")
    assert cut.max() >= pieces.max() > 5_000 and (cut > 0).sum() == specks.sum()


def test_touching_objects_are_parted():
    numbers = np.zeros((6, 9), int)
    numbers[1:5, 1:4], numbers[1:5, 4:8] = 5, 2
    apart = parted(numbers)
    assert objects_of(apart).max() == 2 and objects_of(numbers > 0).max() == 1
    assert apart[:, :3].sum() == 8 and apart[:, 3:5].sum() == 0  # only where they touch, not all around
    assert set(np.unique(renumbered(numbers))) == {0, 1, 2} and renumbered(numbers)[1, 1] == 1
