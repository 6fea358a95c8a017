"""The model and its baselines scored on the same windows, in one pass over the test part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset
from xlstm_apps.estimators.forecast_frames import ROWS_PER_BATCH, forecast, unscale, window_frames
from xlstm_apps.estimators.forecast_plan import SCORED_ROWS
from xlstm_apps.forecasting import ForecastModel, Scores, naive_errors, seasonal_naive

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of every model on the same targets."""

    scores: dict[str, Scores]
    names: list[str]
    """unique_id of every series and channel, in the order of the scores."""
    windows: int
    stride: int
    season: int

    def comparison(self) -> list[dict[str, Any]]:
        """One row per model: mae, rmse, mase, wql, coverage."""
        return [{"model": name, **scores.summary()} for name, scores in self.scores.items()]

    def by_step(self) -> list[dict[str, Any]]:
        return [row for name, scores in self.scores.items() for row in scores.horizon_rows(name)]

    def by_series(self) -> list[dict[str, Any]]:
        return [row for name, scores in self.scores.items() for row in scores.series_rows(name, self.names)]


class Evaluator:
    """The windows of the test part and everything the baselines need, from the training part alone.

    Args:
        table: All series.
        scaler: Fitted on the training part.
        split: (train_end, val_end) of every series.
        season: Steps in one season; 1 where there is none.
        context_length: Steps the models see.
        prediction_length: Horizon.
        levels: Quantile levels.
        stride: Rows between cutoffs; None: 1, or as many as keep the forecasts below 100,000.

    Raises:
        ValueError: There is no test window.
    """

    def __init__(
        self,
        table: SeriesTable,
        scaler: Scaler,
        split: list[tuple[int, int]],
        *,
        season: int,
        context_length: int,
        prediction_length: int,
        levels: list[float],
        stride: int | None = None,
    ):
        self.table, self.season, self.levels = table, season, levels
        # Long enough for the seasonal naive to look over a gap, whatever the model sees.
        length = max(context_length, 3 * season)
        self.windows = WindowDataset(table, scaler, "test", split, length, prediction_length, stride or 1)
        rows = len(self.windows) * len(table.channels)
        if stride is None and rows > SCORED_ROWS:
            stride = -(-rows // SCORED_ROWS)
            self.windows = WindowDataset(table, scaler, "test", split, length, prediction_length, stride)
        self.stride = stride or 1
        ends = np.array([train_end for train_end, _ in split])
        self.scale = naive_errors(table.values, table.offsets, ends, season)

        def deviation(lag: int) -> Tensor:  # in scaled units, as the contexts are; 1 where nothing is known
            root = np.sqrt(naive_errors(table.values, table.offsets, ends, lag, power=2)) / scaler.std
            return torch.from_numpy(np.where(np.isnan(root), 1.0, root)).float()

        self._deviation = {lag: deviation(lag) for lag in {1, season}}

    def run(self, models: dict[str, ForecastModel], console: Console | None = None) -> Evaluation:
        """Score `models`, the seasonal naive and the naive forecast."""

        def repeated(lag: int) -> Callable[[Batch], Tensor]:
            return lambda batch: unscale(
                seasonal_naive(
                    batch["context"],
                    batch["context_mask"],
                    lag,
                    self.windows.prediction_length,
                    self._deviation[lag][batch["series"]],
                    self.levels,
                ),
                batch,
            )

        for model in models.values():
            model.eval()
        forecasters: dict[str, Callable[[Batch], Tensor]] = {
            name: (lambda batch, model=model: forecast(model, batch)) for name, model in models.items()
        }
        # The model, then the baselines, the one it is measured against first.
        ours, *others = forecasters
        order = {ours: forecasters[ours], "seasonal_naive": repeated(self.season)}
        order |= {name: forecasters[name] for name in others} | {"naive": repeated(1)}
        horizon = self.windows.prediction_length
        scores = {name: Scores(self.levels, horizon, self.scale) for name in order}
        size = max(1, ROWS_PER_BATCH // len(self.table.channels))
        begins = range(0, len(self.windows), size)
        steps = begins
        if console is not None and console.is_terminal:
            steps = track(begins, "scoring the test part", console=console, transient=True)
        for begin in steps:
            batch = self.windows.__getitems__(list(range(begin, min(begin + size, len(self.windows)))))
            truth = unscale(batch["target"][..., None], batch)[..., 0]
            for name, forecaster in order.items():
                quantiles = forecaster(batch).cpu()
                scores[name].update(quantiles, truth, batch["target_mask"], batch["series"])
        names = [name for names in self.table.unique_ids() for name in names]
        return Evaluation(scores=scores, names=names, windows=len(self.windows), stride=self.stride, season=self.season)

    def sample(self, model: ForecastModel, most_series: int = 12, most_windows: int = 3) -> pl.DataFrame:
        """Forecasts to plot: a few series, the last test window and evenly spaced ones before it, with history.

        Returns:
            `unique_id, cutoff, ds, y`, the quantiles and `seasonal_naive`; history rows have neither.
        """
        table, horizon = self.table, self.windows.prediction_length
        series, cutoffs = (x.numpy() for x in self.windows.windows())
        picked: list[int] = []
        for owner in np.unique(series)[: -(-most_series // len(table.channels))]:
            mine = np.flatnonzero(series == owner)
            picked += mine[np.unique(np.linspace(0, len(mine) - 1, most_windows + 1).round().astype(int)[1:])].tolist()
        frames = pl.concat(window_frames(model, table, self.windows, picked))
        batch = self.windows.__getitems__(picked)
        point = seasonal_naive(
            batch["context"],
            batch["context_mask"],
            self.season,
            horizon,
            self._deviation[self.season][batch["series"]],
            [0.5],
        )
        baseline = unscale(point, batch)[..., 0].transpose(1, 2).flatten().double().numpy()
        frames = frames.with_columns(pl.Series("seasonal_naive", baseline))
        history = max(3 * horizon, 2 * self.season)
        past = [self._history(int(series[i]), int(cutoffs[i]), history) for i in picked]
        frames = pl.concat([*past, frames], how="diagonal_relaxed").select(frames.columns)
        kept = frames["unique_id"].unique(maintain_order=True)[:most_series]
        return frames.filter(pl.col("unique_id").is_in(kept.implode())).sort(
            "unique_id", "cutoff", "ds", maintain_order=True
        )

    def _history(self, owner: int, cutoff: int, length: int) -> pl.DataFrame:
        table = self.table
        rows = table.offsets[owner] + np.arange(max(0, cutoff - length), cutoff)
        ids = np.repeat(np.array(table.unique_ids()[owner], dtype=object), len(rows))
        stamps = np.tile(table.timestamps[rows], len(table.channels))
        known = np.full(len(stamps), table.timestamps[table.offsets[owner] + cutoff - 1])
        return pl.DataFrame(
            [
                pl.Series("unique_id", ids.tolist(), dtype=pl.String),
                table.ds(known).alias("cutoff"),
                table.ds(stamps),
                pl.Series("y", table.values[rows].T.ravel()).fill_nan(None),
            ]
        )
