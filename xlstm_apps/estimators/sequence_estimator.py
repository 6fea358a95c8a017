"""What the estimators of sequences have in common: strings in, a plan, training."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xlstm_apps.biosequence import HeadConfig, SequenceConfig, SequenceModel, SequencePredictor, get_alphabet
from xlstm_apps.biosequence.sizes import PREDICTOR
from xlstm_apps.core.config import check_options, xLSTMConfig
from xlstm_apps.datasets.sequences import Spans
from xlstm_apps.estimators.fitted_estimator import FittedEstimator, held_out
from xlstm_apps.estimators.sequence_fitting import (
    SEQUENCE,
    PredictorPlan,
    check_alphabet,
    plan_predictor,
    predict_spans,
)
from xlstm_apps.estimators.sequence_linear import fit_linear, with_linear
from xlstm_apps.estimators.sequence_memory import MemoryCorpus, encode_strings
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.estimators.sequence_targets import Targets


class SequenceEstimator(FittedEstimator):
    """What both have in common. The arguments are told of in `SequenceClassifier`."""

    _model_class = SequencePredictor
    _task = "classification"

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
    ):
        self.alphabet = alphabet
        self.from_model = from_model
        self.head_only = head_only
        self.embedding_dim = embedding_dim
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.backbone = backbone
        self.symmetry = symmetry
        self.pooling = pooling
        self.dropout = dropout
        self.max_length = max_length
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.val_fraction = val_fraction
        self.accelerator = accelerator
        self.seed = seed
        self.progress = progress
        self.linear = linear

    def embed(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Features of sequences, as the head reads them; with pooling `places` their mean: float32 [N, E].

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        model, out = self._on_device().model, []
        pooling = "mean" if self.pooling == "places" else self.pooling
        for ids in encode_strings(X, self.alphabet, self.max_length):
            row = torch.from_numpy(ids.astype(np.int64))[None].to(model.embedding.weight.device)
            with torch.inference_mode():
                out.append(model.embed(row, pooling=pooling)[0].float().cpu().numpy())
        return np.stack(out)

    def _encoded(self, X: Any, y: Any) -> list[np.ndarray]:  # noqa: N803
        sequences = encode_strings(X, self.alphabet, self.max_length)
        if len(sequences) != len(y):
            raise ValueError(f"X has {len(sequences):,} sequences and y {len(y):,} entries")
        return sequences

    def _fit(
        self,
        sequences: list[np.ndarray],
        values: np.ndarray,
        names: tuple[str, ...],
        sample_weight: Any,
        strata: np.ndarray | None,
    ) -> None:
        head = HeadConfig(
            task=self._kind(),
            num_outputs=len(names),
            names=names,
            pooling=self.pooling,  # type: ignore[arg-type]
            dropout=0.1 if self.dropout is None else self.dropout,
            linear=self.linear,
        )
        corpus = MemoryCorpus(sequences, get_alphabet(self.alphabet))
        if sample_weight is not None:
            corpus.weights = np.asarray(sample_weight, np.float32).reshape(-1)
            if len(corpus.weights) != len(sequences) or not (corpus.weights >= 0).all():
                raise ValueError("sample_weight is a number for each sequence, 0 or more")
        plan = self._plan(corpus, Targets(head, values), held_out(strata, self.val_fraction, self.seed, len(values)))
        predictor = plan.predictor(self.seed)
        result = plan.train_predictor(predictor, self.seed, console=self._console())
        self.model_, self.weights_ = predictor, {"network": 1.0}
        if self.linear:
            linear = fit_linear(plan)
            plan.notes.extend(linear.notes)
            self.model_, self.weights_ = with_linear(plan, predictor, linear)
        self.history_, self.best_epoch_, self.notes_ = result.history, result.best_epoch, plan.notes
        self.n_features_in_ = 1

    def _plan(self, corpus: MemoryCorpus, targets: Targets, held: np.ndarray) -> PredictorPlan:
        start = self.from_model
        if isinstance(start, SequenceEstimator):
            start._check_fitted()
            start = start.model_
        elif isinstance(start, str | Path):
            start = load_sequence_model(start, "cpu")
        if start is not None:
            check_alphabet(start, self.alphabet)
        sections = self._sections()
        parts = {
            "train": Spans.whole(corpus, np.flatnonzero(~held)),  # type: ignore[arg-type]
            "val": Spans.whole(corpus, np.flatnonzero(held)),  # type: ignore[arg-type]
        }
        return plan_predictor(
            corpus,
            parts,
            targets,
            sequence=sections[0],
            backbone=sections[1],
            fit=self._fit_config(),
            start=start,
            head_only=self.head_only,
            class_weight=getattr(self, "class_weight", None),
        )

    def _sections(self) -> tuple[SequenceConfig, xLSTMConfig]:
        options = dict(self.backbone or {})
        check_options(options, [f.name for f in fields(xLSTMConfig)], section="backbone.")
        for name in ("embedding_dim", "num_blocks", "num_heads", "dropout"):
            value = getattr(self, name)
            if value is not None:
                options[name] = value
        sequence = replace(SEQUENCE, alphabet=self.alphabet)
        if self.symmetry is not None:
            sequence = replace(sequence, symmetry=self.symmetry)
        return sequence, replace(PREDICTOR, **options)

    def _outputs(self, X: Any) -> np.ndarray:  # noqa: N803
        self._check_fitted()
        corpus = MemoryCorpus(encode_strings(X, self.alphabet, self.max_length), get_alphabet(self.alphabet))
        return np.stack(predict_spans(self._on_device(), corpus, Spans.whole(corpus)))  # type: ignore[arg-type]

    def _kind(self) -> Any:
        return self._task

    def _facts(self) -> dict[str, Any]:
        return {"weights": self.weights_}

    def _restore(self, facts: Mapping[str, Any]) -> None:
        self.weights_ = facts["weights"]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
