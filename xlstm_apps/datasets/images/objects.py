"""From a mask to single objects: connected components, or a watershed where objects touch. NumPy and SciPy only."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

LEVELS = 32
"""Steps in which a watershed rises."""
Separation = Literal["components", "watershed"]


def objects_of(mask: np.ndarray, how: Separation = "components", *, smallest: int = 0, apart: int = 5) -> np.ndarray:
    """Numbers of objects, from 1; 0 = none.

    Args:
        mask: Boolean, of two or three dimensions.
        how: `components`: what hangs together, corners included, is one object. `watershed`: such a piece is cut at its
            waists, so that each part has one place that lies deepest within it.
        smallest: Objects of fewer pixels are left out.
        apart: Watershed: deepest places closer than this many pixels are one.

    Raises:
        ValueError: Another `how`, or negative numbers.
    """
    if how not in ("components", "watershed"):
        raise ValueError(f"objects are told apart by 'components' or 'watershed', not {how!r}")
    if smallest < 0 or apart < 1:
        raise ValueError(f"smallest={smallest} must not be negative, apart={apart} must be at least 1")
    mask = np.asarray(mask, bool)
    numbers, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if how == "watershed" and mask.any():
        numbers = _watershed(mask, numbers, apart)
    if smallest > 1:
        sizes = np.bincount(numbers.reshape(-1))
        numbers = np.where(sizes[numbers] < smallest, 0, numbers)
    return renumbered(numbers)


def renumbered(numbers: np.ndarray) -> np.ndarray:
    """The same objects with numbers 1, 2, 3 ... in the order of their first pixels."""
    found, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(np.where(found == 0, -1, first), kind="stable")
    new = np.empty(len(found), np.int32)
    new[order] = np.arange(len(found)) + (0 if (found == 0).any() else 1)
    return new[inverse].reshape(numbers.shape)


def parted(numbers: np.ndarray) -> np.ndarray:
    """Where objects are, without the pixels at which one touches another: a boolean mask whose connected components are
    the objects."""
    numbers = np.asarray(numbers).astype(np.int64)  # room for one number more than the highest
    highest = ndimage.maximum_filter(numbers, 3)
    above = int(numbers.max(initial=0)) + 1  # background counts as higher than all objects
    lowest = ndimage.minimum_filter(np.where(numbers == 0, above, numbers), 3)
    return (numbers != 0) & (highest == numbers) & (lowest == numbers)


def _watershed(mask: np.ndarray, pieces: np.ndarray, apart: int) -> np.ndarray:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
    smooth = ndimage.gaussian_filter(depth, 1.0)
    peaks = mask & (smooth == ndimage.maximum_filter(smooth, 2 * apart + 1)) & (depth >= 1)
    seeds, count = ndimage.label(peaks, np.ones((3,) * mask.ndim))
    # A piece whose deepest place is hidden by that of a neighbour keeps a seed of its own.
    hidden = np.setdiff1d(np.unique(pieces), [0, *np.unique(pieces[peaks])])
    for place in ndimage.maximum_position(depth, pieces, hidden):
        count += 1
        seeds[place] = count
    # Flood from the deepest places up: at each level a seed takes what it reaches without leaving the mask.
    for level in [*np.linspace(float(smooth.max()), 0, LEVELS, endpoint=False), -np.inf]:
        open_ = mask & (smooth >= level) & (seeds == 0)
        while open_.any():
            reached = np.where(open_, ndimage.maximum_filter(seeds, 3), 0)
            if not reached.any():
                break
            seeds = seeds + reached
            open_ &= reached == 0
    return seeds
