"""What can be done with a trained forecaster: predict, evaluate, backtest."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import Scaler, SeriesData, SeriesTable, WindowDataset, iter_tables, load_table, split_points
from xlstm_apps.datasets.blocks import many_rows
from xlstm_apps.datasets.config import OtherTable
from xlstm_apps.datasets.files import resolve
from xlstm_apps.datasets.inference import UnknownStepError
from xlstm_apps.estimators.forecast_calibration import calibrator_for
from xlstm_apps.estimators.forecast_frames import quantile_columns, window_frames
from xlstm_apps.estimators.forecast_plan import ForecastPlan, plan_forecast, season_of
from xlstm_apps.estimators.forecast_rolling import by_series, fewer_windows, first_cutoffs, refit_frames
from xlstm_apps.estimators.forecast_scores import Evaluator
from xlstm_apps.estimators.saved import resolve_device
from xlstm_apps.estimators.trained import TrainedForecaster
from xlstm_apps.estimators.warm_start import ALL_FIELDS, adopt, begin_from, read_start
from xlstm_apps.forecasting import ForecastConfig, ForecastModel
from xlstm_apps.recipes._forecast import name_of, write_evaluation
from xlstm_apps.recipes._forecast_comparison import show_comparison
from xlstm_apps.recipes._terminal import note
from xlstm_apps.training import FitConfig, RunFolder


class Seen:
    """What a person should know of the tables that a model is given, some series at a time."""

    def __init__(self, forecaster: TrainedForecaster):
        self.forecaster, self.series, self.short, self.empty = forecaster, 0, 0, 0
        self.unseen: dict[str, list[str]] = {}

    def add(self, table: SeriesTable) -> None:
        """Look at a table.

        Raises:
            ValueError: Its steps or columns are not those the model was trained on.
        """
        scaler = self.forecaster.scaler_for(table)
        self.series += len(table)
        self.empty += table.report["empty_series"]
        self.short += int((table.lengths < self.forecaster.model.head.context_length).sum())
        for name, values in (scaler.covariates.unseen(table) if scaler.covariates is not None else {}).items():
            known = self.unseen.setdefault(name, [])
            known += [v for v in values if v not in known]

    def tell(self, console: Console) -> None:
        """Say what was found."""
        lines = [
            f"{name!r} holds {', '.join(map(repr, values[:5]))}{', ...' * (len(values) > 5)}, not seen in training: it "
            "counts as unknown"
            for name, values in self.unseen.items()
        ]
        if self.short:
            lines.append(
                f"{self.short:,} of {self.series:,} series are shorter than the context of "
                f"{self.forecaster.model.head.context_length} steps; what there is of them is used"
            )
        if self.empty:
            lines.append(f"{self.empty:,} of {self.series:,} series have no observed value, and no forecast")
        note(console, lines)


class Trained:
    """A trained forecaster and how its table was read.

    Args:
        path: Run folder, model folder, or a folder that `XLSTMForecaster.save` wrote.
        device: Where to compute; `auto`: CUDA where there is any.
        given: The table to use, and what is said of how it is read.

    Raises:
        ValueError: None of them, a run that has not got to a model yet, or no such device here.
    """

    def __init__(self, path: str, device: str = "auto", given: OtherTable | None = None):
        self.console, self.given = Console(stderr=True), given or OtherTable()
        self.folder: RunFolder | None = None
        model = Path(path)
        if not model.is_dir():
            raise ValueError(f"{path}: no such folder; give the folder that train reported")
        if (model / "run.json").is_file():
            self.folder, model = RunFolder(model), model / "model"
            if self.folder.facts["task"] != "forecast":
                raise ValueError(
                    f"{path} holds no trained model but a search; train the best: "
                    f"xlstm-apps forecast train --config {path}/best.yaml"
                )
            if not model.is_dir():
                raise ValueError(f"{path}: this run has no model yet; finish it with: train --resume --run_dir {path}")
        self.device = resolve_device(device)
        self.forecaster = TrainedForecaster.load(model).to(self.device)
        self.model, self.data = self.forecaster.model, self.forecaster.data

    def reading(self) -> SeriesData:
        """How the training's table is read, or another one in the same way, save for what is said of it.

        Raises:
            ValueError: There is no table.
        """
        said = {name: value for name, value in asdict(self.given).items() if value is not None}
        if self.given.path is not None:
            return SeriesData(**{**self.forecaster.reading(), **said})
        if self.folder is None:
            raise ValueError("a model folder holds no data: give the table as data.path")
        return replace(self.data, **said)

    def load(self, data: SeriesData) -> SeriesTable:
        """The table; where no series tells how far apart its rows are, as the model's."""
        try:
            return load_table(data)
        except UnknownStepError:
            return load_table(replace(data, freq=self.forecaster.freq))

    def table(self) -> SeriesTable:
        """The training's table, or the one given.

        Raises:
            ValueError: It cannot be read, or its steps or columns are not those the model was trained on.
        """
        table = self.load(self.reading())
        seen = Seen(self.forecaster)
        seen.add(table)
        seen.tell(self.console)
        return table

    def split(self, table: SeriesTable) -> list[tuple[int, int]]:
        """(train_end, val_end) of every series, by the shares of the training."""
        data = self.data
        rows = data.split_rows if table.report.get("source") == data.path else None
        return split_points(table, data.val_fraction, data.test_fraction, min_length=self.forecaster.horizon, rows=rows)

    def predict(
        self,
        *,
        quantiles: Sequence[float] | None,
        level: Sequence[float] | None,
        samples: int | None,
        seed: int,
    ) -> Iterator[pl.DataFrame]:
        """Frames of the forecast beyond the end of every series, or of possible futures."""
        data = self.reading()
        beyond = self.forecaster.beyond(quantiles, level) if samples is None else None
        note(self.console, [beyond] if beyond else [])
        for table in self.tables(data):
            if samples is not None:
                yield from self.forecaster.sample(table, samples, device=self.device, seed=seed)
            else:
                yield from self.forecaster.predict(table, device=self.device, quantiles=quantiles, level=level)

    def tables(self, data: SeriesData) -> Iterator[SeriesTable]:
        """The table, in pieces of whole series where it is to be streamed."""
        path = resolve(data.path)
        streamed = data.layout != "rows" and (data.stream or many_rows(path, data.memory_rows))
        found = iter_tables(data) if streamed else iter([self.load(data)])
        seen = Seen(self.forecaster)
        for table in found:
            seen.add(table)
            yield table
        seen.tell(self.console)

    def evaluate(self, output: str | None, baselines: Sequence[str] = ()) -> None:
        """Score on the test part, print the comparison, write it to the folder `output`."""
        if self.folder is None:
            raise ValueError("evaluate needs the run folder, which holds the baseline too, not the model folder alone")
        table = self.table()
        head = self.model.head
        split = self.split(table)
        ends = np.array([train_end for train_end, _ in split])
        scaler = self.scaler(table, ends)
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
            baselines=baselines,
            device=self.device,
        )
        models = {name_of(head): self.model}
        baseline = self.folder.path / "baselines" / "nlinear"
        if baseline.is_dir():
            models["nlinear"] = ForecastModel.from_pretrained(baseline, map_location=str(self.device)).to(self.device)
        evaluation = evaluator.run(models, self.console)
        if output is not None:
            write_evaluation(Path(output), evaluation)
        show_comparison(evaluation, head.prediction_length)

    def scaler(self, table: SeriesTable, ends: np.ndarray) -> Scaler:
        """Targets by the first `ends[i]` rows of every series, as in training; all else as the model knows it."""
        theirs = self.forecaster.scaler_for(table)
        return replace(Scaler.fit(table, ends), covariates=theirs.covariates, floor=theirs.floor)

    def backtest(
        self,
        n_windows: int,
        step_size: int | None,
        *,
        refit: int,
        quantiles: Sequence[float] | None,
        level: Sequence[float] | None,
    ) -> Iterator[pl.DataFrame]:
        """Frames of the forecasts at the last `n_windows` cutoffs.

        Raises:
            ValueError: The cutoffs reach back into what the model was trained on, or before the data.
        """
        table, horizon = self.table(), self.forecaster.horizon
        step = horizon if step_size is None else step_size
        if refit:
            first = first_cutoffs(table, horizon, n_windows, step)
            note(self.console, fewer_windows(table, first, horizon, n_windows, step))
            frames = refit_frames(
                table,
                first,
                horizon=horizon,
                n_windows=n_windows,
                step=step,
                every=refit,
                train=self.trained_until,
                quantiles=quantiles,
                level=level,
            )
            return iter([by_series(frames)])
        split = self.split(table)
        tested = np.array([val_end for _, val_end in split]) if self.given.path is None else None
        first = first_cutoffs(table, horizon, n_windows, step, tested)
        note(self.console, fewer_windows(table, first, horizon, n_windows, step))
        scaler = self.scaler(table, np.array([train_end for train_end, _ in split]))
        windows = WindowDataset.after(table, scaler, first, self.model.head.context_length, horizon, step)
        self.warn_of_known(table, windows)
        calibrator = calibrator_for(self.model, table, scaler, split)
        if calibrator is not None:
            columns = quantile_columns(self.model, quantiles, level, calibrated=True)
            beyond = calibrator.beyond(columns.values())
            note(self.console, [beyond] if beyond else [])
        return window_frames(self.model, table, windows, calibrator=calibrator, quantiles=quantiles, level=level)

    def trained_until(self, table: SeriesTable) -> tuple[ForecastPlan, ForecastModel]:
        """The run's training again, on what was known at a cutoff."""
        if self.folder is None:
            raise ValueError("refit needs the run folder, which says how to train, not the model folder alone")
        # Settings as given, not as resolved: what the run chose from its data may rest on rows after this cutoff.
        config = self.folder.config
        head, fit = section(ForecastConfig, config["head"]), section(FitConfig, config["fit"])
        fit = replace(fit, accelerator=self.device.type)  # trained on a GPU, perhaps, and there is none here
        backbone, start = section(xLSTMConfig, config["backbone"]), None
        if config.get("from_model") is not None:
            start = read_start(config["from_model"])
            head, backbone, fit = adopt(start, head, backbone, fit)
        known = int(table.lengths.max())
        self.console.print(f"training on what was known before row {known:,}", highlight=False, soft_wrap=True)
        plan = plan_forecast(
            table,
            head=head,
            backbone=backbone,
            fit=fit,
            val_fraction=self.data.val_fraction / (1 - self.data.test_fraction),
            test_fraction=0.0,
            start=start.scaler if start is not None and start.scaler.covariates is not None else None,
            given=() if start is None else ALL_FIELDS,
        )
        model = plan.model(config["seed"])
        if start is not None:
            begin_from(start, plan, model)
        plan.train_model(model, config["seed"])
        return plan, model.to(plan.device)

    def warn_of_known(self, table: SeriesTable, windows: WindowDataset) -> None:
        """Say how many windows begin before the training's end, where another table is used."""
        until = self.folder.facts.get("trained_until") if self.folder is not None else None
        if until is None or self.given.path is None:
            return
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


def section(kind: type, values: dict[str, Any]) -> Any:
    """A section out of run.json or config.yaml, where tuples have become lists."""
    return kind(**{name: tuple(v) if kind is xLSTMConfig and isinstance(v, list) else v for name, v in values.items()})
