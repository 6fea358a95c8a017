"""SequenceClassifier and SequenceRegressor: scikit-learn's fit and predict on strings of DNA, proteins, molecules."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score

from xlstm_apps.biosequence import SequenceModel, SequencePredictor
from xlstm_apps.estimators.sequence_estimator import SequenceEstimator


class SequenceClassifier(ClassifierMixin, SequenceEstimator):
    """Classes of sequences, from strings: `fit(X, y)`, `predict`, `predict_proba`, as in scikit-learn.

    Lower case, U for T and codes for several symbols are read as files are. Nothing is printed and no file is written
    unless asked.

        classifier = SequenceClassifier(alphabet="dna").fit(sequences, labels)
        classifier.predict(["ACGTTGCA", "TTGACAAT"])

    Args:
        alphabet: `dna`, `protein`, `smiles` or `text`.
        from_model: Go on from a trained model: a run or model folder, a model, a fitted estimator. It fixes the layers.
            None: from scratch.
        head_only: Leave the trained model as it is and learn the head alone.
        embedding_dim: Width of the xLSTM; None: 64, or that of `from_model`.
        num_blocks: Its number of blocks; None: 2.
        num_heads: Its number of heads; None: 4.
        backbone: More options of `xLSTMConfig` by name.
        symmetry: Second strand of DNA: `none`, `augment`, `posthoc` or `shared`, as in `SequenceConfig`; the latter two
            tell a sequence and its reverse complement the same. None: `none`, or that of `from_model`.
        pooling: `mean`, `last` or `max` over the symbols; `places`: weights of its own for every place, where sequences
            of one length lie aligned to one another.
        dropout: In the layers and before the output; None: 0.1.
        max_length: Longer sequences are refused; None: any length.
        max_epochs: Most passes over the training sequences.
        batch_size: Sequences per step; None: by their length.
        learning_rate: Peak learning rate; None: 0.003 from scratch, 0.001 from a trained model, 0.01 for the head.
        weight_decay: Of matrices.
        patience: Epochs without a better validation loss before training stops; None: never.
        val_fraction: Share of the sequences on which the best epoch is chosen, of all classes alike; 0: the last epoch.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        seed: Seed of weights, order, dropout and the validation part; the same seed gives the same predictions.
        progress: Show a progress bar on the error stream.
        linear: Let linear models of k-mers, and of places where all sequences have one length, answer along with the
            network, each with the weight that suits the validation part.
        class_weight: None: every sequence counts alike; `balanced`: every class; or a number for each class.

    Attributes:
        classes_: The classes, sorted; of several labels 0 and 1 for each.
        model_: The fitted `SequencePredictor`.
        history_: One dict per epoch: losses, measures, seconds.
        best_epoch_: The epoch whose weights were kept.
        weights_: How much the network and each linear model count.
    """

    def __init__(
        self,
        alphabet: str = "dna",
        *,
        from_model: "str | Path | SequenceModel | SequencePredictor | None" = None,
        head_only: bool = False,
        embedding_dim: int | None = None,
        num_blocks: int | None = None,
        num_heads: int | None = None,
        backbone: Mapping[str, Any] | None = None,
        symmetry: str | None = None,
        pooling: str = "mean",
        dropout: float | None = None,
        max_length: int | None = None,
        max_epochs: int = 20,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float = 0.01,
        patience: int | None = 5,
        val_fraction: float = 0.1,
        accelerator: str = "auto",
        seed: int = 0,
        progress: bool = False,
        linear: bool = True,
        class_weight: "str | Mapping[Any, float] | None" = None,
    ):
        super().__init__(
            alphabet, from_model=from_model, head_only=head_only, embedding_dim=embedding_dim, num_blocks=num_blocks,
            num_heads=num_heads, backbone=backbone, symmetry=symmetry, pooling=pooling, dropout=dropout,
            max_length=max_length, max_epochs=max_epochs, batch_size=batch_size, learning_rate=learning_rate,
            weight_decay=weight_decay, patience=patience, val_fraction=val_fraction, accelerator=accelerator, seed=seed,
            progress=progress, linear=linear,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train.

        Args:
            X: Strings: list, array or Series.
            y: A class for each; or 0 and 1 [N, O] for several labels, NaN where one is not known.
            sample_weight: How much each sequence counts.

        Raises:
            ValueError: X or y cannot be read, one class only, or settings that do not go together.
        """
        y = np.asarray(y)
        sequences = self._encoded(X, y)
        if y.ndim == 2 and y.shape[1] > 1:
            values = _labels(y)
            self._labels, self.classes_ = True, [np.array([0, 1])] * y.shape[1]
            self._fit(sequences, values, tuple(f"label_{n}" for n in range(1, y.shape[1] + 1)), sample_weight, None)
            return self
        y = y.reshape(-1)
        if any(value is None or value != value for value in y.tolist()):
            raise ValueError("y has missing values; leave those sequences out")
        if y.dtype.kind == "f" and not (y == np.floor(y)).all():
            raise ValueError("y holds numbers with fractions; classes are text or whole numbers, for quantities use "
                             "SequenceRegressor")  # fmt: skip
        self._labels = False
        self.classes_, values = np.unique(y.astype(str) if y.dtype.kind == "O" else y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {str(self.classes_[0])!r}; there must be two at least")
        values = values.astype(np.int64)
        self._fit(sequences, values, tuple(str(name) for name in self.classes_.tolist()), sample_weight, values)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class of each sequence [N]; of several labels 0 or 1, [N, O]."""
        outputs = self._outputs(X)
        return (outputs > 0.5).astype(int) if self._labels else self.classes_[outputs.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities of the classes in the order of `classes_`; of several labels that of each: [N, O]."""
        return self._outputs(X).astype(np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Share of the sequences whose class, or all of whose labels, are right."""
        y = np.asarray(y) if self._labels or np.asarray(y).dtype.kind != "O" else np.asarray(y).astype(str)
        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))

    def _kind(self) -> Any:
        return "multilabel" if self._labels else "classification"

    def _facts(self) -> dict[str, Any]:
        if self._labels:
            return {**super()._facts(), "labels": len(self.classes_)}
        return {**super()._facts(), "classes": self.classes_.tolist(), "dtype": self.classes_.dtype.str}

    def _restore(self, facts: Mapping[str, Any]) -> None:
        super()._restore(facts)
        self._labels = "labels" in facts
        if self._labels:
            self.classes_ = [np.array([0, 1])] * facts["labels"]
        else:
            self.classes_ = np.array(facts["classes"], dtype=facts["dtype"])


class SequenceRegressor(RegressorMixin, SequenceEstimator):
    """Numbers for sequences, from strings: `fit(X, y)` and `predict`, as in scikit-learn.

        regressor = SequenceRegressor(alphabet="dna").fit(sequences, expression)

    The arguments and attributes are those of `SequenceClassifier`, without the classes.
    """

    _task = "regression"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train.

        Args:
            X: Strings: list, array or Series.
            y: A number for each [N], or several [N, O], NaN where one is not known.
            sample_weight: How much each sequence counts.

        Raises:
            ValueError: X or y cannot be read, or settings that do not go together.
        """
        try:
            values = np.asarray(y, np.float32)
        except (TypeError, ValueError):
            raise ValueError("y holds something that is no number; for classes use SequenceClassifier") from None
        if np.isinf(values).any():
            raise ValueError("y holds infinite values")
        sequences = self._encoded(X, values)
        self._flat = values.ndim == 1
        values = values.reshape(len(values), -1)
        names = ("target",) if values.shape[1] == 1 else tuple(f"target_{n}" for n in range(1, values.shape[1] + 1))
        self._fit(sequences, values, names, sample_weight, None)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Numbers [N], or [N, O] as `y` was given."""
        outputs = self._outputs(X).astype(np.float64)
        return outputs[:, 0] if self._flat else outputs

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "flat": self._flat}

    def _restore(self, facts: Mapping[str, Any]) -> None:
        super()._restore(facts)
        self._flat = facts["flat"]


def _labels(y: np.ndarray) -> np.ndarray:
    try:
        values = y.astype(np.float32)
    except (TypeError, ValueError):
        raise ValueError("y with several columns holds labels: 0 or 1 in each") from None
    if not np.isin(values[~np.isnan(values)], (0, 1)).all():
        raise ValueError("y with several columns holds labels: 0 or 1 in each")
    return values
