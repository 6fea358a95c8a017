"""Frames of rows as numbers: what the columns are is found in the first frame, and holds for those that follow."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from .config import SeriesData
from .covariate_columns import CovariateReader
from .covariates import Columns
from .delimited import Origin
from .frequency import Frequency
from .layout import Roles, assign
from .numbers import NumberFormat, detect_format, suspicious_sentinel
from .timestamps import DAY_FIRST, Stamps, read_stamps


@dataclass
class Block:
    """Rows as read, of whole series."""

    codes: np.ndarray
    """Series number, int64 [N]."""
    us: np.ndarray
    """Stamps as written, datetime64[us] [N]."""
    values: np.ndarray
    """float64 [N, C + P + F]: targets, then `carried` columns of covariates."""
    static: np.ndarray
    """float64 [N, G]"""
    source: np.ndarray
    """Row in the file, int64 [N]."""


@dataclass
class Reading:
    """What stays the same for all rows of a table."""

    data: SeriesData
    origin: Origin
    how: NumberFormat
    roles: Roles
    """Of the first frame."""
    targets: list[str]
    stamps: Stamps
    """How stamps are written; those of the first frame."""
    covariates: CovariateReader | None
    grid: tuple[str, bool] | None = None
    """Step of the grid and whether it is counted from month end to month end, once series have been placed."""
    suspicious: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Numbers that look like missing values, and how often they are there, by column."""

    @property
    def carried(self) -> list[str]:
        """Covariates in the order in which they stand beside the targets: numbers, then categories."""
        if self.covariates is None:
            return []
        names = [*self.covariates.roles["past"], *self.covariates.roles["known"]]
        return sorted(names, key=lambda n: n in self.covariates.levels)

    @property
    def categories(self) -> int:
        """How many of the carried columns hold categories."""
        return 0 if self.covariates is None else sum(n in self.covariates.levels for n in self.carried)

    def columns(self, role: str, values: np.ndarray) -> Columns:
        """The covariates of one role, from their values [N, K]."""
        assert self.covariates is not None
        return Columns(self.covariates.roles[role], values, self.covariates.levels_of(role))

    def block(self, frame: pl.DataFrame, origin: Origin, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets [N, C] and the covariates beside them, and the static covariates: float64 [N, C + P + F], [N, G].

        Raises:
            ValueError: a cell is no number, or too large for one.
        """
        columns, static = [targets], np.empty((frame.height, 0))
        if self.covariates is not None:
            beside = {}
            for role in ("past", "known"):
                read = self.covariates.read(frame, role, origin)
                beside |= dict(zip(self.covariates.roles[role], read.T, strict=True))
            columns += [beside[name][:, None] for name in self.carried]
            static = self.covariates.read(frame, "static", origin)
        names = [*self.targets, *self.carried]
        numbers = len(names) - self.categories
        values = np.concatenate(columns, axis=1) if len(columns) > 1 else targets
        cleaned = finite(without_sentinels(values[:, :numbers], self.data), names, np.arange(frame.height), origin)
        if numbers < len(names):
            values[:, :numbers] = cleaned
        else:
            values = cleaned
        self.suspect(cleaned, names)
        return values, without_sentinels(static, self.data)

    def suspect(self, values: np.ndarray, names: list[str]) -> None:
        """Note numbers that look like missing values."""
        for i in range(values.shape[1]):
            found = suspicious_sentinel(values[:, i])
            if found is not None:
                before = self.suspicious.get(names[i], found)
                more = before[1] if names[i] in self.suspicious and before[0] == found[0] else 0
                self.suspicious[names[i]] = (found[0], found[1] + more)


def begin(frame: pl.DataFrame, data: SeriesData, origin: Origin, whole: bool = True) -> tuple[Reading, Roles]:
    """Understand the columns of the first frame.

    Args:
        whole: whether there is no further one.

    Raises:
        ValueError: see `layout.assign` and `CovariateReader`.
    """
    how = number_format(frame, data, origin)
    beside = _reader(data, frame, how, origin, whole)
    roles = assign(frame, data, how, origin)
    names = [c.name for c in roles.targets]
    if roles.time and data.start is not None:
        raise ValueError(
            f"{origin.name}: the stamps are in {'+'.join(roles.time)!r}, so nothing starts at {data.start}; leave "
            f"{origin.option('start', data.start)} out, or count the rows with {origin.option('time_column', 'none')}"
        )
    stamps = roles.stamps if roles.time else started(roles.stamps, data, origin)
    return Reading(data, origin, how, roles, names, stamps, beside), roles


def settled(data: SeriesData, report: dict[str, Any]) -> SeriesData:
    """The section with what the cells of a table have told, for further tables like it whose cells may not tell."""
    told: dict[str, Any] = {}
    if data.time_format is None and report.get("time_written") in DAY_FIRST:
        told["time_format"] = report["time_written"]
    if data.decimal is None and (report.get("decimal") == "," or report.get("grouped_thousands")):
        told["decimal"] = report["decimal"]
    if data.calendar and data.time_zone is None and report.get("time_zone") is not None:
        told["time_zone"] = report["time_zone"]  # the clock of which hours and days were learned
    return replace(data, **told)


def number_format(frame: pl.DataFrame, data: SeriesData, origin: Origin) -> NumberFormat:
    """How numbers and missing cells are written.

    Raises:
        ValueError: in two ways.
    """
    decimal, grouped = detect_format(frame, data.decimal, origin)
    return NumberFormat(decimal, grouped, tuple(data.missing_text))


def _reader(
    data: SeriesData, frame: pl.DataFrame, how: NumberFormat, origin: Origin, whole: bool
) -> CovariateReader | None:
    named = data.past_covariates or data.known_covariates or data.static_covariates or data.holidays_column
    return CovariateReader(data, frame, how, origin, whole) if named or data.calendar else None


def started(stamps: Stamps, data: SeriesData, origin: Origin) -> Stamps:
    """Row numbers to dates, where the user says when they begin."""
    if data.start is None:
        return stamps
    assert data.freq is not None
    freq = Frequency.parse(data.freq)
    first = read_stamps(
        pl.Series("start", [data.start]), Origin("data.start" if origin.from_file else "start"), data.time_format
    )
    us = freq.stamps(first.us[0], stamps.us.astype(np.int64))
    kind = first.kind if freq.by_wall_clock else "datetime"
    return Stamps(us, kind, first.aware, first.zone, first.offsets, "counted")


def without_sentinels(values: np.ndarray, data: SeriesData) -> np.ndarray:
    """NaN in place of the numbers that stand for a missing value."""
    for sentinel in data.missing_values:
        values = np.where(np.isclose(values, sentinel, rtol=1e-6, atol=0), np.nan, values)
    return values


def finite(values: np.ndarray, names: list[str], source: np.ndarray, origin: Origin) -> np.ndarray:
    """The values [N, K], all of them finite or missing.

    Raises:
        ValueError: one is infinite or too large.
    """
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
