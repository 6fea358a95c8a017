"""How much of the past a forecaster should see: tried out on the validation part with a linear forecaster.

Shapes: R rows (windows times channels), L context, H horizon steps looked at.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.datasets import WindowDataset
from xlstm_apps.estimators.forecast_ridge import Sums, differences
from xlstm_apps.thinning import evenly

LENGTHS = (24, 48, 96, 168, 336, 512, 720)
ROWS = 16384
CHANNELS = 64
STEPS = 32
RIDGE = 1.0
# Within this share of the best, the longer past is taken: the forecasters that are then trained make more of it ...
TIE = 0.005
# ... unless the past tells next to nothing, as on a random walk, where a short one misleads least.
GAIN, SHORT = 0.02, 24


def candidates(season: int, seasons: list[int], horizon: int, train_length: int, rows: int) -> list[int]:
    """Lengths worth trying, ascending.

    Args:
        season: Steps in one season.
        seasons: Usual seasons of the frequency.
        horizon: Steps to forecast.
        train_length: Rows of a typical training part.
        rows: Training rows times channels: what the weights of a longer past are learned from.
    """
    usual = {2 * s for s in (season, *seasons)} | {season + 1, 3 * season, 2 * horizon, *LENGTHS}
    most = min(max(LENGTHS), train_length // 2, train_length - horizon, rows // 8)
    most = max(most, min(season + 1, train_length - horizon), 1)
    least = min(season + 1, 8, most)
    return sorted({length for length in usual if least <= length <= most}) or [most]


def choose_context(train: WindowDataset, valid: WindowDataset, lengths: list[int]) -> int:
    """The one of `lengths` whose linear forecaster is best on `valid`, of equally good ones the longest; a short one
    where none gains much over it.

    Args:
        train: Training windows with a context as long as the longest of `lengths`.
        valid: Validation windows, likewise.
        lengths: Ascending.
    """
    fitting, held_out = _rows(train), _rows(valid)
    errors = [_error(fitting, held_out, length) for length in lengths]
    short = next((i for i, n in enumerate(lengths) if n >= SHORT), len(lengths) - 1)
    if errors[short] <= (1 + GAIN) * min(errors):
        return lengths[short]
    return max(n for n, error in zip(lengths, errors, strict=True) if error <= (1 + TIE) * min(errors))


class _Rows(NamedTuple):
    context: Tensor  # [R, L]
    seen: Tensor
    target: Tensor  # [R, H]
    known: Tensor


def _rows(windows: WindowDataset) -> _Rows:
    """Evenly spread windows, channels and steps of the horizon, no more than make a quick product."""
    channels = windows[0]["target"].shape[-1]
    chosen = evenly(channels, CHANNELS)
    indices = evenly(len(windows), max(1, ROWS // len(chosen)))
    pieces = -(-len(indices) * channels // ROWS)  # of very wide tables most columns are not kept
    steps = evenly(windows.prediction_length, STEPS)

    def rows(batch: dict[str, Tensor], name: str) -> Tensor:
        return batch[name][..., chosen].transpose(1, 2).flatten(0, 1)

    parts = []
    for piece in np.array_split(indices, pieces):
        batch = windows.__getitems__(piece.tolist())
        target, known = rows(batch, "target")[:, steps], rows(batch, "target_mask")[:, steps]
        parts.append((rows(batch, "context"), rows(batch, "context_mask"), target, known))
    return _Rows(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _normalised(rows: _Rows, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Past and target as ridge regression sees them, and the deviations."""
    return differences(rows.context[:, -length:], rows.seen[:, -length:], rows.target, rows.known)


def _error(fitting: _Rows, held_out: _Rows, length: int) -> float:
    """Mean absolute error of ridge regression from `length` steps."""
    x, y, _ = _normalised(fitting, length)
    weights = Sums((x.T @ x).double()[None], (x.T @ y).double()[None], len(x)).solve(RIDGE)[0]
    x, y, std = _normalised(held_out, length)
    error = torch.where(held_out.known, (x @ weights - y).abs() * std, 0)
    return float(error.sum() / held_out.known.sum().clamp(min=1))
