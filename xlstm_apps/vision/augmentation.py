"""Random changes of whole batches of images on their device: places, colours, covers, blends."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, one_hot, pad

from xlstm_apps.vision.training_config import AugmentConfig

_LUMA = (0.299, 0.587, 0.114)


def augmented(x: Tensor, config: AugmentConfig) -> Tensor:
    """Images [B, C, H, W] from 0 to 1, each changed in its own way; the random numbers are torch's."""
    if config.flip:
        x = torch.where(_coin(x), x.flip(-1), x)
    if config.rotate or config.shift or config.zoom or config.shear:
        x = moved(x, config)
    if config.jitter:
        x = jittered(x, config.jitter)
    if config.three_augment:
        x = three_augmented(x)
    if config.erasing:
        x = erased(x, config.erasing)
    return x


def moved(x: Tensor, config: AugmentConfig) -> Tensor:
    """Turned, moved, zoomed and slanted at once; what comes in from outside has the mean colour of the image's edge."""
    B = len(x)  # noqa: N806

    def between(most: float) -> Tensor:
        return (torch.rand(B, device=x.device) * 2 - 1) * most

    angle, size = between(math.radians(config.rotate)), 1 + between(config.zoom)
    height, slant = 1 + between(config.zoom / 2), between(config.shear)
    cos, sin = angle.cos(), angle.sin()
    ratio = x.shape[-1] / x.shape[-2]  # the grid's units are half the width and half the height
    rows = (
        torch.stack([cos / size, (slant - sin) / size / ratio, between(2 * config.shift)], 1),
        torch.stack([sin / size * ratio, cos / (size * height), between(2 * config.shift)], 1),
    )
    grid = affine_grid(torch.stack(rows, 1).to(x.dtype), list(x.shape), align_corners=False)
    fill = _edge(x)
    return grid_sample(x - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill


def jittered(x: Tensor, most: float) -> Tensor:
    """Brightness, contrast and saturation times something near 1."""

    def factor() -> Tensor:
        return 1 + (torch.rand(len(x), 1, 1, 1, device=x.device) * 2 - 1) * most

    x = x * factor()
    middle = grey(x).mean((1, 2, 3), keepdim=True)
    x = (x - middle) * factor() + middle
    if x.shape[1] == 3:
        shade = grey(x)
        x = (x - shade) * factor() + shade
    return x.clamp(0, 1)


def three_augmented(x: Tensor) -> Tensor:
    """Grey, solarised (light made dark) or blurred, each with one chance in three."""
    choice = torch.randint(3, (len(x), 1, 1, 1), device=x.device)
    solar = torch.where(x >= 0.5, 1 - x, x)
    return torch.where(choice == 0, grey(x).expand_as(x), torch.where(choice == 1, solar, blurred(x)))


def blurred(x: Tensor) -> Tensor:
    """Gaussian blur of random width, up to a hundredth of the image, at least half a pixel."""
    most = max(0.5, x.shape[-1] / 100)
    sigma = 0.1 + torch.rand((), device=x.device) * most
    reach = min(math.ceil(2 * (0.1 + most)), min(x.shape[-2:]) - 1)
    steps = torch.arange(-reach, reach + 1, device=x.device)
    weights = (-0.5 * (steps / sigma).square()).softmax(0).to(x.dtype)
    channels = x.shape[1]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        kernel = weights.view(shape).expand(channels, 1, *weights.view(shape).shape[2:])
        rim = (reach, reach, 0, 0) if shape[-1] == -1 else (0, 0, reach, reach)
        x = conv2d(pad(x, rim, mode="reflect"), kernel, groups=channels)
    return x


def erased(x: Tensor, probability: float) -> Tensor:
    """A rectangle of 2 to 33 % of the area covered by noise, in some of the images."""
    inside = _rectangles(x, 0.02 + 0.31 * torch.rand(len(x), device=x.device))
    hit = torch.rand(len(x), 1, 1, 1, device=x.device) < probability
    return torch.where(inside & hit, torch.rand_like(x), x)


def mixed(x: Tensor, labels: Tensor, num_classes: int, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Images blended with others of the batch, and the targets [B, classes] of the blend, smoothed."""
    targets = one_hot(labels, num_classes).to(x.dtype)
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(config, kind)]
    if kinds and torch.rand(()) < config.mix_probability:
        kind = kinds[int(torch.randint(len(kinds), ()))]
        alpha = getattr(config, kind)
        share = torch.distributions.Beta(alpha, alpha).sample((len(x),)).to(x)
        other = torch.randperm(len(x)).to(x.device)
        if kind == "mixup":
            weight = share.view(-1, 1, 1, 1)
            x = weight * x + (1 - weight) * x[other]
        else:
            inside = _rectangles(x, 1 - share)
            share = 1 - inside.to(x.dtype).mean((1, 2, 3))  # as much as is really left
            x = torch.where(inside, x[other], x)
        targets = share[:, None] * targets + (1 - share[:, None]) * targets[other]
    return x, targets * (1 - config.label_smoothing) + config.label_smoothing / num_classes


def grey(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 1, H, W], as eyes weigh colours."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * torch.tensor(_LUMA, device=x.device, dtype=x.dtype).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _rectangles(x: Tensor, area: Tensor) -> Tensor:
    """One rectangle in each image, of a share [B] of its area, cut off at the edge: bool [B, 1, H, W]."""
    side = area.sqrt() / 2
    bounds = []
    for axis, length in ((1, x.shape[-2]), (2, x.shape[-1])):
        centre = torch.rand(len(x), device=x.device)
        place = (torch.arange(length, device=x.device) + 0.5) / length
        near = (place[None] - centre[:, None]).abs() < side[:, None]
        bounds.append(near.unsqueeze(2 if axis == 1 else 1))
    return (bounds[0] & bounds[1]).unsqueeze(1)


def _coin(x: Tensor) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5


def _edge(x: Tensor) -> Tensor:
    """Mean colour of the outermost pixels: [B, C, 1, 1]."""
    rows, columns = x[..., [0, -1], :], x[..., :, [0, -1]]
    return torch.cat([rows.flatten(2), columns.flatten(2)], 2).mean(2)[..., None, None]
