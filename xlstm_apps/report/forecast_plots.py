"""Forecasts drawn: on the test part against the truth, and beyond the end of the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from . import charts
from .blocks import Block, Figure, Panel, Panels, Section
from .forecast_data import Summary, stamp
from .numbers import ABSENT, count, span
from .run import Run, numbers, quantile_columns
from .scores import Scores, title
from .sparkline import sparkline

MAX_PANELS = 60
MAX_ROWS = 40_000
"""Rows of all panels together: about two megabytes of the page."""
MAX_HISTORY = 600
MAX_HORIZON = 800
MAX_THUMBNAILS = 12

_TAIL = re.compile(r"(?<=:\d\d)(:00(\.0+)?)?\s*(Z|[+-]\d\d:?\d\d)?$")
"""Seconds of nought and the offset, which a plot does not show: its time is that of the clock on the wall."""
_OBSERVED = {"hovertemplate": "%{y:,.5~r}", "legendrank": 1}


def forecasts(run: Run) -> Section | None:
    """Forecasts of the test part, several series and cutoffs, against what happened."""
    frame = run.table("evaluation/forecasts.csv", "unique_id", "cutoff", "ds", "y")
    if frame is None:
        return None
    quantiles = quantile_columns(frame)
    if not quantiles:
        run.absent["evaluation/forecasts.csv"] = "has no quantile column"
        return None
    groups, total = _groups(frame, "unique_id", "cutoff")
    panels, rows = [], 0
    for _, part in groups:
        if panels and rows + len(part) > MAX_ROWS:
            break
        panel = _test_panel(run, part, quantiles)
        if panel is not None:
            panels.append(panel)
            rows += len(part)
    if not panels:
        return None
    panels = _thumbnails_first(panels)
    caption = "Shaded: the ranges that should hold that share of the truth. Left of the cutoff is what the model knew."
    if len(panels) < total:
        caption += f" The first {len(panels)} of {total:,} forecasts in evaluation/forecasts.csv."
    block = Panels(
        selectors=("Series", "Cutoff"),
        panels=panels,
        caption=caption,
        alt="Forecast with quantile bands against the observed values.",
    )
    names = len({panel.keys[0] for panel in panels})
    lead = f"{count(len(panels), 'forecast')} from the held-out test part, {count(names, 'series', 'series')}."
    return Section(id="forecasts", title="Forecasts against what happened", lead=lead, blocks=[block])


def beyond(run: Run) -> Section | None:
    """The forecast past the end of the data, with the last observations before it."""
    frame = run.table("predictions.csv", "unique_id", "ds")
    if frame is None:
        return None
    quantiles = quantile_columns(frame)
    if not quantiles:
        run.absent["predictions.csv"] = "has no quantile column"
        return None
    past = _last_observed(run)
    groups, total = _groups(frame.drop_nulls("ds"), "unique_id")
    if not groups:
        return None
    panels, rows = [], 0
    for (name,), part in groups:
        if panels and rows + len(part) > MAX_ROWS:
            break
        ds, y = past[name] if name in past and _joins(past[name][0], part["ds"].to_list()) else ([], [])
        panels.append(_future_panel(run, name, part, quantiles, ds, y))
        rows += len(part) + len(ds)
    caption = "Every value is in predictions.csv."
    if len(panels) < total:
        caption = f"The first {len(panels)} of {total:,} series; predictions.csv has all."
    steps = max(len(part) for _, part in groups)
    reach = span(steps, Summary.read(run).frequency)
    first, last = stamp(groups[0][1]["ds"][0]), stamp(groups[0][1]["ds"][-1])
    lead = f"{count(steps, 'step')}" + (f" ({reach})" if reach else "") + f" ahead, from {first} to {last}."
    blocks: list[Block] = [
        Panels(
            selectors=("Series",),
            panels=_thumbnails_first(panels),
            caption=caption,
            alt="Forecast beyond the end of the data.",
            height=380,
        )
    ]
    return Section(id="future", title="Forecast beyond the data", lead=lead, blocks=blocks)


def _test_panel(run: Run, part: pl.DataFrame, quantiles: list[str]) -> Panel | None:
    is_forecast = part.select(pl.any_horizontal(pl.col(quantiles).is_not_null()).alias("f"))["f"]
    history, ahead = part.filter(~is_forecast), part.filter(is_forecast)
    if ahead.is_empty():
        return None
    name, cutoff = part["unique_id"][0], part["cutoff"][0]
    past = numbers(history, "y")
    kept = charts.thin(past, MAX_HISTORY)
    steps = _strided(len(ahead), MAX_HORIZON)
    ahead = ahead[steps]
    ds, truth = _axis([*(history["ds"][i] for i in kept), *ahead["ds"].to_list()]), numbers(ahead, "y")
    future = ds[len(kept) :]
    values = {q: numbers(ahead, q) for q in quantiles}
    traces = charts.fan(future, values, name=_our_name(run))
    if "seasonal_naive" in part.columns:
        naive = numbers(ahead, "seasonal_naive")
        point = {"mode": "markers", "marker": {"size": 6, "color": "var(--series-2)"}} if len(naive) == 1 else {}
        traces.append(
            charts.line(
                future,
                naive,
                title("seasonal_naive"),
                "var(--series-2)",
                dash="dash",
                width=1.5,
                hovertemplate="%{y:,.5~r}",
                **point,
            )
        )
    observed = [*(past[i] for i in kept), *truth]
    traces.append(charts.line(ds, observed, "observed", charts.INK, width=1.6, **_OBSERVED))
    middle = values[quantiles[len(quantiles) // 2]]
    return Panel(
        keys=(name or ABSENT, stamp(cutoff)),
        figure=_figure(traces, ds[len(kept) - 1] if kept else None, "cutoff", name),
        thumbnail=sparkline(past[-_before(ahead) :], truth, middle, values[quantiles[0]], values[quantiles[-1]]),
    )


def _future_panel(
    run: Run, name: str, part: pl.DataFrame, quantiles: list[str], ds: list[str], y: list[float | None]
) -> Panel:
    part = part[_strided(len(part), MAX_HORIZON)]
    stamps = _axis([*ds, *part["ds"].to_list()])
    future = stamps[len(ds) :]
    values = {q: numbers(part, q) for q in quantiles}
    traces = charts.fan(future, values, name=_our_name(run))
    if ds:
        traces.append(charts.line(stamps[: len(ds)], y, "observed", charts.INK, width=1.6, **_OBSERVED))
    middle = values[quantiles[len(quantiles) // 2]]
    spark = sparkline(y[-_before(part) :], [], middle, values[quantiles[0]], values[quantiles[-1]])
    return Panel(
        keys=(name or ABSENT,),
        figure=_figure(traces, stamps[len(ds) - 1] if ds else None, "end of data", name),
        thumbnail=spark,
    )


def _figure(traces: list[dict[str, Any]], cutoff: Any, words: str, name: str | None) -> Figure:
    layout: dict[str, Any] = {"yaxis": {"title": {"text": charts.label(name or "", 40)}}}
    if cutoff is not None:
        shape, note = charts.vertical(cutoff, words)
        layout |= {"shapes": [shape], "annotations": [note]}
    return {"data": traces, "layout": layout}


def _groups(frame: pl.DataFrame, *by: str) -> tuple[list[tuple[tuple[Any, ...], pl.DataFrame]], int]:
    """The first parts by key, in the order in which the file has them, and how many there are in all."""
    keys = frame.select(by).drop_nulls().unique(maintain_order=True)
    first = frame.join(keys.head(MAX_PANELS), on=by, how="semi", maintain_order="left")
    return list(first.group_by(by, maintain_order=True)), len(keys)


def _axis(stamps: Sequence[str | None]) -> list[Any]:
    """Positions on the axis: wall-clock stamps without seconds that are zero, or numbers where rows are counted."""
    if all(s is not None and s.lstrip("-").isdigit() for s in stamps):
        return [int(s) for s in stamps if s is not None]
    return [None if s is None else _TAIL.sub("", s.replace("T", " ")) for s in stamps]


def _before(ahead: pl.DataFrame) -> int:
    """Steps of history in a thumbnail."""
    return max(2 * len(ahead), 24)


def _joins(past: list[str], future: list[str | None]) -> bool:
    """Whether what was observed reaches up to the forecast, to within the forecast's own length."""
    try:
        stamps = [int(s) if s.lstrip("-").isdigit() else datetime.fromisoformat(s) for s in (past[-1], *future) if s]
        return len(future) == 1 or stamps[1] - stamps[0] <= stamps[-1] - stamps[1]
    except (ValueError, TypeError, IndexError):
        return False


def _later(one: str, other: str) -> bool:
    """Whether a stamp, or the number of a row, comes after another of the same series."""
    return (len(one), one) > (len(other), other)


def _strided(length: int, limit: int) -> list[int]:
    """At most `limit` indices evenly over the length, the first among them."""
    return list(range(length)) if length <= limit else [i * length // limit for i in range(limit)]


def _our_name(run: Run) -> str:
    scores = Scores.read(run)
    return title(scores.ours if scores is not None else run.facts.get("model") or "xlstm")


def _last_observed(run: Run) -> dict[str, tuple[list[str], list[float | None]]]:
    """The latest observed values of each series, out of the sample of test forecasts."""
    if not run.has("evaluation/forecasts.csv"):
        return {}
    frame = run.table("evaluation/forecasts.csv", "unique_id", "cutoff", "ds", "y")
    if frame is None:
        return {}
    latest: dict[str, tuple[list[str], list[float | None]]] = {}
    for (name, _), part in _groups(frame.drop_nulls("ds"), "unique_id", "cutoff")[0]:
        if name in latest and _later(latest[name][0][-1], part["ds"][-1]):
            continue
        values = numbers(part, "y")
        kept = charts.thin(values, MAX_HISTORY)
        latest[name] = ([part["ds"][i] for i in kept], [values[i] for i in kept])
    return latest


def _thumbnails_first(panels: list[Panel]) -> list[Panel]:
    """Keep the first thumbnail of each series, for the first series only."""
    seen: set[str] = set()
    kept = []
    for panel in panels:
        first = panel.keys[0] not in seen and len(seen) < MAX_THUMBNAILS
        seen.add(panel.keys[0])
        kept.append(panel if first else Panel(keys=panel.keys, figure=panel.figure))
    return kept
