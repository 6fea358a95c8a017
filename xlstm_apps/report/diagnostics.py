"""Statistics of residuals: their shape, what one tells of the next, and how they are spread over groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Shape:
    """Moments of a sample; `skew` and `kurtosis` (excess, 0 for a normal distribution) are NaN without spread."""

    count: int
    mean: float
    deviation: float
    skew: float
    kurtosis: float
    above: float
    """Share above zero, half of those at zero counted."""
    extreme: float
    """Share more than three deviations from the mean; 0.27 % of a normal distribution are."""

    @classmethod
    def of(cls, values: np.ndarray) -> Shape:
        mean, deviation = float(values.mean()), float(values.std())
        above = float((values > 0).mean() + 0.5 * (values == 0).mean())
        if deviation == 0:
            return cls(len(values), mean, 0.0, math.nan, math.nan, above, 0.0)
        z = (values - mean) / deviation
        return cls(
            count=len(values),
            mean=mean,
            deviation=deviation,
            skew=float((z**3).mean()),
            kurtosis=float((z**4).mean() - 3),
            above=above,
            extreme=float((np.abs(z) > 3).mean()),
        )


def autocorrelation(position: np.ndarray, values: np.ndarray, lags: int) -> np.ndarray | None:
    """Correlation of a series with itself 1 to `lags` positions later, over the pairs that are both known, [lags].

    Args:
        position: Whole numbers, each once; what lies between two of them is a gap.
        values: One value at each position.

    Returns:
        NaN where fewer than 10 pairs are known; None for a series that does not vary.
    """
    grid = np.full(int(position.max() - position.min()) + 1, np.nan)
    grid[position - position.min()] = values - values.mean()
    variance = float(np.nanmean(grid**2))
    if not variance > 0:
        return None
    found = np.full(lags, np.nan)
    for lag in range(1, min(lags, len(grid) - 1) + 1):
        products = grid[lag:] * grid[:-lag]
        known = np.isfinite(products)
        if known.sum() >= 10:
            found[lag - 1] = products[known].mean() / variance
    return found


def spread(frame: pl.DataFrame, by: str, value: str, *, least: int = 10) -> pl.DataFrame:
    """Count, lower tenth, median and upper tenth of a column by group, in the groups' order.

    Groups with fewer than `least` values have none of the three: they would show chance.
    """
    enough = pl.len() >= least
    parts = {"low": pl.col(value).quantile(0.1), "middle": pl.col(value).median(), "high": pl.col(value).quantile(0.9)}
    return (
        frame.drop_nulls([by, value])
        .group_by(by)
        .agg(pl.len().alias("count"), *(pl.when(enough).then(v).alias(k) for k, v in parts.items()))
        .sort(by)
    )


def clock(ds: pl.Series) -> pl.Series:
    """Stamps as they were written, read as the time of the clock on the wall; null for what is none."""
    text = ds.cast(pl.String).str.replace("T", " ", literal=True).str.replace(r"(:\d\d[.\d]*)\s*(Z|[+-][\d:]+)$", "$1")
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    read = [text.str.strptime(pl.Datetime("us"), form, strict=False) for form in formats]
    return pl.select(pl.coalesce(read)).to_series().alias(ds.name)
