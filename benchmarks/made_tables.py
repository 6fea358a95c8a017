"""Tables of the kinds people forecast, drawn at random: what is in them is known, and there are always fresh ones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.random import Generator

Values = np.ndarray  # [series, rows]; NaN where nothing was written down


def _wave(rows: int, season: float, random: Generator, harmonics: int = 3) -> np.ndarray:
    """A smooth season of deviation about 1."""
    angle = 2 * np.pi * np.arange(rows) / season
    parts = [
        random.normal() / k * np.sin(k * angle) + random.normal() / k * np.cos(k * angle)
        for k in range(1, harmonics + 1)
    ]
    wave = np.sum(parts, axis=0)
    return wave / wave.std()


def _week(rows: int, season: int, random: Generator) -> np.ndarray:
    """A level for each day of the week, of deviation 1; `season` rows are a week."""
    days = random.normal(size=7)
    days = (days - days.mean()) / days.std()
    return days[np.arange(rows) * 7 // season % 7]


def _drift(rows: int, keep: float, random: Generator) -> np.ndarray:
    """An autoregression of order 1, of deviation 1."""
    steps, out = random.normal(size=rows) * np.sqrt(1 - keep**2), np.zeros(rows)
    out[0] = random.normal()
    for t in range(1, rows):
        out[t] = keep * out[t - 1] + steps[t]
    return out


def load(random: Generator, series: int, rows: int, day: int) -> Values:
    """Electricity: days, weeks and a year, weather that lasts some days."""
    common = 0.5 * _drift(rows, 0.98, random)
    out = []
    for _ in range(series):
        shape = _wave(rows, day, random) * (1 + 0.3 * _week(rows, 7 * day, random)) + 0.5 * _week(rows, 7 * day, random)
        shape += 0.7 * _wave(rows, 365 * day, random, 1) + common + 0.2 * _drift(rows, 0.8, random)
        out.append(random.uniform(50, 500) * np.exp(0.15 * shape))
    return np.array(out)


def sun(random: Generator, series: int, rows: int, day: int) -> Values:
    """Solar power: nothing at night, clouds by day."""
    time = np.arange(rows) / day
    height = np.clip(np.sin(2 * np.pi * (time - 0.25)) + 0.2 * np.sin(2 * np.pi * time / 365), 0, None)
    clouds = [1 / (1 + np.exp(-1 - 1.5 * _drift(rows, 0.93, random))) for _ in range(series)]
    return np.array([random.uniform(10, 60) * height * cloud for cloud in clouds])


def temperature(random: Generator, series: int, rows: int, day: int) -> Values:
    """A year, a day, and weather that lasts."""
    common = 3 * _drift(rows, 0.5 ** (1 / (1.5 * day)), random)
    year, hours = 8 * _wave(rows, 365.25 * day, random, 1), 3 * _wave(rows, day, random, 2)
    return np.array([12 + year + hours + common + 0.5 * _drift(rows, 0.7, random) for _ in range(series)])


def sales(random: Generator, series: int, rows: int, day: int) -> Values:
    """Pieces a day: a week, a year, a slow trend, counts."""
    out = []
    for _ in range(series):
        shape = 0.35 * _week(rows, 7, random) + 0.2 * _wave(rows, 365.25, random, 2) + 0.3 * _drift(rows, 0.995, random)
        out.append(random.poisson(random.uniform(5, 60) * np.exp(shape)))
    return np.array(out, dtype=float)


def rare(random: Generator, series: int, rows: int, day: int) -> Values:
    """Demand on few days, of a few pieces."""
    out = []
    for _ in range(series):
        chance = random.uniform(0.1, 0.4) * np.exp(0.4 * _week(rows, 7, random))
        out.append((random.random(rows) < chance) * (1 + random.poisson(random.uniform(0.5, 4), rows)))
    return np.array(out, dtype=float)


def growth(random: Generator, series: int, rows: int, day: int) -> Values:
    """Trend and season that grow together."""
    out = []
    for _ in range(series):
        trend = np.cumsum(random.normal(0.004, 0.012, rows)) * (12 / day)
        shape = random.uniform(0.05, 0.25) * _wave(rows, day, random) if day > 1 else 0
        out.append(random.uniform(100, 5000) * np.exp(trend + shape + 0.03 * random.normal(size=rows)))
    return np.array(out)


def walks(random: Generator, series: int, rows: int, day: int) -> Values:
    """Prices."""
    wild = np.exp(0.4 * np.array([_drift(rows, 0.97, random) for _ in range(series)]))
    return 100 * np.exp(np.cumsum(0.01 * wild * random.standard_t(5, (series, rows)), 1))


def noise(random: Generator, series: int, rows: int, day: int) -> Values:
    """Around a level, hardly a memory: growth rates, returns, anomalies."""
    return np.array([random.normal(2, 1) + _drift(rows, random.uniform(0, 0.4), random) for _ in range(series)])


def line(random: Generator, series: int, rows: int, day: int) -> Values:
    """A straight trend and noise."""
    time = np.arange(rows) / rows
    return np.array([50 + random.normal(0, 40) * time + 3 * random.normal(size=rows) for _ in range(series)])


def shifts(random: Generator, series: int, rows: int, day: int) -> Values:
    """A week on levels that jump every few months."""
    out = []
    for _ in range(series):
        level = np.cumsum((random.random(rows) < 0.01) * random.normal(0, 15, rows))
        out.append(100 + level + 5 * _week(rows, 7, random) + 2 * random.normal(size=rows))
    return np.array(out)


def holed(random: Generator, series: int, rows: int, day: int) -> Values:
    """Electricity of which a fifth is missing, in stretches."""
    out = load(random, series, rows, day)
    for values in out:
        while np.isnan(values).mean() < 0.2:
            begin = random.integers(rows)
            values[begin : begin + random.integers(1, 2 * day)] = np.nan
    return out


def machine(random: Generator, series: int, rows: int, day: int) -> Values:
    """Sensors of one machine: an oscillation whose pace wanders, seen through each with its own delay."""
    phase = np.cumsum(2 * np.pi / 40 * (1 + 0.15 * _drift(rows, 0.98, random)))
    size = 1 + 0.3 * _drift(rows, 0.99, random)
    return np.array(
        [size * np.sin(phase - random.uniform(0, 6)) + 0.2 * _drift(rows, 0.6, random) for _ in range(series)]
    )


@dataclass(frozen=True)
class Made:
    """One kind of table, as a user would bring it."""

    kind: Callable[[Generator, int, int, int], Values]
    step: str
    """Step of the stamps: a number and `min`, `h`, `d`, `b` (working days), `w`, `mo`, `q` or `y`."""
    series: int
    rows: int
    day: int
    """Rows of the shortest season."""
    horizon: int
    long: bool = False
    """With a column of names instead of one column a series."""

    def write(self, path: Path, seed: int) -> None:
        """The table as CSV."""
        values = self.kind(np.random.default_rng(seed), self.series, self.rows, self.day)
        stamps = [when.isoformat() for when in self.stamps()]
        names = [f"s{i:02d}" for i in range(self.series)]
        cell = lambda x: "" if np.isnan(x) else f"{x:.6g}"  # noqa: E731
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if self.long:
                writer.writerow(["unique_id", "ds", "y"])
                for name, column in zip(names, values, strict=True):
                    writer.writerows([name, stamp, cell(x)] for stamp, x in zip(stamps, column, strict=True))
            else:
                writer.writerow(["time", *names])
                writer.writerows([stamp, *map(cell, row)] for stamp, row in zip(stamps, values.T, strict=True))

    def stamps(self) -> Iterator[datetime]:
        when = datetime(1960, 1, 1) if self.step == "y" else datetime(2018, 1, 1)
        months = {"mo": 1, "q": 3, "y": 12}.get(self.step, 0)
        for i in range(self.rows):
            if months:
                yield datetime(when.year + i * months // 12, 1 + i * months % 12, 1)
            elif self.step == "b":
                yield when + timedelta(days=7 * (i // 5) + i % 5)
            else:
                number, unit = self.step.rstrip("minhdw"), self.step.lstrip("0123456789")
                names = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
                yield when + timedelta(**{names[unit]: i * int(number or 1)})


MADE = {
    "load": Made(load, "1h", 1, 6000, 24, 24),
    "loads": Made(load, "1h", 8, 3000, 24, 48),
    "quarter-hours": Made(load, "15min", 2, 5760, 96, 96),
    "sun": Made(sun, "1h", 3, 4800, 24, 24),
    "temperature": Made(temperature, "1h", 2, 8760, 24, 48),
    "holed": Made(holed, "1h", 4, 3000, 24, 24),
    "sales": Made(sales, "1d", 50, 730, 7, 14, long=True),
    "rare": Made(rare, "1d", 40, 500, 7, 14, long=True),
    "shifts": Made(shifts, "1d", 1, 1500, 7, 14),
    "short-days": Made(sales, "1d", 3, 180, 7, 7),
    "months": Made(growth, "mo", 100, 72, 12, 6, long=True),
    "one-month": Made(growth, "mo", 1, 180, 12, 12),
    "quarters": Made(noise, "q", 6, 140, 4, 4),
    "years": Made(growth, "y", 30, 60, 1, 3, long=True),
    "weeks": Made(growth, "1w", 4, 300, 52, 8),
    "walk": Made(walks, "b", 1, 2500, 5, 20),
    "walks": Made(walks, "b", 10, 1000, 5, 10),
    "line": Made(line, "mo", 1, 240, 12, 12),
    "noise": Made(noise, "1d", 2, 700, 7, 7),
    "machine": Made(machine, "5min", 6, 6000, 40, 24),
}
