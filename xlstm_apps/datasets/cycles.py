"""Which cycles of the calendar change from one step of the grid to the next."""

import numpy as np

from .frequency import Frequency

_DAY = 86_400_000_000  # microseconds
_CYCLES = {"day": _DAY, "week": 7 * _DAY, "month": 28 * _DAY, "year": 365 * _DAY}


def cycles(freq: str) -> list[str]:
    """The cycles that a step of the grid divides at least in two; months only of days and longer steps."""
    parsed = Frequency.parse(freq)
    if parsed.kind == "index":
        return []
    step = int(parsed.typical.astype(np.int64))
    found = [name for name, length in _CYCLES.items() if 2 * step <= length]
    return [name for name in found if name != "month" or step >= _DAY]


def feature_names(freq: str) -> list[str]:
    """Names of the features at this step: sine and cosine of each cycle, and whether the day is a weekend's."""
    names = [f"{cycle}_{wave}" for cycle in cycles(freq) for wave in ("sin", "cos")]
    return [*names, "weekend"] if "week_sin" in names else names
