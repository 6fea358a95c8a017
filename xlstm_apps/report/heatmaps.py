"""Square tables of shares as figures: what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence

from . import charts
from .blocks import Figure

MAX_WRITTEN = 12
"""Rows and columns up to which the numbers are written into the cells."""


def shares(
    values: Sequence[charts.Values],
    names: Sequence[str],
    *,
    across: str,
    down: str,
    hover: str,
    texts: Sequence[Sequence[str]] | None = None,
    columns: Sequence[str] | None = None,
    darkest: float = 1.0,
) -> Figure:
    """A heat map of shares, the first row on top, the darker the larger.

    Args:
        values: one list per row.
        names: rows, and columns unless `columns` is given.
        across: title of the columns.
        down: title of the rows.
        hover: what is said of a cell; `%{y}`, `%{x}`, `%{z}` and `%{text}` are its row, column, share and text.
        columns: names of the columns; None: those of the rows.
        darkest: share of the darkest colour.
        texts: what is written in the cells; None: the shares in percent.
    """
    rows, heads = [charts.label(n, 24) for n in names], [charts.label(n, 24) for n in columns or names]
    shown = texts or [["" if v is None else f"{100 * v:.0f} %" for v in row] for row in values]
    trace = {
        "type": "heatmap", "x": heads, "y": rows, "z": [charts.rounded(row, 4) for row in values], "text": shown,
        "zmin": 0, "zmax": darkest, "colorscale": [[0, "var(--surface)"], [1, "var(--heat)"]], "showscale": False,
        "xgap": 2, "ygap": 2, "hovertemplate": f"{hover}<extra></extra>",
    }  # fmt: skip
    if max(len(rows), len(heads)) <= MAX_WRITTEN:
        trace |= {"texttemplate": "%{text}", "textfont": {"color": charts.INK}}
    return {
        "data": [trace],
        "layout": {
            "hovermode": "closest",
            "dragmode": False,
            "xaxis": {"type": "category", "title": {"text": across}, "showline": False, "constrain": "domain"},
            "yaxis": {"type": "category", "title": {"text": down}, "showgrid": False, "autorange": "reversed"},
        },
    }


def height(rows: int) -> int:
    """Pixels for a heat map of so many rows."""
    return min(max(150 + 44 * rows, 300), 640)
