"""How well masks of a set of images were found: image by image, class by class, object by object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xlstm_apps.datasets.images.objects import Separation, objects_of
from xlstm_apps.datasets.images.segmentation_set import IGNORE
from xlstm_apps.vision.segment_scores import f1, hausdorff95, instance_counts, overlap

LADDER = tuple(np.arange(0.5, 1.0, 0.05).round(2).tolist())
"""Overlaps from which on an object counts as found; the first is that of `f1`."""
Counts = list[tuple[int, int, int]]


class ImageScores:
    """Scores of one image.

    Args:
        truth: Classes [*size], `IGNORE` = not scored.
        found: Classes [*size].
        names: Of the classes, the background first.
        spacing: Length of a pixel in each dimension.
        objects: Numbers of the true objects, where the mask has them. None: what hangs together, class by class.
        separation: How found objects are told apart.
        smallest: Found objects of fewer pixels are left out.
    """

    def __init__(
        self,
        truth: np.ndarray,
        found: np.ndarray,
        names: Sequence[str],
        spacing: Sequence[float],
        *,
        objects: np.ndarray | None = None,
        separation: Separation = "components",
        smallest: int = 0,
    ) -> None:
        found = np.where(truth == IGNORE, 0, found)
        self.names = [*names]
        self.classes: list[dict[str, float]] = []
        counts = np.zeros((len(LADDER), 3), np.int64)
        for number in range(1, len(names)):
            there = (objects > 0) if objects is not None else truth == number
            said = found == number
            self.classes.append({**overlap(there, said), "hd95": hausdorff95(there, said, spacing)})
            numbers = objects if objects is not None else objects_of(there)
            counts += instance_counts(numbers, objects_of(said, separation, smallest=smallest), LADDER)
        self.counts: Counts = [tuple(row) for row in counts.tolist()]  # type: ignore[misc]

    def row(self) -> dict[str, Any]:
        """For a table of images."""
        row = {name: _mean([scores[name] for scores in self.classes]) for name in ("dice", "iou", "hd95")}
        row["f1"] = f1(*self.counts[0])
        row |= dict(zip(("objects_found", "objects_made_up", "objects_missed"), self.counts[0], strict=True))
        if len(self.classes) > 1:
            row |= {f"dice_{name}": scores["dice"] for name, scores in zip(self.names[1:], self.classes, strict=True)}
        return row


def summary(scores: Sequence[ImageScores]) -> dict[str, float]:
    """Means over the images that have something to find or where something was found; objects of all images counted
    together; `f1_ladder` is the mean of F1 over overlaps of 0.5, 0.55 ... 0.95."""
    rows = [one.row() for one in scores]
    totals = np.sum([one.counts for one in scores], axis=0)
    ladder = [f1(*row) for row in totals.tolist()]
    return {
        **{name: _mean([row[name] for row in rows]) for name in ("dice", "iou", "hd95")},
        "f1": ladder[0],
        "f1_ladder": _mean(ladder),
    }


def by_class(scores: Sequence[ImageScores]) -> list[dict[str, Any]]:
    """One row for each class but the background."""
    found = []
    for number, name in enumerate(scores[0].names[1:]):
        column = [one.classes[number] for one in scores]
        means = {key: _mean([row[key] for row in column]) for key in ("dice", "iou", "hd95")}
        found.append({"class": name, "images": sum(not math.isnan(row["dice"]) for row in column), **means})
    return found


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
