"""Which homologs of a family to show: how alike they are, how much each counts, and which are drawn."""

from collections.abc import Sequence

import numpy as np

from .alignment import GAP, Alignment


def identity_to_query(alignment: Alignment) -> np.ndarray:
    """Share of the query's symbols that each sequence has in the same column: float64 [N]; 1 for the query itself."""
    query = alignment.rows[0]
    held = query != GAP
    return (alignment.rows[:, held] == query[held]).sum(1) / max(int(held.sum()), 1)


def homolog_weights(alignment: Alignment, threshold: float = 0.2) -> np.ndarray:
    """One over the number of sequences alike, each counted itself: float64 [N]. Their sum is how many sequences the
    family is worth.

    A sequence is alike where at most `threshold` of the symbols of the one that is weighted differ from it or have no
    counterpart (Hopf et al. 2017; 0.2 for Prot-xLSTM).

    Raises:
        ValueError: a threshold that is no share.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is a share of differing symbols, from 0 to below 1, not {threshold}")
    rows = alignment.rows
    weights = np.ones(len(rows))
    for n, row in enumerate(rows):
        held = int((row != GAP).sum())
        if held:
            same = np.count_nonzero(rows == np.where(row == GAP, 0, row), axis=1)
            weights[n] = 1 / int((held - same <= threshold * held + 1e-9).sum())
    return weights


def sample_homologs(
    alignment: Alignment,
    rng: np.random.Generator,
    count: int | None = None,
    *,
    max_symbols: int | None = None,
    max_identity: float = 0.98,
    min_identity: float = 0.3,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Homologs to show before the query, drawn by weight without repeats, the least alike first.

    Neither the query itself nor a second sequence of the same symbols is drawn. Where fewer are left than asked for,
    all of them are taken; in a family of one, none.

    Args:
        alignment: the family, its first sequence the query.
        rng: source of randomness.
        count: most sequences; None: no limit.
        max_symbols: most symbols of all together, a begin token counted for each; sequences drawn that no longer fit
            are left out.
        max_identity: sequences closer to the query are left out.
        min_identity: sequences further from it are left out.
        weights: of each sequence [N]; None: `homolog_weights`.

    Returns:
        Numbers of the sequences, int64 [n].
    """
    weights = homolog_weights(alignment) if weights is None else np.asarray(weights, float)
    sequences = [record.sequence for record in alignment.records]
    return draw_homologs(
        sequences, rng, count, query=sequences[0], identity=identity_to_query(alignment), weights=weights,
        max_symbols=max_symbols, max_identity=max_identity, min_identity=min_identity,
    )  # fmt: skip


def draw_homologs(
    sequences: Sequence[bytes],
    rng: np.random.Generator,
    count: int | None = None,
    *,
    query: bytes | None,
    identity: np.ndarray | None,
    weights: np.ndarray,
    max_symbols: int | None = None,
    max_identity: float = 1.0,
    min_identity: float = 0.0,
) -> np.ndarray:
    """As `sample_homologs`, of sequences whose likeness is known from elsewhere.

    Args:
        sequences: Symbols of each.
        rng: As there.
        count: As there.
        query: What is not to be shown; None: no such sequence.
        identity: Of each with the query [N]; None: not known, then neither bounds nor the order heed it.
        weights: Of each [N].
        max_symbols: As there.
        max_identity: As there.
        min_identity: As there.
    """
    if count is not None and count < 0:
        raise ValueError(f"count is a number of sequences, 0 or more, not {count}")
    if not 0 <= min_identity <= max_identity <= 1:
        raise ValueError(f"min_identity {min_identity} and max_identity {max_identity} must rise from 0 to 1")
    fits = np.ones(len(sequences), bool)
    if identity is not None:
        fits = (identity <= max_identity) & (identity >= min_identity)
    seen = {query}
    for n, sequence in enumerate(sequences):
        if not sequence or sequence in seen:
            fits[n] = False
        elif fits[n]:
            seen.add(sequence)
    if weights.shape != fits.shape or not (weights >= 0).all():
        raise ValueError(f"weights must be {len(sequences)} numbers, none below 0")
    chances = np.where(fits, weights, 0.0)
    left = int((chances > 0).sum())
    if not left:
        return np.zeros(0, np.int64)
    if max_symbols is None:
        left = min(left, left if count is None else count)
    drawn = rng.choice(len(sequences), left, replace=False, p=chances / chances.sum())
    if max_symbols is not None:
        drawn = _fitting(sequences, drawn, len(sequences) if count is None else count, max_symbols)
    order = np.arange(len(drawn)) if identity is None else np.argsort(identity[drawn], kind="stable")
    return drawn[order].astype(np.int64)


def _fitting(sequences: Sequence[bytes], drawn: np.ndarray, count: int, max_symbols: int) -> np.ndarray:
    taken, room = [], max_symbols
    for n in drawn.tolist():
        need = len(sequences[n]) + 1
        if len(taken) < count and need <= room:
            taken.append(n)
            room -= need
    return np.array(taken, np.int64)
