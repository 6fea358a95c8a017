"""What may be meant otherwise than it is read, told or refused: values of masks, places of volumes."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .nifti import ENDINGS as NIFTI
from .nifti import orientation, place_of, read_header
from .segmentation_files import Pixels, ending
from .segmentation_pairs import Pair

_USUAL_UNKNOWN = 255
_MANY, _MOST_NOTES = 4, 3
_FAR = 1.5
"""Factor by which voxels may be larger or smaller than those of training before it is told."""


def check_values(where: str, masks: Sequence[set[int]]) -> list[str]:
    """Notes on values of masks, all of which will be classes.

    Args:
        where: Begins the message.
        masks: The values in each mask.

    Raises:
        ValueError: Values that are no classes.
    """
    values = sorted(set().union(*masks))
    if values[0] < 0:
        raise ValueError(
            f"{where}: masks hold the negative value {values[0]}; if it marks what is not known: data.ignore_value "
            f"{values[0]}, else save them with classes from 0"
        )
    if values[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{where}: masks hold the value {values[-1]:,}, which masks of predictions could not hold")
    if values == [0, 1, _USUAL_UNKNOWN] and not any({1, _USUAL_UNKNOWN} <= mask for mask in masks):
        ones = sum(1 in mask for mask in masks)
        raise ValueError(
            f"{where}: {ones:,} masks hold 0 and 1, {sum(_USUAL_UNKNOWN in mask for mask in masks):,} hold 0 and 255; "
            "write the same class by the same value, or say that these are two: data.values 0,1,255"
        )
    if len(values) > 2 and _USUAL_UNKNOWN in values:
        return [
            "the value 255 is taken for a class; if it marks what is not known, as it often does: data.ignore_value 255"
        ]
    return []


def once(masks: Sequence[set[int]], names: Sequence[str]) -> list[str]:
    """Notes on values that one mask of many has, which may be a mistake.

    Args:
        masks: The values in each mask.
        names: Of the masks.
    """
    counts = Counter(value for mask in masks for value in mask)
    if len(masks) < _MANY or len(counts) < 3:
        return []
    return [
        f"the value {value} is in no mask but {next(n for n, m in zip(names, masks, strict=True) if value in m)}; it "
        "is taken for a class: if it is none, mend the mask or give data.values"
        for value, count in sorted(counts.items())
        if count == 1
    ][:_MOST_NOTES]


def thin(masks: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> list[str]:
    """A note on objects of which nothing is left once those that touch are parted."""
    total = kept = 0
    for mask, label in zip(masks, labels, strict=True):
        total += len(np.unique(mask[mask > 0]))
        kept += len(np.unique(mask[label > 0]))
    if kept == total:
        return []
    return [f"{total - kept:,} of {total:,} objects touch others and are too thin to be parted from them: not learned"]


def places(pairs: Sequence[Pair], images: Sequence[Pixels]) -> list[str]:
    """Notes on volumes that lie otherwise in space than others, or than their masks, as their headers say."""
    apart, kinds = [], Counter[str]()
    for pair, image in zip(pairs, images, strict=True):
        if image.header is None:
            continue
        kinds[orientation(image.header)] += 1
        if pair.mask is not None and ending(pair.mask) in NIFTI:
            own, other = place_of(image.header), place_of(read_header(pair.mask))
            if own is not None and other is not None and _distance(own, other, image.values.shape[:0:-1]) > 0.5:
                apart.append(pair.id)
    notes = []
    if apart:
        notes.append(
            f"masks that lie otherwise in space than their images, as their headers say: {len(apart):,} ({apart[0]}"
            f"{' ...' if len(apart) > 1 else ''}); masks are laid on images voxel by voxel, as both stand in the files"
        )
    if len(kinds) > 1:
        told = ", ".join(f"{count:,} {name or 'not known'}" for name, count in kinds.most_common())
        notes.append(
            f"volumes whose axes lead to different sides ({told}); they are read as they stand in the files, so what "
            "is left in one is right in another: turn them alike first"
        )
    return notes


def usual_axes(images: Sequence[Pixels]) -> str:
    """Where the axes of most volumes lead, such as RAS; empty where their files do not say it."""
    found = Counter(orientation(image.header) for image in images if image.header is not None)
    return found.most_common(1)[0][0] if found else ""


def unlike(image: Pixels, spacing: Sequence[float] | None, axes: str) -> list[str]:
    """In what a volume differs from those that a model learned from: their spacing, and where their axes led."""
    found = []
    if spacing is not None and len(spacing) == len(image.spacing):
        ratios = np.abs(np.log(np.divide(image.spacing, spacing)))
        if ratios.max() > math.log(_FAR):
            own, known = (" x ".join(f"{length:.3g}" for length in lengths) for lengths in (image.spacing, spacing))
            found.append(f"voxels of {own}, those of training were {known}; nothing is resampled")
    turned = "" if image.header is None else orientation(image.header)
    if axes and turned and turned != axes:
        found.append(f"axes that lead to {turned}, those of training to {axes}; nothing is turned")
    return found


def _distance(own: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far a corner of a volume lies from itself by another header, in the shortest side of a voxel."""
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, n - 1) for n in shape))])
    moved = np.linalg.norm(corners @ (own - other).T, axis=1).max()
    return float(moved / max(np.linalg.norm(own[:, :3], axis=0).min(), 1e-9))
