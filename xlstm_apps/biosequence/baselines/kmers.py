"""Linear models of k-mer counts, and of the symbol at every place: what a network has to be better than."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import sparse

from xlstm_apps.biosequence.alphabet import Alphabet

Features = Literal["kmers", "places"]
Task = Literal["classification", "multilabel", "regression"]

MOST_FEATURES = 6000
"""Longest k-mers are those of which there are at most this many: 6 symbols of DNA, 2 residues."""
NEVER = -7.0
"""Log odds of what training has no example of: one in a thousand."""
_STRENGTHS = {"classification": (0.01, 0.1, 1.0, 10.0), "regression": (0.01, 0.1, 1.0, 10.0, 100.0)}


class LinearChoice(NamedTuple):
    """What was chosen on the validation part."""

    k: int
    """Longest k-mer; 0 where places are looked at."""
    strength: float
    """Regularisation: C of a logistic regression, alpha of a ridge regression."""


class LinearModel:
    """Logistic regression (classes, labels) or ridge regression (numbers) on counts of k-mers of 1 to k symbols, or on
    which symbol stands at which place. k and the regularisation are those with the lowest loss on validation.

    Args:
        alphabet: The ids. Only definite symbols count: a k-mer with an N in it is none.
        task: What is predicted.
        features: `kmers`, or `places` for sequences of one length.
        both_strands: Count k-mers of both strands, so that a sequence and its reverse complement are told the same.

    Raises:
        ValueError: `both_strands` for an alphabet with one.
    """

    def __init__(
        self, alphabet: Alphabet, task: Task, *, features: Features = "kmers", both_strands: bool = False
    ) -> None:
        if both_strands and (alphabet.complement is None or features == "places"):
            raise ValueError("both_strands is for k-mers of DNA")
        self.alphabet, self.task, self.features, self.both_strands = alphabet, task, features, both_strands
        self._rank = np.full(256, -1, np.int64)
        self._rank[list(alphabet.definite)] = np.arange(len(alphabet.definite))

    def fit(
        self,
        train: Sequence[np.ndarray],
        targets: np.ndarray,
        valid: Sequence[np.ndarray],
        valid_targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> LinearModel:
        """Fit on training and choose on validation.

        Args:
            train: Ids of every sequence, uint8 [T].
            targets: Classes [N], -1 = missing; labels or numbers [N, O], NaN = missing.
            valid: As `train`; empty: the middle of what could be chosen is taken.
            valid_targets: As `targets`.
            weights: How much each training sequence counts, [N].
        """
        self.outputs = int(targets.max()) + 1 if self.task == "classification" else targets.shape[1]
        longest = self._longest()
        found: tuple[float, LinearChoice, list[Any], np.ndarray] | None = None
        strengths = _STRENGTHS["regression" if self.task == "regression" else "classification"]
        known = (valid_targets >= 0) if self.task == "classification" else ~np.isnan(valid_targets).all(1)
        blind = len(valid) == 0 or not known.any()
        lengths = [0] if self.features == "places" else [longest] if blind else range(min(2, longest), longest + 1)
        for k in lengths:
            self.choice = LinearChoice(k, strengths[len(strengths) // 2])
            counts = self._table(train)
            # Each feature is brought to the same size; zeros stay zeros, so the table stays sparse.
            scale = 1 / np.maximum(np.sqrt(np.asarray(counts.multiply(counts).mean(0)).ravel()), 1e-6)
            inside = counts @ sparse.diags(scale)
            held = None if blind else self._table(valid) @ sparse.diags(scale)
            for strength in (self.choice.strength,) if blind else strengths:
                models = self._models(inside, targets, strength * (1.0 if self.task == "regression" else 0.1), weights)
                loss = 0.0 if held is None else self._loss(self._outputs(models, held), valid_targets)
                if found is None or loss < found[0]:
                    found = (loss, LinearChoice(k, strength), models, scale)
        assert found is not None
        _, self.choice, self._fitted, self._scale = found
        return self

    def predict(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of classes or labels, or numbers: [N, O]."""
        return self._outputs(self._fitted, self._table(sequences) @ sparse.diags(self._scale))

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the table of features [F, O] and for all [O], to scores: log odds (up to a constant of each sequence where
        there are classes), or numbers."""
        table, bias = np.zeros((len(self._scale), self.outputs)), np.zeros(self.outputs)
        if self.task == "classification":
            bias[:] = NEVER
            (model,) = self._fitted
            if isinstance(model, float):
                bias[int(model)] = 0
            elif len(model.classes_) == 2:
                bias[model.classes_] = 0, model.intercept_[0]
                table[:, model.classes_[1]] = model.coef_[0]
            else:
                bias[model.classes_], table[:, model.classes_] = model.intercept_, model.coef_.T
        else:
            for n, model in enumerate(self._fitted):
                if isinstance(model, float):  # all alike
                    bias[n] = np.clip(np.log(model + 1e-12) - np.log(1 - model + 1e-12), NEVER, -NEVER)
                else:
                    bias[n], table[:, n] = np.ravel(model.intercept_)[0], np.ravel(model.coef_)
        return table * self._scale[:, None], bias

    def scores(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """What `weights` say of sequences: [N, O]."""
        table, bias = self.weights()
        return self._table(sequences) @ table + bias

    @property
    def name(self) -> str:
        """Name for a table."""
        kind = "ridge" if self.task == "regression" else "logistic"
        return f"{self.choice.k}-mer-{kind}" if self.features == "kmers" else f"place-{kind}"

    @property
    def parameters(self) -> int:
        """Weights of the fitted models."""
        return sum(np.size(m.coef_) + np.size(m.intercept_) for m in self._fitted if not isinstance(m, float))

    def _longest(self) -> int:
        symbols, k = len(self.alphabet.definite), 1
        while sum(symbols**i for i in range(1, k + 2)) <= MOST_FEATURES:
            k += 1
        return k

    def _table(self, sequences: Sequence[np.ndarray]) -> sparse.csr_matrix:
        if self.features == "places":
            return self._places(sequences)
        table = self._counts(sequences)
        if self.both_strands:
            assert self.alphabet.complement is not None
            table = table + self._counts([self.alphabet.complement[ids[::-1]] for ids in sequences])
        # What is asked is what a sequence is made of, not how long it is.
        sizes = np.array([max(1, len(ids)) for ids in sequences], np.float64)
        table.data = np.sqrt(table.data / np.repeat(sizes, np.diff(table.indptr)))
        return table

    def _counts(self, sequences: Sequence[np.ndarray]) -> sparse.csr_matrix:
        symbols = len(self.alphabet.definite)
        offsets = np.concatenate([[0], np.cumsum([symbols**i for i in range(1, self.choice.k + 1)])])
        columns, counts, ends = [], [], [0]
        for ids in sequences:
            ranks = self._rank[ids]
            word, parts = np.zeros(len(ids), np.int64), []
            for k in range(1, self.choice.k + 1):
                if len(ids) < k:
                    break
                word = word[: len(ids) - k + 1] * symbols + ranks[k - 1 :]
                # A gap stays one: its word is below zero, and far enough for what is added.
                word = np.where((ranks[k - 1 :] < 0) | (word < 0), np.iinfo(np.int64).min // (2 * symbols), word)
                parts.append(word[word >= 0] + offsets[k - 1])
            found, times = np.unique(np.concatenate(parts), return_counts=True)
            columns.append(found)
            counts.append(times)
            ends.append(ends[-1] + len(found))
        data = np.concatenate(counts).astype(np.float64)
        return sparse.csr_matrix((data, np.concatenate(columns), ends), shape=(len(sequences), int(offsets[-1])))

    def _places(self, sequences: Sequence[np.ndarray]) -> sparse.csr_matrix:
        rows = np.stack([self._rank[ids] for ids in sequences])
        width, symbols = rows.shape[1], len(self.alphabet.definite)
        row, place = np.nonzero(rows >= 0)
        columns = place * symbols + rows[row, place]
        return sparse.csr_matrix((np.ones(len(row)), (row, columns)), shape=(len(rows), width * symbols))

    def _models(self, table: Any, targets: np.ndarray, strength: float, weights: np.ndarray | None) -> list[Any]:
        from sklearn.linear_model import LogisticRegression, Ridge

        table = table.tocsr()
        weights = np.ones(len(targets)) if weights is None else weights

        def logistic(known: np.ndarray, truth: np.ndarray) -> Any:
            if len(np.unique(truth[known])) < 2:  # nothing to tell apart
                return float(truth[known].mean()) if known.any() else 0.5
            model = LogisticRegression(C=strength, solver="lbfgs", max_iter=200, tol=1e-3)
            return _quiet(lambda: model.fit(table[known], truth[known], sample_weight=weights[known]))

        if self.task == "classification":
            known = targets >= 0
            return [logistic(known, targets)]
        if self.task == "multilabel":
            return [logistic(~np.isnan(column), np.nan_to_num(column).astype(int)) for column in targets.T]
        ridge = []
        for column in targets.T:
            known = ~np.isnan(column)
            model = Ridge(alpha=strength * table.shape[1] / 10)
            ridge.append(model.fit(table[known], column[known], sample_weight=weights[known]))
        return ridge

    def _outputs(self, models: list[Any], table: Any) -> np.ndarray:
        table = table.tocsr()
        if self.task == "regression":
            return np.stack([model.predict(table) for model in models], 1)
        if self.task == "multilabel":
            columns = [
                np.full(table.shape[0], model) if isinstance(model, float) else model.predict_proba(table)[:, 1]
                for model in models
            ]
            return np.stack(columns, 1)
        out = np.zeros((table.shape[0], self.outputs))
        (model,) = models
        if isinstance(model, float):
            out[:, int(model)] = 1
        else:
            out[:, model.classes_] = model.predict_proba(table)
        return out

    def _loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        if self.task == "regression":
            return float(np.nanmean((outputs - targets) ** 2))
        tiny = 1e-9
        if self.task == "multilabel":
            return float(-np.nanmean(targets * np.log(outputs + tiny) + (1 - targets) * np.log(1 - outputs + tiny)))
        known = np.flatnonzero((targets >= 0) & (targets < outputs.shape[1]))
        return float(-np.log(outputs[known, targets[known]] + tiny).mean()) if len(known) else 0.0


def _quiet(work: Any) -> Any:
    """A logistic regression that has not settled to the last digit is still one, and chosen on validation."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return work()
