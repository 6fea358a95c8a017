"""Clusters of proteins that are alike, found by shared k-mers: for splits that keep relatives in one part.

Where a share p of the residues of two relatives is the same, about p^k of their k-mers are. So two sequences count as
alike where the shorter shares at least identity^k of its k-mers with the other, and more than would be met by chance
between sequences of their lengths. What is alike is joined, and so is all that such pairs connect (single linkage): no
pair found alike lies in two clusters. Pairs are looked for among the sequences of one k-mer. Where more than `CROWD`
hold it, each is compared with those that follow it in an order that puts relatives side by side (by a min-hash), which
keeps the work linear in the symbols.

An estimate, not an alignment: distant relatives (below 40 % identity) share too few k-mers to be found.
"""

from collections.abc import Sequence

import numpy as np

K = 6
CROWD = 24
MOST_SYMBOLS = 100_000_000
_BY_CHANCE = 0.06  # that two residues of proteins are the same
_ROOM = 1 << 24  # pairs that are held at once


def identity_clusters(
    sequences: Sequence[np.ndarray], definite: Sequence[int], identity: float = 0.5, k: int = K
) -> np.ndarray:
    """Number of the cluster of each sequence, in the order in which they first occur.

    Args:
        sequences: ids of each, uint8 [T].
        definite: ids of the residues; k-mers with any other are not looked at.
        identity: share of equal residues from which sequences belong together.
        k: length of the words.

    Returns:
        int64 [N].

    Raises:
        ValueError: an identity that is no share, or more symbols than this is made for.
    """
    if not 0 < identity <= 1:
        raise ValueError(f"identity is a share of equal symbols, above 0 and at most 1, not {identity}")
    total = sum(len(ids) for ids in sequences)
    if total > MOST_SYMBOLS:
        raise ValueError(
            f"{total:,} symbols are too many to cluster here (at most {MOST_SYMBOLS:,}); cluster them with MMseqs2, "
            "and name its table in data.clusters_path"
        )
    words, owner = _words(sequences, definite, k)
    counts = np.bincount(owner, minlength=len(sequences))
    left, right, shared = _pairs(words, owner, _order(words, owner, len(sequences)))
    chance = counts[left] * counts[right] * _BY_CHANCE**k
    alike = shared >= np.maximum(
        identity**k * np.minimum(counts[left], counts[right]), 3 + chance + 5 * np.sqrt(chance)
    )
    labels = _connected(len(sequences), left[alike], right[alike])
    labels = _join_equal(sequences, labels)  # those too short to have words
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def _words(sequences: Sequence[np.ndarray], definite: Sequence[int], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Different k-mers of every sequence as numbers, and whose they are, sorted by k-mer: int64 [W] each."""
    rank = np.full(256, -1, np.int64)
    rank[list(definite)] = np.arange(len(definite))
    size, found, owners = len(definite), [], []
    for number, ids in enumerate(sequences):
        ranks = rank[ids]
        if len(ranks) < k:
            continue
        code, known = np.zeros(len(ranks) - k + 1, np.int64), np.ones(len(ranks) - k + 1, bool)
        for j in range(k):
            part = ranks[j : j + len(code)]
            code = code * size + part
            known &= part >= 0
        code = np.unique(code[known])
        found.append(code)
        owners.append(np.full(len(code), number))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    words, owner = np.concatenate(found), np.concatenate(owners)
    order = np.argsort(words, kind="stable")
    return words[order], owner[order]


def _order(words: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Rank of each sequence by the smallest hash among its words: relatives mostly share it."""
    mixed = (words.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    least = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, owner, mixed)
    rank = np.empty(count, np.int64)
    rank[np.argsort(least, kind="stable")] = np.arange(count)
    return rank


def _pairs(words: np.ndarray, owner: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of sequences with a common word, and how many they share: int64 [P] each."""
    count = len(rank)
    order = np.lexsort((rank[owner], words))
    words, owner = words[order], owner[order]
    tallies: list[tuple[np.ndarray, np.ndarray]] = []
    held: list[np.ndarray] = []
    for step in range(1, CROWD):
        same = np.flatnonzero(words[step:] == words[:-step]) if step < len(words) else np.zeros(0, np.int64)
        if not len(same):
            break
        a, b = owner[same], owner[same + step]
        held.append(np.minimum(a, b) * count + np.maximum(a, b))
        if sum(len(codes) for codes in held) > _ROOM:
            tallies.append(_tally(held))
            held = []
    tallies.append(_tally(held))
    codes, place = np.unique(np.concatenate([codes for codes, _ in tallies]), return_inverse=True)
    shared = np.bincount(place, np.concatenate([n for _, n in tallies]), len(codes)).astype(np.int64)
    return codes // count, codes % count, shared


def _tally(held: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *held]), return_counts=True)


def _connected(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Smallest member of the component of each, by pointers that are shortened as they are followed: int64 [N]."""
    parent = np.arange(count)
    while True:
        a, b = parent[left], parent[right]
        low = np.minimum(a, b)
        before = parent.copy()
        np.minimum.at(parent, a, low)
        np.minimum.at(parent, b, low)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        if np.array_equal(parent, before):
            return parent


def _join_equal(sequences: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Sequences of the same symbols in one cluster, however short."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(ids.tobytes(), n), n) for n, ids in enumerate(sequences)]
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    return _connected(len(labels), labels[left], labels[right])[labels]
