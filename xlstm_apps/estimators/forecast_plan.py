"""A table and the settings brought together: everything that can be wrong is found here, before anything is trained."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from torch.utils.data import Dataset, Subset

# Lightning takes seconds to import: what needs it is reached through these lazy packages, so predicting starts fast.
from xlstm_apps import forecasting, training
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset, split_points
from xlstm_apps.estimators.forecast_context import candidates, choose_context
from xlstm_apps.estimators.forecast_floor import floors
from xlstm_apps.estimators.forecast_frames import device_for
from xlstm_apps.estimators.forecast_ridge import solve_ridge
from xlstm_apps.estimators.forecast_weights import weigh
from xlstm_apps.forecasting import (
    BACKBONE,
    PRESETS,
    CovariateSizes,
    ForecastConfig,
    ForecastModel,
    Season,
    choose_season,
    with_preset,
)
from xlstm_apps.forecasting.config import Model
from xlstm_apps.thinning import evenly
from xlstm_apps.training import FitConfig


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of the data training looks at, by device; rows are windows times channels, what a step costs."""

    rows_per_step: int
    """Aimed at by the batch size."""
    least_windows: int
    """Windows per step, however many channels."""
    most_rows: int
    """Per step; beyond, each step takes a random choice of channels."""
    most_steps: int
    """Between two validations."""
    validation_rows: int


BUDGETS = {
    "cpu": Budget(rows_per_step=256, least_windows=4, most_rows=256, most_steps=50, validation_rows=4096),
    "cuda": Budget(rows_per_step=512, least_windows=32, most_rows=4096, most_steps=250, validation_rows=65536),
}


def budget_for(device: torch.device) -> Budget:
    """That of the device, other accelerators as a CPU."""
    return BUDGETS.get(device.type, BUDGETS["cpu"])


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
    device: torch.device
    train: WindowDataset
    valid: WindowDataset | None
    ridge: torch.Tensor | None = None
    """Weights of the member `ridge`; None: there is none."""
    notes: list[str] = field(default_factory=list)
    """What was decided on the user's behalf and may surprise."""

    @property
    def budget(self) -> Budget:
        return budget_for(self.device)

    @property
    def covariates(self) -> CovariateSizes | None:
        """Sizes of the table's covariates; None where it has none."""
        found = self.scaler.covariates
        return None if found is None else CovariateSizes(channels=len(self.table.channels), **found.sizes)

    def model(self, seed: int, name: Model | None = None) -> ForecastModel:
        """A new model; its weights follow from the seed, and the global random state is left alone.

        Args:
            seed: Seed of the weights.
            name: Another model than the plan's, with its own members and backbone, for the same windows.
        """
        head, backbone = self.head, self.backbone
        if name is not None:
            head, backbone, _ = with_preset(replace(head, model=name, members=None, dropout=None), BACKBONE)
        with training.seeded(seed):
            model = ForecastModel(head, backbone, self.covariates)
        if "ridge" in model.members and self.ridge is not None:
            model.members["ridge"].weights.copy_(self.ridge)
        return model

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
        """Fit `model` on the training windows, the best epochs chosen on the validation windows; see `training.fit`."""
        config = self.fit
        if model.head.model != self.head.model:
            config = replace(config, learning_rate=PRESETS[model.head.model].learning_rate)
        loader = training.BatchLoader.shuffled(self.train, config, seed)
        held = valid = None
        if self.valid is not None:
            rows = max(1, self.budget.validation_rows // len(self.table.channels))
            held = spread(self.valid, max(rows, 32))
            valid = training.BatchLoader(held, max(1, rows // 4), num_workers=config.num_workers)
        module = forecasting.ForecastModule(model, max_rows=max(self.budget.most_rows, config.batch_size))
        result = training.fit(
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
        model.load_state_dict(module.result.state_dict())
        if held is not None and len(model.members) > 1:
            weigh(model.to(self.device), held, self.split)
        return result


def plan_forecast(
    table: SeriesTable,
    *,
    head: ForecastConfig,
    backbone: xLSTMConfig,
    fit: FitConfig,
    val_fraction: float,
    test_fraction: float,
    split_rows: Sequence[int] | None = None,
    start: Scaler | None = None,
    given: Collection[str] = (),
) -> ForecastPlan:
    """Split the table, choose what was left open, cut the windows.

    Args:
        table: All series.
        head: What to forecast.
        backbone: Fields left at `BACKBONE`'s values are those of the head's model.
        fit: How to train.
        val_fraction: Share of each series for validation.
        test_fraction: Share of each series, its end, for the test.
        split_rows: Training, validation and test rows of each series in place of the fractions.
        start: Scaler of a trained model to go on from: covariates keep its scales and codes, which its weights know;
            targets are scaled anew.
        given: Fields of the backbone that the user is known to have set, even to `BACKBONE`'s values.

    Raises:
        ValueError: The table is too short for the horizon, or holds too few values; says what to change.
    """
    head, backbone, rate = with_preset(head, backbone, given)
    horizon = head.prediction_length
    device = device_for(fit.accelerator)
    split = split_points(table, val_fraction, test_fraction, min_length=horizon, rows=split_rows)
    ends = np.array([train_end for train_end, _ in split], dtype=np.int64)
    scaler = Scaler.fit(table, ends)
    if start is not None:
        scaler = replace(scaler, covariates=start.for_table(table).covariates)
    floor, told = floors(table, [val_end for _, val_end in split], head.minimum)
    scaler, notes = replace(scaler, floor=floor), told
    season = season_of(table, scaler, ends, horizon, head.season)
    usable = ends[ends > horizon]
    train_length = int(np.median(usable)) if len(usable) else 1
    channels = len(table.channels)
    lengths = [head.context_length] if head.context_length else None
    if lengths is None:
        rows = int(usable.sum()) * channels
        lengths = candidates(season.steps, season.candidates, horizon, train_length, rows)

    def windows(part: Literal["train", "val"], context: int) -> WindowDataset:
        cut = WindowDataset(table, scaler, part, split, context, horizon)
        return cut.to(device) if device.type == "cuda" else cut

    train, valid = windows("train", lengths[-1]), None
    if any(val_end - train_end >= horizon for train_end, val_end in split):
        valid = windows("val", lengths[-1])
    elif val_fraction > 0:
        notes.append("too few rows for a validation part: no early stopping, the last epoch is taken")
    context = lengths[-1]
    if len(lengths) > 1:
        # Without a validation part the guess is two seasons, or the horizon where it is longer.
        guess = max((n for n in lengths if n <= max(2 * season.steps, horizon)), default=lengths[0])
        context = guess if valid is None else choose_context(train, valid, lengths)
        if context != lengths[-1]:
            train, valid = windows("train", context), None if valid is None else windows("val", context)
    head, ridge = head.resolve(context_length=context, season=season.steps), None
    if "ridge" in head.members:
        ridge = solve_ridge(train, valid, head.ridge_channels)
        head = replace(head, ridge_channels=len(ridge))
    budget = budget_for(device)
    batch = max(budget.least_windows, budget.rows_per_step // channels)
    batch = fit.batch_size or max(1, min(256, batch, max(8, len(train) // 20)))
    steps = fit.steps_per_epoch or min(budget.most_steps, max(20, -(-len(train) // batch)))
    fit = replace(fit, batch_size=batch, steps_per_epoch=steps, learning_rate=fit.learning_rate or rate)
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
        device=device,
        train=train,
        valid=valid,
        ridge=ridge,
        notes=notes,
    )


def season_of(table: SeriesTable, scaler: Scaler, ends: np.ndarray, horizon: int, season: int | None) -> Season:
    """The season, chosen on scaled training values, so that no channel counts more than another."""
    lengths = table.lengths
    scaled = (table.values - np.repeat(scaler.mean, lengths, 0)) / np.repeat(scaler.std, lengths, 0)
    return choose_season(scaled, table.offsets, ends, table.freq, horizon, season)


def spread(dataset: WindowDataset, most: int) -> Dataset:
    """The data set, or `most` of its windows evenly spaced over it."""
    return dataset if len(dataset) <= most else Subset(dataset, evenly(len(dataset), most).tolist())
