"""What turns a table into numbers for a model, from the training part alone: targets per series, and covariates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .encoding import CovariateEncoding
from .moments import moments
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
    floor: np.ndarray
    """float32 [C]: the lowest value that a forecast may have; -inf: there is none."""
    covariates: CovariateEncoding | None = None
    """Scales and vocabularies of the covariates; None where the table has none."""

    @classmethod
    def fit(cls, table: SeriesTable, train_ends: Sequence[int] | np.ndarray) -> "Scaler":
        """Statistics of the first `train_ends[i]` rows of every series, NaN left out."""
        ends = np.asarray(train_ends, dtype=np.int64)
        if len(ends) != len(table) or (ends < 0).any() or (ends > table.lengths).any():
            raise ValueError(f"train_ends holds one row number per series of the table, which has {len(table)} series")
        _, mean, deviation = moments(table.values, table.offsets, ends)
        covariates = CovariateEncoding.fit(table, ends)
        floor = np.full(mean.shape[1], -np.inf, dtype=np.float32)
        scales = mean.astype(np.float32), _spread(mean, deviation)
        return cls(*scales, table.item_ids, list(table.channels), floor, covariates)

    @property
    def sizes(self) -> dict[str, Any]:
        """Widths of the covariates in a batch: `past`, `known`, `static` (numbers of columns) and `known_codes`,
        `static_codes` (how many codes each category has, code 0 included).
        """
        none: dict[str, Any] = {"past": 0, "known": 0, "known_codes": [], "static": 0, "static_codes": []}
        return none if self.covariates is None else self.covariates.sizes

    def for_table(self, table: SeriesTable) -> "Scaler":
        """The same statistics in the order of another table; a series not seen in training gets those of its own rows.

        Raises:
            ValueError: the table lacks a channel or a covariate, or has others.
        """
        if table.channels != self.channels:
            raise ValueError(
                f"the table has the value columns {table.channels}, but the model was trained on {self.channels}"
            )
        if self.covariates is not None:
            self.covariates.check(table)
        elif table.covariates is not None:
            raise ValueError("the table has covariates, and the model was trained without; read it without them")
        if self.item_ids is None and table.item_ids is None:
            return self
        known = {name: i for i, name in enumerate(self.item_ids or [])}
        rows = np.array([known.get(name, -1) for name in table.item_ids or [""]], dtype=np.int64)
        _, mean, deviation = moments(table.values, table.offsets, np.where(rows < 0, table.lengths, 0))
        seen = (rows >= 0)[:, None]
        return Scaler(
            np.where(seen, self.mean[rows], mean.astype(np.float32)),
            np.where(seen, self.std[rows], _spread(mean, deviation)),
            table.item_ids,
            list(table.channels),
            self.floor,
            self.covariates and self.covariates.for_table(table, rows),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; floats keep their float32 value exactly."""
        return {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "item_ids": self.item_ids,
            "channels": self.channels,
            "floor": [None if np.isinf(x) else x for x in self.floor.tolist()],
            "covariates": self.covariates and self.covariates.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Scaler":
        shape = (-1, len(data["channels"]))
        floor = [-np.inf if x is None else x for x in data.get("floor") or [None] * shape[1]]
        return cls(
            np.asarray(data["mean"], dtype=np.float32).reshape(shape),
            np.asarray(data["std"], dtype=np.float32).reshape(shape),
            data["item_ids"],
            list(data["channels"]),
            np.asarray(floor, dtype=np.float32),
            CovariateEncoding.from_dict(data["covariates"]) if data.get("covariates") else None,
        )


def _spread(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Deviations to divide by. A constant read as float32 must not be blown up by its rounding error."""
    return np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0).astype(np.float32)
