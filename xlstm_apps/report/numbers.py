"""Numbers and durations as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

ABSENT = "\N{EN DASH}"
"""Shown for a value that is missing or not a number."""

MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"


def significant(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits with thousands separated; dash for missing, infinity sign for infinite."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return _fixed(value, _decimals(value, digits))


def column(values: Sequence[float | None], digits: int = 3) -> list[str]:
    """Values of one table column with one number of decimals, so that they line up.

    The smallest magnitude decides, unless the largest then needs more than two digits beyond those asked for. Values
    more than a thousandfold apart have their own decimals each.
    """
    finite = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    if not finite or max(finite) > 1000 * min(finite):
        return [significant(v, digits) for v in values]
    decimals = min(_decimals(min(finite), digits), _decimals(max(finite), digits + 2))
    return [_fixed(v, decimals) if v is not None and math.isfinite(v) else significant(v) for v in values]


def percent(share: float | None, decimals: int = 0) -> str:
    """A share (0.24) as a percentage (24 %)."""
    if share is None or math.isnan(share):
        return ABSENT
    if math.isinf(share):
        return f"{'' if share > 0 else MINUS}∞{_SPACE}%"
    text = f"{100 * share:,.{decimals}f}".replace("-", MINUS)
    if float(f"{100 * share:.{decimals}f}") == 0:
        text = text.replace(MINUS, "")
    return f"{text}{_SPACE}%"


def signed(share: float | None) -> str:
    """A share as a percentage with its sign: +24 %."""
    text = percent(share)
    return f"+{text}" if share is not None and share > 0 and text != percent(0.0) else text


def count(number: float, noun: str, plural: str | None = None) -> str:
    """`count(1741, "window")` is `1,741 windows`."""
    return f"{number:,.0f} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds as `0.4 s`, `42 s`, `1 min 12 s`, `2 h 5 min` or `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    raise AssertionError("unreachable: a minute or more has a unit")


_UNITS = {
    "ms": "millisecond", "s": "second", "m": "minute", "h": "hour", "d": "day", "b": "business day", "w": "week",
    "mo": "month", "q": "quarter", "y": "year",
}  # fmt: skip
_LARGER = {"second": (60, "minute"), "minute": (60, "hour"), "hour": (24, "day"), "month": (12, "year")}


def frequency(freq: str | None) -> tuple[int, str] | None:
    """A frequency such as `1h`, `15m`, `1d`, `1mo` as a number and a unit's name; None when it is not of that form."""
    found = re.fullmatch(r"(\d*)\s*(mo|ms|[smhdbwqy])", (freq or "").strip().lower())
    return (int(found[1] or 1), _UNITS[found[2]]) if found else None


def span(steps: float, freq: str | None) -> str | None:
    """How long `steps` steps of a frequency last (`48` of `1h` is `2 days`); None when the frequency is unknown."""
    known = frequency(freq)
    if known is None:
        return None
    number, unit = round(steps) * known[0], known[1]
    while unit in _LARGER and number >= _LARGER[unit][0] and number % _LARGER[unit][0] == 0:
        number, unit = number // _LARGER[unit][0], _LARGER[unit][1]
    return count(number, unit)


def _decimals(value: float, digits: int) -> int:
    """Decimals that show `value` with `digits` significant digits, at most six."""
    if value == 0:
        return 0
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 6)


def _fixed(value: float, decimals: int) -> str:
    if value != 0 and (abs(value) >= 1e9 or abs(value) < 0.5 * 10**-6):
        return f"{value:.2e}".replace("-", MINUS)
    text = f"{value:,.{decimals}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("-")
