"""The steps of `vision predict` and `evaluate`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.images import (
    ImageBatches,
    ImageData,
    ImageRecord,
    ImageSet,
    ImageSource,
    Listing,
    OwnSizes,
    read_images,
)
from xlstm_apps.datasets.images.collection import NothingReadable
from xlstm_apps.datasets.images.config import LabelledImages
from xlstm_apps.estimators import vision_scores
from xlstm_apps.estimators.vision_saved import load_classifier
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import showing, table_console, tell
from xlstm_apps.recipes._vision_pictures import write_examples, write_mistakes
from xlstm_apps.recipes._vision_run import listed, read, told
from xlstm_apps.recipes._vision_train import MAIN, comparison_table
from xlstm_apps.report import write_report
from xlstm_apps.training import RunFolder, files
from xlstm_apps.vision.classifier import ImageClassifier

_BLOCK, _FEW = 512, 16
"""Images that are decoded and held at a time, and those at their own sizes."""


def predict(model: str, data: ImageSource, output: str | None, top: int, own_size: bool, device: str) -> None:
    """Read the images, say what the model makes of each, and where the rows are."""
    target, console = TableOutput(output), Console(stderr=True)
    classifier = load_classifier(model, device)
    classes = len(classifier.images.classes)
    if not 0 <= top <= classes:
        raise ValueError(f"top={top}: the model knows {classes} classes; give 0 to {classes}")
    listing = listed(data, console, labelled=False)
    bad: list[str] = []
    with showing(console, "predicting", len(listing.records)) as step:
        rows = target.write(_frames(classifier, data, listing, top, bad, step.advance, own_size))
    tell(console, (f"note: {note}" for note in listing.notes))
    if bad:
        tell(console, [f"note: {len(bad):,} of {rows:,} files cannot be read; their rows say why"])
    tell(console, [f"{rows:,} rows in {target.name}"])


def _frames(
    classifier: ImageClassifier,
    data: ImageSource,
    listing: Listing,
    top: int,
    bad: list[str],
    tick: Any,
    own_size: bool,
) -> Iterator[pl.DataFrame]:
    """Rows in the order of the files, those without a prediction among them."""
    for images, rejected, records in blocks(classifier, data, listing, own_size):
        said = _said(classifier, images, own_size)
        found = dict(zip(map(id, images.records if images is not None else []), said, strict=True))
        rows: list[dict[str, Any]] = []
        for record in records:
            p = found.get(id(record))
            if p is None:
                rows.append({"path": record.id, "status": rejected[record.id]})
                bad.append(record.id)
            else:
                rows.append({"path": record.id, "status": "ok", **_cells(classifier.images.classes, p, top)})
        empty = dict.fromkeys(_cells(classifier.images.classes, np.zeros(len(classifier.images.classes)), top))
        texts = {"path", "status", "predicted", *(f"top{n}" for n in range(1, top + 1))}
        schema = {key: pl.String if key in texts else pl.Float64 for key in ("path", "status", *empty)}
        yield pl.DataFrame([{**empty, **row} for row in rows], schema=schema)
        tick(len(records))


def blocks(
    classifier: ImageClassifier, data: ImageSource, listing: Any, own_size: bool = False
) -> Iterator[tuple[ImageSet | None, dict[str, str], list[ImageRecord]]]:
    """Images some hundred at a time, reasons of those that cannot be read by their names, and the records of all."""
    count = _FEW if own_size else _BLOCK
    for begin in range(0, len(listing.records), count):
        part = Listing(records=listing.records[begin : begin + count])
        images, rejected = readable(part, data, classifier, own_size)
        where = {record.file: record.id for record in part.records}
        reasons = {where[row["path"]]: row["reason"] for row in rejected}
        yield images, reasons, part.records


def readable(
    part: Listing, data: ImageSource, classifier: ImageClassifier, own_size: bool = False
) -> tuple[ImageSet | None, list[dict[str, str]]]:
    """The images of a block that can be read, None where there are none, and the rest with reasons."""
    try:
        images = read_images(part, source_of(data, classifier), labelled=False, **sizes(classifier, own_size))
    except NothingReadable as error:
        return None, error.rejected
    return images, images.rejected


def source_of(data: ImageSource, classifier: ImageClassifier) -> ImageData:
    """The source with all that the classifier fixes, and room in memory for a block."""
    known = {name: getattr(data, name) for name in ("path", "path_column", "on_bad")}
    return ImageData(**known, background=classifier.images.background, fit=classifier.images.fit, memory_gb=1e3)


def sizes(classifier: ImageClassifier, own_size: bool) -> dict[str, Any]:
    """How a classifier wants its images read."""
    most = vision_scores.most_patches(classifier)

    def refuse(sides: tuple[int, int]) -> str | None:
        patches = math.prod(classifier.model.vision.grid_of(sides))
        few = not own_size or patches <= most
        return None if few else f"has {patches:,} patches at its own size, and at most {most:,} are read; shrink it"

    known = {"in_chans": classifier.model.vision.in_chans, "whole": own_size, "refuse": refuse}
    return classifier.images.sizes | known


def _said(classifier: ImageClassifier, images: ImageSet | None, own_size: bool) -> np.ndarray:
    if images is None:
        return np.zeros((0, len(classifier.images.classes)), np.float32)
    return vision_scores.probabilities(classifier, batches_of(classifier, images, own_size))


def batches_of(classifier: ImageClassifier, images: ImageSet, own_size: bool) -> ImageBatches | OwnSizes:
    """All images, as in training or each at its own height and width."""
    rows = np.arange(len(images))
    return OwnSizes(images, rows) if own_size else ImageBatches(images, rows, classifier.images.fit)


def _cells(classes: tuple[str, ...], said: np.ndarray, top: int) -> dict[str, Any]:
    if not top:
        return vision_scores.cells(classes, said)
    order = np.argsort(-said, kind="stable")[:top]
    cells: dict[str, Any] = {}
    for place, n in enumerate(order.tolist(), 1):
        cells |= {f"top{place}": classes[n], f"p{place}": float(f"{said[n]:.6g}")}
    return cells


def evaluate(model: str, data: LabelledImages, output: str, top_mistakes: int, own_size: bool, device: str) -> None:
    """Score a model on labelled images, write the folder, show the numbers."""
    console, path = Console(stderr=True), files.check_new_folder(output)
    if top_mistakes < 0:
        raise ValueError(f"top_mistakes must not be negative, not {top_mistakes}")
    classifier = load_classifier(model, device)
    looks = classifier.images
    listing = listed(data, console, labelled=True)
    held = next((p for p in ("test", "val") if any(record.part == p for record in listing.records)), None)
    if held is not None:
        listing.records = [record for record in listing.records if record.part == held]
    known = {name: getattr(data, name) for name in ("path", "on_bad")}
    source = ImageData(**known, background=looks.background, fit=looks.fit)
    images = read(source, listing, console, labelled=True, classes=looks.classes, **sizes(classifier, own_size))
    rows = np.arange(len(images))
    with showing(console, "scoring", len(images)) as step:
        said = vision_scores.probabilities(classifier, batches_of(classifier, images, own_size), step.advance)
    truth, size = images.labels, count_weights(classifier)
    table = [vision_scores.row(MAIN, truth, said, parameters=size, seconds=None)]
    table.append(vision_scores.chance(truth, len(looks.classes)))
    found = vision_scores.tables(truth, said, looks.classes, images.ids, most=top_mistakes)
    folder = RunFolder.create(
        path, "vision-evaluate", {"data": data, "model": str(model), "own_size": own_size}, parameters=size,
        resolved={"head": {"task": "classification"}, "images": asdict(looks) | {"classes": len(looks.classes)}},
    )  # fmt: skip
    for name, content in {"comparison": table, **found.tables}.items():
        files.write_rows(path / "evaluation" / f"{name}.csv", content)
    write_mistakes(path / "evaluation", images, rows, found, truth, said, looks)
    write_examples(path / "evaluation", images, rows, truth, said, looks)
    if images.rejected:
        files.write_rows(path / "rejected.csv", images.rejected)
    labels = {"task": "classification", "classes": list(looks.classes), "test": images.counts(rows)}
    split = {"rule": f"the {held} part" if held else "all images", "test": {"records": len(images)}}
    content = {"quality": images.report | {"classes": images.counts(rows)}, "labels": labels, "split": split}
    files.write_json(path / "data_summary.json", content)
    folder.note(status="finished")
    report = write_report(path)
    tell(console, told(images))
    shown = table_console()
    shown.print(comparison_table(table, f"images of the {held} part" if held else "labelled images"))
    tell(shown, [f"results in {path}; see {report}"])
