"""Random changes of images and masks together, a batch at a time, on any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from xlstm_apps.vision.segment_config import SegmentAugment
from xlstm_apps.vision.segment_loss import IGNORE


def augmented(image: Tensor, label: Tensor, how: SegmentAugment) -> tuple[Tensor, Tensor]:
    """Patches and their labels, changed at random; what comes from outside is 0 and not scored.

    Args:
        image: [B, C, *size], normalised.
        label: [B, *size].
        how: By how much. Randomness is torch's own.
    """
    image, label = moved(image, label, how)
    shape = (image.shape[0], 1, *(1,) * (image.dim() - 2))
    gain = 1 + how.contrast * _uniform(shape, image)
    shift = how.brightness * _uniform(shape, image)
    image = image * gain + shift
    if how.noise > 0:
        image = image + how.noise * _uniform(shape, image).abs() * torch.randn_like(image)
    return image, label


def moved(image: Tensor, label: Tensor, how: SegmentAugment) -> tuple[Tensor, Tensor]:
    """The part of it that moves pixels."""
    batch, dims = image.shape[0], image.dim() - 2
    both = torch.cat([image, label[:, None].to(image.dtype) - IGNORE], dim=1)  # unknown becomes 0, as outside
    if how.flips:
        for axis in range(2, image.dim()):
            chosen = torch.rand(batch) < 0.5
            both = _where(chosen, both.flip(axis), both)
    if how.turns and image.shape[-1] == image.shape[-2]:
        number = torch.randint(4, (batch,))
        for quarter in (1, 2, 3):
            both = _where(number == quarter, both.rot90(quarter, (-2, -1)), both)
    if how.rotate > 0 or how.scale > 0:
        chosen = torch.rand(2, batch) < 0.5
        angle = math.radians(how.rotate) * (2 * torch.rand(batch) - 1) * chosen[0]
        factor = torch.exp(math.log1p(how.scale) * (2 * torch.rand(batch) - 1) * chosen[1])
        size = tuple(image.shape[2:])
        grid = affine_grid(_matrices(angle, factor, size).to(image), [batch, 1, *size], align_corners=False)
        pixels = grid_sample(both[:, :-1], grid, "bilinear", align_corners=False)
        labels = grid_sample(both[:, -1:], grid, "nearest", align_corners=False)
        both = torch.cat([pixels, labels], dim=1)
    assert both.dim() == dims + 2
    return both[:, :-1], both[:, -1].round().long() + IGNORE


def _matrices(angle: Tensor, factor: Tensor, size: tuple[int, ...]) -> Tensor:
    """Turns in the plane of the last two dimensions and one factor for all: [B, D, D + 1], in torch's coordinates,
    which run from -1 to 1 along every side and start with the last."""
    dims = len(size)
    found = torch.zeros(len(angle), dims, dims + 1)
    for axis in range(dims):
        found[:, axis, axis] = 1
    ratio = size[-2] / size[-1]
    found[:, 0, 0] = found[:, 1, 1] = angle.cos()
    found[:, 0, 1], found[:, 1, 0] = -angle.sin() * ratio, angle.sin() / ratio
    return found / factor[:, None, None]


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(chosen.to(old.device).view(-1, *(1,) * (old.dim() - 1)), new, old)


def _uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Between -1 and 1."""
    return (2 * torch.rand(shape) - 1).to(like)
