"""Proteins with gaps, such as `MKT[5-12]GG[*]`, and what a model puts into them knowing all that surrounds them.

`[5]` is a gap of five residues, `[5-12]` of five to twelve, `[5-]` of five or more, `[*]` of any number from one on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.fitness import check_infilling
from xlstm_apps.biosequence.infilling import lay_out, span_tokens
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import evaluating
from xlstm_apps.biosequence.tokenizer import get_tokenizer
from xlstm_apps.core.sampling import sample
from xlstm_apps.core.state import xLSTMState

MOST = 50
"""Longest filling of a gap that names no end."""
LONGEST = 10_000
"""Longest filling of any gap: hardly a protein is longer, and a slip of the keyboard would never end."""
_GAP = re.compile(r"\[\s*(?:(\*)|(\d+)\s*(?:(-)\s*(\d+)?)?)\s*\]")


@dataclass(frozen=True)
class Pattern:
    """Pieces of a protein, and the gaps between them."""

    pieces: tuple[np.ndarray, ...]
    """Ids before, between and behind the gaps, one more than there are gaps; they may be empty."""
    gaps: tuple[tuple[int, int], ...]
    """Fewest and most symbols of each."""

    @property
    def exact(self) -> bool:
        """Whether every gap has one length."""
        return all(least == most for least, most in self.gaps)


def parse_pattern(text: str, most: int = MOST) -> Pattern:
    """A pattern as it is written; lower case is upper case, white space does not count.

    Args:
        text: The pattern.
        most: Longest filling of a gap that names no end.

    Raises:
        ValueError: A bracket that holds no length, or is left open; a range that falls, or of more than `LONGEST`; a
            character that no protein holds; no gap at all. Names the place.
    """
    if most < 1:
        raise ValueError(f"max_gap {most} must be at least 1")
    text = "".join(text.split())
    tokenizer, pieces, gaps, at = get_tokenizer("protein"), list[np.ndarray](), list[tuple[int, int]](), 0

    def piece(begin: int, end: int) -> np.ndarray:
        stray = next((n for n in range(begin, end) if text[n] in "[]"), None)
        if stray is not None:
            raise ValueError(
                f"{text[stray : stray + 12]!r} at position {stray + 1} is no gap such as [5], [5-12] or [*]"
            )
        try:
            return tokenizer.fold_text(text[begin:end]).astype(np.int64)
        except ValueError as error:
            raise ValueError(f"in {text[begin:end]!r}, from position {begin + 1} on: {error}") from None

    for found in _GAP.finditer(text):
        pieces.append(piece(at, found.start()))
        least = 1 if found[1] else int(found[2])
        longest = int(found[4]) if found[4] else max(least, most) if found[1] or found[3] else least
        if longest < max(least, 1):
            why = "holds nothing" if longest == least else f"falls from {least} to {longest}"
            raise ValueError(f"gap {found[0]} at position {found.start() + 1} {why}")
        if longest > LONGEST:
            raise ValueError(f"gap {found[0]} at position {found.start() + 1} is of more than {LONGEST:,} residues")
        gaps.append((least, longest))
        at = found.end()
    pieces.append(piece(at, len(text)))
    if not gaps:
        raise ValueError(
            "names no gap; write one as [5], [5-12] or [*], or use `sequence generate` to continue a protein"
        )
    return Pattern(tuple(pieces), tuple(gaps))


class Filled(NamedTuple):
    """A pattern with its gaps filled."""

    ids: np.ndarray
    """The whole protein: int64 [T]."""
    fillings: list[np.ndarray]
    """What was put into each gap."""
    log_likelihood: float
    """log p in nats of the symbols put in, given all that surrounds them, whatever temperature they were drawn at."""


@torch.no_grad()
def fill_gaps(
    model: SequenceModel,
    pattern: Pattern,
    count: int = 1,
    *,
    state: xLSTMState | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> list[Filled]:
    """Fill the gaps of a pattern, several times at once.

    What stands behind a gap tells a model with rotary positions how long the gap is. So its length is drawn first,
    evenly within its range; a model without positions ends a gap where it likes, within the range.

    Args:
        model: Causal, trained to fill gaps.
        pattern: What is given.
        count: How many times.
        state: What was read before, without the begin token: a row for each, or one for all.
        temperature: As `xLSTMLanguageModel.generate`.
        top_k: As there.
        top_p: As there.
        generator: Source of randomness, on the device of the model.

    Raises:
        ValueError: A model that was not trained to fill gaps.
    """
    check_gap_model(model)
    row = _Rows(model, pattern, count, generator)
    logits, state = row.read(state)
    with evaluating(model):
        while not row.done.all():
            choice = sample(logits.masked_fill(~row.possible(), -torch.inf), temperature, top_k, top_p, generator)
            chances = logits.log_softmax(-1).gather(-1, choice[:, None])[:, 0]
            places = row.take(choice, chances)
            given = {"positions": places} if row.placed else {}
            logits, state = model.step(choice, state, inplace=True, **given)
    return row.results()


def check_gap_model(model: SequenceModel) -> None:
    """See that a model can fill gaps of any length.

    Raises:
        ValueError: A masked model, or one that was not trained to fill gaps.
    """
    if model.sequence.objective != "causal":
        raise ValueError(
            "a masked model cannot fill gaps of several residues; train with sequence.objective causal and "
            "sequence.infill_spans 1"
        )
    check_infilling(model)


class _Rows:
    """Several fillings of one pattern, each at its own place in it."""

    def __init__(self, model: SequenceModel, pattern: Pattern, count: int, generator: torch.Generator | None) -> None:
        self.model, self.pattern, self.count = model, pattern, count
        self.device = model.embedding.weight.device
        self.placed = model.config.rotary_base is not None
        gaps = torch.tensor(pattern.gaps, device=self.device)
        self.least, self.most = gaps.T[:, None].expand(2, count, -1)
        if self.placed:
            chance = torch.rand(self.least.shape, generator=generator, device=self.device)
            drawn = self.least + (chance * (self.most - self.least + 1)).long()
            self.least = self.most = torch.minimum(drawn, self.most)
        tokens = span_tokens(model.alphabet)
        self.opening = [tokens[n % len(tokens)] for n in range(len(pattern.gaps))]
        #: What ends each gap: the token of the next, or the end of the protein.
        self.ends = torch.tensor([*self.opening[1:], model.alphabet.end], device=self.device)
        before = torch.tensor([len(piece) for piece in pattern.pieces[:-1]], device=self.device).cumsum(0)
        #: Position of the first symbol of each gap, and of its token: [count, gaps]
        self.begins = before + self.most.cumsum(1) - self.most + 1
        self.gap = torch.zeros(count, dtype=torch.long, device=self.device)
        self.size = torch.zeros_like(self.gap)
        self.done = torch.zeros(count, dtype=torch.bool, device=self.device)
        self.total = torch.zeros(count, dtype=torch.double, device=self.device)
        self.every = torch.arange(count, device=self.device)
        self.definite = ~torch.ones_like(model.forbidden)
        self.definite[list(model.alphabet.definite)] = True
        self.fillings: list[list[list[int]]] = [[[] for _ in pattern.gaps] for _ in range(count)]

    def read(self, state: xLSTMState | None) -> tuple[Tensor, xLSTMState]:
        """Let the model read what is given, up to the token of the first gap."""
        lines = []
        for lengths in self.most.tolist():
            parts, spans, at = [self.pattern.pieces[0]], [], len(self.pattern.pieces[0])
            for length, piece in zip(lengths, self.pattern.pieces[1:], strict=True):
                spans.append((at, at + length))
                parts += [np.full(length, self.model.alphabet.wildcard), piece]
                at += length + len(piece)
            line = lay_out(np.concatenate(parts), spans, self.model.alphabet)
            stop = int(np.argmax(line.ids == self.model.alphabet.eos)) + 2
            lines.append((line.ids[:stop], line.positions[:stop]))
        ids, places = (torch.from_numpy(np.stack(column)).to(self.device) for column in zip(*lines, strict=True))
        if state is not None and state.batch_size == 1 < self.count:
            state = state.select([0] * self.count)
        with evaluating(self.model):
            given = {"positions": places} if self.placed else {}
            logits, behind = self.model(ids, state, return_state=True, **given)
        return logits[:, -1], behind

    def possible(self) -> Tensor:
        """Which tokens may come next: [count, V]."""
        size, gap = self.size, self.gap
        allowed = self.definite & (size < self.most[self.every, gap])[:, None]
        allowed[self.every, self.ends[gap]] |= size >= self.least[self.every, gap]
        return allowed

    def take(self, choice: Tensor, chances: Tensor) -> Tensor:
        """Take up the next token of each row, and say where it stands: [count]."""
        symbol = self.definite[choice]
        places = self.begins[self.every, self.gap] + self.size
        counted = symbol & ~self.done
        self.total += torch.where(counted, chances.double(), 0)
        for row in counted.nonzero()[:, 0].tolist():
            self.fillings[row][int(self.gap[row])].append(int(choice[row]))
        last = self.gap == len(self.opening) - 1
        self.done |= ~symbol & last
        self.size = torch.where(symbol, self.size + 1, 0)
        self.gap = torch.where(symbol | last, self.gap, self.gap + 1)
        return torch.where(symbol, places, self.begins[self.every, self.gap])

    def results(self) -> list[Filled]:
        """All of them."""
        out = []
        for fillings, total in zip(self.fillings, self.total.tolist(), strict=True):
            filled = [np.array(filling, np.int64) for filling in fillings]
            parts = [self.pattern.pieces[0]]
            for filling, piece in zip(filled, self.pattern.pieces[1:], strict=True):
                parts += [filling, piece]
            out.append(Filled(np.concatenate(parts), filled, total))
        return out


def filled_texts(filled: Sequence[Filled]) -> list[tuple[str, list[str]]]:
    """Proteins and fillings as strings."""
    decode = get_tokenizer("protein").decode
    return [(decode(one.ids), [decode(filling) for filling in one.fillings]) for one in filled]
