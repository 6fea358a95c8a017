"""The verb `forecast explain`: what the forecasts of a trained model rest on, as tables and a page."""

from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from xlstm_apps.datasets import WindowDataset
from xlstm_apps.estimators.forecast_explain import Explanation, explain
from xlstm_apps.estimators.forecast_plan import season_of
from xlstm_apps.recipes._forecast import write_frame
from xlstm_apps.recipes._forecast_saved import Trained
from xlstm_apps.recipes._terminal import table_console
from xlstm_apps.training import files

SHOWN = 8


def output_folder(model: str, output: str | None) -> Path:
    """Where to write: the folder asked for, or `explain` in the run folder.

    Raises:
        ValueError: It cannot be there; found before any work is done.
    """
    if output is None:
        if not (Path(model) / "run.json").is_file():
            raise ValueError("a model folder takes no results: give a folder to write to with --output")
        return Path(model) / "explain"
    return files.check_folder(output)


def explain_trained(trained: Trained, windows: int, segment_length: int | None) -> Explanation:
    """Occlusion on the test part of the training's table, or of another one."""
    table = trained.table()
    head = trained.model.head
    split = trained.split(table)
    scaler = trained.scaler(table, np.array([train_end for train_end, _ in split]))
    season = season_of(table, scaler, np.array([a for a, _ in split]), head.prediction_length, head.season)
    held_out = WindowDataset(table, scaler, "test", split, head.context_length, head.prediction_length)
    return explain(
        trained.model,
        table,
        scaler,
        held_out,
        season=season.steps,
        most_windows=windows,
        segment_length=segment_length,
        console=trained.console,
    )


def write(explanation: Explanation, folder: Path) -> None:
    """variates.csv, segments.csv, steps.csv and explain.html in a folder; the strongest rows in the terminal."""
    folder.mkdir(exist_ok=True)
    for name, frame in explanation.frames().items():
        write_frame(folder / f"{name}.csv", frame)
    page = explanation.to_html(folder / "explain.html")
    console = table_console()
    console.print(strongest("Past steps (1 = the last one known)", explanation.segments, ["from_step", "to_step"]))
    console.print(strongest("Columns", explanation.variates, ["source", "kind", "target"]))
    Console().print(
        f"hidden in turn on {explanation.windows:,} held-out windows; plots in {page}", highlight=False, soft_wrap=True
    )


def strongest(title: str, frame: pl.DataFrame, keys: list[str]) -> Table:
    """The rows whose hiding changes the forecast most."""
    table = Table(title=title, header_style="bold")
    for key in keys:
        table.add_column(key.replace("_", " "))
    for heading in ("change of the forecast", "rise of the error"):
        table.add_column(heading, justify="right")
    for row in frame.sort("change", descending=True, maintain_order=True).head(SHOWN).iter_rows(named=True):
        error, without = row["error"], row["error_without"]
        rise = f"{without / error - 1:+.1%}" if error and without is not None else ""
        table.add_row(*(str(row[key]) for key in keys), f"{row['change']:.3g} sd", rise)
    return table
