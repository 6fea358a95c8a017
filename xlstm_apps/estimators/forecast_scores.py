"""The model and its baselines scored on the same windows, in one pass over the test part."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset
from xlstm_apps.estimators.forecast_calibration import Calibrator, calibrator_for
from xlstm_apps.estimators.forecast_floor import at_floor
from xlstm_apps.estimators.forecast_frames import (
    ROWS_PER_BATCH,
    scaled_forecast,
    unscale,
    unscale_forecast,
    window_frames,
)
from xlstm_apps.forecasting import (
    COVERED,
    ForecastModel,
    Scores,
    auto_ets,
    check_fits,
    naive2,
    naive_errors,
    owa,
    seasonal_naive,
)
from xlstm_apps.report import ResidualSample

SCORED_ROWS = 100_000
NAIVE2_ROWS = 1024

Batch = dict[str, Tensor]
Baseline = Literal["naive2", "auto_ets"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of every model on the same targets."""

    scores: dict[str, Scores]
    """The intervals of models are calibrated where something was held out."""
    raw: dict[str, Scores]
    """The same for the models' own quantiles, where `scores` holds calibrated ones."""
    names: list[str]
    """unique_id of every series and channel, in the order of the scores."""
    windows: int
    stride: int
    season: int
    residuals: pl.DataFrame
    """Errors of the first model, for diagnostics: see `report.residuals`."""
    calibrators: dict[str, Calibrator | None] = field(default_factory=dict)
    """Of each model, for what comes after the last row."""

    def comparison(self) -> list[dict[str, Any]]:
        """One row per model: mae, rmse, mse, mase, smape, wql, coverage, coverage_80, coverage_95; these three of the
        models' own quantiles too, as `coverage_80_raw` and so on; `owa` where Naive2 was asked for."""
        rows = []
        for name, scores in self.scores.items():
            row = {"model": name, **scores.summary()}
            own = self.raw[name].summary() if name in self.raw else {}
            row |= {f"{key}_raw": own.get(key) for key in row if key.startswith("coverage")}
            rows.append(row)
        reference = next((row for row in rows if row["model"] == "naive2"), None)
        if reference is not None:
            for row in rows:
                row["owa"] = owa(row, reference)
        return rows

    def by_step(self) -> list[dict[str, Any]]:
        return [row for name, scores in self.scores.items() for row in scores.horizon_rows(name)]

    def by_series(self) -> list[dict[str, Any]]:
        return [row for name, scores in self.scores.items() for row in scores.series_rows(name, self.names)]

    def calibration_rows(self) -> list[dict[str, Any]]:
        """quantile, empirical, empirical_raw (the model's own; None where it is what is scored) of the first model."""
        name = next(iter(self.scores))
        own = self.raw[name].calibration_rows() if name in self.raw else []
        raw = {row["quantile"]: row["empirical"] for row in own}
        return [{**row, "empirical_raw": raw.get(row["quantile"])} for row in self.scores[name].calibration_rows()]


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
        calibrate: Score calibrated intervals; else the models' own.
        units: Score in the data's units, where nothing is forecast below the scaler's floor, by baselines neither; or
            in the scaler's (deviations of the training part, without a floor, as the published tables).
        baselines: More of them beside the seasonal naive and the naive forecast.
        device: Where windows are gathered and baselines computed; models bring their own.

    Raises:
        ValueError: There is no test window, or too many of them for AutoETS.
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
        calibrate: bool = True,
        units: Literal["data", "scaled"] = "data",
        baselines: Sequence[Baseline] = (),
        device: torch.device | str = "cpu",
    ):
        self.table, self.scaler, self.split, self.season = table, scaler, split, season
        self.levels, self.calibrate, self.units, self.baselines = sorted(levels), calibrate, units, list(baselines)
        self.device = torch.device(device)
        # Long enough for the seasonal naive to look over a gap, whatever the model sees.
        length = max(context_length, 3 * season)
        if self.baselines:
            length = max(length, min(NAIVE2_ROWS, int(table.lengths.max())))
        self.windows = WindowDataset(table, scaler, "test", split, length, prediction_length, stride or 1)
        rows = len(self.windows) * len(table.channels)
        if stride is None and rows > SCORED_ROWS:
            stride = -(-rows // SCORED_ROWS)
            self.windows = WindowDataset(table, scaler, "test", split, length, prediction_length, stride)
        self.stride = stride or 1
        if "auto_ets" in self.baselines:
            check_fits(len(self.windows) * len(table.channels))
        ends = np.array([train_end for train_end, _ in split])
        scale = naive_errors(table.values, table.offsets, ends, season)
        self.scale = scale if units == "data" else scale / scaler.std

        def deviation(lag: int) -> Tensor:  # in scaled units, as the contexts are; 1 where nothing is known
            root = np.sqrt(naive_errors(table.values, table.offsets, ends, lag, power=2)) / scaler.std
            return torch.from_numpy(np.where(np.isnan(root), 1.0, root)).float().to(self.device)

        self._deviation = {lag: deviation(lag) for lag in {1, season}}

    def run(self, models: dict[str, ForecastModel], console: Console | None = None) -> Evaluation:
        """Score `models`, the seasonal naive, the naive forecast and the baselines asked for."""
        known = sorted({*self.levels, *COVERED})
        calibrators: dict[str, Calibrator | None] = {}
        for name, model in models.items():
            model.eval()
            calibrators[name] = calibrator_for(model, self.table, self.scaler, self.split) if self.calibrate else None
        first, *others = models
        order = [first, "seasonal_naive", *others, "naive", *self.baselines]
        if len(set(order)) < len(order):
            raise ValueError(f"two models have the name of one baseline or of each other: {order}")
        horizon = self.windows.prediction_length

        def empty(levels: list[float]) -> Scores:
            return Scores(levels, horizon, self.scale, [q for q in self.levels if q in levels])

        calibrated = {name for name, calibrator in calibrators.items() if calibrator is not None}
        spans = dict.fromkeys(order, known) | {name: models[name].levels for name in models if name not in calibrated}
        spans |= {"naive2": [0.5]} if "naive2" in order else {}  # a point forecast: it has no spread
        scores = {name: empty(spans[name]) for name in order}
        raw = {name: empty(models[name].levels) for name in models if name in calibrated}
        series, cutoff = (x.cpu().numpy() for x in self.windows.windows())
        sample = ResidualSample(series, cutoff, channels=len(self.table.channels), horizon=horizon)
        self.windows.to(self.device)
        size = max(1, ROWS_PER_BATCH // len(self.table.channels))
        steps = begins = range(0, len(self.windows), size)
        if console is not None and console.is_terminal:
            steps = track(begins, "scoring the test part", console=console, transient=True)
        for begin in steps:
            end = min(begin + size, len(self.windows))
            batch = self.windows.__getitems__(torch.arange(begin, end))
            truth = batch["target"]
            if self.units == "data":
                truth = at_floor(unscale(truth[..., None], batch)[..., 0], batch)
            for name in order:
                if name not in models:
                    self._score(scores[name], self._baseline(name, batch, spans[name]), batch, truth)
                    continue
                own = scaled_forecast(models[name], batch)
                calibrator = calibrators[name]
                if calibrator is None:
                    self._score(scores[name], own, batch, truth)
                else:
                    self._score(raw[name], own, batch, truth)
                    self._score(scores[name], calibrator.quantiles(batch, own, known), batch, truth)
                if name == first:
                    median = self._in_units(own[..., [models[name].median]], batch)[..., 0]
                    at = tuple(torch.from_numpy(x) for x in sample.inside(begin, end))
                    values = ((x.cpu()[at]).numpy() for x in (truth, truth - median.to(truth), batch["target_mask"]))
                    sample.add(*values)
        names = [name for names in self.table.unique_ids() for name in names]
        return Evaluation(
            scores=scores,
            raw=raw,
            names=names,
            windows=len(self.windows),
            stride=self.stride,
            season=self.season,
            residuals=sample.frame(names, self._stamps),
            calibrators=calibrators,
        )

    def _in_units(self, scaled: Tensor, batch: Batch) -> Tensor:
        """A forecast as it is scored."""
        return scaled if self.units == "scaled" else unscale_forecast(scaled, batch)

    def _score(self, scores: Scores, scaled: Tensor, batch: Batch, truth: Tensor) -> None:
        moved = scaled.to(truth.device)
        scores.update(self._in_units(moved, batch), truth, batch["target_mask"], batch["series"])

    def _baseline(self, name: str, batch: Batch, levels: list[float]) -> Tensor:
        """Scaled quantiles of a baseline, [B, H, C, Q]."""
        context, mask, horizon = batch["context"], batch["context_mask"], self.windows.prediction_length
        if name in ("naive", "seasonal_naive"):
            lag = 1 if name == "naive" else self.season
            return seasonal_naive(context, mask, lag, horizon, self._deviation[lag][batch["series"]], levels)
        if name == "auto_ets":
            found = auto_ets(context.cpu().numpy(), mask.cpu().numpy(), self.season, horizon, levels)
            return torch.from_numpy(found).to(context.device)
        mean, std = batch["mean"][:, None], batch["std"][:, None]
        return ((naive2(context * std + mean, mask, self.season, horizon) - mean) / std)[..., None]

    def _stamps(self, series: np.ndarray, row: np.ndarray) -> pl.Series:
        return self.table.ds(self.table.timestamps[self.table.offsets[series] + row])

    def sample(
        self,
        model: ForecastModel,
        calibrator: Calibrator | None = None,
        most_series: int = 12,
        most_windows: int = 3,
    ) -> pl.DataFrame:
        """Forecasts to plot: a few series, the last test window and evenly spaced ones before it, with history.

        Returns:
            `unique_id, cutoff, ds, y`, the quantiles and `seasonal_naive`; history rows have neither.
        """
        table, horizon = self.table, self.windows.prediction_length
        series, cutoffs = (x.cpu().numpy() for x in self.windows.windows())
        picked: list[int] = []
        for owner in np.unique(series)[: -(-most_series // len(table.channels))]:
            mine = np.flatnonzero(series == owner)
            picked += mine[np.unique(np.linspace(0, len(mine) - 1, most_windows + 1).round().astype(int)[1:])].tolist()
        frames = pl.concat(window_frames(model, table, self.windows, picked, calibrator=calibrator))
        batch = self.windows.__getitems__(picked)
        point = seasonal_naive(
            batch["context"],
            batch["context_mask"],
            self.season,
            horizon,
            self._deviation[self.season][batch["series"]],
            [0.5],
        )
        baseline = unscale_forecast(point, batch)[..., 0].transpose(1, 2).flatten().double().cpu().numpy()
        frames = frames.with_columns(pl.Series("seasonal_naive", baseline))
        history = max(3 * horizon, 2 * self.season)
        past = [self._history(int(series[i]), int(cutoffs[i]), history) for i in picked]
        frames = pl.concat([*past, frames], how="diagonal_relaxed").select(frames.columns)
        kept = [name for names in table.unique_ids() for name in names]
        kept = list(dict.fromkeys(name for name in kept if name in set(frames["unique_id"])))[:most_series]
        place = pl.col("unique_id").replace_strict(kept, list(range(len(kept))), return_dtype=pl.Int64)
        return frames.filter(pl.col("unique_id").is_in(kept)).sort(place, "cutoff", "ds", maintain_order=True)

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
