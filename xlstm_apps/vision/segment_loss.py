"""Dice and cross-entropy together: the loss of segmentation networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate, one_hot

IGNORE = -1
"""Label of places that are not scored: unknown, or outside the picture."""


def dice_cross_entropy(logits: Tensor | list[Tensor], labels: Tensor, *, dice: float = 0.5) -> Tensor:
    """The mean of cross-entropy and soft Dice loss over all resolutions, in float32.

    Dice is 1 - 2 |P T| / (|P| + |T|) per class but the background, with sums over the whole batch, so that an image
    without a class does not weigh as much as one full of it; a class that nobody has in the batch is left out. Coarser
    predictions, as of a network with deep supervision, are compared with the labels at their places and count half as
    much with each resolution (Isensee et al. 2021, "nnU-Net").

    Args:
        logits: [B, K, *size], K at least 2; or a list of them, the finest first, of any sizes.
        labels: Whole numbers [B, *size] from 0, the background, to K - 1; `IGNORE` = not scored.
        dice: Share of the Dice loss.

    Raises:
        ValueError: Labels or shapes that do not fit.
    """
    levels = logits if isinstance(logits, list) else [logits]
    _check(levels[0], labels)
    total, weights = levels[0].new_zeros((), dtype=torch.float32), 0.0
    for number, level in enumerate(levels):
        weight = 0.5**number
        total = total + weight * _one_level(level.float(), resized(labels, tuple(level.shape[2:])), dice)
        weights += weight
    return total / weights


def resized(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Labels [B, *size] at the places of a coarser or finer grid."""
    if tuple(labels.shape[1:]) == size:
        return labels
    return interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()


def _one_level(logits: Tensor, labels: Tensor, dice: float) -> Tensor:
    classes = logits.shape[1]
    known = labels != IGNORE
    if not bool(known.any()):
        return logits.sum() * 0.0
    entropy = cross_entropy(logits, labels.long(), ignore_index=IGNORE)
    truth = one_hot(labels.clamp(min=0).long(), classes).movedim(-1, 1) * known[:, None]
    found = logits.softmax(1) * known[:, None]
    axes = (0, *range(2, logits.dim()))
    both = (truth * found).sum(axes)[1:]
    sizes = (truth.sum(axes) + found.sum(axes))[1:]
    present = truth.sum(axes)[1:] > 0
    if not bool(present.any()):
        return (1 - dice) * entropy
    score = 2 * both[present] / sizes[present].clamp(min=1e-6)
    return (1 - dice) * entropy + dice * (1 - score.mean())


def _check(logits: Tensor, labels: Tensor) -> None:
    shapes = f"logits {[*logits.shape]}, labels {[*labels.shape]}"
    if logits.dim() < 3 or logits.shape[1] < 2:
        raise ValueError(f"logits must be [batch, classes, *size] with two classes or more; got {shapes}")
    if logits.shape[:1] + logits.shape[2:] != labels.shape:
        raise ValueError(f"each image needs one label for each of its places; got {shapes}")
    if labels.is_floating_point():
        raise ValueError(f"labels are {labels.dtype}: they must be whole numbers")
    low, high = (int(n) for n in labels.aminmax())
    if low < IGNORE or high >= logits.shape[1]:
        raise ValueError(
            f"labels run from {low} to {high}, and there are {logits.shape[1]} classes: 0 to {logits.shape[1] - 1}, "
            f"or {IGNORE} for what is not scored"
        )
