"""Forecasts from several cutoffs at the end of a table, by one model or by one trained anew as time goes on."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

from xlstm_apps.datasets import SeriesTable, WindowDataset
from xlstm_apps.estimators.forecast_calibration import calibrator_for
from xlstm_apps.estimators.forecast_frames import window_frames
from xlstm_apps.estimators.forecast_plan import ForecastPlan
from xlstm_apps.forecasting import ForecastModel


def first_cutoffs(
    table: SeriesTable, horizon: int, n_windows: int, step: int, tested: np.ndarray | None = None
) -> np.ndarray:
    """The earliest cutoff in every series: of `n_windows`, `step` apart, the last of which leaves just one horizon; of
    as many of them as fit into a shorter series.

    Args:
        table: All series.
        horizon: Steps ahead.
        n_windows: Number of cutoffs.
        step: Rows between them.
        tested: First row of each series that the model has not learned from; None: it learns from none of them.

    Returns:
        int64 [S]; the length of the series where none fits.

    Raises:
        ValueError: They fit into no series.
    """
    if n_windows < 1 or step < 1:
        raise ValueError(f"n_windows {n_windows} and step_size {step} must be at least 1")
    last = table.lengths - horizon
    room = np.maximum((last - (1 if tested is None else np.maximum(tested, 1))) // step + 1, 0)
    if n_windows > room.max():
        if tested is not None:
            raise ValueError(
                f"{n_windows} windows {step} steps apart reach into the part the model was trained on; at most "
                f"{room.max()} fit into the test part (or lower step_size, refit, or train with a larger "
                "data.test_fraction)"
            )
        raise ValueError(
            f"no series is long enough for {n_windows} windows of {horizon} steps, {step} apart: the longest has "
            f"{int(table.lengths.max())} rows; lower n_windows or step_size"
        )
    count = np.minimum(room, n_windows)
    return np.where(count > 0, last - (count - 1) * step, table.lengths)


def fewer_windows(table: SeriesTable, first: np.ndarray, horizon: int, n_windows: int, step: int) -> list[str]:
    """Says how many series have fewer windows than were asked for, from `first_cutoffs`; nothing where none has."""
    count = np.maximum((table.lengths - horizon - first) // step + 1, 0)
    fewer, none = int(((count > 0) & (count < n_windows)).sum()), int((count == 0).sum())
    lines = [f"{fewer:,} of {len(table):,} series have room for fewer than {n_windows} windows"] if fewer else []
    return lines + ([f"{none:,} of {len(table):,} series have room for none: they are left out"] if none else [])


def refit_frames(
    table: SeriesTable,
    first: np.ndarray,
    *,
    horizon: int,
    n_windows: int,
    step: int,
    every: int,
    train: Callable[[SeriesTable], tuple[ForecastPlan, ForecastModel]],
    calibrated: bool = True,
    quantiles: Sequence[float] | None = None,
    level: Sequence[float] | None = None,
) -> Iterator[pl.DataFrame]:
    """Train on what came before a cutoff, forecast from it and from the next ones, and again for every `every` cutoffs.

    Args:
        table: All series.
        first: From `first_cutoffs`.
        horizon: Steps ahead.
        n_windows: Number of cutoffs.
        step: Rows between them.
        every: Cutoffs per training.
        train: Trains on a table; nothing of it is a test.
        calibrated: Whether intervals are calibrated on what was held out and known at each cutoff.
        quantiles: As in `window_frames`.
        level: As in `window_frames`.
    """
    for begin in range(0, n_windows, every):
        count = min(every, n_windows - begin)
        now = table.lengths - horizon - (n_windows - 1 - begin) * step
        last = now + (count - 1) * step
        short = first > last  # it joins with a later training
        known = np.maximum(now, 1)
        plan, model = train(table.until(known.tolist()))
        seen = table.until(np.where(short, known, last + horizon).tolist())
        cutoff = np.where(short, known, np.maximum(now, first))
        calibrator = calibrator_for(model, seen, plan.scaler, plan.split) if calibrated else None
        windows = WindowDataset.after(seen, plan.scaler, cutoff, model.head.context_length, horizon, step)
        yield from window_frames(model, seen, windows, calibrator=calibrator, quantiles=quantiles, level=level)


def by_series(frames: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """All of them in one frame: series in the order in which they come, in each the cutoffs in order."""
    frame = pl.concat(frames)
    place = {name: i for i, name in enumerate(frame["unique_id"].unique(maintain_order=True).to_list())}
    order = pl.col("unique_id").replace_strict(place, return_dtype=pl.Int64)
    return frame.sort(order, "cutoff", maintain_order=True)


def refit_interval(refit: bool | int, n_windows: int) -> int:
    """Cutoffs per training.

    Raises:
        ValueError: A negative number.
    """
    if refit is True:
        return 1
    if refit < 0:
        raise ValueError(f"refit is true, false, or the number of cutoffs between two trainings, not {refit}")
    return int(refit) or max(n_windows, 1)
