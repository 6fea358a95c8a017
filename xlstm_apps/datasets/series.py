"""A user's table in, `SeriesTable` out: files through `load_table`, frames through `table_from_frame`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .config import SeriesData
from .delimited import Origin, read_text
from .files import decode, read_bytes, resolve
from .frames import to_polars
from .frequency import Frequency
from .grid import Rows, build
from .layout import Roles, assign
from .numbers import NumberFormat, detect_format, statistics, suspicious_sentinel
from .report import notes
from .rows import read_rows
from .table import SeriesTable
from .timestamps import Stamps, read_stamps
from .zones import localise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_table", "table_from_frame"]


def load_table(data: SeriesData) -> SeriesTable:
    """Read `data.path` as the section says, put it on a regular grid, and report what was found.

    Raises:
        ValueError: one line that names the file, the line and the mend.
    """
    file = resolve(data.path)
    if file.suffix.lower() in (".parquet", ".pq"):
        frame, origin = _read_parquet(file), Origin(file.name)
    else:
        content, _ = read_bytes(file)
        text, encoding = decode(content, file, data.encoding)
        frame, origin = read_text(text, file.name, data.separator, data.header)
        origin.facts["encoding"] = encoding
    return _table(frame, data, origin)


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
    return _table(to_polars(df), data, Origin("the frame", from_file=False))


def _read_parquet(file: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as e:
        raise ValueError(f"{file}: not a readable Parquet file ({str(e).splitlines()[0]})") from None
    if frame.height == 0:
        raise ValueError(f"{file}: the table has no rows")
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _table(frame: pl.DataFrame, data: SeriesData, origin: Origin) -> SeriesTable:
    try:
        decimal, grouped = detect_format(frame, origin.facts.get("separator"), data.decimal)
    except ValueError as e:
        raise ValueError(f"{origin.name}: {e}") from None
    how = NumberFormat(decimal, grouped, tuple(data.missing_text))
    if data.layout == "rows":
        return _by_rows(frame, data, how, origin)
    roles = assign(frame, data, how, origin)
    values = np.column_stack([c.values for c in roles.targets]) if roles.targets else np.empty((frame.height, 0))
    names = [c.name for c in roles.targets]
    values = _finite(_without_sentinels(values, data), names, np.arange(frame.height), origin)
    stamps = _started(roles.stamps, roles.codes, data, origin) if not roles.time else roles.stamps
    return _finish(frame, data, how, origin, roles, stamps, values, names, np.arange(frame.height))


def _by_rows(frame: pl.DataFrame, data: SeriesData, how: NumberFormat, origin: Origin) -> SeriesTable:
    """One series per line."""
    ids, codes, position, flat, source = read_rows(frame, data, how, origin)
    values = _finite(_without_sentinels(flat[:, None], data), ["value"], source, origin)
    counts = Stamps(position.astype("datetime64[us]"), "integer", written="row numbers")
    stamps = _started(counts, codes, data, origin)
    roles = Roles([], [], "rows", stamps, codes, ids)
    return _finish(frame, data, how, origin, roles, stamps, values, ["value"], source)


def _started(stamps: Stamps, codes: np.ndarray, data: SeriesData, origin: Origin) -> Stamps:
    """Row numbers to dates, where the user says when they begin."""
    if data.start is None:
        return stamps
    assert data.freq is not None
    freq = Frequency.parse(data.freq)
    begin = read_stamps(
        pl.Series("start", [data.start]), Origin("--data.start" if origin.from_file else "start"), data.time_format
    )
    us = freq.stamps(begin.us[0], stamps.us.astype(np.int64))
    return Stamps(
        us, begin.kind if freq.by_wall_clock else "datetime", begin.aware, begin.zone, begin.offsets, "counted"
    )


def _without_sentinels(values: np.ndarray, data: SeriesData) -> np.ndarray:
    for sentinel in data.missing_values:
        values = np.where(np.isclose(values, sentinel, rtol=1e-6, atol=0), np.nan, values)
    return values


def _finite(values: np.ndarray, names: list[str], source: np.ndarray, origin: Origin) -> np.ndarray:
    bad = np.argwhere(np.abs(np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)) > np.finfo(np.float32).max)
    if len(bad):
        row, column = bad[0]
        more = f" ({len(bad)} such cells)" if len(bad) > 1 else ""
        raise ValueError(
            f"{origin.cell(int(source[row]), names[column])}: {values[row, column]} is infinite or too "
            f"large for 32-bit numbers{more}; if it stands for a missing value, say so with "
            f"{origin.option('missing_values', [float(values[row, column])])}, or mend the cell"
        )
    return values


def _finish(
    frame: pl.DataFrame, data: SeriesData, how: NumberFormat, origin: Origin, roles: Roles, stamps: Stamps,
    values: np.ndarray, names: list[str], source: np.ndarray,
) -> SeriesTable:  # fmt: skip
    origin.facts["offsets"] = stamps.offsets
    us, zone = localise(stamps, roles.codes, data.time_zone, origin)
    suspicious = {n: suspicious_sentinel(values[:, i]) for i, n in enumerate(names)}
    report: dict[str, Any] = {
        "source": data.path if origin.from_file else origin.name,
        "layout": roles.layout,
        "rows": frame.height,
        "time_column": "+".join(roles.time) or None,
        "id_column": "+".join(roles.ids) or None,
        "time_written": stamps.written,
        "time_zone": zone,
        "encoding": origin.facts.get("encoding"),
        "separator": origin.facts.get("separator"),
        "decimal": how.decimal,
        "grouped_thousands": how.grouped,
        "header": origin.facts.get("header", data.header),
        "left_out": roles.left_out,
        "suspicious": {n: {"value": s[0], "count": s[1]} for n, s in suspicious.items() if s is not None},
    }
    integer = stamps.written if stamps.kind == "integer" else None
    rows = Rows(roles.codes, us, values, source)
    grid = build(rows, zone, integer, roles.item_ids, data, origin, report)
    kind = stamps.kind
    if kind == "date" and not grid.freq.by_wall_clock:
        kind = "datetime"  # dates alone, on a grid of hours
    table = SeriesTable(
        values=grid.values,
        timestamps=grid.timestamps,
        offsets=grid.offsets,
        item_ids=roles.item_ids,
        channels=names,
        freq=str(grid.freq),
        time_zone=zone,
        layout=roles.layout,
        time_kind=kind,
        month_ends=grid.month_ends,
        report=report,
    )
    lengths = table.lengths
    seen = np.concatenate([[0], np.cumsum(~np.isnan(grid.values).all(axis=1))])[grid.offsets]
    first, last = table.ds(np.array([grid.timestamps.min(), grid.timestamps.max()]))
    report |= {
        "series": len(table),
        "channels": names,
        "grid_rows": len(grid.values),
        "start": str(first),
        "end": str(last),
        "lengths": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "columns": statistics(grid.values, names),
        "empty_series": int((np.diff(seen) == 0).sum()),
    }
    report["notes"] = notes(report)
    return table
