"""Fill in the middle: spans of a sequence are taken out and put behind it, so that a causal model learns to fill gaps
knowing both sides (Bavarian et al. 2022; in the form of ProtMamba and Prot-xLSTM, Schmidinger et al. 2024).

A sequence with the spans `cd` and `f` of `<cls> a b c d e f g` taken out reads

    tokens     <cls> a b <mask-1> e <mask-2> g <eos> <mask-1> c d <mask-2> f
    positions    0   1 2    3     5    6     7   0      3     3 4    6     6

and the next begins with `<cls>` at position 0. A mask token stands where its span begins, both times. A sequence
without spans is as it was. Knows no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xlstm_apps.biosequence.alphabet import Alphabet

Span = tuple[int, int]


class Line(NamedTuple):
    """Sequences one after another as a model reads them."""

    ids: np.ndarray
    """int64 [S], each sequence behind its begin token."""
    positions: np.ndarray
    """int64 [S]"""
    in_span: np.ndarray
    """bool [S]: symbols that fill a gap, as against those that surround it and all specials."""


def span_tokens(alphabet: Alphabet) -> tuple[int, ...]:
    """Ids of `<mask-1>`, `<mask-2>`, ...

    Raises:
        ValueError: The alphabet has none.
    """
    ids = {token: i for i, token in enumerate(alphabet.tokens)}
    count = next(k for k in range(len(ids) + 1) if f"<mask-{k + 1}>" not in ids)
    if count == 0:
        raise ValueError(f"the {alphabet.name} alphabet has no tokens for spans to fill in; proteins have")
    return tuple(ids[f"<mask-{k + 1}>"] for k in range(count))


def draw_spans(
    length: int, rng: np.random.Generator, *, mean: float = 1.0, most: int = 5, share: float = 0.2, least: int = 0
) -> list[Span]:
    """Spans to take out of a sequence, as the published models were trained.

    Their number is drawn from the Poisson distribution cut off at `most` and at the number of symbols; their beginnings
    without repeats; the length of each evenly from 1 to below `share` of the symbols up to the next, at least 1.

    Args:
        length: Symbols of the sequence, begin token not counted; 0 is fine.
        rng: Source of randomness.
        mean: Mean number of spans, before it is cut off.
        most: Most spans.
        share: Largest share of the symbols between two beginnings.
        least: Fewest spans, where the sequence has so many symbols.

    Returns:
        Begin and end of each, counted from 0 at the first symbol, in order.
    """
    if not mean > 0 or not 0 < share <= 1 or not 0 <= least <= most:
        raise ValueError(
            f"mean={mean} must be positive, share={share} in (0, 1], and least={least} at most most={most}"
        )
    most = min(most, length)
    counts = np.arange(min(least, most), most + 1)
    log = counts * np.log(mean) - np.array([np.log(np.arange(1, n + 1)).sum() for n in counts])
    chances = np.exp(log - log.max())
    starts = np.sort(rng.choice(length, rng.choice(counts, p=chances / chances.sum()), replace=False)).tolist()
    spans = []
    for start, after in itertools.pairwise([*starts, length]):
        spans.append((start, start + int(rng.integers(1, max(int((after - start) * share), 2)))))
    return spans


def lay_out(symbols: np.ndarray | Sequence[int], spans: Sequence[Span], alphabet: Alphabet) -> Line:
    """A sequence with spans taken out, as in the head of this module.

    There may be more spans than the alphabet has tokens for: these are then used in turn, and the position says which
    of them is meant.

    Args:
        symbols: Ids without begin token, [T]; T may be 0.
        spans: Begin and end of each, as of `draw_spans`; they may touch, and be empty, but not overlap.
        alphabet: What the ids are of.

    Raises:
        ValueError: Spans that overlap, are not in order or reach beyond the sequence.
    """
    symbols = np.asarray(symbols, np.int64).reshape(-1)
    borders = [0, *(border for span in spans for border in span), len(symbols)]
    if any(a > b for a, b in itertools.pairwise(borders)):
        raise ValueError(f"spans {[*spans]} must follow one another within the {len(symbols)} symbols of the sequence")
    positions = np.arange(1, len(symbols) + 1)
    tokens = span_tokens(alphabet) if spans else ()
    parts: list[tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray, bool]] = [([alphabet.bos], [0], False)]
    fillings, place = [], 0
    for number, (start, stop) in enumerate(spans):
        mask = ([tokens[number % len(tokens)]], [start + 1], False)
        parts += [(symbols[place:start], positions[place:start], False), mask]
        fillings += [mask, (symbols[start:stop], positions[start:stop], True)]
        place = stop
    parts.append((symbols[place:], positions[place:], False))
    if spans:
        parts += [([alphabet.eos], [0], False), *fillings]
    return Line(
        np.concatenate([np.asarray(ids, np.int64) for ids, _, _ in parts]),
        np.concatenate([np.asarray(at, np.int64) for _, at, _ in parts]),
        np.concatenate([np.full(len(ids), inside) for ids, _, inside in parts]),
    )


def lay_out_family(
    sequences: Iterable[tuple[np.ndarray | Sequence[int], Sequence[Span]]], alphabet: Alphabet, *, closed: bool = False
) -> Line:
    """Homologs one after another, each with its spans: positions begin again with every one.

    Args:
        sequences: Symbols and spans of each, as in `lay_out`.
        alphabet: What the ids are of.
        closed: Put a begin token behind the last, which says that it is complete.
    """
    lines = [lay_out(symbols, spans, alphabet) for symbols, spans in sequences]
    if closed or not lines:
        lines.append(lay_out([], [], alphabet))
    return Line(*(np.concatenate(columns) for columns in zip(*lines, strict=True)))


def reorder(ids: np.ndarray | Sequence[int], alphabet: Alphabet) -> list[np.ndarray]:
    """The sequences of a line in their own order, spans where they belong: the inverse of `lay_out_family`.

    Args:
        ids: Token ids [S], as a model read or wrote them.
        alphabet: What the ids are of.

    Returns:
        Symbols of each sequence, int64, without begin token.

    Raises:
        ValueError: A line that does not begin with a begin token, or gaps and fillings that do not match.
    """
    ids = np.asarray(ids, np.int64).reshape(-1)
    begins = np.flatnonzero(ids == alphabet.bos)
    if not len(begins) or begins[0] != 0:
        raise ValueError(f"a line begins with {alphabet.tokens[alphabet.bos]}")
    sequences = np.split(ids, begins[1:])
    return [_put_back(sequence[1:], alphabet, number) for number, sequence in enumerate(sequences, 1)]


def _put_back(ids: np.ndarray, alphabet: Alphabet, number: int) -> np.ndarray:
    ends = np.flatnonzero(ids == alphabet.eos)
    tokens = span_tokens(alphabet)
    around, behind = (ids, ids[:0]) if not len(ends) else (ids[: ends[0]], ids[ends[0] + 1 :])
    (gaps, pieces), (fills, fillings) = _cut(around, tokens), _cut(behind, tokens)
    if len(ends) > 1 or len(fillings[0]) or not np.array_equal(gaps, fills):
        raise ValueError(
            f"sequence {number}: {len(gaps)} gaps, and behind them {len(fills)} spans; each gap needs the span of its "
            f"token, in order, behind one {alphabet.tokens[alphabet.eos]}"
        )
    parts = [pieces[0]]
    for filling, piece in zip(fillings[1:], pieces[1:], strict=True):
        parts += [filling, piece]
    return np.concatenate(parts)


def _cut(ids: np.ndarray, tokens: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Tokens of spans in a stretch, and what stands before, between and behind them."""
    places = np.flatnonzero(np.isin(ids, tokens))
    pieces = np.split(ids, places)
    return ids[places], [pieces[0], *(piece[1:] for piece in pieces[1:])]
