"""Mean and standard deviation per series and channel, from the training part alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .table import SeriesTable


@dataclass(frozen=True)
class Scaler:
    """(x - mean) / std, with the mean and standard deviation of the observed training values."""

    mean: np.ndarray
    """float32 [S, C]."""
    std: np.ndarray
    """float32 [S, C]; 1 where the training part is constant or empty."""
    item_ids: list[str] | None
    channels: list[str]

    @classmethod
    def fit(cls, table: SeriesTable, train_ends: Sequence[int]) -> "Scaler":
        """Statistics of the first `train_ends[i]` rows of every series, NaN left out."""
        ends = np.asarray(train_ends, dtype=np.int64)
        if len(ends) != len(table) or (ends < 0).any() or (ends > table.lengths).any():
            raise ValueError(f"train_ends holds one row number per series of the table, which has {len(table)} series")
        train = np.arange(len(table.values)) < np.repeat(table.offsets[:-1] + ends, table.lengths)
        owner = np.repeat(np.arange(len(table)), table.lengths)[train]
        mean = np.zeros((len(table), len(table.channels)))
        std = np.ones_like(mean)
        for c in range(len(table.channels)):  # one channel at a time keeps the float64 copies small
            x = table.values[train, c].astype(np.float64)
            seen = ~np.isnan(x)
            count = np.bincount(owner[seen], minlength=len(table))
            total = np.bincount(owner[seen], x[seen], minlength=len(table))
            mean[:, c] = np.divide(total, count, out=np.zeros(len(table)), where=count > 0)
            square = np.bincount(owner[seen], (x[seen] - mean[owner[seen], c]) ** 2, minlength=len(table))
            deviation = np.sqrt(np.divide(square, count, out=np.zeros(len(table)), where=count > 0))
            # A constant read as float32 must not be blown up by its rounding error.
            std[:, c] = np.where(deviation > 1e-6 * np.abs(mean[:, c]), deviation, 1.0)
        return cls(mean.astype(np.float32), std.astype(np.float32), table.item_ids, list(table.channels))

    def for_table(self, table: SeriesTable) -> "Scaler":
        """The same statistics in the order of another table; a series not seen in training gets those of its own rows.

        Raises:
            ValueError: the table lacks a channel, or has others.
        """
        if table.channels != self.channels:
            raise ValueError(
                f"the table has the value columns {table.channels}, but the model was trained on {self.channels}"
            )
        if self.item_ids is None and table.item_ids is None:
            return self
        known = {name: i for i, name in enumerate(self.item_ids or [])}
        rows = np.array([known.get(name, -1) for name in table.item_ids or [""]], dtype=np.int64)
        own = Scaler.fit(table, table.lengths)
        seen = (rows >= 0)[:, None]
        return Scaler(
            np.where(seen, self.mean[rows], own.mean),
            np.where(seen, self.std[rows], own.std),
            table.item_ids,
            own.channels,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; floats keep their float32 value exactly."""
        return {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "item_ids": self.item_ids,
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Scaler":
        shape = (-1, len(data["channels"]))
        return cls(
            np.asarray(data["mean"], dtype=np.float32).reshape(shape),
            np.asarray(data["std"], dtype=np.float32).reshape(shape),
            data["item_ids"],
            list(data["channels"]),
        )
