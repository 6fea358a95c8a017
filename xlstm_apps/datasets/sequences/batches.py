"""Spans as batches of ids: padded rows, or documents in one row with their borders. Map-style, for any loader."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .corpus import Corpus
from .spans import Spans

Batch = dict[str, Tensor]


class SequenceDataset(Dataset[Batch]):
    """Spans of a corpus by number; `__getitems__` gives a whole batch, and nothing of it depends on what came before.

    The weight of a symbol says how much it counts where it is to be predicted: 0 for padding, for the begin of a record
    put before it, for wildcards and for context that another span scores; `softmask_weight` for soft-masked symbols;
    times the weight of its record.

    Args:
        corpus: the ids.
        spans: what to walk over, in this order.
        layout: `pad`: rows [B, T] as long as the longest; `pack`: documents after one another in one row [1, T], with
            their borders, which a model reads with its state cleared at each.
        pack_length: symbols, with begin and end, per item of `pack`: neighbouring spans are put together up to this
            length. None: every span is an item.
        pad_length: length of padded rows; None: that of the longest in the batch.
        bos: put the begin of a record before every span.
        end: id to put after spans that end where their record does; None: none.
        softmask_weight: weight of soft-masked symbols; 1: masking is ignored.
        labels: what is to be predicted per span, numbers [N] or [N, K]; given back as `label`.

    Raises:
        ValueError: no span, an empty one, or one longer than `pad_length` or `pack_length`.
    """

    def __init__(
        self,
        corpus: Corpus,
        spans: Spans,
        *,
        layout: Literal["pad", "pack"] = "pad",
        pack_length: int | None = None,
        pad_length: int | None = None,
        bos: bool = False,
        end: int | None = None,
        softmask_weight: float = 1.0,
        labels: np.ndarray | None = None,
    ) -> None:
        if layout not in ("pad", "pack"):
            raise ValueError(f"layout is 'pad' or 'pack', not {layout!r}")
        if (pack_length is not None and layout == "pad") or (pad_length is not None and layout == "pack"):
            raise ValueError("pad_length is for layout='pad', pack_length for layout='pack'")
        if len(spans) == 0:
            raise ValueError("there are no sequences to walk over")
        if (spans.lengths < 1).any():
            raise ValueError("a span without a symbol; leave it out")
        if labels is not None and len(labels) != len(spans):
            raise ValueError(f"{len(spans)} sequences and {len(labels)} labels")
        self.corpus, self.spans, self.layout, self.pad_length = corpus, spans, layout, pad_length
        self.bos, self.end, self.softmask_weight = bos, end, softmask_weight
        self._ends = (spans.stop == corpus.lengths[spans.record]) & (spans.strand > 0)
        self._ends = (self._ends | ((spans.start == 0) & (spans.strand < 0))) & (end is not None)
        self._labels = None if labels is None else torch.from_numpy(np.asarray(labels).copy())
        self._total = spans.lengths + bos + self._ends
        #: symbols of a sequence, with begin and end
        self.mean_length = float(self._total.mean())
        longest, limit = int(self._total.max()), pad_length or pack_length
        if limit is not None and longest > limit:
            raise ValueError(f"a sequence is {longest} long and rows are {limit}; cut it with windows({limit - bos})")
        self._first = _items(self._total, pack_length)

    def __len__(self) -> int:
        return len(self._first) - 1

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch: `ids` [B, T] int64, `weights` [B, T] float32, and of each of the N sequences `record`, `start` (on
        the record as stored), `strand` (1 or -1), `lengths` [N] int64, and `label` where there are any. Padded, N = B;
        packed, B = 1 and `cu_seqlens` [N + 1] int32 holds their borders.
        """
        members = np.concatenate([np.arange(self._first[i], self._first[i + 1]) for i in _within(indices, len(self))])
        lengths = self._total[members]
        if self.layout == "pack":
            ids, weights = self._rows(members, np.cumsum(lengths) - lengths, int(lengths.sum()))
            borders = {"cu_seqlens": torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))}
            shape = (1, -1)
        else:
            width = self.pad_length or int(lengths.max())
            ids, weights = self._rows(members, np.arange(len(members)) * width, len(members) * width)
            borders, shape = {}, (len(members), width)
        batch = {
            "ids": torch.from_numpy(ids.reshape(shape)),
            "weights": torch.from_numpy(weights.reshape(shape)),
            "lengths": torch.from_numpy(lengths),
            "record": torch.from_numpy(self.spans.record[members]),
            "start": torch.from_numpy(self.spans.start[members]),
            "strand": torch.from_numpy(self.spans.strand[members]),
            **borders,
        }
        if self._labels is not None:
            batch["label"] = self._labels[torch.from_numpy(members)]
        return batch

    def _rows(self, members: np.ndarray, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and weights of the members, written one after another at `places` of a flat row."""
        alphabet = self.corpus.alphabet
        ids = np.full(size, alphabet["pad"], np.int64)
        weights = np.zeros(size, np.float32)
        for member, place in zip(members.tolist(), places.tolist(), strict=True):
            if self.bos:
                ids[place] = alphabet["bos"]
                place += 1
            stop = place + int(self.spans.lengths[member])
            ids[place:stop], weights[place:stop] = read_span(self.corpus, self.spans, member, self.softmask_weight)
            if self._ends[member]:
                ids[stop] = self.end
                weights[stop] = self.corpus.weights[self.spans.record[member]]
        return ids, weights


def read_span(corpus: Corpus, spans: Spans, member: int, softmask_weight: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of a span and how much each counts, as in `SequenceDataset`: uint8 [T], float32 [T]."""
    record, start, stop, strand = (int(x[member]) for x in (spans.record, spans.start, spans.stop, spans.strand))
    ids = corpus.fetch(record, start, stop, strand)
    weights = np.full(len(ids), corpus.weights[record], np.float32)
    if softmask_weight != 1 and corpus.has_mask:
        weights[corpus.soft_mask(record, start, stop, strand)] *= softmask_weight
    if corpus.wildcard is not None:
        weights[ids == corpus.wildcard] = 0
    weights[: spans.context[member]] = 0
    return ids, weights


def _items(lengths: np.ndarray, limit: int | None) -> np.ndarray:
    """First span of every item, and the end: neighbours share an item up to `limit` symbols: int64 [M + 1]."""
    if limit is None:
        return np.arange(len(lengths) + 1)
    ends = np.cumsum(lengths)
    first = [0]
    while first[-1] < len(lengths):
        used = ends[first[-1] - 1] if first[-1] else 0
        first.append(int(np.searchsorted(ends, used + limit, side="right")))
    return np.array(first)


def _within(indices: Sequence[int], length: int) -> list[int]:
    if any(not -length <= i < length for i in indices):
        raise IndexError(f"index out of range: there are {length} items")
    return [i % length for i in indices]
