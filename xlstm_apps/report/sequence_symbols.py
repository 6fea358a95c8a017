"""Section on predictions of every symbol: truth and prediction along the first records."""

from __future__ import annotations

from typing import Any

import polars as pl

from . import charts
from .blocks import Panel, Panels, Section
from .run import Run, numbers
from .sequence_data import SequenceSummary

FILE = "evaluation/symbols_predicted.csv"
MAX_PANELS = 20
MAX_POINTS = 1_500
_STEP = {"color": charts.MUTED, "width": 2, "shape": "hvh"}


def symbols(run: Run) -> Section | None:
    """Truth and prediction along the first records of the test part."""
    frame = run.table(FILE, "id", "position", "predicted", text=("id", "symbol", "label"))
    if frame is None:
        return None
    if "label" in frame.columns:
        frame = run.table(FILE, "id", "position", "predicted", text=("id", "symbol", "label", "predicted"))
        if frame is None:
            return None
    groups = frame.drop_nulls(["id", "position"]).partition_by("id", maintain_order=True)
    summary = SequenceSummary.read(run)
    panels = []
    for part in groups[:MAX_PANELS]:
        part = part.head(MAX_POINTS)
        traces, axis = _traces(part, summary.classes)
        if traces:
            layout: dict[str, Any] = {
                "xaxis": {"title": {"text": f"{summary.unit} of the record, counted from 1"}, "tickformat": ",d"},
                "yaxis": axis,
            }
            panels.append(Panel(keys=(part["id"][0],), figure={"data": traces, "layout": layout}))
    if not panels:
        return None
    caption = f"The first {len(panels)} records of the test part."
    caption += f" Of longer ones the first {MAX_POINTS:,} {summary.unit}s." if len(frame) > MAX_POINTS else ""
    block = Panels(selectors=("Record",), panels=panels, alt="Truth and prediction along the record.", caption=caption)
    return Section(id="predictions", title=f"Along the {summary.unit}s", lead=_lead(frame), blocks=[block])


def _traces(part: pl.DataFrame, classes: list[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Truth as steps, and over it the probability of the second of two classes, the class, or the number."""
    x = [int(v) for v in part["position"].to_list()]
    if "label" not in part.columns:
        if "target" not in part.columns:
            return [], {}
        truth = charts.line(x, numbers(part, "target"), "truth", charts.MUTED)
        return [truth, charts.line(x, numbers(part, "predicted"), "prediction", charts.MODEL)], {}
    names = [name.removeprefix("p_") for name in part.columns if name.startswith("p_")]
    names = [name for name in classes if name in names] or names
    labels = part["label"].to_list()
    if len(names) == 2:
        truth = [None if v is None else float(v == names[1]) for v in labels]
        steps = {"type": "scatter", "mode": "lines", "x": x, "y": truth, "name": "truth", "line": _STEP}
        p = charts.line(x, numbers(part, f"p_{names[1]}"), "probability", charts.MODEL)
        axis = {"title": {"text": f"probability of {charts.label(names[1], 30)}"}, "range": [-0.03, 1.03]}
        return [steps | {"hoverinfo": "skip"}, p], axis
    shown = [charts.label(name, 24) for name in names]
    place = dict(zip(names, shown, strict=True))
    looks = (
        ("truth", "label", charts.MUTED, 10, "line-ns-open"),
        ("prediction", "predicted", charts.MODEL, 5, "circle"),
    )
    traces = [
        {
            "type": "scatter", "mode": "markers", "x": x, "y": [place.get(v) for v in part[column].to_list()],
            "name": name, "marker": {"color": color, "size": size, "symbol": symbol},
        }
        for name, column, color, size, symbol in looks
    ]  # fmt: skip
    return traces, {"type": "category", "categoryorder": "array", "categoryarray": shown}


def _lead(frame: pl.DataFrame) -> str:
    if "label" not in frame.columns:
        return ""
    known = frame.drop_nulls("label")
    right = int((known["label"] == known["predicted"]).sum())
    return f"In the records shown, {right:,} of {len(known):,} are right." if len(known) else ""
