"""Section of the quantiles and intervals: whether they mean what they say, before and after conformal calibration."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from . import charts
from .blocks import Block, Cell, Chart, Column, Row, Section, Table, Tone
from .numbers import ABSENT, MINUS, percent
from .run import Run, numbers
from .scores import Scores

CLOSE, FAR = 0.03, 0.05
"""How far off is as it should be, and from where on it is worth a warning."""


@dataclass(frozen=True)
class Coverage:
    """The share that a quantile or an interval should have of the truth, and what it has."""

    wanted: float
    got: float | None
    before: float | None = None
    """Before calibration."""


def calibration(run: Run) -> Section | None:
    """Share of the truth below each quantile and inside each interval."""
    frame = run.table("evaluation/calibration.csv", "quantile", "empirical")
    if frame is None:
        return None
    frame = frame.filter(pl.col("quantile").is_between(0, 1)).sort("quantile")
    if frame.is_empty():
        return None
    before = numbers(frame, "empirical_raw") if "empirical_raw" in frame.columns else [None] * len(frame)
    if before == numbers(frame, "empirical"):  # nothing was calibrated
        before = [None] * len(frame)
    quantiles = list(map(Coverage, frame["quantile"].to_list(), numbers(frame, "empirical"), before))
    intervals = _intervals(quantiles)
    known = {round(interval.wanted, 6) for interval in intervals}
    scores = Scores.read(run)
    others = [Coverage(*item) for item in scores.intervals] if scores is not None else []
    intervals += [interval for interval in others if round(interval.wanted, 6) not in known]
    intervals.sort(key=lambda interval: interval.wanted)
    beyond = run.facts.get("beyond_errors")  # as told at training
    lead = _lead(quantiles, intervals) + (f" But {beyond}." if beyond else "")
    chart = Chart(
        figure=charts.calibration([q.wanted for q in quantiles], [q.got for q in quantiles], before),
        alt=f"Share of truth below each quantile against the quantile. {lead}",
        height=380,
    )
    tables: list[Block] = [_table("Quantiles and the truth below them", "quantile", "truth below", quantiles)]
    if intervals:
        tables.insert(0, _table("Intervals and the truth inside them", "interval", "truth inside", intervals))
    return Section(id="calibration", title="Calibration", lead=lead, blocks=[Row(blocks=[chart, Row(blocks=tables)])])


def _intervals(quantiles: list[Coverage]) -> list[Coverage]:
    """The pairs that lie around the middle, from the outermost on."""
    found = []
    for low, high in zip(quantiles[: len(quantiles) // 2], reversed(quantiles), strict=False):
        if low.got is not None and high.got is not None:
            both = low.before is not None and high.before is not None
            before = high.before - low.before if both else None  # type: ignore[operator]
            found.append(Coverage(round(high.wanted - low.wanted, 9), high.got - low.got, before))
    return found


def _table(caption: str, name: str, share: str, rows: list[Coverage]) -> Table:
    calibrated = any(row.before is not None for row in rows)
    columns = [Column(title=name), Column(title=share), Column(title="off, points")]
    if calibrated:
        columns.insert(1, Column(title="before", hint="with the model's own quantiles, before conformal calibration"))
    cells = []
    for row in rows:
        off = None if row.got is None else row.got - row.wanted
        tone: Tone = "plain" if off is None or abs(off) <= FAR else "warning"
        points = ABSENT if off is None else f"{round(100 * off, 1) + 0.0:+.1f}".replace("-", MINUS)
        line = [
            Cell(text=percent(row.wanted, 1 if round(row.wanted * 100, 6) % 1 else 0), sort=row.wanted),
            Cell(text=percent(row.got, 1), sort=row.got),
            Cell(text=points, sort=off, tone=tone),
        ]
        if calibrated:
            line.insert(1, Cell(text=percent(row.before, 1), sort=row.before))
        cells.append(line)
    return Table(caption=caption, columns=columns, rows=cells)


def _lead(quantiles: list[Coverage], intervals: list[Coverage]) -> str:
    words = []
    for interval in intervals if len(intervals) < 3 else _told(intervals):
        off = (interval.got or 0.0) - interval.wanted
        judgement = "as it should" if abs(off) <= CLOSE else "too narrow" if off < 0 else "too wide"
        share = percent(interval.wanted, 1).replace(".0", "")
        before = f" ({percent(interval.before, 1)} before calibration)" if interval.before is not None else ""
        words.append(f"The {share} interval held {percent(interval.got, 1)} of the truth{before}: {judgement}.")
    known = [(abs(q.got - q.wanted), q.wanted, q.got) for q in quantiles if q.got is not None]
    off, level, share = max(known, default=(0.0, 0.0, 0.0))
    if off > FAR:
        words.append(f"Furthest off is the {level:g} quantile, with {percent(share, 1)} of the truth below it.")
    return " ".join(words)


def _told(intervals: list[Coverage]) -> list[Coverage]:
    """Those that people ask for, or the widest."""
    return [i for i in intervals if round(i.wanted, 6) in (0.8, 0.95)] or intervals[-1:]
