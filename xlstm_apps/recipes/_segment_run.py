"""What verbs of segmentation share: where a run lies, what its images are, scores as files."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xlstm_apps.datasets.images.objects import Separation
from xlstm_apps.datasets.images.segmentation_config import MaskedImages, SegmentSource
from xlstm_apps.datasets.images.segmentation_doubts import unlike
from xlstm_apps.datasets.images.segmentation_files import Pixels
from xlstm_apps.datasets.images.segmentation_pairs import find_pairs
from xlstm_apps.datasets.images.segmentation_set import Meaning, SegmentSet, load_masked
from xlstm_apps.estimators.segment_scores import ImageScores, by_class, summary
from xlstm_apps.recipes import _segment_pictures as pictures
from xlstm_apps.recipes._terminal import showing
from xlstm_apps.training import files
from xlstm_apps.vision.segment_config import SegmentImages

_SHOWN = 5
Find = Callable[[np.ndarray], np.ndarray]
"""The class of every pixel of an image [C, *size]."""


def stem(data: SegmentSource) -> str:
    """What a run is named after."""
    path = Path(data.path).expanduser().resolve()
    return path.name.split(".")[0] or "images"


def fingerprint(data: MaskedImages) -> str:
    """Hash of names, sizes and times of all files."""
    found = hashlib.sha256()
    for pair in find_pairs(data).found:
        for path in (pair.image, pair.mask):
            assert path is not None
            status = path.stat() if path.exists() else None  # that it is not there, is told when it is read
            facts = "" if status is None else f"{status.st_size} {status.st_mtime_ns}"
            found.update(f"{pair.id}\0{pair.part}\0{facts}\n".encode())
    return found.hexdigest()


def read(data: MaskedImages, console: Console, meaning: Meaning | None = None) -> SegmentSet:
    """All images with their masks, with a bar while they are read."""
    with showing(console, "reading", len(find_pairs(data).found)) as step:
        return load_masked(data, meaning, step.advance)


def strange(image: Pixels, known: SegmentImages) -> list[str]:
    """In what an image differs from those that a model learned from."""
    return unlike(image, known.seen_spacing, known.seen_axes)


def counted(words: Iterable[str]) -> list[str]:
    """Notes on how many images differ in what."""
    found = Counter(words)
    return [f"{count:,} {'image' if count == 1 else 'images'}: {word}" for word, count in found.most_common(_SHOWN)]


def told(images: SegmentSet) -> list[str]:
    """What was read and left out, in lines."""
    report = images.report
    sizes = ", ".join(f"{' x '.join(map(str, row['size']))} ({row['images']:,})" for row in report["sizes"][:3])
    lines = [f"data      {report['kept']:,} of {report['images']:,} images, {sizes}"]
    shares = ", ".join(f"{row['name']} {row['share']:.1%}" for row in report["classes"][:8])
    lines.append(f"pixels    {shares}")
    for row in images.rejected[:_SHOWN]:
        lines.append(f"left out  {row['path']} {row['reason']}")
    if len(images.rejected) > _SHOWN:
        lines.append(f"          and {len(images.rejected) - _SHOWN:,} more, see rejected.csv")
    return lines + [f"note      {note}" for note in report["notes"]]


class Scored:
    """Images of one part as one model sees them.

    Args:
        images: With masks.
        rows: Which of them.
        find: The model.
        spacing: Of pixels, where the files do not say.
        separation: How found objects are told apart.
        smallest: Found objects of fewer pixels are left out.
        tick: Called with the number of images that are done.
    """

    def __init__(
        self,
        images: SegmentSet,
        rows: Sequence[int] | np.ndarray,
        find: Find,
        *,
        spacing: Sequence[float] | None,
        separation: Separation,
        smallest: int = 0,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        self.images, self.rows = images, [int(row) for row in rows]
        self.found: list[np.ndarray] = []
        self.scores: list[ImageScores] = []
        self.seconds = 0.0
        for row in self.rows:
            started = time.perf_counter()
            found = find(images.pixels(row))
            self.seconds += time.perf_counter() - started
            objects = images.masks[row] if images.meaning.masks == "objects" else None
            self.found.append(found)
            self.scores.append(
                ImageScores(
                    images.labels[row], found, images.meaning.names, images.spacing(row, spacing), objects=objects,
                    separation=separation, smallest=smallest,
                )
            )  # fmt: skip
            if tick is not None:
                tick(1)

    def comparison(self, model: str, parameters: int) -> dict[str, Any]:
        """The row of this model in a comparison."""
        numbers = {key: _short(value) for key, value in summary(self.scores).items()}
        each = self.seconds / max(1, len(self.rows))
        return {"model": model, **numbers, "parameters": parameters, "seconds_per_image": float(f"{each:.3g}")}

    def write(self, folder: Path) -> None:
        """`images.csv`, `classes.csv`, `overlays.csv` and the pictures that it names."""
        table = [
            {"id": self.images.ids[row], **{key: _short(value) for key, value in one.row().items()}}
            for row, one in zip(self.rows, self.scores, strict=True)
        ]
        by_dice = sorted(table, key=lambda row: math.inf if math.isnan(row["dice"]) else row["dice"])
        files.write_rows(folder / "images.csv", by_dice)
        classes = [{key: _short(value) for key, value in row.items()} for row in by_class(self.scores)]
        files.write_rows(folder / "classes.csv", classes)
        picked = pictures.chosen([row["dice"] for row in table])
        listed = []
        with files.replacing_folder(folder / "overlays") as aside:
            for number, place in enumerate(picked, 1):
                row, name = self.rows[place], f"{number:02}.png"
                truth, found = self.images.labels[row], self.found[place]
                pictures.write_panel(aside / name, pictures.panel(self.images.pixels(row), truth, found))
                where = {"slice": pictures.telling_slice(truth, found)} if found.ndim == 3 else {}
                listed.append({"picture": f"overlays/{name}", **where, **table[place]})
        files.write_rows(folder / "overlays.csv", listed)


def comparison_table(rows: Sequence[dict[str, Any]], count: int, kind: str = "held-out ") -> Table:
    """The comparison for the terminal, best values in bold."""
    what = "image" if count == 1 else "images"
    caption = "HD95: distance of 95 % of the outlines; F1: of objects that overlap by more than one half"
    table = Table(title=f"On {count:,} {kind}{what}", caption=caption, header_style="bold", min_width=60)
    table.add_column("model", min_width=max(len(row["model"]) for row in rows))
    headings = {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "f1": "F1", "f1_ladder": "F1 0.5-0.95"}
    for heading in (*headings.values(), "parameters", "s/image"):
        table.add_column(heading, justify="right")
    best = {key: (min if key == "hd95" else max)(row[key] for row in rows) for key in headings}
    for row in rows:
        cells = []
        for key in headings:
            text = f"{row[key]:.2f}" if key == "hd95" else f"{row[key]:.4f}"
            cells.append(f"[bold]{text}[/]" if row[key] == best[key] else text)
        table.add_row(row["model"], *cells, f"{row['parameters']:,}", f"{row['seconds_per_image']:g}")
    return table


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
