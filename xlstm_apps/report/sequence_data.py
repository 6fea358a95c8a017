"""What the sequences were: records, lengths, letters, what was left out, how they were split, and what leaked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from xlstm_apps.enumeration import and_more, first_few

from . import charts
from .blocks import Block, Cell, Chart, Column, Facts, Notice, Part, Section, Table, Timeline
from .numbers import ABSENT, count, percent, significant
from .run import Run, number
from .summary import PARTS, DataSummary

MAX_CLASSES = 50
MAX_LETTERS = 26
LEAKS = 0.05
"""Share of the test with a near copy in training from which on it must not be overlooked."""

_LETTERS = (
    "var(--model)",
    "var(--series-2)",
    "var(--series-3)",
    "var(--series-4)",
    "var(--series-5)",
    "var(--series-6)",
)
_UNITS = {"dna": "base", "protein": "residue", "smiles": "symbol", "text": "character"}
_SYMBOLS = {"dna": 4, "protein": 20}
_RULES = {
    "stretch": "the end of every record is held out",
    "contig": "whole records, by name",
    "region": "stretches, by name",
    "group": "whole groups",
    "cluster": "whole clusters",
    "column": "as a column of the table says",
    "random": "records at random",
}


class SequenceSummary(DataSummary):
    """The quality report of a corpus, with split, leakage and labels, every field optional."""

    @property
    def alphabet(self) -> str:
        known = self.run.option("sequence.alphabet") or self.record("quality").get("alphabet")
        return known if isinstance(known, str) else ""

    @property
    def unit(self) -> str:
        """What one symbol is called."""
        return _UNITS.get(self.alphabet, "symbol")

    @property
    def guess(self) -> float | None:
        """Bits of a symbol when all are equally likely."""
        symbols = _SYMBOLS.get(self.alphabet)
        return math.log2(symbols) if symbols else None

    @property
    def masked(self) -> bool:
        return self.run.option("sequence.objective") == "masked"

    @property
    def sources(self) -> list[str]:
        given = self.run.option("data.path")
        return [str(path) for path in given] if isinstance(given, list) else [str(given)] if given else []

    @property
    def name(self) -> str:
        """What people call the data: the sample's name or the file's, without folder and endings."""
        if not self.sources:
            return "sequences"
        first = self.sources[0]
        path = PurePath(first.removeprefix("sample:"))
        name = path.name.split(".")[0].strip("*?") or path.parent.name or "sequences"  # families/*.fa: the folder's
        return name + and_more(len(self.sources) - 1)

    @property
    def leaked(self) -> tuple[float, float] | None:
        """Windows of the test with a near copy in training, and how many were looked at; None where nobody looked."""
        found = self.record("leakage")
        copies = number(found.get("copies", found.get("near_copies")))
        checked = number(found.get("checked", found.get("windows")))
        return (copies, checked) if copies is not None and checked else None

    @property
    def classes(self) -> list[str]:
        """Names of classes, labels or numbers predicted."""
        named = self.run.option("head.names")
        known = self.items("labels", "classes") or self.items("labels", "targets") or named
        return [str(name) for name in known] if isinstance(known, list) else []

    @property
    def example(self) -> str:
        """What one prediction is about."""
        if self.images:
            return "image"
        return self.unit if self.run.option("head.per_symbol") else "record"

    @property
    def images(self) -> bool:
        """Whether it is pictures, of which the same is told as of labelled sequences."""
        return self.run.task.startswith("vision")

    @property
    def part(self) -> str:
        """What the test consists of: a language model's windows, or sequences or images of which something is told."""
        if self.images:
            return "image"
        return "window" if self.run.task == "sequence" else "sequence"


def data(run: Run) -> Section | None:
    """Records, symbols, letters, findings, split and leakage."""
    summary = SequenceSummary.read(run)
    if not summary.facts:
        return None
    blocks: list[Block] = [*_left_out(summary)]
    blocks += summary.found([str(note) for note in summary.items("quality", "notes")])
    blocks += summary.found([str(note) for note in summary.items("notes")], "Chosen for this run:")
    blocks.append(Facts(items=list(_facts(summary))))
    blocks += [block for block in (_timeline(summary),) if block is not None]
    blocks += [block for block in (_letters(summary), label_table(summary)) if block is not None]
    return Section(id="data", title="Data", lead=_lead(summary), blocks=blocks)


def leak_notice(summary: SequenceSummary) -> list[Notice]:
    """A warning where so much of the test is known from training that the numbers flatter."""
    if summary.leaked is None:
        return []
    copies, checked = summary.leaked
    if copies / checked < LEAKS:
        return []
    text = (
        f"{copies:,.0f} of {count(checked, f'test {summary.part}')} ({percent(copies / checked)}) have a near copy in "
        "the training part, so the results say less about sequences that are really new. Split by group or cluster to "
        "keep relatives together."
    )
    return [Notice(title="The test is not independent of training.", text=text, tone="warning")]


def _lead(summary: SequenceSummary) -> str:
    rule = summary.record("split").get("rule")
    words = []
    if isinstance(rule, str):
        words.append(f"Split: {_RULES.get(rule, rule)}.")
    if summary.leaked is not None:
        copies, checked = summary.leaked
        found = f"{copies:,.0f} of {checked:,.0f}" if copies else f"None of {checked:,.0f}"
        share = f" ({percent(copies / checked, 1)})" if copies else ""
        words.append(f"{found} test {summary.part}s{share} {'have' if copies > 1 else 'has'} a near copy in training.")
    return " ".join(words)


def _left_out(summary: SequenceSummary) -> list[Notice]:
    """Records that were not used, and characters that do not belong, with the first places."""
    quality = summary.record("quality")
    left = {k: n for k, v in summary.record("quality", "left_out").items() if (n := number(v))}
    bad = {k: n for k, v in summary.record("quality", "bad_characters").items() if (n := number(v))}
    if not left and not bad:
        return []
    parts = [f"{count(n, 'record')} left out: {reason}" for reason, n in left.items()]
    if bad:
        shown = ", ".join(f"{char!r} {n:,.0f} times" for char, n in sorted(bad.items(), key=lambda item: -item[1])[:5])
        parts.append(f"characters that do not belong: {shown}")
    examples = [charts.shorten(str(text), 160) for text in quality.get("examples") or []][:3]
    text = "; ".join(parts) + "." + (f" First: {'; '.join(examples)}." if examples else "")
    return [Notice(title="Not everything was used.", text=text, tone="warning")]


def _facts(summary: SequenceSummary) -> Iterable[tuple[str, str]]:
    quality, unit = summary.record("quality"), summary.unit
    yield "Source", first_few([charts.shorten(source, 200) for source in summary.sources], 5) or ABSENT
    kept, read = summary.number("quality", "kept"), summary.number("quality", "records")
    if kept is not None:
        yield "Records", f"{kept:,.0f}" + (f" of {read:,.0f} read" if read is not None and read != kept else "")
    symbols, definite = summary.number("quality", "symbols"), summary.number("quality", "definite")
    if symbols is not None:
        yield f"{unit.capitalize()}s", f"{symbols:,.0f}"
    low, mid, high = (summary.number("quality", "lengths", key) for key in ("min", "median", "max"))
    if low is not None and high is not None:
        span = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
        yield "Length", span + (f", median {mid:,.0f}" if mid is not None and low != high else "")
    if symbols and definite is not None and definite < symbols:
        yield "Ambiguous", _of(symbols - definite, symbols)
    for key, words in (("soft_masked", "Lower case"), ("synonyms", "Read as another")):
        if symbols and (found := number(quality.get(key))):
            yield words, _of(found, symbols)
    for key, words in (
        ("unnamed", "Without a name"),
        ("renamed", "Renamed"),
        ("stops_stripped", "Final stop removed"),
        ("gapped", "Gaps removed"),
    ):
        if found := number(quality.get(key)):
            yield words, count(found, "record")
    if (context := summary.number("context_length")) is not None:
        yield "Window", count(context, unit)
    windows = {k: summary.number("split", k, "windows") for k in PARTS}
    if any(windows.values()):
        yield "Windows", ", ".join(f"{PARTS[k][0]} {v:,.0f}" for k, v in windows.items() if v is not None)
    left = {k: summary.number("split", k, "left_out") for k in PARTS}
    if any(left.values()):
        shown = ", ".join(f"{PARTS[k][0]} {v:,.0f}" for k, v in left.items() if v)
        yield "Windows left out", f"{shown} (mostly unknown {unit}s)"
    yield from _leakage(summary)


def _leakage(summary: SequenceSummary) -> Iterable[tuple[str, str]]:
    if summary.leaked is None:
        return
    k, threshold = summary.number("leakage", "k"), summary.number("leakage", "threshold")
    copies, checked = summary.leaked
    rule = f"; at least {percent(threshold)} of the {k:.0f}-mers occur in training" if k and threshold else ""
    short = summary.number("leakage", "too_short")
    unclear = f"; {short:,.0f} too short to tell" if short else ""
    yield "Near copies", f"{copies:,.0f} of {checked:,.0f} test {summary.part}s{rule}{unclear}"
    if example := summary.record("leakage").get("example"):
        yield "Such as", charts.shorten(str(example), 200)


def _of(found: float, total: float) -> str:
    share = found / total
    return f"{found:,.0f} ({percent(share, 2) if share >= 0.00005 else 'below 0.01 %'})"


def _timeline(summary: SequenceSummary) -> Timeline | None:
    """The parts by their symbols."""
    parts = {k: summary.record("split", k) for k in PARTS}
    sizes = {k: number(part.get("symbols")) or 0.0 for k, part in parts.items()}
    total = sum(sizes.values())
    if not total:
        return None
    made = []
    for key, size in sizes.items():
        records = number(parts[key].get("records"))
        detail = count(size, summary.unit) + (f", {count(records, 'record')}" if records else "")
        if size:
            made.append(Part(label=PARTS[key][0], share=size / total, detail=detail, role=PARTS[key][1]))
    return Timeline(title=f"Split by {summary.record('split').get('rule') or 'part'}", parts=made)


def _letters(summary: SequenceSummary) -> Block | None:
    """Share of each letter: a bar divided for few letters, bars side by side for many."""
    found = {str(k): n for k, v in summary.record("quality", "composition").items() if (n := number(v))}
    total = sum(found.values())
    if not total:
        return None
    title = f"Letters, upper and lower case together{_gc(found)}"
    if len(found) <= len(_LETTERS):
        parts = [
            Part(label=charts.shorten(name, 20), share=found[name] / total, detail=f"{found[name]:,.0f}", role=color)
            for name, color in zip(sorted(found, key=lambda n: (n == "N", n)), _LETTERS, strict=False)
        ]
        return Timeline(title=title, parts=parts)
    shown = sorted(found, key=lambda name: (-found[name], name))[:MAX_LETTERS]
    figure = {
        "data": [{
            "type": "bar", "x": [charts.label(name) for name in shown],
            "y": charts.rounded([found[name] / total for name in shown]),
            "marker": {"color": "var(--model)"}, "hovertemplate": "%{x}: %{y:.2%}<extra></extra>",
        }],
        "layout": {
            "hovermode": "closest", "showlegend": False, "bargap": 0.35,
            "xaxis": {"type": "category"}, "yaxis": {"tickformat": ".0%", "rangemode": "tozero"},
        },
    }  # fmt: skip
    left = len(found) - len(shown)
    caption = f"{title}." + (f" {count(left, 'rarer one')} not drawn." if left else "")
    return Chart(figure=figure, alt=title, caption=caption, height=260)


def _gc(found: dict[str, float]) -> str:
    strong, all_four = found.get("G", 0) + found.get("C", 0), sum(found.get(c, 0) for c in "ACGTU")
    is_dna = all_four > 0.9 * sum(found.values())
    return f"; GC {percent(strong / all_four, 1)}" if is_dna else ""


def label_table(summary: SequenceSummary) -> Table | None:
    """Records of each class in each part."""
    labels = summary.record("labels")
    parts = {k: labels[k] for k in PARTS if isinstance(labels.get(k), dict)}
    if not parts:
        return None
    classes = summary.classes or sorted({str(name) for part in parts.values() for name in part})
    shown = classes[:MAX_CLASSES]
    rows = [[Cell(text=charts.shorten(name, 60), sort=name)] for name in shown]
    several = labels.get("task") == "multilabel" and not labels.get("per_symbol")
    for key, part in parts.items():
        counted = sum(number(v) or 0.0 for v in part.values())
        total = (summary.number("split", key, "records") or 0.0) if several else counted
        for name, row in zip(shown, rows, strict=True):
            found = number(part.get(name)) or 0.0
            row.append(Cell(text=_plain(found, total), sort=found))
    columns = [Column(title="Class", numeric=False), *(Column(title=PARTS[k][0]) for k in parts)]
    note = f"The first {len(shown)} of {len(classes):,}." if len(classes) > len(shown) else ""
    return Table(caption="Labels by part", columns=columns, rows=rows, note=note, sortable=len(rows) > 6)


def _plain(found: float, total: float) -> Any:
    text = f"{found:,.0f}" if found == round(found) else significant(found)
    return f"{text} ({percent(found / total)})" if total and found <= total else text
