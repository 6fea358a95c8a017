"""Sections of segmentation: who was better, which images were hard, which classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import polars as pl

from . import charts
from .blocks import Block, Cell, Chart, Column, Headline, Notice, Section, Table, Tile, Tone
from .headlines import not_evaluated, status
from .numbers import ABSENT, count, significant
from .run import Run, number, numbers
from .summary import DataSummary

TITLES = {"xlstm-unet": "xLSTM-UNet", "unet": "plain U-Net", "pixels": "brightness of pixels"}
MEASURES = {
    "dice": ("Dice", "overlap: 2 |A B| / (|A| + |B|), mean over images"),
    "iou": ("IoU", "overlap: |A B| / |A or B|, mean over images"),
    "hd95": ("HD95", "distance within which 95 % of the outlines lie, mean over images; less is better"),
    "f1": ("F1 of objects", "found objects overlap with true ones by more than one half"),
    "f1_ladder": ("F1 0.5 to 0.95", "mean over overlaps from 0.5 to 0.95"),
    "seconds_per_image": ("s per image", "to segment an image, in the report's run"),
    "parameters": ("weights", "number of weights"),
}
MAX_IMAGES = 400


@dataclass(frozen=True)
class Scores:
    """comparison.csv: the model that was trained first."""

    frame: pl.DataFrame

    @classmethod
    def read(cls, run: Run) -> Self | None:
        frame = run.table("evaluation/comparison.csv", "model", "dice")
        return None if frame is None else cls(frame)

    @property
    def names(self) -> list[str]:
        return self.frame["model"].to_list()

    def value(self, row: int, name: str) -> float | None:
        return number(self.frame[name][row]) if name in self.frame.columns else None

    @property
    def others(self) -> list[int]:
        """Rows of the baselines."""
        return list(range(1, len(self.frame)))

    def verdict(self) -> tuple[str, Tone]:
        """One sentence with numbers, and how it sounds."""
        ours = self.value(0, "dice")
        if ours is None:
            return "No image had anything to find, so there is no score", "warning"
        text = f"Dice {ours:.3f}"
        if (objects := self.value(0, "f1")) is not None:
            text += f", {objects:.0%} F1 of single objects"
        ranked = [(value, row) for row in self.others if (value := self.value(row, "dice")) is not None]
        if not ranked:
            return text, "plain"
        best, row = max(ranked)
        name = title(self.names[row])
        if ours >= best:
            return f"{text}; the next best, {name}, has {best:.3f}", "good"
        return f"{text}, behind {name} with {best:.3f}", "bad" if self.names[row] == "pixels" else "warning"


def title(name: str) -> str:
    """A model's name for people."""
    return TITLES.get(name, name)


def headline(run: Run) -> Headline:
    """The top of the report."""
    summary, scores, notices = DataSummary.read(run), Scores.read(run), status(run)
    name = str(run.option("data.path") or run.name).rstrip("/").rpartition("/")[2]
    subject, detail = f"Segmentation of {name}", _detail(run, summary)
    if scores is None:
        return not_evaluated(subject, detail, notices)
    verdict, tone = scores.verdict()
    tested = summary.number("split", "test", "records")
    if tested:
        once = "Tested once, on" if run.task == "vision-segment" else "Looked at"
        detail += f" {once} {count(tested, 'image')}."
        if tested < 30 and run.task == "vision-segment":
            text = f"Differences of a few hundredths may be chance on {count(tested, 'image')}; take other seeds too."
            notices.append(Notice(title="Few test images.", text=text, tone="plain"))
    tiles = []
    for key in ("dice", "iou", "hd95", "f1"):
        if (value := scores.value(0, key)) is not None:
            heading, hint = MEASURES[key]
            tiles.append(Tile(label=heading, value=significant(value, 3), hint=hint))
    return Headline(subject=subject, verdict=verdict, detail=detail, tone=tone, notices=notices, tiles=tiles)


def _detail(run: Run, summary: DataSummary) -> str:
    classes = [str(row.get("name")) for row in summary.items("quality", "classes") if isinstance(row, dict)][1:]
    where = run.option("unet.where")
    network = "A plain U-Net" if where == "none" else f"A U-Net whose {_places(where)} an xLSTM reads"
    words = f"{network} finds {', '.join(classes[:6])}{' ...' if len(classes) > 6 else ''}"
    if seen := summary.number("split", "train", "records"):
        words += f", trained on {count(seen, 'image')}"
    return f"{words}."


def _places(where: object) -> str:
    places = {"encoder": "encoder", "decoder": "decoder", "all": "encoder and decoder"}
    return places.get(str(where), "bottleneck")


def comparison(run: Run) -> Section | None:
    """Every model and measure, best in bold."""
    scores = Scores.read(run)
    if scores is None:
        return None
    columns, rows = [Column(title="Model", numeric=False)], [[Cell(text=title(name))] for name in scores.names]
    for name, (heading, hint) in MEASURES.items():
        if name not in scores.frame.columns:
            continue
        values = numbers(scores.frame, name)
        known = [value for value in values if value is not None]
        judged = name not in ("parameters", "seconds_per_image") and len(known) > 1
        best = (min if name == "hd95" else max)(known) if judged else math.nan
        columns.append(Column(title=heading, hint=hint))
        for row, value in zip(rows, values, strict=True):
            row.append(Cell(text=_text(name, value), sort=value, best=value == best))
    table = Table(
        caption="On the held-out test part" if run.task == "vision-segment" else "On these images",
        columns=columns, rows=rows, highlight=0,
        note="Means over the images in which there is something to find or something was found; objects are counted "
        "over all images together. Best value of each column in bold.",
    )  # fmt: skip
    heading = "Comparison with baselines" if len(rows) > 1 else "Scores"
    return Section(id="comparison", title=heading, blocks=[table])


def _text(name: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    if name == "parameters":
        return f"{value:,.0f}"
    return (
        f"{value:.2f}" if name == "hd95" else significant(value, 3) if name == "seconds_per_image" else f"{value:.4f}"
    )


def images(run: Run) -> Section | None:
    """Every image with its scores, the hardest first."""
    frame = run.table("evaluation/images.csv", "id", "dice", text=("id",))
    if frame is None:
        return None
    blocks: list[Block] = []
    dice = [value for value in numbers(frame, "dice") if value is not None]
    if len(dice) >= 8:
        blocks.append(_histogram(dice))
    shown = frame.head(MAX_IMAGES)
    named = [name for name in ("dice", "iou", "hd95", "f1") if name in frame.columns]
    counts = {"objects_found": "found", "objects_made_up": "made up", "objects_missed": "missed"}
    more = [name for name in frame.columns if name.startswith("dice_")]
    columns = [
        Column(title="Image", numeric=False),
        *(Column(title=MEASURES[n][0], hint=MEASURES[n][1]) for n in named),
    ]
    columns += [Column(title=words, hint=f"objects {words}") for name, words in counts.items() if name in frame.columns]
    columns += [
        Column(title=charts.shorten(name.removeprefix("dice_"), 20), hint="Dice of this class") for name in more
    ]
    rows = []
    for row in shown.iter_rows(named=True):
        cells = [Cell(text=charts.shorten(str(row["id"]), 60), sort=str(row["id"]))]
        for name in (*named, *(n for n in counts if n in frame.columns), *more):
            value = number(row[name])
            text = ABSENT if value is None else f"{value:.0f}" if name in counts else _text(name, value)
            cells.append(Cell(text=text, sort=value))
        rows.append(cells)
    note = (
        f"The {MAX_IMAGES} hardest of {len(frame):,}; all are in evaluation/images.csv."
        if len(frame) > MAX_IMAGES
        else ""
    )
    blocks.append(Table(caption="Hardest first", columns=columns, rows=rows, sortable=True, note=note))
    lead = ""
    if dice:
        low = sum(value < 0.5 for value in dice)
        lead = (
            f"{count(low, 'image')} of {len(dice):,} below a Dice of one half."
            if low
            else "All above a Dice of one half."
        )
    return Section(id="images", title="Image by image", lead=lead, blocks=blocks)


def _histogram(dice: list[float]) -> Chart:
    figure = {
        "data": [
            {
                "type": "histogram", "x": charts.rounded(dice, 3), "xbins": {"start": 0, "end": 1.0001, "size": 0.05},
                "marker": {"color": charts.MODEL}, "hovertemplate": "Dice %{x}: %{y} images<extra></extra>",
            }
        ],
        "layout": {
            "showlegend": False, "bargap": 0.05, "xaxis": {"title": {"text": "Dice"}, "range": [0, 1]},
            "yaxis": {"title": {"text": "images"}},
        },
    }  # fmt: skip
    return Chart(figure=figure, alt="How many images have which Dice coefficient.", height=240)


def classes(run: Run) -> Section | None:
    """Class by class, where there are several."""
    frame = run.table("evaluation/classes.csv", "class", "dice", text=("class",))
    if frame is None or len(frame) < 2:
        return None
    named = [name for name in ("dice", "iou", "hd95") if name in frame.columns]
    columns = [Column(title="Class", numeric=False), Column(title="images", hint="in which it is or was found")]
    columns += [Column(title=MEASURES[name][0], hint=MEASURES[name][1]) for name in named]
    rows = []
    for row in frame.iter_rows(named=True):
        cells = [Cell(text=charts.shorten(row["class"], 40)), Cell(text=f"{number(row.get('images')) or 0:.0f}")]
        cells += [Cell(text=_text(name, number(row[name])), sort=number(row[name])) for name in named]
        rows.append(cells)
    return Section(id="classes", title="Class by class", blocks=[Table(caption="", columns=columns, rows=rows)])
