"""Mistakes of a classifier as picture files, with a table of what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xlstm_apps.datasets.images import ImageSet
from xlstm_apps.datasets.images.batches import channels_first, fitted
from xlstm_apps.datasets.images.shapes import nearest_shapes
from xlstm_apps.estimators.vision_scores import Tables
from xlstm_apps.thinning import evenly
from xlstm_apps.training import files
from xlstm_apps.vision.training_config import ImagesConfig

EACH, MOST_CLASSES, MOST_EXAMPLES = 7, 20, 70
"""Examples of a class, classes, and examples in all."""
LEAST = 96
"""Pixels across a picture at least; smaller images are shown larger, their pixels as squares."""


def write_mistakes(
    folder: Path,
    images: ImageSet,
    rows: np.ndarray,
    found: Tables,
    truth: np.ndarray,
    said: np.ndarray,
    looks: ImagesConfig,
) -> None:
    """`mistakes.csv` and `mistakes/001.png` and so on, the surest first, as the network saw them."""
    from PIL import Image

    table: list[dict[str, Any]] = []
    with files.replacing_folder(folder / "mistakes") as aside:
        for number, place in enumerate(found.mistakes, 1):
            Image.fromarray(seen(images, int(rows[place]), looks)).save(aside / f"{number:03}.png")
            guess = int(said[place].argmax())
            table.append(
                {
                    "picture": f"mistakes/{number:03}.png",
                    "id": images.ids[int(rows[place])],
                    "label": looks.classes[int(truth[place])],
                    "predicted": looks.classes[guess],
                    "p_predicted": float(f"{said[place, guess]:.4g}"),
                    "p_label": float(f"{said[place, truth[place]]:.4g}"),
                }
            )
    if table:
        files.write_rows(folder / "mistakes.csv", table)


def write_examples(
    folder: Path, images: ImageSet, rows: np.ndarray, truth: np.ndarray, said: np.ndarray, looks: ImagesConfig
) -> None:
    """`examples.csv` and `examples/001.png` and so on: some images of every class, evenly drawn."""
    from PIL import Image

    classes = np.unique(truth)[:MOST_CLASSES]
    each = max(1, min(EACH, MOST_EXAMPLES // len(classes)))
    table: list[dict[str, Any]] = []
    with files.replacing_folder(folder / "examples") as aside:
        for name in classes.tolist():
            members = np.flatnonzero(truth == name)
            for place in members[evenly(len(members), each)].tolist():
                picture = f"{len(table) + 1:03}.png"
                Image.fromarray(seen(images, int(rows[place]), looks)).save(aside / picture)
                table.append(
                    {
                        "picture": f"examples/{picture}",
                        "id": images.ids[int(rows[place])],
                        "label": looks.classes[name],
                        "predicted": looks.classes[int(said[place].argmax())],
                    }
                )
    files.write_rows(folder / "examples.csv", table)


def seen(images: ImageSet, number: int, looks: ImagesConfig) -> np.ndarray:
    """An image as the network sees it, uint8 [H, W] or [H, W, 3], small ones enlarged."""
    shapes = looks.shapes or (looks.sides,)
    sides = shapes[int(nearest_shapes(shapes, images.sizes[[number]])[0])]
    found = fitted(channels_first(images[number]), sides, looks.fit, looks.background).numpy()
    if found.dtype != np.uint8:
        found = np.rint(found / max(float(found.max()), 1e-6) * 255).astype(np.uint8)
    shown = found.transpose(1, 2, 0)
    times = -(-LEAST // looks.img_size)
    shown = shown.repeat(times, 0).repeat(times, 1)
    return shown[..., 0] if shown.shape[2] == 1 else shown
