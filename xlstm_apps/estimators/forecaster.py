"""XLSTMForecaster: fit and predict on data frames, silent and without files unless asked."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from xlstm_apps.datasets import SeriesTable, WindowDataset, table_from_frame, with_future
from xlstm_apps.estimators import forecaster_saved
from xlstm_apps.estimators.forecast_calibration import calibrator_for
from xlstm_apps.estimators.forecast_explain import Explanation, explain
from xlstm_apps.estimators.forecast_frames import device_for, window_frames
from xlstm_apps.estimators.forecast_plan import season_of
from xlstm_apps.estimators.forecast_rolling import by_series, first_cutoffs, refit_frames, refit_interval
from xlstm_apps.estimators.forecaster_settings import sections_of
from xlstm_apps.estimators.forecaster_training import train
from xlstm_apps.estimators.give_back import give_back, kind_of
from xlstm_apps.estimators.trained import TrainedForecaster, check_levels
from xlstm_apps.estimators.warm_start import read_start

if TYPE_CHECKING:
    import pandas as pd

    Frame = pd.DataFrame | pl.DataFrame
    Levels = Sequence[float] | None


class XLSTMForecaster(BaseEstimator):
    """Quantile forecaster for one or many series.

    Takes pandas and polars frames in long form (`unique_id, ds, y`, or `item_id, timestamp, target`, or other names by
    argument) or wide form (a time column and value columns), and gives back frames of the same kind with `unique_id`,
    `ds` and one column per quantile. Missing values and gaps are fine. Nothing is printed and no file is written unless
    asked.

        forecaster = XLSTMForecaster(prediction_length=24).fit(df)
        forecast = forecaster.predict(level=[80, 95])

    Args:
        prediction_length: Steps to forecast.
        quantiles: Levels to forecast, between 0 and 1; the columns are named after them. Others can be asked of
            `predict` too.
        model: `xlstm-ens`, `xlstm-time`, `p-slstm`, `xlstm-mixer`, `nlinear`, `dlinear`, `patchtst`, `itransformer`.
        context_length: Steps of the past the model sees; None: chosen on the validation part.
        minimum: Lowest value that can be, where forecasts end; `auto`: 0 for columns never below and often at it.
        season: Steps in one season; None: chosen on the training part among those usual for the frequency.
        freq: Step between stamps, such as `1h` or `1d`; None: inferred.
        id_column, time_column: Columns of the names of the series and of the stamps; None: recognised.
        target_columns: Columns to forecast; None: every numeric one that is no covariate.
        past_covariates: Columns known up to the present.
        known_covariates: Columns known for future steps too; `predict` takes them as `future_df`.
        static_covariates: Columns with one value per series.
        categorical_covariates: Those of the covariates whose numbers are codes; text needs no mention.
        holidays_column: Column that marks holidays, known for future steps too.
        calendar: Add time of day, day of week and the like.
        duplicates: What to do with rows of one series that share a stamp: `error`, `first`, `last` or `mean`.
        off_grid: What to do with stamps off the regular grid: `error` or `drop`.
        resample: Bring the rows to `freq` by `mean`, `sum`, `min`, `max`, `first` or `last`; None: as they are.
        start: First stamp, where rows are only counted.
        time_format: How stamps in text are written, as in strptime; None: recognised.
        time_zone: Zone of stamps without an offset, and in which all are handed back, such as `Europe/Berlin`.
        decimal: Decimal mark of numbers in text; None: recognised.
        missing_values: Numbers that stand for a missing value, such as -9999.
        missing_text: More spellings of a missing value in text.
        val_fraction: Share of each series, its end, on which the best epoch is chosen and intervals are calibrated.
        embedding_dim, num_blocks, num_heads: Width, blocks and heads of the xLSTM; None: the model's.
        dropout: Dropout before the output; None: the model's.
        max_epochs: Most epochs, 20 to 50 steps each.
        max_steps: Most steps in all; None: `max_epochs` decides.
        batch_size: Windows per step; None: from the number of columns.
        learning_rate: Peak learning rate; None: the model's.
        patience: Epochs without a better validation loss before training stops; None: never.
        conformal: Calibrate intervals on the validation part.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        seed: Seed of weights, order and dropout; the same seed gives the same forecasts.
        progress: Show a progress bar on the error stream.

    Attributes:
        model_: The fitted `ForecastModel`.
        history_, best_epoch_: One dict per epoch; the epoch whose weights were kept.
    """

    def __init__(
        self,
        prediction_length: int = 24,
        quantiles: tuple[float, ...] | list[float] = (0.1, 0.5, 0.9),
        *,
        model: str = "xlstm-ens",
        context_length: int | None = None,
        minimum: float | str | None = "auto",
        season: int | None = None,
        freq: str | None = None,
        id_column: str | None = None,
        time_column: str | None = None,
        target_columns: list[str] | None = None,
        past_covariates: list[str] | None = None,
        known_covariates: list[str] | None = None,
        static_covariates: list[str] | None = None,
        categorical_covariates: list[str] | None = None,
        holidays_column: str | None = None,
        calendar: bool = False,
        duplicates: str = "error",
        off_grid: str = "error",
        resample: str | None = None,
        start: str | None = None,
        time_format: str | None = None,
        time_zone: str | None = None,
        decimal: str | None = None,
        missing_values: list[float] | None = None,
        missing_text: list[str] | None = None,
        val_fraction: float = 0.1,
        embedding_dim: int | None = None,
        num_blocks: int | None = None,
        num_heads: int | None = None,
        dropout: float | None = None,
        max_epochs: int = 20,
        max_steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        patience: int | None = 5,
        conformal: bool = True,
        accelerator: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ):
        self.prediction_length = prediction_length
        self.quantiles = quantiles
        self.model = model
        self.context_length = context_length
        self.minimum = minimum
        self.season = season
        self.freq = freq
        self.id_column = id_column
        self.time_column = time_column
        self.target_columns = target_columns
        self.past_covariates = past_covariates
        self.known_covariates = known_covariates
        self.static_covariates = static_covariates
        self.categorical_covariates = categorical_covariates
        self.holidays_column = holidays_column
        self.calendar = calendar
        self.duplicates = duplicates
        self.off_grid = off_grid
        self.resample = resample
        self.start = start
        self.time_format = time_format
        self.time_zone = time_zone
        self.decimal = decimal
        self.missing_values = missing_values
        self.missing_text = missing_text
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
        self.conformal = conformal
        self.accelerator = accelerator
        self.seed = seed
        self.progress = progress

    def fit(self, df: "Frame", y: None = None, *, from_model: "str | Path | XLSTMForecaster | None" = None) -> Self:
        """Train on all series of a frame.

        Args:
            df: Long or wide frame; it is not changed.
            y: Not used; there for scikit-learn.
            from_model: Go on from a trained model instead of from scratch: a fitted forecaster, a folder it was saved
                in, or a run folder. Its weights fix the context, the quantiles and the size of the network; targets are
                scaled by this frame, covariates as it learned them.

        Raises:
            ValueError: The frame cannot be read as series, is too short for the horizon, or does not fit `from_model`.
        """
        start = None
        if isinstance(from_model, XLSTMForecaster):
            from_model._check_fitted()
            start = from_model._trained_
        elif from_model is not None:
            start = read_start(from_model)
        table = self._table(df)
        plan, model, result = train(self, table, start)
        self.model_, self.history_, self.best_epoch_ = model, result.history, result.best_epoch
        self._trained_ = TrainedForecaster.of(plan, model, sections_of(self).data, calibrated=self.conformal)
        self._table_, self._split_, self._kind_ = table, plan.split, kind_of(df, self.id_column, len(table.channels))
        return self

    def predict(
        self,
        df: "Frame | None" = None,
        future_df: "Frame | None" = None,
        *,
        level: "Levels" = None,
        quantiles: "Levels" = None,
    ) -> "Frame":
        """Forecast the steps after the last row of every series.

        Args:
            df: History to forecast from, of the training's series or of others; None: the frame given to `fit`.
            future_df: Known covariates of the steps to forecast, with the id and time columns of the history.
            level: Central intervals in percent, `[80, 95]`: columns `xLSTM`, `xLSTM-lo-80`, `xLSTM-hi-80` ... A warning
                says where too few errors were held out for one so wide.
            quantiles: Levels between 0 and 1, one column each; None: those of the forecaster.

        Returns:
            `unique_id`, `ds` and the columns; pandas or polars, as the frame given here or to `fit`.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: Another frequency or other columns than in training, or levels that cannot be had.
        """
        check_levels(quantiles, level)
        table, kind = self._history(df, future_df)
        if beyond := self._trained_.beyond(quantiles, level):
            warnings.warn(beyond, stacklevel=2)
        frames = self._trained_.predict(table, device=device_for(self.accelerator), quantiles=quantiles, level=level)
        return give_back(frames, kind)

    def sample(
        self, n: int, df: "Frame | None" = None, future_df: "Frame | None" = None, *, seed: int | None = None
    ) -> "Frame":
        """Possible futures, whose steps hang together as those of past errors did.

        Args:
            n: Paths per series.
            df: As in `predict`.
            future_df: As in `predict`.
            seed: Seed of the paths; None: that of the forecaster.

        Returns:
            `unique_id`, `ds`, `sample` (from 0) and `y_hat`.
        """
        table, kind = self._history(df, future_df)
        seed = int(self.seed if seed is None else seed)
        return give_back(self._trained_.sample(table, n, device=device_for(self.accelerator), seed=seed), kind)

    def cross_validation(
        self,
        df: "Frame",
        n_windows: int = 1,
        step_size: int | None = None,
        *,
        refit: bool | int = False,
        level: "Levels" = None,
        quantiles: "Levels" = None,
    ) -> "Frame":
        """Train on the rows before the first cutoff, then forecast from every cutoff, each knowing what came before it.

        The estimator itself stays as it is, fitted or not.

        Args:
            df: Long or wide frame.
            n_windows: Number of cutoffs; the last one leaves just one horizon. A shorter series has as many as fit.
            step_size: Rows between cutoffs; None: the horizon.
            refit: Train anew at every cutoff, or at every so many.
            level: As in `predict`.
            quantiles: As in `predict`.

        Returns:
            `unique_id, ds, cutoff` (the last stamp known), `y` and a column per quantile; with `level` `y` comes last.

        Raises:
            ValueError: No series is long enough.
        """
        check_levels(quantiles, level)
        every = refit_interval(refit, n_windows)
        table, horizon = self._table(df), self.prediction_length
        step = horizon if step_size is None else step_size
        first = first_cutoffs(table, horizon, n_windows, step)
        frames = refit_frames(
            table,
            first,
            horizon=horizon,
            n_windows=n_windows,
            step=step,
            every=every,
            train=lambda known: train(self, known)[:2],
            calibrated=self.conformal,
            quantiles=quantiles,
            level=level,
        )
        return give_back([by_series(frames)], kind_of(df, self.id_column, len(table.channels)))

    def predict_insample(
        self, step_size: int | None = None, *, level: "Levels" = None, quantiles: "Levels" = None
    ) -> "Frame":
        """Forecasts at cutoffs within the frame given to `fit`: how the model fits what it was trained on.

        Args:
            step_size: Rows between cutoffs, counted back from the end; None: the horizon.
            level: As in `predict`.
            quantiles: As in `predict`.

        Returns:
            As from `cross_validation`. The errors are too small to judge by: the model has seen these rows.
        """
        self._check_fitted()
        check_levels(quantiles, level)
        table, split = self._fitted_table("predict_insample"), self._split_
        model, horizon = self.model_.to(device_for(self.accelerator)), self._trained_.horizon
        step = horizon if step_size is None else step_size
        if step < 1:
            raise ValueError(f"step_size must be at least 1, not {step}")
        first = np.where(table.lengths > horizon, (table.lengths - horizon - 1) % step + 1, table.lengths)
        scaler = self._trained_.scaler
        windows = WindowDataset.after(table, scaler, first, model.head.context_length, horizon, step)
        calibrator = calibrator_for(model, table, scaler, split) if self.conformal else None
        frames = window_frames(model, table, windows, calibrator=calibrator, quantiles=quantiles, level=level)
        return give_back(frames, self._kind_)

    def explain(
        self, df: "Frame | None" = None, *, windows: int = 200, segment_length: int | None = None
    ) -> Explanation:
        """Which columns and which past steps the forecasts rest on, by hiding each in turn.

        Args:
            df: Frame whose last part is used, as long as the validation part of a fit; None: the validation part of the
                frame given to `fit`.
            windows: Most windows to measure on.
            segment_length: Steps of the past hidden at a time; None: whole seasons, or a fourteenth of the context.

        Returns:
            An `Explanation`: polars frames `variates`, `segments` and `steps`, and `to_html(path)`.
        """
        self._check_fitted()
        if df is None:
            table, scaler = self._fitted_table("explain"), self._trained_.scaler
        else:
            table, _ = self._history(df, None)
            scaler = self._trained_.scaler_for(table)
        model, horizon = self.model_.to(device_for(self.accelerator)), self._trained_.horizon
        held_out = np.maximum((table.lengths * self.val_fraction).astype(int), horizon)
        begin = np.maximum(table.lengths - held_out, 1)
        season = season_of(table, scaler, begin, horizon, model.head.season)
        held = WindowDataset.after(table, scaler, begin, model.head.context_length, horizon)
        return explain(
            model, table, scaler, held, season=season.steps, most_windows=windows, segment_length=segment_length
        )

    def save(self, path: str | Path) -> None:
        """Write a folder: the model, its scaler and calibration, the arguments, and the end of the history.

        `xlstm-apps forecast predict PATH --data.path FILE` reads it too.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        forecaster_saved.write(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, wherever it was trained.

        Raises:
            ValueError: `path` is no such folder.
        """
        return forecaster_saved.read(cls, path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("this XLSTMForecaster is not fitted yet: call fit(df) first")

    def _fitted_table(self, verb: str) -> SeriesTable:
        if self._split_ is None:
            raise ValueError(
                f"{verb} needs the frame given to fit, of which a saved forecaster keeps only the end: "
                + ("give one as df" if verb == "explain" else "fit again, or use cross_validation")
            )
        return self._table_

    def _history(self, df: "Frame | None", future_df: "Frame | None") -> tuple[SeriesTable, dict[str, Any]]:
        """The table to forecast from, and what kind of frame to give back."""
        self._check_fitted()
        if df is None:
            table, kind = self._table_, self._kind_
        else:
            table = self._trained_.table_from(df)
            kind = kind_of(df, self.id_column, len(table.channels))
        if future_df is not None:
            table = with_future(table, future_df, self._trained_.data)
        return table, kind

    def _table(self, df: "Frame") -> SeriesTable:
        return table_from_frame(df, **sections_of(self).reading())
