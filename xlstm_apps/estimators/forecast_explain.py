"""Which columns and which past steps a forecast rests on, by occlusion: hide one thing, see what changes.

Hiding means what missing means to the model: observations are masked, numeric covariates take their mean (0), codes
become unknown (0). All changes are of the median forecast, in standard deviations of the training part, so that columns
of different units compare (Zeiler & Fergus 2014 occlude images in the same way).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset
from xlstm_apps.estimators.forecast_frames import ROWS_PER_BATCH
from xlstm_apps.forecasting import ForecastModel
from xlstm_apps.forecasting.model import last_steps
from xlstm_apps.thinning import evenly

Batch = dict[str, Tensor]
MOST_SEGMENTS = 14


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What hiding each part of the input does to the forecasts of held-out windows.

    `change` is the mean absolute change of the median forecast, `error` the mean absolute error with everything seen,
    `error_without` that with the part hidden; all in standard deviations of the training part.
    """

    variates: pl.DataFrame
    """`source, kind, target, change, error, error_without`: the source hidden over its whole past (known covariates
    over the horizon too). Sources that change a target nowhere are left out, but not a target's own past."""
    segments: pl.DataFrame
    """`from_step, to_step, change, error, error_without`: steps of the past, 1 = the last before the cutoff."""
    steps: pl.DataFrame
    """`from_step, to_step, step, change`: the same by step ahead."""
    windows: int
    """Held-out windows it was measured on."""

    def frames(self) -> dict[str, pl.DataFrame]:
        return {"variates": self.variates, "segments": self.segments, "steps": self.steps}

    def to_html(self, path: str | Path) -> Path:
        """Write a page with plots that opens without a network.

        Args:
            path: File to write.
        """
        from xlstm_apps.report import write_explanation

        return write_explanation(path, self.frames(), windows=self.windows)


def explain(
    model: ForecastModel,
    table: SeriesTable,
    scaler: Scaler,
    windows: WindowDataset,
    *,
    season: int,
    most_windows: int = 200,
    segment_length: int | None = None,
    console: Console | None = None,
) -> Explanation:
    """Hide every column, covariate and stretch of the past in turn.

    Args:
        model: The forecaster, on the device to compute on.
        table: What the windows were cut from.
        scaler: What they were scaled with.
        windows: Held-out windows with a context at least as long as the model's.
        season: Steps in one season, for segments of whole seasons.
        most_windows: Windows to measure on, evenly spaced over those given; fewer where there are many columns.
        segment_length: Steps hidden at a time; None: whole seasons or a fourteenth of the context.
        console: Where to show progress.

    Raises:
        ValueError: `segment_length` is longer than the context.
    """
    if most_windows < 1:
        raise ValueError(f"windows must be at least 1, not {most_windows}")
    context, channels = model.head.context_length, table.channels
    assert context is not None
    segments = cut(context, season, segment_length)
    # Every column is hidden once for every window: the work grows with the square of the columns.
    chosen = evenly(len(windows), min(most_windows, max(20, 40_000 // len(channels) ** 2))).tolist()
    sources = list(sources_of(table, scaler, windows.__getitems__(chosen[:1])))
    model = model.eval()
    by_source = np.zeros((len(sources), 3, len(channels)))  # change, error without, targets
    by_segment = np.zeros((len(segments), 3))
    by_step = np.zeros((len(segments), 2, model.head.prediction_length))
    whole = np.zeros((2, len(channels)))  # error, targets
    per_batch = max(1, ROWS_PER_BATCH // len(channels))
    begins: Any = range(0, len(chosen), per_batch)
    if console is not None and console.is_terminal:
        begins = track(begins, "hiding columns and steps", console=console, transient=True)
    with torch.inference_mode():
        for begin in begins:
            batch = prepared(windows.__getitems__(chosen[begin : begin + per_batch]), model)
            median = model(batch)[..., model.median]  # [B, H, C]
            target, seen = batch["target"].to(median), batch["target_mask"]
            error = torch.where(seen, (target - median).abs(), 0).double()
            whole += np.stack([error.sum((0, 1)).cpu().numpy(), seen.sum((0, 1)).cpu().numpy()])
            for i, (_, _, hide) in enumerate(sources):
                other = model(hide(batch))[..., model.median]
                without = torch.where(seen, (target - other).abs(), 0).double()
                change = (other - median).abs().double().sum((0, 1))
                by_source[i, :2] += torch.stack([change, without.sum((0, 1))]).cpu().numpy()
                by_source[i, 2] += len(median) * median.shape[1]
            for i, (first, last) in enumerate(segments):
                other = model(hide_steps(batch, context - last, context - first + 1))[..., model.median]
                change = (other - median).abs().double()
                without = torch.where(seen, (target - other).abs(), 0).double().sum()
                by_segment[i] += np.array([float(change.sum()), float(without), change.numel()])
                by_step[i, 0] += change.sum((0, 2)).cpu().numpy()
                by_step[i, 1] += change.shape[0] * change.shape[2]
    return Explanation(
        variates=variate_frame(sources, channels, by_source, whole),
        segments=segment_frame(segments, by_segment, whole),
        steps=pl.DataFrame(
            [
                {"from_step": first, "to_step": last, "step": h + 1, "change": float(c / n)}
                for (first, last), (changes, counts) in zip(segments, by_step, strict=True)
                for h, (c, n) in enumerate(zip(changes, counts, strict=True))
            ]
        ),
        windows=len(chosen),
    )


def cut(context: int, season: int, length: int | None) -> list[tuple[int, int]]:
    """Stretches of the past as (first, last) step before the cutoff, the nearest first."""
    if length is None:
        least = -(-context // MOST_SEGMENTS)
        # Whole seasons, or a whole fraction of one.
        divisors = [d for d in range(least, season + 1) if season % d == 0]
        length = min(divisors[0] if divisors else season * -(-least // season), context)
    if not 1 <= length <= context:
        raise ValueError(f"the segment must hold 1 to {context} steps, the context of the model, not {length}")
    return [(first, min(first + length - 1, context)) for first in range(1, context + 1, length)]


def sources_of(table: SeriesTable, scaler: Scaler, batch: Batch) -> Iterator[tuple[str, str, Any]]:
    """(name, kind, how to hide it) of every column the model reads."""
    for i, name in enumerate(table.channels):
        yield name, "past of a target", lambda batch, i=i: masked(batch, "context", [i])
    if scaler.covariates is None:
        return
    # The columns of one covariate (a category of the past has one per value) are hidden together.
    for key, names in scaler.covariates.names.items():
        if key not in batch:
            continue
        places: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            places.setdefault(name.partition("=")[0] if key == "past" else name, []).append(i)
        kind = f"{key.partition('_')[0]} covariate"
        for name, columns in places.items():
            yield name, kind, lambda batch, key=key, columns=columns: masked(batch, key, columns)


def masked(batch: Batch, key: str, columns: list[int]) -> Batch:
    """The batch without some columns of one of its tensors."""
    hidden = {}
    for name, nothing in ((key, 0), (f"{key}_mask", False)):
        if name in batch:
            place = torch.tensor(columns, device=batch[name].device)
            hidden[name] = batch[name].index_fill(-1, place, nothing)
    return {**batch, **hidden}


def hide_steps(batch: Batch, begin: int, end: int) -> Batch:
    """The batch without rows [begin, end) of everything observed in the context."""
    hidden = {}
    for key in ("context", "past"):
        if key in batch:
            for name in (key, f"{key}_mask"):
                hidden[name] = batch[name].clone()
                hidden[name][:, begin:end] = 0
    return {**batch, **hidden}


def prepared(batch: Batch, model: ForecastModel) -> Batch:
    """A batch of windows as the model takes it: on its device, the context as long as its own."""
    device = next(model.parameters()).device
    batch = last_steps(batch, model.head.context_length, model.head.prediction_length)
    return {name: x.to(device) for name, x in batch.items()}


def variate_frame(
    sources: Sequence[tuple[str, str, Any]], channels: list[str], sums: np.ndarray, whole: np.ndarray
) -> pl.DataFrame:
    error = divided(*whole)
    rows = [
        {
            "source": name,
            "kind": kind,
            "target": target,
            "change": change[t] / max(count[t], 1),
            "error": error[t],
            "error_without": float(without[t] / whole[1, t]) if whole[1, t] else None,
        }
        for (name, kind, _), (change, without, count) in zip(sources, sums, strict=True)
        for t, target in enumerate(channels)
        if change[t] > 0 or (kind == "past of a target" and name == target)
    ]
    return pl.DataFrame(rows).sort("change", descending=True, maintain_order=True)


def segment_frame(segments: list[tuple[int, int]], sums: np.ndarray, whole: np.ndarray) -> pl.DataFrame:
    error, targets = whole.sum(1)
    return pl.DataFrame(
        [
            {
                "from_step": first,
                "to_step": last,
                "change": change / count,
                "error": error / targets,
                "error_without": without / targets,
            }
            for (first, last), (change, without, count) in zip(segments, sums, strict=True)
        ]
    )


def divided(total: np.ndarray, count: np.ndarray) -> list[float | None]:
    return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]
