"""How alike two sequences are when they are aligned, and which of many is the nearest."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

WORD = 3
CANDIDATES = 5
"""Sequences with most words in common that are aligned to find the nearest."""
_SCORE = np.int64(1 << 24)  # in front of the number of equal symbols, of which the alignment with most is taken
_MATCH, _MISMATCH, _GAP = 2, -1, -2


class Nearest(NamedTuple):
    """The most similar of many sequences."""

    index: int
    """Its number; -1 where there is none."""
    identity: float
    """As of `aligned_identity`; NaN where there is none."""


def aligned_identity(one: bytes, other: bytes) -> float:
    """Share of the symbols of `one` that stand under the same symbol of `other` in a global alignment.

    Of the alignments with the highest score (2 for equal symbols, -1 for others, -2 for a gap; Needleman and Wunsch
    1970) the one with most equal symbols. Strangers of natural composition come out near 0.3, not near 0.
    """
    a, b = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
    if not len(a):
        return float("nan")
    n, m, gap = len(a), len(b), _GAP * _SCORE
    # Cell (i, d - i) of the diagonal d stands at place i, so a whole diagonal is one step.
    before, last = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    for d in range(1, n + m + 1):
        low, high = max(0, d - m), min(n, d)
        new = np.empty(n + 1, np.int64)
        inner = np.arange(max(low, 1), min(high, d - 1) + 1)
        equal = a[inner - 1] == b[d - inner - 1]
        step = np.where(equal, _MATCH * _SCORE + 1, _MISMATCH * _SCORE)
        new[inner] = np.maximum(before[inner - 1] + step, np.maximum(last[inner - 1], last[inner]) + gap)
        if low == 0:
            new[0] = d * gap
        if high == d:
            new[d] = d * gap
        before, last = last, new
    return int(last[n] & (_SCORE - 1)) / n


def nearest(
    asked: Sequence[bytes],
    known: Sequence[bytes],
    *,
    apart: Sequence[int] | None = None,
    count: int = CANDIDATES,
    advance: Callable[[int], None] | None = None,
) -> list[Nearest]:
    """The most similar known sequence of each that is asked for: those with most words in common are aligned.

    Args:
        asked: Sequences.
        known: What they are compared with.
        apart: For each a number of `known` that does not count, such as its own; None: all count.
        count: How many are aligned.
        advance: Called with a number of sequences that are done.
    """
    if not known:
        return [Nearest(-1, float("nan"))] * len(asked)
    place = {sequence: n for n, sequence in reversed([*enumerate(known)])}
    table, out = _words(known).T.tocsc(), []
    sizes = np.maximum(np.asarray(table.sum(0)).ravel(), 1)
    for n, sequence in enumerate(asked):
        if n and advance is not None:
            advance(1)
        skip = -1 if apart is None else apart[n]
        if place.get(sequence, skip) != skip:
            out.append(Nearest(place[sequence], 1.0))
            continue
        own = _words([sequence])
        shared = (own @ table).toarray()[0] / np.maximum(sizes, own.nnz)
        if skip >= 0:
            shared[skip] = -1
        found = [Nearest(i, aligned_identity(sequence, known[i])) for i in _largest(shared, count) if i != skip]
        out.append(max(found, key=lambda pair: pair.identity, default=Nearest(-1, float("nan"))))
    return out


def _largest(values: np.ndarray, count: int) -> list[int]:
    return np.argsort(-values, kind="stable")[:count].tolist()


def _words(sequences: Sequence[bytes]) -> sparse.csr_matrix:
    """Which words of three symbols each holds: 0 and 1 [N, words]."""
    columns = []
    for sequence in sequences:
        codes = np.frombuffer(sequence, np.uint8).astype(np.int64) & 31
        size = max(len(codes) - WORD + 1, 0)
        columns.append(np.unique(sum((codes[j : j + size] << 5 * j for j in range(WORD)), np.zeros(size, np.int64))))
    ends = np.cumsum([0, *map(len, columns)])
    indices = np.concatenate(columns)
    return sparse.csr_matrix((np.ones(len(indices)), indices, ends), shape=(len(sequences), 1 << 5 * WORD))
