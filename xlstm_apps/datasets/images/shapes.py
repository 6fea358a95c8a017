"""Rectangles that images of several shapes are brought to, so that little of them is cut, padded or squashed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Shape = tuple[int, int]
"""Height and width."""
_WIDEST = 4
"""Doublings from one side to the other, at most; what is longer is cut, padded or squashed."""
_BINS = 16
"""Ratios that are told apart within a doubling."""


def chosen_shapes(sizes: Sequence[Shape], side: int, count: int, step: int) -> tuple[Shape, ...]:
    """Rectangles of about side² pixels that are near to the shapes of images; that of most images first.

    The logarithms of width / height are parted so that their squared distances from the mean of their part add up to
    the least there is; each part's median makes a rectangle.

    Args:
        sizes: Height and width of the images; not empty.
        side: Of a square with as many pixels.
        count: Most rectangles.
        step: Their sides are multiples of this one: patches are full.
    """
    ratios = np.sort(np.log2([width / height for height, width in sizes]).clip(-_WIDEST, _WIDEST))
    bins = np.rint(ratios * _BINS)
    values, weights = np.unique(bins, return_counts=True)
    found = {}
    for first, last in _parted(values, weights, count):
        ratio = float(np.median(ratios[(bins >= values[first]) & (bins <= values[last])]))
        sides = (side / 2 ** (ratio / 2), side * 2 ** (ratio / 2))
        height, width = (max(1, round(one / step)) * step for one in sides)
        found[height, width] = found.get((height, width), 0) + int(weights[first : last + 1].sum())
    return tuple(sorted(found, key=lambda shape: -found[shape]))


def nearest_shapes(shapes: Sequence[Shape], sizes: np.ndarray) -> np.ndarray:
    """Number of the rectangle whose ratio of sides is nearest to that of each image [N, 2]."""
    have, want = (np.log(rows[:, 1] / rows[:, 0]) for rows in (np.asarray(shapes), sizes))
    return np.abs(want[:, None] - have).argmin(1)


def cut_off(shapes: Sequence[Shape], sizes: np.ndarray) -> float:
    """Share of the area of images [N, 2] outside the middle that has the shape of the nearest rectangle; their mean."""
    scales = np.asarray(shapes)[nearest_shapes(shapes, sizes)] / sizes
    return float(1 - (scales.min(1) / scales.max(1)).mean())


def _parted(values: np.ndarray, weights: np.ndarray, count: int) -> list[tuple[int, int]]:
    """First and last number of each of at most `count` stretches of sorted values, by dynamic programming."""
    total, first, second = (
        np.concatenate([[0.0], np.cumsum(weights * values**power)]) for power in (0, 1, 2)
    )  # sums before each value

    def spread(begin: np.ndarray, end: int) -> np.ndarray:
        """Squared distances from their mean, of the values from each `begin` up to before `end`."""
        number, plain = total[end] - total[begin], first[end] - first[begin]
        return second[end] - second[begin] - plain**2 / number

    length = len(values)
    least = np.array([0.0] + [np.inf] * length)
    cuts: list[list[int]] = []
    for _ in range(min(count, length)):
        behind, cut = [np.inf], [0]
        for end in range(1, length + 1):
            ways = least[:end] + spread(np.arange(end), end)
            cut.append(int(ways.argmin()))
            behind.append(float(ways[cut[-1]]))
        least = np.array(behind)
        cuts.append(cut)
    parts, end = [], length
    for cut in reversed(cuts):
        parts.append((cut[end], end - 1))
        end = cut[end]
    return parts[::-1]
