"""The linear member of a predictor: k-mers of a sequence and symbols at its places, with weights solved for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.config import LinearConfig
from xlstm_apps.core.strands import reverse_complement


class LinearMember(nn.Module):
    """Outputs of a network, shared out, plus those of `baselines.kmers.LinearModel` on the same sequences.

    A weighted mean of linear models in log odds is one linear model, so this holds their weights added up. Nothing in
    it is trained by gradients.

    Args:
        config: What is counted.
        alphabet: The ids. Only definite symbols count.
        outputs: Number of outputs O.
    """

    rank: Tensor
    complement: Tensor | None

    def __init__(self, config: LinearConfig, alphabet: Alphabet, outputs: int) -> None:
        super().__init__()
        self.config, self.symbols = config, len(alphabet.definite)
        rank = torch.full((256,), -1)
        rank[list(alphabet.definite)] = torch.arange(self.symbols)
        self.register_buffer("rank", rank, persistent=False)
        other = torch.from_numpy(alphabet.complement).long() if config.both_strands else None  # pyright: ignore
        self.register_buffer("complement", other, persistent=False)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape), requires_grad=False)

        #: How much the network counts.
        self.share = nn.Parameter(torch.ones(()), requires_grad=False)
        self.bias = weight(outputs)
        self.words = sum(self.symbols**k for k in range(1, config.k + 1))
        self.kmers = weight(self.words, outputs) if config.k else None
        self.places = weight(config.places * self.symbols, outputs) if config.places else None

    def forward(self, outputs: Tensor, ids: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        """All of it together [N, O], from outputs of the network [N, O] and ids [N, T], or packed [1, T]."""
        if cu_seqlens is None:
            lengths = torch.full((len(ids),), ids.shape[1], device=ids.device)
        else:
            lengths = cu_seqlens.to(ids.device).long().diff()
        count, total = len(lengths), ids.numel()
        document = torch.arange(count, device=ids.device).repeat_interleave(lengths, output_size=total)
        found = outputs * self.share + self.bias
        if self.kmers is not None:
            keys = self._keys(ids, document)
            if self.complement is not None:
                keys = torch.cat([keys, self._keys(reverse_complement(ids, self.complement, cu_seqlens), document)])
            keys, times = keys.unique(return_counts=True)
            of = keys // self.words
            sizes = (times.to(self.kmers.dtype) / lengths[of]).sqrt()
            found = found + _sums(keys % self.words, sizes, of, count, self.kmers)
        if self.places is not None:
            place = torch.arange(total, device=ids.device) - (lengths.cumsum(0) - lengths)[document]
            ranks = self.rank[ids.flatten()]
            known = (ranks >= 0) & (place < self.config.places)
            column = (place * self.symbols + ranks)[known]
            found = found + _sums(column, torch.ones_like(column), document[known], count, self.places)
        return found

    def _keys(self, ids: Tensor, document: Tensor) -> Tensor:
        """Every k-mer of definite symbols, as its number plus that of its document times how many there are."""
        ranks, keys, first = self.rank[ids.flatten()], [], 0
        word, whole = torch.zeros_like(ranks), ranks >= -1
        for k in range(1, self.config.k + 1):
            n = len(ranks) - k + 1
            if n < 1:
                break
            last = ranks[k - 1 :]
            word = word[:n] * self.symbols + last
            whole = whole[:n] & (last >= 0) & (document[:n] == document[k - 1 :])
            keys.append((document[:n] * self.words + first + word)[whole])
            first += self.symbols**k
        return torch.cat(keys)


def _sums(column: Tensor, value: Tensor, document: Tensor, count: int, weight: Tensor) -> Tensor:
    """Rows of the weight, times values, added up for each document, in whose order they come: [count, O]."""
    if not len(column):
        return weight.new_zeros(count, weight.shape[1])
    offsets = torch.searchsorted(document, torch.arange(count, device=document.device))
    return embedding_bag(column, weight, offsets, mode="sum", per_sample_weights=value.to(weight.dtype))


STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""How strongly weights of members may be pulled to equal ones."""
_FOLDS = 10
_ENOUGH = 20_000
"""From so many outputs on the pull hardly matters beside the loss, and the weakest is taken unasked."""


def weights_of_members(
    predictor: nn.Module, members: Sequence[np.ndarray], truth: np.ndarray, importance: np.ndarray | None = None
) -> np.ndarray:
    """How much each member counts, none below nought: those with the lowest loss of the sum of their outputs.

    The square of the distance from equal weights is added to the loss (not to its mean), so that a few examples change
    little and none leave the weights equal. How strong that pull is, is chosen by cross-validation: where one member is
    far better than the others it is weak, where the examples cannot tell them apart it is strong.

    Args:
        predictor: A `SequencePredictor`, which knows the loss.
        members: Outputs before softmax or sigmoid, numbers scaled: [N, O] of each.
        truth: Targets of N sequences that no member was trained on, as in `SequencePredictor.loss_sums`.
        importance: How much each sequence counts [N].
    """
    outputs, targets = torch.from_numpy(np.stack(members)).double(), torch.from_numpy(truth)
    counts = None if importance is None else torch.from_numpy(importance).double()
    if not len(targets):
        return np.full(len(members), 1 / len(members))

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        own = None if counts is None else counts[rows]
        return predictor.loss_sums(torch.einsum("m,mno->no", w, outputs[:, rows]), targets[rows], own)[0]  # pyright: ignore

    everything = torch.arange(len(targets))
    strength = STRENGTHS[0]
    if len(targets) > 1 and outputs[0].numel() < _ENOUGH:
        fold = torch.from_numpy(np.random.default_rng(0).permutation(len(targets))) % min(_FOLDS, len(targets))
        folds = [(everything[fold != n], everything[fold == n]) for n in fold.unique()]

        def held_out(strength: float) -> float:
            found = (loss(torch.from_numpy(_lowest(loss, rest, len(members), strength)), held) for rest, held in folds)
            return sum(each.item() for each in found)

        strength = min(reversed(STRENGTHS), key=held_out)
    return _lowest(loss, everything, len(members), strength)


def _lowest(loss: Callable[[Tensor, Tensor], Tensor], rows: Tensor, count: int, strength: float) -> np.ndarray:
    """Weights with the lowest loss on these rows, pulled to equal ones."""
    from scipy.optimize import minimize

    equal = torch.full((count,), 1 / count, dtype=torch.float64)

    def value(weights: np.ndarray) -> tuple[float, np.ndarray]:
        w = torch.from_numpy(weights.copy()).requires_grad_()
        total = strength * (w - equal).square().sum() + loss(w, rows)
        total.backward()
        assert w.grad is not None
        return total.item(), w.grad.numpy()

    return minimize(value, equal.numpy(), jac=True, method="L-BFGS-B", bounds=[(0, None)] * count).x
