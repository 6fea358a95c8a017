"""How a change of a sequence changes what a model says of it: substitutions, insertions, deletions, on either strand.

A causal model is asked for log p(ALT) - log p(REF) of the changed symbols and of those behind them, after what stands
before (`effects_causal`); a masked model for the same at hidden places (`effects_masked`); a predictor for the change
of its output. Whatever the model, a number below 0 says that the change makes less of it: less probable, less of the
class, a smaller number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.heads import SequencePredictor, language_part
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance, ignore, tokens_at_a_time
from xlstm_apps.biosequence.strings import by_length

Strands = Literal["forward", "reverse", "both"]


class Sequences(Protocol):
    """Sequences by number, such as a `Corpus`."""

    @property
    def lengths(self) -> np.ndarray:
        """Symbols of each: int64 [N]."""
        ...

    def fetch(self, index: int, start: int, stop: int, strand: int = 1) -> np.ndarray:
        """Ids of a stretch, as its other strand reads where `strand` is -1: uint8 [T]."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """Symbols put in the place of others."""

    record: int
    """Number of the sequence."""
    start: int
    """Place of the first symbol that is replaced, from 0."""
    ref: bytes
    """Ids that stand there; none for an insertion."""
    alt: bytes
    """Ids to stand there; none for a deletion."""

    @property
    def stop(self) -> int:
        """Place after the last symbol that is replaced."""
        return self.start + len(self.ref)


class Strand:
    """Sequences as one of their strands reads them, places counted from its own begin.

    Args:
        sequences: Where symbols come from.
        sign: 1, or -1 for the other strand.
        complement: Id of the pairing symbol [V]; needed for the other strand.
    """

    def __init__(self, sequences: Sequences, sign: int, complement: np.ndarray | None) -> None:
        self.sequences, self.sign, self.complement = sequences, sign, complement

    def length(self, record: int) -> int:
        """Symbols of a sequence."""
        return int(self.sequences.lengths[record])

    def fetch(self, record: int, start: int, stop: int) -> np.ndarray:
        """Ids of a stretch, cut at the ends of the sequence: uint8 [T]."""
        length = self.length(record)
        start, stop = max(start, 0), min(stop, length)
        if start >= stop:
            return np.zeros(0, np.uint8)
        if self.sign < 0:
            start, stop = length - stop, length - start
        return self.sequences.fetch(record, start, stop, self.sign)

    def change(self, change: Change) -> Change:
        """The same change as this strand reads it."""
        if self.sign > 0:
            return change
        return Change(change.record, self.length(change.record) - change.stop, self._turn(change.ref),
                      self._turn(change.alt))  # fmt: skip

    def _turn(self, ids: bytes) -> bytes:
        assert self.complement is not None
        return self.complement[np.frombuffer(ids, np.uint8)[::-1]].tobytes()


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What changes do. Arrays are [N, strands, outputs], NaN for a strand that was not read."""

    names: tuple[str, ...]
    """Of the outputs; one empty name for a language model."""
    delta: np.ndarray
    """Of a language model log p(ALT) - log p(REF) in nats."""

    @property
    def mean(self) -> np.ndarray:
        """Over the strands that were read: [N, outputs]."""
        return np.nanmean(self.delta, 1)


@torch.no_grad()
def change_effects(
    model: SequenceModel | SequencePredictor,
    sequences: Sequences,
    changes: Sequence[Change],
    *,
    strands: Strands | None = None,
    context_length: int | None = 512,
    downstream: int | None = None,
    per_symbol: bool = False,
    tokens: int | None = None,
    advance: Advance | None = None,
) -> Effects:
    """What each change does to what the model says.

    Args:
        model: Causal, masked, or a predictor of whole sequences.
        sequences: What is changed.
        changes: Any number, in any order; equal ones are computed once.
        strands: Which strands are read. None: both where the alphabet has two, the given one for a predictor. A model
            that combines both strands by itself is read once, and both strands then say the same.
        context_length: Causal: symbols read before a change, at least so many and less than twice as many, from a grid
            on the sequence so that neighbours share them; None: all from the begin of the sequence. Masked models and
            predictors: symbols on each side; None: all.
        downstream: Causal: symbols behind the change that count too, since it is they that tell what it breaks. Masked:
            symbols on each side of an insertion or deletion that count too. None: 128, or 16 if masked.
        per_symbol: Means over the symbols that count instead of sums, so that length matters less.
        tokens: Most symbols in a batch; None: by device.
        advance: Called with a number of changes that are done.

    Raises:
        ValueError: Options that do not go with the model.
    """
    from xlstm_apps.biosequence.effects_causal import causal_sums
    from xlstm_apps.biosequence.effects_masked import masked_sums, predictor_changes
    from xlstm_apps.biosequence.scoring import evaluating

    predicts = isinstance(model, SequencePredictor)
    language = language_part(model)
    alphabet = language.alphabet
    signs = strand_signs(alphabet, strands, predicts)
    if (context_length is not None and context_length < 1) or (downstream is not None and downstream < 0):
        raise ValueError(f"context_length {context_length} must be at least 1, downstream {downstream} at least 0")
    tokens = tokens_at_a_time(language, tokens)
    if predicts and (downstream is not None or per_symbol):
        raise ValueError("downstream and per_symbol are for language models; a predictor reads the whole window")
    distinct = list(dict.fromkeys(changes))
    told = advance or ignore
    with evaluating(model):
        combined = language.reads_both and (predicts or language.sequence.objective == "masked")
        read = [1] if combined else signs  # what the other strand says is the same
        # Each distinct change is told of once, after its last strand; equal ones with it.
        found = {}
        for sign in read:
            step = told if sign == read[-1] else ignore
            strand = Strand(sequences, sign, alphabet.complement)
            turned = [strand.change(change) for change in distinct]
            if isinstance(model, SequencePredictor):
                found[sign] = predictor_changes(model, strand, turned, context_length, tokens, step)
                continue
            if language.sequence.objective == "causal":
                near = 128 if downstream is None else downstream
                sums = causal_sums(language, strand, turned, context_length, near, tokens, step)
            else:
                near = 16 if downstream is None else downstream
                sums = masked_sums(language, strand, turned, context_length, near, tokens, step)
            found[sign] = sums.delta(per_symbol)[:, None]
    told(len(changes) - len(distinct))
    names = effect_names(model)
    delta = np.full((len(distinct), 2, len(names)), np.nan)
    for sign in signs:
        delta[:, int(sign < 0)] = found[sign if sign in found else 1]
    place = {change: n for n, change in enumerate(distinct)}
    return Effects(names=names, delta=delta[[place[change] for change in changes]])


def strand_signs(alphabet: Alphabet, strands: Strands | None, predicts: bool = False) -> list[int]:
    """Strands to read, as 1 and -1.

    Raises:
        ValueError: The other strand of an alphabet that has one only.
    """
    if strands is None:
        strands = "both" if alphabet.complement is not None and not predicts else "forward"
    if strands not in ("forward", "reverse", "both"):
        raise ValueError(f"strands={strands!r} is not one of forward, reverse, both")
    if strands != "forward" and alphabet.complement is None:
        raise ValueError(f"strands={strands!r}: the {alphabet.name} alphabet has one strand; use 'forward'")
    return {"forward": [1], "reverse": [-1], "both": [1, -1]}[strands]


def effect_names(model: SequenceModel | SequencePredictor) -> tuple[str, ...]:
    """Names of the numbers by which alleles are compared: one without a name for a language model, two classes or a
    single output; else one for each class, label or number."""
    outputs = model.head.out_features if isinstance(model, SequencePredictor) else 1
    if not isinstance(model, SequencePredictor) or outputs == 1:
        return ("",)
    head = model.head_config
    if head.task == "classification" and outputs == 2:
        return ("",)
    return tuple(head.names) if head.names else tuple(str(n) for n in range(outputs))


class Sums:
    """Sums of log p over the symbols that count, and how many there are, of both alleles."""

    def __init__(self, size: int) -> None:
        self.total = np.zeros((size, 2))
        self.count = np.zeros((size, 2))

    def delta(self, per_symbol: bool) -> np.ndarray:
        """ALT - REF, of sums or means: float64 [N]."""
        values = self.total / np.maximum(self.count, 1) if per_symbol else self.total
        return values[:, 1] - values[:, 0]


def batches(lengths: Sequence[int], tokens: int, rows: int | None = None) -> Iterator[list[int]]:
    """As `by_length`, without what is empty, such as what a deletion leaves of a whole sequence."""
    filled = [n for n, length in enumerate(lengths) if length]
    for members in by_length([lengths[n] for n in filled], tokens, rows):
        yield [filled[m] for m in members]
