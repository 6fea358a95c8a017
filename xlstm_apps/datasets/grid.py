"""Rows as they came to series on a regular grid: sort, duplicates, frequency, gaps. What is done is counted."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from .config import SeriesData
from .delimited import Origin
from .frequency import Frequency
from .inference import changing_offsets, infer, month_ends
from .zones import to_local, to_utc

_FAR = 10_000  # steps of one gap beyond which a stamp far from few others is taken for a mistake
_LARGEST = 2_000_000  # grid rows beyond which a mostly empty grid is taken for a mistake


@dataclass
class Rows:
    """Rows of all series, one after the other."""

    codes: np.ndarray
    """Series number, int64 [N]."""
    us: np.ndarray
    """Stamp, datetime64[us] [N]: the clock that the grid is counted on."""
    values: np.ndarray
    """float64 [N, C], NaN where missing."""
    source: np.ndarray
    """Row in the file, int64 [N]."""
    columns: list[str]
    """Names of the columns of numbers, for messages; columns of categories, which have no mean, follow them."""

    def take(self, index: np.ndarray) -> "Rows":
        values = self.values[index]
        return replace(self, codes=self.codes[index], us=self.us[index], values=values, source=self.source[index])


@dataclass(frozen=True)
class Grid:
    values: np.ndarray
    timestamps: np.ndarray
    offsets: np.ndarray
    freq: Frequency
    month_ends: bool


def build(
    rows: Rows, zone: str | None, integer: str | None, names: list[str] | None, data: SeriesData, origin: Origin,
    report: dict[str, Any],
) -> Grid:  # fmt: skip
    """Sort, merge and place rows.

    Args:
        rows: stamps in UTC where `zone` is given.
        integer: what integer stamps are (`years`, `row counts`), None for dates and times.
        names: of the series, for messages.
        report: receives what was found.

    Raises:
        ValueError: duplicates, irregular stamps, stamps off the grid, or a stamp so far away that the grid explodes.
    """
    inside = rows.codes[1:] == rows.codes[:-1]
    report["sorted"] = bool(((np.diff(rows.us) >= np.timedelta64(0)) | ~inside).all())
    order = np.lexsort((rows.us, rows.codes))
    rows = rows.take(order) if (np.diff(order) != 1).any() else rows
    asked = Frequency.parse(data.freq) if data.freq is not None else None
    counted = integer == "row counts" or integer == "row numbers"
    if asked is not None and counted and asked.kind != "index":
        raise ValueError(
            f"{origin.name}: the stamps are {integer}; {origin.option('freq', data.freq)} needs dates: say where they "
            f"begin with {origin.option('start', '2020-01-01')}"
            + (f" and {origin.option('time_column', 'none')}" if integer == "row counts" else "")
            + ", or leave freq out"
        )
    unit = Frequency.parse("1d") if asked is None else asked
    if zone is not None and unit.by_wall_clock and asked is not None:
        rows = replace(rows, us=to_local(rows.us, zone))
    report["duplicates"] = {"rows": 0, "policy": data.duplicates}
    if data.resample is not None:
        assert asked is not None
        rows, report["partial_steps"] = _resample(rows, asked, data.resample, origin)
        report["resampled"] = f"{data.resample} over {asked}"
    else:
        rows = _merge(rows, data, names, origin, report, zone)
    freq = asked
    if freq is None:
        local = to_local(rows.us, zone) if zone is not None else rows.us
        if zone is None:
            freq = infer(rows.us, rows.codes, origin, counted)
        else:
            # Days and months are even on the wall clock, hours in UTC: whichever has an explanation.
            freq = _even(rows, local, origin)
            if freq.by_wall_clock:
                rows = replace(rows, us=local)
    report["freq"], report["freq_inferred"] = str(freq), asked is None
    ends = freq.kind == "month" and month_ends(rows.us)
    starts = np.flatnonzero(np.concatenate([[True], rows.codes[1:] != rows.codes[:-1]]))
    lengths = np.diff(np.append(starts, len(rows.us)))
    steps = freq.steps(rows.us, rows.us[np.repeat(starts, lengths)], ends)
    off = steps < 0
    report["off_grid"] = {"rows": 0, "policy": data.off_grid}
    if off.any():
        rows, starts, lengths, steps = _drop_off_grid(rows, freq, ends, data, origin, report)
    sizes = steps[starts + lengths - 1] + 1
    total = int(sizes.sum())
    longest = int(np.diff(steps).max(initial=0))  # between series it goes back to 0
    if (longest > _FAR and longest > 20 * len(rows.us)) or (total > _LARGEST and total > 20 * len(rows.us)):
        raise _too_sparse(rows, freq, origin, total)
    jumps = np.append(np.diff(steps), 0)
    jumps[np.append(starts[1:], len(steps)) - 1] = np.iinfo(np.int64).max  # between series
    report["coarser_series"] = int(((lengths > 2) & (np.minimum.reduceat(jumps, starts) > 1)).sum())
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    _check_precision(rows, names, origin)
    values = np.full((total, rows.values.shape[1]), np.nan, dtype=np.float32)
    values[np.repeat(offsets[:-1], lengths) + steps] = rows.values
    first = rows.us[starts]
    within = np.arange(total) - np.repeat(offsets[:-1], sizes)
    stamps = freq.stamps(np.repeat(first, sizes), within, ends)
    _count_gaps(report, steps, starts, rows, total, names)
    if zone is not None and freq.by_wall_clock:
        stamps = to_utc(stamps, zone)
    return Grid(values, stamps, offsets, freq, ends)


def _even(rows: Rows, local: np.ndarray, origin: Origin) -> Frequency:
    try:
        freq = infer(local, rows.codes, origin)
    except ValueError:
        return infer(rows.us, rows.codes, origin)
    return freq if freq.by_wall_clock else infer(rows.us, rows.codes, origin)


def _merge(
    rows: Rows, data: SeriesData, names: list[str] | None, origin: Origin, report: dict[str, Any], zone: str | None
) -> Rows:
    """One row per series and stamp."""
    new = np.concatenate([[True], (np.diff(rows.us) != np.timedelta64(0)) | (rows.codes[1:] != rows.codes[:-1])])
    if new.all():
        return rows
    begin = np.flatnonzero(new)
    counts = np.diff(np.append(begin, len(new)))
    extra = int(len(new) - len(begin))
    if data.duplicates == "error":
        at = int(begin[np.argmax(counts > 1)])
        n = int(counts[np.argmax(counts > 1)])
        of = f" of series {names[rows.codes[at]]!r}" if names else ""
        rest = f"; {extra} rows in all repeat a stamp" if extra > n - 1 else ""
        where = origin.where(int(rows.source[at + 1]))
        earlier = origin.where(int(rows.source[at])).removeprefix(f"{origin.name} ")
        advice = (
            f"choose {origin.option('duplicates', 'mean')} (or first, last)"
            if zone is not None or not _autumn(rows.us[begin[counts > 1]], counts)
            else "it looks like local time at the end of daylight saving: name the zone, "
            f"{origin.option('time_zone', 'Europe/Berlin')}"
        )
        many = names is None and extra >= 0.2 * len(new)
        apart = origin.facts.get("tells_apart")
        id_hint = f", or name the series' column with {origin.option('id_column', apart or 'NAME')}" * (
            many or bool(apart)
        )
        stamp = shown(rows.us[at])
        raise ValueError(
            f"{where}: the stamp {stamp}{of} is there {n} times (first: {earlier}){rest}; {advice}{id_hint}"
        )
    report["duplicates"]["rows"] = extra
    if data.duplicates == "first":
        return rows.take(begin)
    if data.duplicates == "last":
        return rows.take(begin + counts - 1)
    return replace(rows.take(begin), values=_aggregate(rows, np.cumsum(new) - 1, "mean"))


def shown(stamp: np.datetime64) -> str:
    return str(stamp).replace("T", " ").removesuffix(".000000")


def _autumn(us: np.ndarray, counts: np.ndarray) -> bool:
    """Pairs of stamps in the small hours of autumn Sundays (either hemisphere) only."""
    days = us.astype("datetime64[D]")
    hour = (us - days).astype(np.int64) // 3_600_000_000
    sunday = (days.astype(np.int64) + 4) % 7 == 0
    month = us.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return bool((counts <= 2).all() and (sunday & (hour <= 3) & np.isin(month, [3, 4, 10, 11])).all())


def _aggregate(rows: Rows, group: np.ndarray, how: str) -> np.ndarray:
    """Values per group of rows; NaN left out; NaN where a group has nothing; the first of categories."""
    values = rows.values
    numbers = [str(i) for i in range(len(rows.columns))]
    columns = [pl.Series(f"{i}", values[:, i]).fill_nan(None) for i in range(values.shape[1])]
    frame = pl.DataFrame([pl.Series("__group", group), *columns])
    every = pl.col(numbers)
    first = pl.all().exclude("__group", *numbers).drop_nulls().first()
    made = {
        "mean": every.mean(),
        "sum": pl.when(every.count() > 0).then(every.sum()),
        "min": every.min(),
        "max": every.max(),
        "first": every.drop_nulls().first(),
        "last": every.drop_nulls().last(),
    }[how]
    out = frame.group_by("__group", maintain_order=True).agg(made, first).drop("__group")
    return out.fill_null(float("nan")).to_numpy().astype(np.float64)


def _resample(rows: Rows, freq: Frequency, how: str, origin: Origin) -> tuple[Rows, int]:
    """Statistic over each step of the grid; the stamp is the step's beginning. Weeks begin on Monday.

    Returns:
        The rows, and how many series begin or end with a step of fewer rows than most have.
    """
    if freq.kind == "business":
        raise ValueError(
            f"{origin.option('resample', how)} does not go with business days; use {origin.option('freq', '1d')}"
        )
    if freq.kind == "month":
        months = rows.us.astype("datetime64[M]").astype(np.int64)
        begin = (months // freq.count * freq.count).astype("datetime64[M]").astype("datetime64[us]")
    else:
        monday = np.int64(4 * 86_400_000_000 if freq.kind == "fixed" else 0)  # 1970-01-05
        us = rows.us.astype(np.int64) - monday
        begin = (us // freq.count * freq.count + monday).astype("datetime64[us]")
    new = np.concatenate([[True], (np.diff(begin) != np.timedelta64(0)) | (rows.codes[1:] != rows.codes[:-1])])
    at = np.flatnonzero(new)
    few = np.diff(np.append(at, len(new))) < np.median(np.diff(np.append(at, len(new))))
    owner = rows.codes[at]
    edge = np.concatenate([[True], owner[1:] != owner[:-1]]) | np.concatenate([owner[1:] != owner[:-1], [True]])
    partial = len(np.unique(owner[few & edge]))
    return replace(rows.take(at), us=begin[at], values=_aggregate(rows, np.cumsum(new) - 1, how)), partial


def _drop_off_grid(
    rows: Rows,
    freq: Frequency,
    ends: bool,
    data: SeriesData,
    origin: Origin,
    report: dict[str, Any],
) -> tuple[Rows, np.ndarray, np.ndarray, np.ndarray]:
    """The rows on the grid that most rows of their series share; the rest is an error, or dropped where asked."""
    anchor = _anchor(rows, freq)
    on = freq.steps(rows.us, anchor, ends) >= 0
    off = np.flatnonzero(~on)
    if data.off_grid == "error":
        row = int(off[0])
        stamp = shown(rows.us[row])
        advice = changing_offsets(origin) or (
            f"leave them out with {origin.option('off_grid', 'drop')}, or average them in with "
            f"{origin.option('freq', str(freq))} {origin.option('resample', 'mean')}"
        )
        raise ValueError(
            f"{origin.where(int(rows.source[row]))}: {stamp} lies off the {freq} grid ({len(off)} of {len(on)} "
            f"stamps do); {advice}"
        )
    report["off_grid"]["rows"] = len(off)
    rows = rows.take(np.flatnonzero(on))
    starts = np.flatnonzero(np.concatenate([[True], rows.codes[1:] != rows.codes[:-1]]))
    lengths = np.diff(np.append(starts, len(rows.us)))
    return rows, starts, lengths, freq.steps(rows.us, rows.us[np.repeat(starts, lengths)], ends)


def _anchor(rows: Rows, freq: Frequency) -> np.ndarray:
    """For every row, a stamp before its series that lies on the most common phase of that series' grid."""
    if freq.kind in ("fixed", "index"):
        phase = rows.us.astype(np.int64) % freq.count
    else:  # business days and months: the time since the day's or month's beginning
        unit = "D" if freq.kind == "business" else "M"
        phase = (rows.us - rows.us.astype(f"datetime64[{unit}]").astype("datetime64[us]")).astype(np.int64)
    frame = pl.DataFrame({"code": rows.codes, "phase": phase, "us": rows.us.astype(np.int64)})
    phases = frame.group_by("code", "phase").agg(pl.len(), pl.col("us").min())
    best = (
        phases.sort("code", "len", "us", descending=[False, True, False]).group_by("code", maintain_order=True).first()
    )
    first = best["us"].to_numpy()[np.searchsorted(best["code"].to_numpy(), rows.codes)]
    if freq.kind in ("fixed", "index"):
        back = (first - rows.us.astype(np.int64)).clip(min=0)
        first = first - -(-back // freq.count) * freq.count  # rows before the anchor count from a stamp before them
    return first.astype("datetime64[us]")


def _check_precision(rows: Rows, names: list[str] | None, origin: Origin) -> None:
    """Raises ValueError where 32-bit numbers cannot tell a series' values apart: a meter that counts 12345678.9 up."""
    inside, series = rows.codes[1:] == rows.codes[:-1], int(rows.codes[-1]) + 1
    for i, column in enumerate(rows.columns):
        x = rows.values[:, i]
        lost = np.abs(x - x.astype(np.float32))
        if not (lost > 0).any():
            continue
        moved = np.abs(np.diff(x))
        good = inside & ~np.isnan(moved)
        of = rows.codes[1:][good]
        count = np.bincount(of, minlength=series)
        step, error = (np.bincount(of, values[good], minlength=series) for values in (moved, lost[1:]))
        bad = np.flatnonzero((error > 0.25 * step) & (step > 0))
        if len(bad):
            near = float(x[(rows.codes == bad[0]) & ~np.isnan(x)][0])
            whose = f" of series {names[bad[0]]!r}" if names else ""
            change = step[bad[0]] / count[bad[0]]
            raise ValueError(
                f"{origin.column(column)}{whose}: values near {near:.15g} that change by {change:.3g} from row to row "
                "are finer than 32-bit numbers hold apart; subtract a constant, or give the changes"
            )


def _too_sparse(rows: Rows, freq: Frequency, origin: Origin, total: int) -> ValueError:
    jump = np.diff(rows.us).astype(np.int64) * (rows.codes[1:] == rows.codes[:-1])
    at = int(jump.argmax())
    days = jump[at] / 86_400_000_000
    return ValueError(
        f"{origin.where(int(rows.source[at + 1]))}: the stamp {shown(rows.us[at + 1])} lies {days:,.0f} days after "
        f"the one before it; at {freq} the gaps would fill {total:,} rows for {len(rows.us):,} there are; mend the "
        f"stamp, or set a longer {origin.option('freq', '1d')}"
    )


def _count_gaps(
    report: dict[str, Any], steps: np.ndarray, starts: np.ndarray, rows: Rows, total: int, names: list[str] | None
) -> None:
    jump = np.diff(steps) - 1
    jump[starts[1:] - 1] = 0  # between series
    gaps = np.flatnonzero(jump > 0)
    report["gaps"] = {
        "rows": int(total - len(steps)),
        "runs": len(gaps),
        "longest": int(jump.max(initial=0)),
        "first": None,
    }
    if len(gaps):
        after = shown(rows.us[gaps[0]])
        report["gaps"]["first"] = {"after": after, "rows": int(jump[gaps[0]])}
        if names:
            report["gaps"]["first"]["series"] = names[rows.codes[gaps[0]]]
