"""A predictor and the simpler models beside it, on the held-out part of a plan: the files of `evaluation/`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from xlstm_apps import training
from xlstm_apps.biosequence import HeadConfig, SequencePredictor
from xlstm_apps.biosequence.baselines.conv import ConvConfig, ConvPredictor, trained_weights
from xlstm_apps.biosequence.baselines.kmers import LinearModel
from xlstm_apps.biosequence.heads import MISSING
from xlstm_apps.biosequence.vocabularies import written_alphabet
from xlstm_apps.estimators.sequence_fitting import PredictorPlan, predict_spans
from xlstm_apps.estimators.sequence_labelled import LabelledSequences
from xlstm_apps.estimators.sequence_linear import ids_of
from xlstm_apps.estimators.sequence_measures import (
    calibration_rows,
    class_rows,
    confusion,
    confusion_rows,
    label_rows,
    measures,
    threshold_rows,
)

Rows = list[dict[str, Any]]
_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows of the files of `evaluation/`, by name without `.csv`."""

    tables: dict[str, Rows] = field(default_factory=dict)


def matched_cnn(plan: PredictorPlan, parameters: int, seed: int) -> ConvPredictor:
    """A convolutional network with about as many weights; told of the scale of the numbers."""
    head = HeadConfig(
        task=plan.targets.head.task,
        num_outputs=plan.targets.head.num_outputs,
        names=plan.targets.head.names,
        per_symbol=plan.targets.head.per_symbol,
        pooling="max",
        dropout=plan.targets.head.dropout,
    )
    with training.seeded(seed):
        made = ConvPredictor.matched(head, plan.sequence, parameters, ConvConfig())
    if plan.scale is not None:
        made.target_mean.copy_(torch.from_numpy(plan.scale[0]).float())
        made.target_std.copy_(torch.from_numpy(plan.scale[1]).float())
    return made


def compare(
    plan: PredictorPlan,
    networks: dict[str, SequencePredictor],
    linear: list[LinearModel],
    seconds: dict[str, float],
    tick: Callable[[int], None] | None = None,
) -> Comparison:
    """Look at the test part, once.

    Args:
        plan: What was trained on what.
        networks: By name, the model itself first; on the device to compute on.
        linear: Fitted linear models.
        seconds: Time each took to train, by name.
        tick: Called with the number of symbols a network has read.
    """
    assert plan.test is not None
    head, spans = plan.targets.head, plan.test.spans
    names = list(head.names or ())
    truth = flat_truth(plan, plan.test)
    rows, outputs, own = [], np.zeros(0), []
    for name, network in networks.items():
        found = predict_spans(network, plan.corpus, spans, tick=tick)
        flat = np.concatenate(found) if head.per_symbol else np.stack(found)
        if name == "xlstm":
            outputs, own = flat, found
        rows.append(_row(name, head.task, truth, flat, trained_weights(network), seconds.get(name)))
    for model in linear:
        found = model.predict(ids_of(plan.test))
        if head.task == "classification" and found.shape[1] < len(names):  # classes that training has no example of
            found = np.pad(found, ((0, 0), (0, len(names) - found.shape[1])))
        rows.append(_row(model.name, head.task, truth, found, model.parameters, seconds.get(model.name)))
    name, said = _always(plan)
    rows.append(_row(name, head.task, truth, np.tile(said, (len(truth), 1)), len(said), None))
    tables: dict[str, Rows] = {"comparison": rows}
    if head.task == "classification":
        counts = confusion(truth, outputs)
        tables["confusion"], tables["classes"] = confusion_rows(counts, names), class_rows(counts, names)
        known = truth != MISSING
        said = outputs[known].argmax(1)
        tables["calibration"] = calibration_rows(said == truth[known], outputs[known].max(1))
        if len(names) == 2:
            tables["thresholds"] = threshold_rows(truth[known], outputs[known, 1])
    elif head.task == "multilabel":
        tables["classes"] = label_rows(truth, outputs, names)
        known = ~np.isnan(truth)
        said = outputs[known] > 0.5
        confidence = np.where(said, outputs[known], 1 - outputs[known])
        tables["calibration"] = calibration_rows(said == (truth[known] > 0.5), confidence)
        if len(names) == 1:
            tables["thresholds"] = threshold_rows(truth[known].astype(int), outputs[known])
    ids = [plan.corpus.ids[r] for r in spans.record.tolist()]
    if head.per_symbol:
        tables["symbols_predicted"] = _symbol_rows(plan, ids, own, names)
    else:
        tables["predictions"] = [
            {"id": ids[n], **target_cells(head, truth[n]), **output_cells(head, outputs[n])} for n in range(len(ids))
        ]
    return Comparison(tables={name: found for name, found in tables.items() if found})


def flat_truth(plan: PredictorPlan, part: LabelledSequences) -> np.ndarray:
    """Targets of a part, of whole sequences [N, ...] or of all their symbols one after another."""
    values, spans = plan.targets.values, part.spans
    if not plan.targets.head.per_symbol:
        return values[spans.record]
    rows = zip(spans.record.tolist(), spans.start.tolist(), spans.stop.tolist(), strict=True)
    return np.concatenate([values[r][a:b] for r, a, b in rows])


def output_cells(head: HeadConfig, outputs: np.ndarray) -> dict[str, Any]:
    """What is said of one sequence or symbol, as columns: `predicted` and `p_<class>`, or a number for each target."""
    names = list(head.names or ())
    if head.task == "regression":
        return {_number_column(names, name): float(x) for name, x in zip(names, outputs, strict=True)}
    cells = {f"p_{name}": float(x) for name, x in zip(names, outputs, strict=True)}
    if head.task == "multilabel":
        said = [name for name, x in zip(names, outputs, strict=True) if x > 0.5]
        return {"predicted": ";".join(said) or "-"} | cells
    return {"predicted": names[int(outputs.argmax())]} | cells


def target_cells(head: HeadConfig, truth: Any) -> dict[str, Any]:
    """What is known of one sequence or symbol, as columns: `label` (of several, `name?` is one that is not known), or a
    number for each target."""
    names = list(head.names or ())
    if head.task == "classification":
        return {"label": names[int(truth)] if truth != MISSING else None}
    if head.task == "multilabel":
        known = [name if x > 0.5 else f"{name}?" for name, x in zip(names, truth, strict=True) if not x <= 0.5]
        return {"label": ";".join(known) or "-"}
    columns = ["target" if len(names) == 1 else f"target_{name}" for name in names]
    return {c: None if np.isnan(x) else float(x) for c, x in zip(columns, truth, strict=True)}


def _number_column(names: list[str], name: str) -> str:
    return "predicted" if len(names) == 1 else f"predicted_{name}"


def _row(
    name: str, task: Any, truth: np.ndarray, outputs: np.ndarray, parameters: int | None, seconds: float | None
) -> dict[str, Any]:
    found = measures(task, truth, outputs)
    return {"model": name, **found, "parameters": parameters, "seconds": None if seconds is None else round(seconds, 2)}


def _always(plan: PredictorPlan) -> tuple[str, np.ndarray]:
    """What one says of all who has only counted the training part, [O]: how often each class is, or means; its name."""
    head = plan.targets.head
    if head.task == "regression":
        assert plan.scale is not None
        return "mean", plan.scale[0]
    known = flat_truth(plan, plan.train)
    if head.task == "multilabel":
        shares = np.nan_to_num(np.nanmean(known, 0))
    else:
        shares = np.bincount(known[known != MISSING], minlength=head.num_outputs or 0) / max(1, (known >= 0).sum())
    return "frequencies", shares


def _symbol_rows(plan: PredictorPlan, ids: list[str], outputs: list[np.ndarray], names: list[str]) -> Rows:
    """The symbols of the first records."""
    assert plan.test is not None
    head, spans, alphabet = plan.targets.head, plan.test.spans, written_alphabet(plan.sequence)
    rows = []
    for n in range(min(_SHOWN, len(ids))):
        record, start, stop = int(spans.record[n]), int(spans.start[n]), int(spans.stop[n])
        symbols, truth = plan.corpus.fetch(record, start, stop), plan.targets.values[record][start:stop]
        for place in range(stop - start):
            rows.append(
                {
                    "id": ids[n],
                    "position": start + place + 1,
                    "symbol": alphabet.tokens[symbols[place]],
                    **target_cells(head, truth[place]),
                    **output_cells(head, outputs[n][place]),
                }
            )
    return rows
