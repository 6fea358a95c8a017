"""Numbers of the forecasting benchmark by dataset, horizon and model, and who is below whom."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from forecasting import BASELINES, OURS, SOURCES

DEFAULT = OURS[0]
NAIVE = ("naive", "seasonal_naive", "naive2")
METRICS = ("mse", "mae")
FAIR = "fair"
ROUNDING = 5e-4
"""Published numbers have three decimals."""


@dataclass(frozen=True)
class Number:
    """A mean, and its deviation over seeds where there are several."""

    mean: float
    deviation: float | None = None

    @classmethod
    def of(cls, values: Iterable[float]) -> Number | None:
        values = [v for v in values if not math.isnan(v)]
        return cls(fmean(values), stdev(values) if len(values) > 1 else None) if values else None

    @property
    def shown(self) -> float:
        """To three decimals. Means of published numbers often end in 5: those go up, as their papers round."""
        return round(self.mean + 1e-9, 3)

    def text(self) -> str:
        """`0.398(2)`: the deviation in units of the third decimal."""
        return f"{self.shown:.3f}" + ("" if self.deviation is None else f"({self.deviation * 1000:.0f})")


def value(row: dict[str, Any], name: str) -> float:
    return float(row[name]) if row.get(name) not in (None, "") else math.nan


class Results:
    """Measured rows, or published ones of one protocol."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.models = list(dict.fromkeys(row["model"] for row in rows))
        self._cells: dict[tuple[str, int, str], dict[str, dict[str, Any]]] = {}
        for row in rows:
            key = (row["dataset"], int(row["horizon"]), row["model"])
            self._cells.setdefault(key, {})[str(row.get("seed", ""))] = row

    def at(self, dataset: str, horizon: int | None, model: str, name: str) -> Number | None:
        """One value over the seeds there are; horizon None: its mean over all horizons, of each seed that has them."""
        if horizon is not None:
            return Number.of(value(row, name) for row in self._cells.get((dataset, horizon, model), {}).values())
        cells = [self._cells.get((dataset, horizon, model), {}) for horizon in SOURCES[dataset].horizons]
        whole = sorted(set.intersection(*map(set, cells)))
        return Number.of(fmean(value(cell[seed], name) for cell in cells) for seed in whole)

    def has(self, dataset: str, model: str) -> bool:
        return any(self.seeds(dataset, horizon, model) for horizon in SOURCES[dataset].horizons)

    def seeds(self, dataset: str, horizon: int, model: str) -> int:
        return len(self._cells.get((dataset, horizon, model), {}))


@dataclass(frozen=True)
class Rival:
    """What the default model is compared with: a model trained here, or a published one of some protocol."""

    label: str
    model: str
    protocol: str | None = None


DUET = Rival("DUET, fair re-run (goal)", "DUET", FAIR)
RIVALS = (
    DUET,
    Rival("PatchTST, fair re-run (bar)", "PatchTST", FAIR),
    Rival("xLSTMTime, as published", "xLSTMTime", "checkpoint chosen on test"),
    Rival("PatchTST, trained here", "patchtst"),
    Rival("iTransformer, trained here", "itransformer"),
    Rival("NLinear, trained here", "nlinear"),
    Rival("last value", "naive"),
    Rival("seasonal naive", "seasonal_naive"),
)
OTHERS = tuple(
    Rival(f"{m}, trained here", m) for m in (*OURS, *BASELINES) if m not in {DEFAULT, *(r.model for r in RIVALS)}
)
"""Named where they are lower, though they have no column of their own."""


@dataclass(frozen=True)
class Duel:
    """The default model's number beside another's."""

    mine: Number
    other: Number

    @property
    def lower(self) -> bool:
        return self.mine.mean < self.other.mean

    @property
    def close(self) -> bool:
        """Whether the difference is within the seeds' deviation, or within the rounding of published numbers."""
        spread = math.hypot(self.mine.deviation or 0, self.other.deviation or 0)
        return abs(self.mine.mean - self.other.mean) < max(spread, ROUNDING)

    def text(self) -> str:
        """The difference in percent; bold where the default is not the lower one."""
        text = f"{'≈ ' if self.close else ''}{100 * (self.mine.mean / self.other.mean - 1):+.1f} %"
        return text if self.lower else f"**{text}**"


class Comparison:
    """Measured and published numbers side by side."""

    def __init__(self, rows: list[dict[str, Any]], published: list[dict[str, Any]]) -> None:
        self.ours = Results(rows)
        protocols = dict.fromkeys(row["protocol"] for row in published)
        self.published = {p: Results([row for row in published if row["protocol"] == p]) for p in protocols}

    def results(self, rival: Rival) -> Results:
        return self.ours if rival.protocol is None else self.published.get(rival.protocol, Results([]))

    def duels(self, dataset: str, horizon: int | None, rival: Rival) -> dict[str, Duel]:
        """MSE and MAE beside the rival's, where both are known."""
        found = {}
        for metric in METRICS:
            mine = self.ours.at(dataset, horizon, DEFAULT, metric)
            other = self.results(rival).at(dataset, horizon, rival.model, metric)
            if mine and other:
                found[metric] = Duel(mine, other)
        return found

    def expected(self, dataset: str, rival: Rival) -> bool:
        """Whether a whole benchmark would know the rival's numbers."""
        return rival.protocol is None or self.results(rival).has(dataset, rival.model)
