"""The step between stamps as an arithmetic: stamp -> row number on a regular grid, and back.

Fixed steps (seconds to weeks) count microseconds; months, quarters and years count calendar months, keeping the day of
the month or the month's end; business days count Monday to Friday. Days and longer steps are counted on the wall clock,
so that a day with a daylight-saving change is still one day.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

US = np.timedelta64(1, "us")
_SECOND = 1_000_000
_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3_600 * _SECOND,
    "d": 86_400 * _SECOND,
    "w": 7 * 86_400 * _SECOND,
}
_MONTHS = {"mo": 1, "q": 3, "y": 12}
# pandas' spellings, which many users know by heart. "M" is a month there, "m" a minute here.
_PANDAS = {
    "min": "m", "t": "m", "sec": "s", "l": "ms", "u": "us",
    "MS": "mo", "ME": "mo", "M": "mo", "QS": "q", "QE": "q", "Q": "q", "YS": "y", "YE": "y", "Y": "y", "A": "y",
    "AS": "y", "B": "b", "D": "d", "H": "h", "W": "w", "T": "m", "S": "s", "W-SUN": "w", "W-MON": "w", "i": "i",
}  # fmt: skip

Kind = Literal["fixed", "month", "business", "index"]


@dataclass(frozen=True)
class Frequency:
    """A step of `count` units; `kind` says which calendar counts it."""

    kind: Kind
    count: int
    """Microseconds (fixed), months, business days, or rows (index)."""

    @classmethod
    def parse(cls, text: str) -> "Frequency":
        """Read `15m`, `1h`, `1b`, `1mo`, ...; pandas' `15min`, `D`, `MS` too.

        Raises:
            ValueError: the text is no frequency.
        """
        match = re.fullmatch(r"\s*(\d*)\s*([A-Za-z-]+)\s*", text)
        count, unit = (int(match[1] or 1), match[2]) if match else (0, "")
        unit = _PANDAS.get(
            unit, unit if unit in (*_UNITS, *_MONTHS, "b", "i") else _PANDAS.get(unit.lower(), unit.lower())
        )
        if count > 0 and unit in _UNITS:
            return cls("fixed", count * _UNITS[unit])
        if count > 0 and unit in _MONTHS:
            return cls("month", count * _MONTHS[unit])
        if count > 0 and unit in ("b", "i"):
            return cls("business" if unit == "b" else "index", count)
        raise ValueError(f"freq {text!r} is no frequency; write 15m, 1h, 1d, 1b (business days), 1w, 1mo, 1q or 1y")

    def __str__(self) -> str:
        if self.kind == "month":
            unit = next(u for u in ("y", "q", "mo") if self.count % _MONTHS[u] == 0)
            return f"{self.count // _MONTHS[unit]}{unit}"
        if self.kind == "fixed":
            unit = next(u for u in ("w", "d", "h", "m", "s", "ms", "us") if self.count % _UNITS[u] == 0)
            return f"{self.count // _UNITS[unit]}{unit}"
        return f"{self.count}{'b' if self.kind == 'business' else 'i'}"

    @property
    def by_wall_clock(self) -> bool:
        """Whether steps are counted on local time: days and longer."""
        return self.kind in ("month", "business") or (self.kind == "fixed" and self.count % _UNITS["d"] == 0)

    @property
    def typical(self) -> np.timedelta64:
        """About how long one step is."""
        days = {"month": 30.436875, "business": 1.4}.get(self.kind)
        return np.timedelta64(self.count if days is None else int(self.count * days * _UNITS["d"]), "us")

    def steps(self, stamps: np.ndarray, first: np.ndarray | np.datetime64, month_end: bool = False) -> np.ndarray:
        """Row number of each stamp on the grid starting at `first`; -1 where a stamp lies off that grid.

        Args:
            stamps: datetime64[us] [N], none before its `first`.
            first: datetime64[us], one or [N].
            month_end: months are counted from month end to month end.
        """
        if self.kind in ("fixed", "index"):
            whole, rest = np.divmod((stamps - first).astype(np.int64), self.count)
            return np.where(rest == 0, whole, -1)
        if self.kind == "month":
            months, rests = zip(*(_months(x, month_end) for x in (stamps, first)), strict=True)
            whole, rest = np.divmod(months[0] - months[1], self.count)
            return np.where((rest == 0) & _same_month_day(rests[0], rests[1], months[0]), whole, -1)
        days, start = stamps.astype("datetime64[D]"), np.asarray(first).astype("datetime64[D]")
        whole, rest = np.divmod(np.busday_count(start, days), self.count)
        same_clock = (stamps - days) == (first - start)
        return np.where((rest == 0) & same_clock & np.is_busday(days) & np.is_busday(start), whole, -1)

    def stamps(self, first: np.ndarray | np.datetime64, steps: np.ndarray, month_end: bool = False) -> np.ndarray:
        """The stamps datetime64[us] at row numbers `steps` of the grid starting at `first`: the inverse of `steps`."""
        first = np.asarray(first, dtype="datetime64[us]")
        if self.kind in ("fixed", "index"):
            return first + steps * self.count * US
        if self.kind == "month":
            month, rest = _months(first, month_end)
            months = month + steps * self.count
            if month_end:  # rest counts back from the end of the month
                return (months + 1).astype("datetime64[M]").astype("datetime64[us]") + rest
            starts = months.astype("datetime64[M]").astype("datetime64[us]")
            return starts + np.minimum(rest, _month_length(months) - _DAY + rest % _DAY)
        day = first.astype("datetime64[D]")
        return np.busday_offset(day, steps * self.count, roll="forward").astype("datetime64[us]") + (first - day)


_DAY = np.timedelta64(86_400 * _SECOND, "us")


def _months(stamps: np.ndarray | np.datetime64, month_end: bool) -> tuple[np.ndarray, np.ndarray]:
    """Months since 1970 and the time since the month's start (negative, to its end, with `month_end`)."""
    month = np.asarray(stamps).astype("datetime64[M]")
    origin = month + 1 if month_end else month
    return month.astype(np.int64), np.asarray(stamps) - origin.astype("datetime64[us]")


def _month_length(months: np.ndarray) -> np.ndarray:
    begin = np.asarray(months).astype("datetime64[M]")
    return (begin + 1).astype("datetime64[us]") - begin.astype("datetime64[us]")


def _same_month_day(rest: np.ndarray, first: np.ndarray, months: np.ndarray) -> np.ndarray:
    """The 31st becomes the 30th or 28th in shorter months, as in `DateOffset(months=1)`; a month's end stays one."""
    return rest == np.minimum(first, _month_length(months) - _DAY + first % _DAY)
