"""Language models of sequences scored on the test part: in all, by record, by context and by symbol."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from xlstm_apps.biosequence import SequenceModel
from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.baselines.markov import MarkovModel
from xlstm_apps.biosequence.objective import surprisal
from xlstm_apps.biosequence.packing import shift_right
from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.sequences import SequenceDataset
from xlstm_apps.thinning import evenly

MOST_RECORDS = 5000
MOST_SYMBOLS = 40
LN2 = math.log(2)
Guess = Callable[[dict[str, Tensor]], tuple[np.ndarray, np.ndarray]]
"""A batch -> nats of every symbol [B, T], and p of every definite symbol [B, T, S]."""


@dataclass
class Sums:
    """What is gathered over the whole test of one model."""

    bins: int
    symbols: int
    nats: float = 0.0
    weight: float = 0.0
    right: float = 0.0
    scored: int = 0
    seconds: float = 0.0
    position_nats: np.ndarray = field(init=False)
    position_count: np.ndarray = field(init=False)
    symbol_nats: np.ndarray = field(init=False)
    symbol_count: np.ndarray = field(init=False)
    predicted: np.ndarray = field(init=False)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.position_nats, self.position_count = np.zeros(self.bins), np.zeros(self.bins)
        self.symbol_nats, self.symbol_count = np.zeros(self.symbols), np.zeros(self.symbols)
        self.predicted = np.zeros((self.symbols, self.symbols))

    @property
    def bits(self) -> float:
        """Mean bits per symbol."""
        return self.nats / self.weight / LN2 if self.weight else math.nan


class SequenceEvaluator:
    """The windows of a test part, and what models say of them.

    Every symbol counts once, by its weight in the data set; positions, which need symbols with little context too,
    count the whole of every window.

    Args:
        test: Windows whose context is not scored again.
        alphabet: Meaning of the ids.
        rows: Windows at a time.
        device: Where networks run.
    """

    def __init__(self, test: SequenceDataset, alphabet: Alphabet, rows: int, device: torch.device) -> None:
        self.test, self.alphabet, self.rows, self.device = test, alphabet, rows, device
        self.symbols = np.array(alphabet.definite, np.int64)
        self.edges = _edges(int(test.spans.lengths.max()))
        self._rank = np.full(len(alphabet), -1, np.int64)
        self._rank[self.symbols] = np.arange(len(self.symbols))

    def run(
        self,
        networks: Mapping[str, SequenceModel],
        counted: Mapping[str, MarkovModel],
        console: Console | None = None,
    ) -> "SequenceEvaluation":
        """Score all models on all windows."""
        guesses = {name: model_guess(model, self.symbols, self.device) for name, model in networks.items()}
        guesses |= {name: markov_guess(model) for name, model in counted.items()}
        sums = {
            name: self._sums(guess, name, console, detailed=number == 0)
            for number, (name, guess) in enumerate(guesses.items())
        }
        sizes = {name: count_weights(model) for name, model in networks.items()}
        sizes |= {name: model.parameters for name, model in counted.items()}
        return SequenceEvaluation(sums, sizes, self.edges, [self.alphabet.tokens[i] for i in self.symbols])

    def _sums(self, guess: Guess, name: str, console: Console | None, detailed: bool) -> Sums:
        sums, started = Sums(len(self.edges) - 1, len(self.symbols)), time.monotonic()
        order = range(0, len(self.test), self.rows)
        kept = set(evenly(len(self.test), MOST_RECORDS).tolist())
        batches: Iterable[int] = order
        if console is not None:
            batches = track(order, f"scoring {name}", console=console, transient=True, disable=not console.is_terminal)
        for first in batches:
            members = range(first, min(first + self.rows, len(self.test)))
            batch = self.test.__getitems__(members)
            nats, p = guess(batch)
            self._add(sums, batch, nats, p)
            if detailed:
                sums.rows += [self._row(batch, nats, i) for i, member in enumerate(members) if member in kept]
        sums.seconds = time.monotonic() - started
        return sums

    def _add(self, sums: Sums, batch: dict[str, Tensor], nats: np.ndarray, p: np.ndarray) -> None:
        ids, weights = batch["ids"].numpy(), batch["weights"].numpy()
        known = ~np.isnan(nats)
        counts = np.where(known, weights, 0.0)
        rank = self._rank[ids]
        clean = np.where(known, nats, 0.0)
        sums.nats += float((clean * counts).sum())
        sums.weight += float(counts.sum())
        sums.scored += int((counts > 0).sum())
        sums.right += float(((p.argmax(-1) == rank) * counts).sum())
        inside = known & (rank >= 0) & (np.arange(ids.shape[1]) < batch["lengths"].numpy()[:, None])
        bins = np.broadcast_to(np.searchsorted(self.edges, np.arange(ids.shape[1]), side="right") - 1, ids.shape)
        sums.position_nats += np.bincount(bins[inside], clean[inside], len(sums.position_nats))
        sums.position_count += np.bincount(bins[inside], minlength=len(sums.position_count))
        scored = (counts > 0) & (rank >= 0)
        sums.symbol_nats += np.bincount(rank[scored], clean[scored], len(self.symbols))
        sums.symbol_count += np.bincount(rank[scored], minlength=len(self.symbols))
        for symbol in np.unique(rank[scored]):
            sums.predicted[symbol] += p[scored & (rank == symbol)].sum(0)

    def _row(self, batch: dict[str, Tensor], nats: np.ndarray, i: int) -> dict[str, Any]:
        scored = (batch["weights"][i].numpy() > 0) & ~np.isnan(nats[i])
        found = nats[i][scored]
        bits = float(found.mean()) / LN2 if len(found) else math.nan
        return {
            "id": self.test.corpus.ids[int(batch["record"][i])],
            "start": int(batch["start"][i]),
            "length": int(batch["lengths"][i]),
            "num_scored": len(found),
            "nll": float(found.sum()),
            "bits": bits,
            "perplexity": 2**bits,
        }


@dataclass(frozen=True)
class SequenceEvaluation:
    """Sums of all models, as the tables of a run."""

    sums: dict[str, Sums]
    """By model; the first is the one that was trained."""
    parameters: dict[str, int]
    edges: np.ndarray
    symbols: list[str]

    def comparison(self) -> list[dict[str, Any]]:
        """One row per model: nats, perplexity and bits per symbol, accuracy, symbols, parameters, seconds."""
        return [
            {
                "model": name,
                "nll": sums.bits * LN2,
                "perplexity": 2**sums.bits,
                "bits": sums.bits,
                "accuracy": sums.right / sums.weight if sums.weight else math.nan,
                "num_symbols": sums.scored,
                "parameters": self.parameters[name],
                "seconds": round(sums.seconds, 2),
            }
            for name, sums in self.sums.items()
        ]

    def records(self) -> list[dict[str, Any]]:
        """One row per window of the test (at most `MOST_RECORDS`): place and scores of the trained model."""
        return next(iter(self.sums.values())).rows

    def positions(self) -> list[dict[str, Any]]:
        """Bits by how many symbols stand before a symbol in its window; bins of equal width on a log scale."""
        first = next(iter(self.sums.values()))
        rows = []
        for i, count in enumerate(first.position_count):
            if count:
                row = {"position": int(self.edges[i]), "position_end": int(self.edges[i + 1]) - 1, "count": int(count)}
                for name, sums in self.sums.items():
                    seen = sums.position_count[i]
                    row[name] = sums.position_nats[i] / seen / LN2 if seen else math.nan
                rows.append(row)
        return rows

    def by_symbol(self) -> list[dict[str, Any]]:
        """Of every symbol that occurs: count, bits, and the mean probability of each symbol in its place."""
        sums = next(iter(self.sums.values()))
        order = np.argsort(-sums.symbol_count, kind="stable")
        shown = sorted(i for i in order[:MOST_SYMBOLS] if sums.symbol_count[i])
        rows = []
        for i in shown:
            count = sums.symbol_count[i]
            row = {"symbol": self.symbols[i], "count": int(count), "bits": sums.symbol_nats[i] / count / LN2}
            rows.append(row | {f"p_{self.symbols[j]}": sums.predicted[i, j] / count for j in shown})
        return rows


def markov_guess(model: MarkovModel) -> Guess:
    """What a counted model says of a batch, knowing no more than what stands in the window."""

    def guess(batch: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
        ids = batch["ids"].numpy().astype(np.uint8)
        flat = np.concatenate([ids, np.full((len(ids), 1), model.alphabet.pad, np.uint8)], 1).reshape(-1)
        nats, p = model.score(flat), model.probabilities(flat)
        width = ids.shape[1] + 1
        return nats.reshape(-1, width)[:, :-1], p.reshape(len(ids), width, -1)[:, :-1]

    return guess


def model_guess(model: SequenceModel, symbols: np.ndarray, device: torch.device) -> Guess:
    """What a network says of a batch: causal in one reading, masked by hiding every k-th symbol k times over."""
    model = model.to(device).eval()
    chosen = torch.from_numpy(symbols).to(device)

    @torch.no_grad()
    def guess(batch: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
        ids, lengths = batch["ids"].to(device), batch["lengths"]
        rows = None if bool((lengths == ids.shape[1]).all()) else lengths
        definite = torch.isin(ids, chosen)
        causal = model.sequence.objective == "causal"
        logits = causal_logits(model, ids, rows) if causal else hidden_logits(model, ids, definite, rows)
        if causal and model.reads_both:
            nats = model.score(ids, definite.float(), lengths=rows)
        else:
            nats = surprisal(logits, ids).masked_fill(~definite, torch.nan)
        if causal and not model.begins:
            nats[:, 0] = torch.nan
        p = logits.float().softmax(-1)[..., chosen]
        return nats.double().cpu().numpy(), p.cpu().numpy()

    return guess


def causal_logits(model: SequenceModel, ids: Tensor, lengths: Tensor | None) -> Tensor:
    """Logits [B, T, V] of every symbol from those before it; of the first from nothing, all alike."""
    if model.begins:
        return model(shift_right(ids, model.alphabet.bos, None), lengths=lengths)
    return model(ids, lengths=lengths).roll(1, 1)


def hidden_logits(model: SequenceModel, ids: Tensor, definite: Tensor, lengths: Tensor | None) -> Tensor:
    """Logits [B, T, V] of every definite symbol, each hidden in one of k readings."""
    passes = max(1, round(1 / model.sequence.mask_rate))
    turn = torch.arange(ids.shape[1], device=ids.device) % passes
    logits: Tensor | None = None
    for number in range(min(passes, ids.shape[1])):
        hidden = definite & (turn == number)
        found = model(torch.where(hidden, model.alphabet.mask, ids), lengths=lengths)
        logits = found if logits is None else torch.where(hidden[..., None], found, logits)
    assert logits is not None
    return logits


def _edges(longest: int) -> np.ndarray:
    """Borders of bins of position, about five to a factor of ten, from 0."""
    grid = np.unique(np.round(10 ** (np.arange(0, math.ceil(math.log10(longest + 1)) * 5 + 1) / 5)).astype(int))
    return np.concatenate([[0], grid[grid < longest], [longest]]) if longest > 1 else np.array([0, 1])
