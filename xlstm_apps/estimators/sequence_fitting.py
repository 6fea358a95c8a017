"""Labelled sequences and settings brought together, for the estimators and for `sequence finetune`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

# Lightning takes seconds to import: what needs it is reached through these lazy packages.
from xlstm_apps import biosequence, training
from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequencePredictor, get_alphabet, language_part
from xlstm_apps.biosequence.sizes import PREDICTOR, predictor_layers
from xlstm_apps.biosequence.strings import by_length
from xlstm_apps.biosequence.vocabularies import alphabet_of
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.molecules.respelling import Respelled, Respelling
from xlstm_apps.datasets.sequences import SequenceDataset, Spans, windows
from xlstm_apps.estimators.saved import resolve_device
from xlstm_apps.estimators.sequence_labelled import LabelledSequences
from xlstm_apps.estimators.sequence_plan import respelling_of
from xlstm_apps.estimators.sequence_saved import settled
from xlstm_apps.estimators.sequence_targets import Targets
from xlstm_apps.training import FitConfig

SEQUENCE = SequenceConfig(objective="masked")
"""A model made for predictions reads both ways; it is not asked for the next symbol."""
LEARNING_RATE = 3e-3
"""Peak learning rate from scratch at `_USUAL_WIDTH` and below."""
FURTHER_RATE = 1e-3
"""The same where a trained model goes on."""
HEAD_RATE = 1e-2
"""The same where only the head is trained."""
_USUAL_WIDTH = 64
_SYMBOLS = {"cpu": 8192, "cuda": 262_144}
_MOST_ROWS = {"cpu": 64, "cuda": 256}
_MOST_STEPS = {"cpu": 100, "cuda": 500}


@dataclass(frozen=True, kw_only=True)
class PredictorPlan:
    """What will be trained on what: resolved settings and the examples of each part."""

    corpus: Any
    targets: Targets
    sequence: SequenceConfig
    backbone: xLSTMConfig
    fit: FitConfig
    head_only: bool
    device: torch.device
    train: LabelledSequences
    valid: LabelledSequences | None
    test: LabelledSequences | None
    start: SequenceModel | SequencePredictor | None
    scale: tuple[np.ndarray, np.ndarray] | None
    """Mean and spread of the numbers in training; None for classes and labels."""
    respelling: Respelling | None = None
    """How training spells molecules anew; None: it does not."""
    notes: list[str] = field(default_factory=list)

    def predictor(self, seed: int) -> SequencePredictor:
        """A new predictor, on the trained model where there is one; the global random state is left alone."""
        with training.seeded(seed):
            made = SequencePredictor(self.targets.head, self.sequence, self.backbone)
        if isinstance(self.start, SequencePredictor):
            made.model.load_state_dict(self.start.model.state_dict())
            if self.keeps_head:
                made.head.load_state_dict(self.start.head.state_dict())
                if made.places is not None and self.start.places is not None:
                    made.places.load_state_dict(self.start.places.state_dict())
        elif self.start is not None:
            made.model.load_state_dict(self.start.state_dict())
        return self.scaled(made)

    @property
    def keeps_head(self) -> bool:
        """Whether what the trained model predicts is what is to be predicted here."""
        if not isinstance(self.start, SequencePredictor):
            return False
        own, wanted = self.start.head_config, self.targets.head
        return all(getattr(own, x) == getattr(wanted, x) for x in ("task", "names", "per_symbol", "pooling", "length"))

    def scaled(self, predictor: SequencePredictor) -> SequencePredictor:
        """The predictor, told of the mean and spread of the numbers."""
        if self.scale is not None:
            if self.keeps_head and isinstance(self.start, SequencePredictor):
                mean, std = self.start.target_mean, self.start.target_std
            else:
                mean, std = (torch.from_numpy(x).float() for x in self.scale)
            predictor.target_mean.copy_(mean)
            predictor.target_std.copy_(std)
        return predictor

    def train_predictor(
        self,
        predictor: SequencePredictor,
        seed: int,
        *,
        run_dir: Path | None = None,
        resume: bool = False,
        console: Console | None = None,
        label: str = "training",
        fit: FitConfig | None = None,
        head_only: bool | None = None,
    ) -> "training.FitResult":
        """Fit, the best epoch chosen on validation; see `training.fit`."""
        config = fit or self.fit
        assert config.batch_size is not None, "resolved by plan_predictor"
        examples: Any = self.train
        if self.respelling is not None:
            longest = int(self.train.spans.lengths.max())
            examples = Respelled(self.train, self.corpus, self.respelling, longest)
        loader = training.BatchLoader.shuffled(examples, config, seed)
        valid = None if self.valid is None else training.BatchLoader(self.valid, 2 * config.batch_size)
        module = biosequence.PredictorModule(predictor, self.head_only if head_only is None else head_only)
        return training.fit(
            module,
            loader,
            valid,
            config,
            seed=seed,
            run_dir=run_dir,
            resume=resume,
            console=console,
            label=label,
        )


def plan_predictor(
    corpus: Any,
    parts: Mapping[str, Spans],
    targets: Targets,
    *,
    sequence: SequenceConfig = SEQUENCE,
    backbone: xLSTMConfig = PREDICTOR,
    fit: FitConfig,
    start: SequenceModel | SequencePredictor | None = None,
    head_only: bool = False,
    class_weight: str | Mapping[str, float] | None = None,
    context_length: int | None = None,
    randomise: float = 0.0,
) -> PredictorPlan:
    """Choose what was left open.

    Args:
        corpus: A `Corpus` or `MemoryCorpus`.
        parts: Spans of `train`, `val` and `test`; the latter two may be missing or empty.
        targets: Of all records.
        sequence: Alphabet, objective, symmetry.
        backbone: The layers.
        fit: How to train.
        start: Go on from this model, which fixes `sequence` and `backbone` but for dropout and symmetry.
        head_only: Leave the model as it is.
        class_weight: `balanced`: every class counts alike; or how much each does, by name.
        context_length: Longest stretch read: of longer records the middle, or for targets of symbols all stretches.
        randomise: Molecules: share of those in training that are spelled anew each time.

    Raises:
        ValueError: Settings that do not go together, or too little to train on; says what to change.
    """
    notes = list(targets.notes)
    device = resolve_device(fit.accelerator)
    if start is not None:
        sequence, backbone = adopted(start, sequence, backbone)
        if list(corpus.alphabet["tokens"]) != list(alphabet_of(sequence).tokens):
            raise ValueError("the model reads tokens of its own, as published; go on from it with `sequence finetune`")
    elif head_only:
        raise ValueError("head_only leaves the model as it is, which makes no sense for one that was never trained")
    if start is None and sequence.objective == "masked" and backbone.direction == "causal":
        backbone = replace(backbone, direction="alternating")
        notes.append("a model for predictions reads both ways: backbone.direction is alternating")
    if start is None:
        backbone = predictor_layers(backbone, sequence.alphabet, targets.head.per_symbol)
    spans = _labelled(parts, targets, notes)
    if context_length is not None:
        spans = _shortened(spans, context_length, targets.head.per_symbol, notes)
    targets = _aligned(targets, spans)
    _check_classes(targets, spans, notes)
    weights = _class_weights(targets, spans["train"], class_weight)
    data = {part: LabelledSequences(corpus, found, targets, weights) for part, found in spans.items()}
    if not targets.head.per_symbol:
        unit = float(data["train"].importance(spans["train"].record).mean())
        if not unit > 0:
            raise ValueError("all training records have weight 0")
        for dataset in data.values():
            dataset.unit = unit
    rate = LEARNING_RATE if start is None else FURTHER_RATE
    rate = HEAD_RATE if head_only else rate * min(1.0, _USUAL_WIDTH / backbone.embedding_dim)
    if "val" not in data:
        notes.append("no validation part: no early stopping, the last epoch is taken")
    respelling = respelling_of(sequence, randomise)
    if respelling is not None:
        if targets.head.per_symbol:
            raise ValueError("data.randomise would part targets of symbols from their symbols; leave it out")
        notes.append(respelling.note)
    plan = PredictorPlan(
        corpus=corpus,
        targets=targets,
        sequence=sequence,
        backbone=backbone,
        fit=_budgeted(fit, spans["train"].lengths, device, rate),
        head_only=head_only,
        device=device,
        train=data["train"],
        valid=data.get("val"),
        test=data.get("test"),
        start=start,
        scale=_scale(targets, spans["train"]),
        respelling=respelling,
        notes=notes,
    )
    if plan.keeps_head:
        notes.append("the model predicts the same already: its head goes on, too")
    return plan


def _aligned(targets: Targets, spans: Mapping[str, Spans]) -> Targets:
    """Targets whose head knows how long all sequences are, if it has to."""
    head = targets.head
    if head.pooling != "places":
        return targets
    lengths = np.unique(np.concatenate([found.lengths for found in spans.values()]))
    if len(lengths) > 1 or head.length not in (None, int(lengths[0])):
        raise ValueError(
            f"head.pooling places is for sequences of one length, and these have {lengths[0]} to {lengths[-1]} symbols"
            + (f" where head.length says {head.length}" if head.length else "")
            + ": cut them to the same stretch, or take another pooling"
        )
    return replace(targets, head=replace(head, length=int(lengths[0])))


def adopted(
    start: SequenceModel | SequencePredictor, sequence: SequenceConfig, backbone: xLSTMConfig
) -> tuple[SequenceConfig, xLSTMConfig]:
    """The settings of a trained model, with those changed that it does not fix.

    Raises:
        ValueError: A setting that contradicts it.
    """
    model, name = language_part(start), "the model to go on from"
    return (
        settled("sequence", sequence, SEQUENCE, model.sequence, name, ("symmetry", "embedding_dropout")),
        settled("backbone", backbone, PREDICTOR, model.config, name, ("dropout", "backend")),
    )


def predict_spans(
    predictor: SequencePredictor, corpus: Any, spans: Spans, *, symbols: int | None = None, tick: Any = None
) -> list[np.ndarray]:
    """What is predicted of every span: probabilities or numbers, float32 [O], or [T, O] per symbol.

    Args:
        predictor: On the device to compute on.
        corpus: A `Corpus` or `MemoryCorpus`.
        spans: Stretches of any length; those of about one length are read together.
        symbols: Most symbols read at a time; None: by device.
        tick: Called with the number of symbols read.

    Raises:
        ValueError: `symbols` below 1.
    """
    device = predictor.head.weight.device
    if symbols is not None and symbols < 1:
        raise ValueError(f"batch_symbols {symbols} must be at least 1; leave it out to choose by device")
    most = symbols or 4 * _SYMBOLS.get(device.type, _SYMBOLS["cpu"])
    dataset = SequenceDataset(corpus, spans)
    out: list[Any] = [None] * len(spans)
    for members in by_length(spans.lengths.tolist(), most):
        batch = dataset.__getitems__(members)
        found = predictor.predict(batch["ids"].to(device), lengths=batch["lengths"]).float().cpu().numpy()
        for member, row, length in zip(members, found, batch["lengths"].tolist(), strict=True):
            out[member] = row[:length] if predictor.head_config.per_symbol else row
        if tick is not None:
            tick(int(spans.lengths[members].sum()))
    return out


def check_alphabet(model: SequencePredictor | SequenceModel, name: str) -> None:
    """Refuse sequences of another alphabet than a model reads."""
    own = language_part(model).alphabet.name
    if own != name:
        raise ValueError(
            f"the model reads {own}, and the sequences are {name}; give a model of {get_alphabet(name).name}"
        )


def _labelled(parts: Mapping[str, Spans], targets: Targets, notes: list[str]) -> dict[str, Spans]:
    """Of each part the records that have a label; parts without one are not among them."""
    spans, known = {}, targets.known
    for part in ("train", "val", "test"):
        found = parts.get(part)
        if found is None or len(found) == 0:
            continue
        unknown = int((~known[found.record]).sum())
        if unknown:
            notes.append(f"{part}: {unknown:,} of {len(found):,} records have no label and are left out")
        if unknown < len(found):
            spans[part] = found[known[found.record]]
    if "train" not in spans:
        raise ValueError("no record for training has a label")
    return spans


def _budgeted(fit: FitConfig, lengths: np.ndarray, device: torch.device, rate: float) -> FitConfig:
    """How to train, with what was left open chosen by the lengths of the training examples [N] and the device."""
    kind = device.type if device.type in _SYMBOLS else "cpu"
    batch = fit.batch_size
    if batch is None:
        batch = int(np.clip(_SYMBOLS[kind] // float(np.quantile(lengths, 0.9)), 1, _MOST_ROWS[kind]))
        batch = max(1, min(batch, max(4, len(lengths) // 16)))  # few examples still make some steps
    steps = fit.steps_per_epoch or max(10, min(_MOST_STEPS[kind], -(-len(lengths) // batch)))
    rate = rate if fit.learning_rate is None else fit.learning_rate
    return replace(fit, batch_size=batch, steps_per_epoch=steps, learning_rate=rate)


def _shortened(spans: dict[str, Spans], length: int, per_symbol: bool, notes: list[str]) -> dict[str, Spans]:
    out = {}
    for part, found in spans.items():
        longer = int((found.lengths > length).sum())
        if per_symbol:
            out[part] = windows(found, length)
            continue
        first = np.maximum(found.lengths - length, 0) // 2
        out[part] = Spans(
            found.record, found.start + first, found.start + first + np.minimum(found.lengths, length), found.strand
        )
        if longer:
            notes.append(f"{part}: of {longer:,} records longer than {length:,} symbols only the middle is read")
    return out


def _check_classes(targets: Targets, spans: dict[str, Spans], notes: list[str]) -> None:
    """A class without an example in training cannot be learned; say so."""
    if targets.head.task == "regression":
        return
    counts = targets.counts(np.unique(spans["train"].record))
    missing = [name for name, count in counts.items() if count == 0]
    if targets.head.task == "classification" and len(counts) - len(missing) < 2:
        only = next((name for name, count in counts.items() if count), "none")
        raise ValueError(f"all training records are of class {only!r}; split in another way, or bring more classes")
    if missing:
        notes.append(f"no example in training: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}")


def _class_weights(targets: Targets, train: Spans, wanted: str | Mapping[str, float] | None) -> np.ndarray | None:
    if wanted is None:
        return None
    if targets.head.task != "classification":
        raise ValueError(f"weights of classes are for classification, and the task is {targets.head.task}")
    names = list(targets.head.names or ())
    if isinstance(wanted, str):
        if wanted != "balanced":
            raise ValueError(f"weights of classes are 'balanced' or one number for each class, not {wanted!r}")
        counts = np.array(list(targets.counts(np.unique(train.record)).values()), np.float64)
        return (counts.sum() / (np.maximum(counts, 1) * len(counts))).astype(np.float32)
    odd = [name for name in map(str, wanted) if name not in names]
    if odd:
        raise ValueError(f"there is no class {odd[0]!r} to weigh; the classes are {', '.join(names)}")
    by_name = {str(name): float(value) for name, value in wanted.items()}
    if min(by_name.values()) < 0:
        raise ValueError("weights of classes must not be negative")
    return np.array([by_name.get(name, 1.0) for name in names], np.float32)


def _scale(targets: Targets, train: Spans) -> tuple[np.ndarray, np.ndarray] | None:
    if targets.head.task != "regression":
        return None
    records = np.unique(train.record).tolist()
    values = np.concatenate([np.atleast_2d(targets.values[r]) for r in records]).astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean, std = np.nanmean(values, 0), np.nanstd(values, 0)
    return np.nan_to_num(mean), np.where(std > 1e-12, std, 1.0)
