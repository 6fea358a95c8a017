"""Families of homologs from files, aligned or not: how alike each is to a query, how much it counts, which are drawn.

Of an alignment likeness is counted column by column. Without one it is estimated from shared words: where a share p of
the residues is alike, words of k residues agree with a chance of about p to the power of k. Words of three tell distant
relatives better, words of five near copies faster.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import sparse

from .alignment import Alignment, read_a3m, read_alignment
from .homologs import draw_homologs, homolog_weights, identity_to_query
from .mutations import THREE_LETTERS, clean_protein, three_letters
from .reading import read_records, sniff
from .record import Record

WORD, LONG_WORD = 3, 5
_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class Family:
    """Homologs, each with its likeness to a query and its weight."""

    name: str
    records: list[Record]
    """In the order of the file; sequences in upper case, without gaps."""
    query: Record | None
    """What the others are homologs of."""
    identity: np.ndarray | None
    """Share of the symbols that each has in common with the query: float64 [N]; None where there is none."""
    weights: np.ndarray
    """One over the number of sequences alike, as `homolog_weights`: float64 [N]."""
    aligned: bool
    """Whether columns of an alignment were compared; else words."""
    notes: list[str]
    """What a reader of the results should know."""

    def __len__(self) -> int:
        return len(self.records)

    def draw(
        self,
        rng: np.random.Generator,
        count: int | None = None,
        *,
        max_symbols: int | None = None,
        max_identity: float | None = None,
        min_identity: float | None = None,
    ) -> list[int]:
        """Homologs to show before the query, the least alike first, never the query itself; see `sample_homologs`.

        Args:
            rng: Source of randomness.
            count: Most sequences.
            max_symbols: Most symbols of all, a begin token counted for each.
            max_identity: Sequences closer to the query are left out. None: 0.98.
            min_identity: Sequences further from it are left out. None: 0.3, or 0 where words are compared, which
                cannot tell such distant ones from strangers.

        Raises:
            ValueError: Bounds without a query.
        """
        if self.identity is None and (max_identity is not None or min_identity is not None):
            raise ValueError(f"family {self.name}: max_identity and min_identity need a query; name it with --query")
        least = (0.3 if self.aligned else 0.0) if min_identity is None else min_identity
        return draw_homologs(
            [record.sequence for record in self.records],
            rng,
            count,
            query=None if self.query is None else self.query.sequence,
            identity=self.identity,
            weights=self.weights,
            max_symbols=max_symbols,
            max_identity=0.98 if max_identity is None else max_identity,
            min_identity=least,
        ).tolist()


def read_family(path: str | Path, query: str | None = None, *, aligned: bool | None = None) -> Family:
    """The family of a file: A3M, Stockholm, FASTA aligned or not, or any other file of sequences.

    Args:
        path: The file.
        query: Residues of the sequence that the others are homologs of. None: the first of an alignment; there is none
            where the sequences are not aligned.
        aligned: Whether columns of a FASTA file are those of an alignment. None: where all rows have as many, counted
            in upper case and `-`.

    Raises:
        ValueError: The file cannot be read, or holds an alignment that is none.
    """
    kind = sniff(path)
    if kind in ("a3m", "stockholm"):
        if aligned is False:
            alignment, records = None, _cleaned(read_records(path))
        else:
            alignment, records = read_alignment(path), []
    else:
        records = [*read_records(path)]
        same = kind == "fasta" and len({_columns(record) for record in records}) == 1 and len(records) > 1
        alignment = read_a3m(path) if (same if aligned is None else aligned) else None
        records = _cleaned(records)
    name = Path(path).name.split(".")[0]
    return _unaligned(name, records, query) if alignment is None else _aligned(alignment, query)


def _columns(record: Record) -> int:
    return sum(1 for letter in record.sequence if 65 <= letter <= 90 or letter == ord("-"))


def _cleaned(records: Sequence[Record] | Iterator[Record]) -> list[Record]:
    out = []
    for record in records:
        text = clean_protein(record.sequence.decode("latin-1"))
        if three_letters(text):
            raise ValueError(f"{record.where()}: {THREE_LETTERS}")
        record.sequence = text.encode("latin-1")
        out.append(record)
    return out


def _aligned(alignment: Alignment, query: str | None) -> Family:
    alignment = replace(alignment, records=_cleaned(alignment.records))
    weights, notes, record = homolog_weights(alignment), [], alignment.records[0]
    identity = identity_to_query(alignment)
    if query is not None:
        record = Record(id="query", sequence=clean_protein(query).encode())
        place = next((n for n, other in enumerate(alignment.records) if other.sequence == record.sequence), None)
        if place is None:
            notes.append("the query is not in the alignment; its likeness to the others is estimated from shared words")
            identity = word_identity(record.sequence, [other.sequence for other in alignment.records])
        else:
            record = alignment.records[place]
            held = alignment.rows[place] != ord("-")
            identity = (alignment.rows[:, held] == alignment.rows[place, held]).sum(1) / max(int(held.sum()), 1)
    return Family(
        name=alignment.name, records=alignment.records, query=record, identity=identity, weights=weights,
        aligned=not notes, notes=notes,
    )  # fmt: skip


def _unaligned(name: str, records: list[Record], query: str | None) -> Family:
    sequences = [record.sequence for record in records]
    record = None if query is None else Record(id="query", sequence=clean_protein(query).encode())
    return Family(
        name=name,
        records=records,
        query=record,
        identity=None if record is None else word_identity(record.sequence, sequences),
        weights=word_weights(sequences),
        aligned=False,
        notes=["the sequences are not aligned; likeness is estimated from shared words"],
    )


def word_identity(query: bytes, sequences: Sequence[bytes]) -> np.ndarray:
    """Estimated share of the query's residues that each sequence has in common with it: float64 [N].

    Words that a stranger of this length and composition would share are taken off. Of a sequence more than twice as
    long, the most similar stretch of that length counts.
    """
    size = max(len(query), 1)
    pieces, first = list[bytes](), list[int]()
    for sequence in sequences:
        first.append(len(pieces))
        pieces += [sequence[begin : begin + 2 * size] for begin in range(0, max(len(sequence) - size, 1), size)]
    counts = _words([query, *pieces], WORD)
    shared = (counts[1:] @ counts[0].T).toarray()[:, 0] / max(counts[0].nnz, 1)
    chance = _chance(query, pieces)
    alike = ((shared - chance) / (1 - chance)).clip(0, 1) ** (1 / WORD)
    best = np.maximum.reduceat(alike, first) if first else np.zeros(0)
    return np.where([sequence == query for sequence in sequences], 1.0, best)


def _chance(query: bytes, sequences: Sequence[bytes]) -> np.ndarray:
    """Share of the query's words that a stranger of the same length and usual composition holds: float64 [N]."""
    letters = np.frombuffer(query, np.uint8)
    counts = np.bincount(np.frombuffer(b"".join([query, *sequences]), np.uint8), minlength=256)
    frequency = (counts / max(counts.sum(), 1))[letters]
    rate = np.prod([frequency[n : max(len(letters) - WORD + 1, 0) + n] for n in range(WORD)], 0)
    if not len(rate):
        return np.zeros(len(sequences))
    lengths = [len(sequence) for sequence in sequences]
    held = {length: 1 - np.exp(-rate * max(length - WORD + 1, 0)).mean() for length in {*lengths}}
    return np.minimum([held[length] for length in lengths], 0.99)


def word_weights(sequences: Sequence[bytes], threshold: float = 0.2) -> np.ndarray:
    """`homolog_weights` by shared words: one over the number of sequences alike, each counted itself: float64 [N]."""
    counts = _words(sequences, LONG_WORD)
    turned, sizes, weights = counts.T.tocsr(), np.diff(counts.indptr), np.ones(len(sequences))
    for begin in range(0, len(sequences), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        shared = counts[part] @ turned
        row = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        alike = shared.data >= (1 - threshold) ** LONG_WORD * sizes[part][row]
        weights[part] = 1 / np.maximum(np.bincount(row[alike], minlength=shared.shape[0]), 1)
    return weights


def _words(sequences: Sequence[bytes], length: int) -> sparse.csr_matrix:
    """Which words each sequence holds: 0 and 1 [N, words]."""
    columns = []
    for sequence in sequences:
        codes = np.frombuffer(sequence, np.uint8).astype(np.int64) & 31  # A is 1, B is 2, ...
        columns.append(np.unique(sum(codes[n : max(len(codes) - length + 1, 0) + n] << 5 * n for n in range(length))))
    borders = np.cumsum([0, *(len(column) for column in columns)])
    known, indices = np.unique(np.concatenate([np.zeros(0, np.int64), *columns]), return_inverse=True)
    shape = (len(sequences), len(known))
    return sparse.csr_matrix((np.ones(len(indices), np.int32), indices, borders), shape)
