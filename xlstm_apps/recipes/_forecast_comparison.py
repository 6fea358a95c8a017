"""The comparison with the baselines on the terminal: whatever its width, no number is cut."""

from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from xlstm_apps.estimators.forecast_scores import Evaluation
from xlstm_apps.recipes._terminal import table_console
from xlstm_apps.report.numbers import count, significant

TITLES = {
    "mae": "MAE",
    "gain": "against\nseasonal",
    "rmse": "RMSE",
    "mase": "MASE",
    "smape": "sMAPE",
    "owa": "OWA",
    "wql": "WQL",
    "coverage_80": "inside\n80 %",
    "coverage_95": "inside\n95 %",
}
"""Columns of the table; comparison.csv has more."""

LEFT_OUT = ("rmse", "smape", "wql", "owa", "coverage_95", "mase")
"""Where the terminal is narrow, in this order."""


def show_comparison(evaluation: Evaluation, horizon: int, console: Console | None = None) -> None:
    """Print the comparison, best values in bold, without the columns for which there is no room."""
    console = console or table_console()
    left_out: list[str] = []
    for name in (None, *LEFT_OUT):
        left_out += [] if name is None else [name]
        table = comparison_table(evaluation, horizon, left_out)
        if Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width:
            break
    console.print(table)


def comparison_table(evaluation: Evaluation, horizon: int, left_out: list[str]) -> Table:
    """Errors and coverage of every model, one to a row."""
    rows = evaluation.comparison()
    reference = next(row["mae"] for row in rows if row["model"] == "seasonal_naive")
    if reference > 0:
        rows = [{**row, "gain": row["mae"] / reference - 1} for row in rows]
    shown = [m for m in TITLES if m not in left_out and any(is_number(row.get(m)) for row in rows)]
    words = [f"seasonal naive repeats the last {count(evaluation.season, 'step')}; against seasonal: its MAE is 0 %"]
    words += ["MASE: error over its error in training"] if "mase" in shown else []
    words += ["WQL: weighted quantile loss"] if "wql" in shown else []
    scored = f"{count(evaluation.windows, 'window')}, {count(horizon, 'step')} ahead"
    table = Table(
        title=f"Errors on the held-out last part: {scored}",
        caption="\n".join([words[0], "; ".join(words[1:])]).strip(),
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("model", no_wrap=True)
    for metric in shown:
        table.add_column(TITLES[metric], justify="right", no_wrap=True, vertical="bottom")
    best = {m: min(row[m] for row in rows if is_number(row.get(m))) for m in shown if not _is_share(m)}
    for row in rows:
        cells = [_cell(metric, row.get(metric)) for metric in shown]
        marked = (f"[bold]{c}[/]" if c and best.get(m) == row[m] else c for m, c in zip(shown, cells, strict=True))
        table.add_row(row["model"], *marked)
    return table


def _cell(metric: str, value: Any) -> str:
    if not is_number(value):
        return ""
    if metric == "gain":
        return f"{value:+.1%}" if value else ""
    return f"{value:.1%}" if _is_share(metric) else significant(value, 4)


def _is_share(metric: str) -> bool:
    return metric == "gain" or metric.startswith("coverage")


def is_number(value: float | None) -> bool:
    return value is not None and value == value
