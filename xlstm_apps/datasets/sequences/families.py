"""Sequences shown with relatives of their family before them: windows of homologs to train on, and held-out members
behind any number of homologs. Sets of molecules are read in the same way.

A row holds homologs one after another, `end` behind each, as a model reads them behind its begin token. Which are shown
is drawn by weight without repeats; those that no longer fit are passed over, so that none is cut.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .batches import read_span
from .corpus import Corpus
from .identity import identity_clusters
from .spans import Spans

Batch = dict[str, Tensor]
Line = tuple[np.ndarray, np.ndarray]
Respell = Callable[[np.ndarray, np.random.Generator, int], np.ndarray]
NEAR_COPY = 0.8
"""Share of equal residues from which members of a family count as one."""
_AT_ONCE = 10_000_000  # symbols among which near copies are looked for at a time
_MISSES = 32  # members that do not fit before a window is taken to be full


@dataclass(frozen=True)
class Families:
    """Spans of a corpus by family."""

    spans: Spans
    """Members: whole records, or stretches of those longer than a window."""
    members: list[np.ndarray]
    """Numbers of the spans of each family."""
    names: list[str]
    """Of each: the group, or the name of a record without one."""
    weights: np.ndarray
    """How much each span counts in a draw, float64 [N]: the weight of its record over the number of near copies."""

    def __len__(self) -> int:
        return len(self.members)

    @staticmethod
    def of(corpus: Corpus, spans: Spans) -> "Families":
        """The families that the groups of a corpus are; a record without a group is one by itself.

        Near copies are clusters of `NEAR_COPY` identity within the family; molecules have none.
        """
        records = spans.record.tolist()
        keys = [(0, corpus.groups[r]) if corpus.groups[r] is not None else (1, corpus.ids[r]) for r in records]
        numbers = {key: n for n, key in enumerate(dict.fromkeys(keys))}
        family = np.array([numbers[key] for key in keys], np.int64)
        order = np.argsort(family, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(family, minlength=len(numbers)))[:-1])
        weights = corpus.weights[spans.record].astype(float)
        for few in _portions(members, spans.lengths) if corpus.alphabet["name"] != "smiles" else ():
            chosen = np.concatenate(few)
            rows = [read_span(corpus, spans, n)[0] for n in chosen.tolist()]
            both = np.stack([family[chosen], identity_clusters(rows, corpus.alphabet["definite"], NEAR_COPY)])
            _, place, sizes = np.unique(both, axis=1, return_inverse=True, return_counts=True)
            weights[chosen] /= sizes[place.reshape(-1)]
        return Families(spans, members, [str(name) for _, name in numbers], weights)

    @staticmethod
    def around(corpus: Corpus, targets: Spans, spans: Spans) -> "Families":
        """Those of `spans` that are of a family of the targets."""
        wanted = {corpus.groups[record] for record in np.unique(targets.record).tolist()}
        return Families.of(corpus, spans[np.array([corpus.groups[r] in wanted for r in spans.record.tolist()], bool)])

    def draw(self, family: int, room: int, rng: np.random.Generator, without: Sequence[int] = ()) -> list[int]:
        """Members in random order, drawn by weight without repeats, that with an end each fit into `room`.

        Args:
            family: whose.
            room: places there are.
            rng: source of randomness.
            without: members not to draw.
        """
        members = np.setdiff1d(self.members[family], np.asarray(without, np.int64))
        members = members[self.weights[members] > 0]
        # By exponential variables of these rates, smallest first: a draw without repeats (Efraimidis, Spirakis 2006).
        order = members[np.argsort(rng.exponential(size=len(members)) / self.weights[members], kind="stable")]
        taken, misses = [], 0
        for number, need in zip(order.tolist(), (self.spans.lengths[order] + 1).tolist(), strict=True):
            if need <= room:
                taken.append(number)
                room -= need
            else:
                misses += 1
            if misses > _MISSES or room < 2:
                break
        return [taken[i] for i in rng.permutation(len(taken)).tolist()]

    def fill(self) -> np.ndarray:
        """Places that the members of each family take that may be drawn, with an end each: int64 [F]."""
        places = np.where(self.weights > 0, self.spans.lengths + 1, 0)
        return np.array([int(places[members].sum()) for members in self.members], np.int64)


class FamilyWindows(Dataset[Batch]):
    """Windows of homologs of one family, drawn anew at every visit, for training: every symbol and every end counts.

    A pass has as many windows of a family as its members fill.

    Args:
        corpus: the ids.
        families: what to draw from; no span longer than `length` - 1.
        length: places of a window.
        end: id behind every homolog.
        alone: share of the windows that show one sequence by itself.
        softmask_weight: weight of soft-masked symbols.
        respell: gives another spelling of a molecule, of at most so many ids; None: as they are.
    """

    def __init__(
        self,
        corpus: Corpus,
        families: Families,
        length: int,
        end: int,
        *,
        alone: float,
        softmask_weight: float = 1.0,
        respell: Respell | None = None,
    ) -> None:
        self.corpus, self.families, self.length, self.end = corpus, families, length, end
        self.alone, self.softmask_weight, self.respell = alone, softmask_weight, respell
        fill = families.fill()
        if not fill.any():
            raise ValueError("there are no sequences to walk over: all have weight 0")
        self._owner = np.repeat(np.arange(len(families)), -(-fill // length))
        #: places of a window, about
        self.mean_length = float(np.minimum(fill, length)[self._owner].mean())

    def __len__(self) -> int:
        return len(self._owner)

    def draw(self, indices: Sequence[int], generator: np.random.Generator) -> Batch:
        """Windows of these numbers: `ids` [B, T] int64, `weights` [B, T] float32, `lengths` [B] int64."""
        rows = []
        for index in indices:
            chosen = self.families.draw(int(self._owner[index]), self.length, generator)
            rows.append(chosen[:1] if generator.random() < self.alone else chosen)
        lines = [[self._closed(number) for number in row] for row in rows]
        if self.respell is not None:
            lines = [self._respelled(row, self.respell, generator) for row in lines]
        return _padded(lines, self.corpus.alphabet["pad"])

    def _respelled(self, row: list[Line], respell: Respell, generator: np.random.Generator) -> list[Line]:
        """The same molecules in other spellings, as long as the window holds them."""
        spare, out = self.length - sum(len(ids) for ids, _ in row), []
        for ids, weights in row:
            found = respell(ids[:-1], generator, len(ids) - 1 + spare)
            spare -= len(found) - len(ids) + 1
            counts = np.append(np.full(len(found), weights[0], weights.dtype), weights[-1])
            out.append((np.append(found, ids[-1]), counts))
        return out

    def _closed(self, number: int) -> Line:
        spans = self.families.spans
        line = read_span(self.corpus, spans, number, self.softmask_weight)
        record = spans.record[number]
        whole = spans.stop[number] == self.corpus.lengths[record]
        return _with_end(line, self.end, float(self.corpus.weights[record]) * whole)


class HeldOutMembers(Dataset[Batch]):
    """Members of families, each behind homologs that are only read: its own symbols count.

    Args:
        corpus: the ids.
        targets: the members.
        shown: homologs of each target, as `homologs_of` draws them.
        pool: spans that `shown` numbers.
        end: id behind every homolog.
        closed: ask for the end of the target too.
        shuffled: show the homologs with their symbols in random order, as a control of the same composition.
        softmask_weight: weight of soft-masked symbols.
    """

    def __init__(
        self,
        corpus: Corpus,
        targets: Spans,
        shown: Sequence[Sequence[int]],
        pool: Spans,
        end: int,
        *,
        closed: bool = True,
        shuffled: bool = False,
        softmask_weight: float = 1.0,
    ) -> None:
        self.corpus, self.spans, self.shown, self.pool, self.end = corpus, targets, shown, pool, end
        self.closed, self.shuffled, self.softmask_weight = closed, shuffled, softmask_weight
        #: places of each row: int64 [N]
        self.sizes = targets.lengths + closed
        self.sizes = self.sizes + [int((pool.lengths[list(row)] + 1).sum()) for row in shown]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """As `FamilyWindows.draw`, and `record` [B]."""
        lines = []
        for index in indices:
            rng, row = np.random.default_rng(index), []
            for number in self.shown[index]:
                ids, weights = read_span(self.corpus, self.pool, number)
                ids = rng.permutation(ids) if self.shuffled else ids
                row.append(_with_end((ids, np.zeros_like(weights)), self.end, 0.0))
            record = self.spans.record[index]
            line = read_span(self.corpus, self.spans, index, self.softmask_weight)
            whole = self.closed and self.spans.stop[index] == self.corpus.lengths[record]
            row.append(_with_end(line, self.end, float(self.corpus.weights[record])) if whole else line)
            lines.append(row)
        batch = _padded(lines, self.corpus.alphabet["pad"])
        return batch | {"record": torch.from_numpy(self.spans.record[np.asarray(indices)])}


def homologs_of(corpus: Corpus, targets: Spans, families: Families, room: int) -> list[list[int]]:
    """Members of the family of each target to show before it, drawn with the number of the target as seed; never its
    own record, nor one of the same symbols. None where it has no relatives.

    Args:
        corpus: the ids.
        targets: spans.
        families: what to draw from.
        room: places of a row: the target and its homologs, with an end each.
    """
    where = {name: n for n, name in enumerate(families.names)}
    spans, out = families.spans, []
    texts = np.array([hash(corpus[record].tobytes()) for record in spans.record.tolist()], np.int64)
    for index, record in enumerate(targets.record.tolist()):
        family = where.get(corpus.groups[record]) if corpus.groups[record] is not None else None
        if family is None:
            out.append([])
            continue
        members = families.members[family]
        same = members[texts[members] == hash(corpus[record].tobytes())].tolist()
        left = room - int(targets.lengths[index]) - 1
        out.append(families.draw(family, left, np.random.default_rng(index), same))
    return out


def _portions(members: Sequence[np.ndarray], lengths: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Families, some at a time, that together have at most `_AT_ONCE` symbols, if one by itself has no more."""
    held: list[np.ndarray] = []
    total = 0
    for family in members:
        size = int(lengths[family].sum())
        if held and total + size > _AT_ONCE:
            yield held
            held, total = [], 0
        held.append(family)
        total += size
    yield from [held] if held else []


def _with_end(line: Line, end: int, weight: float) -> Line:
    return np.append(line[0], end), np.append(line[1], np.float32(weight))


def _padded(rows: Sequence[Sequence[Line]], pad: int) -> Batch:
    lengths = np.array([sum(len(ids) for ids, _ in row) for row in rows], np.int64)
    ids = np.full((len(rows), int(lengths.max())), pad, np.int64)
    weights = np.zeros(ids.shape, np.float32)
    for n, row in enumerate(rows):
        ids[n, : lengths[n]] = np.concatenate([part for part, _ in row])
        weights[n, : lengths[n]] = np.concatenate([part for _, part in row])
    return {"ids": torch.from_numpy(ids), "weights": torch.from_numpy(weights), "lengths": torch.from_numpy(lengths)}
