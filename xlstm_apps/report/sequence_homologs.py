"""What homologs shown first are worth to a model of protein families: the section, and the look of such a curve."""

from __future__ import annotations

import polars as pl

from . import charts
from .blocks import Cell, Chart, Column, Row, Section, Table
from .numbers import column, percent
from .run import Run, numbers

REAL, SHUFFLED = "real", "shuffled"
_LOOKS = {REAL: ("homologs", charts.MODEL, "solid"), SHUFFLED: ("the same, residues shuffled", charts.MUTED, "dash")}
LITTLE = 0.01
"""Share of the perplexity below which a fall counts as none."""


def homologs(run: Run) -> Section | None:
    """Perplexity of held-out members by how many homologs stand before them, and before the same ones shuffled."""
    if not run.has("evaluation/homologs.csv"):  # written where families were trained on
        return None
    frame = run.table("evaluation/homologs.csv", "homologs", "control", "perplexity", text=("control",))
    if frame is None:
        return None
    frame = frame.filter(pl.col("homologs").is_finite() & pl.col("perplexity").is_finite())
    frame = frame.filter(pl.col("control").is_in(list(_LOOKS))).sort("homologs", maintain_order=True)
    if frame.filter(pl.col("control") == REAL).is_empty():
        run.absent["evaluation/homologs.csv"] = "has no row of real homologs"
        return None
    curves = {name: frame.filter(pl.col("control") == name) for name in _LOOKS}
    lead = _lead(curves[REAL], curves[SHUFFLED])
    shown = [str(int(n)) for n in frame["homologs"].unique(maintain_order=True)]
    traces = []
    for name, (words, color, dash) in _LOOKS.items():
        own = curves[name]
        if own.is_empty():
            continue
        marks = {"mode": "lines+markers", "marker": {"size": 7 if name == REAL else 5, "color": color}}
        hover = {"hovertemplate": "%{x} shown: %{y:.2f}<extra></extra>"}
        x = [str(int(n)) for n in own["homologs"]]
        traces.append(charts.line(x, numbers(own, "perplexity"), words, color, dash=dash, **marks, **hover))
    figure = {
        "data": traces,
        "layout": {
            "hovermode": "closest",
            "xaxis": {
                "type": "category",
                "categoryarray": shown,
                "title": {"text": "homologs read before the protein"},
            },
            "yaxis": {"title": {"text": "perplexity of its residues"}},
        },
    }
    alt = f"Perplexity of held-out proteins by the number of homologs read before them. {lead}"
    blocks = [Chart(figure=figure, alt=alt, height=340), _table(curves)]
    return Section(id="homologs", title="What homologs are worth", lead=lead, blocks=[Row(blocks=blocks)])


def _lead(real: pl.DataFrame, shuffled: pl.DataFrame) -> str:
    counts, values = real["homologs"].to_list(), real["perplexity"].to_list()
    if len(values) < 2:
        return f"Perplexity {values[0]:.2f} with {int(counts[0])} shown; nothing to compare it with."
    start = f"{values[0]:.2f} {'alone' if counts[0] == 0 else f'with {int(counts[0])}'}"
    best = min(range(len(values)), key=values.__getitem__)
    fall = 1 - values[best] / values[0]
    if fall < LITTLE:
        return (
            f"Homologs add nothing: perplexity is {start} and {values[-1]:.2f} with {int(counts[-1])}. Where one "
            "family was trained on, the weights hold it already; of many families, train longer."
        )
    lead = f"Perplexity falls from {start} to {values[best]:.2f} with {int(counts[best])} homologs ({percent(fall)})"
    if values[-1] > values[best] * (1 + LITTLE):
        lead += f", and rises to {values[-1]:.2f} with {int(counts[-1])}"
    control = shuffled.filter(pl.col("homologs") == counts[best])["perplexity"].to_list()
    if not control:
        return f"{lead}."
    if 1 - control[0] / values[0] < fall / 2:
        return f"{lead}; the same with their residues shuffled leave {control[0]:.2f}: it is their order that is read."
    return (
        f"{lead}, but shuffled ones bring as much as {control[0]:.2f}: a good part is what residues the family is made "
        "of."
    )


def _table(curves: dict[str, pl.DataFrame]) -> Table:
    real, shuffled = curves[REAL], curves[SHUFFLED]
    values = numbers(real, "perplexity")
    columns = [Column(title="Shown", hint="homologs read before the protein")]
    rows = [[Cell(text=f"{int(n):,}", sort=n)] for n in real["homologs"]]

    def add(title: str, hint: str, found: list[float | None], texts: list[str]) -> None:
        columns.append(Column(title=title, hint=hint))
        for row, value, text in zip(rows, found, texts, strict=True):
            row.append(Cell(text=text, sort=value))

    add("perplexity", "of the residues of held-out proteins", values, column(values, 4))
    if not shuffled.is_empty():
        known = dict(zip(shuffled["homologs"], numbers(shuffled, "perplexity"), strict=True))
        control = [known.get(n) for n in real["homologs"]]
        add("shuffled", "with the residues of each homolog shuffled", control, column(control, 4))
    if "bits" in real.columns:
        add("bits", "per residue", numbers(real, "bits"), column(numbers(real, "bits"), 4))
    if "targets" in real.columns:
        targets = numbers(real, "targets")
        add("proteins", "held-out proteins", targets, ["" if n is None else f"{n:,.0f}" for n in targets])
    return Table(caption="By number of homologs", columns=columns, rows=rows)
