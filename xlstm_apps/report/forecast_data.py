"""What the table was: rows, series, gaps, missing values, and how its time span was split."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from xlstm_apps.enumeration import and_more, first_few

from .blocks import Block, Cell, Column, Facts, Part, Section, Table, Timeline
from .charts import shorten
from .forecast_covariates import covariates
from .numbers import ABSENT, count, percent, significant, span
from .run import Run, number
from .summary import PARTS, DataSummary

MAX_TIMELINES = 6
MAX_COLUMNS = 50

_STAMP = re.compile(r"(\d{4,}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?")


class Summary(DataSummary):
    """The report of a `SeriesTable`, with splits and windows, every field optional."""

    @property
    def frequency(self) -> str | None:
        found = self.facts.get("freq") or self.run.option("data.freq")
        return found if isinstance(found, str) else None

    @property
    def source(self) -> str:
        return str(self.run.option("data.path") or self.facts.get("source") or "")

    @property
    def name(self) -> str:
        """What people call the table: the sample's name or the file's, without folder and endings."""
        if self.source.startswith("sample:"):
            return self.source.removeprefix("sample:")
        return PurePath(self.source).name.split(".")[0] or "a table"

    @property
    def series(self) -> int | None:
        """How many series are forecast: every value column of every item counts."""
        found = self.number("series")
        return None if found is None else int(found) * max(len(self.items("channels")), 1)

    @property
    def ends(self) -> tuple[str, str]:
        return stamp(self.facts.get("start") or ""), stamp(self.facts.get("end") or "")

    @property
    def windows(self) -> dict[str, int]:
        return {k: int(v) for k, v in self.record("windows").items() if number(v) is not None}


def stamp(text: Any) -> str:
    """A time stamp without what says nothing: midnight, zero seconds, a zero offset."""
    found = _STAMP.fullmatch(str(text).strip())
    if found is None:
        return shorten(str(text), 40)
    date, minutes, seconds, offset = (part or "" for part in found.groups())
    seconds = "" if not seconds.strip(":.0") else seconds.rstrip("0") if "." in seconds else seconds
    offset = "" if not offset.strip("Z+-:0") else f" {offset}"
    clock = "" if minutes == "00:00" and not seconds else f" {minutes}{seconds}"
    return f"{date}{clock}{offset}" if minutes else date


def data(run: Run) -> Section | None:
    """Rows, series, span, frequency, duplicates, gaps, columns with their missing share, splits."""
    summary = Summary.read(run)
    if not summary.facts:
        return None
    blocks: list[Block] = [*summary.found([str(note) for note in summary.items("notes")])]
    blocks += [Facts(items=list(_facts(summary))), *_timelines(summary)]
    columns = summary.record("columns")
    if columns:
        blocks.append(_columns(columns))
    beside = covariates(summary.facts)
    if beside is not None:
        blocks.append(beside)
    missing = max((number(c.get("missing_share")) or 0.0 for c in columns.values() if isinstance(c, dict)), default=0.0)
    lead = "Missing values are masked, not filled in: they count neither in training nor in the errors above."
    return Section(id="data", title="Data", lead=lead if missing > 0 else "", blocks=blocks)


def _facts(summary: Summary) -> Iterable[tuple[str, str]]:
    facts = summary.facts
    yield "Source", shorten(summary.source, 400) or ABSENT
    if (rows := summary.number("rows")) is not None:
        layout = f", {facts['layout']} layout" if facts.get("layout") else ""
        yield "Rows", f"{rows:,.0f}{layout}"
    if (series := summary.number("series")) is not None:
        least, most = summary.number("lengths", "min"), summary.number("lengths", "max")
        steps = (
            ""
            if least is None or most is None
            else f" of {least:,.0f}"
            if least == most
            else f" of {least:,.0f} to {most:,.0f}"
        )
        yield "Series", f"{series:,.0f}{steps} steps" if steps else f"{series:,.0f}"
    channels = [str(name) for name in summary.items("channels")]
    if channels:
        shown = shorten(", ".join(channels[:12]), 400)
        yield "Columns forecast", f"{len(channels):,}: {shown}{and_more(len(channels) - 12)}"
    if all(summary.ends):
        zone = f" ({facts['time_zone']})" if facts.get("time_zone") else ""
        yield "Span", " to ".join(summary.ends) + zone
    if summary.frequency:
        inferred = ", inferred" if facts.get("freq_inferred") else ""
        step = "rows, counted" if summary.frequency == "1i" else span(1, summary.frequency) or summary.frequency
        yield "Step", f"{step}{inferred}"
    if isinstance(facts.get("resampled"), str):
        yield "Resampled", shorten(facts["resampled"], 200)
    yield from _observed(summary)
    if (gaps := summary.number("gaps", "rows")) is not None:
        runs, longest = summary.number("gaps", "runs") or 0, summary.number("gaps", "longest") or 0
        missing = f"{count(gaps, 'missing stamp')} in {count(runs, 'gap')}, the longest {count(longest, 'step')}"
        yield "Gaps", missing if gaps else "none"
    for key, words in (("duplicates", "Repeated stamps"), ("off_grid", "Stamps off the grid")):
        if (rows := summary.number(key, "rows")) is not None:
            policy = summary.record(key).get("policy")
            yield (
                words,
                f"{count(rows, 'row')} ({policy})" if rows and policy else count(rows, "row") if rows else "none",
            )
    for key, words in (("future_rows", "Rows of the future"), ("unused_rows", "Rows not used")):
        if rows := summary.number(key):
            yield words, f"{rows:,.0f}"
    left_out = summary.record("left_out")
    if left_out:
        yield (
            "Columns left out",
            first_few([f"{shorten(k, 60)} ({shorten(str(v), 80)})" for k, v in left_out.items()], 12),
        )
    if summary.windows:
        stride = summary.number("test_stride") or 1
        every = f", every {stride:.0f}th cutoff of the test part" if stride > 1 else ""
        yield "Windows", ", ".join(f"{PARTS.get(k, (k, ''))[0]} {v:,}" for k, v in summary.windows.items()) + every


def _observed(summary: Summary) -> Iterable[tuple[str, str]]:
    """How much of the grid of stamps and columns holds a value."""
    columns = [facts for facts in summary.record("columns").values() if isinstance(facts, dict)]
    missing = [number(facts.get("missing")) for facts in columns]
    rows = summary.number("grid_rows")
    if rows and missing and None not in missing:
        total = rows * len(missing)
        share = 1 - sum(value or 0.0 for value in missing) / total
        yield "Values observed", f"{percent(share, 0 if share == 1 else 2)} of {total:,.0f}"


def _timelines(summary: Summary) -> list[Block]:
    """A bar per series for a few, one for all where they are split alike."""
    made = [_timeline(entry, summary) for entry in summary.items("splits") if isinstance(entry, dict)]
    bars = [bar for bar in made if bar is not None]
    if len(bars) > 1 and all(bar.parts == bars[0].parts for bar in bars):
        return [replace(bars[0], title=f"Split by time, all {count(len(bars), 'series', 'series')} alike")]
    if len(bars) > MAX_TIMELINES:
        return [replace(bars[0], title=f"{bars[0].title}, the first of {count(len(bars), 'series', 'series')}")]
    return list(bars)


def _timeline(entry: dict[str, Any], summary: Summary) -> Timeline | None:
    rows, train, val = (number(entry.get(k)) for k in ("rows", "train_end", "val_end"))
    if rows is None or train is None or val is None or not 0 <= train <= val <= rows or rows == 0:
        return None
    parts = []
    for key, begin, end in (("train", 0.0, train), ("val", train, val), ("test", val, rows)):
        name, role = PARTS[key]
        if end > begin:
            parts.append(Part(label=name, share=(end - begin) / rows, detail=count(end - begin, "row"), role=role))
    name = entry.get("series")
    start, end = (stamp(entry.get(key) or whole) for key, whole in zip(("start", "end"), summary.ends, strict=True))
    return Timeline(
        title=f"Split of {shorten(str(name), 60)}" if name else "Split by time", parts=parts, start=start, end=end
    )


def _columns(columns: dict[str, Any]) -> Table:
    """Range and missing share of the columns, those with most missing first where there are too many."""
    known = [(str(name), facts) for name, facts in columns.items() if isinstance(facts, dict)]
    shown = known
    if len(known) > MAX_COLUMNS:
        shown = sorted(known, key=lambda item: -(number(item[1].get("missing_share")) or 0.0))[:MAX_COLUMNS]
    shares = [number(facts.get("missing_share")) for _, facts in shown]
    headings = [Column(title="Column", numeric=False), Column(title="missing")]
    rows = [
        [Cell(text=name, sort=name), Cell(text=percent(share, 1), sort=share, bar=share)]
        for (name, _), share in zip(shown, shares, strict=True)
    ]
    for key, title in (("min", "lowest"), ("mean", "mean"), ("max", "highest")):
        values = [number(facts.get(key)) for _, facts in shown]
        if any(value is not None for value in values):
            headings.append(Column(title=title))
            for row, value, text in zip(rows, values, map(significant, values), strict=True):
                row.append(Cell(text=text, sort=value))
    note = (
        f"The {len(shown)} with most missing of {len(known):,}; data_summary.json has all."
        if len(known) > len(shown)
        else ""
    )
    return Table(caption="Columns", columns=headings, rows=rows, note=note, sortable=len(rows) > 3)
