"""Rows with their covariates to series: the grid, what of it is future, and the flat arrays of a table."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .covariate_columns import CovariateReader, constant_per_series
from .covariates import Covariates
from .frequency import Frequency
from .grid import Rows, build
from .reading import Block, Reading
from .zones import localise


@dataclass
class Placed:
    """Whole series on the grid."""

    values: np.ndarray
    timestamps: np.ndarray
    offsets: np.ndarray
    freq: Frequency
    month_ends: bool
    zone: str | None
    covariates: Covariates | None


def place(block: Block, reading: Reading, item_ids: list[str] | None, report: dict[str, Any]) -> Placed:
    """Sort the rows, put them on the grid and tell the future rows from the series.

    Args:
        item_ids: names of the series in the block, by code; None for a wide table.
        report: receives what was found.

    Raises:
        ValueError: see `grid.build`; a static covariate varies.
    """
    data, reader = reading.data, reading.covariates
    carried = reading.carried
    origin = reading.origin.only(block.source)
    us, zone = localise(replace(reading.stamps, us=block.us), block.codes, data.time_zone, origin)
    names = [*reading.targets, *carried]
    rows = Rows(block.codes, us, block.values, block.source, names[: len(names) - reading.categories])
    integer = reading.stamps.written if reading.stamps.kind == "integer" else None
    if reading.grid is None:
        grid = build(rows, zone, integer, item_ids, data, reading.origin, report)
        reading.grid = (str(grid.freq), grid.month_ends)
    else:  # some series of many: the first ones have said the step
        freq, ends = reading.grid
        grid = build(rows, zone, integer, item_ids, replace(data, freq=freq), reading.origin, report)
        report["freq_inferred"] = data.freq is None
        if grid.month_ends != ends:
            raise ValueError(
                f"{reading.origin.name}: some series have their stamps at the end of the month, others have not; read "
                "them as two tables"
            )
    targets = len(reading.targets)
    values = grid.values if grid.values.shape[1] == targets else np.ascontiguousarray(grid.values[:, :targets])
    full = np.diff(grid.offsets)
    lengths, past, known = full, None, None
    if reader is not None:
        at = {name: targets + i for i, name in enumerate(carried)}
        past, known = (
            np.ascontiguousarray(grid.values[:, [at[n] for n in reader.roles[role]]]) for role in ("past", "known")
        )
        lengths = _lengths(values, past, known, grid.offsets, reader)
        report["future_rows"] = int((full - lengths).sum())
    if data.split_rows is not None:
        report["unused_rows"] = int((lengths - sum(data.split_rows)).clip(min=0).sum())
        lengths = np.minimum(lengths, sum(data.split_rows))
    stamps, offsets = grid.timestamps, grid.offsets
    if (lengths < full).any():
        keep = np.arange(len(values)) < np.repeat(grid.offsets[:-1] + lengths, full)
        values, stamps, past = values[keep], stamps[keep], past if past is None else past[keep]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
    covariates = None
    if reader is not None:
        assert past is not None and known is not None
        static = constant_per_series(
            block.static, block.codes, len(full), reader, item_ids, block.source, reading.origin
        )
        covariates = Covariates(
            reading.columns("past", past),
            reading.columns("known", known),
            grid.offsets,
            reading.columns("static", static),
            data.calendar,
            data.holidays_column,
        )
    return Placed(values, stamps, offsets, grid.freq, grid.month_ends, zone, covariates)


def _lengths(
    values: np.ndarray, past: np.ndarray, known: np.ndarray, offsets: np.ndarray, reader: CovariateReader
) -> np.ndarray:
    """Rows of each series up to its last with a target or a past covariate, where a known covariate follows; else all.

    An empty cell of a category is no known covariate, except in the holidays column.
    """
    full = np.diff(offsets)
    if known.shape[1] == 0:
        return full
    happened = ~np.isnan(values).all(axis=1) | _filled(past, reader.roles["past"], reader)
    row = np.arange(len(values))
    last = np.maximum.reduceat(np.where(happened, row, -1), offsets[:-1])
    last = np.where(last >= offsets[:-1], last, offsets[:-1])  # a series keeps one row
    ahead = _filled(known, reader.roles["known"], reader)
    ahead &= row > np.repeat(last, full)
    return np.where(np.logical_or.reduceat(ahead, offsets[:-1]), last - offsets[:-1] + 1, full)


def _filled(columns: np.ndarray, names: list[str], reader: CovariateReader) -> np.ndarray:
    """Rows with something in one of the columns: bool [N]."""
    out = np.zeros(len(columns), dtype=bool)
    for i, name in enumerate(names):
        empty = None if name == reader.holidays else reader.levels.get(name, {}).get("")
        out |= ~np.isnan(columns[:, i]) if empty is None else ~np.isnan(columns[:, i]) & (columns[:, i] != empty)
    return out
