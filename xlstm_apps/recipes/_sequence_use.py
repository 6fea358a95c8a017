"""What the verbs of sequences share in tables: signs of strands, positions, names of regions; and their speed."""

import numpy as np

from xlstm_apps.estimators.sequence_stretches import Stretches


def strand_marks(strands: np.ndarray) -> np.ndarray:
    """`+` and `-` for 1 and -1: [N]."""
    return np.where(strands < 0, "-", "+")


def positions(start: int, length: int, strand: int, begin: int, count: int) -> np.ndarray:
    """Places in the source, counted from 1, of `count` symbols of a stretch, as read: int64 [count].

    Args:
        start: First symbol of the stretch in the source, counted from 0.
        length: Its symbols.
        strand: -1: it is read from its end.
        begin: First of the symbols, as read.
        count: How many.
    """
    along = np.arange(begin, begin + count)
    return start + 1 + (along if strand > 0 else length - 1 - along)


def region_names(stretches: Stretches) -> dict[str, list[str]]:
    """The column of the names, where there are regions."""
    return {} if stretches.names is None else {"name": stretches.names}


def speed(symbols: int, seconds: float) -> list[str]:
    """How fast it went, where it took long enough to say."""
    if seconds < 1 or symbols < 100_000:
        return []
    return [f"{symbols / seconds:,.0f} symbols per second, {seconds:.1f} s"]
