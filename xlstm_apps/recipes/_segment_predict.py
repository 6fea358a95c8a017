"""The steps of `vision segment predict`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from rich.console import Console

from xlstm_apps.datasets.images.decoding import pillow
from xlstm_apps.datasets.images.objects import objects_of, renumbered
from xlstm_apps.datasets.images.segmentation_config import SegmentSource
from xlstm_apps.datasets.images.segmentation_files import ending, smallest_type, write_labels
from xlstm_apps.datasets.images.segmentation_pairs import Pair, find_images
from xlstm_apps.datasets.images.segmentation_set import Unusable, read_for
from xlstm_apps.estimators.segment_saved import Reading, load_segmenter, meaning_of, segment
from xlstm_apps.recipes import _segment_pictures as pictures
from xlstm_apps.recipes._segment_run import counted, strange
from xlstm_apps.recipes._terminal import showing, tell
from xlstm_apps.training import files
from xlstm_apps.vision.segmenter import Segmenter

Objects = Literal["none", "components", "watershed"]


def predict(
    model: str,
    data: SegmentSource,
    output: str,
    reading: Reading,
    *,
    objects: Objects,
    smallest: int,
    overlays: bool,
    device: str,
) -> None:
    """Write a mask for each image into a folder that is there as a whole or not at all."""
    console, path = Console(stderr=True), files.check_new_folder(output)
    if smallest < 0:
        raise ValueError(f"smallest={smallest} must not be negative")
    segmenter = load_segmenter(model, device)
    reading.of(segmenter)
    listed = find_images(data)
    rows: list[dict[str, Any]] = []
    odd: list[str] = []
    with pillow(), files.replacing_folder(path) as aside, showing(console, "segmenting", len(listed.found)) as step:
        for pair in listed.found:
            try:
                image = read_for(pair, meaning_of(segmenter.images))
            except Unusable as error:
                if data.on_bad == "error":
                    raise ValueError(f"{error}; mend it, or leave such files out with data.on_bad skip") from None
                rows.append({"id": pair.id, "status": error.reason})
                step.advance(1)
                continue
            odd += [*image.notes, *strange(image, segmenter.images)]
            found = segment(segmenter, image.values, reading)
            labels = values(segmenter, found, objects, smallest)
            name = mask_name(pair, labels)
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            write_labels(aside / name, labels, image.header, image.spacing)
            rows.append({"id": pair.id, "status": "ok", "mask": name, **facts(segmenter, found, labels, objects)})
            if overlays:
                target = aside / "overlays" / f"{pair.id}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                pictures.write_panel(target, pictures.panel(image.values, None, found), 2)
            step.advance(1)
        bad = sum(row["status"] != "ok" for row in rows)
        if bad == len(rows):
            first = rows[0]
            raise ValueError(f"{data.path}: none of {bad:,} images can be used: {first['id']} {first['status']}")
        files.write_rows(aside / "masks.csv", sorted(rows, key=lambda row: row["status"] == "ok", reverse=True))
    notes = [*listed.notes, *counted(odd)]
    if bad:
        notes.append(f"{bad:,} of {len(rows):,} images cannot be used; masks.csv says why")
    tell(console, (f"note: {note}" for note in notes))
    made = len(rows) - bad
    tell(console, [f"{made:,} {'mask' if made == 1 else 'masks'} in {path}"])


def mask_name(pair: Pair, labels: np.ndarray) -> str:
    """Of volumes the same kind of file; of pictures PNG, or TIFF where numbers need more than 16 bits."""
    picture = ".png" if labels.max(initial=0) < 1 << 16 else ".tif"
    return f"{pair.id}{ending(pair.image) if labels.ndim == 3 else picture}"


def values(segmenter: Segmenter, found: np.ndarray, objects: Objects, smallest: int) -> np.ndarray:
    """What the file holds: values of classes, or numbers of objects."""
    classes = range(1, len(segmenter.images.names))
    if objects != "none":
        numbers, total = np.zeros(found.shape, np.int32), 0
        for number in classes:
            own = objects_of(found == number, objects, smallest=smallest)
            numbers = np.where(own > 0, own + total, numbers)
            total = int(numbers.max(initial=0))
        return renumbered(numbers)
    if smallest > 1:
        kept = np.zeros(found.shape, bool)
        for number in classes:
            kept |= objects_of(found == number, smallest=smallest) > 0
        found = np.where(kept, found, 0)
    known = segmenter.images.values
    if known == tuple(range(len(known))):
        return found  # a mask may be large: no second one beside it
    return np.array(known, smallest_type(max(known)))[found]


def facts(segmenter: Segmenter, found: np.ndarray, labels: np.ndarray, objects: Objects) -> dict[str, Any]:
    """Shares of the classes, and the number of objects."""
    row: dict[str, Any] = {
        f"share_{name}": float(f"{sum(np.count_nonzero(part == number) for part in found) / found.size:.5g}")
        for number, name in enumerate(segmenter.images.names[1:], 1)
    }
    return row if objects == "none" else {**row, "objects": int(labels.max(initial=0))}
