"""XLSTMForecaster: fit and predict on data frames, silent and without files unless asked."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from xlstm_apps import training
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset, table_from_frame
from xlstm_apps.estimators.forecast_frames import device_for, predict_frames, window_frames
from xlstm_apps.estimators.forecast_plan import plan_forecast
from xlstm_apps.forecasting import ForecastConfig, ForecastModel
from xlstm_apps.training import FitConfig, files

if TYPE_CHECKING:
    import pandas as pd

    Frame = pd.DataFrame | pl.DataFrame


class XLSTMForecaster(BaseEstimator):
    """Quantile forecaster for one or many series.

    Takes pandas and polars frames in long form (`unique_id, ds, y`, or `item_id, timestamp, target`, or other names by
    argument) or wide form (a time column and value columns), and gives back frames of the same kind with `unique_id`,
    `ds` and one column per quantile. Missing values and gaps are fine. Nothing is printed and no file is written unless
    asked.

        forecaster = XLSTMForecaster(prediction_length=24).fit(df)
        forecast = forecaster.predict()

    Args:
        prediction_length: Steps to forecast.
        quantiles: Levels to forecast, between 0 and 1; the columns are named after them.
        context_length: Steps of the past the model sees; None: from the frequency and the length of the series.
        season: Steps in one season; None: chosen on the training part among those usual for the frequency.
        freq: Step between stamps, such as `1h` or `1d`; None: inferred.
        id_column: Column that names the series; None: recognised.
        time_column: Column of the stamps; None: recognised.
        target_columns: Columns to forecast; None: every numeric one.
        val_fraction: Share of each series, its end, on which the best epoch is chosen.
        embedding_dim: Width of the xLSTM.
        num_blocks: Its number of blocks.
        num_heads: Its number of heads.
        dropout: Dropout before the output.
        max_epochs: Most epochs, 20 to 50 steps each.
        max_steps: Most steps in all; None: `max_epochs` decides.
        batch_size: Windows per step; None: from the number of columns.
        learning_rate: Peak learning rate.
        patience: Epochs without a better validation loss before training stops; None: never.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        seed: Seed of weights, order and dropout; the same seed gives the same forecasts.
        progress: Show a progress bar on the error stream.

    Attributes:
        model_: The fitted `ForecastModel`.
        history_: One dict per epoch: losses, learning rate, seconds.
        best_epoch_: The epoch whose weights were kept.
    """

    def __init__(
        self,
        prediction_length: int = 24,
        quantiles: tuple[float, ...] | list[float] = (0.1, 0.5, 0.9),
        *,
        context_length: int | None = None,
        season: int | None = None,
        freq: str | None = None,
        id_column: str | None = None,
        time_column: str | None = None,
        target_columns: list[str] | None = None,
        val_fraction: float = 0.1,
        embedding_dim: int = 64,
        num_blocks: int = 1,
        num_heads: int = 4,
        dropout: float = 0.2,
        max_epochs: int = 20,
        max_steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 3e-3,
        patience: int | None = 5,
        accelerator: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ):
        self.prediction_length = prediction_length
        self.quantiles = quantiles
        self.context_length = context_length
        self.season = season
        self.freq = freq
        self.id_column = id_column
        self.time_column = time_column
        self.target_columns = target_columns
        self.val_fraction = val_fraction
        self.embedding_dim = embedding_dim
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.accelerator = accelerator
        self.seed = seed
        self.progress = progress

    def fit(self, df: "Frame", y: None = None) -> Self:
        """Train on all series of a frame.

        Args:
            df: Long or wide frame; it is not changed.
            y: Not used; there for scikit-learn.

        Raises:
            ValueError: The frame cannot be read as series, or is too short for the horizon.
        """
        table = self._table(df)
        model, result = self._train(table)
        self.model_, self.history_, self.best_epoch_ = model, result.history, result.best_epoch
        self._remember(table, Scaler.fit(table, table.lengths), self._kind(df, table))
        return self

    def predict(self, df: "Frame | None" = None) -> "Frame":
        """Forecast the steps after the last row of every series.

        Args:
            df: History to forecast from, of the training's series or of others; None: the frame given to `fit`.

        Returns:
            `unique_id`, `ds` and a column per quantile; pandas or polars, as the frame given here or to `fit`.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        if df is None:
            table, scaler, kind = self._table_, self._scaler_, self._kind_
        else:
            table, scaler = self._table(df), None
            kind = self._kind(df, table)
            if table.freq != self._table_.freq:
                raise ValueError(
                    f"the rows of this frame are {table.freq} apart, those of the training were {self._table_.freq}"
                )
        return give_back(predict_frames(self.model_, table, scaler, device_for(self.accelerator)), kind)

    def cross_validation(self, df: "Frame", n_windows: int = 1, step_size: int | None = None) -> "Frame":
        """Train on the rows before the first cutoff, then forecast from every cutoff, each knowing what came before it.

        The estimator itself stays as it is, fitted or not.

        Args:
            df: Long or wide frame.
            n_windows: Number of cutoffs; the last one leaves just one horizon.
            step_size: Rows between cutoffs; None: the horizon.

        Returns:
            `unique_id, ds, cutoff` (the last stamp known), `y` and a column per quantile.

        Raises:
            ValueError: No series is long enough.
        """
        table, horizon = self._table(df), self.prediction_length
        step = step_size or horizon
        if n_windows < 1 or step < 1:
            raise ValueError(f"n_windows {n_windows} and step_size {step} must be at least 1")
        first = table.lengths - horizon - (n_windows - 1) * step
        if (first < 1).all():
            raise ValueError(
                f"no series is long enough for {n_windows} windows of {horizon} steps, {step} apart: the longest has "
                f"{int(table.lengths.max())} rows"
            )
        # A series too short to be cut is left out of training and scoring alike.
        known = table.until(np.maximum(first, 1).tolist())
        model, _ = self._train(known)
        cutoffs = np.where(first < 1, table.lengths, first)
        scaler = Scaler.fit(table, np.maximum(first, 1))
        windows = WindowDataset(
            table, scaler, "test", [(int(x), int(x)) for x in cutoffs], model.head.context_length, horizon, step
        )
        model.to(device_for(self.accelerator))
        return give_back(window_frames(model, table, windows), self._kind(df, table))

    def save(self, path: str | Path) -> None:
        """Write a folder: the model (`config.json`, `model.safetensors`), the arguments, and the end of the history.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        tail = tail_of(self._table_, self.model_.head.context_length)
        with files.replacing_folder(path) as aside:
            self.model_.save_pretrained(aside)
            facts = {
                "arguments": self.get_params(),
                "kind": self._kind_,
                "history": self.history_,
                "best_epoch": self.best_epoch_,
                "table": {
                    name: getattr(tail, name)
                    for name in ("item_ids", "channels", "freq", "time_zone", "layout", "time_kind", "month_ends")
                },
            }
            files.write_json(aside / "estimator.json", facts)
            np.savez(
                aside / "history.npz",
                values=tail.values,
                timestamps=tail.timestamps.astype("int64"),
                offsets=tail.offsets,
                mean=self._scaler_.mean,
                std=self._scaler_.std,
            )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, on any device.

        Raises:
            ValueError: `path` is no such folder.
        """
        path = Path(path)
        if not (path / "estimator.json").is_file():
            raise ValueError(f"{path} holds no saved forecaster (no estimator.json)")
        facts = json.loads((path / "estimator.json").read_text(encoding="utf-8"))
        self = cls(**facts["arguments"])
        self.model_ = ForecastModel.from_pretrained(path)
        self.history_, self.best_epoch_ = facts["history"], facts["best_epoch"]
        with np.load(path / "history.npz", allow_pickle=False) as arrays:
            table = SeriesTable(
                values=arrays["values"],
                timestamps=arrays["timestamps"].astype("datetime64[us]"),
                offsets=arrays["offsets"],
                **facts["table"],
            )
            scaler = Scaler(arrays["mean"], arrays["std"], table.item_ids, table.channels)
        self._remember(table, scaler, facts["kind"])
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("this XLSTMForecaster is not fitted yet: call fit(df) first")

    def _remember(self, table: SeriesTable, scaler: Scaler, kind: dict[str, Any]) -> None:
        self._table_, self._scaler_, self._kind_ = table, scaler, kind

    def _table(self, df: "Frame") -> SeriesTable:
        return table_from_frame(
            df,
            id_column=self.id_column,
            time_column=self.time_column,
            target_columns=None if self.target_columns is None else list(self.target_columns),
            freq=self.freq,
        )

    def _kind(self, df: "Frame", table: SeriesTable) -> dict[str, Any]:
        """What frames to give back: pandas or polars, with integer ids where they came as integers."""
        named = [self.id_column] if self.id_column is not None else ["unique_id", "item_id"]
        ids = next((df[name] for name in named if name in df.columns), None)
        polars = isinstance(df, pl.DataFrame)
        integer = False
        if ids is not None and len(table.channels) == 1:
            integer = ids.dtype.is_integer() if polars else getattr(ids.dtype, "kind", "O") in "iu"
        return {"library": "polars" if polars else "pandas", "integer_ids": integer}

    def _train(self, table: SeriesTable):
        fit = FitConfig(
            max_epochs=self.max_epochs,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            accelerator=self.accelerator,
        )
        training.check(fit)
        head = ForecastConfig(
            prediction_length=self.prediction_length,
            context_length=self.context_length,
            quantiles=list(self.quantiles),
            dropout=self.dropout,
            season=self.season,
        )
        backbone = xLSTMConfig(
            embedding_dim=self.embedding_dim,
            num_blocks=self.num_blocks,
            num_heads=self.num_heads,
            slstm_at="all",
            conv1d_kernel_size=0,
        )
        plan = plan_forecast(
            table, head=head, backbone=backbone, fit=fit, val_fraction=self.val_fraction, test_fraction=0.0
        )
        model = plan.model(self.seed)
        console = None
        if self.progress:
            from rich.console import Console

            console = Console(stderr=True)
        return model, plan.train_model(model, self.seed, console=console)


def give_back(frames: Iterator[pl.DataFrame], kind: dict[str, Any]) -> "Frame":
    """The frames as one of the kind asked for."""
    frame = pl.concat(frames)
    if kind["integer_ids"]:
        frame = frame.with_columns(pl.col("unique_id").cast(pl.Int64, strict=True))
    return frame if kind["library"] == "polars" else to_pandas(frame)


def to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    """By way of numpy: polars' own export needs pyarrow."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
            utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
            columns[name] = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(column.dtype.time_zone)
        elif column.dtype == pl.Date:
            columns[name] = column.cast(pl.Datetime("us")).to_numpy()
        elif column.dtype == pl.String:
            columns[name] = column.to_list()
        else:
            columns[name] = column.to_numpy()
    return pd.DataFrame(columns)


def tail_of(table: SeriesTable, length: int) -> SeriesTable:
    """The last `length` rows of every series."""
    kept = np.minimum(table.lengths, length)
    offsets = np.concatenate([[0], np.cumsum(kept)])
    owner = np.repeat(np.arange(len(table)), kept)
    rows = table.offsets[1:][owner] - kept[owner] + (np.arange(len(owner)) - offsets[:-1][owner])
    return replace(table, values=table.values[rows], timestamps=table.timestamps[rows], offsets=offsets, report={})
