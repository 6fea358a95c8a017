"""A user's table in, `SeriesTable` out: files through `load_table`, frames through `table_from_frame`."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .assemble import one_table
from .blocks import many_rows
from .config import SeriesData
from .covariate_columns import CovariateReader
from .delimited import Origin
from .files import resolve
from .frames import to_polars
from .future import with_future
from .layout import Roles
from .reading import Block, Reading, begin, finite, number_format, started, without_sentinels
from .rows import read_rows
from .source import read_frame
from .stream import load_streamed
from .table import SeriesTable
from .timestamps import Stamps

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_table", "table_from_frame"]


def load_table(data: SeriesData) -> SeriesTable:
    """Read `data.path` as the section says, put it on a regular grid, and report what was found.

    Raises:
        ValueError: one line that names the file, the line and the mend.
    """
    file = resolve(data.path)
    if data.stream or (data.layout != "rows" and many_rows(file, data.memory_rows)):
        table = load_streamed(data)
    else:
        table = _table(*read_frame(data), data)
    return with_future(table, data.future_path, data) if data.future_path is not None else table


def table_from_frame(
    df: "pd.DataFrame | pl.DataFrame",
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    target_columns: list[str] | None = None,
    freq: str | None = None,
    **options: Any,
) -> SeriesTable:
    """The same from a pandas or polars frame, wide or long; the frame is not changed.

    `unique_id`, `ds`, `y` and `item_id`, `timestamp`, `target` are recognised; a DatetimeIndex is the time.

    Args:
        options: further fields of `SeriesData`, such as `duplicates` or `missing_values`.

    Raises:
        ValueError: one line that names the column, the row (counted from 0) and the mend.
    """
    data = SeriesData(
        path="frame", id_column=id_column, time_column=time_column, target_columns=target_columns, freq=freq, **options
    )
    table = _table(to_polars(df), Origin("the frame", from_file=False), data)
    return with_future(table, data.future_path, data) if data.future_path is not None else table


def _table(frame: pl.DataFrame, origin: Origin, data: SeriesData) -> SeriesTable:
    if data.layout == "rows":
        return _by_rows(frame, data, origin)
    reading, roles = begin(frame, data, origin)
    numbers = [c.values for c in roles.targets]
    values, static = reading.block(frame, origin, np.column_stack(numbers) if numbers else np.empty((frame.height, 0)))
    block = Block(roles.codes, reading.stamps.us, values, static, np.arange(frame.height))
    if reading.covariates is not None:
        reading.covariates.check_levels(frame.height, origin)
    return one_table(block, reading, roles.item_ids, frame.height)


def _by_rows(frame: pl.DataFrame, data: SeriesData, origin: Origin) -> SeriesTable:
    """One series per line."""
    how = number_format(frame, data, origin)
    for option in ("past_covariates", "known_covariates", "static_covariates", "holidays_column"):
        if getattr(data, option):
            raise ValueError(
                f"{origin.option(option, getattr(data, option))}: layout rows has no columns beside the values; give "
                "the table in long form"
            )
    ids, codes, position, flat, source = read_rows(frame, data, how, origin)
    values = finite(without_sentinels(flat[:, None], data), ["value"], source, origin)
    counts = Stamps(position.astype("datetime64[us]"), "integer", written="row numbers")
    stamps = started(counts, data, origin)
    roles = Roles([], [], "rows", stamps, codes, ids)
    beside = CovariateReader(data, frame, how, origin) if data.calendar else None
    reading = Reading(data, origin, how, roles, ["value"], stamps, beside)
    reading.suspect(values, ["value"])
    block = Block(codes, stamps.us, values, np.empty((len(values), 0)), source)
    return one_table(block, reading, ids, frame.height)
