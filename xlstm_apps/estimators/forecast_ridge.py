"""Solves the member `ridge`: strength of the penalty, and whether columns share their weights, chosen on the validation
part.

Shapes: R rows (windows times channels), C channels, L context, H horizon, G = 1 or C.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.datasets import WindowDataset
from xlstm_apps.forecasting.model import fill, masked_moments
from xlstm_apps.thinning import evenly

ROWS, HELD_OUT = 32768, 16384
AT_ONCE = 4096
PENALTIES = (0.01, 0.1, 1.0, 10.0)
OWN_PENALTIES = (1.0, 3.0, 10.0, 30.0)
MOST_NUMBERS = 1 << 25
# Own weights have to earn their place: where they are hardly better, another part of the table may not bear them out.
GAIN = 0.005


def solve_ridge(train: WindowDataset, valid: WindowDataset | None, channels: int | None) -> Tensor:
    """Weights [G, L, H] of differences from the last value, in units of the window's deviation, on differences.

    Weights that a column has of its own are drawn towards those that all share instead of towards zero.

    Args:
        train: Training windows.
        valid: Validation windows; None: a penalty of 1, shared weights.
        channels: G, where it is known.

    Raises:
        ValueError: `channels` is neither 1 nor the number of columns.
    """
    context, target = (train[0][name] for name in ("context", "target"))
    columns = target.shape[-1]
    if channels not in (None, 1, columns):
        raise ValueError(
            f"head.ridge_channels is {channels}, the number of columns with weights of their own, and this table has "
            f"{columns}; give the columns the model was trained on, or 1 for weights that all columns share"
        )
    if channels is None:
        numbers = columns * (len(context) + len(target)) * len(context)
        by_itself = columns > 1 and valid is not None and numbers <= MOST_NUMBERS
    else:
        by_itself = channels > 1
    sums = Sums.of(train, by_itself)
    shared, error = _best(valid, [sums.total().solve(penalty) for penalty in PENALTIES])
    if not by_itself:
        return shared
    own, theirs = _best(valid, [sums.solve(penalty, shared) for penalty in OWN_PENALTIES])
    return own if channels is not None or theirs < (1 - GAIN) * error else shared


class Sums(NamedTuple):
    """What least squares needs to know of past and future: their products, summed over evenly spread windows."""

    gram: Tensor
    """[G, L, L]"""
    cross: Tensor
    """[G, L, H]"""
    rows: int
    """Of each group."""

    @classmethod
    def of(cls, windows: WindowDataset, by_channel: bool) -> Self:
        gram, cross, rows = 0, 0, 0
        for x, y, _, _ in _pieces(windows, ROWS):
            x, y = (z if by_channel else z.flatten(0, 1)[None] for z in (x, y))
            gram, cross, rows = gram + (x.mT @ x).double(), cross + (x.mT @ y).double(), rows + x.shape[1]
        return cls(gram, cross, rows)

    def total(self) -> Self:
        """Those of all groups together."""
        return type(self)(self.gram.sum(0, True), self.cross.sum(0, True), self.rows * len(self.gram))

    def solve(self, penalty: float, towards: Tensor | None = None) -> Tensor:
        """Ridge weights [G, L, H].

        Args:
            penalty: Relative to the number of rows.
            towards: Weights [1, L, H] that cost nothing; None: zero.
        """
        gram, cross = self.gram.clone(), self.cross
        gram.diagonal(dim1=-2, dim2=-1).add_(penalty * self.rows)
        if towards is not None:
            cross = cross + penalty * self.rows * towards.double()
        return torch.cholesky_solve(cross, torch.linalg.cholesky(gram)).float()


def _best(valid: WindowDataset | None, tried: list[Tensor]) -> tuple[Tensor, float]:
    """The weights with the lowest mean absolute error, and that error; the last but one where nothing can judge."""
    if valid is None:
        return tried[-2], 0.0
    errors, count = [0.0] * len(tried), 0
    for x, y, std, known in _pieces(valid, HELD_OUT):
        count += int(known.sum())
        for i, weights in enumerate(tried):
            errors[i] += float(torch.where(known, (x @ weights - y).abs() * std, 0).sum())
    best = min(range(len(tried)), key=errors.__getitem__)
    return tried[best], errors[best] / max(count, 1)


def differences(past: Tensor, seen: Tensor, future: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Past [..., L] and future [..., H] as `Ridge` sees them: differences from the last value, in units of the window's
    deviation, missing ones 0 in the future; and that deviation [..., 1]."""
    mean, std = masked_moments(past, seen)
    past = fill((past - mean) / std, seen)
    last = past[..., -1:]
    return past - last, torch.where(known, (future - mean) / std - last, 0), std


def _pieces(windows: WindowDataset, rows: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Past [C, B, L] and future [C, B, H] as `Ridge` sees them, deviations [C, B, 1], what is known [C, B, H]."""
    channels = windows[0]["target"].shape[-1]
    indices = evenly(len(windows), max(1, rows // channels))
    for piece in np.array_split(indices, -(-len(indices) * channels // AT_ONCE)):
        if not len(piece):
            continue
        batch = windows.__getitems__(piece.tolist())
        names = ("context", "context_mask", "target", "target_mask")
        x, seen, y, known = (batch[name].permute(2, 0, 1).contiguous() for name in names)
        yield *differences(x, seen, y, known), known
