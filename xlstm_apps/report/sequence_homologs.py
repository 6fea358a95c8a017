"""What homologs, or molecules of a set, shown first are worth to a model: the section, and the look of such a curve."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from . import charts
from .blocks import Cell, Chart, Column, Row, Section, Table
from .numbers import column, percent
from .run import Run, numbers

REAL = "real"
LITTLE = 0.01
"""Share of the perplexity below which a fall counts as none."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is shown before what, and its control."""

    id: str
    file: str
    shown: str
    """Name of what is shown, and of the column of its number."""
    control: str
    read: str
    """What stands behind them."""
    held_out: str
    """Several of these."""
    symbol: str
    """What they consist of."""
    control_words: str
    """Legend of the control."""
    nothing: str
    """What to do where they add nothing."""
    better: str
    """What it means that the control is worse."""
    as_good: str
    """What it means that the control is as good."""


HOMOLOGS = Kind(
    id="homologs",
    file="evaluation/homologs.csv",
    shown="homologs",
    control="shuffled",
    read="the protein",
    held_out="proteins",
    symbol="residue",
    control_words="the same, residues shuffled",
    nothing="Where one family was trained on, the weights hold it already; of many families, train longer.",
    better="the same with their residues shuffled leave {control:.2f}: it is their order that is read.",
    as_good="but shuffled ones bring as much as {control:.2f}: a good part is what residues the family is made of.",
)
SETS = Kind(
    id="sets",
    file="evaluation/sets.csv",
    shown="molecules",
    control="other",
    read="the molecule",
    held_out="molecules",
    symbol="token",
    control_words="molecules of another set",
    nothing="Train longer, or on more sets.",
    better="as many of another set leave {control:.2f}: it is what they have in common that is read.",
    as_good="but molecules of another set bring as much as {control:.2f}: little of it is about the set.",
)


def homologs(run: Run) -> Section | None:
    """Perplexity of held-out members by how many homologs stand before them, and before the same ones shuffled."""
    return _section(run, HOMOLOGS)


def sets(run: Run) -> Section | None:
    """Perplexity of new molecules by how many of their set stand before them, and of another set."""
    return _section(run, SETS)


def _section(run: Run, kind: Kind) -> Section | None:
    if not run.has(kind.file):  # written where families were trained on
        return None
    frame = run.table(kind.file, kind.shown, "control", "perplexity", text=("control",))
    if frame is None:
        return None
    frame = frame.filter(pl.col(kind.shown).is_finite() & pl.col("perplexity").is_finite())
    looks = {REAL: (kind.shown, charts.MODEL, "solid"), kind.control: (kind.control_words, charts.MUTED, "dash")}
    frame = frame.filter(pl.col("control").is_in(list(looks))).sort(kind.shown, maintain_order=True)
    if frame.filter(pl.col("control") == REAL).is_empty():
        run.absent[kind.file] = f"has no row of real {kind.shown}"
        return None
    curves = {name: frame.filter(pl.col("control") == name) for name in looks}
    lead = _lead(curves[REAL], curves[kind.control], kind)
    shown = [str(int(n)) for n in frame[kind.shown].unique(maintain_order=True)]
    traces = []
    for name, (words, color, dash) in looks.items():
        own = curves[name]
        if own.is_empty():
            continue
        marks = {"mode": "lines+markers", "marker": {"size": 7 if name == REAL else 5, "color": color}}
        hover = {"hovertemplate": "%{x} shown: %{y:.2f}<extra></extra>"}
        x = [str(int(n)) for n in own[kind.shown]]
        traces.append(charts.line(x, numbers(own, "perplexity"), words, color, dash=dash, **marks, **hover))
    figure = {
        "data": traces,
        "layout": {
            "hovermode": "closest",
            "xaxis": {
                "type": "category",
                "categoryarray": shown,
                "title": {"text": f"{kind.shown} read before {kind.read}"},
            },
            "yaxis": {"title": {"text": f"perplexity of its {kind.symbol}s"}},
        },
    }
    alt = f"Perplexity of held-out {kind.held_out} by the number of {kind.shown} read before them. {lead}"
    blocks = [Chart(figure=figure, alt=alt, height=340), _table(curves, kind)]
    title = "What homologs are worth" if kind is HOMOLOGS else "What molecules of a set are worth"
    return Section(id=kind.id, title=title, lead=lead, blocks=[Row(blocks=blocks)])


def _lead(real: pl.DataFrame, control: pl.DataFrame, kind: Kind) -> str:
    counts, values = real[kind.shown].to_list(), real["perplexity"].to_list()
    if len(values) < 2:
        return f"Perplexity {values[0]:.2f} with {int(counts[0])} shown; nothing to compare it with."
    start = f"{values[0]:.2f} {'alone' if counts[0] == 0 else f'with {int(counts[0])}'}"
    best = min(range(len(values)), key=values.__getitem__)
    fall = 1 - values[best] / values[0]
    if fall < LITTLE:
        name = kind.shown.capitalize()
        return f"{name} add nothing: perplexity is {start} and {values[-1]:.2f} with {int(counts[-1])}. {kind.nothing}"
    lead = (
        f"Perplexity falls from {start} to {values[best]:.2f} with {int(counts[best])} {kind.shown} ({percent(fall)})"
    )
    if values[-1] > values[best] * (1 + LITTLE):
        lead += f", and rises to {values[-1]:.2f} with {int(counts[-1])}"
    beside = control.filter(pl.col(kind.shown) == counts[best])["perplexity"].to_list()
    if not beside:
        return f"{lead}."
    if 1 - beside[0] / values[0] < fall / 2:
        return f"{lead}; {kind.better.format(control=beside[0])}"
    return f"{lead}, {kind.as_good.format(control=beside[0])}"


def _table(curves: dict[str, pl.DataFrame], kind: Kind) -> Table:
    real, control = curves[REAL], curves[kind.control]
    values = numbers(real, "perplexity")
    columns = [Column(title="Shown", hint=f"{kind.shown} read before {kind.read}")]
    rows = [[Cell(text=f"{int(n):,}", sort=n)] for n in real[kind.shown]]

    def add(title: str, hint: str, found: list[float | None], texts: list[str]) -> None:
        columns.append(Column(title=title, hint=hint))
        for row, value, text in zip(rows, found, texts, strict=True):
            row.append(Cell(text=text, sort=value))

    add("perplexity", f"of the {kind.symbol}s of held-out {kind.held_out}", values, column(values, 4))
    if not control.is_empty():
        known = dict(zip(control[kind.shown], numbers(control, "perplexity"), strict=True))
        beside = [known.get(n) for n in real[kind.shown]]
        add(kind.control, kind.control_words, beside, column(beside, 4))
    if "bits" in real.columns:
        add("bits", f"per {kind.symbol}", numbers(real, "bits"), column(numbers(real, "bits"), 4))
    if "targets" in real.columns:
        targets = numbers(real, "targets")
        add(kind.held_out, f"held-out {kind.held_out}", targets, ["" if n is None else f"{n:,.0f}" for n in targets])
    return Table(caption=f"By number of {kind.shown}", columns=columns, rows=rows)
