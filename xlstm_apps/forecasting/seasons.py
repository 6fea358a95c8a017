"""Which season a series has, and how well repeating it does on the training part."""

import re
from dataclasses import dataclass

import numpy as np

# Rows per hour, day, week ... that may carry a season, by the unit of the step.
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_CALENDAR = {"mo": [12], "q": [4], "y": [], "b": [5], "i": []}


@dataclass(frozen=True)
class Season:
    """The season chosen and what it was chosen from."""

    steps: int
    """Steps in one season; 1 means none."""
    candidates: list[int]
    """The usual seasons of the frequency that fit into the training part."""


def usual_seasons(freq: str) -> list[int]:
    """Steps in an hour, day, week or year, where that is 2 to 2000 steps of `freq` (such as `15m`, `1mo`)."""
    match = re.fullmatch(r"(\d+)([a-z]+)", freq)
    count, unit = (int(match[1]), match[2]) if match else (1, "i")
    if unit in _CALENDAR:
        return [s // count for s in _CALENDAR[unit] if s % count == 0 and s // count > 1]
    if unit not in _SECONDS:
        return []
    step = count * _SECONDS[unit]
    cycles = {1: [3600, 86400], 60: [86400, 7 * 86400], 3600: [86400, 7 * 86400], 86400: [7 * 86400, 365 * 86400]}
    cycles[7 * 86400] = [52 * 7 * 86400]
    longest = max(unit_step for unit_step in cycles if unit_step <= step)
    return [s // step for s in cycles[longest] if s % step == 0 and 2 <= s // step <= 2000]


def choose_season(
    values: np.ndarray, offsets: np.ndarray, ends: np.ndarray, freq: str, horizon: int, season: int | None = None
) -> Season:
    """The usual season whose repetition forecasts the training part best, over the whole horizon.

    Args:
        values: Scaled values of all series one after the other, [N, C]; NaN where missing.
        offsets: First row of each series, [S + 1].
        ends: Rows of each series' training part, [S].
        freq: Step of the grid.
        horizon: Steps to forecast.
        season: The user's choice, which wins.
    """
    fitting = [s for s in usual_seasons(freq) if 2 * s <= int(np.max(ends))]
    if season is not None:
        return Season(season, sorted({*fitting, season}))
    if not fitting:
        return Season(1, [])

    def error(steps: int) -> float:
        # Step h of the horizon repeats the value ceil(h / steps) seasons before it.
        total = 0.0
        for laps in range(1, -(-horizon // steps) + 1):
            share = min(steps, horizon - (laps - 1) * steps) / horizon
            errors = naive_errors(values, offsets, ends, laps * steps)
            errors = errors[~np.isnan(errors)]
            total += share * float(errors.mean()) if len(errors) else np.nan
        return total

    scored = {s: error(s) for s in fitting if -(-horizon // s) * s < int(np.max(ends))}
    scored = {s: e for s, e in scored.items() if np.isfinite(e)} or {fitting[0]: 0.0}
    # Of two that do as well the shorter is taken: a weekly pattern repeats a daily one too, only with older values.
    best = min(scored.values())
    return Season(min(s for s, e in scored.items() if e <= 1.05 * best), fitting)


def naive_errors(values: np.ndarray, offsets: np.ndarray, ends: np.ndarray, lag: int, power: int = 1) -> np.ndarray:
    """Mean of |y_t - y_{t - lag}| ** power over the training part of every series and channel.

    With the season as lag and power 1 this is the denominator of MASE (Hyndman & Koehler 2006).

    Returns:
        [S, C]; NaN where no pair was observed.
    """
    series, channels = len(offsets) - 1, values.shape[1]
    if lag >= len(values):
        return np.full((series, channels), np.nan)
    lengths = np.diff(offsets)
    owner = np.repeat(np.arange(series), lengths)
    row = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    inside = (row[lag:] >= lag) & (row[lag:] < np.repeat(ends, lengths)[lag:])
    means = np.full((series, channels), np.nan)
    for c in range(channels):  # one channel at a time keeps the float64 copies small
        difference = np.abs(values[lag:, c].astype(np.float64) - values[:-lag, c]) ** power
        used = inside & ~np.isnan(difference)
        count = np.bincount(owner[lag:][used], minlength=series)
        total = np.bincount(owner[lag:][used], difference[used], minlength=series)
        np.divide(total, count, out=means[:, c], where=count > 0)
    return means
