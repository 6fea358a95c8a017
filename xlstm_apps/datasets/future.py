"""Known covariates of future steps, from a table of their own."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .config import SeriesData
from .covariate_columns import CovariateReader
from .covariates import Columns, Covariates
from .delimited import Origin
from .frames import to_polars
from .frequency import Frequency
from .grid import shown
from .layout import number_series, split_names, stamps_of
from .reading import number_format, settled, without_sentinels
from .source import read_frame
from .table import SeriesTable
from .timestamps import Stamps
from .zones import localise, to_local

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = 2_000_000  # rows beyond which mostly empty future rows are taken for a mistake


def with_future(
    table: SeriesTable, future: "str | Path | pd.DataFrame | pl.DataFrame", data: SeriesData | None = None
) -> SeriesTable:
    """The table with known covariates of steps after its end.

    Args:
        future: a file or a frame with the stamp and series columns of the table, named as there, and a column for every
            known covariate. Rows of steps that the table has already, and of series that it has not, are not needed:
            the report counts them.
        data: how the table was read; its separator, decimal mark, formats and zone hold here too.

    Raises:
        ValueError: a column is missing, a stamp lies off the grid or is there twice, a cell is no number; one line that
            names the row and the mend. What is still missing is found when it is needed, by `last_windows`.
    """
    return FutureRows(future, table, data).onto(table)


class FutureRows:
    """A table of future rows, read once for several tables of the same columns.

    Args:
        future, data: as for `with_future`.
        like: one of the tables.
    """

    def __init__(
        self, future: "str | Path | pd.DataFrame | pl.DataFrame", like: SeriesTable, data: SeriesData | None = None
    ) -> None:
        raw = like.covariates
        if raw is None or not raw.known.names:
            raise ValueError(
                "the table has no known covariates, so future rows say nothing; name them in known_covariates"
            )
        from_file = isinstance(future, str | Path)
        how = settled(data, like.report) if data is not None else None
        options = {name: getattr(how, name) for name in _HOW} if how is not None else {}
        settings = SeriesData(
            path=str(future) if from_file else "frame",
            known_covariates=[n for n in raw.known.names if n != raw.holidays],
            holidays_column=raw.holidays,
            categorical_covariates=[n for n in raw.known.levels if n != raw.holidays],
            **options,
        )
        if from_file:
            frame, self.origin = read_frame(settings)
        else:
            frame, self.origin = to_polars(future), Origin("the future frame", from_file=False)
        origin = self.origin
        reader = CovariateReader(settings, frame, number_format(frame, settings, origin), origin, whole=False)
        for name in raw.known.names:
            if name in reader.levels and name not in raw.known.levels:
                cell = frame[name].drop_nulls().cast(pl.String)[0]
                raise ValueError(
                    f"{origin.column(name)}: {cell!r} is text, and the table has numbers there; mend the cells"
                )
        reader.levels = {name: {v: i for i, v in enumerate(levels)} for name, levels in raw.known.levels.items()}
        reader.roles["known"] = raw.known.names
        self.values = without_sentinels(reader.read(frame, "known", origin), settings)
        self.levels = reader.levels_of("known")
        stamps = _stamps(frame, like, settings, origin)
        ids = split_names(frame, like.report.get("id_column"), origin, "id_column")
        self.own, self.item_ids = number_series(frame, ids, origin)
        zone = like.time_zone if stamps.kind != "integer" else None
        self.us, _ = localise(stamps, self.own, zone, origin)

    def onto(self, table: SeriesTable) -> SeriesTable:
        """The table with those of the rows that lie after the ends of its series."""
        raw = table.covariates
        assert raw is not None
        code = self.own
        if self.item_ids is not None:
            known = {name: i for i, name in enumerate(table.item_ids or [])}
            code = np.array([known.get(name, -1) for name in self.item_ids], dtype=np.int64)[self.own]
        rows = np.flatnonzero(code >= 0)
        step = _steps(table, code[rows], self.us[rows], rows, self.origin)
        ahead = step >= table.lengths[code[rows]]
        counts = {
            "rows": len(code),
            "used": int(ahead.sum()),
            "not_ahead": int((~ahead).sum()),
            "other_series": len(code) - len(rows),
        }
        rows, step = rows[ahead], step[ahead]
        values, offsets = _longer(raw, code[rows], step, self.values[rows], rows, self.origin)
        columns = Columns(raw.known.names, values, self.levels)
        covariates = replace(raw, known=columns, known_offsets=offsets)
        report = {**table.report, "future_table": counts}
        if counts["other_series"] and counts["used"] == 0:
            report["notes"] = [
                *report.get("notes", []),
                f"no row of the future table is used: {counts['other_series']:,} are of other series than the table's",
            ]
        return replace(table, covariates=covariates, report=report)


_HOW = ("separator", "decimal", "header", "encoding", "missing_values", "missing_text", "time_format")


def _stamps(frame: pl.DataFrame, table: SeriesTable, settings: SeriesData, origin: Origin) -> Stamps:
    """The stamps of future rows, of the same kind as the table's."""
    time: Any = table.report.get("time_column")
    if time is None:
        raise ValueError(
            "the table has no stamps, so future rows have no place; put them at the end of the table itself"
        )
    names = split_names(frame, time, origin, "time_column")
    stamps = stamps_of(frame, names, origin, settings.time_format)
    if (stamps.kind == "integer") != (table.time_kind == "integer"):
        raise ValueError(
            f"{origin.column('+'.join(names))}: the stamps are read as {stamps.written}, not as those of the table, "
            f"which are {table.report.get('time_written')}; write them alike"
        )
    if stamps.kind != "integer" and stamps.aware and table.time_zone is None:
        raise ValueError(
            f"{origin.column('+'.join(names))}: these stamps have a time zone, and the table has none; read the table "
            "with time_zone"
        )
    return stamps


def _steps(table: SeriesTable, code: np.ndarray, us: np.ndarray, rows: np.ndarray, origin: Origin) -> np.ndarray:
    """Row of each stamp in its series; -1 before its begin."""
    freq = Frequency.parse(table.freq)
    first = table.timestamps[table.offsets[:-1]]
    if table.time_zone is not None and freq.by_wall_clock and len(us):
        us, first = to_local(us, table.time_zone), to_local(first, table.time_zone)
    first = first[code]
    after = us >= first
    step = np.full(len(us), -1, dtype=np.int64)
    step[after] = freq.steps(us[after], first[after], table.month_ends)
    off = np.flatnonzero(after & (step < 0))
    if len(off):
        of = f" of series {table.item_ids[code[off[0]]]!r}" if table.item_ids else ""
        raise ValueError(
            f"{origin.where(int(rows[off[0]]))}: {shown(us[off[0]])} lies off the {table.freq} grid{of}, which begins "
            f"at {shown(first[off[0]])} ({len(off)} such rows); mend the stamp"
        )
    return step


def _longer(
    raw: Covariates, code: np.ndarray, step: np.ndarray, values: np.ndarray, rows: np.ndarray, origin: Origin
) -> tuple[np.ndarray, np.ndarray]:
    """The known covariates [M', F] and offsets [S + 1] with further rows put in."""
    order = np.lexsort((step, code))
    twice = np.flatnonzero((np.diff(code[order]) == 0) & (np.diff(step[order]) == 0))
    if len(twice):
        first, second = sorted((int(rows[order[twice[0]]]), int(rows[order[twice[0] + 1]])))
        earlier = origin.where(first).removeprefix(f"{origin.name} ")
        raise ValueError(f"{origin.where(second)}: the same series and stamp as {earlier}; remove one of them")
    lengths = raw.known_lengths.copy()
    np.maximum.at(lengths, code, step + 1)
    total = int(lengths.sum())
    if total > _LARGEST and total > 20 * (len(raw.known.values) + len(code)):
        far = int(step.argmax())
        raise ValueError(
            f"{origin.where(int(rows[far]))}: the stamp lies {int(step[far]):,} steps after the series' begin, far "
            "from all others; mend it"
        )
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    known = np.full((total, raw.known.values.shape[1]), np.nan, dtype=np.float32)
    known[np.arange(len(raw.known.values)) + np.repeat(offsets[:-1] - raw.known_offsets[:-1], raw.known_lengths)] = (
        raw.known.values
    )
    place = offsets[code] + step
    known[place] = np.where(np.isnan(values), known[place], values)
    return known, offsets
