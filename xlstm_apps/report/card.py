"""The README.md of a `model/` folder: what it is, what it was trained on, how good it is, how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlstm_apps import __version__

from .forecast_data import Summary
from .numbers import column, count, percent, span
from .run import Run, number
from .scores import Scores, is_coverage, title

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LOADING = """\
From Python, with this folder as `model`:

```python
import polars as pl
from xlstm_apps.recipes import forecast

forecast.predict("model", data_path="newer_table.csv", output="next.csv")
print(pl.read_csv("next.csv"))
```

In a shell: `xlstm-apps forecast predict model --data_path newer_table.csv --output next.csv`. The table has the columns
of the one it was trained on; the forecast begins after its last row."""


def model_card(run_dir: str | Path, *, license: str | None = None, intended_use: str | None = None) -> str:
    """Text of the model card of a run, from the files of its folder; what is not there yet is left out.

    Args:
        license: Licence of the weights as an identifier of the Hugging Face hub, such as `apache-2.0`. They were made
            from the user's own data, so none is assumed.
        intended_use: What the model is for, in a sentence or more; a general note without it.

    Raises:
        ValueError: `run_dir` is no folder.
    """
    run = Run(run_dir)
    scores, summary = Scores.read(run), Summary.read(run)
    parts = [
        f"# {_plain(f'xLSTM forecast of {summary.name}')}",
        _about(run, summary),
        "## Accuracy",
        _accuracy(run, scores, summary),
        "## Use",
        LOADING,
        "## Trained on",
        _trained_on(run, summary),
        "## Licence and intended use",
        _terms(license, intended_use),
    ]
    text = "\n\n".join(parts)
    return f"---\n{_metadata(run, scores, summary, license)}\n---\n\n{text}\n"


def _about(run: Run, summary: Summary) -> str:
    steps, context = number(run.option("head.prediction_length")), number(run.option("head.context_length"))
    words = [f"An xLSTM model made by xlstm-apps {__version__}."]
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
    rows = [f"| model | {' | '.join(title(m) for m in metrics)} |", f"|---|{'---:|' * len(metrics)}"]
    for i, name in enumerate(scores.models):
        cells = [
            f"**{text[i]}**" if i in scores.best(metric) else text[i]
            for metric, text in zip(metrics, texts, strict=True)
        ]
        rows.append(f"| {_plain(title(name))} | {' | '.join(cells)} |")
    return f"{where}: {sentence}.{warning}\n\n" + "\n".join(rows)


def _trained_on(run: Run, summary: Summary) -> str:
    lines = []
    if summary.source:
        lines.append(f"- Table: `{_plain(Path(summary.source).name if '/' in summary.source else summary.source)}`")
    if summary.series:
        lines.append(
            f"- {count(summary.series, 'series', 'series')}"
            + (f", a step of {span(1, summary.frequency)}" if span(1, summary.frequency) else "")
        )
    if all(summary.ends):
        lines.append(f"- Span: {' to '.join(summary.ends)}, of which the end was kept for validation and test")
    for key, words in (("seed", "Seed"), ("device", "Device")):
        if run.facts.get(key) is not None:
            lines.append(f"- {words}: {_plain(str(run.facts[key]))}")
    command = run.facts.get("command")
    if command:
        lines.append(f"- Command: `{_plain(str(command))}`")
    return "\n".join(lines) or "Not recorded."


def _terms(license: str | None, intended_use: str | None) -> str:
    licence = (
        f"The weights are under {license}."
        if license
        else "No licence was stated for the weights; the library is under Apache-2.0."
    )
    use = intended_use or (
        "For forecasts of the series it was trained on, and of ones like them. Its quantiles are as good as their "
        "calibration on the test part; check them again where the data change."
    )
    return f"{licence} {use}"


def _steps(steps: float, summary: Summary) -> str:
    reach = span(int(steps), summary.frequency)
    return f"{count(steps, 'step')}{f' ({reach})' if reach else ''}"


def _plain(text: str) -> str:
    """A user's text in one line, without what would be markup in a table, a heading or code."""
    return " ".join(text.replace("`", "'").replace("|", "/").replace("<", "(").replace(">", ")").split())


def _metadata(run: Run, scores: Scores | None, summary: Summary, license: str | None) -> str:
    """The YAML head of the card, as the hub reads it."""
    from huggingface_hub import ModelCardData

    facts: dict[str, Any] = {
        "library_name": "xlstm-apps",
        "pipeline_tag": "time-series-forecasting",
        "tags": ["xlstm", "time-series"],
        "license": license,
    }
    results = _results(scores, summary)
    if results:
        facts |= {"model_name": run.name, "eval_results": results}
    return ModelCardData(**facts).to_yaml(line_break="\n").strip()


def _results(scores: Scores | None, summary: Summary) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    if scores is None:
        return []
    task = {"task_type": "time-series-forecasting", "dataset_type": "tabular", "dataset_name": _plain(summary.name)}
    values = {metric: scores.value(scores.ours, metric) for metric in ("mae", "rmse", "mase", "wql")}
    return [
        EvalResult(**task, metric_type=metric, metric_name=title(metric), metric_value=float(f"{value:.6g}"))
        for metric, value in values.items()
        if value is not None and abs(value) != float("inf")
    ]
