"""The page of `sequence designs`: made-up proteins beside their family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from xlstm_apps.datasets.sequences.designs import Designs
from xlstm_apps.datasets.sequences.mutations import RESIDUES

from . import charts
from .blocks import Block, Cell, Chart, Column, Headline, Notice, Row, Section, Table, Tile
from .numbers import column, count, percent
from .page import assemble, write_page

MAX_ROWS = 100
COPY = 0.95
"""Identity from which a design counts as a near copy."""
_FAMILY, _MADE = "family", "designs"
_COLORS = {_FAMILY: "var(--series-2)", _MADE: charts.MODEL}


def write_designs(path: str | Path, designs: Designs, *, subject: str) -> Path:
    """Write a self-contained page.

    Args:
        path: File to write, in a folder that exists.
        designs: From `datasets.sequences.designs`.
        subject: What was compared, a few words.
    """
    sections = [_likeness(designs), _make_up(designs), _each(designs)]
    return write_page(Path(path), assemble(_headline(designs, subject), sections))


def _headline(designs: Designs, subject: str) -> Headline:
    table, made = designs.table, len(designs.made)
    identity = _known(table, "identity")
    middle = float(np.median(identity)) if len(identity) else float("nan")
    verdict = (
        f"{count(made, 'design')}, half of them with {percent(middle)} or more in common with a member of the family"
    )
    tiles = [
        Tile(label="Designs", value=f"{made:,}", hint=f"family of {len(designs.family):,}"),
        Tile(label="Identity", value=percent(middle), hint="to the nearest member, median"),
    ]
    if len(designs.natural):
        usual = float(np.median(designs.natural))
        verdict += f"; its members have {percent(usual)} in common with one another"
        tiles.append(Tile(label="Members", value=percent(usual), hint="to their nearest other, median"))
    notices = []
    known = "identity_training" if "identity_training" in table.columns else "identity"
    copies = int((_known(table, known) >= COPY).sum())
    where = "training" if known == "identity_training" else "the family"
    tiles.append(Tile(label="Near copies", value=percent(copies / made), hint=f"{percent(COPY)} and more, of {where}"))
    if copies > made / 2:
        text = f"{copies:,} of {made:,} have {percent(COPY)} and more in common with a protein of {where}."
        notices.append(Notice(title="Most designs are copies.", text=text, tone="warning"))
    repeated = int(table["repeated"].sum())
    if repeated:
        text = f"{count(repeated, 'design')} of {made:,}, already made before."
        notices.append(Notice(title="Repeats.", text=text, tone="warning"))
    if "perplexity" in table.columns and len(found := _known(table, "perplexity")):
        tiles.append(Tile(label="Perplexity", value=f"{np.median(found):.2f}", hint="median"))
    return Headline(
        subject=subject,
        verdict=f"{verdict}.",
        detail="Identity: share of a design's residues that stand under the same residue in an alignment with it; "
        "unrelated proteins have about 30 %. It says nothing of whether a design folds or works.",
        notices=notices,
        tiles=tiles,
    )


def _likeness(designs: Designs) -> Section:
    blocks: list[Block] = []
    drawn = {_FAMILY: designs.natural, _MADE: _known(designs.table, "identity")}
    words = {_FAMILY: "members, to the nearest other", _MADE: "designs, to the nearest member"}
    blocks.append(_histogram(drawn, words, "identity", ".0%", (0.0, 1.0)))
    table = designs.table
    if "perplexity" in table.columns and table["perplexity"].is_not_null().any():
        shown = table.filter(pl.col("perplexity").is_not_null() & pl.col("identity").is_not_null())
        trace = {
            "type": "scatter", "mode": "markers", "x": charts.rounded(shown["identity"].to_list()),
            "y": charts.rounded(shown["perplexity"].to_list()), "name": "designs",
            "text": [charts.label(name, 40) for name in shown["id"]], "marker": {"size": 7, "color": charts.MODEL},
            "hovertemplate": "%{text}: %{x:.0%}, perplexity %{y:.2f}<extra></extra>",
        }  # fmt: skip
        layout = {
            "hovermode": "closest", "showlegend": False,
            "xaxis": {"title": {"text": "identity to the nearest member"}, "tickformat": ".0%"},
            "yaxis": {"title": {"text": "perplexity"}},
        }  # fmt: skip
        alt = "Perplexity of each design against its identity to the nearest member of the family."
        blocks.append(Chart(figure={"data": [trace], "layout": layout}, alt=alt, height=320))
    lead = "Designs far left of the members are unlike the family; those at the right end are copies."
    return Section(id="likeness", title="How near, how new", lead=lead, blocks=[Row(blocks=blocks)])


def _make_up(designs: Designs) -> Section:
    lengths = {_FAMILY: designs.family.lengths, _MADE: designs.made.lengths}
    ends = (float(min(map(np.min, lengths.values()))), float(max(map(np.max, lengths.values()))))
    words = {_FAMILY: "family", _MADE: "designs"}
    chart = _histogram({k: v.astype(float) for k, v in lengths.items()}, words, "residues", ",d", ends)
    traces = [
        {
            "type": "bar", "x": list(RESIDUES), "y": charts.rounded(own.composition().tolist()), "name": name,
            "marker": {"color": _COLORS[name]}, "hovertemplate": "%{x}: %{y:.1%}<extra></extra>",
        }
        for name, own in ((_FAMILY, designs.family), (_MADE, designs.made))
    ]  # fmt: skip
    layout = {
        "barmode": "group", "hovermode": "closest", "xaxis": {"type": "category", "dtick": 1},
        "yaxis": {"title": {"text": "share of the residues"}, "tickformat": ".0%"},
    }  # fmt: skip
    alt = "Share of each residue in the family and in the designs."
    composition = Chart(figure={"data": traces, "layout": layout}, alt=alt, height=320)
    medians = {name: float(np.median(values)) for name, values in lengths.items()}
    both = np.stack([own.composition() for own in (designs.made, designs.family)])
    most = int(np.abs(both[0] - both[1]).argmax())
    lead = (
        f"Half of the designs have {medians[_MADE]:,.0f} residues or fewer, of the family {medians[_FAMILY]:,.0f}. "
        f"Furthest from the family: {RESIDUES[most]}, {percent(float(both[0, most]), 1)} of the residues instead of "
        f"{percent(float(both[1, most]), 1)}."
    )
    return Section(id="make-up", title="Length and composition", lead=lead, blocks=[Row(blocks=[chart, composition])])


def _each(designs: Designs) -> Section:
    order = "perplexity" if "perplexity" in designs.table.columns else "identity"
    ranked = designs.table.sort(order, descending=order == "identity", nulls_last=True, maintain_order=True)
    shown = ranked.head(MAX_ROWS)
    columns = [Column(title="Design", numeric=False)]
    rows = [[Cell(text=charts.shorten(name, 40), sort=name)] for name in shown["id"]]

    def add(title: str, hint: str, values: list[Any], texts: list[str], numeric: bool = True) -> None:
        columns.append(Column(title=title, hint=hint, numeric=numeric))
        for row, value, text in zip(rows, values, texts, strict=True):
            row.append(Cell(text=text, sort=value))

    add("length", "residues", shown["length"].to_list(), [f"{n:,}" for n in shown["length"]])
    if "perplexity" in shown.columns:
        add("perplexity", "as its model reads it", (values := shown["perplexity"].to_list()), column(values, 4))
    for name, where in (("", "the family"), ("_context", "the context"), ("_training", "the training part")):
        if f"identity{name}" in shown.columns:
            values = shown[f"identity{name}"].to_list()
            title = f"identity{name.replace('_', ' to ')}"
            add(title, f"to the nearest of {where}", values, [percent(value, 1) for value in values])
    names = [charts.shorten(name or "", 40) for name in shown["nearest"]]
    add("nearest", "most similar member", names, names, numeric=False)
    values = shown["composition_distance"].to_list()
    hint = "root of the Jensen-Shannon divergence of its residues from the family's: 0 the same, 1 none in common"
    add("composition", hint, values, [f"{value:.3f}" for value in values])
    left = len(ranked) - len(shown)
    note = f"{count(left, 'design')} left out; the table that goes with this page has all." if left else ""
    how = "lowest perplexity" if order == "perplexity" else "nearest to the family"
    table = Table(caption=f"Designs, {how} first", columns=columns, rows=rows, sortable=True, note=note)
    return Section(id="designs", title="Each design", blocks=[table])


def _histogram(
    drawn: dict[str, np.ndarray], words: dict[str, str], axis: str, form: str, ends: tuple[float, float]
) -> Chart:
    low, high = ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[0] + 0.5)
    edges = np.linspace(low, high, 26)
    middle = charts.rounded(((edges[:-1] + edges[1:]) / 2).tolist())
    traces = [
        {
            "type": "bar", "x": middle, "y": charts.rounded((np.histogram(values, edges)[0] / len(values)).tolist()),
            "name": words[name], "marker": {"color": _COLORS[name]}, "opacity": 0.65,
            "width": float(f"{edges[1] - edges[0]:.5g}"),
            "hovertemplate": f"%{{y:.0%}} at about %{{x:{form}}}<extra></extra>",
        }
        for name, values in drawn.items() if len(values)
    ]  # fmt: skip
    layout = {
        "barmode": "overlay", "hovermode": "closest", "bargap": 0,
        "xaxis": {"title": {"text": axis}, "tickformat": form, "range": [low, high]},
        "yaxis": {"title": {"text": "share of the proteins"}, "tickformat": ".0%"},
    }  # fmt: skip
    alt = f"How {axis} is spread over {' and over '.join(words[name] for name in drawn)}."
    return Chart(figure={"data": traces, "layout": layout}, alt=alt, height=320)


def _known(table: pl.DataFrame, name: str) -> np.ndarray:
    return table[name].drop_nulls().to_numpy()
