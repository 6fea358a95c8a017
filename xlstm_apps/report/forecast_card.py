"""What the model card of a forecasting run says."""

from __future__ import annotations

from pathlib import Path

from xlstm_apps import __version__

from .card_parts import Card, markdown, plain
from .forecast_data import Summary
from .numbers import column, count, percent, span
from .run import Run, number
from .scores import XLSTMS, Scores, is_coverage, title

LOADING = """\
From Python, with this folder as `model`:

```python
import polars as pl
from xlstm_apps.datasets.config import TableToForecast
from xlstm_apps.recipes import forecast

forecast.predict("model", TableToForecast(path="newer_table.csv"), "next.csv")
print(pl.read_csv("next.csv"))
```

In a shell: `xlstm-apps forecast predict model --data.path newer_table.csv --output next.csv`. The table has the columns
of the one it was trained on; the forecast begins after its last row."""


def card(run: Run) -> Card:
    """The card of a forecasting run."""
    scores, summary = Scores.read(run), Summary.read(run)
    return Card(
        title=f"Forecast of {summary.name}",
        about=_about(run, summary),
        accuracy=_accuracy(run, scores, summary),
        use=LOADING,
        data=_data(summary),
        intended_use="For forecasts of the series it was trained on, and of ones like them. Its quantiles are as good "
        "as their calibration on the test part; check them again where the data change.",
        pipeline="time-series-forecasting",
        tags=("time-series",),
        dataset_type="tabular",
        dataset=summary.name,
        results=_results(scores),
    )


def _about(run: Run, summary: Summary) -> str:
    steps, context = number(run.option("head.prediction_length")), number(run.option("head.context_length"))
    name = str(run.option("head.model") or "xlstm")
    words = [f"{'An xLSTM' if name in XLSTMS else title(name)} model made by xlstm-apps {__version__}."]
    if steps and context:
        words.append(f"It forecasts {_steps(steps, summary)} from the {_steps(context, summary)} before.")
    quantiles = run.option("head.quantiles")
    if isinstance(quantiles, list) and quantiles:
        words.append(f"It gives the quantiles {', '.join(map(str, quantiles))}.")
    parameters = number(run.facts.get("parameters"))
    if parameters:
        words.append(f"It has {count(parameters, 'parameter')}.")
    return " ".join(words)


def _accuracy(run: Run, scores: Scores | None, summary: Summary) -> str:
    if scores is None:
        return "Not evaluated."
    sentence, tone = scores.verdict()
    windows = summary.windows.get("test")
    where = "On the held-out last part of each series" + (f" ({count(windows, 'window')})" if windows else "")
    warning = "\n\n**A simpler method does as well or better on this data; prefer it.**" if tone == "bad" else ""
    metrics = [m for m in scores.metrics if m in ("mae", "rmse", "mase", "wql") or is_coverage(m)]
    texts = [[percent(v, 1) for v in scores.values(m)] if is_coverage(m) else column(scores.values(m)) for m in metrics]
    rows = []
    for i, name in enumerate(scores.models):
        cells = [
            f"**{text[i]}**" if i in scores.best(metric) else text[i]
            for metric, text in zip(metrics, texts, strict=True)
        ]
        rows.append([plain(title(name)), *cells])
    return f"{where}: {sentence}.{warning}\n\n{markdown(['model', *map(title, metrics)], rows)}"


def _data(summary: Summary) -> list[str]:
    lines = []
    if summary.source:
        lines.append(f"Table: `{plain(Path(summary.source).name if '/' in summary.source else summary.source)}`")
    if summary.series:
        step = span(1, summary.frequency)
        lines.append(count(summary.series, "series", "series") + (f", a step of {step}" if step else ""))
    if all(summary.ends):
        lines.append(f"Span: {' to '.join(summary.ends)}, of which the end was kept for validation and test")
    return lines


def _steps(steps: float, summary: Summary) -> str:
    reach = span(int(steps), summary.frequency)
    return f"{count(steps, 'step')}{f' ({reach})' if reach else ''}"


def _results(scores: Scores | None) -> list[tuple[str, str, float | None]]:
    if scores is None:
        return []
    return [(metric, title(metric), scores.value(scores.ours, metric)) for metric in ("mae", "rmse", "mase", "wql")]
