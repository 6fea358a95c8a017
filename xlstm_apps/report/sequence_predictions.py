"""Sections on single predictions: the probabilities given, the mistakes worth looking at, numbers against the truth."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from xlstm_apps.thinning import evenly

from . import charts, sequence_symbols
from .blocks import Block, Cell, Chart, Column, Panel, Panels, Row, Section, Table
from .numbers import column, count, percent, significant
from .run import Run, numbers
from .sequence_data import SequenceSummary

MAX_MISTAKES = 15
MAX_POINTS = 3_000
MAX_OUTPUTS = 12
_LOOKS = (charts.MUTED, charts.MODEL)
_FILE = "evaluation/predictions.csv"


def predictions(run: Run) -> Section | None:
    """Probabilities by true class and the surest mistakes, or numbers against the truth."""
    if run.option("head.per_symbol") and not run.has(_FILE):
        return sequence_symbols.symbols(run)
    frame = run.table(_FILE, "id", text=("id", "label"))
    if frame is None:
        return None
    if "label" in frame.columns:
        return _labelled(run) if run.option("head.task") == "multilabel" else _classified(run)
    outputs = _outputs(frame)
    if not outputs:
        run.absent[_FILE] = "has neither label nor target"
        return None
    return _regressed(frame, outputs)


def _classified(run: Run) -> Section | None:
    frame = run.table(_FILE, "id", "label", "predicted", text=("id", "label", "predicted"))
    if frame is None:
        return None
    given = {name.removeprefix("p_"): name for name in frame.columns if name.startswith("p_")}
    known = frame.filter(pl.col("label").is_in(list(given)))
    if known.is_empty():
        return None
    names = [n for n in SequenceSummary.read(run).classes if n in given] or list(given)
    wrong = known.filter(pl.col("label") != pl.col("predicted"))
    blocks: list[Block] = [_probabilities(known, given, names)]
    lead = ""
    if len(wrong):
        sure = _with_confidence(wrong, given)
        blocks.append(_mistakes(sure))
        high = int((sure["sure"] > 0.9).sum())
        lead = f"{count(len(wrong), 'record')} of {len(known):,} got the wrong class"
        lead += f", {high:,} of them with a probability above 90 %." if high else ", none with more than 90 %."
    return Section(id="predictions", title="Single predictions", lead=lead, blocks=blocks)


def _labelled(run: Run) -> Section | None:
    """The surest mistakes among several labels."""
    frame = run.table(_FILE, "id", "label", text=("id", "label", "predicted"))
    if frame is None:
        return None
    rows, touched = [], set()
    names = [name.removeprefix("p_") for name in frame.columns if name.startswith("p_")]
    for row in frame.iter_rows(named=True):
        true = (row["label"] or "").split(";")
        for name in names:
            p = row[f"p_{name}"]
            if p is not None and f"{name}?" not in true and (p > 0.5) != (name in true):
                rows.append((max(p, 1 - p), row["id"] or "", name, name in true, p))
                touched.add(row["id"])
    if not names:
        return None
    lead = f"{len(touched):,} of {count(len(frame), 'record')} got a wrong label, {count(len(rows), 'label')} in all."
    rows.sort(key=lambda row: -row[0])
    shown = [
        [
            Cell(text=charts.shorten(record, 60), sort=record),
            Cell(text=charts.shorten(name, 40), sort=name),
            Cell(text="yes" if truth else "no"),
            Cell(text=percent(p, 1), sort=p),
        ]
        for _, record, name, truth, p in rows[:MAX_MISTAKES]
    ]
    columns = [
        Column(title="Record", numeric=False),
        Column(title="label", numeric=False),
        Column(title="true", numeric=False),
        Column(title="probability", hint="given to the label"),
    ]
    more = f" The first {len(shown)} of {len(rows):,}." if len(rows) > len(shown) else ""
    note = f"Worth a look by someone who knows them: a sure mistake may be a wrong label.{more}"
    table = Table(caption="The surest mistakes", columns=columns, rows=shown, note=note)
    return Section(id="predictions", title="Single predictions", lead=lead, blocks=[table] if shown else [])


def _with_confidence(frame: pl.DataFrame, given: dict[str, str]) -> pl.DataFrame:
    """Probability of the class that was called, and of the true one."""
    rows = frame.select("label", "predicted", *given.values()).iter_rows(named=True)
    pairs = [(row.get(given.get(row["predicted"] or "", "")), row[given[row["label"]]]) for row in rows]
    return frame.with_columns(
        pl.Series("sure", [a for a, _ in pairs], pl.Float64), pl.Series("truth", [b for _, b in pairs], pl.Float64)
    ).sort("sure", descending=True, nulls_last=True, maintain_order=True)


def _probabilities(frame: pl.DataFrame, given: dict[str, str], names: list[str]) -> Chart:
    """How sure the model is: of two classes by the true one, of more by whether it was right."""
    if len(names) == 2:
        words = f"probability of {charts.label(names[1], 30)}"
        parts = [
            (n, c, frame.filter(pl.col("label") == n)[given[names[1]]]) for n, c in zip(names, _LOOKS, strict=True)
        ]
        caption = "Each colour is a true class; its bars add up to all of it."
    else:
        words, sure = "probability of the class that was called", _with_confidence(frame, given)
        right = pl.col("label") == pl.col("predicted")
        wrong = sure.filter(~right.fill_null(False))["sure"]
        parts = [("wrong", "var(--series-2)", wrong), ("right", charts.MODEL, sure.filter(right)["sure"])]
        caption = "Each colour adds up to all of its kind."
    edges, traces = np.linspace(0, 1, 26), []
    middle = charts.rounded(((edges[:-1] + edges[1:]) / 2).tolist())
    for name, color, known in parts:
        values = known.drop_nulls().to_numpy()
        if len(values):
            share = np.histogram(values, edges)[0] / len(values)
            traces.append({
                "type": "bar", "x": middle, "y": charts.rounded(share.tolist(), 4), "name": charts.label(name, 30),
                "marker": {"color": color}, "opacity": 0.75, "hovertemplate": "%{y:.1%} around %{x:.2f}",
            })  # fmt: skip
    figure = {
        "data": traces,
        "layout": {
            "barmode": "overlay", "bargap": 0.06,
            "xaxis": {"title": {"text": words}, "range": [0, 1], "tickformat": ".1f"},
            "yaxis": {"title": {"text": "share"}, "tickformat": ".0%", "rangemode": "tozero"},
        },
    }  # fmt: skip
    return Chart(figure=figure, alt=f"Records by {words}.", caption=caption, height=300)


def _mistakes(sure: pl.DataFrame) -> Table:
    shown = sure.head(MAX_MISTAKES)
    rows = [
        [
            Cell(text=charts.shorten(row["id"] or "", 60), sort=row["id"]),
            Cell(text=charts.shorten(row["label"], 40), sort=row["label"]),
            Cell(text=charts.shorten(row["predicted"] or "", 40), sort=row["predicted"]),
            Cell(text=percent(row["sure"], 1), sort=row["sure"]),
            Cell(text=percent(row["truth"], 1), sort=row["truth"]),
        ]
        for row in shown.iter_rows(named=True)
    ]
    columns = [
        Column(title="Record", numeric=False),
        Column(title="true", numeric=False),
        Column(title="predicted", numeric=False),
        Column(title="probability", hint="given to the class that was called"),
        Column(title="of the truth", hint="probability given to the true class"),
    ]
    more = (
        f" The first {len(shown)} of {len(sure):,}; evaluation/predictions.csv has all."
        if len(sure) > len(shown)
        else ""
    )
    return Table(
        caption="The surest mistakes",
        columns=columns,
        rows=rows,
        note=f"Worth a look by someone who knows them: a sure mistake may be a wrong label.{more}",
    )


def _outputs(frame: pl.DataFrame) -> list[tuple[str, str, str]]:
    """(name, column of the truth, column of the prediction) of every number predicted."""
    found = []
    for truth in frame.columns:
        if truth == "target" or truth.startswith("target_"):
            prediction = "predicted" + truth.removeprefix("target")
            if prediction in frame.columns:
                found.append((truth.removeprefix("target").removeprefix("_"), truth, prediction))
    return found


def _regressed(frame: pl.DataFrame, outputs: list[tuple[str, str, str]]) -> Section | None:
    panels, leads, tables = [], [], []
    for name, truth, prediction in outputs[:MAX_OUTPUTS]:
        part = frame.filter(pl.col(truth).is_finite() & pl.col(prediction).is_finite())
        if part.is_empty():
            continue
        panels.append(Panel(keys=(name or "target",), figure=_scatter(part, truth, prediction)))
        leads.append(_regression_lead(part, name, truth, prediction))
        tables.append(_furthest(part, name, truth, prediction))
    if not panels:
        return None
    more = len(outputs) - len(panels)
    caption = "Each point is a record of the test part; on the dashed line the prediction is exact."
    caption += f" {count(more, 'more output')} not drawn." if more > 0 else ""
    drawing: Block = (
        Panels(selectors=("Output",), panels=panels, alt="Prediction against truth", caption=caption, height=440)
        if len(panels) > 1
        else Chart(figure=panels[0].figure, alt=f"Prediction against truth. {leads[0]}", caption=caption, height=440)
    )
    blocks: list[Block] = [Row(blocks=[drawing, tables[0]])] if len(panels) == 1 else [drawing]
    lead = leads[0] if len(leads) == 1 else ""
    return Section(id="predictions", title="Predictions against the truth", lead=lead, blocks=blocks)


def _scatter(frame: pl.DataFrame, truth: str, prediction: str) -> charts.Figure:
    kept = frame[evenly(len(frame), MAX_POINTS).tolist()]
    x, y = kept[truth].to_list(), kept[prediction].to_list()
    low, high = min(*x, *y, math.inf), max(*x, *y, -math.inf)
    room = 0.04 * ((high - low) or 1.0)
    low, high = low - room, high + room
    names = [charts.label(name or "", 40) for name in kept["id"].to_list()]
    traces = [
        charts.line([low, high], [low, high], "exact", charts.MUTED, width=1, dash="dash", hoverinfo="skip"),
        {
            "type": "scatter", "mode": "markers", "x": charts.rounded(x, 4), "y": charts.rounded(y, 4), "text": names,
            "name": "records", "marker": {"size": 6, "color": charts.MODEL, "opacity": 0.45},
            "hovertemplate": "%{text}: %{y:,.4~r}, truth %{x:,.4~r}<extra></extra>",
        },
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": {
            "hovermode": "closest", "showlegend": False,
            "xaxis": {"title": {"text": "truth"}, "range": charts.rounded([low, high]), "showgrid": True},
            "yaxis": {"title": {"text": "prediction"}, "range": charts.rounded([low, high])},
        },
    }  # fmt: skip


def _regression_lead(frame: pl.DataFrame, name: str, truth: str, prediction: str) -> str:
    x, y = frame[truth].to_numpy(), frame[prediction].to_numpy()
    error = np.abs(y - x)
    lead = f"Half of {name or 'the predictions'} lie within {significant(float(np.median(error)))} of the truth"
    if x.std() > 0 and y.std() > 0 and len(x) > 2:
        ratio = float(y.std() / x.std())
        if ratio < 0.8:
            lead += (
                f". They vary only {percent(ratio)} as much as the truth: extremes are predicted too near the middle"
            )
    return f"{lead}."


def _furthest(frame: pl.DataFrame, name: str, truth: str, prediction: str) -> Table:
    ranked = frame.with_columns((pl.col(prediction) - pl.col(truth)).alias("off_by"))
    ranked = ranked.sort(pl.col("off_by").abs(), descending=True, maintain_order=True).head(MAX_MISTAKES)
    texts = [column(numbers(ranked, key)) for key in (truth, prediction, "off_by")]
    rows = []
    for i, row in enumerate(ranked.iter_rows(named=True)):
        cells = [Cell(text=charts.shorten(row["id"] or "", 40), sort=row["id"])]
        cells += [
            Cell(text=text[i], sort=row[key]) for text, key in zip(texts, (truth, prediction, "off_by"), strict=True)
        ]
        rows.append(cells)
    columns = [
        Column(title="Record", numeric=False), Column(title="truth"), Column(title="predicted"), Column(title="off by"),
    ]  # fmt: skip
    return Table(caption=f"Furthest from the truth{f': {name}' if name else ''}", columns=columns, rows=rows)
