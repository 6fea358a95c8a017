"""Sections that judge a forecast as a whole: comparison and error by horizon."""

from __future__ import annotations

import polars as pl

from xlstm_apps.enumeration import listed

from . import charts
from .blocks import Cell, Chart, Column, Section, Table, Tone
from .forecast_data import Summary
from .numbers import column, count, percent, signed, significant, span
from .run import Run, number, numbers
from .score_table import model_cell
from .scores import MEANINGS, REFERENCE, Scores, is_coverage, models_of, title

MAX_STEPS = 2_000
MAX_LINES = 6
MAX_SPOKEN = 3


def comparison(run: Run) -> Section | None:
    """Every model and metric, best in bold, skill against the reference baseline."""
    scores = Scores.read(run)
    if scores is None:
        return None
    reference = scores.reference
    columns = [Column(title="Model", numeric=False)]
    cells = [[model_cell(scores, name, title(name))] for name in scores.models]
    for metric in scores.metrics:
        if metric == "mse" and "rmse" in scores.metrics:
            continue  # it ranks as the RMSE does; the file has both
        values, best = scores.values(metric), scores.best(metric)
        texts = [percent(v, 1) for v in values] if is_coverage(metric) else column(values)
        hint, heading, wanted = MEANINGS.get(metric, ""), title(metric), scores.wanted(metric)
        if wanted is not None:
            share = percent(wanted, 1).replace(".0", "")
            heading, hint = f"in {share}", f"share of the truth inside the {share} interval; nearest is best"
        columns.append(Column(title=heading, hint=hint))
        for i, row in enumerate(cells):
            row.append(Cell(text=texts[i], sort=values[i], best=i in best))
        if metric == "mae" and reference is not None:
            columns.append(
                Column(title="skill", hint=f"share of the MAE of {title(reference)} that is saved; higher is better")
            )
            for name, row in zip(scores.models, cells, strict=True):
                gain = scores.skill("mae", name)
                tone: Tone = (
                    "plain" if name == reference or gain is None or abs(gain) < 0.005 else "good" if gain > 0 else "bad"
                )
                row.append(Cell(text=signed(gain) if name != reference else percent(0.0), sort=gain, tone=tone))
    note = "Best value of each column in bold. " + (
        f"Skill is the share of the MAE of {title(reference)} that a model saves. " if reference else ""
    )
    season = number(run.option("season"))
    if season is not None and reference == REFERENCE:
        cycle = span(season, Summary.read(run).frequency)
        note += f"Seasonal naive repeats the last {count(season, 'step')}{f' ({cycle})' if cycle else ''}. "
    note += (
        "MAE and RMSE are in the data's own units, averaged over all series, so that series on a large scale weigh "
        "most; MASE is free of scale."
    )
    table = Table(
        caption="Errors on the held-out test part",
        columns=columns,
        rows=cells,
        note=note,
        highlight=scores.models.index(scores.ours),
    )
    return Section(id="comparison", title="Comparison with baselines", lead=_comparison_lead(scores), blocks=[table])


def horizon(run: Run) -> Section | None:
    """How the error grows with the distance into the future."""
    frame = run.table("evaluation/horizon.csv", "model", "step", "mae")
    if frame is None:
        return None
    frame = frame.filter(pl.col("step").is_finite() & pl.col("model").is_not_null()).sort("step", maintain_order=True)
    models, ours = models_of(run, frame)
    if not models:
        return None
    looks = charts.model_looks(models, ours)
    traces = []
    drawn = _nearest(frame, models, ours)
    far = _far(frame, drawn, ours)
    for name in [*(m for m in drawn if m != ours), ours]:
        part = frame.filter(pl.col("model") == name)
        errors = numbers(part, "mae")
        kept = charts.thin(errors, MAX_STEPS)
        few = {"mode": "lines+markers"} if len(kept) < 25 else {}
        color, dash = looks[name]
        x = [numbers(part, "step")[i] for i in kept]
        few |= {"width": 2.6, "legendrank": 1} if name == ours else {"width": 1.8}
        few |= {"visible": "legendonly"} if name in far else {}
        traces.append(charts.line(x, [errors[i] for i in kept], charts.label(title(name), 28), color, dash=dash, **few))
    freq = Summary.read(run).frequency
    unit = span(1, freq)
    figure = {
        "data": traces,
        "layout": {
            "xaxis": {
                "title": {"text": f"steps ahead (one step: {unit})" if unit else "steps ahead"},
            },
            "yaxis": {"title": {"text": "MAE"}, "rangemode": "tozero"},
        },
    }
    lead = _horizon_lead(frame, models, ours, freq)
    alt = f"Mean absolute error by steps ahead for {', '.join(map(title, drawn))}. {lead}"
    left = len(models) - len(drawn)
    caption = f"{count(left, 'model')} with larger errors left out; evaluation/horizon.csv has all." if left else ""
    if far:
        caption = f"A click in the legend draws {listed([title(m) for m in far])}, with far larger errors. {caption}"
    chart = Chart(figure=figure, alt=alt, caption=caption, height=340 if len(drawn) < 5 else 380)
    return Section(id="horizon", title="Error by horizon", lead=lead, blocks=[chart])


def _comparison_lead(scores: Scores) -> str:
    beaten = scores.beaten_by()
    if not scores.baselines:
        return "No baseline was evaluated, so these errors cannot be judged."
    if not beaten:
        return (
            ""
            if scores.skill("mae") is None
            else f"{title(scores.ours)} is not behind any baseline in MAE, MASE or WQL."
        )
    by_model: dict[str, list[str]] = {}
    for name, metric in beaten:
        by_model.setdefault(name, []).append(title(metric))
    parts = [f"behind {title(name)} in {listed(metrics)}" for name, metrics in by_model.items()]
    return f"{title(scores.ours)} is {'; '.join(parts)}."


def _horizon_lead(frame: pl.DataFrame, models: list[str], ours: str, freq: str | None) -> str:
    errors = {m: dict(zip(*_columns(frame.filter(pl.col("model") == m), "step", "mae"), strict=True)) for m in models}
    mine = [(step, error) for step, error in errors[ours].items() if error is not None]
    if not mine:
        return ""
    (first, low), (last, high) = mine[0], mine[-1]
    if first == last:
        lead = f"{significant(low)} at step {first:,.0f}."
    else:
        reach = span(int(last), freq)
        lead = f"From {significant(low)} at step {first:,.0f} to {significant(high)} at step {last:,.0f}" + (
            f" ({reach})." if reach else "."
        )
    parts = []
    for name in models:
        if name == ours:
            continue
        pairs = [(e, errors[name].get(step)) for step, e in mine]
        pairs = [(a, b) for a, b in pairs if b is not None]
        if pairs:
            parts.append(f"{title(name)} at {sum(a < b for a, b in pairs):,} of {count(len(pairs), 'step')}")
    if len(parts) > MAX_SPOKEN:
        theirs = {step: [errors[m].get(step) for m in models if m != ours] for step, _ in mine}
        wins = sum(all(e is None or error < e for e in theirs[step]) for step, error in mine)
        return f"{lead} Better than all {len(models) - 1} others at {wins:,} of {count(len(mine), 'step')}."
    return f"{lead} Better than {', than '.join(parts)}." if parts else lead


def _nearest(frame: pl.DataFrame, models: list[str], ours: str) -> list[str]:
    """Ours, the reference and the best of the others: few enough to be told apart."""
    finite = frame.filter(pl.col("mae").is_finite()).group_by("model").agg(pl.col("mae").mean()).sort("mae", "model")
    kept = [m for m in (ours, REFERENCE) if m in models]
    ranked = [m for m in finite["model"].to_list() if m in models and m not in kept]
    kept += ranked[: MAX_LINES - len(kept)]
    return [m for m in models if m in kept]


def _far(frame: pl.DataFrame, models: list[str], ours: str) -> list[str]:
    """Baselines with errors so much larger than those of the others that these would be one line at the bottom."""
    finite = frame.filter(pl.col("mae").is_finite()).group_by("model").agg(pl.col("mae").max())
    largest = dict(finite.iter_rows())
    near = [m for m in models if m != ours and m in largest and largest[m] <= 3 * largest.get(ours, 0.0)]
    return [m for m in models if m != ours and m in largest and m not in near] if near else []


def _columns(frame: pl.DataFrame, *names: str) -> list[list[float | None]]:
    return [numbers(frame, name) for name in names]
