"""Sections on classes: what was taken for what, the choice of a threshold, whether probabilities mean what they say."""

from __future__ import annotations

import math

import polars as pl

from xlstm_apps.thinning import evenly

from . import charts, heatmaps
from .blocks import Block, Cell, Chart, Column, Row, Section, Table, Tone
from .numbers import column, count, percent, signed
from .run import Run, number, numbers
from .sequence_data import SequenceSummary

MAX_CLASSES = 40
MAX_POINTS = 500
_SIDE = 8
"""Classes up to which the table stands beside the matrix."""
FAR = 0.05
"""Mean distance of confidence and accuracy from which on it is worth a warning."""


def classes(run: Run) -> Section | None:
    """Confusion matrix and precision, recall and F1 of every class."""
    matrix, table = _confusion(run), _by_class(run)
    blocks: list[Block] = [block for block in (matrix, table) if block is not None]
    if not blocks:
        return None
    small = matrix is not None and len(matrix.figure["data"][0]["y"]) <= _SIDE
    lead = _classes_lead(run)
    words = "By label" if run.option("head.task") == "multilabel" else "By class"
    return Section(id="classes", title=words, lead=lead, blocks=[Row(blocks=blocks)] if small else blocks)


def thresholds(run: Run) -> Section | None:
    """Receiver operating characteristic and precision-recall curve of two classes."""
    frame = run.table("evaluation/thresholds.csv", "threshold", "tpr", "fpr") if _binary(run) else None
    if frame is None:
        return None
    frame = frame.filter(pl.col("tpr").is_finite() & pl.col("fpr").is_finite()).sort("fpr", "tpr", maintain_order=True)
    if len(frame) < 2:
        return None
    nobody = {"threshold": math.inf, "tpr": 0.0, "fpr": 0.0}
    frame = (
        pl.concat([pl.DataFrame([nobody]), frame], how="diagonal")
        if frame["fpr"][0] > 0 or frame["tpr"][0] > 0
        else frame
    )
    at_half = _nearest(frame, 0.5)
    blocks: list[Block] = [_roc(frame, at_half)]
    if "precision" in frame.columns and frame["precision"].is_finite().any():
        blocks.append(_precision_recall(run, frame, at_half))
    positive = _positive(run)
    lead = ""
    if at_half is not None:
        lead = (
            f"Called {positive} from a probability of one half on, {percent(at_half['tpr'], 1)} of the {positive} are "
            f"found and {percent(at_half['fpr'], 1)} of the others are called {positive} by mistake."
        )
    table = _operating(frame, positive)
    return Section(
        id="thresholds",
        title="Choice of a threshold",
        lead=lead,
        blocks=[Row(blocks=blocks) if len(blocks) > 1 else blocks[0], *([table] if table is not None else [])],
    )


def calibration(run: Run) -> Section | None:
    """Whether predictions made with a confidence are right that often."""
    if not run.has("evaluation/calibration.csv") and _no_classes(run):
        return None
    frame = run.table("evaluation/calibration.csv", "confidence", "accuracy")
    if frame is None:
        return None
    frame = frame.filter(pl.col("confidence").is_finite() & pl.col("accuracy").is_finite()).sort("confidence")
    if frame.is_empty():
        return None
    confidence, accuracy = numbers(frame, "confidence"), numbers(frame, "accuracy")
    counts = numbers(frame, "count") if "count" in frame.columns else [1.0] * len(frame)
    weights = [n or 0.0 for n in counts]
    total = sum(weights) or 1.0
    pairs = list(zip(confidence, accuracy, weights, strict=True))
    off = sum(w * abs(c - a) for c, a, w in pairs if c is not None and a is not None) / total
    lean = sum(w * (c - a) for c, a, w in pairs if c is not None and a is not None) / total
    words = "too sure of itself" if lean > 0 else "too cautious"
    lead = f"On average confidence and accuracy differ by {100 * off:.1f} points"
    lead += f": the model is {words}." if off > FAR and abs(lean) > off / 2 else "."
    largest = math.sqrt(max(weights) or 1.0)
    sizes = [float(f"{7 + 11 * math.sqrt(w) / largest:.3g}") for w in weights]
    edge = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"width": 0, "color": charts.MUTED}}
    low = min([v for v in [*confidence, *accuracy] if v is not None])
    start = max(0.0, math.floor(10 * low) / 10)
    figure = {
        "data": [
            {**edge, "x": [0, 1], "y": [-FAR, 1 - FAR], "showlegend": False},
            {**edge, "x": [0, 1], "y": [FAR, 1 + FAR], "fill": "tonexty", "fillcolor": "var(--neutral-band)",
             "name": "within 5 points"},
            charts.line([0, 1], [0, 1], "exact", charts.MUTED, width=1, dash="dash", hoverinfo="skip"),
            charts.line(
                confidence, accuracy, "model", charts.MODEL, mode="lines+markers",
                marker={"size": sizes, "color": charts.MODEL}, customdata=weights,
                hovertemplate="confidence %{x:.1%}: %{y:.1%} right, %{customdata:,} predictions<extra></extra>",
            ),
        ],
        "layout": {
            "hovermode": "closest",
            "xaxis": {"title": {"text": "confidence"}, "range": [start, 1.01], "tickformat": ".0%"},
            "yaxis": {"title": {"text": "share that is right"}, "range": [start, 1.03], "tickformat": ".0%"},
        },
    }  # fmt: skip
    chart = Chart(
        figure=figure, alt=f"Share of right predictions against their confidence. {lead}",
        caption="Larger points stand for more predictions.", height=380,
    )  # fmt: skip
    return Section(id="calibration", title="Calibration", lead=lead, blocks=[Row(blocks=[chart, _bins(pairs)])])


def _no_classes(run: Run) -> bool:
    """Whether the run predicts numbers, which have none of the files of classes."""
    return run.option("head.task") == "regression"


def _binary(run: Run) -> bool:
    """Whether thresholds are to be expected: asked for only where there are two classes or the file."""
    return run.has("evaluation/thresholds.csv") or len(SequenceSummary.read(run).classes) == 2


def _positive(run: Run) -> str:
    """The class whose probability is thresholded: the second of two, or the only label."""
    names = SequenceSummary.read(run).classes
    return charts.shorten(names[-1], 40) if 1 <= len(names) <= 2 else "positives"


def _confusion(run: Run) -> Chart | None:
    if not run.has("evaluation/confusion.csv") and run.option("head.task") in ("multilabel", "regression"):
        return None
    frame = run.table("evaluation/confusion.csv", "true", "predicted", "count", text=("true", "predicted"))
    if frame is None:
        return None
    frame = frame.drop_nulls(["true", "predicted"]).filter(pl.col("count").is_finite())
    names = _ordered(run, frame)
    cells = {(t, p): n for t, p, n in frame.select("true", "predicted", "count").iter_rows()}
    if len(names) < 2 or not cells:
        return None
    if len(names) > MAX_CLASSES:
        run.absent["evaluation/confusion.csv"] = f"has {len(names)} classes, too many to draw"
        return None
    values, texts = [], []
    for true in names:
        row = [cells.get((true, name), 0.0) for name in names]
        total = sum(row)
        values.append([n / total if total else None for n in row])
        texts.append([f"{n:,.0f}" for n in row])
    figure = heatmaps.shares(
        values, names, across="predicted", down="true", texts=texts,
        hover="true %{y}, predicted %{x}: %{text} (%{z:.1%} of the row)",
    )  # fmt: skip
    return Chart(
        figure=figure,
        alt="Confusion matrix: records by true and predicted class.",
        caption="How many of each true class got which prediction; shaded by the share of the row.",
        height=heatmaps.height(len(names)),
    )


def _ordered(run: Run, frame: pl.DataFrame) -> list[str]:
    found = {*frame["true"].to_list(), *frame["predicted"].to_list()}
    known = [name for name in SequenceSummary.read(run).classes if name in found]
    return known + sorted(found - {*known})


def _by_class(run: Run) -> Table | None:
    if not run.has("evaluation/classes.csv") and _no_classes(run):
        return None
    frame = run.table("evaluation/classes.csv", "class", text=("class",))
    if frame is None:
        return None
    frame = frame.filter(pl.col("class").is_not_null())
    noun = SequenceSummary.read(run).example
    rows = [[Cell(text=charts.shorten(name, 60), sort=name)] for name in frame["class"].to_list()]
    heading = "Label" if run.option("head.task") == "multilabel" else "Class"
    columns = [Column(title=heading, numeric=False)]
    hints = {
        "n": (f"{noun}s", f"{noun}s of this class in the test part"),
        "precision": ("precision", f"share of the {noun}s called this that are it"),
        "recall": ("recall", f"share of the {noun}s of this class that are found"),
        "f1": ("F1", "harmonic mean of precision and recall"),
        "auroc": ("AUROC", "probability that a record of this class is ranked above another"),
        "average_precision": ("average precision", "area below the precision-recall curve"),
    }
    for name, (heading, hint) in hints.items():
        if name not in frame.columns:
            continue
        values = numbers(frame, name)
        columns.append(Column(title=heading, hint=hint))
        if name == "n":
            texts = ["" if v is None else f"{v:,.0f}" for v in values]
        else:
            texts = [percent(v, 1) for v in values] if name in ("precision", "recall") else column(values)
        for row, text, value in zip(rows, texts, values, strict=True):
            row.append(Cell(text=text, sort=value))
    if not rows or len(columns) == 1:
        return None
    return Table(caption="On the test part", columns=columns, rows=rows, sortable=len(rows) > _SIDE)


def _classes_lead(run: Run) -> str:
    """The mistake that is made most often."""
    noun = SequenceSummary.read(run).example
    if not run.has("evaluation/confusion.csv"):
        return ""
    frame = run.table("evaluation/confusion.csv", "true", "predicted", "count", text=("true", "predicted"))
    if frame is None:
        return ""
    wrong = frame.filter((pl.col("true") != pl.col("predicted")) & (pl.col("count") > 0)).sort("count", descending=True)
    total, missed = frame["count"].sum(), wrong["count"].sum()
    if not total:
        return ""
    if wrong.is_empty():
        return f"All {count(total, noun)} are right."
    most = wrong.row(0, named=True)
    lead = f"{missed:,.0f} of {count(total, noun)} are wrong."
    if len(wrong) > 1:
        names = (charts.shorten(most[key], 40) for key in ("true", "predicted"))
        lead += " Most often, {} was taken for {} ({:,.0f} times).".format(*names, most["count"])
    return lead


def _nearest(frame: pl.DataFrame, wanted: float) -> dict[str, float] | None:
    """The row of the largest threshold that is not above the one wanted, the curve's value there."""
    below = frame.filter(pl.col("threshold").is_finite() & (pl.col("threshold") >= wanted))
    return below.sort("threshold").row(0, named=True) if len(below) else None


def _roc(frame: pl.DataFrame, half: dict[str, float] | None) -> Chart:
    kept = evenly(len(frame), MAX_POINTS).tolist()
    x, y = (numbers(frame[kept], name) for name in ("fpr", "tpr"))
    traces = [
        charts.line([0, 1], [0, 1], "chance", charts.MUTED, width=1, dash="dash", hoverinfo="skip"),
        charts.line(
            charts.rounded(x, 4), y, "model", charts.MODEL,
            customdata=charts.rounded(numbers(frame[kept], "threshold"), 4),
            hovertemplate="threshold %{customdata}: %{y:.1%} found, %{x:.1%} false alarms<extra></extra>",
        ),
    ]  # fmt: skip
    if half is not None:
        traces.append(_mark(half["fpr"], half["tpr"]))
    layout = {
        "hovermode": "closest",
        "xaxis": {"title": {"text": "false alarms (false positive rate)"}, "range": [-0.01, 1], "tickformat": ".0%"},
        "yaxis": {"title": {"text": "found (recall)"}, "range": [0, 1.02], "tickformat": ".0%"},
    }
    return Chart(figure={"data": traces, "layout": layout}, alt="Receiver operating characteristic.", height=360)


def _precision_recall(run: Run, frame: pl.DataFrame, half: dict[str, float] | None) -> Chart:
    frame = frame.filter(pl.col("precision").is_finite())
    kept = evenly(len(frame), MAX_POINTS).tolist()
    x, y = (numbers(frame[kept], name) for name in ("tpr", "precision"))
    traces = [
        charts.line(
            charts.rounded(x, 4), y, "model", charts.MODEL,
            customdata=charts.rounded(numbers(frame[kept], "threshold"), 4),
            hovertemplate="threshold %{customdata}: precision %{y:.1%}, %{x:.1%} found<extra></extra>",
        )
    ]  # fmt: skip
    share = _positive_share(run)
    if share is not None:
        chance = charts.line([0, 1], [share, share], "chance", charts.MUTED, width=1, dash="dash", hoverinfo="skip")
        traces.insert(0, chance)
    if half is not None and half.get("precision") is not None:
        traces.append(_mark(half["tpr"], half["precision"]))
    layout = {
        "hovermode": "closest",
        "xaxis": {"title": {"text": "found (recall)"}, "range": [-0.01, 1.01], "tickformat": ".0%"},
        "yaxis": {"title": {"text": "precision"}, "range": [0, 1.02], "tickformat": ".0%"},
    }
    return Chart(figure={"data": traces, "layout": layout}, alt="Precision against recall.", height=360)


def _mark(x: float, y: float) -> dict[str, object]:
    return {
        "type": "scatter", "mode": "markers", "x": charts.rounded([x], 4), "y": charts.rounded([y], 4),
        "name": "threshold 0.5", "marker": {"size": 11, "color": "var(--series-2)", "symbol": "diamond"},
        "hovertemplate": "threshold 0.5: %{x:.1%}, %{y:.1%}<extra></extra>",
    }  # fmt: skip


def _positive_share(run: Run) -> float | None:
    summary = SequenceSummary.read(run)
    test = summary.record("labels", "test")
    if len(summary.classes) == 1:
        found, all_of_them = number(test.get(summary.classes[0])), summary.number("split", "test", "records")
        return found / all_of_them if found and all_of_them else None
    if len(summary.classes) != 2:
        return None
    found = [number(test.get(name)) for name in summary.classes]
    total = sum(v or 0.0 for v in found)
    return (found[1] or 0.0) / total if total else None


def _operating(frame: pl.DataFrame, positive: str) -> Table | None:
    """What a threshold costs, for shares found that people ask for."""
    rows = []
    for wanted in (0.5, 0.8, 0.9, 0.95, 0.99):
        enough = frame.filter(pl.col("tpr") >= wanted).sort("fpr", "tpr").head(1)
        if enough.is_empty():
            continue
        row = enough.row(0, named=True)
        threshold, precision = number(row["threshold"]), number(row.get("precision"))
        rows.append([
            Cell(text=percent(wanted)),
            Cell(text="" if threshold is None else f"{threshold:.3f}"),
            Cell(text=percent(row["fpr"], 1)),
            Cell(text=percent(precision, 1)),
        ])  # fmt: skip
    if not rows:
        return None
    columns = [
        Column(title="To find", numeric=False, hint=f"at least this share of the {positive}"),
        Column(title="threshold", hint=f"call {positive} from this probability on"),
        Column(title="false alarms", hint=f"share of the others called {positive}"),
        Column(title="precision", hint=f"share of those called {positive} that are, at the test part's mix of classes"),
    ]
    note = (
        "Read from the test part: choose a threshold on data of your own before relying on it. Precision falls where "
        f"{positive} are rarer than in the test part."
    )
    return Table(caption=f"What it takes to find the {positive}", columns=columns, rows=rows, note=note)


def _bins(pairs: list[tuple[float | None, float | None, float]]) -> Table:
    rows = []
    for confidence, accuracy, weight in pairs:
        off = None if confidence is None or accuracy is None else accuracy - confidence
        tone: Tone = "warning" if off is not None and abs(off) > FAR and weight >= 30 else "plain"
        rows.append([
            Cell(text=percent(confidence, 1)), Cell(text=percent(accuracy, 1)),
            Cell(text=signed(off), tone=tone), Cell(text=f"{weight:,.0f}"),
        ])  # fmt: skip
    columns = [Column(title=name) for name in ("confidence", "right", "off", "predictions")]
    return Table(caption="Confidence and how often it is right", columns=columns, rows=rows)
