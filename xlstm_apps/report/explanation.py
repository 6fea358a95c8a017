"""The page of `forecast explain`: which past steps and which columns the forecasts rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from . import charts
from .blocks import Block, Cell, Chart, Column, Headline, Section, Table, Tile
from .numbers import column, count, percent, signed
from .page import assemble, write_page

MOST_SOURCES = 30
MOST_PAIRS = 200
MOST_LINES = 5


def write_explanation(path: str | Path, frames: dict[str, pl.DataFrame], *, windows: int) -> Path:
    """Write a self-contained page from the frames of an explanation.

    Args:
        path: File to write, in a folder that exists.
        frames: `variates`, `segments` and `steps`.
        windows: Held-out windows they were measured on.
    """
    sections = [_past(frames["segments"], frames["steps"]), _columns(frames["variates"])]
    return write_page(Path(path), assemble(_headline(frames, windows), sections))


def _headline(frames: dict[str, pl.DataFrame], windows: int) -> Headline:
    segments = frames["segments"]
    total = segments["change"].sum()
    strongest = segments.sort("change", descending=True).row(0, named=True)
    share = strongest["change"] / total if total else 0.0
    others = _ranked(_others(frames["variates"]))
    tiles = [
        Tile(label="Strongest past", value=_steps(strongest), hint=f"{percent(share)} of all change by past steps")
    ]
    verdict = f"The forecasts rest most on {_steps(strongest)} before them"
    if others:
        name, change = others[0]
        verdict += f", and among other columns on {charts.shorten(name, 40)}"
        tiles.append(
            Tile(label="Strongest other column", value=charts.shorten(name, 24), hint=f"changes others by {change:.2g}")
        )
    elif frames["variates"]["target"].n_unique() > 1:
        verdict += "; no column's forecast uses another column"
    return Headline(
        subject="What the forecasts rest on",
        verdict=f"{verdict}.",
        detail=f"Each part of the input was hidden in turn on {count(windows, 'held-out window')}. Changes and errors "
        "are in standard deviations of the training part. Hiding shows what this model uses, not what causes what.",
        tiles=tiles,
    )


def _past(segments: pl.DataFrame, steps: pl.DataFrame) -> Section:
    """Change and error by the stretch of the past that was hidden, the nearest at the right."""
    far_first = segments.reverse()
    names = [_range(row) for row in far_first.iter_rows(named=True)]
    rise = [b - a for a, b in zip(far_first["error"], far_first["error_without"], strict=True)]
    bars = {
        "data": [
            _bar(names, far_first["change"].to_list(), "change of the forecast", charts.MODEL),
            _bar(names, rise, "rise of the error", "var(--series-2)"),
        ],
        "layout": {
            "barmode": "group",
            "xaxis": {"title": {"text": "hidden steps before the cutoff (1 = the last one known)"}, "type": "category"},
            "yaxis": {"title": {"text": "standard deviations"}},
        },
    }
    strongest = segments.sort("change", descending=True).head(MOST_LINES).sort("from_step")
    looks = [charts.MODEL, *(f"var(--series-{i})" for i in range(2, 7))]
    lines = []
    for color, row in zip(looks, strongest.iter_rows(named=True), strict=False):
        part = steps.filter(pl.col("from_step") == row["from_step"]).sort("step")
        lines.append(
            charts.line(part["step"].to_list(), part["change"].to_list(), f"without {_range(row)}", color, width=2)
        )
    by_step = {
        "data": lines,
        "layout": {
            "xaxis": {"title": {"text": "steps ahead"}},
            "yaxis": {"title": {"text": "change of the forecast"}, "rangemode": "tozero"},
        },
    }
    blocks: list[Block] = [
        Chart(
            figure=bars,
            alt="Change of the forecast and rise of the error by the past steps that were hidden.",
            caption="A stretch whose hiding changes the forecast but not the error could be spared; a fall of the "
            "error (below nought) means the model is misled by it.",
        ),
        Chart(
            figure=by_step,
            alt="Change of the forecast by step ahead, for the stretches that matter most.",
            caption="How far ahead the stretches that matter most are felt.",
        ),
    ]
    return Section(
        id="past",
        title="Which past steps matter",
        lead="Every stretch of the past was hidden from all columns at once.",
        blocks=blocks,
    )


def _columns(variates: pl.DataFrame) -> Section:
    own = variates.filter((pl.col("kind") == "past of a target") & (pl.col("source") == pl.col("target")))
    others = _others(variates)
    blocks: list[Block] = []
    ranked = _ranked(others)[:MOST_SOURCES]
    if ranked:
        names = [charts.label(name, 40) for name, _ in reversed(ranked)]
        bar = _bar([change for _, change in reversed(ranked)], names, "change of the other forecasts", charts.MODEL)
        blocks.append(
            Chart(
                figure={
                    "data": [{**bar, "orientation": "h"}],
                    "layout": {
                        "hovermode": "closest",
                        "xaxis": {
                            "title": {"text": "mean change of the other columns' forecasts, standard deviations"}
                        },
                        "yaxis": {"type": "category"},
                    },
                },
                alt="Columns and covariates by how much hiding them changes the forecasts of other columns.",
                height=120 + 26 * len(ranked),
            )
        )
    blocks += [
        _table("A column without its own past", own, own=True),
        *([_table("A forecast without another column", others, own=False)] if len(others) else []),
    ]
    lead = (
        "Every column's whole past, and every covariate, was hidden in turn."
        if len(others)
        else "No column's forecast changes when another column is hidden: this model reads each column by itself."
    )
    return Section(id="columns", title="Which columns matter", lead=lead, blocks=blocks)


def _table(caption: str, frame: pl.DataFrame, *, own: bool) -> Table:
    shown = frame.head(MOST_PAIRS)
    largest = max(shown["change"], default=0.0) or 1.0
    texts = [column(shown[name].to_list()) for name in ("change", "error", "error_without")]
    rows = []
    for i, row in enumerate(shown.iter_rows(named=True)):
        gain = None
        if row["error"] and row["error_without"] is not None:
            gain = row["error_without"] / row["error"] - 1
        cells = [Cell(text=row["source"], sort=row["source"])]
        if not own:
            cells += [Cell(text=row["kind"]), Cell(text=row["target"], sort=row["target"])]
        cells.append(Cell(text=texts[0][i], sort=row["change"], bar=row["change"] / largest))
        cells += [Cell(text=texts[k][i], sort=row[name]) for k, name in ((1, "error"), (2, "error_without"))]
        cells.append(Cell(text=signed(gain), sort=gain))
        rows.append(cells)
    heads = [Column(title="Hidden", numeric=False)]
    if not own:
        heads += [Column(title="Kind", numeric=False), Column(title="Forecast of", numeric=False)]
    heads += [
        Column(title="Change", hint="mean absolute change of the median forecast"),
        Column(title="Error", hint="mean absolute error with everything seen"),
        Column(title="Error without", hint="mean absolute error with the column hidden"),
        Column(title="Rise", hint="by how much hiding raises the error"),
    ]
    note = f"The first {MOST_PAIRS} of {len(frame):,}; variates.csv has all." if len(frame) > MOST_PAIRS else ""
    return Table(caption=caption, columns=heads, rows=rows, note=note, sortable=True)


def _others(variates: pl.DataFrame) -> pl.DataFrame:
    """Pairs in which one column changes the forecast of another, and all covariates."""
    return variates.filter((pl.col("kind") != "past of a target") | (pl.col("source") != pl.col("target")))


def _ranked(others: pl.DataFrame) -> list[tuple[str, float]]:
    """Sources by their mean change of the forecasts they change."""
    means = others.group_by("source").agg(pl.col("change").mean()).sort("change", "source", descending=[True, False])
    return list(means.iter_rows())


def _bar(x: list[Any], y: list[Any], name: str, color: str) -> dict[str, Any]:
    values = {key: charts.rounded(v) if v and isinstance(v[0], float) else v for key, v in (("x", x), ("y", y))}
    return {"type": "bar", **values, "name": name, "marker": {"color": color}}


def _range(row: dict[str, Any]) -> str:
    first, last = row["from_step"], row["to_step"]
    return str(first) if first == last else f"{first} to {last}"


def _steps(row: dict[str, Any]) -> str:
    return f"step {row['from_step']}" if row["from_step"] == row["to_step"] else f"steps {_range(row)}"
