"""A few of many things."""

import numpy as np


def evenly(length: int, most: int) -> np.ndarray:
    """Indices of `most` of so many things, or of all where there are no more: evenly spread from the first to the last,
    int64 [min(length, most)]."""
    return np.linspace(0, length - 1, min(length, most)).round().astype(np.int64)
