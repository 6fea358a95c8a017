"""How well masks agree: overlap, distance of outlines, objects found. NumPy and SciPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

Mask = np.ndarray
"""Boolean, or whole numbers, of two or three dimensions."""


def overlap(truth: Mask, found: Mask) -> dict[str, float]:
    """Dice coefficient 2 |A B| / (|A| + |B|) and intersection over union |A B| / |A or B| of two boolean masks.

    NaN where both are empty: there was nothing to find, and nothing was found.
    """
    _same_shape(truth, found)
    both, sizes = int((truth & found).sum()), int(truth.sum()) + int(found.sum())
    if sizes == 0:
        return {"dice": math.nan, "iou": math.nan}
    return {"dice": 2 * both / sizes, "iou": both / (sizes - both)}


def hausdorff95(truth: Mask, found: Mask, spacing: Sequence[float] | None = None) -> float:
    """Distance within which 95 % of either outline lie from the other one, the larger of both ways.

    Args:
        truth: Boolean mask.
        found: Boolean mask of the same shape.
        spacing: Length of a pixel in each dimension, in the unit of the result. None: 1.

    Returns:
        NaN where both are empty; the diagonal of the picture, the worst there is, where one is.
    """
    _same_shape(truth, found)
    spacing = [1.0] * truth.ndim if spacing is None else [*spacing]
    if not truth.any() and not found.any():
        return math.nan
    if not truth.any() or not found.any():
        return float(np.hypot.reduce([n * length for n, length in zip(truth.shape, spacing, strict=True)]))
    box = _box(truth | found)
    outlines = [_outline(mask[box]) for mask in (truth, found)]
    ways = []
    for here, there in (outlines, outlines[::-1]):
        distance = ndimage.distance_transform_edt(~there, sampling=spacing)
        ways.append(float(np.percentile(distance[here], 95)))
    return max(ways)


def instance_counts(truth: Mask, found: Mask, thresholds: Sequence[float] = (0.5,)) -> list[tuple[int, int, int]]:
    """Objects that were found, made up and missed, for each threshold.

    An object is found where the intersection of both over their union is above the threshold; with 1/2 or more that can
    be so for one object at most.

    Args:
        truth: Numbers of objects, 0 = none.
        found: The same.
        thresholds: Each at least 0.5 and below 1.
    """
    _same_shape(truth, found)
    if any(not 0.5 <= t < 1 for t in thresholds):
        raise ValueError(f"thresholds={[*thresholds]} must be at least 0.5, so that matches are unique, and below 1")
    (a, true_sizes), (b, found_sizes) = (_counted(mask) for mask in (truth, found))
    meeting = (a >= 0) & (b >= 0)
    # Pairs that share a pixel alone: of all pairs there can be more than memory holds.
    pairs, both = np.unique(a[meeting] * len(found_sizes) + b[meeting], return_counts=True)
    first, second = np.divmod(pairs, max(1, len(found_sizes)))
    shares = both / (true_sizes[first] + found_sizes[second] - both)
    rows = []
    for threshold in thresholds:
        hits = int((shares > threshold).sum())
        rows.append((hits, len(found_sizes) - hits, len(true_sizes) - hits))
    return rows


def f1(hits: int, made_up: int, missed: int) -> float:
    """Harmonic mean of precision and recall; NaN where there is nothing to find and nothing was found."""
    total = 2 * hits + made_up + missed
    return 2 * hits / total if total else math.nan


def _counted(numbers: Mask) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel which object it is of, from 0, -1 = none; and the pixels of each object."""
    found, place, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    objects = found != 0
    return np.where(objects, np.cumsum(objects) - 1, -1)[place.reshape(-1)], sizes[objects]


def _outline(mask: Mask) -> Mask:
    """Places of a mask with a neighbour outside of it."""
    return mask & ~ndimage.binary_erosion(mask)


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty, so that distances are computed where they matter only."""
    box = []
    for axis in range(mask.ndim):
        line = np.flatnonzero(mask.any(tuple(n for n in range(mask.ndim) if n != axis)))
        box.append(slice(int(line[0]), int(line[-1]) + 1))
    return tuple(box)


def _same_shape(truth: Mask, found: Mask) -> None:
    if truth.shape != found.shape:
        raise ValueError(f"masks of one image have one size; these have {[*truth.shape]} and {[*found.shape]}")
