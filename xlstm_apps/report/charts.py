"""Plotly figures as plain dictionaries. Colours are names of style-sheet variables, so light, dark and print agree.

What every figure shares (fonts, grid, margins, hover) is in `assets/report.js`; here is only what a figure says.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from .blocks import Figure
from .numbers import percent

Values = Sequence[float | None]

MODEL = "var(--model)"
INK = "var(--ink)"
MUTED = "var(--ink-3)"
_BASELINES = ("var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)", "var(--series-6)")
_BANDS = ("var(--band)", "var(--band-2)", "var(--band-3)")
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")


def label(text: str, limit: int = 60) -> str:
    """A user's text for a chart: shortened in the middle, and its markup shown instead of obeyed."""
    return html.escape(shorten(text, limit), quote=False)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the middle left out: names often differ at their ends. Control characters go."""
    text = "".join(" " if ord(c) < 32 else c for c in text)
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def rounded(values: Values, digits: int = 5) -> list[float | None]:
    """Values cut to `digits` significant digits, enough for any screen; what is not finite becomes a gap."""
    return [float(f"{v:.{digits}g}") if v is not None and math.isfinite(v) else None for v in values]


def line(x: Sequence[Any], y: Values, name: str, color: str, **more: Any) -> dict[str, Any]:
    """A line trace; gaps where values are missing."""
    look = {"color": color, "width": more.pop("width", 2), "dash": more.pop("dash", "solid")}
    return {"type": "scatter", "mode": "lines", "x": list(x), "y": rounded(y), "name": name, "line": look, **more}


def model_looks(models: Sequence[str], ours: str | None) -> dict[str, tuple[str, str]]:
    """Colour and dash of every model: ours solid, baselines by their place; told apart without colour too."""
    looks, place = {}, 0
    for name in models:
        if name == ours:
            looks[name] = (MODEL, "solid")
        else:
            colors, dashes = len(_BASELINES), len(_DASHES)
            looks[name] = (_BASELINES[place % colors], _DASHES[(place + place // colors) % dashes])
            place += 1
    return looks


def vertical(x: Any, text: str, *, color: str = MUTED, leftward: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dashed vertical line and its words at the top, as (shape, annotation).

    Near the right edge they stand to its left, below the chart's buttons.
    """
    shape = {
        "type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": color, "width": 1, "dash": "dot"},
    }  # fmt: skip
    note = {
        "x": x, "yref": "paper", "y": 1, "xanchor": "right" if leftward else "left", "text": text,
        "yanchor": "top" if leftward else "bottom",
        "showarrow": False, "font": {"color": color, "size": 12}, "xshift": 3 if leftward else -3,
    }  # fmt: skip
    return shape, note


def fan(x: Sequence[Any], quantiles: dict[str, Values], *, name: str) -> list[dict[str, Any]]:
    """Nested bands of symmetric quantile pairs and the median (or the middle quantile) as a line.

    Args:
        quantiles: values by the quantile's name, in rising order.
    """
    names = list(quantiles)
    few = {"mode": "lines+markers"} if len(x) < 4 else {}
    traces: list[dict[str, Any]] = []
    pairs = list(zip(names[: len(names) // 2], reversed(names), strict=False))
    for depth, (low, high) in enumerate(pairs):
        band = _BANDS[min(depth, len(_BANDS) - 1)]
        if len(x) == 1:  # a band needs two points; one gets a bar
            ends = rounded([quantiles[low][0], quantiles[high][0]])
            traces.append(line([*x, *x], ends, interval_name(low, high), band, width=16 - 4 * depth, hoverinfo="skip"))
            continue
        shared = {
            "mode": "lines",
            "line": {"width": 0, "color": MODEL},
            "hoverinfo": "skip",
            "legendgroup": f"band{depth}",
        }
        traces += [
            {"type": "scatter", "x": list(x), "y": rounded(quantiles[low]), "showlegend": False, **shared},
            {
                "type": "scatter", "x": list(x), "y": rounded(quantiles[high]), "fill": "tonexty",
                "fillcolor": band, "name": interval_name(low, high), **shared,
            },
        ]  # fmt: skip
    if len(names) % 2:
        middle = names[len(names) // 2]
        text = f"{name}, median" if float(middle) == 0.5 else f"{name}, {middle} quantile"
        hover: dict[str, Any] = {"legendrank": 2, "hovertemplate": "%{y:,.5~r}", **few}
        if pairs:
            low, high = pairs[0]
            hover["customdata"] = list(map(list, zip(rounded(quantiles[low]), rounded(quantiles[high]), strict=True)))
            hover["hovertemplate"] = "%{y:,.5~r}  (%{customdata[0]:,.5~r} to %{customdata[1]:,.5~r})"
        traces.append(line(x, quantiles[middle], text, MODEL, width=2.2, **hover))
    return traces


def interval_name(low: str, high: str) -> str:
    """`80 % interval` for the pair 0.1, 0.9; the two quantiles where they are not symmetric."""
    if abs(float(low) + float(high) - 1) < 1e-9:
        return f"{percent(float(high) - float(low), 1).replace('.0', '')} interval"
    return f"{low} to {high} quantile"


def calibration(nominal: Sequence[float], empirical: Values, before: Values = ()) -> Figure:
    """Share of truth below each quantile against the quantile itself; on the diagonal when the quantiles are right.

    Args:
        before: The same of the model's own quantiles, where they were calibrated since.
    """
    edge = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"width": 0, "color": MUTED}}
    hover = "%{x:.1%} quantile: %{y:.1%} of the truth below it<extra></extra>"
    calibrated = any(value is not None for value in before)
    traces = [
        {**edge, "x": [0, 1], "y": [-0.05, 0.95], "showlegend": False},
        {**edge, "x": [0, 1], "y": [0.05, 1.05], "fill": "tonexty", "fillcolor": "var(--neutral-band)",
         "name": "within 5 points"},
        line([0, 1], [0, 1], "exact", MUTED, width=1, dash="dash", hoverinfo="skip"),
    ]  # fmt: skip
    if calibrated:
        marks = {"mode": "lines+markers", "marker": {"size": 7, "color": "var(--series-2)", "symbol": "diamond-open"}}
        traces.append(
            line(nominal, before, "before", "var(--series-2)", dash="dot", width=1.5, **marks, hovertemplate=hover)
        )
    marks = {"mode": "lines+markers", "marker": {"size": 8, "color": MODEL}}
    traces.append(
        line(nominal, empirical, "calibrated" if calibrated else "model", MODEL, **marks, hovertemplate=hover)
    )
    return {
        "data": traces,
        "layout": {
            "hovermode": "closest",
            "xaxis": {"title": {"text": "quantile forecast"}, "range": [0, 1], "tickformat": ".0%", "dtick": 0.2},
            "yaxis": {"title": {"text": "share of truth below it"}, "range": [0, 1], "tickformat": ".0%", "dtick": 0.2},
        },
    }


def compact(figure: Figure) -> Figure:
    """The figure with the `x` that its traces share written once: a trace then has the index into the list `x`."""
    shared: list[list[Any]] = []
    traces = []
    for trace in figure["data"]:
        if trace["x"] not in shared:
            shared.append(trace["x"])
        traces.append({**trace, "x": shared.index(trace["x"])})
    return {**figure, "data": traces, "x": shared}


def thin(values: list[float | None], limit: int) -> list[int]:
    """Indices of at most `limit` points that keep the outline: the lowest and the highest of every stretch."""
    count = len(values)
    if count <= limit:
        return list(range(count))
    stretches = max(limit // 2, 1)
    keep: set[int] = {0, count - 1}
    for i in range(stretches):
        part = range(i * count // stretches, (i + 1) * count // stretches)
        known = [j for j in part if values[j] is not None]
        keep |= {min(known, key=values.__getitem__), max(known, key=values.__getitem__)} if known else set()
        keep |= {j for j in part if values[j] is None and (j == 0 or values[j - 1] is not None)}  # a gap stays a gap
    return sorted(keep)
