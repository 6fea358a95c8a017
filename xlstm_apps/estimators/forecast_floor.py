"""Where forecasts end below: a quantity that cannot be negative has no forecast below 0."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.datasets import SeriesTable
from xlstm_apps.datasets.moments import pieces
from xlstm_apps.enumeration import first_few

LUMP = 0.05
"""Share of values that have to be the lowest before it is taken for one that cannot be passed: a quantity that goes on
below passes through 0, it does not stay there."""
BELOW = 1e-3
"""Deviations below the floor at which a past is said to have passed it."""
ROUNDING = 1e-5
"""Deviations by which scaling there and back may move a value."""


def floors(
    table: SeriesTable, ends: Sequence[int] | np.ndarray, minimum: float | Literal["auto"] | None
) -> tuple[np.ndarray, list[str]]:
    """The lowest value that a forecast of each channel may have.

    Args:
        table: All series.
        ends: The first `ends[i]` rows of every series are looked at.
        minimum: `head.minimum`.

    Returns:
        float32 [C], -inf where there is none, and what should be said about it.

    Raises:
        ValueError: Every value lies below the minimum.
    """
    channels = len(table.channels)
    if minimum is None:
        return np.full(channels, -np.inf, dtype=np.float32), []
    floor = 0.0 if minimum == "auto" else float(minimum)
    seen, at, below = (np.zeros(channels, dtype=np.int64) for _ in range(3))
    for rows, _, inside in pieces(table.offsets, np.asarray(ends, dtype=np.int64)):
        values = table.values[rows][inside]
        for total, found in ((seen, ~np.isnan(values)), (at, values == floor), (below, values < floor)):
            total += found.sum(axis=0)
    if minimum == "auto":
        ends_there = (below == 0) & (at > 0) & (at >= LUMP * seen)
        return np.where(ends_there, 0.0, -np.inf).astype(np.float32), _told(table.channels, ends_there)
    if seen.any() and (below == seen).all():
        raise ValueError(f"head.minimum {floor:g} is above every value of the table; lower it, or leave it out")
    told = f"{below.sum():,} of {seen.sum():,} values lie below head.minimum {floor:g}, where forecasts end"
    return np.full(channels, floor, dtype=np.float32), [told] if below.any() else []


def _told(channels: list[str], ends_there: np.ndarray) -> list[str]:
    names = [repr(name) for name, ends in zip(channels, ends_there, strict=True) if ends]
    if not names:
        return []
    shown = first_few(names, 4)
    return [
        f"forecasts of {shown} end at 0, where many values are and none is below; head.minimum null lets them go on"
    ]


def without_passed(floor: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The floor [B, C], none (-inf) where the context of a window goes below it."""
    lowest = torch.where(batch["context_mask"], batch["context"], torch.inf).amin(dim=1)
    return torch.where(lowest < (floor - batch["mean"]) / batch["std"] - BELOW, -torch.inf, floor)


def at_floor(truth: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Truth [B, H, C] in the data's units, with what scaling has moved off the floor put back: it is inside an interval
    that ends there."""
    floor, std = batch["floor"][:, None], batch["std"][:, None]
    return torch.where((truth - floor).abs() < ROUNDING * std, floor, truth)
