"""What pages about molecules are made of: structures, histograms of properties, a funnel, a table of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
from xlstm_apps.datasets.molecules.drawing import grid
from xlstm_apps.datasets.molecules.metrics import Value
from xlstm_apps.datasets.molecules.properties import MOSES_PROPERTIES, PROPERTIES, measure

from . import charts
from .blocks import Block, Cell, Chart, Column, Picture, Row, Section, Table
from .numbers import ABSENT, percent

MOST_DRAWN = 20
MOST_MEASURED = 5000
"""Molecules of a set whose properties are computed, at most."""
_BINS = 30
_LEAST = 5  # molecules of a histogram
_COLUMNS = 4  # structures side by side, as wide as the page
_COLORS = (charts.MODEL, "var(--series-2)", "var(--series-3)")
_AXES = {"mw": "molecular weight, g/mol", "logp": "logP", "qed": "QED, drug-likeness", "sa": "SA, 1 easy to 10"}


@dataclass(frozen=True, kw_only=True)
class MoleculeSet:
    """Molecules by their name on the page, and their properties."""

    name: str
    smiles: Sequence[str]
    properties: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, name: str, smiles: Sequence[str], seed: int = 0) -> MoleculeSet:
        """With properties of all of them, or of `MOST_MEASURED` at random; strings that are no molecules are left
        out."""
        chosen = list(smiles)
        if len(chosen) > MOST_MEASURED:
            at = np.random.default_rng(seed).choice(len(chosen), MOST_MEASURED, replace=False)
            chosen = [chosen[i] for i in np.sort(at)]
        with quiet():
            mols = [mol for mol in map(molecule, chosen) if mol is not None]
            return cls(name=name, smiles=list(smiles), properties=measure(mols, MOSES_PROPERTIES))


def structures(smiles: Sequence[str], legends: Sequence[str] = (), caption: str = "") -> Picture | None:
    """The first molecules as a grid of structures, with a line below each; None where there is none."""
    legends = legends or [""] * len(smiles)
    with quiet():
        found = [(mol, text) for s, text in zip(smiles, legends, strict=False) if (mol := molecule(s)) is not None]
        found = found[:MOST_DRAWN]
        if not found:
            return None
        svg = grid([mol for mol, _ in found], [charts.shorten(text, 34) for _, text in found], columns=_COLUMNS)
    return Picture(svg=svg[svg.index("<svg") :], caption=caption)


def histograms(sets: Sequence[MoleculeSet]) -> Section | None:
    """How each property is spread over the sets, the first of which is what the page is about; None for very few."""
    blocks: list[Block] = []
    shifts: list[tuple[float, str]] = []
    for name in MOSES_PROPERTIES:
        values = {own.name: x[np.isfinite(x)] for own in sets if len(x := np.asarray(own.properties[name]))}
        values = {key: x for key, x in values.items() if len(x) >= _LEAST}
        if sets[0].name not in values:
            continue
        blocks.append(_histogram(name, values))
        if len(values) > 1:
            ours, other = list(values.values())[:2]
            spread = float(other.std()) or 1.0
            shifts.append((abs(float(np.median(ours) - np.median(other))) / spread, _shift(name, values)))
    if not blocks:
        return None
    lead = "What chemists look at first."
    if shifts:
        lead = f"Furthest apart: {max(shifts)[1]}."
    rows: list[Block] = [Row(blocks=blocks[at : at + 2]) for at in range(0, len(blocks), 2)]
    return Section(id="properties", title="Properties", lead=lead, blocks=rows)


def _shift(name: str, values: Mapping[str, np.ndarray]) -> str:
    (ours, mine), (others, theirs) = list(values.items())[:2]
    return f"{_AXES[name]}, in the middle {np.median(mine):.4g} of {ours} and {np.median(theirs):.4g} of {others}"


def _histogram(name: str, values: Mapping[str, np.ndarray]) -> Chart:
    every = np.concatenate(list(values.values()))
    low, high = (float(x) for x in np.quantile(every, [0.005, 0.995]))  # a few odd ones do not squeeze the rest
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    edges = np.linspace(low, high, _BINS + 1)
    middle = charts.rounded(((edges[:-1] + edges[1:]) / 2).tolist())
    traces = []
    for (label, x), color in zip(values.items(), _COLORS, strict=False):
        shares = np.histogram(np.clip(x, low, high), edges)[0] / len(x)
        hover = {"hovertemplate": "%{y:.1%} at about %{x:.3~g}<extra></extra>"}
        words = charts.label(label, 40)
        if traces:  # only the first fills its bars: several would hide each other
            outline = charts.line(middle, shares.tolist(), words, color, width=2, **hover)
            traces.append(outline | {"line": {**outline["line"], "shape": "hvh"}})
            continue
        width = float(f"{edges[1] - edges[0]:.5g}")
        bars = {
            "type": "bar",
            "x": middle,
            "y": charts.rounded(shares.tolist()),
            "name": words,
            "width": width,
            **hover,
        }
        traces.append(bars | {"marker": {"color": color}, "opacity": 0.45})
    layout = {
        "barmode": "overlay", "hovermode": "closest", "bargap": 0,
        "xaxis": {"title": {"text": _AXES[name]}, "range": [low, high]},
        "yaxis": {"title": {"text": "share of the molecules"}, "tickformat": ".0%"},
    }  # fmt: skip
    alt = f"How {PROPERTIES[name]} is spread over {' and over '.join(values)}; the outermost bars hold what is beyond."
    return Chart(figure={"data": traces, "layout": layout}, alt=alt, height=260)


def funnel(read: int, stages: Sequence[tuple[str, int, int]]) -> Section:
    """How many molecules each filter took.

    Args:
        read: How many there were.
        stages: Name of each filter, how many it took, how many were left behind it.
    """
    left = stages[-1][2] if stages else read
    names = ["read", *(charts.label(name, 40) for name, _, _ in stages)]
    counts = [read, *(rest for _, _, rest in stages)]
    trace = {
        "type": "bar", "orientation": "h", "x": counts, "y": [f"{n}. {name}" for n, name in enumerate(names)],
        "marker": {"color": charts.MODEL}, "name": "left",
        "hovertemplate": "%{y}: %{x:,d} left<extra></extra>",
    }  # fmt: skip
    layout = {
        "hovermode": "closest", "showlegend": False, "xaxis": {"title": {"text": "molecules left"}, "tickformat": ",d"},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }  # fmt: skip
    most = max(stages, key=lambda stage: stage[1], default=None)
    lead = f"{left:,} of {read:,} are left ({percent(left / read, 1)})." if read else "There was nothing to filter."
    if most is not None and most[1]:
        lead += f" Most were taken by {most[0]}: {most[1]:,}."
    rows = [[Cell(text="read"), Cell(text=""), Cell(text=f"{read:,}", sort=read), Cell(text="100.0 %", sort=1.0)]]
    for name, taken, rest in stages:
        share = rest / read if read else 0.0
        rows.append([
            Cell(text=charts.shorten(name, 60)), Cell(text=f"{taken:,}", sort=taken), Cell(text=f"{rest:,}", sort=rest),
            Cell(text=percent(share, 1), sort=share),
        ])  # fmt: skip
    columns = [Column(title="Filter", numeric=False), Column(title="taken out"), Column(title="left")]
    columns.append(Column(title="of all", hint="share of what was read"))
    alt = f"Molecules left behind each filter. {lead}"
    chart = Chart(figure={"data": [trace], "layout": layout}, alt=alt, height=80 + 36 * len(names))
    table = Table(caption="Filters in their order", columns=columns, rows=rows)
    return Section(id="funnel", title="Where they went", lead=lead, blocks=[Row(blocks=[chart, table])])


def metrics(values: Sequence[Value], beside: Sequence[Value], lead: str = "") -> Section:
    """Metrics with the number each is about, and the same of molecules drawn from training."""
    other = {value.metric: value.value for value in beside}
    columns = [Column(title="Metric", numeric=False), Column(title="value")]
    if beside:
        columns.append(Column(title="from training", hint="as many molecules drawn from training: as good as it gets"))
    columns += [Column(title="n", hint="how many it is about"), Column(title="what it is", numeric=False)]
    rows = []
    for value in values:
        cells = [Cell(text=value.metric), _number(value.value)]
        cells += [_number(other.get(value.metric, float("nan")))] if beside else []
        rows.append([*cells, Cell(text=f"{value.n:,}", sort=value.n), Cell(text=value.about)])
    table = Table(caption="As MOSES defines them (Polykovskiy et al. 2020)", columns=columns, rows=rows)
    return Section(id="metrics", title="Metrics", lead=lead, blocks=[table])


def _number(value: float) -> Cell:
    return Cell(text=f"{value:.4f}", sort=value) if np.isfinite(value) else Cell(text=ABSENT)


def gallery(picture: Picture | None, title: str, lead: str = "", id: str = "structures") -> list[Section]:
    """A section of structures, where there are any."""
    return [] if picture is None else [Section(id=id, title=title, lead=lead, blocks=[picture])]


def share_of(values: Sequence[Value], name: str) -> tuple[float, int] | None:
    """A metric and what it is about; None where it is not there or cannot be told."""
    found: Any = next((v for v in values if v.metric == name), None)
    return None if found is None or not np.isfinite(found.value) else (found.value, found.n)
