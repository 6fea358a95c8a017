"""The steps of `vision embed` and `vision export`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from xlstm_apps.datasets.images import ImageSource
from xlstm_apps.estimators.vision_export import ENDINGS
from xlstm_apps.estimators.vision_export import export as write_graph
from xlstm_apps.estimators.vision_saved import load_classifier
from xlstm_apps.estimators.vision_scores import features
from xlstm_apps.recipes._tables import check_target
from xlstm_apps.recipes._terminal import showing, tell
from xlstm_apps.recipes._vision_run import left_out, listed
from xlstm_apps.recipes._vision_use import batches_of, blocks
from xlstm_apps.training import files


def embed(model: str, data: ImageSource, output: str, own_size: bool, device: str) -> None:
    """Features of all images as one file."""
    path, console = Path(output), Console(stderr=True)
    check_target(path, (".npz", ".parquet"), "output")
    classifier = load_classifier(model, device)
    listing = listed(data, console, labelled=False)
    names, parts, bad = [], [], {}
    with showing(console, "embedding", len(listing.records)) as step:
        for images, rejected, records in blocks(classifier, data, listing, own_size):
            bad |= rejected
            if images is not None:
                names += images.ids
                parts.append(features(classifier, batches_of(classifier, images, own_size)))
            step.advance(len(records))
    tell(console, (f"note: {note}" for note in listing.notes))
    tell(console, left_out(bad))
    if not parts:
        raise ValueError(f"{', '.join(data.path[:3])}: none of {len(listing.records):,} files can be read")
    found = np.concatenate(parts)
    with files.replacing(path) as aside:
        if path.suffix == ".npz":
            np.savez(aside, features=found, path=np.array(names))
        else:
            pl.DataFrame({"path": names, "features": pl.Series(found, dtype=pl.Array(pl.Float32, found.shape[1]))}
                         ).write_parquet(aside)  # fmt: skip
    tell(console, [f"{len(found):,} images, {found.shape[1]} features each, in {path}"])


def export(model: str, output: str, img_size: int | None) -> None:
    """A graph that was run and compared."""
    path, console = Path(output), Console(stderr=True)
    check_target(path, ENDINGS, "output")
    if img_size is not None and img_size < 1:
        raise ValueError(f"img_size is a number of pixels, 1 or more, not {img_size}")
    classifier = load_classifier(model, "cpu")
    with console.status("exporting, and comparing what was exported"):
        worst = write_graph(classifier, path, img_size)
    sides = (img_size, img_size) if img_size else classifier.images.sides
    several = len(classifier.images.shapes)
    if several and not img_size:
        tell(console, [f"note: trained on {several} shapes of images; the graph takes the most usual one"])
    tell(Console(), [
        f"{path}: pixels [N, {classifier.model.vision.in_chans}, {sides[0]}, {sides[1]}] from 0 to 1 -> logits [N, "
        f"{len(classifier.images.classes)}]; off by at most {worst:.1g} in a probability",
        f"{path.with_suffix('.json')}: classes, and how images are brought to that size",
    ])  # fmt: skip
