"""pandas and polars frames to one polars frame of plain types, without changing the one that was handed over."""

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .zones import fixed_zone

if TYPE_CHECKING:
    import pandas as pd


def to_polars(df: Any) -> pl.DataFrame:
    """The frame, its index as columns where the index says something (stamps, or a named level).

    Raises:
        ValueError: not a frame, no rows, or two columns of the same name.
    """
    if isinstance(df, pl.LazyFrame):
        df = df.collect()
    if isinstance(df, pl.DataFrame):
        frame = df
    elif type(df).__module__.split(".")[0] == "pandas" and hasattr(df, "columns"):
        frame = _from_pandas(df)
    elif type(df).__module__.split(".")[0] == "pandas" and hasattr(df, "to_frame"):  # one series with its index
        frame = _from_pandas(df.to_frame(name=df.name if df.name is not None else "value"))
    else:
        raise ValueError(
            f"a pandas or polars frame is needed, not {type(df).__name__}; read a file with its path instead"
        )
    if frame.height == 0:
        raise ValueError("the frame has no rows")
    return plain(frame)


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as text, as which they are compared everywhere; lists, bytes and lengths of time as text too, which no
    column of numbers is."""
    odd = {n: kind for n, kind in frame.schema.items() if kind.is_nested() or kind in (pl.Binary, pl.Object)}
    return frame.with_columns(
        pl.col(pl.Categorical, pl.Enum).cast(pl.String),
        pl.col(pl.Duration).dt.to_string("polars"),
        *(pl.when(pl.col(n).is_not_null()).then(pl.lit(type(kind).__name__)).alias(n) for n, kind in odd.items()),
    )


def _from_pandas(df: "pd.DataFrame") -> pl.DataFrame:
    names = [str(c) if not isinstance(c, tuple) else "/".join(map(str, c)) for c in df.columns]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"the frame has two columns named {name!r}; rename one of them")
    columns: list[pl.Series] = []
    for level in range(df.index.nlevels):
        values = df.index.get_level_values(level)
        name = df.index.names[level]
        says = name is not None or df.index.nlevels > 1 or str(values.dtype).startswith(("datetime64", "period"))
        if says and str(name) not in names:
            stamps = str(values.dtype).startswith(("datetime64", "period"))
            title = str(name) if name is not None else "ds" if stamps else "unique_id"
            if title in (*names, *(c.name for c in columns)):
                title = f"index_{level}"
            columns.append(_column(title, values.to_series().reset_index(drop=True)))
    columns += [_column(name, df.iloc[:, i]) for i, name in enumerate(names)]
    return pl.DataFrame(columns)


def _column(name: str, column: "pd.Series") -> pl.Series:
    """By way of numpy: pandas' own export would need pyarrow."""
    dtype = column.dtype
    kind = getattr(dtype, "kind", "O")
    if str(dtype).startswith("period"):
        column = column.dt.to_timestamp()
        dtype, kind = column.dtype, "M"
    if str(dtype) == "category":
        return pl.Series(name, _texts(column), dtype=pl.String)
    if kind == "M" or "timestamp" in str(dtype) or str(dtype).startswith("datetime64"):
        return _stamps(name, column)
    if "date32" in str(dtype) or "date64" in str(dtype):
        return pl.Series(name, column.tolist(), dtype=pl.Date)
    missing = column.isna().to_numpy(dtype=bool)
    if kind == "b":
        return pl.Series(name, [None if m else bool(v) for v, m in zip(column, missing, strict=True)], dtype=pl.Boolean)
    if kind in "iu" and not missing.any():
        return pl.Series(name, column.to_numpy(dtype=np.uint64 if kind == "u" else np.int64))
    if kind in "iuf" or "decimal" in str(dtype):
        return pl.Series(name, column.to_numpy(dtype=np.float64, na_value=np.nan))
    values = [None if m else v for v, m in zip(column.tolist(), missing, strict=True)]
    first = next((v for v in values if v is not None), None)
    # Stamps of which some have an offset stay text, where the odd one is named.
    offsets = {v.tzinfo is not None for v in values if isinstance(v, datetime)}
    if first is not None and not isinstance(first, str) and len(offsets) < 2:
        try:  # dates, datetimes, Decimals and numbers in an object column
            series = pl.Series(name, values, strict=True)
            if series.dtype != pl.Object:
                return series
        except (TypeError, pl.exceptions.PolarsError, OverflowError):
            pass
    return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)


def _texts(column: "pd.Series") -> list[str | None]:
    categories = [str(c) for c in column.cat.categories]
    return [None if code < 0 else categories[code] for code in column.cat.codes.tolist()]


def _stamps(name: str, column: "pd.Series") -> pl.Series:
    zone = getattr(column.dt, "tz", None)
    if zone is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    stamps = column.to_numpy().astype("datetime64[ns]" if "[ns" in str(column.dtype) else "datetime64[us]")
    out = pl.Series(name, stamps)
    if zone is None:
        return out
    offset = fixed_offset(zone)
    text = (_name(zone) or str(zone)) if offset is None else fixed_zone(offset)
    try:
        return out.dt.replace_time_zone("UTC").dt.convert_time_zone(text)
    except pl.exceptions.PolarsError:  # it has no IANA name
        return out.dt.replace_time_zone("UTC")


def fixed_offset(zone: tzinfo) -> int | None:
    """Seconds ahead of UTC of a zone that is nothing more than that, as of pandas' `+02:00`; None for UTC."""
    offset = None if _name(zone) else zone.utcoffset(None)
    return None if offset is None else int(offset.total_seconds()) or None


def _name(zone: tzinfo) -> str | None:
    return getattr(zone, "zone", None) or getattr(zone, "key", None)
