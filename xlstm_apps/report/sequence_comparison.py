"""Section that sets a sequence model beside its baselines."""

from __future__ import annotations

from xlstm_apps.enumeration import listed

from . import charts
from .blocks import Block, Cell, Chart, Column, Section, Table, Tone
from .numbers import ABSENT, MINUS, percent
from .run import Run
from .score_table import model_cell
from .sequence_scores import Comparison, metric, title, written

MAX_DRAWN = 12
_TOLD = ("n", "num_symbols")
"""Told below the table, since they are the same for all."""
_SHORT = {"balanced_accuracy": "bal. accuracy", "average_precision": "avg. precision"}


def comparison(run: Run) -> Section | None:
    """Every model and metric, best in bold, with what is won over the baselines."""
    scores = Comparison.read(run)
    if scores is None:
        return None
    columns = [Column(title="Model", numeric=False)]
    cells = [[model_cell(scores, name, title(name))] for name in scores.models]
    for name in scores.metrics:
        if name in _TOLD or (name == "nll" and scores.main == "bits"):  # the same once more, in nats
            continue
        if name == "balanced_accuracy" and written(name, scores.values(name)) == _accuracies(scores):
            continue
        known, values = metric(name), scores.values(name)
        heading = f"bits per {scores.summary.unit}" if name == "bits" else _SHORT.get(name, known.title)
        hint = known.meaning
        if name == "seconds":
            hint = "to score the test part" if scores.main == "bits" else "to train"
        columns.append(Column(title=heading, hint=hint))
        for i, (row, text) in enumerate(zip(cells, written(name, values), strict=True)):
            row.append(Cell(text=text, sort=values[i], best=i in scores.best(name)))
        if name == scores.main:
            _add_gain(scores, columns, cells)
            _add_interval(scores, name, columns, cells)
    table = Table(
        caption="On these images" if scores.summary.run.task == "vision-evaluate" else "On the held-out test part",
        columns=columns,
        rows=cells,
        note=_note(scores),
        highlight=scores.models.index(scores.ours),
    )
    drawn = _intervals(scores)
    blocks: list[Block] = [table] if drawn is None else [drawn, table]
    return Section(id="comparison", title="Comparison with baselines", lead=_lead(scores), blocks=blocks)


def _accuracies(scores: Comparison) -> list[str]:
    """Of classes of one size both accuracies are the same, and one is enough."""
    return written("accuracy", scores.values("accuracy")) if "accuracy" in scores.metrics else []


def _add_gain(scores: Comparison, columns: list[Column], cells: list[list[Cell]]) -> None:
    """Beside bits, what the model knows of a symbol in advance; nought is a guess among all symbols."""
    guess = scores.summary.guess
    if scores.main != "bits" or guess is None:
        return
    saved = [None if v is None else guess - v for v in scores.values("bits")]
    most = max((v for v in saved if v is not None), default=0.0)
    unit = scores.summary.unit
    columns.append(Column(title="saved", hint=f"bits below the {guess:.3g} of a {unit} drawn with equal chances"))
    for row, value in zip(cells, saved, strict=True):
        tone: Tone = "bad" if value is not None and value < 0 else "plain"
        share = None if value is None or most <= 0 else max(value, 0.0) / most
        text = ABSENT if value is None else f"{value:.3f}".replace("-", MINUS)
        row.append(Cell(text=text, sort=value, tone=tone, bar=share))


def _add_interval(scores: Comparison, name: str, columns: list[Column], cells: list[list[Cell]]) -> None:
    found = [scores.interval(model, name) for model in scores.models]
    if not any(found):
        return
    columns.append(Column(title="95 % interval", hint="from resampling the test records (bootstrap)"))
    for row, interval in zip(cells, found, strict=True):
        low, high = written(name, list(interval)) if interval is not None else ("", "")
        row.append(Cell(text=f"{low} to {high}" if low != high else ""))


def _intervals(scores: Comparison) -> Chart | None:
    """The deciding metric of every model as a point with its interval."""
    models = [m for m in scores.models if scores.value(m, scores.main) is not None]
    if len(models) < 2 or len(models) > MAX_DRAWN or not any(scores.interval(m, scores.main) for m in models):
        return None
    looks, traces = charts.model_looks(scores.models, scores.ours), []
    ranked = sorted(models, key=lambda m: scores.gain(m) or 0.0)
    for name in ranked:
        value = scores.value(name, scores.main) or 0.0
        low, high = scores.interval(name, scores.main) or (value, value)
        color = looks[name][0]
        traces.append({
            "type": "scatter", "mode": "markers", "x": charts.rounded([value]), "y": [charts.label(title(name), 36)],
            "marker": {"color": color, "size": 12, "symbol": "circle" if name == scores.ours else "diamond"},
            "error_x": {
                "type": "data", "symmetric": False, "array": charts.rounded([high - value]),
                "arrayminus": charts.rounded([value - low]), "color": color, "thickness": 2, "width": 5,
            },
            "hovertemplate": f"%{{y}}: %{{x:.3f}} ({low:.3f} to {high:.3f})<extra></extra>",
        })  # fmt: skip
    words = metric(scores.main)
    figure = {
        "data": traces,
        "layout": {
            "hovermode": "closest", "showlegend": False, "dragmode": False,
            "xaxis": {"title": {"text": words.title}, "showgrid": True},
            "yaxis": {"type": "category", "showgrid": False, "range": [-0.6, len(models) - 0.4]},
        },
    }  # fmt: skip
    return Chart(
        figure=figure,
        alt=f"{words.title} of every model with its 95 % interval.",
        caption=f"{words.title}: {words.meaning}. Bars: 95 % intervals from resampling the test records.",
        height=90 + 42 * len(models),
    )


def _lead(scores: Comparison) -> str:
    if scores.strongest is None:
        return "No baseline was evaluated, so these numbers cannot be judged."
    beaten = scores.beaten_by()
    words = metric(scores.main).title
    if beaten:
        chance = ", though within chance" if scores.unclear else ""
        return f"{title(scores.ours)} is behind {scores.titles(beaten)} in {words}{chance}."
    others = len(scores.models) - 1
    all_of_them = "both baselines" if others == 2 else f"all {others} baselines"
    than = all_of_them if others > 1 else title(scores.strongest)
    ahead = "ahead of" if scores.verdict()[1] != "bad" else "no better than"
    than = title(scores.strongest) if ahead == "no better than" else than
    lead = f"{title(scores.ours)} is {ahead} {than} in {words}{', though within chance' if scores.unclear else ''}."
    worse = [metric(n).title for n in scores.metrics if n != scores.main and scores.best(n) and _behind(scores, n)]
    if worse:
        lead += f" It is not the best in {listed(worse)}."
    return lead


def _behind(scores: Comparison, name: str) -> bool:
    return scores.models.index(scores.ours) not in scores.best(name)


def _note(scores: Comparison) -> str:
    note = "Best value of each column in bold."
    if scores.main == "bits" and (guess := scores.summary.guess) is not None:
        unit = scores.summary.unit
        note += (
            f" A {unit} drawn with equal chances costs {guess:.3g} bits; what a model saves of them is what it knows "
            f"of the next {unit} in advance."
        )
    if scores.main == "bits" and scores.summary.masked:
        note += (
            " The masked model reads both sides of a hidden symbol; models that read only what stands before it "
            "(Markov) have the harder task."
        )
    if tested := scores.tested_on():
        note += f" Tested on {tested}."
    small = scores.value(scores.ours, "n")
    told = any(scores.interval(m, scores.main) for m in scores.models)
    if small is not None and small < 200 and not told and "accuracy" in scores.metrics:
        note += f" With so few test records, a difference of {percent(1 / small**0.5)} may be chance."
    return note
