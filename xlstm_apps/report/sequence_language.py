"""Sections on a model of the sequences themselves: context, symbols, and how well each record is predicted."""

from __future__ import annotations

import math
from functools import reduce
from typing import NamedTuple

import numpy as np
import polars as pl

from . import charts, heatmaps
from .blocks import Block, Cell, Chart, Column, Panel, Panels, Row, Section, Table
from .numbers import ABSENT, column, count, percent, significant
from .run import Run, numbers
from .sequence_data import SequenceSummary
from .sequence_scores import Comparison, title

MAX_LINES = 6
_TO = "\N{EN DASH}"
MAX_TABLE = 20
MAX_PANELS = 12
MAX_POINTS = 2_000
LEAST_ALONG = 8
"""Windows of a record from which on they are drawn along it."""
FLAT = 0.002
"""Bits per symbol below which more context counts as no help."""


def positions(run: Run) -> Section | None:
    """Bits by how much of the sequence stands before the symbol."""
    frame = run.table("evaluation/positions.csv", "position")
    if frame is None:
        return None
    frame = frame.filter(pl.col("position").is_finite()).sort("position")
    other = {"position", "position_end", "count"}
    known = [n for n in frame.columns if n not in other and frame[n].is_finite().any()]
    if frame.is_empty() or not known:
        run.absent["evaluation/positions.csv"] = "has no column of bits"
        return None
    models, ours = _models(run, known)
    summary, looks = SequenceSummary.read(run), charts.model_looks(models, ours)
    bins = _bins(frame)
    shown = [m for m in models if m != ours][: MAX_LINES - 1]
    traces = []
    for name in [*shown, ours]:
        color, dash = looks[name]
        width = {"width": 2.6, "legendrank": 1} if name == ours else {"width": 1.8}
        marks = {"mode": "lines+markers", "marker": {"size": 6 if name == ours else 4, "color": color}}
        text = charts.label(title(name), 28)
        traces.append(charts.line(bins, numbers(frame, name), text, color, dash=dash, **width, **marks))
    axis = f"{summary.unit}s of context before the {summary.unit}"
    words, lead = "What context is worth", _context_lead(frame, ours, bins, summary)
    if summary.masked:  # it reads what follows as well
        words, axis = "By place in the window", f"{summary.unit}s before it in the window"
        lead = f"This model reads both sides of a {summary.unit}, so only the edges of a window should be harder."
    figure = {
        "data": traces,
        "layout": {
            "xaxis": {"type": "category", "title": {"text": axis}},
            "yaxis": {"title": {"text": f"bits per {summary.unit}"}},
        },
    }
    left = len(models) - len(shown) - 1
    chart = Chart(
        figure=figure,
        alt=f"Bits per {summary.unit} by how much context stands before it. {lead}",
        caption=f"{count(left, 'model')} left out; evaluation/positions.csv has all." if left > 0 else "",
        height=360,
    )
    return Section(id="context", title=words, lead=lead, blocks=[chart])


def symbols(run: Run) -> Section | None:
    """What is expected where each symbol stands."""
    frame = run.table("evaluation/symbols.csv", "symbol", text=("symbol",))
    if frame is None:
        return None
    frame = frame.filter(pl.col("symbol").is_not_null())
    given = [n for n in frame.columns if n.startswith("p_")]
    if frame.is_empty() or not given:
        run.absent["evaluation/symbols.csv"] = "has no column of probabilities"
        return None
    frame = frame.filter(pl.col("count").is_null() | (pl.col("count") > 0)) if "count" in frame.columns else frame
    unit, names = SequenceSummary.read(run).unit, frame["symbol"].to_list()
    heads = [n.removeprefix("p_") for n in given]
    values = [[_share(row[n]) for n in given] for row in frame.iter_rows(named=True)]
    largest = max((v for row in values for v in row if v is not None), default=1.0)
    chart = Chart(
        figure=heatmaps.shares(
            values, names, columns=heads, across="probability given to", down=f"{unit} that stands there",
            hover="where %{y} stands, %{x} has a probability of %{z:.1%}", darkest=max(largest, 0.4),
        ),
        alt=f"Mean probability that the model gives each symbol where another stands; rows are the {unit} that is "
        "there.",
        height=heatmaps.height(len(names)),
    )  # fmt: skip
    lead = _symbols_lead(names, heads, values, unit)
    table = _symbol_table(frame, names, heads, values, unit)
    caption = f"{unit.capitalize()}s and what is expected in their place"
    return Section(
        id="symbols",
        title=caption,
        lead=lead,
        blocks=[Row(blocks=[chart, table])] if len(names) <= 6 else [chart, table],
    )


def records(run: Run) -> Section | None:
    """How bits are spread over records or windows, along the longest, and the least and most predictable."""
    frame = run.table("evaluation/records.csv", "id", "bits", text=("id",))
    if frame is None:
        return None
    frame = frame.filter(pl.col("bits").is_finite())
    if frame.is_empty():
        run.absent["evaluation/records.csv"] = "has no record with bits"
        return None
    summary = SequenceSummary.read(run)
    unit, bits = summary.unit, frame["bits"].to_numpy()
    windows = frame["id"].n_unique() < len(frame)
    noun = "window" if windows else "record"
    blocks: list[Block] = [_spread(bits, noun, unit)]
    along = _along(frame, float(bits.mean()), unit)
    blocks += [along] if along is not None else []
    extremes = _extremes(frame, noun, unit)
    blocks += [Row(blocks=extremes)] if len(extremes) > 1 else extremes
    low, middle, high = np.quantile(bits, [0.05, 0.5, 0.95])
    lead = (
        f"Half of {count(len(bits), noun)} have more than {middle:.3f} bits per {unit}; nine in ten lie between "
        f"{low:.3f} and {high:.3f}."
        if len(bits) > 1
        else f"One {noun}: {middle:.3f} bits per {unit}."
    )
    return Section(id="records", title="How well each stretch is predicted", lead=lead, blocks=blocks)


def _models(run: Run, known: list[str]) -> tuple[list[str], str]:
    """In the order of the comparison, and which is ours."""
    scores = Comparison.read(run)
    order = scores.models if scores is not None else []
    models = [m for m in order if m in known] + [m for m in known if m not in order]
    ours = scores.ours if scores is not None and scores.ours in models else next(iter(models))
    return models, "xlstm" if scores is None and "xlstm" in models else ours


def _bins(frame: pl.DataFrame) -> list[str]:
    """`0`, `1`, `2 to 3`, ...; the end of a bin may be the start of the next, or the last in it."""
    starts = [int(v) for v in frame["position"].to_list()]
    if "position_end" not in frame.columns:
        return [f"{start:,}" for start in starts]
    ends = [
        start if end is None else int(end) for start, end in zip(starts, numbers(frame, "position_end"), strict=True)
    ]
    outside = any(end == start for end, start in zip(ends, starts[1:], strict=False))
    lasts = [end - 1 if outside else end for end in ends]
    return [f"{a:,}" if b <= a else f"{a:,}{_TO}{b:,}" for a, b in zip(starts, lasts, strict=True)]


def _context_lead(frame: pl.DataFrame, ours: str, bins: list[str], summary: SequenceSummary) -> str:
    """From where on more context gains little, and whether it harms; small differences of few symbols are chance."""
    counts = numbers(frame, "count") if "count" in frame.columns else [None] * len(frame)
    every = [
        _Stretch(i, v, n or 1e9)
        for i, (v, n) in enumerate(zip(numbers(frame, ours), counts, strict=True))
        if v is not None
    ]
    if len(every) < 2:
        return ""
    unit, first, last = summary.unit, every[0], every[-1]
    ends = f"{last.bits:.3f} with {bins[last.start]}"
    lead = f"From {first.bits:.3f} bits with {bins[first.start]} {unit}s before to {ends}."
    late = every[len(every) // 2 : -1]  # the first symbols may be easy for reasons of their own, such as a start codon
    if any(part.chance(last) + 4 * FLAT < last.bits - part.bits for part in late):
        return f"{lead} Far into the sequence it gets worse again, which points to too little training at this length."
    falling = _falling(every)
    if len(falling) == 1 or not _told(every):
        return f"{lead} Nothing can be told of a use of context."
    start = next(part.start for part in falling if part.bits <= falling[-1].bits + FLAT)
    if start == last.start:
        return f"{lead} It still falls at the end: a longer context may help."
    return f"{lead} From about {bins[start].partition(_TO)[0]} on, more context gains little."


class _Stretch(NamedTuple):
    """One bin of context or several put together."""

    start: int
    bits: float
    count: float

    def chance(self, other: _Stretch) -> float:
        """Difference that chance may make: two standard errors, where the bits of a symbol spread by a third."""
        return 2 * 0.3 * self.bits * math.sqrt(1 / self.count + 1 / other.count)

    def with_next(self, other: _Stretch) -> _Stretch:
        count = self.count + other.count
        return _Stretch(self.start, (self.bits * self.count + other.bits * other.count) / count, count)


def _falling(bins: list[_Stretch]) -> list[_Stretch]:
    """The curve as it would be if it only fell: neighbours that rise are averaged (pool adjacent violators)."""
    out: list[_Stretch] = []
    for part in bins:
        out.append(part)
        while len(out) > 1 and out[-1].bits >= out[-2].bits:
            out[-2:] = [out[-2].with_next(out[-1])]
    if len(out) > 1 and out[-2].bits - out[-1].bits < out[-2].chance(out[-1]):  # the end may be lower by chance
        out[-2:] = [out[-2].with_next(out[-1])]
    return out


def _told(bins: list[_Stretch]) -> bool:
    """Whether symbols with more context cost less than those with less, beyond chance, wherever one divides them."""
    sides = ((reduce(_Stretch.with_next, bins[:i]), reduce(_Stretch.with_next, bins[i:])) for i in range(1, len(bins)))
    return any(less.bits - more.bits > less.chance(more) for less, more in sides)


def _share(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _symbols_lead(names: list[str], heads: list[str], values: list[list[float | None]], unit: str) -> str:
    rights = [(row[heads.index(name)] or 0.0, name) for name, row in zip(names, values, strict=True) if name in heads]
    wrong = [
        (v, name, head)
        for name, row in zip(names, values, strict=True)
        for head, v in zip(heads, row, strict=True)
        if v is not None and head != name
    ]
    if not rights or not wrong:
        return ""
    best, easy = max(rights)
    worst, hard = min(rights)
    lead = f"{easy} is expected best ({percent(best, 1)} where it stands), {hard} worst ({percent(worst, 1)})."
    share, name, head = max(wrong)
    if share > worst:
        lead += f" Most often taken for another: {name}, with {percent(share, 1)} on {head}."
    return lead


def _symbol_table(
    frame: pl.DataFrame, names: list[str], heads: list[str], values: list[list[float | None]], unit: str
) -> Table:
    columns = [Column(title=unit.capitalize(), numeric=False)]
    rows = [[Cell(text=name, sort=name)] for name in names]
    if "count" in frame.columns:
        columns.append(Column(title="count"))
        for row, value in zip(rows, numbers(frame, "count"), strict=True):
            row.append(Cell(text=significant(value) if value is None else f"{value:,.0f}", sort=value))
    if "bits" in frame.columns:
        columns.append(Column(title="bits", hint=f"mean information of this {unit}; rare ones cost more"))
        bits = numbers(frame, "bits")
        for row, text, value in zip(rows, column(bits, 4), bits, strict=True):
            row.append(Cell(text=text, sort=value))
    columns.append(Column(title="expected", hint="mean probability given to it where it stands"))
    for name, row, shares in zip(names, rows, values, strict=True):
        right = shares[heads.index(name)] if name in heads else None
        row.append(Cell(text=percent(right, 1), sort=right))
    return Table(caption=f"By {unit}", columns=columns, rows=rows, sortable=len(rows) > 6)


def _spread(bits: np.ndarray, noun: str, unit: str) -> Chart:
    low, high = _body(bits)
    counts, edges = np.histogram(bits, bins=min(max(len(bits) // 8, 5), 40), range=(low, high))
    width = edges[1] - edges[0]
    middle, mean = (edges[:-1] + edges[1:]) / 2, float(bits.mean())
    late = mean > (low + high) / 2
    shape, note = charts.vertical(round(mean, 4), f"mean {mean:.3f}", color=charts.MODEL, leftward=late)
    figure = {
        "data": [{
            "type": "bar", "x": charts.rounded(middle.tolist()), "y": counts.tolist(), "width": float(f"{width:.5g}"),
            "marker": {"color": "var(--model)", "line": {"width": 1, "color": "var(--paper)"}},
            "hovertemplate": f"%{{y}} {noun}s around %{{x:.3f}} bits<extra></extra>",
        }],
        "layout": {
            "hovermode": "closest", "showlegend": False, "bargap": 0, "shapes": [shape], "annotations": [note],
            "xaxis": {"title": {"text": f"bits per {unit}"}},
            "yaxis": {"title": {"text": f"{noun}s"}, "rangemode": "tozero"},
        },
    }  # fmt: skip
    left = len(bits) - int(counts.sum())
    away = [f"{count(n, noun)} {side}" for n, side in ((int((bits < low).sum()), f"below {low:.3g}"),
            (int((bits > high).sum()), f"above {high:.3g}")) if n]  # fmt: skip
    caption = f"Not drawn: {' and '.join(away)} bits." if left and away else ""
    alt = f"How bits per {unit} are spread over {len(bits):,} {noun}s."
    return Chart(figure=figure, alt=alt, caption=caption, height=280)


def _body(bits: np.ndarray) -> tuple[float, float]:
    """The range to draw: all of it, unless a few lie so far out that the others would be squeezed together."""
    ends = float(bits.min()), float(bits.max())
    low, high = np.quantile(bits, [0.02, 0.98])
    room = 0.75 * (high - low)
    body = max(ends[0], float(low - room)), min(ends[1], float(high + room))
    far = ends[1] - ends[0] > 1.5 * (body[1] - body[0]) > 0
    return body if far else ends


def _along(frame: pl.DataFrame, mean: float, unit: str) -> Panels | None:
    """Bits along the records that have many windows."""
    if "start" not in frame.columns:
        return None
    groups = frame.filter(pl.col("start").is_finite()).group_by("id", maintain_order=True).agg(pl.len().alias("n"))
    names = groups.filter(pl.col("n") >= LEAST_ALONG).sort("n", descending=True, maintain_order=True)["id"].to_list()
    panels = []
    for name in names[:MAX_PANELS]:
        part = frame.filter(pl.col("id") == name).sort("start")
        bits = numbers(part, "bits")
        kept = charts.thin(bits, MAX_POINTS)
        x = [numbers(part, "start")[i] for i in kept]
        ends = [x[0], x[-1]]
        traces = [
            charts.line(ends, [mean, mean], "mean", charts.MUTED, width=1, dash="dash", hoverinfo="skip"),
            charts.line(
                x, [bits[i] for i in kept], "this model", charts.MODEL, width=1.6,
                hovertemplate="from %{x:,}: %{y:.3f} bits<extra></extra>",
            ),
        ]  # fmt: skip
        layout = {
            "hovermode": "closest",
            "xaxis": {"title": {"text": f"position in {charts.label(name, 40)}"}, "tickformat": ",d"},
            "yaxis": {"title": {"text": f"bits per {unit}"}},
        }
        panels.append(Panel(keys=(name,), figure={"data": traces, "layout": layout}))
    if not panels:
        return None
    caption = (
        "Valleys are stretches the model finds easy, such as repeats and near copies of training; peaks are stretches "
        "unlike what it was trained on."
    )
    if len(names) > len(panels):
        caption += f" The {len(panels)} records with most windows of {len(names):,}."
    return Panels(selectors=("Record",), panels=panels, alt="Bits along the record", caption=caption, height=320)


def _extremes(frame: pl.DataFrame, noun: str, unit: str) -> list[Block]:
    """The least and the most predictable, each once."""
    size = min(MAX_TABLE // 2, len(frame) // 2)
    ranked = frame.sort("bits", descending=True, maintain_order=True)
    if size < 3:
        return [_record_table(f"All {noun}s", ranked, unit)]
    return [
        _record_table(f"Least predictable {noun}s", ranked.head(size), unit),
        _record_table(f"Most predictable {noun}s", ranked.tail(size).reverse(), unit),
    ]


def _record_table(caption: str, frame: pl.DataFrame, unit: str) -> Table:
    columns = [Column(title="Record", numeric=False)]
    rows = [[Cell(text=charts.shorten(name or "", 60), sort=name)] for name in frame["id"].to_list()]
    if "start" in frame.columns and (frame["start"] > 1).any():
        columns.append(Column(title="from", hint=f"first {unit}, counted from 0 as in BED"))
        for row, value in zip(rows, numbers(frame, "start"), strict=True):
            row.append(Cell(text="" if value is None else f"{value:,.0f}", sort=value))
    alike = {"length", "num_scored"} <= {*frame.columns} and (frame["length"] == frame["num_scored"]).all()
    for key, hint in (("length", f"{unit}s that were read"), ("num_scored", f"{unit}s that count here")):
        if key in frame.columns and not (alike and key == "num_scored"):
            columns.append(Column(title="scored" if key == "num_scored" else key, hint=hint))
            for row, value in zip(rows, numbers(frame, key), strict=True):
                row.append(Cell(text="" if value is None else f"{value:,.0f}", sort=value))
    bits = numbers(frame, "bits")
    columns.append(Column(title="bits"))
    for row, value in zip(rows, bits, strict=True):
        row.append(Cell(text=ABSENT if value is None else f"{value:.3f}", sort=value))
    columns.append(Column(title="perplexity", hint=f"two to the power of the bits: as many {unit}s, equally likely"))
    for row, value in zip(rows, bits, strict=True):
        row.append(Cell(text=ABSENT if value is None else significant(2**value, 4), sort=value))
    return Table(caption=caption, columns=columns, rows=rows)
