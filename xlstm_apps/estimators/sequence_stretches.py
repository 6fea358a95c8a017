"""What a model is asked about in a corpus: whole records or regions, with flanks that are read beside them, and how
they are cut into windows and put into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder
from xlstm_apps.datasets.sequences import Corpus, SequenceSource, Spans, open_corpus, place_regions, read_regions


@dataclass(frozen=True)
class Stretches:
    """Parts of records, each read on its own strand. "As read" means counted from the first symbol that is read."""

    corpus: Corpus
    spans: Spans
    """What is read, flanks included."""
    low: np.ndarray
    """First symbol asked about, as read: int64 [N]."""
    high: np.ndarray
    """The one after the last."""
    names: list[str] | None
    """Names of regions; None for whole records."""
    notes: list[str]
    """What a reader of the results should know about the input."""

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def asked(self) -> np.ndarray:
        """Symbols asked about per stretch: int64 [N]."""
        return self.high - self.low

    def read(self, index: int, begin: int, end: int, *, other: bool = False) -> np.ndarray:
        """Ids of [begin, end) as read: uint8; on the `other` strand counted from that one's first symbol."""
        record, start, stop = (int(x[index]) for x in (self.spans.record, self.spans.start, self.spans.stop))
        strand = int(self.spans.strand[index]) * (-1 if other else 1)
        if strand > 0:
            return self.corpus.fetch(record, start + begin, start + end)
        return self.corpus.fetch(record, stop - end, stop - begin, -1)

    def places(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Where what is asked about lies in the source: record [N], first symbol [N] counted from 0, strand [N]."""
        spans, corpus = self.spans, self.corpus
        start = np.where(spans.strand > 0, spans.start + self.low, spans.stop - self.high)
        cut_from, turned = corpus.starts[spans.record], corpus.strands[spans.record] < 0
        start = np.where(turned, corpus.lengths[spans.record] - start - self.asked, start)
        return [corpus.ids[i] for i in spans.record], cut_from + start, np.where(turned, -spans.strand, spans.strand)


@contextmanager
def open_stretches(data: SequenceSource, alphabet: Alphabet, *, before: int = 0, after: int = 0) -> Iterator[Stretches]:
    """The records of a `data` section, or the regions of them that it names, for a while.

    Args:
        data: The section.
        alphabet: That of the model.
        before: Symbols in front of each region that are read too, as far as there are any.
        after: The same behind it.

    Raises:
        ValueError: As `load_corpus` and `place_regions`; flanks where there are no regions.
    """
    if before < 0 or after < 0:
        raise ValueError(f"context_length {min(before, after)} is a number of symbols, 0 or more")
    if (before or after) and data.regions_path is None:
        raise ValueError("context_length is read beside regions: give data.regions_path, or leave it out")
    encode = file_encoder(alphabet)
    if encode is not None and data.regions_path is not None:
        raise ValueError(f"data.regions_path is for genomes; the {alphabet.name} alphabet has no places to cut at")
    with open_corpus(replace(data, regions_path=None, region_kind=None), alphabet, encode=encode) as corpus:
        notes = findings(corpus.report)
        if data.regions_path is None:
            spans = Spans.whole(corpus)
            yield Stretches(corpus, spans, np.zeros_like(spans.lengths), spans.lengths, None, notes)
            return
        on_bad: Any = {"error": "error", "skip": "skip", "fix": "clip"}[data.on_bad]
        regions = read_regions(data.regions_path, kind=data.region_kind)
        try:
            placed = place_regions(corpus, regions, on_bad)
        except ValueError as error:
            mend = "; set data.on_bad to 'skip' or 'fix'" if on_bad == "error" else ""
            raise ValueError(f"{error}{mend}") from None
        notes += placed.notes()
        yield with_flanks(corpus, placed.spans, [r.name for r in placed.regions], notes, before, after)


def with_flanks(corpus: Corpus, spans: Spans, names: list[str], notes: list[str], before: int, after: int) -> Stretches:
    """Spans with what stands beside them, in the direction they are read."""
    forward = spans.strand > 0
    left, right = np.where(forward, before, after), np.where(forward, after, before)
    start = np.maximum(spans.start - left, 0)
    stop = np.minimum(spans.stop + right, corpus.lengths[spans.record])
    low = np.where(forward, spans.start - start, stop - spans.stop)
    return Stretches(corpus, Spans(spans.record, start, stop, spans.strand), low, low + spans.lengths, names, notes)


def findings(report: dict[str, Any]) -> list[str]:
    """What was left out or changed on the way in."""
    notes = [f"records left out: {count:,} ({reason})" for reason, count in report["left_out"].items()]
    if report["bad_characters"]:
        notes.append(f"characters that cannot be read: {sum(report['bad_characters'].values()):,}")
    if report["stops_stripped"]:
        notes.append(f"records whose final * was taken off: {report['stops_stripped']:,}")
    if report.get("gapped"):
        notes.append(f"records whose gaps (- and .) were taken out: {report['gapped']:,}")
    if report["renamed"]:
        notes.append(f"records renamed, since they shared their name: {report['renamed']:,}")
    return notes


@dataclass(frozen=True)
class Windows:
    """Readings of stretches, as read. All arrays are int64 [M]."""

    stretch: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    low: np.ndarray
    """First symbol whose result is taken from this window."""
    high: np.ndarray
    """The one after the last."""

    def __len__(self) -> int:
        return len(self.stretch)


def cut(stretches: Stretches, index: Sequence[int], length: int, overlap: int, *, centred: bool) -> Windows:
    """Windows of at most `length` over stretches; the result of every symbol is taken from one of them.

    Args:
        stretches: What to cut.
        index: Which of them.
        length: Symbols in a window.
        overlap: Symbols that a window shares with the next.
        centred: In what two windows share, each gives the half that lies further inside it, as a model that reads both
            sides needs it; else the first window gives it all, as a causal one may.

    Raises:
        ValueError: An overlap that leaves no step.
    """
    if not 0 <= overlap < length:
        raise ValueError(f"windows of {length} symbols cannot overlap by {overlap}; give less")
    rows = []
    for i in index:
        low, high = int(stretches.low[i]), int(stretches.high[i])
        total = int(stretches.spans.lengths[i]) if centred else high
        begins = [*range(0, max(total - length, 0), length - overlap), max(total - length, 0)]
        taken = low
        for number, begin in enumerate(begins):
            end = min(begin + length, total)
            border = end if number + 1 == len(begins) or not centred else (begins[number + 1] + end) // 2
            border = min(border, high)
            if border > taken:
                rows.append((i, begin, end, taken, border))
                taken = border
    return Windows(*np.array(rows, np.int64).reshape(-1, 5).T)


def windowed(window: int | None, overlap: int | None, limit: int, streams: bool) -> tuple[int, int]:
    """Symbols in a window, and how many of them it shares with the next.

    Args:
        window: As asked for; None: `limit`.
        overlap: As asked for; None: an eighth of a window.
        limit: Most symbols at a time.
        streams: The model needs no windows, since it carries its state along.

    Raises:
        ValueError: An overlap where there are no windows.
    """
    if overlap is not None and window is None and streams:
        raise ValueError("overlap is for windows; give window too, or leave it out: a causal model carries its state")
    length = limit if window is None else window
    return length, length // 8 if overlap is None else overlap


def symbols_at_a_time(embedding_dim: int) -> int:
    """Symbols that are read at once: what keeps a reading around a gigabyte, within 1,024 and 65,536."""
    return int(np.clip(2**24 // embedding_dim, 2**10, 2**16))
