"""AutoETS: exponential smoothing whose form is chosen by information criterion, one fit per window and channel."""

import numpy as np

MOST_FITS = 2_000
SEASONS, MOST_ROWS, LONGEST_SEASON = 5, 500, 24


def check_fits(rows: int) -> None:
    """Refuse what would take hours: more than 2,000 windows times channels.

    Raises:
        ValueError: Says what to change.
    """
    if rows > MOST_FITS:
        raise ValueError(
            f"auto_ets fits each window and column by itself, which would be {rows:,} fits: score at most "
            f"{MOST_FITS:,} by a larger head.test_stride"
        )


def auto_ets(context: np.ndarray, mask: np.ndarray, season: int, horizon: int, levels: list[float]) -> np.ndarray:
    """Forecast every channel of every window by itself, with statsforecast's AutoETS.

    The last five seasons are fitted, between 30 and 500 rows; gaps are filled by the last value. Seasons longer than
    24 are not modelled, since AutoETS has no form for them. Its intervals explode on some series: forecasts are held
    within one range of the rows fitted below their least and above their greatest value.

    Args:
        context: [B, L, C].
        mask: True = observed, [B, L, C].
        season: Steps in one season.
        horizon: H.
        levels: Quantile levels, 0.5 among them.

    Returns:
        [B, H, C, Q] float32.

    Raises:
        ValueError: statsforecast is not installed.
    """
    batch, _, channels = context.shape
    try:
        from statsforecast.models import AutoETS
    except ImportError as error:
        raise ValueError('the baseline auto_ets needs statsforecast: pip install "xlstm-apps[baselines]"') from error
    period = season if season <= LONGEST_SEASON else 1
    rows = min(max(SEASONS * season, 30), MOST_ROWS)
    percent = {q: round(abs(1 - 2 * q) * 100, 6) for q in levels if q != 0.5}
    out = np.zeros((batch, horizon, channels, len(levels)), dtype=np.float32)
    for b, c in np.ndindex(batch, channels):
        seen = np.flatnonzero(mask[b, :, c])
        if len(seen) == 0:
            continue
        y = context[b, seen[0] :, c].astype(np.float64)
        place = np.maximum.accumulate(np.where(mask[b, seen[0] :, c], np.arange(len(y)), 0))
        y = y[place][-rows:]
        if np.ptp(y) < 1e-9 or len(y) < 4:
            out[b, :, c] = y[-1]
            continue
        found = AutoETS(season_length=period if len(y) >= 2 * period else 1).forecast(
            y, horizon, level=sorted(set(percent.values())) or None
        )
        for i, q in enumerate(levels):
            name = "mean" if q == 0.5 else f"{'lo' if q < 0.5 else 'hi'}-{percent[q]:g}"
            values = next(v for k, v in found.items() if k == name or _same(k, name))
            out[b, :, c, i] = np.clip(values, y.min() - np.ptp(y), y.max() + np.ptp(y))
    return np.sort(out, axis=-1)


def _same(key: str, name: str) -> bool:
    side, _, number = key.partition("-")
    return bool(number) and name.startswith(side) and float(number) == float(name.partition("-")[2])
