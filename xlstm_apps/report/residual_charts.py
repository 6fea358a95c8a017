"""Figures of residuals, as `charts.py` has them for the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from . import charts
from .blocks import Figure
from .diagnostics import Shape
from .run import numbers

BINS = 41
REACH = 4.0
"""Deviations on each side of zero that the histogram shows."""


def histogram(values: np.ndarray, shape: Shape, axis: str) -> Figure:
    """How residuals are distributed, beside the normal distribution of the same mean and deviation."""
    reach = REACH * shape.deviation
    counts, edges = np.histogram(values, bins=BINS, range=(-reach, reach))
    middles, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    x = np.linspace(-reach, reach, 121)
    normal = np.exp(-0.5 * ((x - shape.mean) / shape.deviation) ** 2) / (shape.deviation * math.sqrt(2 * math.pi))
    bars = {
        "type": "bar", "name": "residuals", "x": charts.rounded(middles.tolist()),
        "y": charts.rounded((counts / len(values)).tolist()), "width": float(f"{width:.6g}"),
        "marker": {"color": "var(--band-3)", "line": {"width": 1, "color": "var(--paper)"}},
        "hovertemplate": "%{y:.1%} around %{x:,.3~g}<extra></extra>",
    }  # fmt: skip
    curve = charts.line(
        charts.rounded(x.tolist()), (normal * width).tolist(), "normal distribution", "var(--series-2)", dash="dash",
        hoverinfo="skip",
    )  # fmt: skip
    return {
        "data": [bars, curve],
        "layout": {
            "hovermode": "closest", "bargap": 0,
            "xaxis": {"title": {"text": axis}, "zeroline": True, "dtick": round_step(reach / 2)},
            "yaxis": {"title": {"text": "share"}, "tickformat": ".0%", "rangemode": "tozero"},
        },
    }  # fmt: skip


def stems(correlations: Sequence[float], bound: float, season: int | None, axis: str) -> Figure:
    """Autocorrelation by lag, with the bounds that chance stays within 95 times of 100."""
    lags = list(range(1, len(correlations) + 1))
    ends = [0.5, len(lags) + 0.5]
    edge = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"width": 0, "color": charts.MUTED}}
    bars = {
        "type": "bar", "name": "correlation", "x": lags, "y": charts.rounded(correlations, 3), "width": 0.5,
        "marker": {"color": charts.MODEL}, "showlegend": False, "hovertemplate": "lag %{x}: %{y:.2f}<extra></extra>",
    }  # fmt: skip
    ticks = {"dtick": season} if season and len(lags) >= season and len(lags) / season <= 12 else {"tickformat": ",d"}
    known = [c for c in correlations if math.isfinite(c)]
    reach = [max(-1.0, 1.15 * min([-2 * bound, *known])), min(1.0, 1.15 * max([2 * bound, *known]))]
    return {
        "data": [
            {**edge, "x": ends, "y": charts.rounded([-bound] * 2), "showlegend": False},
            {**edge, "x": ends, "y": charts.rounded([bound] * 2), "fill": "tonexty", "name": "within chance (95 %)",
             "fillcolor": "var(--neutral-band)", "showlegend": True},
            bars,
        ],
        "layout": {
            "hovermode": "closest", "showlegend": True, "bargap": 0,
            "xaxis": {"title": {"text": axis}, "range": ends, **ticks},
            "yaxis": {"title": {"text": "correlation"}, "range": charts.rounded(reach), "zeroline": True},
        },
    }  # fmt: skip


def band(x: Sequence[Any], table: pl.DataFrame, *, axis: str, unit: str, points: bool = False, **more: Any) -> Figure:
    """Median and middle 80 % of residuals along an axis: a band, or a point with a bar for groups that do not join.

    Args:
        x: Where each row of `table` stands.
        table: `low`, `middle`, `high` of each group, as `diagnostics.spread` gives them.
        axis: Title of the axis.
        unit: Title of the other one.
        points: Whether the groups stand for themselves.
        more: Further options of the axis.
    """
    low, middle, high = (numbers(table, name) for name in ("low", "middle", "high"))
    shares = list(map(list, zip(charts.rounded(low), charts.rounded(high), strict=True)))
    hover = {"customdata": shares, "hovertemplate": "%{y:,.3~g}  (%{customdata[0]:,.3~g} to %{customdata[1]:,.3~g})"}
    if points:
        up, down = ([None if a is None or b is None else abs(a - b) for a, b in zip(v, middle, strict=True)]
                    for v in (high, low))  # fmt: skip
        bars = {
            "type": "data", "symmetric": False, "array": charts.rounded(up), "arrayminus": charts.rounded(down),
            "color": "var(--band-3)", "thickness": 7, "width": 0,
        }  # fmt: skip
        marks = {"mode": "markers", "marker": {"size": 8, "color": charts.MODEL}, "error_y": bars}
        traces = [charts.line(x, middle, "median", charts.MODEL, **marks, **hover)]
    else:
        kept = [i for i, value in enumerate(middle) if value is not None]
        edge = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"width": 0, "color": charts.MODEL},
                "x": [x[i] for i in kept]}  # fmt: skip
        few = {"mode": "lines+markers", "marker": {"size": 5, "color": charts.MODEL}} if len(kept) < 30 else {}
        traces = [
            {**edge, "y": charts.rounded([low[i] for i in kept]), "showlegend": False},
            {**edge, "y": charts.rounded([high[i] for i in kept]), "fill": "tonexty", "fillcolor": "var(--band)",
             "name": "middle 80 %"},
            charts.line(edge["x"], [middle[i] for i in kept], "median", charts.MODEL, **few, **hover),
        ]  # fmt: skip
    return {
        "data": traces,
        "layout": {
            "showlegend": not points,
            "xaxis": {"title": {"text": axis}, **more},
            "yaxis": {"title": {"text": unit}, "zeroline": True},
        },
    }


def round_step(length: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(length))
    return float(f"{max(m for m in (1, 2, 5) if m * power <= length * (1 + 1e-9)) * power:.6g}")
