"""Interpolated Markov models of any alphabet: the plain baseline of every language model of sequences. NumPy only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from xlstm_apps.biosequence.alphabet import Alphabet

MOST_ORDER = 12
_DENSE = 1 << 24
"""Counts of an order in one array up to this many; beyond, only contexts that occur are kept."""
_STRENGTHS = 2.0 ** np.arange(-2, 11)
_NONE = -1


@dataclass(frozen=True)
class _Order:
    """Counts of the symbols behind every context of one length."""

    counts: np.ndarray
    """int32 [contexts, S]"""
    totals: np.ndarray
    """int32 [contexts]"""
    contexts: np.ndarray | None
    """Codes of the contexts that occur, sorted: int64 [contexts]; None: every code has its row."""
    strength: float
    """Symbols that the next shorter context is worth."""

    def rows(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `counts` for context codes, and whether each context has one."""
        if self.contexts is None:
            return codes, np.ones(len(codes), bool)
        rows = np.searchsorted(self.contexts, codes).clip(max=len(self.contexts) - 1)
        return rows, self.contexts[rows] == codes


class MarkovModel:
    """p(symbol | the k symbols before it), counts of every context length drawn towards those of the next shorter one:
    p_j = (n_j(c, x) + a_j p_{j-1}) / (n_j(c) + a_j), p_{-1} uniform (MacKay and Peto 1995). The a_j and the order are
    those with the lowest loss on validation. Wildcards are neither read nor predicted: a context begins anew behind
    one.

    Args:
        alphabet: The symbols.
        orders: Counts by context length, from 0.
        both_strands: Whether the counts are of both strands.
    """

    def __init__(self, alphabet: Alphabet, orders: Sequence[_Order], both_strands: bool = False) -> None:
        self.alphabet, self.both_strands = alphabet, both_strands
        self.symbols = np.array(alphabet.definite, np.uint8)
        self._orders = list(orders)

    @property
    def order(self) -> int:
        """Most symbols looked back at."""
        return len(self._orders) - 1

    @property
    def name(self) -> str:
        """`unigram`, or `markov-` and the order."""
        return f"markov-{self.order}" if self.order else "unigram"

    @property
    def parameters(self) -> int:
        """Numbers that were counted: contexts that occur, times the symbols that may follow less one."""
        seen = sum(int(np.count_nonzero(order.totals)) for order in self._orders)
        return seen * (len(self.symbols) - 1)

    @classmethod
    def fit(
        cls,
        train: Iterable[np.ndarray],
        valid: Iterable[np.ndarray],
        alphabet: Alphabet,
        *,
        max_order: int = MOST_ORDER,
        both_strands: bool | None = None,
    ) -> "MarkovModel":
        """Count, and choose order and strengths on the validation sequences.

        Args:
            train: Ids of sequences, uint8 [T] each.
            valid: The same for the choice; without any, order 0 to 3 as counted, with a strength of 1.
            alphabet: What the ids mean.
            max_order: Longest context to try, as far as its codes fit into 64 bits; fewer where two longer ones brought
                nothing.
            both_strands: Count the reverse complement too. None: where validation is better for it.

        Raises:
            ValueError: An order below 0, or both strands where there are none.
        """
        sequences, held = list(train), list(valid)
        if not max_order >= 0 or len(alphabet.definite) ** (max_order + 1) >= 2**62:
            max_order = _longest(len(alphabet.definite), max_order)
        if both_strands and alphabet.complement is None:
            raise ValueError(f"the {alphabet.name} alphabet has no second strand to count")
        own = _Fit(alphabet, sequences, held, max_order)
        if both_strands is False or alphabet.complement is None:
            return cls(alphabet, own.orders)
        other = [alphabet.reverse_complement(ids) for ids in sequences]
        both = _Fit(alphabet, sequences + other, held, max_order)
        better = both.loss < own.loss if both_strands is None else True
        return cls(alphabet, (both if better else own).orders, both_strands=better)

    def lower(self, order: int) -> "MarkovModel":
        """The model of a shorter context inside this one."""
        return MarkovModel(self.alphabet, self._orders[: order + 1], self.both_strands)

    def score(self, ids: np.ndarray) -> np.ndarray:
        """-log p in nats of every symbol of a sequence, NaN where it is not definite: uint8 [T] -> float64 [T]."""
        ranks, runs = _ranks(self.alphabet, [ids])
        known = ranks >= 0
        p = np.full(len(ranks), 1 / len(self.symbols))
        for length, order in enumerate(self._orders):
            places, codes = _contexts(ranks, runs, length, len(self.symbols))
            count, total = _look_up(order, codes, ranks[places])
            p[places] = (count + order.strength * p[places]) / (total + order.strength)
        return np.where(known, -np.log(p), np.nan)[: len(ids)]

    def probabilities(self, ids: np.ndarray) -> np.ndarray:
        """p of every definite symbol at every place of a sequence: uint8 [T] -> float64 [T, S]."""
        S = len(self.symbols)  # noqa: N806
        ranks, runs = _ranks(self.alphabet, [ids])
        p = np.full((len(ranks), S), 1 / S)
        for length, order in enumerate(self._orders):
            places, codes = _contexts(ranks, runs, length, S, predicted=False)
            rows, found = order.rows(codes)
            counts = np.where(found[:, None], order.counts[rows], 0)
            p[places] = (counts + order.strength * p[places]) / (counts.sum(1, keepdims=True) + order.strength)
        return p[: len(ids)]


class _Fit:
    """Orders counted one after another until longer contexts bring nothing."""

    def __init__(self, alphabet: Alphabet, train: list[np.ndarray], valid: list[np.ndarray], max_order: int) -> None:
        S = len(alphabet.definite)  # noqa: N806
        ranks, runs = _ranks(alphabet, train)
        held, held_runs = _ranks(alphabet, valid)
        known = held >= 0
        chosen = bool(known.any())
        p = np.full(len(held), 1 / S)
        self.orders: list[_Order] = []
        self.loss = np.inf
        orders: list[_Order] = []
        for length in range((max_order if chosen else min(3, max_order)) + 1):
            places, codes = _contexts(ranks, runs, length, S)
            if len(places) == 0 and length:
                break
            order = _counted(codes, ranks[places], length, S)
            if chosen:
                places, codes = _contexts(held, held_runs, length, S)
                count, total = _look_up(order, codes, held[places])
                order, p[places] = _with_strength(order, count, total, p[places])
            orders.append(order)
            loss = float(-np.log(p[known]).mean()) if chosen else -float(length)
            if loss < self.loss - 1e-6:
                self.loss, self.orders = loss, list(orders)
            elif len(orders) > len(self.orders) + 1:
                break


def _longest(symbols: int, order: int) -> int:
    if order < 0:
        raise ValueError(f"max_order is a number of symbols, 0 or more, not {order}")
    return min(order, int(62 / np.log2(symbols)) - 1)


def _ranks(alphabet: Alphabet, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences in one row as ranks among the definite symbols, -1 for all else and behind each; and how many definite
    symbols stand unbroken before every place: int16 [N], int32 [N]."""
    table = np.full(256, _NONE, np.int16)
    table[list(alphabet.definite)] = np.arange(len(alphabet.definite))
    gap = np.array([_NONE], np.int16)
    ranks = np.concatenate([part for ids in sequences for part in (table[ids], gap)] or [gap])
    at = np.arange(len(ranks), dtype=np.int32)
    broken = np.maximum.accumulate(np.where(ranks < 0, at, -1))  # last break up to here
    before = np.concatenate([[-1], broken[:-1]]).astype(np.int32)
    return ranks, at - before - 1


def _contexts(
    ranks: np.ndarray, runs: np.ndarray, length: int, symbols: int, predicted: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Places with that many symbols before them (and one to predict), and the codes of these contexts."""
    usable = runs >= length
    if predicted:
        usable &= ranks >= 0
    places = np.flatnonzero(usable)
    codes = np.zeros(len(ranks), np.int64)
    power = 1
    for back in range(1, length + 1):
        codes[back:] += ranks[:-back] * np.int64(power)
        power *= symbols
    return places, codes[places]


def _counted(codes: np.ndarray, symbols: np.ndarray, length: int, S: int) -> _Order:  # noqa: N803
    contexts, rows, size = None, codes, S**length
    if size * S > _DENSE:
        contexts, rows = np.unique(codes, return_inverse=True)
        size = len(contexts)
    counts = np.bincount(rows * S + symbols, minlength=size * S).astype(np.int32).reshape(size, S)
    return _Order(counts, counts.sum(1, dtype=np.int32), contexts, 1.0)


def _look_up(order: _Order, codes: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often the symbol stood behind its context, and any symbol: [n] each."""
    rows, found = order.rows(codes)
    return np.where(found, order.counts[rows, symbols], 0), np.where(found, order.totals[rows], 0)


def _with_strength(order: _Order, count: np.ndarray, total: np.ndarray, p: np.ndarray) -> tuple[_Order, np.ndarray]:
    """The order with the strength of the lowest loss, and the probabilities it gives."""
    if len(p) == 0:
        return order, p
    losses = [-np.log((count + a * p) / (total + a)).mean() for a in _STRENGTHS]
    best = float(_STRENGTHS[int(np.argmin(losses))])
    return _Order(order.counts, order.totals, order.contexts, best), (count + best * p) / (total + best)
