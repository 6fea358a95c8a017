"""Calendar features of stamps, in local time, computed where the stamps are: nothing is stored per row."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .cycles import cycles
from .zones import to_local

_HOUR, _DAY = 3_600_000_000, 86_400_000_000  # microseconds


class Calendar:
    """Features of the stamps between two years, on one device."""

    def __init__(self, freq: str, zone: str | None, first: np.datetime64, last: np.datetime64) -> None:
        self.cycles = cycles(freq)
        years = [int(np.datetime64(t, "Y").astype(np.int64)) for t in (first, last)]
        # The local date may lie in the next year already, or still in the last one.
        changes, shifts = _shifts(zone, years[0] - 1, years[1] + 1)
        self.changes, self.shifts = torch.from_numpy(changes), torch.from_numpy(shifts)
        self.first_day, days = _days(years[0] - 1, years[1] + 1)
        self.days = torch.from_numpy(days)

    def features(self, stamps: Tensor) -> Tensor:
        """Features float32 [..., K] of stamps int64 [...], microseconds as in `SeriesTable.timestamps`."""
        local = stamps
        if len(self.changes):
            local = stamps + self.shifts[torch.searchsorted(self.changes, stamps, right=True)]
        day = torch.div(local, _DAY, rounding_mode="floor")
        clock = (local - day * _DAY).to(torch.float32) / _DAY
        weekday = torch.remainder(day + 3, 7)  # 1970 began on a Thursday; Monday is 0
        month_day, month_length, year_day, year_length = self.days[day - self.first_day].unbind(-1)
        phases = {
            "day": clock,
            "week": (weekday + clock) / 7,
            "month": (month_day + clock) / month_length,
            "year": (year_day + clock) / year_length,
        }
        out = [wave(2 * torch.pi * phases[cycle]) for cycle in self.cycles for wave in (torch.sin, torch.cos)]
        if "week" in self.cycles:
            out.append((weekday >= 5).to(torch.float32))
        return torch.stack(out, dim=-1)

    def to(self, device: torch.device | str) -> "Calendar":
        for name in ("changes", "shifts", "days"):
            setattr(self, name, getattr(self, name).to(device))
        return self


@lru_cache(maxsize=16)
def _shifts(zone: str | None, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """When the zone's offset changes between two years (since 1970), and the offsets around: int64 [T], [T + 1]."""
    if zone is None:
        return np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    begin, end = (np.datetime64(y, "Y").astype("datetime64[us]").astype(np.int64) for y in (first, last + 1))

    def offsets(us: np.ndarray) -> np.ndarray:
        stamps = us.astype("datetime64[us]")
        return (to_local(stamps, zone) - stamps).astype(np.int64)

    hours = np.arange(begin, end, _HOUR)
    shift = offsets(hours)
    before = np.flatnonzero(np.diff(shift))
    low, high = hours[before], hours[before + 1]
    while (high - low > 1_000_000).any():  # the second at which each change happens
        middle = (low + high) // 2_000_000 * 1_000_000
        changed = offsets(middle) != shift[before]
        low, high = np.where(changed, low, middle), np.where(changed, middle, high)
    # Never empty, so that a zone without changes has its offset applied too.
    return np.concatenate([[begin], high]), np.concatenate([[shift[0], shift[0]], shift[before + 1]])


@lru_cache(maxsize=16)
def _days(first: int, last: int) -> tuple[int, np.ndarray]:
    """Number of the first day, and day of month, length of month, day of year and length of year: float32 [D, 4]."""
    begin, end = (np.datetime64(y, "Y").astype("datetime64[D]") for y in (first, last + 1))
    days = np.arange(begin, end)
    out = []
    for unit in ("M", "Y"):
        start = days.astype(f"datetime64[{unit}]")
        length = (start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")
        out += [days - start.astype("datetime64[D]"), length]
    return int(begin.astype(np.int64)), np.stack([x.astype(np.float32) for x in out], axis=-1)
