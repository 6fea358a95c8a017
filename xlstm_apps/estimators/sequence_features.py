"""Features of whole records or regions from a sequence model: of every symbol, or summed up to one vector each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.heads import SequencePredictor, language_part
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import evaluating, stream_features
from xlstm_apps.biosequence.strings import by_length
from xlstm_apps.estimators.sequence_stretches import Stretches, cut, symbols_at_a_time, windowed

Pooling = Literal["mean", "last", "max"]


class Features(NamedTuple):
    """Features of some symbols in a row, of one stretch; those of a stretch come in order."""

    stretch: int
    place: int
    """Of the first, counted from the first symbol asked about, as read."""
    strands: tuple[Tensor, ...]
    """What each strand sees, [n, E] each, on the CPU."""


def feature_blocks(
    model: SequenceModel | SequencePredictor,
    stretches: Stretches,
    *,
    layer: int = -1,
    window: int | None = None,
    overlap: int | None = None,
    batch_symbols: int | None = None,
) -> Iterator[Features]:
    """Features of every symbol asked about; memory does not depend on the lengths of the stretches.

    A causal model that reads one strand carries its state through long ones. Others read those in windows, and where
    windows overlap the features are the mean of what they give; so does a causal one where `window` says so.

    Args:
        model: With or without a head, which has no say here.
        stretches: What to read.
        layer: As in `SequenceModel.encode`.
        window: Symbols in a window. None: as many as are read at a time, where the model needs windows.
        overlap: Symbols that a window shares with the next. None: an eighth of the window.
        batch_symbols: Most symbols at a time, padding included. None: by the width of the model.

    Raises:
        ValueError: A layer that the model does not have, or windows that cannot be.
    """
    language = language_part(model)
    if not -1 <= layer <= language.config.num_blocks:
        raise ValueError(
            f"layer {layer}: give 0 (embeddings) to {language.config.num_blocks} (behind the last block), or -1 (the "
            "same, normalised)"
        )
    limit = symbols_at_a_time(language.config.embedding_dim) if batch_symbols is None else batch_symbols
    if limit < 1 or (window is not None and window < 1):
        raise ValueError("batch_symbols and window must be at least 1")
    with torch.no_grad(), evaluating(language):
        one_way = language.sequence.objective == "causal" and not language.reads_both
        length, shared = windowed(window, overlap, limit, one_way)
        total = stretches.high if one_way else stretches.spans.lengths
        long = np.flatnonzero(total > length)
        if len(long):
            cut(stretches, [], length, shared, centred=True)  # refuses what cannot be before any work is done
        for i in long.tolist():
            if one_way and window is None:
                yield from _streamed(language, stretches, i, layer, limit)
            else:
                yield from _blended(language, stretches, i, layer, length, shared, limit)
        short = np.flatnonzero(total <= length)
        for members in by_length(total[short].tolist(), limit):
            rows = [(int(i), 0, int(total[i])) for i in short[members]]
            for (i, _, _), seen in zip(rows, _encode(language, stretches, rows, layer), strict=True):
                low, high = int(stretches.low[i]), int(stretches.high[i])
                yield Features(i, 0, tuple(x[low:high] for x in seen))


class Pooled:
    """The vector of one stretch, from its features as they come. Each strand is summed up in its own direction.

    Args:
        how: What to take.
    """

    def __init__(self, how: Pooling) -> None:
        self.how = how
        self.count = 0
        self._sums: list[Tensor] = []

    def add(self, block: Features) -> None:
        """Count a block in."""
        for number, x in enumerate(block.strands):
            if self.how == "mean":
                value = x.sum(0, dtype=torch.float64)
            elif self.how == "max":
                value = x.amax(0)
            else:
                value = x[0] if number else x[-1]  # the other strand is read towards the first symbol
            if self.count == 0:
                self._sums.append(value)
            elif self.how == "mean":
                self._sums[number] += value
            elif self.how == "max":
                self._sums[number] = torch.maximum(self._sums[number], value)
            elif number == 0:
                self._sums[number] = value
        self.count += len(block.strands[0])

    def result(self) -> np.ndarray:
        """[E]"""
        mean = torch.stack(self._sums).mean(0)
        return (mean / self.count if self.how == "mean" else mean).float().numpy()


def _encode(
    model: SequenceModel, stretches: Stretches, rows: list[tuple[int, int, int]], layer: int
) -> list[tuple[Tensor, ...]]:
    """Features on each strand of (stretch, begin, end), packed into one reading."""
    ids = [stretches.read(*row) for row in rows]
    borders = torch.tensor(np.cumsum([0, *map(len, ids)]))
    device = model.embedding.weight.device
    seen = model.encode(
        torch.from_numpy(np.concatenate(ids))[None].to(device), cu_seqlens=borders.to(device), layer=layer
    )
    parts = [x[0].cpu().split(borders.diff().tolist()) for x in seen]
    return list(zip(*parts, strict=True))


def _streamed(model: SequenceModel, stretches: Stretches, index: int, layer: int, limit: int) -> Iterator[Features]:
    """A long stretch from its first symbol to the last one asked about, the state carried on."""
    low, high = int(stretches.low[index]), int(stretches.high[index])
    starts = range(0, high, limit)
    chunks = (torch.from_numpy(stretches.read(index, start, min(start + limit, high)).copy())[None] for start in starts)
    for start, x in zip(starts, stream_features(model, chunks, layer), strict=True):
        if start + x.shape[1] > low:
            skip = max(low - start, 0)
            yield Features(index, start + skip - low, (x[0, skip:].cpu(),))


def _blended(
    model: SequenceModel, stretches: Stretches, index: int, layer: int, length: int, overlap: int, limit: int
) -> Iterator[Features]:
    """A long stretch in windows, some at a time; where they overlap, the mean of what they give."""
    low, high, total = (int(x[index]) for x in (stretches.low, stretches.high, stretches.spans.lengths))
    begins = [b for b in [*range(0, total - length, length - overlap), total - length] if b < high and b + length > low]
    at_once = max(1, limit // length)
    held: list[Tensor] = []  # sums of what is not finished yet, one [n, E] per strand
    counts, origin = torch.zeros(0), begins[0]

    def finished(until: int) -> Iterator[Features]:
        nonlocal held, counts, origin
        done = until - origin
        if done > 0:
            first, last = max(low - origin, 0), min(high - origin, done)
            if last > first:
                blended = tuple(x[first:last] / counts[first:last, None] for x in held)
                yield Features(index, origin + first - low, blended)
            held, counts, origin = [x[done:] for x in held], counts[done:], until

    for n in range(0, len(begins), at_once):
        rows = [(index, begin, begin + length) for begin in begins[n : n + at_once]]
        for (_, begin, end), seen in zip(rows, _encode(model, stretches, rows, layer), strict=True):
            yield from finished(begin)
            if not held:
                held = [x.new_zeros(0, x.shape[1]) for x in seen]
            grown = end - origin - len(counts)
            counts = torch.cat([counts, counts.new_zeros(grown)]) + 1
            held = [torch.cat([x, x.new_zeros(grown, x.shape[1])]) + y for x, y in zip(held, seen, strict=True)]
    yield from finished(begins[-1] + length)
