"""Sections of pictures: the surest mistakes, and examples of every class."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import polars as pl

from . import charts
from .blocks import Picture, Section
from .numbers import count, percent
from .run import Run

SIDE, GAP, LINE = 108, 12, 17
ACROSS = 7
MAX_BYTES = 300_000
"""Of one picture; a larger one is named instead of drawn."""
_TEXT = ("label", "predicted", "id", "picture")


def mistakes(run: Run) -> Section | None:
    """The mistakes that the model was surest of."""
    if not run.has("evaluation/mistakes.csv"):
        return None
    frame = run.table("evaluation/mistakes.csv", "picture", "label", "predicted", text=_TEXT)
    if frame is None:
        return None
    tiles = []
    for row in frame.iter_rows(named=True):
        sure = f" ({percent(row['p_predicted'])})" if row.get("p_predicted") is not None else ""
        lines = [f"{row['predicted']}{sure}", f"is {row['label']}"]
        tiles.append((row["picture"], lines, str(row.get("id") or ""), "var(--bad)"))
    svg = _grid(run, tiles)
    if svg is None:
        return None
    wrong = run.table("evaluation/predictions.csv", "label", "predicted", text=("id", "label", "predicted"))
    total = "" if wrong is None else f" of {wrong.filter(pl.col('label') != pl.col('predicted')).height:,}"
    lead = f"{count(len(tiles), 'mistake')}{total}, the surest first: what the model said, and what it is."
    caption = "As the model sees them. Wrong labels often show up here first."
    return Section(id="mistakes", title="Surest mistakes", lead=lead, blocks=[Picture(svg=svg, caption=caption)])


def examples(run: Run) -> Section | None:
    """Some test images of every class, with what the model says."""
    if not run.has("evaluation/examples.csv"):
        return None
    frame = run.table("evaluation/examples.csv", "picture", "label", "predicted", text=_TEXT)
    if frame is None:
        return None
    tiles = []
    for row in frame.iter_rows(named=True):
        right = row["label"] == row["predicted"]
        lines = [str(row["label"]), "" if right else f"said: {row['predicted']}"]
        tiles.append((row["picture"], lines, str(row.get("id") or ""), "" if right else "var(--bad)"))
    svg = _grid(run, tiles)
    if svg is None:
        return None
    classes = frame["label"].n_unique()
    lead = f"Test images of {count(classes, 'class', 'classes')}, drawn evenly; framed where the model is wrong."
    return Section(id="examples", title="Examples", lead=lead, blocks=[Picture(svg=svg)])


def _grid(run: Run, tiles: list[tuple[str, list[str], str, str]]) -> str | None:
    """Pictures in rows, each with lines of text below and a frame; None where no picture is there."""
    cells: list[str] = []
    height = SIDE + GAP + 2 * LINE
    for name, lines, title, frame in tiles:
        data = _embedded(run.path / "evaluation" / name)
        if data is None:
            run.absent[f"evaluation/{name}"] = "not there, or too large to be shown"
            continue
        x, y = len(cells) % ACROSS * (SIDE + GAP), len(cells) // ACROSS * (height + GAP)
        cells.append(_cell(x, y, data, lines, title, frame))
    if not cells:
        return None
    columns, rows = min(ACROSS, len(cells)), -(-len(cells) // ACROSS)
    width, tall = columns * (SIDE + GAP), rows * (height + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{tall}" viewBox="-2 -2 {width} {tall}" '
        f'role="img" aria-label="{len(cells)} pictures" font-size="12">{"".join(cells)}</svg>'
    )


def _cell(x: int, y: int, data: str, lines: list[str], title: str, frame: str) -> str:
    edge = f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="{frame}" stroke-width="2"/>' if frame else ""
    texts = ""
    for n, line in enumerate(lines):
        ink = "var(--ink-3)" if n else "var(--ink)"
        texts += f'<text y="{SIDE + LINE * (n + 1) - 2}" fill="{ink}">{charts.label(line, 18)}</text>'
    return (
        f'<g transform="translate({x} {y})"><title>{html.escape(title)}</title>'
        f'<image href="data:image/png;base64,{data}" width="{SIDE}" height="{SIDE}"/>{edge}{texts}</g>'
    )


def _embedded(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return base64.b64encode(content).decode() if len(content) <= MAX_BYTES else None
