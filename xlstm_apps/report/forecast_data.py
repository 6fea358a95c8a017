"""What the table was: rows, series, gaps, missing values, and how its time span was split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from .blocks import Block, Cell, Column, Facts, Part, Section, Table, Timeline
from .charts import shorten
from .numbers import ABSENT, count, frequency, percent, significant, span
from .run import Run, number

MAX_TIMELINES = 6
MAX_COLUMNS = 40
PARTS = {
    "train": ("training", "var(--ink-3)"),
    "val": ("validation", "var(--series-5)"),
    "test": ("test", "var(--model)"),
}

_SHOWN = {
    "rows", "series", "channels", "span", "start", "end", "frequency", "freq", "splits", "split", "windows", "missing",
    "source", "path",
}  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """data_summary.json and the data section of the configuration, read with every field optional."""

    facts: dict[str, Any]
    run: Run

    @classmethod
    def read(cls, run: Run) -> Summary:
        return cls(run.json("data_summary.json"), run)

    @property
    def frequency(self) -> str | None:
        found = self.facts.get("frequency") or self.facts.get("freq") or self.run.option("data.freq")
        return found if isinstance(found, str) else None

    @property
    def name(self) -> str:
        """What people call the table: the sample's name or the file's, without folder and endings."""
        source = str(self.run.option("data.path") or self.facts.get("path") or self.facts.get("source") or "")
        if source.startswith("sample:"):
            return source.removeprefix("sample:")
        return PurePath(source).name.split(".")[0] or "a table"

    @property
    def series(self) -> int | None:
        """How many series are forecast: every channel of every item counts."""
        found = number(self.facts.get("series"))
        channels = self.facts.get("channels")
        if found is None:
            return None
        return int(found) * (len(channels) if isinstance(channels, list) and channels else 1)

    @property
    def span(self) -> tuple[str, str] | None:
        found = self.facts.get("span")
        if isinstance(found, dict):
            found = [found.get("start"), found.get("end")]
        if not isinstance(found, list | tuple):
            found = [self.facts.get("start"), self.facts.get("end")]
        return (stamp(found[0]), stamp(found[1])) if len(found) == 2 and all(found) else None

    @property
    def windows(self) -> dict[str, int]:
        found = self.facts.get("windows")
        return {k: int(v) for k, v in found.items() if number(v) is not None} if isinstance(found, dict) else {}


def stamp(text: Any) -> str:
    """A time stamp without what says nothing: midnight, zero seconds and fractions."""
    text = str(text).replace("T", " ").removesuffix(".000000")
    if text.endswith(" 00:00:00"):
        return text.removesuffix(" 00:00:00")
    date, space, clock = text.partition(" ")
    return f"{date} {clock.removesuffix(':00')}" if space and clock.count(":") == 2 else text


def data(run: Run) -> Section | None:
    """Rows, series, span, frequency, duplicates, gaps, missing share by column, splits."""
    summary = Summary.read(run)
    if not summary.facts:
        return None
    blocks: list[Block] = [Facts(items=_facts(summary)), *_timelines(summary)]
    missing = summary.facts.get("missing")
    if isinstance(missing, dict) and missing:
        blocks.append(_missing_table(missing))
    return Section(id="data", title="Data", lead=_lead(summary), blocks=blocks)


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = summary.facts
    items = [("Source", str(summary.run.option("data.path") or facts.get("path") or facts.get("source") or ABSENT))]
    if (rows := number(facts.get("rows"))) is not None:
        items.append(("Rows", f"{rows:,.0f}"))
    if (series := number(facts.get("series"))) is not None:
        items.append(("Series in the file", f"{series:,.0f}"))
    channels = facts.get("channels")
    if isinstance(channels, list) and channels:
        names = ", ".join(map(str, channels[:12])) + (f" and {len(channels) - 12} more" if len(channels) > 12 else "")
        items.append(("Columns forecast", f"{len(channels)}: {shorten(names, 400)}"))
    if summary.span:
        items.append(("Span", " to ".join(summary.span)))
    if summary.frequency:
        step = span(1, summary.frequency)
        items.append(
            (
                "Frequency",
                f"{step} ({summary.frequency})" if step and frequency(summary.frequency) else summary.frequency,
            )
        )
    windows = summary.windows
    if windows:
        items.append(("Windows", ", ".join(f"{PARTS.get(k, (k, ''))[0]} {v:,}" for k, v in windows.items())))
    items += [(_words(key), _value(value)) for key, value in facts.items() if key not in _SHOWN and _value(value)]
    return items


def _timelines(summary: Summary) -> list[Block]:
    """A bar per series for a few, one for all where they are split alike."""
    splits = summary.facts.get("splits") or summary.facts.get("split")
    if isinstance(splits, dict):
        splits = [splits]
    if not isinstance(splits, list):
        return []
    bars: list[Timeline] = []
    for entry in splits:
        if not isinstance(entry, dict):
            continue
        bar = _timeline(entry, summary)
        if bar is not None:
            bars.append(bar)
    if len(bars) > 1 and all(bar.parts == bars[0].parts for bar in bars):
        return [replace(bars[0], title=f"Split by time, all {count(len(bars), 'series', 'series')} alike")]
    if len(bars) > MAX_TIMELINES:
        longest = bars[0]
        return [replace(longest, title=f"{longest.title}, the first of {count(len(bars), 'series', 'series')}")]
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
    whole = summary.span or ("", "")
    name = entry.get("series") or entry.get("unique_id") or entry.get("item_id")
    start, finish = (
        stamp(entry["start"]) if entry.get("start") else whole[0],
        stamp(entry["end"]) if entry.get("end") else whole[1],
    )
    return Timeline(
        title=f"Split of {shorten(str(name), 60)}" if name else "Split by time", parts=parts, start=start, end=finish
    )


def _missing_table(missing: dict[str, Any]) -> Table:
    shares = sorted(((str(k), number(v)) for k, v in missing.items()), key=lambda item: -(item[1] or 0.0))
    shown = [item for item in shares[:MAX_COLUMNS] if (item[1] or 0.0) > 0] or shares[:1]
    rows = [
        [Cell(text=name), Cell(text=percent(share, 1), sort=share, bar=min(max(share or 0.0, 0.0), 1.0))]
        for name, share in shown
    ]
    full = sum((share or 0.0) == 0 for _, share in shares)
    note = f"{count(full, 'column')} without missing values." if full else ""
    if len(shares) - full > len(shown):
        note = f"The {len(shown)} with most missing of {len(shares):,} columns; data_summary.json has all. {note}"
    return Table(
        caption="Missing values",
        columns=[Column(title="Column", numeric=False), Column(title="share missing")],
        rows=rows,
        note=note,
    )


def _lead(summary: Summary) -> str:
    missing = summary.facts.get("missing")
    worst = max((number(v) or 0.0 for v in missing.values()), default=0.0) if isinstance(missing, dict) else 0.0
    if worst > 0:
        return "Missing values are masked, never filled in: they count neither in training nor in the errors above."
    return ""


def _words(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _value(value: Any, depth: int = 0) -> str:
    """Any JSON value in a line; empty for what says nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, dict) and depth < 2:
        parts = [
            f"{shorten(str(k), 60).replace('_', ' ')} {_value(v, depth + 1)}"
            for k, v in list(value.items())[:12]
            if _value(v, depth + 1)
        ]
        return ", ".join(parts) + (f" and {len(value) - 12:,} more" if len(value) > 12 else "")
    if isinstance(value, list | tuple) and depth < 2:
        parts = [_value(v, depth + 1) for v in value[:12]]
        return ", ".join(filter(None, parts)) + (f" and {len(value) - 12:,} more" if len(value) > 12 else "")
    return shorten(str(value), 300) if value not in (None, "", [], {}) else ""
