"""Random changes of images: what they keep, what they change, and that they follow torch's seed."""

import pytest
import torch

from xlstm_apps.vision.augmentation import augmented, blurred, erased, grey, jittered, mixed, moved, three_augmented
from xlstm_apps.vision.training_config import AugmentConfig

OFF = AugmentConfig(flip=False, label_smoothing=0.0)


def images(count=6, channels=3, size=16):
    return torch.rand(count, channels, size, size)


def test_nothing_asked_for_changes_nothing():
    x = images()
    assert torch.equal(augmented(x, OFF), x)
    targets = mixed(x, torch.arange(6) % 3, 3, OFF)[1]
    assert targets.tolist() == torch.eye(3)[torch.arange(6) % 3].tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_everything_at_once_stays_an_image(channels):
    config = AugmentConfig(rotate=20, shift=0.1, zoom=0.2, shear=0.2, jitter=0.4, three_augment=True, erasing=0.5)
    x = images(channels=channels)
    torch.manual_seed(3)
    y = augmented(x, config)
    torch.manual_seed(3)
    assert torch.equal(augmented(x, config), y)
    assert y.shape == x.shape and y.isfinite().all() and (y >= -1e-6).all() and (y <= 1 + 1e-6).all()
    assert not torch.equal(augmented(x, config), y)


def test_flips_are_of_half_the_images():
    x = images(400, 1, 2)
    y = augmented(x, AugmentConfig())
    turned = (y == x.flip(-1)).flatten(1).all(1)
    assert torch.where(turned[:, None, None, None], x.flip(-1), x).equal(y) and 130 < turned.sum() < 270


def test_a_shift_moves_and_a_flat_image_stays_flat():
    flat = torch.full((4, 3, 8, 8), 0.3)
    config = AugmentConfig(flip=False, rotate=30, shift=0.3, zoom=0.3, shear=0.3)
    assert torch.allclose(moved(flat, config), flat, atol=1e-6)  # no dark corners
    dot = torch.zeros(200, 1, 9, 9)
    dot[:, :, 4, 4] = 1
    places = moved(dot, AugmentConfig(shift=1 / 3)).flatten(1).argmax(1)
    rows, columns = places // 9, places % 9
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(1, 8))  # three of nine pixels either way


def test_a_turn_keeps_shapes_in_pictures_that_are_not_square():
    x = torch.zeros(1, 1, 32, 64)
    x[:, :, 8:24, 24:40] = 1  # a square
    for seed in range(3):
        torch.manual_seed(seed)
        assert abs(float(moved(x, AugmentConfig(rotate=45)).sum()) - 256) < 8


def test_colours():
    x = images()
    assert torch.allclose(jittered(x, 0.0), x, atol=1e-6)
    shade = grey(x)
    assert torch.allclose(shade[0, 0, 0, 0], x[0, :, 0, 0] @ torch.tensor([0.299, 0.587, 0.114]))
    y, kinds = three_augmented(images(300)), set()
    assert y.shape == (300, 3, 16, 16)
    flat = torch.full((2, 3, 8, 8), 0.4)
    assert torch.allclose(blurred(flat), flat, atol=1e-6)
    for picture in y:
        kinds.add(bool((picture[0] == picture[1]).all()))
    assert kinds == {True, False}


def test_covers_are_rectangles_of_noise():
    x = torch.zeros(50, 1, 20, 20)
    y = erased(x, 1.0)
    area = (y != 0).float().mean((1, 2, 3))
    assert (area <= 0.36).all() and area.max() > 0.1 and torch.equal(erased(x, 0.0), x)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_blends_come_with_the_targets_of_what_is_in_them(kind):
    labels = torch.arange(8) % 4
    x = torch.zeros(8, 4, 10, 10)
    x[torch.arange(8), labels] = 1  # one channel for each class
    y, targets = mixed(x, labels, 4, AugmentConfig(**{kind: 1.0}, label_smoothing=0.0))
    assert torch.allclose(y.mean((2, 3)), targets, atol=1e-5)
    assert not torch.equal(y, x)
    smooth = mixed(x, labels, 4, AugmentConfig(label_smoothing=0.2))[1]
    assert torch.allclose(smooth, torch.eye(4)[labels] * 0.8 + 0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"crop_scale": 0.0}, "crop_scale"), ({"shift": 2.0}, "shift"), ({"rotate": 200.0}, "rotate"),
     ({"mixup": -1.0}, "mixup"), ({"label_smoothing": 1.0}, "label_smoothing"), ({"zoom": 1.0}, "zoom")],
)  # fmt: skip
def test_settings_that_mean_nothing(options, words):
    with pytest.raises(ValueError, match=f"augment.{words}"):
        AugmentConfig(**options)
