"""Forecasts in the kind of frame that the user's data came in."""

from collections.abc import Iterable
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import polars as pl

from xlstm_apps.datasets.frames import fixed_offset
from xlstm_apps.datasets.zones import fixed_zone

if TYPE_CHECKING:
    import pandas as pd

    Frame = pd.DataFrame | pl.DataFrame


def kind_of(df: "Frame", id_column: str | None, channels: int) -> dict[str, Any]:
    """What frames to give back: pandas or polars, with integer ids where they came as integers, stamps at the fixed
    offset that they came with (in seconds)."""
    named = [id_column] if id_column is not None else ["unique_id", "item_id"]
    polars = isinstance(df, pl.DataFrame | pl.LazyFrame)
    if polars:
        types = dict(df.collect_schema())
    else:
        types = {name: df.index.get_level_values(i).dtype for i, name in enumerate(df.index.names)}
        types |= dict(df.dtypes) if hasattr(df, "columns") else {}
    found = next((types[name] for name in named if name in types), None)
    whole = found is not None and (found.is_integer() if polars else getattr(found, "kind", "O") in "iu")
    zones = [zone for zone in (getattr(kind, "tz", None) for kind in types.values()) if zone is not None]
    offset = fixed_offset(zones[0]) if zones else None
    return {"library": "polars" if polars else "pandas", "integer_ids": whole and channels == 1, "offset": offset}


def give_back(frames: Iterable[pl.DataFrame], kind: dict[str, Any]) -> "Frame":
    """The frames as one of the kind asked for."""
    frame = pl.concat(frames)
    if kind["integer_ids"] and "unique_id" in frame.columns:
        frame = frame.with_columns(pl.col("unique_id").cast(pl.Int64, strict=True))
    return frame if kind["library"] == "polars" else to_pandas(frame, kind.get("offset"))


def to_pandas(frame: pl.DataFrame, offset: int | None = None) -> "pd.DataFrame":
    """By way of numpy: polars' own export needs pyarrow. Stamps `offset` seconds ahead of UTC, where they came so."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
            utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
            zone = column.dtype.time_zone
            if offset is not None and zone == fixed_zone(offset):  # and no other was asked for
                zone = timezone(timedelta(seconds=offset))
            columns[name] = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(zone)
        elif column.dtype == pl.Date:
            columns[name] = column.cast(pl.Datetime("us")).to_numpy()
        elif column.dtype == pl.String:
            columns[name] = column.to_list()
        else:
            columns[name] = column.to_numpy()
    return pd.DataFrame(columns)
