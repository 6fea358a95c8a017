"""Sections that every task has: training curves, configuration, facts of the run."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import yaml

from . import charts
from .blocks import Block, Chart, Code, Facts, Part, Section, Timeline
from .numbers import duration, significant
from .run import Run, number, numbers

MAX_POINTS = 1_500
_PHASES = (
    "var(--series-5)",
    "var(--model)",
    "var(--series-3)",
    "var(--series-4)",
    "var(--series-6)",
    "var(--series-2)",
)
_STAGES = {"load": "reading", "fit": "training", "baseline": "baselines", "evaluate": "scoring", "predict": "forecast"}


def training(run: Run) -> Section | None:
    """Training and validation loss, with the epoch whose weights were kept."""
    frame = run.table("metrics.csv")
    if frame is None:
        return None
    clock = next(
        (name for name in ("epoch", "step") if name in frame.columns and frame[name].is_not_null().any()), None
    )
    losses = [name for name in ("train_loss", "val_loss") if name in frame.columns and frame[name].is_finite().any()]
    if clock is None or not losses:
        run.absent["metrics.csv"] = "has no epoch with a loss"
        return None
    looks = {"train_loss": ("training", charts.MUTED, "dash"), "val_loss": ("validation", charts.MODEL, "solid")}
    traces: list[dict[str, Any]] = []
    for name in losses:
        # Loggers write training and validation in rows of their own, and training several times an epoch.
        curve = (
            frame.filter(pl.col(name).is_finite())
            .group_by(clock, maintain_order=True)
            .agg(pl.col(name).mean())
            .sort(clock)
        )
        values = numbers(curve, name)
        kept = charts.thin(values, MAX_POINTS)
        words, color, dash = looks[name]
        look = {"mode": "lines+markers", "marker": {"size": 5, "color": color}} if len(kept) < 60 else {}
        x = [numbers(curve, clock)[i] for i in kept]
        traces.append(charts.line(x, [values[i] for i in kept], words, color, dash=dash, **look))
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": clock}, "tickformat": ",d", **_ticks(traces)},
        "yaxis": {"title": {"text": "loss"}},
    }
    best = number(run.facts.get("best_epoch"))
    lead = ""
    if best is not None and clock == "epoch":
        late = 2 * best > max(trace["x"][-1] for trace in traces)
        shape, note = charts.vertical(best, f"kept: epoch {best:.0f}", color=charts.MODEL, leftward=late)
        layout |= {"shapes": [shape], "annotations": [note]}
        lead = _training_lead(frame, best)
    chart = Chart(figure={"data": traces, "layout": layout}, alt=f"Loss by {clock}. {lead}", height=320)
    return Section(id="training", title="Training", lead=lead, blocks=[chart])


def _ticks(traces: list[dict[str, Any]]) -> dict[str, Any]:
    """Whole numbers only on an axis of a few epochs."""
    ends = [x for trace in traces for x in (trace["x"][0], trace["x"][-1])]
    return {"dtick": 1} if max(ends) - min(ends) < 12 else {}


def _training_lead(frame: pl.DataFrame, best: float) -> str:
    last = max(v for v in numbers(frame, "epoch") if v is not None)
    validation = numbers(frame.filter(pl.col("epoch") == best), "val_loss") if "val_loss" in frame.columns else []
    at_best = [v for v in validation if v is not None]
    if not at_best:
        return f"The weights of epoch {best:.0f} were kept; there was no validation loss to choose by."
    lead = (
        f"The weights of epoch {best:.0f} were kept, which has the lowest validation loss, {significant(at_best[-1])}."
    )
    if best >= last > 1:
        lead += " It was the last one, so the loss may still have been falling: more epochs could help."
    return lead


def configuration(run: Run) -> Section | None:
    """The configuration as it was, to copy."""
    text = run.text("config.yaml")
    if text is None:
        return None
    blocks: list[Block] = [Code(title="config.yaml", text=text.rstrip("\n"), folded=True)]
    resolved = run.facts.get("resolved")
    if isinstance(resolved, dict) and resolved:
        words = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True).rstrip("\n")
        blocks.append(Code(title="Resolved: what was left open, as chosen from the data", text=words, folded=True))
    return Section(
        id="configuration",
        title="Configuration",
        blocks=blocks,
    )


def facts(run: Run) -> Section | None:
    """Time by stage, device, versions, seed, and the command to do it again."""
    known = run.facts
    if not known:
        return None
    items = [("Folder", str(run.name)), ("Status", str(known.get("status", "unknown")))]
    for key in ("device", "seed"):
        if known.get(key) is not None:
            items.append((key.capitalize(), _plain(known[key])))
    if (parameters := number(known.get("parameters"))) is not None:
        items.append(("Parameters", f"{parameters:,.0f}"))
    if known.get("best_epoch") is not None:
        items.append(("Epoch kept", _plain(known["best_epoch"])))
    shown = {"task", "status", "device", "seed", "parameters", "best_epoch", "seconds", "versions", "command", "model"}
    items += [
        (key.replace("_", " ").capitalize(), _plain(value))
        for key, value in known.items()
        if key not in shown and value is not None and not isinstance(value, dict | list)
    ]
    versions = known.get("versions")
    if isinstance(versions, dict) and versions:
        items.append(("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    blocks: list[Block] = []
    lead = ""
    seconds = known.get("seconds")
    phases = {str(k): number(v) for k, v in seconds.items()} if isinstance(seconds, dict) else {}
    total = sum(v for v in phases.values() if v)
    if total > 0:
        lead = f"{duration(total)} of work in all."
        parts = [
            Part(
                label=_STAGES.get(name, name),
                share=(value or 0.0) / total,
                detail=duration(value),
                role=_PHASES[i % len(_PHASES)],
            )
            for i, (name, value) in enumerate(phases.items())
            if value
        ]
        blocks.append(Timeline(title="Time by stage", parts=parts))
    blocks.append(Facts(items=items))
    if known.get("command"):
        blocks.append(Code(title="Command to do it again", text=_plain(known["command"])))
    return Section(id="run", title="This run", lead=lead, blocks=blocks)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return significant(value, 4)
    if isinstance(value, str) and (found := re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d(\.\d+)?)?(\S*)", value)):
        return f"{found[1]} {found[2]}{' UTC' if found[5] in ('Z', '+00:00') else found[5]}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else str(value)
