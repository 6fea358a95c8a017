"""What a classifier says of images, and how good that is: the files of `evaluation/`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from xlstm_apps.datasets.images import ImageBatches, OwnSizes
from xlstm_apps.estimators.sequence_measures import (
    calibration_rows,
    class_rows,
    confusion,
    confusion_rows,
    measures,
    threshold_rows,
)
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.module import unit_pixels
from xlstm_apps.vision.streaming import can_stream

Rows = list[dict[str, Any]]
Tick = Callable[[int], None]
MOST_COLUMNS = 100
"""Classes up to which the probability of each is written for every image, and cells of the confusion that are 0."""
BATCH_PIXELS = 128 * 128 * 64
"""Pixels read at a time."""
WHOLE_PATCHES = 65_536
"""Patches that are read in one pass at most; an image that has more at its own size is read strip by strip."""
MAP_VALUES = 2**28
"""Numbers in the map of an image that is read strip by strip; a few such maps are in memory."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Rows of the files of `evaluation/`, by name without `.csv`, and which images were mistaken most surely."""

    tables: dict[str, Rows] = field(default_factory=dict)
    mistakes: list[int] = field(default_factory=list)
    """Places in the part."""


def probabilities(network: nn.Module, batches: ImageBatches | OwnSizes, tick: Tick | None = None) -> np.ndarray:
    """Of every class for every image: float32 [N, classes].

    Args:
        network: Pixels to class scores, on the device to compute on.
        batches: The images, of one size or each of its own.
        tick: Called with the number of images that are done.
    """
    return _run(batches, lambda x, whole: (network(x) if whole else _streamed(network, x)).float().softmax(-1),
                network, tick)  # fmt: skip


def features(network: Any, batches: ImageBatches | OwnSizes, tick: Tick | None = None) -> np.ndarray:
    """What the head of an `ImageClassifier` reads, for every image: float32 [N, F]."""
    return _run(
        batches, lambda x, whole: (network.features(x) if whole else _streamed(network, x, pre_logits=True)).float(),
        network, tick,
    )  # fmt: skip


def most_patches(classifier: ImageClassifier) -> int:
    """Patches that an image at its own size may have."""
    most = MAP_VALUES // classifier.model.config.embedding_dim
    return most if can_stream(classifier.model) else WHOLE_PATCHES


def _run(
    batches: ImageBatches | OwnSizes,
    call: Callable[[torch.Tensor, bool], torch.Tensor],
    network: nn.Module,
    tick: Tick | None,
) -> np.ndarray:
    device = next(network.parameters()).device
    network.eval()
    rows, parts = [], []
    own = isinstance(batches, OwnSizes)
    for places, pixels in _alike(batches, network) if own else _cut(batches):
        whole = not own or _patches(network, pixels) <= WHOLE_PATCHES
        with torch.inference_mode():
            parts.append(call(unit_pixels(pixels.to(device)), whole).cpu().numpy())
        rows += places
        if tick is not None:
            tick(len(places))
    found = np.concatenate(parts)
    found[rows] = found.copy()
    return found


def _cut(batches: ImageBatches) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Images of one shape, and which they are."""
    size = max(1, min(512, BATCH_PIXELS // math.prod(batches.images.reading.sides)))
    for rows in batches.alike(size):
        yield rows, batches.__getitems__(rows)["pixels"]


def _patches(network: Any, pixels: torch.Tensor) -> int:
    """How many there are in images [B, C, H, W], or one [C, H, W]."""
    patches = math.prod(network.model.vision.grid_of(tuple(pixels.shape[-2:])))
    return patches * (len(pixels) if pixels.dim() == 4 else 1)


def _streamed(network: Any, x: torch.Tensor, **options: Any) -> torch.Tensor:
    """Of the one image in a batch [1, C, H, W]."""
    assert len(x) == 1
    return network.streamed(x[0], **options)


def _alike(images: OwnSizes, network: nn.Module) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Images that follow each other and have the same size, together, and which they are."""
    held: list[torch.Tensor] = []
    for n in range(len(images)):
        image = images[n]
        count = len(held) + 1
        full = count * image[0].numel() > BATCH_PIXELS or count * _patches(network, image) > WHOLE_PATCHES
        if held and (full or held[0].shape != image.shape):
            yield [*range(n - len(held), n)], torch.stack(held)
            held = []
        held.append(image)
    if held:
        yield [*range(len(images) - len(held), len(images))], torch.stack(held)


def top_k(classes: int) -> int:
    """How many guesses are allowed in the second accuracy that is told: 5, of few classes 2 or 3, of two none (0)."""
    return 5 if classes >= 10 else 3 if classes >= 6 else 2 if classes >= 3 else 0


def row(model: str, truth: np.ndarray, said: np.ndarray, **more: Any) -> dict[str, Any]:
    """One row of comparison.csv."""
    found = measures("classification", truth, said)
    k = top_k(said.shape[1])
    own = said[np.arange(len(truth)), truth][:, None]
    ahead = (said > own) | ((said == own) & (np.arange(said.shape[1]) < truth[:, None]))  # of equals, the first counts
    place = ahead.sum(1)
    tops = {f"top{k}": float((place < k).mean())} if k else {}
    shown = {"n": found["n"], "accuracy": found["accuracy"], **tops}
    return {"model": model, **shown, **{key: value for key, value in found.items() if key not in shown}, **more}


def chance(truth: np.ndarray, classes: int) -> dict[str, Any]:
    """The row of who says all classes alike and guesses one of them."""
    found = row("chance", truth, np.full((len(truth), classes), 1 / classes), parameters=0, seconds=None)
    expected = dict.fromkeys(("accuracy", "accuracy_lo", "accuracy_hi"), 1 / classes)
    expected[f"top{top_k(classes)}"] = top_k(classes) / classes
    return found | {key: value for key, value in expected.items() if key in found}


def tables(
    truth: np.ndarray, said: np.ndarray, classes: Sequence[str], ids: Sequence[str], *, most: int = 24
) -> Tables:
    """The files that tell of one classifier.

    Args:
        truth: Numbers of the classes [N].
        said: Probabilities [N, classes].
        classes: Their names.
        ids: Names of the images.
        most: Mistakes to show.
    """
    guess = said.argmax(1)
    sure, wrong = said.max(1), guess != truth
    counts, few = confusion(truth, said), len(classes) <= MOST_COLUMNS
    found: dict[str, Rows] = {
        "confusion": [row for row in confusion_rows(counts, classes) if few or row["count"]],
        "classes": class_rows(counts, classes),
        "calibration": calibration_rows(~wrong, sure),
        "predictions": [
            {"id": ids[n], "label": classes[truth[n]], **(cells if few else _guess)(classes, said[n])}
            for n in range(len(truth))
        ],
    }
    if len(classes) == 2:
        found["thresholds"] = threshold_rows(truth, said[:, 1])
    order = np.flatnonzero(wrong)
    worst = order[np.argsort(-sure[order], kind="stable")][:most].tolist()
    return Tables(tables={name: rows for name, rows in found.items() if rows}, mistakes=worst)


def _guess(classes: Sequence[str], said: np.ndarray) -> dict[str, Any]:
    """The most probable class of one image."""
    return {"predicted": classes[int(said.argmax())], "p_predicted": float(f"{said.max():.6g}")}


def cells(classes: Sequence[str], said: np.ndarray) -> dict[str, Any]:
    """What is said of one image, as columns: `predicted`, and `p_<class>` of each."""
    shares = {f"p_{name}": float(f"{p:.6g}") for name, p in zip(classes, said.tolist(), strict=True)}
    return {"predicted": classes[int(said.argmax())], **shares}
