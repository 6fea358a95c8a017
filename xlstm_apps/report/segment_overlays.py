"""Sections of segmentation that show pictures and the data."""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Iterable
from pathlib import Path

from .blocks import Block, Facts, Notice, Part, Picture, Section, Timeline
from .charts import shorten
from .numbers import ABSENT, count, percent
from .run import Run, number
from .summary import PARTS, DataSummary

WIDTH, LINE = 860, 20
MAX_BYTES = 900_000
"""Of one picture; a larger one is named instead of drawn."""


def overlays(run: Run) -> Section | None:
    """The worst images, one from the middle and the best, beside truth and mistakes."""
    if not run.has("evaluation/overlays.csv"):
        return None
    frame = run.table("evaluation/overlays.csv", "picture", "id", "dice", text=("picture", "id"))
    if frame is None:
        return None
    parts, y = [], 0
    for row in frame.iter_rows(named=True):
        found = _embedded(run.path / "evaluation" / row["picture"])
        if found is None:
            run.absent[f"evaluation/{row['picture']}"] = "not there, or too large to be shown"
            continue
        data, width, height = found
        tall = round(WIDTH * height / width)
        dice = number(row["dice"])
        score = "nothing to find, nothing found" if dice is None else f"Dice {dice:.3f}"
        where = "" if (index := number(row.get("slice"))) is None else f", slice {index:.0f} (from 0)"
        words = html.escape(f"{shorten(str(row['id']), 80)}{where}: {score}")
        parts.append(
            f'<text y="{y + LINE - 6}" fill="var(--ink)">{words}</text>'
            f'<image y="{y + LINE}" href="data:image/png;base64,{data}" width="{WIDTH}" height="{tall}"/>'
        )
        y += tall + LINE + 14
    if not parts:
        return None
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="{len(parts)} images with outlines" font-size="14" style="max-width:100%;height:auto">'
        f"{''.join(parts)}</svg>"
    )
    lead = (
        "From left to right: the image; outlines of what is there; outlines of what was found; mistakes, missed in "
        "orange, made up in red. The worst images come first, then one from the middle and the best."
    )
    if "slice" in frame.columns:
        lead += " Of each volume the slice with the most mistakes."
    return Section(id="overlays", title="Overlays", lead=lead, blocks=[Picture(svg=svg)])


def _embedded(path: Path) -> tuple[str, int, int] | None:
    """A PNG file as text, with its width and height."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) > MAX_BYTES or content[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height = struct.unpack(">II", content[16:24])
    return base64.b64encode(content).decode(), width, height


def data(run: Run) -> Section | None:
    """Images, classes, findings, split."""
    summary = DataSummary.read(run)
    if not summary.facts:
        return None
    blocks: list[Block] = [*_left_out(run, summary)]
    blocks += summary.found([str(note) for note in summary.items("notes")])
    blocks.append(Facts(items=list(_facts(run, summary))))
    sizes = {key: summary.number("split", key, "records") or 0.0 for key in PARTS}
    if total := sum(sizes.values()):
        parts = [
            Part(label=PARTS[key][0], share=size / total, detail=count(size, "image"), role=PARTS[key][1])
            for key, size in sizes.items()
            if size
        ]
        blocks.append(Timeline(title="Parts", parts=parts))
    rule = summary.record("split").get("rule")
    return Section(id="data", title="Data", lead=f"Split: {rule}." if rule else "", blocks=blocks)


def _left_out(run: Run, summary: DataSummary) -> list[Notice]:
    left = {reason: n for reason, value in summary.record("quality", "left_out").items() if (n := number(value))}
    if not left:
        return []
    text = "; ".join(f"{count(n, 'file')} {shorten(reason, 120)}" for reason, n in left.items())
    return [Notice(title="Not everything was used.", text=f"{text}; see rejected.csv.", tone="warning")]


def _facts(run: Run, summary: DataSummary) -> Iterable[tuple[str, str]]:
    yield "Source", shorten(str(run.option("data.path") or ABSENT), 200)
    kept, read = summary.number("quality", "kept"), summary.number("quality", "images")
    if kept is not None:
        yield "Images", f"{kept:,.0f}" + (f" of {read:,.0f} found" if read is not None and read != kept else "")
    sizes = [row for row in summary.items("quality", "sizes") if isinstance(row, dict)]
    shown = ", ".join(f"{' x '.join(map(str, row['size']))} ({row['images']:,})" for row in sizes[:6] if "size" in row)
    if shown:
        yield "Sizes in pixels", shown
    channels = summary.number("quality", "channels")
    if channels is not None:
        yield "Channels", f"{channels:.0f}"
    for row in summary.items("quality", "classes"):
        if isinstance(row, dict) and (share := number(row.get("share"))) is not None:
            yield (
                f"Class {shorten(str(row.get('name')), 40)}",
                f"value {row.get('value')}, {percent(share, 1)} of the pixels",
            )
    if patch := summary.items("patch_size"):
        yield "Training patches", " x ".join(map(str, patch))
    if empty := summary.number("quality", "empty"):
        yield "Empty masks", f"{empty:,.0f}"
