"""Changes under a causal model: what stands before is read once for all alleles, and carried along the sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.effects import Change, Strand, Sums, batches
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance
from xlstm_apps.biosequence.scoring import Context, advance_scores
from xlstm_apps.core.state import xLSTMState

#: A state is kept at every so many symbols of a reading, and an allele reads by itself from there on. A state at every
#: change would break a batch of readings into single symbols.
STRIDE = 32
_STATE_BYTES = 2**28
_MOST_ROWS = 256


def causal_sums(
    model: SequenceModel,
    strand: Strand,
    changes: Sequence[Change],
    context_length: int | None,
    downstream: int,
    tokens: int,
    advance: Advance,
) -> Sums:
    """Log p of both alleles and what stands behind them, given what stands before; arguments as in `change_effects`."""
    sums = Sums(len(changes))
    alleles = _Alleles(model, sums, tokens, advance)
    readings: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, change in enumerate(changes):
        readings[change.record, reading_begin(change.start, context_length)].append(number)
    # Readings of like depth go together, since a batch reads as far as the deepest of them.
    depth = {key: max(changes[n].stop for n in numbers) - key[1] for key, numbers in readings.items()}
    keys = sorted(readings, key=lambda key: (depth[key] // STRIDE, key))
    for first in range(0, len(keys), alleles.rows):
        group = keys[first : first + alleles.rows]
        requests = [
            _Request(number, row, changes[number].start - begin, changes[number], downstream, strand)
            for row, (record, begin) in enumerate(group)
            for number in readings[record, begin]
        ]
        _read(model, strand, group, requests, downstream, tokens, alleles, sums)
    alleles.flush()
    return sums


def reading_begin(start: int, context_length: int | None) -> int:
    """Where the reading for a change at `start` begins: one whole cell of the grid before the change's own."""
    return 0 if context_length is None else max(0, (start // context_length - 1) * context_length)


class _Request:
    """A change within a reading: its row, and where what counts of REF begins and ends there."""

    __slots__ = ("change", "number", "row", "start", "stop")

    def __init__(self, number: int, row: int, start: int, change: Change, downstream: int, strand: Strand) -> None:
        self.number, self.row, self.change, self.start = number, row, change, start
        end = min(change.stop + downstream, strand.length(change.record))
        self.stop = start + end - change.start


def _read(
    model: SequenceModel,
    strand: Strand,
    group: list[tuple[int, int]],
    requests: list[_Request],
    downstream: int,
    tokens: int,
    alleles: _Alleles,
    sums: Sums,
) -> None:
    """Read a batch of stretches side by side: REF is scored in passing, ALT handed over with the state before it."""
    wanted: dict[int, list[_Request]] = defaultdict(list)
    for request in requests:
        wanted[request.start // STRIDE * STRIDE].append(request)
    waiting = sorted(requests, key=lambda request: -request.start)
    definite = np.zeros(256, bool)
    definite[list(model.alphabet.definite)] = True
    longest = max(STRIDE, tokens // len(group))
    context = model.read(torch.zeros(len(group), 0, dtype=torch.long)) if model.begins else None
    at, active = 0, list[_Request]()
    for place in sorted({*wanted, max(request.stop for request in requests)}):
        while at < place:
            stop = min(place, at + longest)
            # Behind the end of a sequence nothing is asked for, so it does not matter what is read there.
            ids = np.full((len(group), stop - at), model.alphabet.pad, np.uint8)
            for row, (record, begin) in enumerate(group):
                piece = strand.fetch(record, begin + at, begin + stop)
                ids[row, : len(piece)] = piece
            nll, context = advance_scores(model, torch.from_numpy(ids), context)
            while waiting and waiting[-1].start < stop:
                active.append(waiting.pop())
            if active:
                _add_passed(sums, active, nll.double().cpu().numpy(), definite[ids], at)
                active = [request for request in active if request.stop > stop]
            at = stop
        if place in wanted:
            rows = sorted({request.row for request in wanted[place]})
            kept = None if context is None else context.select(rows)
            for request in wanted[place]:
                (record, begin), change = group[request.row], request.change
                before = strand.fetch(record, begin + place, change.start)
                behind = strand.fetch(record, change.stop, change.stop + downstream)
                ids = np.concatenate([before, np.frombuffer(change.alt, np.uint8), behind])
                alleles.add(request.number, ids, len(before), kept, rows.index(request.row))
            alleles.flush_if_full()


def _add_passed(sums: Sums, active: list[_Request], nll: np.ndarray, known: np.ndarray, at: int) -> None:
    """Count in what a chunk [rows, n] that begins at `at` says of the REF of changes."""
    known = known & ~np.isnan(nll)
    begin = np.zeros((len(nll), 1))
    total = np.concatenate([begin, np.where(known, -nll, 0).cumsum(1)], 1)
    count = np.concatenate([begin, known.cumsum(1)], 1)
    number = np.array([request.number for request in active])
    row = np.array([request.row for request in active])
    first = np.array([max(request.start - at, 0) for request in active])
    last = np.array([min(request.stop - at, nll.shape[1]) for request in active])
    sums.total[number, 0] += total[row, last] - total[row, first]
    sums.count[number, 0] += count[row, last] - count[row, first]


class _Alleles:
    """ALT alleles that wait to be scored in one batch, each behind the state it goes on from."""

    def __init__(self, model: SequenceModel, sums: Sums, tokens: int, advance: Advance) -> None:
        self.model, self.tokens, self.advance, self.sums = model, tokens, advance, sums
        state = sum(t.numel() * t.element_size() for t in _tensors(model.initial_state(1)))
        self.rows = int(np.clip(_STATE_BYTES // max(state, 1), 1, _MOST_ROWS))
        self._clear()

    def _clear(self) -> None:
        self.waiting: list[_Waiting] = []
        self.contexts: list[Context] = []
        self.states = 0
        self.symbols = 0

    def add(self, number: int, ids: np.ndarray, skip: int, kept: Context | None, row: int) -> None:
        """Queue the allele of a change: `ids` go on from row `row` of a context, and count from `skip` on."""
        if kept is not None and (not self.contexts or self.contexts[-1] is not kept):
            self.contexts.append(kept)
            self.states += len(kept.logits)
        origin = None if kept is None else self.states - len(kept.logits) + row
        self.waiting.append(_Waiting(number, ids, skip, origin))
        self.symbols += len(ids)

    def flush_if_full(self) -> None:
        """Score what waits, where it fills a batch."""
        if self.symbols >= self.tokens or self.states >= self.rows:
            self.flush()

    def flush(self) -> None:
        """Score what waits."""
        every = _joined(self.contexts) if self.contexts else None
        for fresh in (True, False):
            chosen = [one for one in self.waiting if (one.origin is None) == fresh]
            for batch in batches([len(one.ids) for one in chosen], self.tokens, self.rows):
                self._score([chosen[n] for n in batch], None if fresh else every)
        self.advance(len(self.waiting))
        self._clear()

    def _score(self, batch: list[_Waiting], every: Context | None) -> None:
        lengths = np.array([len(one.ids) for one in batch])
        ids = np.full((len(batch), lengths.max()), self.model.alphabet.pad, np.uint8)
        for row, one in enumerate(batch):
            ids[row, : lengths[row]] = one.ids
        context = None if every is None else every.select([one.origin for one in batch if one.origin is not None])
        options = {"lengths": torch.from_numpy(lengths), "context": context, "strands": "own"}
        nll = self.model.score(torch.from_numpy(ids), **options).double().numpy()
        nll[np.arange(nll.shape[1]) < np.array([one.skip for one in batch])[:, None]] = np.nan
        number = [one.number for one in batch]
        self.sums.total[number, 1] = -np.nansum(nll, 1)
        self.sums.count[number, 1] = (~np.isnan(nll)).sum(1)


class _Waiting(NamedTuple):
    number: int
    ids: np.ndarray
    skip: int
    origin: int | None
    """Row of all contexts that wait; None begins anew."""


def _joined(contexts: list[Context]) -> Context:
    states = xLSTMState.concat([context.state for context in contexts])
    return Context(states, torch.cat([context.logits for context in contexts]))


def _tensors(state: xLSTMState) -> list[Tensor]:
    found: list[Tensor] = []
    state.map(lambda t: found.append(t) or t)
    return found
