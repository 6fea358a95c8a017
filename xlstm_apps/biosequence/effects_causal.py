"""Changes under a causal model: what stands before is read once for all alleles, and carried along the sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.effects import Advance, Change, Strand, Sums
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import Context
from xlstm_apps.core.state import xLSTMState

#: States are kept at every so many symbols of a reading; from there to the change an allele reads by itself. A state at
#: each change would break a batch of readings into single symbols.
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
    alleles = _Alleles(model, changes, tokens, advance)
    readings: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, change in enumerate(changes):
        readings[change.record, reading_begin(change.start, context_length)].append(number)
    # Readings of like depth go together, since a batch reads as far as the deepest of them.
    depth = {key: max(changes[n].start for n in numbers) - key[1] for key, numbers in readings.items()}
    group: list[tuple[int, int]] = []
    for key in sorted(readings, key=lambda key: (depth[key] // STRIDE, key)):
        if group and ((len(group) + 1) * (depth[key] + 1) > tokens or len(group) == alleles.rows):
            _read(model, strand, changes, group, readings, downstream, tokens, alleles)
            group = []
        group.append(key)
    if group:
        _read(model, strand, changes, group, readings, downstream, tokens, alleles)
    alleles.flush()
    return alleles.sums


def reading_begin(start: int, context_length: int | None) -> int:
    """Where the reading for a change at `start` begins: one whole cell of the grid before the change's own."""
    return 0 if context_length is None else max(0, (start // context_length - 1) * context_length)


def _read(
    model: SequenceModel,
    strand: Strand,
    changes: Sequence[Change],
    group: list[tuple[int, int]],
    readings: dict[tuple[int, int], list[int]],
    downstream: int,
    tokens: int,
    alleles: _Alleles,
) -> None:
    """Read a batch of stretches side by side, and hand over the alleles on the way."""
    wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)  # kept state -> (row, number of the change)
    for row, key in enumerate(group):
        for number in readings[key]:
            wanted[(changes[number].start - key[1]) // STRIDE * STRIDE].append((row, number))
    longest = max(STRIDE, tokens // len(group))
    context = model.read(torch.zeros(len(group), 0, dtype=torch.long)) if model.begins else None
    at = 0
    for place in sorted(wanted):
        while at < place:
            stop = min(place, at + longest)
            # Behind the end of a sequence no state is asked for, so it does not matter what is read there.
            ids = np.full((len(group), stop - at), model.alphabet.pad, np.uint8)
            for row, (record, begin) in enumerate(group):
                piece = strand.fetch(record, begin + at, begin + stop)
                ids[row, : len(piece)] = piece
            context = model.read(torch.from_numpy(ids), context)
            at = stop
        rows = sorted({row for row, _ in wanted[place]})
        kept = None if context is None else context.select(rows)
        for row, number in wanted[place]:
            change, (record, begin) = changes[number], group[row]
            before = strand.fetch(record, begin + place, change.start)
            behind = strand.fetch(record, change.stop, change.stop + downstream)
            alleles.add(number, change, before, behind, kept, rows.index(row), (record, begin, place))
        alleles.flush_if_full()


class _Alleles:
    """Alleles that wait to be scored in one batch, each behind the state it goes on from."""

    def __init__(self, model: SequenceModel, changes: Sequence[Change], tokens: int, advance: Advance) -> None:
        self.model, self.tokens, self.advance = model, tokens, advance
        self.sums = Sums(len(changes))
        state = sum(t.numel() * t.element_size() for t in _tensors(model.initial_state(1)))
        self.rows = int(np.clip(_STATE_BYTES // max(state, 1), 1, _MOST_ROWS))
        self._clear()

    def _clear(self) -> None:
        self.ids: list[np.ndarray] = []
        self.skip: list[int] = []
        self.owners: list[list[tuple[int, int]]] = []
        self.origin: list[tuple[int, int] | None] = []
        self.contexts: list[Context] = []
        self.known: dict[tuple, int] = {}
        self.symbols = 0

    def add(
        self,
        number: int,
        change: Change,
        before: np.ndarray,
        behind: np.ndarray,
        kept: Context | None,
        row: int,
        where: tuple[int, int, int],
    ) -> None:
        """Queue both alleles of a change; the allele of several changes that are alike is scored once."""
        if kept is not None and (not self.contexts or self.contexts[-1] is not kept):
            self.contexts.append(kept)
        for side, allele in enumerate((change.ref, change.alt)):
            key = (*where, change.start, change.stop, allele)
            if key not in self.known:
                ids = np.concatenate([before, np.frombuffer(allele, np.uint8), behind])
                self.known[key] = len(self.ids)
                self.ids.append(ids)
                self.skip.append(len(before))
                self.owners.append([])
                self.origin.append(None if kept is None else (len(self.contexts) - 1, row))
                self.symbols += len(ids)
            self.owners[self.known[key]].append((number, side))

    def flush_if_full(self) -> None:
        """Score what waits, where it fills a batch."""
        if self.symbols >= self.tokens or len(self.ids) >= self.rows:
            self.flush()

    def flush(self) -> None:
        """Score what waits."""
        order = sorted((n for n in range(len(self.ids)) if len(self.ids[n])), key=lambda n: len(self.ids[n]))
        every = _joined(self.contexts) if self.contexts else None
        offsets = np.cumsum([0, *(len(context.logits) for context in self.contexts)])
        for fresh in (True, False):
            batch: list[int] = []
            for n in [n for n in order if (self.origin[n] is None) == fresh]:
                if batch and ((len(batch) + 1) * len(self.ids[n]) > self.tokens or len(batch) == self.rows):
                    self._score(batch, every, offsets)
                    batch = []
                batch.append(n)
            if batch:
                self._score(batch, every, offsets)
        self.advance(sum(side for owners in self.owners for _, side in owners))
        self._clear()

    def _score(self, batch: list[int], every: Context | None, offsets: np.ndarray) -> None:
        lengths = [len(self.ids[n]) for n in batch]
        ids = np.full((len(batch), max(lengths)), self.model.alphabet.pad, np.uint8)
        for row, n in enumerate(batch):
            ids[row, : lengths[row]] = self.ids[n]
        context = None
        origins = [self.origin[n] for n in batch]
        if every is not None and origins[0] is not None:
            context = every.select([int(offsets[o[0]]) + o[1] for o in origins if o is not None])
        nll = self.model.score(
            torch.from_numpy(ids), lengths=torch.tensor(lengths), context=context, strands="own"
        ).double().numpy()  # fmt: skip
        nll[np.arange(nll.shape[1]) < np.array([self.skip[n] for n in batch])[:, None]] = np.nan
        total, count = -np.nansum(nll, 1), (~np.isnan(nll)).sum(1)
        for row, n in enumerate(batch):
            for number, side in self.owners[n]:
                self.sums.total[number, side], self.sums.count[number, side] = total[row], count[row]


def _joined(contexts: list[Context]) -> Context:
    states = xLSTMState.concat([context.state for context in contexts])
    return Context(states, torch.cat([context.logits for context in contexts]))


def _tensors(state: xLSTMState) -> list[Tensor]:
    found: list[Tensor] = []
    state.map(lambda t: found.append(t) or t)
    return found
