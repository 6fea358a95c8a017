"""Forecasts in the kind of frame that the user's data came in."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pandas as pd

    Frame = pd.DataFrame | pl.DataFrame


def kind_of(df: "Frame", id_column: str | None, channels: int) -> dict[str, Any]:
    """What frames to give back: pandas or polars, with integer ids where they came as integers."""
    named = [id_column] if id_column is not None else ["unique_id", "item_id"]
    polars = isinstance(df, pl.DataFrame | pl.LazyFrame)
    if polars:
        types = dict(df.collect_schema())
    else:
        types = {name: df.index.get_level_values(i).dtype for i, name in enumerate(df.index.names)}
        types |= dict(df.dtypes) if hasattr(df, "columns") else {}
    found = next((types[name] for name in named if name in types), None)
    whole = found is not None and (found.is_integer() if polars else getattr(found, "kind", "O") in "iu")
    return {"library": "polars" if polars else "pandas", "integer_ids": whole and channels == 1}


def give_back(frames: Iterable[pl.DataFrame], kind: dict[str, Any]) -> "Frame":
    """The frames as one of the kind asked for."""
    frame = pl.concat(frames)
    if kind["integer_ids"] and "unique_id" in frame.columns:
        frame = frame.with_columns(pl.col("unique_id").cast(pl.Int64, strict=True))
    return frame if kind["library"] == "polars" else to_pandas(frame)


def to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    """By way of numpy: polars' own export needs pyarrow."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
            utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
            columns[name] = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(column.dtype.time_zone)
        elif column.dtype == pl.Date:
            columns[name] = column.cast(pl.Datetime("us")).to_numpy()
        elif column.dtype == pl.String:
            columns[name] = column.to_list()
        else:
            columns[name] = column.to_numpy()
    return pd.DataFrame(columns)
