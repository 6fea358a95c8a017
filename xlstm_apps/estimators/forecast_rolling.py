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
    """The earliest of `n_windows` cutoffs in every series, `step` apart, the last of which leaves just one horizon.

    Args:
        table: All series.
        horizon: Steps ahead.
        n_windows: Number of cutoffs.
        step: Rows between them.
        tested: First row of each series that the model has not learned from; None: it learns from none of them.

    Returns:
        int64 [S]; the length of the series where it is left out, being too short.

    Raises:
        ValueError: A cutoff lies before `tested`, or no series is long enough.
    """
    if n_windows < 1 or step < 1:
        raise ValueError(f"n_windows {n_windows} and step_size {step} must be at least 1")
    first = table.lengths - horizon - (n_windows - 1) * step
    if tested is not None:
        has_test = table.lengths - tested >= horizon
        room = ((table.lengths - horizon - tested)[has_test] // step + 1).min() if has_test.any() else 0
        if n_windows > room:
            raise ValueError(
                f"{n_windows} windows {step} steps apart reach into the part the model was trained on; at most {room} "
                "fit into the test part (or lower step_size, refit, or train with a larger data.test_fraction)"
            )
        first = np.where(has_test, first, table.lengths)
    if (first < 1).all():
        raise ValueError(
            f"no series is long enough for {n_windows} windows of {horizon} steps, {step} apart: the longest has "
            f"{int(table.lengths.max())} rows; lower n_windows or step_size"
        )
    return np.where(first < 1, table.lengths, first)


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
    short = first >= table.lengths
    for begin in range(0, n_windows, every):
        count = min(every, n_windows - begin)
        # A series too short to be cut is left out of training and scoring alike.
        cutoff = np.where(short, 1, first + begin * step)
        plan, model = train(table.until(cutoff.tolist()))
        seen = table.until(np.where(short, 1, cutoff + (count - 1) * step + horizon).tolist())
        calibrator = calibrator_for(model, seen, plan.scaler, plan.split) if calibrated else None
        windows = WindowDataset(
            seen,
            plan.scaler,
            "test",
            [(int(x), int(x)) for x in cutoff],
            model.head.context_length,
            horizon,
            step,
        )
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
