"""Series on a regular grid: what every reader produces and every window is cut from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .covariates import Covariates
from .frequency import Frequency

if TYPE_CHECKING:
    import polars as pl

TimeKind = Literal["datetime", "date", "integer"]


@dataclass(frozen=True)
class Series:
    """One series: views into its table's arrays, not copies."""

    item_id: str | None
    """Name in a long table; None where the table is one wide series."""
    timestamps: np.ndarray
    """datetime64[us] [T] on the grid of the table's frequency; UTC where the table has a time zone, else as written."""
    values: np.ndarray
    """float32 [T, C]; NaN where missing."""


@dataclass(frozen=True)
class SeriesTable:
    """Many series of unequal length in flat arrays: rows `offsets[i]:offsets[i + 1]` belong to series i."""

    values: np.ndarray
    """float32 [N, C], all series one after the other; NaN where missing."""
    timestamps: np.ndarray
    """datetime64[us] [N]."""
    offsets: np.ndarray
    """int64 [S + 1]."""
    item_ids: list[str] | None
    """[S]; None for a wide table, which is one series."""
    channels: list[str]
    """Names of the C value columns."""
    freq: str
    """Step of the grid, such as `1h`, `1b`, `3mo`; `1i` where rows are counted."""
    time_zone: str | None
    """IANA zone the user's stamps are shown in; None for stamps without one."""
    layout: Literal["wide", "long", "rows"]
    time_kind: TimeKind = "datetime"
    """How stamps are handed out: as date and time, as dates, or as integers (row counts or years)."""
    month_ends: bool = False
    """Whether monthly stamps stand at the end of the month."""
    covariates: Covariates | None = None
    """What is known beside the values; None where nothing is."""
    report: dict[str, Any] = field(default_factory=dict)
    """What was read, what was found and what was left out; JSON-able."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def series(self) -> list[Series]:
        ids = self.item_ids or [None] * len(self)
        bounds = self.offsets.tolist()
        return [
            Series(item_id, self.timestamps[a:b], self.values[a:b])
            for item_id, a, b in zip(ids, bounds[:-1], bounds[1:], strict=True)
        ]

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series on the grid, gaps included: int64 [S]."""
        return np.diff(self.offsets)

    def unique_ids(self) -> list[list[str]]:
        """Name of every series and channel: [S][C]. Wide: the column; long: the id, `/column` if there are several."""
        if self.item_ids is None:
            return [list(self.channels)]
        if len(self.channels) == 1:
            return [[item] for item in self.item_ids]
        return [[f"{item}/{channel}" for channel in self.channels] for item in self.item_ids]

    def future_timestamps(self, series_index: int | Sequence[int] | np.ndarray, length: int) -> np.ndarray:
        """The `length` stamps after the last one of a series, or of several: datetime64[us] [length] or [n, length]."""
        from .zones import to_local, to_utc

        index = np.atleast_1d(np.asarray(series_index, dtype=np.int64))
        freq = Frequency.parse(self.freq)
        last = self.timestamps[self.offsets[index + 1] - 1]
        # Months are counted from the first stamp: the day of the last one may be cut short (31 January, 28 February).
        first = self.timestamps[self.offsets[index]] if freq.kind == "month" else last
        local = self.time_zone is not None and freq.by_wall_clock
        if local:
            last, first = to_local(last, self.time_zone), to_local(first, self.time_zone)
        steps = freq.steps(last, first, self.month_ends)[:, None] + np.arange(1, length + 1)
        stamps = freq.stamps(first[:, None], steps, self.month_ends)
        if local:
            stamps = to_utc(stamps.ravel(), self.time_zone).reshape(stamps.shape)
        return stamps if np.ndim(series_index) else stamps[0]

    def ds(self, timestamps: np.ndarray) -> "pl.Series":
        """Stamps as the user wrote them: a polars column `ds` of datetimes (in their time zone), dates or integers."""
        import polars as pl

        stamps = np.asarray(timestamps, dtype="datetime64[us]")
        if self.time_kind == "integer":
            counts = stamps.astype("datetime64[Y]") if self.freq.endswith("y") else stamps
            return pl.Series("ds", counts.astype(np.int64) + (1970 if self.freq.endswith("y") else 0))
        column = pl.Series("ds", stamps)
        if self.time_zone is not None:
            return column.dt.replace_time_zone("UTC").dt.convert_time_zone(self.time_zone)
        return column.cast(pl.Date) if self.time_kind == "date" else column

    def until(self, ends: Sequence[int]) -> "SeriesTable":
        """The table as it was known earlier: the first `ends[i]` rows of each series. Known covariates reach on."""
        ends = np.asarray(ends, dtype=np.int64)
        if len(ends) != len(self) or (ends < 1).any() or (ends > self.lengths).any():
            raise ValueError(
                f"until() takes one end per series, between 1 and its length; this table has {len(self)} series"
            )
        keep = np.repeat(self.offsets[:-1] + ends, self.lengths) > np.arange(len(self.values))
        offsets = np.concatenate([[0], np.cumsum(ends)])
        covariates = self.covariates and self.covariates.until(keep)
        values, timestamps = self.values[keep], self.timestamps[keep]
        return replace(self, values=values, timestamps=timestamps, offsets=offsets, covariates=covariates)

    def to_frame(self) -> "pl.DataFrame":
        """The grid in long form: `unique_id` (long layouts), `ds`, one column per channel; NaN shown as null.

        Raises:
            ValueError: a value column has one of these names.
        """
        import polars as pl

        taken = {"ds"} if self.item_ids is None else {"unique_id", "ds"}
        for name in self.channels:
            if name in taken:
                raise ValueError(f"a value column is named {name!r}, as the frame's own column is; rename it")

        columns: list[pl.Series] = []
        if self.item_ids is not None:
            columns.append(
                pl.Series("unique_id", np.repeat(np.asarray(self.item_ids, dtype=object), self.lengths).tolist())
            )
        columns.append(self.ds(self.timestamps))
        values = [pl.Series(name, self.values[:, i]).fill_nan(None) for i, name in enumerate(self.channels)]
        return pl.DataFrame([*columns, *values])
