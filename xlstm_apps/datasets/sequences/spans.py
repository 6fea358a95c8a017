"""Stretches of records as arrays of borders: what is walked over, cut into windows, filtered and split."""

from dataclasses import dataclass, field

import numpy as np

from .corpus import Corpus


@dataclass(frozen=True)
class Spans:
    """Stretches [start, stop) of records, each read on one strand. All arrays are [N]."""

    record: np.ndarray
    """Number of the record in the corpus."""
    start: np.ndarray
    """First symbol, from 0, on the record as it is stored."""
    stop: np.ndarray
    """Symbol after the last."""
    strand: np.ndarray
    """1, or -1: read from `stop` to `start`, complemented."""
    context: np.ndarray = field(default=None)  # type: ignore[assignment]
    """Symbols at the begin, as read, that are not scored since another span scores them."""

    def __post_init__(self) -> None:
        for name in ("record", "start", "stop", "strand"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64).reshape(-1))
        context = np.zeros(len(self.record), np.int64) if self.context is None else np.asarray(self.context, np.int64)
        object.__setattr__(self, "context", context)
        sizes = {len(getattr(self, name)) for name in ("record", "start", "stop", "strand", "context")}
        assert len(sizes) == 1, "one border per span"

    def __len__(self) -> int:
        return len(self.record)

    def __getitem__(self, index: np.ndarray | slice) -> "Spans":
        return Spans(self.record[index], self.start[index], self.stop[index], self.strand[index], self.context[index])

    @property
    def lengths(self) -> np.ndarray:
        """Symbols per span: int64 [N]."""
        return self.stop - self.start

    @staticmethod
    def whole(corpus: Corpus, records: np.ndarray | None = None) -> "Spans":
        """Every record (or those named by number) as a span."""
        chosen = np.arange(len(corpus)) if records is None else np.asarray(records, np.int64)
        return Spans(chosen, np.zeros_like(chosen), corpus.lengths[chosen], np.ones_like(chosen))

    @staticmethod
    def join(parts: "list[Spans]") -> "Spans":
        """Spans after one another."""
        names = ("record", "start", "stop", "strand", "context")
        return Spans(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def windows(
    spans: Spans, length: int, stride: int | None = None, *, keep_tail: bool = True, score_once: bool = False
) -> Spans:
    """Spans cut into windows, in the direction they are read; spans of `length` or less stay whole.

    Args:
        length: symbols per window.
        stride: symbols from one window to the next; None: `length`.
        keep_tail: add a last window that ends where the span does, over symbols that a whole stride would leave out.
        score_once: mark what two windows share as context of the later one, so that every symbol is scored once.

    Raises:
        ValueError: `length` or `stride` below 1, or a stride that leaves symbols between windows out where each is to
            be scored once.
    """
    step = length if stride is None else stride
    if length < 1 or step < 1:
        raise ValueError(f"window length {length} and stride {step} must be 1 or more")
    if score_once and (step > length or not keep_tail):
        raise ValueError(f"stride {step} over windows of {length} leaves symbols out; use a stride of {length} or less")
    total = spans.lengths
    beyond = np.maximum(total - length, 0)
    counts = (-(-beyond // step) if keep_tail else beyond // step) + 1
    owner = np.repeat(np.arange(len(spans)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = np.minimum(number * step, beyond[owner])
    end = np.minimum(begin + length, total[owner])
    before = np.minimum((number - 1) * step + length, total[owner])  # where the window before this one ends
    context = np.where((number > 0) & score_once, before - begin, 0)
    context = np.maximum(context, spans.context[owner] - begin).clip(min=0)
    forward = spans.strand[owner] > 0
    start = np.where(forward, spans.start[owner] + begin, spans.stop[owner] - end)
    return Spans(spans.record[owner], start, start + (end - begin), spans.strand[owner], context)


def without_gaps(corpus: Corpus, spans: Spans, max_wildcard: float = 0.1) -> tuple[Spans, int]:
    """The spans with at most this share of wildcards (N), and how many were left out.

    Raises:
        ValueError: none is left.
    """
    if corpus.wildcard is None or max_wildcard >= 1:
        return spans, 0
    keep = np.array(
        [
            np.count_nonzero(corpus.fetch(r, a, b) == corpus.wildcard) <= max_wildcard * (b - a)
            for r, a, b in zip(spans.record.tolist(), spans.start.tolist(), spans.stop.tolist(), strict=True)
        ],
        bool,
    )
    if not keep.any():
        raise ValueError(f"all {len(spans)} windows hold more than {max_wildcard:.0%} of N; raise data.max_wildcard")
    return spans[keep], int(len(keep) - keep.sum())
