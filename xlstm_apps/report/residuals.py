"""What `evaluation/residuals.csv` holds: a sample of the scored targets, small whatever was scored.

The columns: `unique_id`, `cutoff` and `ds` (the target's stamp), `row` (the target's row in its series), `step` (1 is
the first after the cutoff), `y`, `residual` (y minus the median forecast, in the data's own units) and `part`:

- `path`: windows drawn at random (one seed for all) over all series, each at up to 24 steps spread over the horizon.
  They stand for all errors: their distribution, their bias by step, by hour, over time.
- `first`: the first step at successive cutoffs of a few series. They show whether an error tells the next one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from xlstm_apps.thinning import evenly

PATH_ROWS, PATH_STEPS = 12_000, 24
FIRST_SERIES, FIRST_ROWS = 8, 1_000
MIN_FIRST = 20
"""Series with fewer windows say nothing about what follows what."""

Picked = tuple[np.ndarray, np.ndarray, np.ndarray]


class ResidualSample:
    """Picks targets before the scoring, takes their errors batch by batch, and gives the file's rows.

        sample = ResidualSample(series, cutoff, channels=C, horizon=H)      # the windows in the order of scoring
        for begin, end in batches:
            at = sample.inside(begin, end)
            sample.add(truth[at].cpu(), (truth - median)[at].cpu(), mask[at].cpu())     # each [B, H, C] before `at`
        frame = sample.frame(names, lambda series, row: table.ds(table.timestamps[table.offsets[series] + row]))

    Args:
        series: Number of the series of each window, [W].
        cutoff: Row of the first target of each window in its series, [W].
        channels: Value columns, C.
        horizon: Steps ahead, H.
    """

    def __init__(self, series: Any, cutoff: Any, *, channels: int, horizon: int):
        self._series, self._cutoff = np.asarray(series), np.asarray(cutoff)
        self._channels = channels
        parts = [self._paths(horizon), self._firsts()]
        window, step, channel = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        first = np.repeat([False, True], [len(part[0]) for part in parts])
        order = np.argsort(window, kind="stable")
        self._window, self._step, self._channel, self._first = (a[order] for a in (window, step, channel, first))
        self._values: list[np.ndarray] = []
        self._taken = 0

    def _paths(self, horizon: int) -> Picked:
        steps = evenly(horizon, PATH_STEPS)
        every = len(self._series) * self._channels
        drawn = np.random.default_rng(0).choice(every, min(every, PATH_ROWS // len(steps)), replace=False)
        window, channel = np.divmod(np.repeat(drawn, len(steps)), self._channels)
        return window, np.tile(steps, len(drawn)), channel

    def _firsts(self) -> Picked:
        owners, counts = np.unique(self._series, return_counts=True)
        owners = owners[counts >= MIN_FIRST]
        every = len(owners) * self._channels
        window, channel = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for pick in np.unique(np.linspace(0, every - 1, FIRST_SERIES).astype(np.int64)) if every else []:
            owner, column = divmod(int(pick), self._channels)
            mine = np.flatnonzero(self._series == owners[owner])
            latest = mine[np.argsort(self._cutoff[mine], kind="stable")][-FIRST_ROWS:]
            window.append(latest)
            channel.append(np.full(len(latest), column))
        joined = np.concatenate(window)
        return joined, np.zeros(len(joined), np.int64), np.concatenate(channel)

    def inside(self, begin: int, end: int) -> Picked:
        """Indices (window within the batch, step, channel) of the targets picked from the windows `begin` to `end`.

        The batches must come in order, and each be asked for once.
        """
        first, last = np.searchsorted(self._window, [begin, end])
        return self._window[first:last] - begin, self._step[first:last], self._channel[first:last]

    def add(self, truth: Any, residual: Any, observed: Any) -> None:
        """What was at the indices last given; targets that were not observed are left out of the file."""
        block = np.stack([np.asarray(truth, np.float64), np.asarray(residual, np.float64)])
        self._values.append(np.where(np.asarray(observed, bool), block, np.nan))
        self._taken += block.shape[1]

    def frame(self, names: list[str], stamps: Callable[[np.ndarray, np.ndarray], pl.Series]) -> pl.DataFrame:
        """The rows of the file.

        Args:
            names: unique_id of every series and channel, the channels of a series side by side.
            stamps: Gives the stamps of (numbers of series, rows in them).
        """
        n = self._taken
        y, residual = np.concatenate(self._values, axis=1) if self._values else np.empty((2, 0))
        window, step, first = self._window[:n], self._step[:n], self._first[:n]
        series, cutoff = self._series[window], self._cutoff[window]
        ids = np.array(names, dtype=object)[series * self._channels + self._channel[:n]]
        frame = pl.DataFrame(
            [
                pl.Series("unique_id", ids.tolist(), dtype=pl.String),
                stamps(series, cutoff - 1).alias("cutoff"),
                stamps(series, cutoff + step).alias("ds"),
                pl.Series("row", cutoff + step),
                pl.Series("step", step + 1),
                pl.Series("y", y),
                pl.Series("residual", residual),
                pl.Series("part", np.where(first, "first", "path").tolist(), dtype=pl.String),
            ]
        )
        return frame.filter(pl.col("residual").is_finite()).sort("part", "unique_id", "cutoff", "step")
