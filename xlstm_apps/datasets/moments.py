"""Mean and deviation per group of rows, in pieces: the rows may lie on disk."""

from collections.abc import Iterator

import numpy as np

_ROWS = 1 << 18


def pieces(offsets: np.ndarray, ends: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Walk over flat rows: a slice of them, the series of each (int64), and whether it counts (bool).

    Args:
        offsets: int64 [S + 1]; series i has the rows from `offsets[i]` on.
        ends: int64 [S]; the first `ends[i]` rows of series i count.
    """
    for begin in range(int(offsets[0]), int(offsets[-1]), _ROWS):
        stop = min(begin + _ROWS, int(offsets[-1]))
        first = int(np.searchsorted(offsets, begin, side="right")) - 1
        last = int(np.searchsorted(offsets, stop, side="left"))
        counts = np.diff(np.clip(offsets[first : last + 1], begin, stop))
        owner = np.repeat(np.arange(first, last), counts)
        yield slice(begin, stop), owner, np.arange(begin, stop) < (offsets[:-1] + ends)[owner]


def moments(values: np.ndarray, offsets: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, mean and standard deviation of the observed values of every series before its end: [S, C] each.

    Both are 0 where nothing is observed. The deviation is taken in a second walk, from the mean: exact to rounding.
    """
    shape = (len(offsets) - 1, values.shape[1])
    count, mean, square = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for total, center in ((mean, None), (square, mean)):
        for rows, owner, inside in pieces(offsets, ends):
            low, high = int(owner[0]), int(owner[-1]) + 1
            for c in range(shape[1]):  # one column at a time keeps the float64 copies small
                x = values[rows, c].astype(np.float64)
                seen = inside & ~np.isnan(x)
                x, of = x[seen], owner[seen]
                if center is not None:
                    x = (x - center[of, c]) ** 2
                else:
                    count[low:high, c] += np.bincount(of - low, minlength=high - low)
                total[low:high, c] += np.bincount(of - low, x, minlength=high - low)
        np.divide(total, count, out=total, where=count > 0)
    return count, mean, np.sqrt(square)
