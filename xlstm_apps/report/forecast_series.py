"""Error by series: where the model does badly."""

from __future__ import annotations

import polars as pl

from . import charts
from .blocks import Block, Cell, Chart, Column, Section, Table, Tone
from .numbers import ABSENT, column, count, percent, signed
from .run import Run, numbers
from .scores import MEANINGS, Scores, models_of, skill, title

MAX_SERIES_ROWS = 100
MAX_SERIES_BARS = 30


def series(run: Run) -> Section | None:
    """Where the model does badly: every series, worst first."""
    frame = run.table("evaluation/series.csv", "unique_id", "model", "mae")
    if frame is None:
        return None
    frame = frame.filter(pl.col("unique_id").is_not_null() & pl.col("model").is_not_null())
    frame = frame.unique(["unique_id", "model"], keep="first", maintain_order=True)
    models, ours = models_of(run, frame)
    if not models:
        return None
    scores = Scores.read(run)
    reference = (
        scores.reference
        if scores is not None and scores.reference in models
        else next((m for m in models if m != ours), None)
    )
    metrics = [m for m in ("mae", "rmse", "mase") if m in frame.columns and frame.schema[m] == pl.Float64]
    table = frame.filter(pl.col("model") == ours).select("unique_id", *metrics)
    if reference is not None:
        theirs = frame.filter(pl.col("model") == reference).select("unique_id", pl.col("mae").alias("theirs"))
        table = table.join(theirs, on="unique_id", how="left", maintain_order="left")
    else:
        table = table.with_columns(theirs=pl.lit(None, pl.Float64))
    gains = [skill(a, b) for a, b in zip(numbers(table, "mae"), numbers(table, "theirs"), strict=True)]
    ranking = numbers(table, "mase") if "mase" in metrics else [None] * len(table)
    if all(v is None for v in ranking):
        ranking = [None if g is None else -g for g in gains]
    if all(v is None for v in ranking):
        ranking = numbers(table, "mae")
    # What could not be scored comes first: it is the worst that can happen to a series.
    order = sorted(range(len(table)), key=lambda i: (ranking[i] is not None, -(ranking[i] or 0.0)))
    names = table["unique_id"].to_list()
    blocks: list[Block] = []
    if len(names) > 1 and reference is not None and any(g is not None for g in gains):
        blocks.append(_chart(names, gains, order, reference))
    blocks.append(_table(table, metrics, gains, order, reference))
    known = [g for g in gains if g is not None]
    lead = f"{count(len(names), 'series', 'series')}."
    if reference is not None and known:
        wins = sum(g > 0 for g in known)
        worst = names[min((i for i, g in enumerate(gains) if g is not None), key=gains.__getitem__)]
        lead = f"Better than {title(reference)} on {wins:,} of {count(len(known), 'series', 'series')}" + (
            f"; furthest behind on {charts.shorten(worst, 60)} ({signed(min(known))})." if min(known) < 0 else "."
        )
    return Section(id="series", title="Error by series", lead=lead, blocks=blocks)


def _chart(names: list[str], gains: list[float | None], order: list[int], reference: str) -> Chart:
    """A bar for each of few series; how skill is spread over many."""
    words = f"MAE saved against {title(reference)}"
    clipped = sum(g is not None and g < -1 for g in gains)
    caption = f"Drawn at {percent(-1.0)}: {count(clipped, 'series', 'series')} further behind." if clipped else ""
    if len(names) <= MAX_SERIES_BARS:
        shown = sorted((i for i in order if gains[i] is not None), key=lambda i: gains[i] or 0.0)
        ticks, full = ([charts.label(names[i], limit) for i in shown] for limit in (28, 120))
        lengths = charts.rounded([max(-1.0, gains[i] or 0.0) for i in shown])
        ends = [min(0.0, *(v or 0.0 for v in lengths)), max(0.0, *(v or 0.0 for v in lengths))]
        room = 0.18 * (ends[1] - ends[0]) or 0.1  # for the words beside the bars
        ends = [ends[0] - room * (ends[0] < 0), ends[1] + room * (ends[1] > 0)]
        figure = {
            "data": [{
                "type": "bar", "orientation": "h", "y": list(range(len(shown))), "x": lengths, "customdata": full,
                "marker": {"color": ["var(--model)" if (gains[i] or 0) >= 0 else "var(--series-2)" for i in shown]},
                "text": [signed(gains[i]) for i in shown], "textposition": "outside", "cliponaxis": False,
                "hovertemplate": "%{customdata}: %{text}<extra></extra>",
            }],
            "layout": {
                "hovermode": "closest", "showlegend": False, "bargap": 0.35,
                "yaxis": {"tickmode": "array", "tickvals": list(range(len(shown))), "ticktext": ticks,
                          "autorange": "reversed", "showgrid": False, "showline": False},
                "xaxis": {"tickformat": ".0%", "title": {"text": words}, "zeroline": True,
                          "range": charts.rounded(ends)},
            },
        }  # fmt: skip
        return Chart(
            figure=figure,
            height=110 + 26 * len(shown),
            caption=caption,
            alt=f"Skill against {title(reference)} for each series; the table has the numbers.",
        )
    known = [max(-1.0, min(1.0, g)) for g in gains if g is not None]
    width = 0.05
    bins = [0] * 40
    for gain in known:
        bins[min(int((gain + 1) / width), 39)] += 1
    middles = [round(-1 + (i + 0.5) * width, 4) for i in range(40)]
    used = [i for i, n in enumerate(bins) if n]
    left, right = min(*used, 19), max(*used, 20)
    figure = {
        "data": [{
            "type": "bar", "x": middles[left:right + 1], "y": bins[left:right + 1], "width": width,
            "marker": {"color": ["var(--model)" if x > 0 else "var(--series-2)" for x in middles[left:right + 1]],
                       "line": {"width": 1, "color": "var(--paper)"}},
            "hovertemplate": "%{y} series around %{x:.0%}<extra></extra>",
        }],
        "layout": {
            "hovermode": "closest", "showlegend": False, "bargap": 0,
            "xaxis": {"tickformat": ".0%", "title": {"text": words}},
            "yaxis": {"title": {"text": "series"}, "rangemode": "tozero"},
        },
    }  # fmt: skip
    return Chart(
        figure=figure,
        caption=caption,
        alt=f"How skill against {title(reference)} is spread over {len(known):,} series.",
    )


def _table(
    table: pl.DataFrame, metrics: list[str], gains: list[float | None], order: list[int], reference: str | None
) -> Table:
    shown = order[:MAX_SERIES_ROWS]
    columns = [Column(title="Series", numeric=False)]
    cells = [[Cell(text=name or ABSENT, sort=name)] for name in (table["unique_id"][i] for i in shown)]
    for metric in metrics:
        values = [numbers(table, metric)[i] for i in shown]
        _add(columns, cells, Column(title=title(metric), hint=MEANINGS.get(metric, "")), values)
        if metric == "mae" and reference is not None:
            theirs = numbers(table, "theirs")
            _add(columns, cells, Column(title=f"MAE {title(reference)}"), [theirs[i] for i in shown])
            columns.append(Column(title="skill", hint=f"share of the MAE of {title(reference)} that is saved"))
            for row, i in zip(cells, shown, strict=True):
                gain = gains[i]
                tone: Tone = "bad" if gain is not None and gain < -0.005 else "plain"
                row.append(Cell(text=signed(gain), sort=gain, tone=tone))
    note = "Worst first; a click on a heading sorts."
    if len(order) > len(shown):
        note = f"The worst {len(shown)} of {len(order):,}; evaluation/series.csv has all. A click on a heading sorts."
    return Table(caption="Error of the model by series", columns=columns, rows=cells, note=note, sortable=True)


def _add(columns: list[Column], cells: list[list[Cell]], heading: Column, values: charts.Values) -> None:
    columns.append(heading)
    for row, text, value in zip(cells, column(values), values, strict=True):
        row.append(Cell(text=text, sort=value))
