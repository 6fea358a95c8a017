"""A table and the settings brought together: everything that can be wrong is found here, before anything is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.data import Dataset, Subset

# Lightning takes seconds to import: what needs it is reached through these lazy packages, so predicting starts fast.
from xlstm_apps import forecasting, training
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset, split_points
from xlstm_apps.forecasting import ForecastConfig, ForecastModel, Season, choose_season
from xlstm_apps.training import FitConfig

# Rows are windows times channels: what the cost of a step grows with.
ROWS_PER_STEP = 256
VALIDATION_ROWS = 4096
SCORED_ROWS = 100_000


@dataclass(frozen=True, kw_only=True)
class ForecastPlan:
    """What will be trained on what: resolved settings and the windows of each part."""

    table: SeriesTable
    split: list[tuple[int, int]]
    """(train_end, val_end) of every series, in rows."""
    scaler: Scaler
    season: Season
    head: ForecastConfig
    backbone: xLSTMConfig
    fit: FitConfig
    train: WindowDataset
    valid: WindowDataset | None
    notes: list[str] = field(default_factory=list)
    """What was decided on the user's behalf and may surprise."""

    def model(self, seed: int, members: list[str] | None = None) -> ForecastModel:
        """A new model; its weights follow from the seed, and the global random state is left alone."""
        head = self.head if members is None else replace(self.head, members=members)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return ForecastModel(head, self.backbone)

    def train_model(
        self,
        model: ForecastModel,
        seed: int,
        *,
        run_dir=None,
        resume: bool = False,
        console: Console | None = None,
        label: str = "training",
        after_epoch: Callable[[dict[str, Any]], bool] | None = None,
    ) -> "training.FitResult":
        """Fit `model` on the training windows, the best epoch chosen on the validation windows; see `training.fit`."""
        config = self.fit
        loader = training.BatchLoader(
            self.train,
            config.batch_size,
            seed=seed,
            shuffle=True,
            steps_per_epoch=config.steps_per_epoch,
            num_workers=config.num_workers,
        )
        valid = None
        if self.valid is not None:
            rows = max(1, VALIDATION_ROWS // len(self.table.channels))
            valid = training.BatchLoader(
                spread(self.valid, max(rows, 32)), max(1, rows // 4), num_workers=config.num_workers
            )
        module = forecasting.ForecastModule(model, max_rows=max(ROWS_PER_STEP, config.batch_size))
        return training.fit(
            module,
            loader,
            valid,
            config,
            seed=seed,
            run_dir=run_dir,
            resume=resume,
            console=console,
            label=label,
            after_epoch=after_epoch,
        )


def plan_forecast(
    table: SeriesTable,
    *,
    head: ForecastConfig,
    backbone: xLSTMConfig,
    fit: FitConfig,
    val_fraction: float,
    test_fraction: float,
) -> ForecastPlan:
    """Split the table, choose what was left open, cut the windows.

    Raises:
        ValueError: The table is too short for the horizon, or holds too few values; says what to change.
    """
    horizon, notes = head.prediction_length, []
    split = split_points(table, val_fraction, test_fraction, min_length=horizon)
    ends = np.array([train_end for train_end, _ in split], dtype=np.int64)
    scaler = Scaler.fit(table, ends)
    season = season_of(table, scaler, ends, horizon, head.season)
    usable = ends[ends > horizon]
    head = head.resolve(
        seasons=season.candidates, season=season.steps, train_length=int(np.median(usable)) if len(usable) else 1
    )
    train = WindowDataset(table, scaler, "train", split, head.context_length, horizon)
    valid = None
    if any(val_end - train_end >= horizon for train_end, val_end in split):
        valid = WindowDataset(table, scaler, "val", split, head.context_length, horizon)
    elif val_fraction > 0:
        notes.append("too few rows for a validation part: no early stopping, the last epoch is taken")
    channels = len(table.channels)
    batch = fit.batch_size or max(1, min(256, ROWS_PER_STEP // min(channels, 64), max(8, len(train) // 20)))
    steps = fit.steps_per_epoch or min(50, max(20, -(-len(train) // batch)))
    fit = replace(fit, batch_size=batch, steps_per_epoch=steps)
    if train.skipped["series"]:
        notes.append(f"{train.skipped['series']:,} series are too short to train on; they are still forecast")
    return ForecastPlan(
        table=table,
        split=split,
        scaler=scaler,
        season=season,
        head=head,
        backbone=backbone,
        fit=fit,
        train=train,
        valid=valid,
        notes=notes,
    )


def season_of(table: SeriesTable, scaler: Scaler, ends: np.ndarray, horizon: int, season: int | None) -> Season:
    """The season, chosen on scaled training values, so that no channel counts more than another."""
    lengths = table.lengths
    scaled = (table.values - np.repeat(scaler.mean, lengths, 0)) / np.repeat(scaler.std, lengths, 0)
    return choose_season(scaled, table.offsets, ends, table.freq, horizon, season)


def spread(dataset: WindowDataset, most: int) -> Dataset:
    """The data set, or `most` of its windows evenly spaced over it."""
    if len(dataset) <= most:
        return dataset
    return Subset(dataset, np.linspace(0, len(dataset) - 1, most).round().astype(int).tolist())
