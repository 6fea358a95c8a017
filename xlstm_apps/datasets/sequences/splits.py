"""Training, validation and test parts that do not leak: by contig, region, stretch, group or cluster, or by record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from .corpus import Corpus
from .opening import lines
from .spans import Spans

PARTS = ("train", "val", "test")
Stretch = tuple[str, int, int]
"""Contig, start, end; counted from 0, the end not in it."""


@dataclass(frozen=True)
class Split:
    """Spans of the three parts; validation and test may be empty, training may not."""

    train: Spans
    val: Spans
    test: Spans
    rule: str
    """How the parts were made, for the run's record."""

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise ValueError(f"split by {self.rule}: nothing is left to train on")


def split_by_contig(corpus: Corpus, val: Sequence[str] = (), test: Sequence[str] = ()) -> Split:
    """Whole contigs, by name; what is not named is for training.

    Raises:
        ValueError: a name that is not in the corpus, or in both parts; nothing is left to train on.
    """
    held = {1: {corpus.find(name) for name in val}, 2: {corpus.find(name) for name in test}}
    if held[1] & held[2]:
        names = ", ".join(corpus.ids[i] for i in sorted(held[1] & held[2]))
        raise ValueError(f"{names}: named for validation and for the test; choose one")
    part = np.zeros(len(corpus), int)
    for number, members in held.items():
        part[list(members)] = number
    return _of_records(corpus, part, "contig")


def split_by_region(
    corpus: Corpus, val: Sequence[Stretch] = (), test: Sequence[Stretch] = (), margin: int = 0
) -> Split:
    """Stretches held out of their contigs; training is what is left, `margin` symbols away from either side of them.

    Raises:
        ValueError: stretches that overlap, or lie beyond their contig; nothing is left to train on.
    """
    if margin < 0:
        raise ValueError(f"margin is a number of symbols, 0 or more, not {margin}")
    held: list[list[tuple[int, int, int]]] = []
    for stretches in (val, test):
        rows = [(corpus.find(contig), start, end) for contig, start, end in stretches]
        for number, start, end in rows:
            if not 0 <= start < end <= corpus.lengths[number]:
                size = int(corpus.lengths[number])
                raise ValueError(f"{corpus.ids[number]}:{start + 1}-{end} is no stretch of its {size:,} symbols")
        held.append(sorted(rows))
    both = sorted(held[0] + held[1])
    for (a, _, end), (b, start, _) in pairwise(both):
        if a == b and start < end:
            raise ValueError(f"held-out stretches overlap at {corpus.ids[a]}:{start + 1}-{end}; cut one of them")
    left = []
    for number in range(len(corpus)):
        at = 0
        for _, start, end in [row for row in both if row[0] == number]:
            left.append((number, at, start - margin))
            at = end + margin
        left.append((number, at, int(corpus.lengths[number])))
    train = [row for row in left if row[1] < row[2]]
    return Split(_spans(train), _spans(held[0]), _spans(held[1]), "region")


def split_by_stretch(corpus: Corpus, val_fraction: float = 0.05, test_fraction: float = 0.05, margin: int = 0) -> Split:
    """The end of every contig: its last symbols are the test, those before them validation.

    Raises:
        ValueError: fractions that leave nothing to train on.
    """
    _check(val_fraction, test_fraction)
    val, test = [], []
    for name, size in zip(corpus.ids, corpus.lengths.tolist(), strict=True):
        last, middle = round(size * test_fraction), round(size * val_fraction)
        if last:
            test.append((name, size - last, size))
        if middle:
            val.append((name, size - last - middle, size - last))
    found = split_by_region(corpus, val, test, margin)
    return Split(found.train, found.val, found.test, "stretch")


def split_by_group(
    corpus: Corpus,
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    clusters: Mapping[str, str] | None = None,
) -> Split:
    """Whole groups, in a random order, until a part has its share of the records.

    Args:
        clusters: group of each record by its name, as `read_clusters` gives them; None: the groups of the corpus. A
            record without a group is a group of its own.

    Raises:
        ValueError: no record has a group; nothing is left to train on.
    """
    _check(val_fraction, test_fraction)
    groups = [clusters.get(name) for name in corpus.ids] if clusters is not None else corpus.groups
    if all(group is None for group in groups):
        what = "none of the records is in the cluster file" if clusters is not None else "the records have no groups"
        raise ValueError(f"{what}; name a group column, or split at random")
    keys = [(0, group) if group is not None else (1, name) for group, name in zip(groups, corpus.ids, strict=True)]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    member = np.array([numbers[key] for key in keys])
    rule = "cluster" if clusters else "group"
    if clusters and (alone := sum(group is None for group in groups)):
        rule = f"cluster; {alone:,} of {len(groups):,} records are in no cluster, and stand by themselves"
    return _of_records(corpus, _shares(member, val_fraction, test_fraction, seed), rule)


def split_at_random(corpus: Corpus, val_fraction: float = 0.1, test_fraction: float = 0.1, seed: int = 0) -> Split:
    """Records at random. Copies of one sequence may fall into two parts: see `leakage`.

    Raises:
        ValueError: fractions that leave nothing to train on.
    """
    _check(val_fraction, test_fraction)
    return _of_records(corpus, _shares(np.arange(len(corpus)), val_fraction, test_fraction, seed), "random")


def split_by_parts(corpus: Corpus, parts: Iterable[str]) -> Split:
    """As the data says: one of `train`, `val` (or `valid`, `validation`) and `test` (or `training`, ...) per record.

    Raises:
        ValueError: another word; nothing is left to train on.
    """
    words = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
    part = np.zeros(len(corpus), int)
    for i, word in enumerate(parts):
        name = words.get(str(word).lower(), str(word).lower())
        if name not in PARTS:
            raise ValueError(f"record {corpus.ids[i]!r}: part {word!r} is none of train, val, test")
        part[i] = PARTS.index(name)
    return _of_records(corpus, part, "column")


def read_clusters(path: str | Path) -> dict[str, str]:
    """Cluster of each member, from two columns, representative and member, as MMseqs2 writes them.

    Raises:
        ValueError: a line without two columns, or a member of two clusters; names it.
    """
    out: dict[str, str] = {}
    for number, text in lines(path):
        if not text.strip():
            continue
        cells = text.split("\t") if "\t" in text else text.split()
        if len(cells) < 2:
            raise ValueError(f"{path} line {number}: a line is representative and member, parted by a tab")
        if out.setdefault(cells[1], cells[0]) != cells[0]:
            raise ValueError(
                f"{path} line {number}: {cells[1]!r} is in the cluster {out[cells[1]]!r} already; a record is in one"
            )
    return out


def _shares(member: np.ndarray, val_fraction: float, test_fraction: float, seed: int) -> np.ndarray:
    """Part of each record, whole groups together, in a random order: test is filled first, then validation.

    Raises:
        ValueError: every group is larger than a part that should hold some.
    """
    sizes = np.bincount(member)
    part_of_group = np.zeros(len(sizes), int)
    room = {
        part: max(1, round(fraction * len(member))) if fraction else 0
        for part, fraction in ((2, test_fraction), (1, val_fraction))
    }
    taken = dict.fromkeys(room, 0)
    for group in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        for part in room:
            if taken[part] + sizes[group] <= room[part]:
                part_of_group[group] = part
                taken[part] += sizes[group]
                break
    for part, most in room.items():
        if most and not taken[part]:
            raise ValueError(
                f"no group fits into the {PARTS[part]} part of {most} records, the smallest has {sizes.min()}; raise "
                f"{PARTS[part]}_fraction"
            )
    return part_of_group[member]


def _of_records(corpus: Corpus, part: np.ndarray, rule: str) -> Split:
    train, val, test = (Spans.whole(corpus, np.flatnonzero(part == i)) for i in range(3))
    return Split(train, val, test, rule)


def _spans(rows: list[tuple[int, int, int]]) -> Spans:
    record, start, stop = np.array(rows, np.int64).reshape(-1, 3).T
    return Spans(record, start, stop, np.ones_like(record))


def _check(val_fraction: float, test_fraction: float) -> None:
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be 0 or more, with a sum below 1"
        )
