"""Forecasts as frames: beyond the end of a table, and at cutoffs within it. Everything runs in batches."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset, last_windows
from xlstm_apps.forecasting import ForecastModel

ROWS_PER_BATCH = 2048  # windows times channels


def device_for(accelerator: str) -> torch.device:
    """The device of a `fit.accelerator` setting."""
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)


def predict_frames(
    model: ForecastModel, table: SeriesTable, scaler: Scaler | None = None, device: str | torch.device = "cpu"
) -> Iterator[pl.DataFrame]:
    """The forecast beyond the end of every series, some series at a time.

    Args:
        model: The forecaster.
        table: History; as much of its end as the model can see is used.
        scaler: Statistics of the history; None: of all rows of the table, which are all known.
        device: Where to compute.

    Yields:
        Frames with `unique_id`, `ds` and one column per quantile.
    """
    scaler = scaler or Scaler.fit(table, table.lengths)
    model = model.to(device).eval()
    horizon, per_batch = model.head.prediction_length, max(1, ROWS_PER_BATCH // len(table.channels))
    names = table.unique_ids()
    for begin in range(0, len(table), per_batch):
        series = range(begin, min(begin + per_batch, len(table)))
        batch = last_windows(table, scaler, model.head.context_length, series=list(series), device=device)
        quantiles = forecast(model, batch).transpose(1, 2).flatten(0, 2).cpu().numpy()  # series, channel, step in order
        future = np.concatenate([table.future_timestamps(i, horizon) for i in series]).reshape(len(series), 1, horizon)
        stamps = np.broadcast_to(future, (len(series), len(table.channels), horizon)).ravel()
        ids = np.repeat(np.array([name for i in series for name in names[i]], dtype=object), horizon)
        yield _frame(model, ids, table.ds(stamps), quantiles)


def window_frames(
    model: ForecastModel, table: SeriesTable, windows: WindowDataset, indices: Sequence[int] | None = None
) -> Iterator[pl.DataFrame]:
    """The forecasts at the cutoffs of `windows`, beside the truth.

    Yields:
        Frames with `unique_id`, `ds`, `cutoff` (the last stamp that was known), `y` and one column per quantile.
    """
    model = model.eval()
    horizon, channels = model.head.prediction_length, len(table.channels)
    names = np.array(table.unique_ids(), dtype=object)
    chosen = range(len(windows)) if indices is None else indices
    per_batch = max(1, ROWS_PER_BATCH // channels)
    for begin in range(0, len(chosen), per_batch):
        batch = windows.__getitems__(list(chosen[begin : begin + per_batch]))
        quantiles = forecast(model, batch).transpose(1, 2).flatten(0, 2).cpu().numpy()
        series, cutoff = batch["series"].cpu().numpy(), batch["cutoff"].cpu().numpy()
        first = table.offsets[series] + cutoff
        rows = first[:, None] + np.arange(horizon)  # [B, H]
        repeated = np.broadcast_to(rows[:, None], (len(rows), channels, horizon)).ravel()
        truth = table.values[rows].transpose(0, 2, 1).ravel()
        ids = np.repeat(names[series].ravel(), horizon)
        known = table.timestamps[np.repeat(first - 1, channels * horizon)]
        extra = [table.ds(known).alias("cutoff"), pl.Series("y", truth).fill_nan(None)]
        yield _frame(model, ids, table.ds(table.timestamps[repeated]), quantiles, extra)


def forecast(model: ForecastModel, batch: dict[str, Tensor]) -> Tensor:
    """Quantiles of a batch of windows in the data's own units, [B, H, C, Q]."""
    with torch.inference_mode():
        device = next(model.parameters()).device
        length = model.head.context_length
        batch = {name: batch[name].to(device) for name in ("context", "context_mask", "mean", "std")}
        scaled = model(batch["context"][:, -length:], batch["context_mask"][:, -length:])
        return unscale(scaled, batch)


def unscale(scaled: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """[B, H, C, Q] from the scaler's units to the data's."""
    return scaled * batch["std"][:, None, :, None].to(scaled) + batch["mean"][:, None, :, None].to(scaled)


def _frame(
    model: ForecastModel, ids: np.ndarray, ds: pl.Series, quantiles: np.ndarray, extra: Sequence[pl.Series] = ()
) -> pl.DataFrame:
    columns = [
        pl.Series(str(level), quantiles[:, model.levels.index(level)].astype(np.float64))
        for level in sorted(model.head.quantiles)
    ]
    return pl.DataFrame([pl.Series("unique_id", ids.tolist(), dtype=pl.String), ds, *extra, *columns])
