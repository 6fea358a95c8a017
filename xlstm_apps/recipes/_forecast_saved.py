"""What can be done with a trained forecaster: predict, evaluate, backtest."""

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from rich.console import Console

from xlstm_apps.datasets import Scaler, SeriesData, SeriesTable, WindowDataset, load_table, split_points
from xlstm_apps.estimators.forecast_frames import device_for, predict_frames, window_frames
from xlstm_apps.estimators.forecast_plan import season_of
from xlstm_apps.estimators.forecast_scores import Evaluator
from xlstm_apps.forecasting import ForecastModel
from xlstm_apps.recipes._forecast import comparison_table, csv_ready, result_console, write_evaluation, write_frame
from xlstm_apps.training import RunFolder


class Output:
    """Where a frame goes: a .csv or .parquet file, or CSV on the standard output.

    Raises:
        ValueError: Another kind of file, or a folder that does not exist; found before any work is done.
    """

    def __init__(self, output: str | None):
        self.path = Path(output) if output is not None and output != "-" else None
        if self.path is not None:
            if self.path.suffix not in (".csv", ".parquet"):
                raise ValueError(f"output {output}: write to a .csv or .parquet file")
            if not self.path.parent.is_dir():
                raise ValueError(f"output {output}: the folder {self.path.parent} does not exist")

    def write(self, frames: Iterator[pl.DataFrame]) -> None:
        if self.path is not None:
            frame = pl.concat(frames)
            write_frame(self.path, frame)
            Console(stderr=True).print(f"wrote {len(frame):,} rows to {self.path}", highlight=False, soft_wrap=True)
            return
        for number, frame in enumerate(frames):
            sys.stdout.write(csv_ready(frame).write_csv(include_header=number == 0))


class Trained:
    """A trained forecaster and how its table was read.

    Args:
        path: Run folder or model folder.

    Raises:
        ValueError: Neither of them, or a run that has not got to a model yet.
    """

    def __init__(self, path: str):
        self.console = Console(stderr=True)
        self.folder: RunFolder | None = None
        model = Path(path)
        if not model.is_dir():
            raise ValueError(f"{path}: no such folder; give the folder that train reported")
        if (model / "run.json").is_file():
            self.folder, model = RunFolder(model), model / "model"
            if not model.is_dir():
                raise ValueError(f"{path}: this run has no model yet; finish it with: train --resume --run_dir {path}")
        self.model = ForecastModel.from_pretrained(model)
        read = yaml.safe_load((model / "data.json").read_text()) if (model / "data.json").is_file() else {}
        self.freq: str | None = read.get("freq")
        known = {f.name for f in fields(SeriesData)}
        self.data = SeriesData(**{"path": "", **{k: v for k, v in read.get("data", {}).items() if k in known}})
        accelerator = self.folder.config["fit"]["accelerator"] if self.folder is not None else "auto"
        self.device = device_for(accelerator)
        self.model.to(self.device)

    def table(self, data_path: str | None) -> SeriesTable:
        """The training's table, or another one read the same way.

        Raises:
            ValueError: It cannot be read, or its steps are not those the model was trained on.
        """
        if data_path is None and self.folder is None:
            raise ValueError("a model folder holds no data: give the table to forecast with --data_path")
        table = load_table(self.data if data_path is None else replace(self.data, path=data_path))
        if self.freq is not None and table.freq != self.freq:
            raise ValueError(
                f"{data_path}: its rows are {table.freq} apart, but the model was trained on steps of {self.freq}; "
                "train on this table, or resample it"
            )
        short = int((table.lengths < self.model.head.context_length).sum())
        if short:
            self.console.print(
                f"note: {short:,} of {len(table):,} series are shorter than the context of "
                f"{self.model.head.context_length} steps; what there is of them is used",
                highlight=False,
                soft_wrap=True,
            )
        return table

    def predict(self, table: SeriesTable) -> Iterator[pl.DataFrame]:
        """Frames of the forecast beyond the end of every series."""
        return predict_frames(self.model, table, device=self.device)

    def evaluate(self, data_path: str | None, output: str | None) -> None:
        """Score on the test part, print the comparison, write it to the folder `output`."""
        if self.folder is None:
            raise ValueError("evaluate needs the run folder, which holds the baseline too, not the model folder alone")
        table = self.table(data_path)
        head = self.model.head
        split = split_points(table, self.data.val_fraction, self.data.test_fraction, min_length=head.prediction_length)
        ends = np.array([train_end for train_end, _ in split])
        scaler = Scaler.fit(table, ends)
        season = season_of(table, scaler, ends, head.prediction_length, head.season)
        evaluator = Evaluator(
            table,
            scaler,
            split,
            season=season.steps,
            context_length=head.context_length,
            prediction_length=head.prediction_length,
            levels=head.levels,
            stride=head.test_stride,
        )
        models = {"xlstm": self.model}
        baseline = self.folder.path / "baselines" / "nlinear"
        if baseline.is_dir():
            models["nlinear"] = ForecastModel.from_pretrained(baseline, map_location=str(self.device))
        evaluation = evaluator.run(models, self.console)
        if output is not None:
            write_evaluation(Path(output), evaluation)
        result_console().print(comparison_table(evaluation, head))

    def backtest(self, data_path: str | None, n_windows: int, step_size: int | None) -> Iterator[pl.DataFrame]:
        """Frames of the forecasts at the last `n_windows` cutoffs.

        Raises:
            ValueError: The cutoffs reach back into what the model was trained on, or before the data.
        """
        table, horizon = self.table(data_path), self.model.head.prediction_length
        step = step_size or horizon
        if n_windows < 1 or step < 1:
            raise ValueError(f"n_windows {n_windows} and step_size {step} must be at least 1")
        known = None
        if data_path is None:
            known = split_points(table, self.data.val_fraction, self.data.test_fraction, min_length=horizon)
        windows = rolling_windows(self.model, table, n_windows, step, known)
        until = self.folder.facts.get("trained_until") if self.folder is not None else None
        if until is not None and data_path is not None:
            series, cutoff = windows.windows()
            stamps = table.timestamps[table.offsets[series.numpy()] + cutoff.numpy()]
            early = int((stamps <= np.datetime64(until)).sum())
            if early:
                self.console.print(
                    f"note: {early:,} of {len(windows):,} windows begin before {until}, up to where the model was "
                    "trained; where they are of the same series, their errors are too small",
                    highlight=False,
                    soft_wrap=True,
                )
        return window_frames(self.model, table, windows)


def rolling_windows(
    model: ForecastModel, table: SeriesTable, n_windows: int, step: int, known: list[tuple[int, int]] | None
) -> WindowDataset:
    """Windows at the last `n_windows` cutoffs of every series that is long enough, `step` apart.

    Args:
        model: Its horizon and context.
        table: The series.
        n_windows: Number of cutoffs.
        step: Rows between them.
        known: (train_end, val_end) of every series the model was trained on; no cutoff may lie before val_end.

    Raises:
        ValueError: One would, or no series is long enough.
    """
    horizon = model.head.prediction_length
    first = table.lengths - horizon - (n_windows - 1) * step
    if known is not None:
        tested = np.array([val_end for _, val_end in known])
        has_test = table.lengths - tested >= horizon
        room = ((table.lengths - horizon - tested)[has_test] // step + 1).min() if has_test.any() else 0
        if n_windows > room:
            raise ValueError(
                f"{n_windows} windows {step} steps apart reach into the part the model was trained on; at most {room} "
                "fit into the test part (or lower step_size, or train with a larger data.test_fraction)"
            )
        first = np.where(has_test, first, table.lengths)  # a series without a test part is left out
    if (first < 1).all():
        raise ValueError(
            f"no series is long enough for {n_windows} windows {step} steps apart: the longest has "
            f"{int(table.lengths.max())} rows; lower n_windows or step_size"
        )
    first = np.where(first < 1, table.lengths, first)
    scaler = Scaler.fit(table, np.maximum(np.minimum(first, table.lengths), 1))
    split = [(int(x), int(x)) for x in first]
    return WindowDataset(table, scaler, "test", split, model.head.context_length, horizon, step)
