"""A forecast as a small inline SVG: the overview that needs no script and prints."""

from __future__ import annotations

import math

from markupsafe import Markup

from .charts import Values

_WIDTH, _HEIGHT, _MARGIN = 220, 72, 3


def sparkline(history: Values, truth: Values, median: Values, low: Values, high: Values) -> Markup:
    """History, then truth, median and band over the horizon; empty when there is nothing finite to draw."""
    finite = [v for part in (history, truth, median, low, high) for v in part if v is not None and math.isfinite(v)]
    if not finite:
        return Markup("")
    bottom, top = min(finite), max(finite)
    scale = (_HEIGHT - 2 * _MARGIN) / ((top - bottom) or 1)
    steps = max(len(history) + max(len(truth), len(median)) - 1, 1)

    def place(index: int, value: float) -> str:
        y = _HEIGHT - _MARGIN - (value - bottom) * scale if top > bottom else _HEIGHT / 2
        return f"{index * _WIDTH / steps:.1f} {y:.1f}"

    def path(values: Values, start: int) -> str:
        drawn, pen = [], "M"
        for i, value in enumerate(values):
            if value is None or not math.isfinite(value):
                pen = "M"
                continue
            drawn.append(f"{pen}{place(start + i, value)}")
            pen = "L"
        return "".join(drawn)

    start = len(history)
    edges = [(i, a, b) for i, (a, b) in enumerate(zip(low, high, strict=True)) if _both(a, b)]
    band = "M" + "L".join(
        [*(place(start + i, b) for i, _, b in edges), *(place(start + i, a) for i, a, _ in edges[::-1])]
    )
    shapes = [
        f'<path class="spark-band" d="{band}Z"/>' if len(edges) > 1 else "",
        f'<path class="spark-truth" d="{path([*history, *truth], 0)}"/>',
        f'<path class="spark-model" d="{path(median, start)}"/>',
        f'<path class="spark-cutoff" d="M{start * _WIDTH / steps:.1f} 0V{_HEIGHT}"/>' if history else "",
    ]
    return Markup(
        f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(shapes)}</svg>"
    )


def _both(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
