"""Scores of whole records, chromosomes too, or of regions: how probable a language model finds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import Context, evaluating, stream_scores
from xlstm_apps.biosequence.strings import by_length
from xlstm_apps.estimators.sequence_stretches import Stretches, cut, symbols_at_a_time, windowed

Strands = Literal["own", "both"]


class Piece(NamedTuple):
    """Scores of some symbols in a row, of one stretch."""

    stretch: int
    place: int
    """Of the first, counted from the first symbol asked about, as read."""
    nll: np.ndarray
    """-log p in nats, NaN where there is no score: float32 [n]. What is given for a symbol is to be added up."""
    first: bool
    """Whether these symbols come for the first time; not so on the second of two readings of a long stretch."""
    ambiguous: int
    """Symbols here that do not say one thing, such as N."""


class Totals:
    """Sums over the pieces of every stretch."""

    def __init__(self, count: int) -> None:
        self.nll = np.zeros(count)
        self.scored = np.zeros(count, np.int64)
        self.ambiguous = np.zeros(count, np.int64)

    def add(self, piece: Piece) -> None:
        """Count a piece in."""
        self.nll[piece.stretch] += np.nansum(piece.nll, dtype=np.float64)
        if piece.first:
            self.scored[piece.stretch] += int(np.isfinite(piece.nll).sum())
            self.ambiguous[piece.stretch] += piece.ambiguous


def score_stretches(
    model: SequenceModel,
    stretches: Stretches,
    *,
    strands: Strands | None = None,
    window: int | None = None,
    overlap: int | None = None,
    batch_symbols: int | None = None,
    passes: int | None = None,
    context: Context | None = None,
) -> Iterator[Piece]:
    """Scores of all that is asked about, in no order of stretches; memory does not depend on their lengths.

    A causal model reads a stretch from its first symbol to its last, long ones in chunks with its state carried on. A
    masked model reads long ones in windows, and so does a causal one where `window` says so.

    Args:
        model: A language model; it is put into evaluation mode.
        stretches: What to score.
        strands: As in `SequenceModel.score`.
        window: Symbols in a window. None: a causal model needs none, a masked one reads `batch_symbols`.
        overlap: Symbols that a window shares with the next. None: an eighth of the window.
        batch_symbols: Most symbols at a time, padding included. None: by the width of the model.
        passes: As in `SequenceModel.score`.
        context: What a causal model has read before each stretch, such as homologs: one row.

    Raises:
        ValueError: Options that do not go with the model.
    """
    causal = model.sequence.objective == "causal"
    if causal and passes is not None:
        raise ValueError("passes is for masked models; a causal one reads once")
    if context is not None and window is not None:
        raise ValueError("a context stands before whole records; leave window out")
    limit = symbols_at_a_time(model.config.embedding_dim) if batch_symbols is None else batch_symbols
    if limit < 1 or (window is not None and window < 1) or (passes is not None and passes < 1):
        raise ValueError("batch_symbols, window and passes must be at least 1")
    length, shared = windowed(window, overlap, limit, causal)
    both = strands == "both" or (strands is None and model.sequence.symmetry == "posthoc")
    if both and model.complement is None:
        raise ValueError(f"strands='both' is not possible: {model.alphabet.name} has one strand")
    lengths = stretches.spans.lengths
    long = lengths > limit
    if window is not None or not causal:
        streamed = np.empty(0, np.int64)
        windows = cut(stretches, range(len(stretches)), length, shared, centred=not causal or both)
    else:
        streamed = np.flatnonzero(long)
        windows = cut(stretches, np.flatnonzero(~long).tolist(), limit, 0, centred=both)
    known = np.zeros(len(model.alphabet), bool)
    known[list(model.alphabet.definite)] = True
    with evaluating(model):
        for i in streamed.tolist():
            yield from _streamed(model, stretches, i, known, limit, context, both=both)
        for members in by_length((windows.end - windows.begin).tolist(), limit):
            rows = [
                stretches.read(int(windows.stretch[m]), int(windows.begin[m]), int(windows.end[m])) for m in members
            ]
            sizes = [len(row) for row in rows]
            ids = np.full((len(rows), max(sizes)), model.alphabet.pad, np.uint8)
            for row, given in zip(ids, rows, strict=True):
                row[: len(given)] = given
            device = model.embedding.weight.device
            given_ids = torch.from_numpy(ids).to(device)
            behind = None if context is None else context.select([0] * len(members))
            options: Any = {"strands": strands, "chunk_length": limit, "passes": passes, "context": behind}
            nll = model.score(given_ids, lengths=sizes, **options)
            for m, own, scores in zip(members, rows, nll.cpu().numpy(), strict=True):
                i, begin = int(windows.stretch[m]), int(windows.begin[m])
                part = slice(int(windows.low[m]) - begin, int(windows.high[m]) - begin)
                place = int(windows.low[m] - stretches.low[i])
                yield Piece(i, place, scores[part], True, int((~known[own[part]]).sum()))


def _streamed(
    model: SequenceModel,
    stretches: Stretches,
    index: int,
    known: np.ndarray,
    limit: int,
    context: Context | None,
    *,
    both: bool,
) -> Iterator[Piece]:
    """One long stretch, read once on each strand that counts, in chunks."""
    total, low, high = (int(x[index]) for x in (stretches.spans.lengths, stretches.low, stretches.high))
    for other in (False, True) if both else (False,):
        first, last = (
            (total - high, total - low) if other else (low, high)
        )  # what is asked about, as this strand is read
        starts = range(0, last, limit)

        def chunks(other: bool = other, starts: range = starts, last: int = last) -> Iterator[Tensor]:
            for start in starts:
                ids = stretches.read(index, start, min(start + limit, last), other=other)
                yield torch.from_numpy(ids.copy())[None]  # the corpus is read-only

        for start, nll in zip(starts, stream_scores(model, chunks(), context), strict=True):
            end = min(start + limit, last)
            if end <= first:
                continue
            ids = stretches.read(index, max(start, first), end, other=other)
            scores = nll[0].cpu().numpy()[max(first - start, 0) :]
            scores = np.where(known[ids], scores, np.nan).astype(np.float32)
            if both and not model.begins and end == total:
                scores[-1] = np.nan  # the first symbol on the other strand, which nothing expects
            place = max(start, first) - first
            if other:
                scores, place = scores[::-1], (last - first) - place - len(scores)
            yield Piece(index, place, scores / 2 if both else scores, not other, int((~known[ids]).sum()))
