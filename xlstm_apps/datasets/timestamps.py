"""Stamps from text, numbers and typed columns: microseconds of UTC where offsets are given, else of the wall clock."""

import re
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from .delimited import Origin
from .numbers import missing_cells
from .table import TimeKind

_CLOCK = (
    r"(?:(?:[Tt]|\s+|,\s*)(?<H>\d{1,2})(?::(?<M>\d{2}))?(?::(?<S>\d{2})(?:[.,](?<f>\d{1,9}))?)?\s*(?<p>[AaPp]\.?[Mm]\.?)?)?"
    r"\s*(?<o>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)
# Names of months, so that an identifier such as SKU-12 is none.
_MONTH = r"(?<mon>(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[A-Za-z]{0,6})"
_FAMILIES = {
    "year-month-day": r"^(?<y>\d{4})[-/.](?<m>\d{1,2})[-/.](?<d>\d{1,2})" + _CLOCK,
    "day and month": r"^(?<a>\d{1,2})(?<sep>[-/.])(?<b>\d{1,2})[-/.](?<y>\d{4})" + _CLOCK,
    "yyyymmdd": r"^(?<y>(?:17|18|19|20|21)\d{2})(?<m>[01]\d)(?<d>[0-3]\d)"
    r"(?:[T ]?(?<H>\d{2}):?(?<M>\d{2}):?(?<S>\d{2})?)?(?<o>Z)?$",
    # No point between them: 1749.5 is the middle of a year.
    "year-month": r"^(?<y>\d{4})[-/]?[Mm]?(?<m>\d{1,2})$",
    "month-year": r"^(?<m>\d{1,2})[-/.](?<y>\d{4})$",
    "year and quarter": r"^(?<y>\d{4})[-\s]*[Qq](?<q>[1-4])$",
    "quarter and year": r"^[Qq](?<q>[1-4])[-/\s]*(?<y>\d{4})$",
    "year and week": r"^(?<y>\d{4})[-\s]*[Ww](?<w>\d{1,2})$",
    "day month year": r"^(?:[A-Za-z]{3},\s+)?(?<d>\d{1,2})[\s-]+" + _MONTH + r"\.?[\s,-]+(?<y>\d{4})" + _CLOCK,
    "month day, year": "^" + _MONTH + r"\.?\s+(?<d>\d{1,2}),?\s+(?<y>\d{4})" + _CLOCK,
    "month year": "^" + _MONTH + r"\.?[\s-]+(?<y>\d{4})$",
    "year month": r"^(?<y>\d{4})[\s-]+" + _MONTH + "$",
}
_COMPILED = [re.compile(r.replace("(?<", "(?P<")) for r in _FAMILIES.values()]
# Years of two digits: the century has to be said, by a format or in the cells.
_SHORT_YEARS = {
    r"\d{1,2}/\d{1,2}/\d{2}": "%m/%d/%y",
    r"\d{1,2}\.\d{1,2}\.\d{2}": "%d.%m.%y",
    r"\d{1,2}-[A-Za-z]{3}-\d{2}": "%d-%b-%y",
    r"[A-Za-z]{3}-\d{2}": "%b-%y",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_LAST = np.datetime64("9999-12-31", "us").astype(np.int64)
DAY_FIRST = {"day/month/year": True, "month/day/year": False}
_UNIX = {"unix_s": (1_000_000, 1), "unix_ms": (1_000, 1), "unix_us": (1, 1), "unix_ns": (1, 1_000)}
"""Microseconds of a unit, as a fraction."""
CLOCK_ONLY = r"^\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp][Mm])?$"


@dataclass
class Stamps:
    """A column of stamps, understood."""

    us: np.ndarray
    """datetime64[us] [N]: UTC where `aware`, else the wall clock as written."""
    kind: TimeKind = "datetime"
    aware: bool = False
    zone: str | None = None
    """The zone the column itself names, if any."""
    offsets: list[str] = field(default_factory=list)
    """Distinct offsets written beside the stamps."""
    written: str = ""
    """How they were read, for the report."""


def looks_like_stamps(column: pl.Series) -> bool:
    """Whether at least half of a text column's first cells are dates written in one way; the rest may be mistakes."""
    head = [c.strip() for c in column.head(20).to_list() if c]
    if not any(r.match(c) for c in head for r in _COMPILED):
        return False  # a table may have hundreds of columns of numbers
    cells = column.drop_nulls().head(200).str.strip_chars()
    cells = cells.filter(~missing_cells(cells))
    return any(cells.str.contains(r).mean() >= 0.5 for r in _FAMILIES.values())


def read_stamps(column: pl.Series, origin: Origin, time_format: str | None, day_first: bool | None = None) -> Stamps:
    """Understand a column of text, integers, dates or datetimes as stamps.

    Args:
        day_first: the order of day and month, where earlier rows have told; None: as these rows tell.

    Raises:
        ValueError: a cell is empty or no stamp (names its line), or day and month cannot be told apart.
    """
    if time_format in DAY_FIRST:
        day_first, time_format = DAY_FIRST[time_format], None
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        _no_nulls(column.is_null(), column, origin)
        stamps = column.dt.replace_time_zone(None) if dtype.time_zone is None else column.dt.convert_time_zone("UTC")
        stamps = stamps.dt.replace_time_zone(None)
        if dtype.time_unit == "ns" and (stamps.dt.nanosecond() % 1000 != 0).any():
            raise ValueError(f"{origin.column(column.name)}: stamps finer than a microsecond are not supported")
        us = stamps.dt.cast_time_unit("us").to_numpy().astype("datetime64[us]")
        return Stamps(us, aware=dtype.time_zone is not None, zone=dtype.time_zone, written="datetime")
    if dtype == pl.Date:
        _no_nulls(column.is_null(), column, origin)
        return Stamps(column.to_numpy().astype("datetime64[us]"), "date", written="date")
    if dtype.is_numeric():
        _no_nulls(column.is_null(), column, origin)
        return _numbers(column, origin, time_format)
    if dtype != pl.String:
        raise ValueError(f"{origin.column(column.name)}: its type {dtype} holds no stamps; name another time column")
    cells = column.str.strip_chars()
    _no_nulls(missing_cells(cells), column, origin)
    first = cells.arg_unique()
    if len(first) * 2 < len(cells):  # a long table repeats its stamps: each is read once
        distinct = cells.gather(first)
        stamps = read_stamps(distinct, origin.only(first.to_numpy()), time_format, day_first)
        number = cells.replace_strict(distinct, np.arange(len(distinct)), return_dtype=pl.Int64).to_numpy()
        return replace(stamps, us=stamps.us[number])
    if time_format is not None and time_format not in _UNIX:
        return _strptime(cells, origin, time_format)
    if cells.str.contains(r"^-?\d{1,19}(\.\d*)?$").all():
        whole = cells.str.contains(r"^-?\d+$").all()
        numbers = cells.cast(pl.Int64 if whole else pl.Float64, strict=False)
        if numbers.null_count():  # of 19 digits, and too many
            raise _no_stamp(column, int(numbers.is_null().arg_true()[0]), origin)
        return _numbers(numbers, origin, time_format)
    sample = cells.head(200)
    best = max(_FAMILIES, key=lambda name: int(sample.str.contains(_FAMILIES[name]).sum()))
    return _assemble(cells, column, best, origin, day_first)


def _no_nulls(missing: pl.Series, column: pl.Series, origin: Origin) -> None:
    if missing.any():
        row = int(missing.arg_true()[0])
        count = int(missing.sum())
        more = f" ({count} such rows)" if count > 1 else ""
        raise ValueError(f"{origin.cell(row, column.name)}: the stamp is missing{more}; fill it in or remove the row")


def _no_stamp(column: pl.Series, row: int, origin: Origin) -> ValueError:
    cell, example = str(column[row]), "%d/%m/%Y %H:%M"
    for pattern, short in _SHORT_YEARS.items():
        if found := re.match(pattern + r"(\s+\d{1,2}:\d{2})?$", cell.strip()):
            example = short + (" %H:%M" if found[1] else "")
    advice = f"mend the cell, or say how stamps are written: {origin.option('time_format', example)}"
    if not any(c.isdigit() for c in cell):
        advice = f"if the row is none of the data's (a total, a unit, the header again), remove it; else {advice}"
    return ValueError(f"{origin.cell(row, column.name)}: {cell!r} is no date or time that is recognised; {advice}")


def _numbers(column: pl.Series, origin: Origin, time_format: str | None) -> Stamps:
    """Whole numbers, or seconds since 1970 with a fraction."""
    if column.dtype.is_integer():
        return _integers(column.cast(pl.Int64), origin, time_format)
    numbers = column.cast(pl.Float64)
    odd = (numbers != numbers.floor()) | numbers.is_nan()
    if not odd.any():
        return _integers(numbers.cast(pl.Int64), origin, time_format)
    if time_format == "unix_s" or (time_format is None and numbers.min() >= 1e8 and numbers.max() < 5e9):
        return Stamps(np.round(numbers.to_numpy() * 1e6).astype("datetime64[us]"), aware=True, written="unix_s")
    if _excel(numbers):
        raise _excel_days(numbers, origin)
    raise _no_stamp(column, int(odd.arg_true()[0]), origin)


def _excel(numbers: pl.Series) -> bool:
    """Days since 1900, as Excel stores a date, in a column that says it holds dates."""
    named = any(w in numbers.name.lower() for w in ("date", "datum", "time", "zeit"))
    return named and numbers.min() >= 20_000 and numbers.max() < 80_000


def _excel_days(numbers: pl.Series, origin: Origin) -> ValueError:
    return ValueError(
        f"{origin.cell(0, numbers.name)}: {numbers[0]} looks like a date as Excel counts days; give the column a date "
        "format there and save the table again"
    )


def _integers(numbers: pl.Series, origin: Origin, time_format: str | None) -> Stamps:
    """Years, dates as 20131231, seconds or milliseconds since 1970, or plain row counts, told apart by their size."""
    n = numbers.to_numpy()
    if time_format in _UNIX:
        return _unix(n, time_format, numbers.name, origin)
    if time_format is not None:
        return _strptime(numbers.cast(pl.String), origin, time_format)
    low, high = int(n.min()), int(n.max())
    if _excel(numbers) and "step" not in numbers.name.lower():
        raise _excel_days(numbers, origin)
    named_year = any(w in numbers.name.lower() for w in ("year", "jahr", "date", "time")) or numbers.name == "ds"
    if low >= 1600 and high <= 2300 and named_year:
        return Stamps((n - 1970).astype("datetime64[Y]").astype("datetime64[us]"), "integer", written="years")
    weeks = ((n % 100 >= 1) & (n % 100 <= 53)).all() and low >= 170001 and high <= 219953
    if weeks and any(w in numbers.name.lower() for w in ("week", "woche", "kw")):
        text = (numbers // 100).cast(pl.String) + "-W" + (numbers % 100).cast(pl.String).str.zfill(2)
        return _assemble(text, text, "year and week", origin)
    named_month = named_year or any(w in numbers.name.lower() for w in ("month", "monat", "period"))
    if named_month and low >= 170001 and high <= 219912 and (n % 100 - 1 < 12).all() and (n % 100 > 0).all():
        text = numbers.cast(pl.String)
        return _assemble(text, text, "year-month", origin)
    if low >= 17000101 and high <= 21991231:
        text = numbers.cast(pl.String)
        if _valid_dates(n // 10000, n // 100 % 100, n % 100).all():
            return _assemble(text, text, "yyyymmdd", origin)
    for digits in (10, 12, 14):  # 2024010100: with the hour, the minute, the second
        if low >= 17 * 10 ** (digits - 2) and high < 22 * 10 ** (digits - 2):
            day, clock = np.divmod(n, 10 ** (digits - 8))
            valid = _valid_dates(day // 10000, day // 100 % 100, day % 100)
            clock = clock * 10 ** (14 - digits)
            if (valid & (clock // 10000 < 24) & (clock // 100 % 100 < 60) & (clock % 100 < 60)).all():
                text = numbers.cast(pl.String) + "0" * (14 - digits)
                return _assemble(text, text, "yyyymmdd", origin)
    for unit, begin in (("unix_s", 10**8), ("unix_ms", 10**11), ("unix_us", 10**14), ("unix_ns", 10**17)):
        if begin <= low and high < 50 * begin:
            return _unix(n, unit, numbers.name, origin)
    if low < -(10**15) or high > 10**15:
        raise ValueError(f"{origin.column(numbers.name)}: the integers {low} to {high} are too large for stamps")
    if weeks and low // 100 < high // 100:  # a count would pass through 202060, too
        raise ValueError(
            f"{origin.column(numbers.name)}: {low} to {high} look like years with a month or a week each; say which: "
            f"{origin.option('time_format', '%Y%m')} for months, 'week' in the column's name for weeks"
        )
    dated = any(w in numbers.name.lower() for w in ("date", "datum"))
    for what, example, year, month, day in (
        ("dates with two digits for the year", "%y%m%d", 2000 + n // 10000, n // 100 % 100, n % 100),
        (
            "years with the day's number",
            "%Y%j",
            n // 1000,
            np.ones_like(n),
            np.minimum(n % 1000, 31) * (n % 1000 < 367),
        ),
    ):
        if dated and low > 9999 and ((year > 1699) & (year < 2200)).all() and _valid_dates(year, month, day).all():
            raise ValueError(
                f"{origin.column(numbers.name)}: {low} to {high} look like {what}: say so with "
                f"{origin.option('time_format', example)}"
            )
    return Stamps(n.astype("datetime64[us]"), "integer", written="row counts")


def _unix(n: np.ndarray, unit: str, name: str, origin: Origin) -> Stamps:
    """Whole numbers of a unit since 1970."""
    whole, part = _UNIX[unit]
    if (n % part).any():
        raise ValueError(f"{origin.column(name)}: stamps finer than a microsecond are not supported")
    beyond = np.abs(n / part * whole) > _LAST
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise ValueError(
            f"{origin.cell(row, name)}: {n[row]} as {origin.option('time_format', unit)} is beyond the year 9999; name "
            "the unit it has"
        )
    return Stamps((n // part * whole).astype("datetime64[us]"), aware=True, written=unit)


def _valid_dates(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    ok = (month >= 1) & (month <= 12) & (day >= 1)
    months = ((year - 1970) * 12 + np.where(ok, month, 1) - 1).astype("datetime64[M]")
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    return ok & (day <= length)


def _strptime(cells: pl.Series, origin: Origin, time_format: str) -> Stamps:
    text, pattern = cells, time_format
    # chrono wants a whole date and hours with minutes.
    if not any(d in pattern for d in ("%d", "%e", "%j", "%F", "%D", "%x", "%c", "%s", "%U", "%W", "%V", "%u")):
        has_month = any(m in pattern for m in ("%m", "%b", "%B", "%h"))
        text, pattern = text + (" 1" if has_month else " 1 1"), pattern + (" %d" if has_month else " %m %d")
    if any(h in pattern for h in ("%H", "%I", "%k")) and "%M" not in pattern:
        text, pattern = text + " 00", pattern + " %M"
    has_clock = any(h in pattern for h in ("%H", "%I", "%k", "%T", "%R", "%c", "%s", "%X", "%r"))
    target = pl.Datetime("us") if has_clock else pl.Date
    try:
        parsed = text.str.strptime(target, pattern, strict=False)
    except pl.exceptions.PolarsError as e:
        raise ValueError(f"{origin.option('time_format', time_format)}: {str(e).splitlines()[0]}") from None
    if parsed.null_count():
        row = int(parsed.is_null().arg_true()[0])
        raise ValueError(
            f"{origin.cell(row, cells.name)}: {str(cells[row])!r} is not written as "
            f"{origin.option('time_format', time_format)} says; mend the cell or the format"
        )
    aware = isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone is not None
    if aware:
        parsed = parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    us = parsed.cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]")
    return Stamps(us, "datetime" if has_clock else "date", aware, written=time_format)


def _assemble(
    cells: pl.Series, column: pl.Series, family: str, origin: Origin, day_first: bool | None = None
) -> Stamps:
    """Dates from the parts a regular expression found; every part is checked, nothing rolls over."""
    parts = cells.str.extract_groups(_FAMILIES[family]).struct.unnest()
    unread = parts["y"].is_null()
    if unread.any():
        raise _no_stamp(column, int(unread.arg_true()[0]), origin)

    def number(name: str, default: int) -> np.ndarray:
        if name not in parts.columns:
            return np.full(len(parts), default, dtype=np.int64)
        return parts[name].cast(pl.Int64).fill_null(default).to_numpy()

    year, month, day = number("y", 1970), number("m", 1), number("d", 1)
    written = family
    if "a" in parts.columns:
        if day_first is None:
            day_first = _day_first(number("a", 0), number("b", 0), parts["sep"], column, origin)
        day, month = (number("a", 0), number("b", 0)) if day_first else (number("b", 0), number("a", 0))
        written = "day/month/year" if day_first else "month/day/year"
    if family == "year-month" and year.max() > year.min() + 1 and ((year + 1) % 100 == month).all():
        raise ValueError(
            f"{origin.column(column.name)}: {str(column[0])!r} and the others look like years that end in the next, "
            f"not like months; write {year[0]} for it"
        )
    if "q" in parts.columns:
        month = number("q", 1) * 3 - 2
    if "mon" in parts.columns:
        short = parts["mon"].str.slice(0, 3).str.to_lowercase()
        month = short.replace_strict(_MONTHS, list(range(1, 13)), default=0, return_dtype=pl.Int64).to_numpy()
    hour, minute, second = number("H", 0), number("M", 0), number("S", 0)
    micro = np.zeros(len(parts), dtype=np.int64)
    if "f" in parts.columns and parts["f"].null_count() < len(parts):
        digits = parts["f"].fill_null("").str.pad_end(9, "0").cast(pl.Int64).to_numpy()
        if (digits % 1000).any():
            row = int(np.flatnonzero(digits % 1000)[0])
            raise ValueError(f"{origin.cell(row, column.name)}: stamps finer than a microsecond are not supported")
        micro = digits // 1000
    ok = _valid_dates(year, month, day) & (minute < 60) & (second < 60)
    if "p" in parts.columns and parts["p"].null_count() < len(parts):
        half = parts["p"].str.slice(0, 1).str.to_lowercase()
        ok &= (half.is_null().to_numpy()) | ((hour >= 1) & (hour <= 12))
        hour = np.where(half.is_null().to_numpy(), hour, hour % 12 + 12 * (half == "p").fill_null(False).to_numpy())
    ok &= (hour < 24) | ((hour == 24) & (minute == 0) & (second == 0))  # 24:00 is the end of the day
    monday = np.zeros(len(parts), dtype=np.int64)
    if "w" in parts.columns:
        monday, whole = _weeks(year, number("w", 1))
        ok &= whole
    if not ok.all():
        raise _no_stamp(column, int(np.flatnonzero(~ok)[0]), origin)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1 + monday
    us = ((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micro).astype("datetime64[us]")
    has_clock = "H" in parts.columns and parts["H"].null_count() < len(parts)
    if "o" not in parts.columns or parts["o"].null_count() == len(parts):
        return Stamps(us, "datetime" if has_clock else "date", written=written)
    if parts["o"].null_count():
        row = int(parts["o"].is_null().arg_true()[0])
        raise ValueError(f"{origin.cell(row, column.name)}: {column[row]!r} has no UTC offset, other stamps have one")
    offsets = parts["o"].str.to_uppercase().replace({"UTC": "Z", "GMT": "Z", "+00:00": "Z", "+0000": "Z", "+00": "Z"})
    distinct = offsets.unique(maintain_order=True).to_list()
    shift = offsets.replace_strict(distinct, [seconds(o) for o in distinct], return_dtype=pl.Int64).to_numpy()
    return Stamps(us - (shift * 1_000_000).astype("timedelta64[us]"), aware=True, offsets=distinct, written=written)


def _weeks(year: np.ndarray, week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days from the first of January to the Monday of an ISO week, and whether the year has such a week."""
    first = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    weekday = (first.astype(np.int64) + 3) % 7  # 1970 began on a Thursday; Monday is 0
    # The first week is the one with the year's first Thursday, and every Thursday lies in its week's year.
    monday = np.where(weekday <= 3, -weekday, 7 - weekday) + 7 * (week - 1)
    thursday = first + monday + 3
    return monday, (week >= 1) & (thursday.astype("datetime64[Y]") == first.astype("datetime64[Y]"))


def seconds(offset: str) -> int:
    """Of an offset as it is written: `Z`, `+02`, `+02:00`, `-0330`."""
    if offset == "Z":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if offset[0] == "-" else 1)


def _day_first(a: np.ndarray, b: np.ndarray, separators: pl.Series, column: pl.Series, origin: Origin) -> bool:
    if (a > 12).any() and (b > 12).any():
        rows = int(np.flatnonzero(a > 12)[0]), int(np.flatnonzero(b > 12)[0])
        raise ValueError(
            f"{origin.column(column.name)}: {column[rows[0]]!r} has the day first, {column[rows[1]]!r} the month "
            f"({origin.where(rows[1]).removeprefix(origin.name + ' ')}); write all stamps the same way"
        )
    if (a > 12).any() or (separators == ".").all():  # points are only ever written day first
        return True
    if (b > 12).any():
        return False
    raise ValueError(
        f"{origin.column(column.name)}: in {str(column[0])!r} day and month cannot be told apart; say which comes "
        f"first: "
        f"{origin.option('time_format', 'day/month/year')} or {origin.option('time_format', 'month/day/year')}"
    )
