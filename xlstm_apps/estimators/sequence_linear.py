"""Linear models of labelled sequences, beside a network or as a member of its predictor."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from xlstm_apps.biosequence import SequencePredictor
from xlstm_apps.biosequence.baselines.kmers import NEVER, LinearModel
from xlstm_apps.biosequence.config import LinearConfig
from xlstm_apps.biosequence.linear import weights_of_members
from xlstm_apps.biosequence.vocabularies import written_alphabet
from xlstm_apps.estimators.sequence_fitting import PredictorPlan, predict_spans
from xlstm_apps.estimators.sequence_labelled import LabelledSequences

_MOST_SYMBOLS = 10_000_000
"""Symbols of training that linear models count at most: they hold all their k-mers in memory."""


@dataclass(frozen=True, kw_only=True)
class LinearModels:
    """Fitted linear models of a plan."""

    models: list[LinearModel] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Time each took, by name."""
    notes: list[str] = field(default_factory=list)


def fit_linear(plan: PredictorPlan) -> LinearModels:
    """Linear models of k-mers and, for sequences of one length, of places; none for symbols and very much training."""
    head = plan.targets.head
    if head.per_symbol:
        return LinearModels()
    total = int(plan.train.spans.lengths.sum())
    if total > _MOST_SYMBOLS:
        return LinearModels(
            notes=[f"no linear models: {total:,} symbols of training are more than they hold in memory"]
        )
    train, values = ids_of(plan.train), plan.targets.values[plan.train.spans.record]
    valid = [] if plan.valid is None else ids_of(plan.valid)
    held = values[:0] if plan.valid is None else plan.targets.values[plan.valid.spans.record]
    weights = plan.train.importance(plan.train.spans.record)
    alphabet = written_alphabet(plan.sequence)
    both = plan.sequence.symmetry in ("posthoc", "shared")
    models = [LinearModel(alphabet, head.task, both_strands=both)]  # type: ignore[arg-type]
    parts = [part for part in (plan.train, plan.valid, plan.test) if part is not None]
    lengths = np.unique(np.concatenate([part.spans.lengths for part in parts]))
    if len(lengths) == 1 and not both:
        models.append(LinearModel(alphabet, head.task, features="places"))  # type: ignore[arg-type]
    seconds = {}
    for model in models:
        started = time.monotonic()
        model.fit(train, values, valid, held, weights)
        seconds[model.name] = time.monotonic() - started
    return LinearModels(models=models, seconds=seconds)


def with_linear(
    plan: PredictorPlan, network: SequencePredictor, linear: LinearModels
) -> tuple[SequencePredictor, dict[str, float]]:
    """The trained network and the linear models as one predictor, and how much each counts: by name, chosen on
    validation; all alike where there is none.

    Args:
        plan: What was trained on what.
        network: On any device.
        linear: From `fit_linear`.
    """
    if not linear.models:
        return network, {}
    valid = plan.valid
    if valid is None:
        members = [np.zeros((0, network.head.out_features))] * (1 + len(linear.models))
        truth, importance = plan.targets.values[:0], None
    else:
        own = np.stack(predict_spans(network.to(plan.device), plan.corpus, valid.spans))
        ids = ids_of(valid)
        members = [_unfinished(network, own), *(_fitting(network, model.scores(ids)) for model in linear.models)]
        truth, importance = plan.targets.values[valid.spans.record], valid.importance(valid.spans.record)
    weights = weights_of_members(network.cpu(), members, truth, importance)
    names = ["network", *(model.name for model in linear.models)]
    kmers = next(model for model in linear.models if model.features == "kmers")
    places = next((model for model in linear.models if model.features == "places"), None)
    width = 0 if places is None else int(plan.train.spans.lengths[0])
    config = LinearConfig(k=kmers.choice.k, places=width, both_strands=kmers.both_strands)
    made = network.joined(config)
    member = made.linear
    assert member is not None
    member.share.fill_(float(weights[0]))
    for model, weight in zip(linear.models, weights[1:].tolist(), strict=True):
        table, bias = (_fitting(network, x, shift) for x, shift in zip(model.weights(), (False, True), strict=True))
        kept = member.kmers if model is kmers else member.places
        assert kept is not None
        kept.copy_(torch.from_numpy(weight * table))
        member.bias.add_(torch.from_numpy(weight * bias))
    return made, dict(zip(names, weights.tolist(), strict=True))


def ids_of(part: LabelledSequences) -> list[np.ndarray]:
    """Ids of all sequences of a part."""
    spans, corpus = part.spans, part.sequences.corpus
    rows = zip(spans.record.tolist(), spans.start.tolist(), spans.stop.tolist(), spans.strand.tolist(), strict=True)
    return [corpus.fetch(*row) for row in rows]


def _unfinished(network: SequencePredictor, outputs: np.ndarray) -> np.ndarray:
    """What `SequencePredictor.finished` made of outputs, undone, up to a constant of each sequence."""
    outputs = outputs.astype(np.float64)
    if network.head_config.task == "regression":
        return _fitting(network, outputs)
    known = np.log(np.maximum(outputs, 1e-12))
    return known if network.head_config.task == "classification" else known - np.log(np.maximum(1 - outputs, 1e-12))


def _fitting(network: SequencePredictor, scores: Any, shift: bool = True) -> np.ndarray:
    """Scores, or their weights, of a linear model in the units and of the width of the network's outputs."""
    missing = network.head.out_features - scores.shape[-1]
    if missing:  # the last classes, of which training has no example
        never = np.full((*scores.shape[:-1], missing), NEVER if shift else 0.0)
        return np.concatenate([scores, never], -1)
    if network.head_config.task != "regression":
        return scores
    mean, std = (x.cpu().double().numpy() for x in (network.target_mean, network.target_std))
    return (scores - mean * shift) / std
