"""Near copies between parts of a split, found by sketches of k-mers: no alignment, either strand, memory kept small."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .corpus import Corpus
from .spans import Spans

_BLOCK = 1 << 20
_BASE = np.uint64(0x9E3779B97F4A7C15)
_AIM = 64  # k-mers that a sketch of a typical sequence should hold


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """How many held-out sequences have a near copy in training."""

    checked: int
    """Held-out sequences with k-mers to compare."""
    too_short: int
    """Held-out sequences without: shorter than k, or nothing but wildcards."""
    copies: int
    """Those of which at least `threshold` of the k-mers occur in training, on either strand."""
    share: float
    """`copies` of `checked`."""
    mean_overlap: float
    """Mean share of k-mers that occur in training."""
    k: int
    scale: int
    """One k-mer in this many is looked at."""
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)

    def summary(self) -> str:
        """One line for a person."""
        return (
            f"{self.copies:,} of {self.checked:,} held-out sequences ({self.share:.1%}) have a near copy in training "
            f"(at least {self.threshold:.0%} of their {self.k}-mers)"
        )


def leakage(
    corpus: Corpus,
    train: Spans,
    held_out: Spans,
    *,
    other: Corpus | None = None,
    k: int | None = None,
    threshold: float = 0.5,
    scale: int | None = None,
) -> Leakage:
    """Share of held-out sequences whose k-mers occur in training: a scaled MinHash of every sequence, compared with
    that of all of training (Brown and Irber, "sourmash", 2016; containment as in Koslicki and Zabeti, 2019).

    Two sequences of identity p share about p^k of their k-mers: with k = 16 and threshold 0.5, copies of 96 % identity
    and more are found.

    Args:
        other: corpus of the held-out spans; None: the same.
        k: symbols per k-mer. None: 16 for alphabets with a second strand, 6 for others.
        threshold: share of its k-mers from which a sequence counts as a copy.
        scale: look at one k-mer in this many. None: so that a typical held-out sequence keeps about 64.

    Raises:
        ValueError: `k`, `scale` or `threshold` out of range.
    """
    word = k if k is not None else (16 if corpus.complement is not None else 6)
    if word < 1 or not 0 < threshold <= 1 or (scale is not None and scale < 1):
        raise ValueError(f"k {word} and scale {scale} must be 1 or more, threshold {threshold} above 0 and at most 1")
    typical = int(np.median(held_out.lengths)) if len(held_out) else 1
    rate = scale if scale is not None else max(1, typical // _AIM)
    known = [_sketch(corpus, *span, word, rate) for span in _pieces(train, word)]
    seen = np.unique(np.concatenate(known)) if known else np.zeros(0, np.uint64)
    overlaps, short = [], 0
    source = corpus if other is None else other
    for number, start, stop in zip(
        held_out.record.tolist(), held_out.start.tolist(), held_out.stop.tolist(), strict=True
    ):
        own = np.unique(_sketch(source, number, start, stop, word, rate))
        if own.size == 0:
            short += 1
            continue
        place = np.searchsorted(seen, own).clip(max=max(len(seen) - 1, 0))
        overlaps.append(float((seen[place] == own).mean()) if len(seen) else 0.0)
    found = np.array(overlaps)
    copies = int((found >= threshold).sum())
    return Leakage(
        checked=len(found),
        too_short=short,
        copies=copies,
        share=copies / len(found) if len(found) else 0.0,
        mean_overlap=float(found.mean()) if len(found) else 0.0,
        k=word,
        scale=rate,
        threshold=threshold,
    )


def _pieces(spans: Spans, k: int) -> Iterator[tuple[int, int, int]]:
    """Spans in blocks that overlap by k - 1, so that no k-mer is cut."""
    for number, start, stop in zip(spans.record.tolist(), spans.start.tolist(), spans.stop.tolist(), strict=True):
        for begin in range(start, stop, _BLOCK):
            yield number, begin, min(stop, begin + _BLOCK + k - 1)


def _sketch(corpus: Corpus, number: int, start: int, stop: int, k: int, scale: int) -> np.ndarray:
    """Hashes of one k-mer in `scale`, the same for both strands; none of those with a wildcard: uint64 [n]."""
    ids = corpus.fetch(number, start, stop)
    if len(ids) < k:
        return np.zeros(0, np.uint64)
    hashes = _mix(_rolling(ids, k))
    if corpus.complement is not None:
        # The k-mer at i of one strand is the one at the mirrored place of the other.
        hashes = np.minimum(hashes, _mix(_rolling(corpus.complement[ids[::-1]], k))[::-1])
    keep = hashes <= np.uint64((2**64 - 1) // scale)
    if corpus.wildcard is not None:
        unknown = np.concatenate([[0], np.cumsum(ids == corpus.wildcard)])
        keep &= unknown[k:] == unknown[:-k]
    return hashes[keep]


def _rolling(ids: np.ndarray, k: int) -> np.ndarray:
    """A polynomial in the ids of every k-mer, modulo 2^64: uint64 [T - k + 1]."""
    out = np.zeros(len(ids) - k + 1, np.uint64)
    wide = ids.astype(np.uint64) + np.uint64(1)
    for j in range(k):
        out *= _BASE
        out += wide[j : j + len(out)]
    return out


def _mix(x: np.ndarray) -> np.ndarray:
    """Spread the bits evenly (the finaliser of splitmix64; Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
