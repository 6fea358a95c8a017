"""Made-up proteins beside the family they are to belong to: how near, how new, how long, made of what."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from .mutations import RESIDUES
from .pairwise import Nearest, nearest

MOST_NATURAL = 200
"""Members of the family whose own nearest relative is looked for."""


@dataclass(frozen=True)
class Proteins:
    """Names and residues."""

    ids: Sequence[str]
    sequences: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    def composition(self) -> np.ndarray:
        """Share of each of the 20 residues: float64 [20]."""
        return shares(self.sequences)

    def named(self, ids: set[str]) -> Proteins:
        """Those of these names."""
        chosen = [n for n, name in enumerate(self.ids) if name in ids]
        return Proteins([self.ids[n] for n in chosen], [self.sequences[n] for n in chosen])


@dataclass(frozen=True, kw_only=True)
class Designs:
    """What is known of designs and of their family."""

    made: Proteins
    family: Proteins
    table: pl.DataFrame
    """A row per design: id, length, perplexity (where it is known), nearest and identity (to the family), the same with
    `_context` and `_training` where these are known, repeated (as an earlier design), composition_distance."""
    natural: np.ndarray
    """Identity of members of the family to the nearest other: float64 [up to MOST_NATURAL]."""


def judge_designs(
    made: Proteins,
    family: Proteins,
    *,
    perplexity: Sequence[float | None] | None = None,
    context: Proteins | None = None,
    training: Proteins | None = None,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Designs:
    """Compare designs with a family.

    Args:
        made: Designs, in upper case, without gaps.
        family: Members of the family.
        perplexity: What the model that made them says of each.
        context: The members that the model had read.
        training: What the model was trained on.
        seed: Of the draw of natural members.
        advance: Called with a number of proteins whose nearest relative was found.

    Raises:
        ValueError: No design, or no member.
    """
    if not len(made) or not len(family):
        raise ValueError("there is no design" if not len(made) else "there is no member of the family")
    columns: dict[str, object] = {"id": list(made.ids), "length": made.lengths}
    if perplexity is not None:
        columns["perplexity"] = pl.Series([None if p is None or math.isnan(p) else p for p in perplexity], dtype=float)
    for name, others in (("", family), ("_context", context), ("_training", training)):
        if others is not None and len(others):
            found = nearest(made.sequences, others.sequences, advance=advance)
            columns |= _nearest(found, others, name)
    first = {sequence: n for n, sequence in reversed([*enumerate(made.sequences)])}
    columns["repeated"] = [first[sequence] != n for n, sequence in enumerate(made.sequences)]
    usual = family.composition()
    columns["composition_distance"] = [distance(shares([sequence]), usual) for sequence in made.sequences]
    chosen = np.random.default_rng(seed).permutation(len(family))[:MOST_NATURAL]
    own = nearest([family.sequences[n] for n in chosen], family.sequences, apart=chosen.tolist(), advance=advance)
    natural = np.array([pair.identity for pair in own if pair.index >= 0])
    return Designs(made=made, family=family, table=pl.DataFrame(columns), natural=natural)


def shares(sequences: Sequence[bytes]) -> np.ndarray:
    """Share of each of the 20 residues among them: float64 [20]; 0 where there is none of them."""
    counts = Counter()
    for sequence in sequences:
        counts.update(sequence)
    found = np.array([counts[ord(letter)] for letter in RESIDUES], float)
    return found / max(found.sum(), 1)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Square root of the Jensen-Shannon divergence in bits: 0 for the same shares, 1 for none in common."""
    middle = (one + other) / 2

    def entropy(p: np.ndarray) -> float:
        return float(-(p[p > 0] * np.log2(p[p > 0])).sum())

    return math.sqrt(max(0.0, entropy(middle) - (entropy(one) + entropy(other)) / 2))


def _nearest(found: list[Nearest], others: Proteins, name: str) -> dict[str, object]:
    return {
        f"nearest{name}": [others.ids[pair.index] if pair.index >= 0 else None for pair in found],
        f"identity{name}": pl.Series([pair.identity for pair in found]).fill_nan(None),
    }
