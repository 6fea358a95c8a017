"""Forecasts as frames: beyond the end of a table, and at cutoffs within it. Everything runs in batches."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor

from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset, last_windows
from xlstm_apps.estimators.forecast_floor import without_passed
from xlstm_apps.forecasting import Calibration, ForecastModel
from xlstm_apps.forecasting.model import last_steps

if TYPE_CHECKING:
    from xlstm_apps.estimators.forecast_calibration import Calibrator

ROWS_PER_BATCH = 2048  # windows times channels
PATH_ROWS = 1 << 20  # rows of a frame of sample paths
NAME = "xLSTM"
"""Of the model in columns of the `level` style."""


def device_for(accelerator: str) -> torch.device:
    """The device of a `fit.accelerator` setting."""
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)


def predict_frames(
    model: ForecastModel,
    table: SeriesTable,
    scaler: Scaler | None = None,
    device: str | torch.device = "cpu",
    *,
    calibration: Calibration | None = None,
    quantiles: Sequence[float] | None = None,
    level: Sequence[float] | None = None,
) -> Iterator[pl.DataFrame]:
    """The forecast beyond the end of every series, some series at a time.

    Args:
        model: The forecaster.
        table: History, with the covariates of the future where the model wants them; as much of its end as the model
            can see is used.
        scaler: Statistics of the history; None: of all rows of the table, which are all known.
        device: Where to compute.
        calibration: What to widen or narrow the model's quantiles by; None: they stay as they are.
        quantiles: Levels, one column each; None: the model's.
        level: Instead: central intervals in percent, `[80, 95]`.

    Yields:
        Frames with `unique_id`, `ds` and a column per quantile: `"0.1"`, or with `level` `xLSTM`, `xLSTM-lo-80` ...;
        null for a series of which nothing was observed.

    Raises:
        ValueError: Levels that cannot be had, or both `quantiles` and `level`.
    """
    columns = quantile_columns(model, quantiles, level, calibrated=calibration is not None)
    for batch, ids, ds in _future(model, table, scaler, device):
        scaled = _at_levels(model, batch, calibration, list(columns.values()), table)
        yield _frame(ids, ds, columns, unscale_forecast(scaled, batch))


def sample_frames(
    model: ForecastModel,
    table: SeriesTable,
    scaler: Scaler | None = None,
    device: str | torch.device = "cpu",
    *,
    calibration: Calibration | None,
    samples: int,
    seed: int = 0,
) -> Iterator[pl.DataFrame]:
    """Possible futures beyond the end of every series, whose steps hang together as those of past errors did.

    Yields:
        Frames with `unique_id`, `ds`, `sample` (from 0) and `y_hat`.

    Raises:
        ValueError: There is no calibration, or no sample is asked for.
    """
    if calibration is None:
        raise ValueError("sample paths need held-out errors: train with a validation part (val_fraction above 0)")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    calibration = calibration.to(device)
    rows = max(1, PATH_ROWS // (samples * model.head.prediction_length * len(table.channels)))
    for number, (batch, ids, ds) in enumerate(_future(model, table, scaler, device, most=rows)):
        series = _rows_of(calibration, table, batch)
        paths = calibration.sample_paths(scaled_forecast(model, batch), samples, seed + number, series)  # [B, n, H, C]
        paths = unscale_forecast(paths.movedim(1, -1), batch)  # [B, H, C, n]
        values = paths.transpose(1, 2).flatten(0, 2).cpu().numpy()
        order = pl.Series("sample", np.repeat(np.arange(samples), len(ids)))
        columns = [pl.Series("unique_id", ids.tolist(), dtype=pl.String), ds]
        yield pl.concat([pl.DataFrame(columns)] * samples).with_columns(
            order, pl.Series("y_hat", values.T.ravel().astype(np.float64)).fill_nan(None)
        )


def window_frames(
    model: ForecastModel,
    table: SeriesTable,
    windows: WindowDataset,
    indices: Sequence[int] | None = None,
    *,
    calibrator: "Calibrator | None" = None,
    quantiles: Sequence[float] | None = None,
    level: Sequence[float] | None = None,
) -> Iterator[pl.DataFrame]:
    """The forecasts at the cutoffs of `windows`, beside the truth.

    Args:
        model: The forecaster.
        table: All series.
        windows: Cutoffs.
        indices: Which of them; None: all.
        calibrator: Knows which errors were known at each cutoff; None: the model's own quantiles.
        quantiles: As in `predict_frames`.
        level: As in `predict_frames`.

    Yields:
        Frames with `unique_id`, `ds`, `cutoff` (the last stamp that was known), `y` and a column per quantile; with
        `level` the truth comes last.
    """
    model = model.eval()
    columns = quantile_columns(model, quantiles, level, calibrated=calibrator is not None)
    horizon, channels = model.head.prediction_length, len(table.channels)
    names = np.array(table.unique_ids(), dtype=object)
    chosen = range(len(windows)) if indices is None else indices
    per_batch = max(1, ROWS_PER_BATCH // channels)
    for begin in range(0, len(chosen), per_batch):
        batch = windows.__getitems__(list(chosen[begin : begin + per_batch]))
        scaled = _at_levels(model, batch, calibrator, list(columns.values()), table)
        series, cutoff = batch["series"].cpu().numpy(), batch["cutoff"].cpu().numpy()
        first = table.offsets[series] + cutoff
        rows = first[:, None] + np.arange(horizon)  # [B, H]
        repeated = np.broadcast_to(rows[:, None], (len(rows), channels, horizon)).ravel()
        truth = pl.Series("y", table.values[rows].transpose(0, 2, 1).ravel()).fill_nan(None)
        ids = np.repeat(names[series].ravel(), horizon)
        known = table.timestamps[np.repeat(first - 1, channels * horizon)]
        ds, cutoffs = table.ds(table.timestamps[repeated]), table.ds(known).alias("cutoff")
        frame = _frame(ids, ds, columns, unscale_forecast(scaled, batch))
        before = ["unique_id", "ds", "cutoff"] + (["y"] if level is None else [])
        after = [] if level is None else ["y"]
        yield frame.with_columns(cutoffs, truth).select(*before, *columns, *after)


def quantile_columns(
    model: ForecastModel, quantiles: Sequence[float] | None, level: Sequence[float] | None, *, calibrated: bool
) -> dict[str, float]:
    """Name and quantile level of every column asked for.

    Raises:
        ValueError: Both kinds at once, a level out of range, or one that the model does not know and nothing can give.
    """
    if quantiles is not None and level is not None:
        raise ValueError("give quantiles or level, not both")
    if level is not None:
        ordered = sorted({float(x) for x in level})
        if not ordered or ordered[0] <= 0 or ordered[-1] >= 100:
            raise ValueError(f"level holds percentages between 0 and 100, such as [80, 95], not {list(level)}")
        columns = {NAME: 0.5}
        columns |= {f"{NAME}-lo-{x:g}": round(0.5 - x / 200, 10) for x in reversed(ordered)}
        columns |= {f"{NAME}-hi-{x:g}": round(0.5 + x / 200, 10) for x in ordered}
    else:
        wanted = sorted({float(q) for q in (model.head.quantiles if quantiles is None else quantiles)})
        if not wanted or wanted[0] <= 0 or wanted[-1] >= 1:
            raise ValueError(f"quantiles must lie between 0 and 1, not {list(quantiles or [])}")
        columns = {f"{q:g}": q for q in wanted}
    unknown = sorted({q for q in columns.values() if q not in model.levels})
    if unknown and not calibrated:
        raise ValueError(
            f"this forecaster knows the quantiles {model.levels} and has no held-out errors to get {unknown} from: "
            "train with a validation part (val_fraction above 0), or ask for those it knows"
        )
    return columns


def scaled_forecast(model: ForecastModel, batch: dict[str, Tensor]) -> Tensor:
    """Quantiles of a batch of windows in the scaler's units, [B, H, C, Q], on the model's device."""
    with torch.inference_mode():
        device = next(model.parameters()).device
        batch = {name: x.to(device) for name, x in batch.items()}
        return model(last_steps(batch, model.head.context_length, model.head.prediction_length))


def unscale(scaled: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """[B, H, C, Q] from the scaler's units to the data's."""
    return scaled * batch["std"][:, None, :, None].to(scaled) + batch["mean"][:, None, :, None].to(scaled)


def unscale_forecast(scaled: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The same for what is forecast: nothing below the floor."""
    return torch.maximum(unscale(scaled, batch), batch["floor"][:, None, :, None].to(scaled))


def _future(
    model: ForecastModel,
    table: SeriesTable,
    scaler: Scaler | None,
    device: str | torch.device,
    most: int = ROWS_PER_BATCH,
) -> Iterator[tuple[dict[str, Tensor], np.ndarray, pl.Series]]:
    """Windows at the end of the series, the name of every row to be forecast, and its stamp."""
    scaler = scaler or Scaler.fit(table, table.lengths)
    model.to(device).eval()
    horizon, channels = model.head.prediction_length, len(table.channels)
    per_batch = max(1, min(most, ROWS_PER_BATCH // channels))
    names = table.unique_ids()
    for begin in range(0, len(table), per_batch):
        series = range(begin, min(begin + per_batch, len(table)))
        batch = last_windows(table, scaler, model.head.context_length, horizon, series=list(series), device=device)
        if model.head.minimum == "auto":
            batch["floor"] = without_passed(batch["floor"], batch)
        batch["mean"] = torch.where(_observed(table, series).to(device), batch["mean"], torch.nan)
        future = np.concatenate([table.future_timestamps(i, horizon) for i in series]).reshape(len(series), 1, horizon)
        stamps = np.broadcast_to(future, (len(series), channels, horizon)).ravel()
        ids = np.repeat(np.array([name for i in series for name in names[i]], dtype=object), horizon)
        yield batch, ids, table.ds(stamps)


def _observed(table: SeriesTable, series: range) -> Tensor:
    """Whether anything is known of each series and channel: bool [B, C]. Of nothing there is no forecast."""
    begin, end = table.offsets[series.start], table.offsets[series.stop]
    seen = ~np.isnan(table.values[begin:end])
    return torch.from_numpy(np.logical_or.reduceat(seen, table.offsets[series.start : series.stop] - begin))


def _at_levels(
    model: ForecastModel,
    batch: dict[str, Tensor],
    known: "Calibration | Calibrator | None",
    levels: list[float],
    table: SeriesTable,
) -> Tensor:
    """[B, H, C, len(levels)], scaled."""
    scaled = scaled_forecast(model, batch)
    if known is None:
        return scaled[..., [model.levels.index(q) for q in levels]]
    with torch.inference_mode():
        if isinstance(known, Calibration):
            known = known.to(scaled.device)
            return known.quantiles(scaled, levels, _rows_of(known, table, batch))
        return known.quantiles(batch, scaled, levels)


def _rows_of(calibration: Calibration, table: SeriesTable, batch: dict[str, Tensor]) -> Tensor | None:
    if calibration.item_ids is None:
        return None
    ids = [table.item_ids[i] for i in batch["series"].tolist()] if table.item_ids is not None else None
    return torch.tensor(calibration.rows_for(ids), device=batch["series"].device).expand(len(batch["series"]))


def _frame(ids: np.ndarray, ds: pl.Series, columns: dict[str, float], quantiles: Tensor) -> pl.DataFrame:
    """Rows in the order series, channel, step; quantiles [B, H, C, Q] in the data's units."""
    values = quantiles.transpose(1, 2).flatten(0, 2).double().cpu().numpy()
    numbers = [pl.Series(name, values[:, i]).fill_nan(None) for i, name in enumerate(columns)]
    return pl.DataFrame([pl.Series("unique_id", ids.tolist(), dtype=pl.String), ds, *numbers])
