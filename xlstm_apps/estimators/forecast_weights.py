"""Weighs the members of a trained forecaster by their forecasts of the validation part.

An error counts in deviations of its series and column: by their size a handful of large series would decide for all,
and on M4 they are wrong even for themselves (docs/decisions/0005-forecast-ensemble.md).
"""

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from xlstm_apps.estimators.forecast_frames import ROWS_PER_BATCH
from xlstm_apps.forecasting import ForecastModel
from xlstm_apps.forecasting.weights import Held, member_weights

MOST_NUMBERS, LEAST_WINDOWS = 1 << 21, 64
"""Forecast numbers per member that are held at a time; windows that are looked at however large they are."""


def weigh(model: ForecastModel, windows: Dataset, split: Sequence[tuple[int, int]]) -> None:
    """Set the model's weights.

    Args:
        model: Its members are trained; it is given back in the mode it came in.
        windows: Windows of the validation part.
        split: (train_end, val_end) of every series, in rows.
    """
    training, device = model.training, next(model.parameters()).device
    begin = torch.tensor([train_end for train_end, _ in split])
    numbers = windows[0]["target"].numel()
    count = min(len(windows), max(LEAST_WINDOWS, MOST_NUMBERS // numbers))
    indices = torch.linspace(0, len(windows) - 1, count).round().long()
    pieces = []
    for some in indices.split(max(1, ROWS_PER_BATCH // windows[0]["target"].shape[-1])):
        batch = {name: x.to(device) for name, x in windows.__getitems__(some.tolist()).items()}
        with torch.no_grad():
            medians = [y[..., model.median].cpu() for y in model.eval().forward_members(batch)]
        series, cutoff, target, known = (batch[name].cpu() for name in ("series", "cutoff", "target", "target_mask"))
        block = (cutoff - begin[series]) // model.head.prediction_length
        pieces.append((torch.stack(medians, 1), target, known, block))
    forecasts, target, known, block = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    held = Held(forecasts.transpose(0, 1), target, known, block)
    weights = member_weights(held, list(model.members), independent_windows(split, model.head.prediction_length))
    model.weights.copy_(weights)
    model.train(training)


def independent_windows(split: Sequence[tuple[int, int]], horizon: int) -> float:
    """Windows of the validation part that share no target, in all series."""
    return sum(val_end - train_end for train_end, val_end in split) / horizon
