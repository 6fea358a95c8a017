"""Which frequency explains a set of stamps; none is forced on stamps that have none."""

import numpy as np
import polars as pl

from .delimited import Origin
from .frequency import Frequency


class UnknownStepError(ValueError):
    """No series has two rows, and nothing says how far apart they would be."""


_DAY_US = 86_400_000_000


def infer(us: np.ndarray, codes: np.ndarray, origin: Origin, integer: bool = False) -> Frequency:
    """The step of the stamps, sorted by series and time, without duplicates.

    Calendar months first (their lengths differ), then business days (no stamp on a weekend), then the most common fixed
    step, if it or a divisor of it explains the stamps.

    Args:
        us: datetime64[us] [N], the wall clock.
        codes: the series of every row [N].
        integer: stamps are row counts.

    Raises:
        UnknownStepError: every series has one row.
        ValueError: no step explains the stamps.
    """
    same = codes[1:] == codes[:-1]
    diffs = np.diff(us).astype(np.int64)[same]
    if len(diffs) == 0:
        if integer:
            return Frequency("index", 1)
        raise UnknownStepError(
            f"{origin.name}: no series has two rows, so its frequency is not known; set {origin.option('freq', '1d')} "
            "(15m, 1h, 1w, 1mo, ...)"
        )
    steps, counts = np.unique(diffs, return_counts=True)
    mode = int(steps[counts.argmax()])
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    first = us[np.repeat(starts, np.diff(np.append(starts, len(us))))]
    if not integer:
        calendar = _calendar(us, first, same, steps) or _business(us, first, mode, steps)
        if calendar is not None:
            return calendar
    kind = "index" if integer else "fixed"
    span = np.add.reduceat(np.concatenate([[0], np.where(same, np.diff(us).astype(np.int64), 0)]), starts).sum()

    def filled(step: int) -> float:
        """Share of the grid of this step that has a row."""
        return len(us) / (span / step + len(starts))

    whole = float(counts[steps % mode == 0].sum() / counts.sum())
    common = float(counts.max() / counts.sum())
    divisor = int(np.gcd.reduce(steps))
    if whole == 1.0 and (common >= 0.5 or filled(mode) >= 0.25):
        return Frequency(kind, mode)
    if mode % divisor == 0 and divisor * 6 >= mode and filled(divisor) >= 0.25:
        return Frequency(kind, divisor)
    if common >= 0.5 and _on_grid(us, codes, mode) >= 0.9:
        return Frequency(kind, mode)  # a few stamps lie off the grid: told apart there
    top = np.argsort(-counts, kind="stable")[:4]
    listed = ", ".join(f"{Frequency(kind, int(steps[i]))} {counts[i] / counts.sum():.0%}" for i in top)
    resampled = f"{origin.option('freq', _nice(diffs))} {origin.option('resample', 'mean')}"
    advice = changing_offsets(origin) or (
        f"where rows are in order without stamps, say {origin.option('time_column', 'none')}"
        if integer
        else f"bring the rows to one, for example {resampled}"
    )
    more = ", ..." if len(steps) > 4 else ""
    raise ValueError(
        f"{origin.name}: the steps between stamps are irregular ({listed}{more}), no frequency explains them; {advice}"
    )


def _on_grid(us: np.ndarray, codes: np.ndarray, step: int) -> float:
    """Share of stamps on the grid that most stamps of their series lie on."""
    phases = pl.DataFrame({"code": codes, "phase": us.astype(np.int64) % step}).group_by("code", "phase").len()
    return float(phases.group_by("code").agg(pl.col("len").max())["len"].sum() / len(us))


def changing_offsets(origin: Origin) -> str:
    """Advice where the UTC offsets beside the stamps change, as with daylight saving; empty elsewhere."""
    offsets = origin.facts.get("offsets", [])
    if len(offsets) < 2:
        return ""
    zone = origin.option("time_zone", "Europe/Berlin")
    return f"the UTC offsets of the stamps change ({', '.join(offsets[:3])}): name their zone, as in {zone}"


def month_ends(us: np.ndarray) -> bool:
    """Whether every stamp is on the last day of its month (any time of day)."""
    days = us.astype("datetime64[D]")
    return bool(((days + 1).astype("datetime64[M]") != days.astype("datetime64[M]")).all())


def _calendar(us: np.ndarray, first: np.ndarray, same: np.ndarray, steps: np.ndarray) -> Frequency | None:
    if steps.min() < 28 * _DAY_US:
        return None
    ends = month_ends(us)
    if (Frequency("month", 1).steps(us, first, ends) < 0).any():
        return None
    months = np.diff(us.astype("datetime64[M]").astype(np.int64))[same]
    values, counts = np.unique(months, return_counts=True)
    mode = int(values[counts.argmax()])
    return Frequency("month", mode if (values % mode == 0).all() else int(np.gcd.reduce(values)))


def _business(us: np.ndarray, first: np.ndarray, mode: int, steps: np.ndarray) -> Frequency | None:
    """Daily rows over at least three weekends, none of them on one."""
    if mode != _DAY_US or us.max() - us.min() < np.timedelta64(17, "D") or not (steps == 3 * _DAY_US).any():
        return None
    fits = (Frequency("business", 1).steps(us, first) >= 0).all()
    return Frequency("business", 1) if fits else None


def _nice(diffs: np.ndarray) -> str:
    """A round step near the median one, to propose."""
    median = float(np.median(diffs))
    seconds = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800]
    steps = [Frequency("fixed", s * 1_000_000) for s in seconds] + [Frequency("month", m) for m in (1, 3, 12)]
    return str(min(steps, key=lambda step: abs(np.log(step.typical.astype(np.int64) / median))))
