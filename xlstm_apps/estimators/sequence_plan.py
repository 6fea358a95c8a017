"""Sequences and settings brought together: everything that can be wrong is found here, before anything is trained."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

# Lightning takes seconds to import: what needs it is reached through these lazy packages.
from xlstm_apps import biosequence, training
from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.biosequence.vocabularies import alphabet_of
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.molecules.respelling import Respelled, Respelling
from xlstm_apps.datasets.sequences import (
    Corpus,
    FamilyWindows,
    HeldOutMembers,
    SequenceData,
    SequenceDataset,
    Spans,
    Split,
    leakage,
    split_corpus,
    windows,
    without_gaps,
)
from xlstm_apps.datasets.sequences.batches import read_span
from xlstm_apps.estimators.molecule_sets import unknown
from xlstm_apps.estimators.saved import resolve_device
from xlstm_apps.estimators.sequence_families import can_read_sets, check_families, family_parts
from xlstm_apps.thinning import evenly
from xlstm_apps.training import FitConfig


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of the data training looks at, by device; all in symbols."""

    context: int
    """Longest window where the user names none."""
    per_step: int
    """Aimed at by the batch size."""
    most_steps: int
    """Steps between two validations, at most."""
    validation: int
    test: int


BUDGETS = {
    "cpu": Budget(context=512, per_step=2048, most_steps=100, validation=65_536, test=262_144),
    "cuda": Budget(context=4096, per_step=65_536, most_steps=250, validation=2_097_152, test=16_777_216),
}
LEARNING_RATE = 4e-3
"""Peak learning rate at `_USUAL_WIDTH` and below; wider networks take smaller steps."""
_USUAL_WIDTH = 64
_LEAST_STEPS = 20
_FEW = 2000
"""Symbols of a test below which its scores are hardly more than chance."""
_FAMILY = 2
"""Windows of homologs by those of single sequences, where the user names no length."""
_SEARCHED = 5000
"""Windows of the test whose k-mers are looked for in training, at most."""


def budget_for(device: torch.device) -> Budget:
    """That of the device, other accelerators as a CPU."""
    return BUDGETS.get(device.type, BUDGETS["cpu"])


@dataclass(frozen=True, kw_only=True)
class SequencePlan:
    """What will be trained on what: resolved settings and the windows of each part."""

    corpus: Corpus
    split: Split
    alphabet: Alphabet
    data: SequenceData
    sequence: SequenceConfig
    backbone: xLSTMConfig
    fit: FitConfig
    device: torch.device
    train: SequenceDataset | FamilyWindows
    valid: SequenceDataset | HeldOutMembers | None
    test: SequenceDataset | None
    """Windows in which every symbol of the test counts once."""
    counts: dict[str, dict[str, int]]
    """Of every part: records, symbols, windows, and windows left out since they hold nothing but wildcards."""
    respelling: Respelling | None = None
    """How training spells molecules anew; None: it does not."""
    notes: list[str] = field(default_factory=list)
    """What was decided on the user's behalf and may surprise."""

    @property
    def budget(self) -> Budget:
        return budget_for(self.device)

    @property
    def context_length(self) -> int:
        assert self.data.context_length is not None, "resolved by plan_sequences"
        return self.data.context_length

    def model(self, seed: int) -> SequenceModel:
        """A new model; its weights follow from the seed, and the global random state is left alone."""
        with training.seeded(seed):
            return SequenceModel(self.sequence, self.backbone)

    def train_model(
        self,
        model: SequenceModel,
        seed: int,
        *,
        run_dir: Path | None = None,
        resume: bool = False,
        console: Console | None = None,
        label: str = "training",
    ) -> "training.FitResult":
        """Fit `model` on the training windows, the best epoch chosen on the validation windows; see `training.fit`."""
        config = self.fit
        examples = self.train
        if self.respelling is not None and isinstance(examples, SequenceDataset):  # windows of sets do it themselves
            examples = Respelled(examples, self.corpus, self.respelling, self.context_length)
        train = training.BatchLoader.shuffled(examples, config, seed)
        valid = None
        if self.valid is not None:
            valid = training.BatchLoader(self.valid, self.rows_at_once(self.valid), num_workers=config.num_workers)
        return training.fit(
            biosequence.SequenceModule(model),
            train,
            valid,
            config,
            seed=seed,
            run_dir=run_dir,
            resume=resume,
            console=console,
            label=label,
        )

    def rows_at_once(self, dataset: SequenceDataset | HeldOutMembers) -> int:
        """Rows that can be read together without gradients."""
        longest = dataset.sizes if isinstance(dataset, HeldOutMembers) else dataset.spans.lengths
        return max(1, self.symbols_at_once // int(longest.max()))

    @property
    def symbols_at_once(self) -> int:
        """Symbols that can be read together without gradients."""
        return 4 * self.budget.per_step


def plan_sequences(
    corpus: Corpus, *, data: SequenceData, sequence: SequenceConfig, backbone: xLSTMConfig, fit: FitConfig
) -> SequencePlan:
    """Split the corpus, choose what was left open, cut the windows.

    Args:
        corpus: All sequences.
        data: How to split and cut them.
        sequence: Alphabet, objective, symmetry.
        backbone: The layers. A masked model that does not share its strands reads both ways, which is set here.
        fit: How to train.

    Raises:
        ValueError: Settings that do not go together, or too little to train on; says what to change.
    """
    respelling = respelling_of(sequence, data.randomise)
    families = data.families != "none"
    if sequence.sets and not families:
        raise ValueError("sequence.sets reads sets of molecules; say with data.families which belong together")
    sequence = replace(sequence, sets=True) if families and can_read_sets(sequence) else sequence
    alphabet, notes = alphabet_of(sequence), []
    corpus.check(alphabet)
    device = resolve_device(fit.accelerator)
    budget = budget_for(device)
    if sequence.objective == "masked" and sequence.symmetry != "shared" and backbone.direction == "causal":
        backbone = replace(backbone, direction="bidirectional")
        notes.append("a masked model reads from both sides: backbone.direction is bidirectional")
    split = split_corpus(data, corpus)
    if sequence.sets:
        split = _without_known(corpus, split, notes)
    rule, _, how = split.rule.partition("; ")
    if how:
        notes.append(how)
    if families:
        check_families(data, sequence, corpus)
    longest = int(split.train.lengths.max())
    context = data.context_length or (_FAMILY * budget.context if families else min(longest, budget.context))
    piece = context - families  # homologs need a place for their end
    stride = data.stride or piece
    if stride > piece:
        raise ValueError(f"data.stride {stride} leaves symbols between windows of {piece} out; give less")
    cutter = _Cutter(corpus, data, alphabet, alphabet.end if sequence.ends else None, notes)
    pieces = cutter.cut("train", split.train, piece, stride)
    if data.softmask_weight != 1 and not corpus.has_mask:
        notes.append("data.softmask_weight does nothing: no symbol is marked by lower case")
    held = cutter.held("val", split.val, piece, piece, budget.validation, context if families else None)
    # A window of the test reads half of the one before it first, so that no symbol is judged without context.
    half = max(1, context // 2) if sequence.objective == "causal" else context
    asked = cutter.held("test", split.test, context, half, budget.test)
    small = int(split.test.lengths.sum())
    if 0 < small < _FEW:
        notes.append(f"a test of {small:,} symbols says little: bring more sequences, or raise data.test_fraction")
    if held is None:
        notes.append("no validation part: no early stopping, the last epoch is taken")
    train: SequenceDataset | FamilyWindows = cutter.dataset(pieces)
    valid: SequenceDataset | HeldOutMembers | None = None if held is None else cutter.dataset(held)
    if families:
        train, valid, how = family_parts(corpus, data, alphabet.end, pieces, held, context, respelling)
        notes.append(how)
    if respelling is not None:
        notes.append(respelling.note)
    return SequencePlan(
        corpus=corpus,
        split=split,
        alphabet=alphabet,
        data=replace(data, context_length=context, stride=stride, split=rule),
        sequence=sequence,
        backbone=backbone,
        fit=_budgeted(fit, budget, train, backbone.embedding_dim),
        device=device,
        train=train,
        valid=valid,
        test=None if asked is None else cutter.dataset(asked, closed=False),  # counted models know no ends
        counts=cutter.counts,
        respelling=respelling,
        notes=notes,
    )


class _Cutter:
    """Cuts the parts of a split into windows, and keeps count of them and of what is left out."""

    def __init__(
        self, corpus: Corpus, data: SequenceData, alphabet: Alphabet, end: int | None, notes: list[str]
    ) -> None:
        self.corpus, self.data, self.alphabet, self.end, self.notes = corpus, data, alphabet, end, notes
        self.counts: dict[str, dict[str, int]] = {}

    def cut(self, part: str, spans: Spans, length: int, step: int, once: bool = False) -> Spans:
        """Windows of a part that hold more than wildcards; with `once` every symbol counts in one of them."""
        found, most = windows(spans, length, step, score_once=once), self.data.max_wildcard
        kept, left = without_gaps(self.corpus, found, most) if len(found) else (found, 0)
        self.counts[part] = {
            "records": len(np.unique(spans.record)),
            "symbols": int(spans.lengths.sum()),
            "windows": len(kept),
            "left_out": left,
        }
        if left:
            self.notes.append(f"{left:,} {part} windows left out: more than {most:.0%} {_wildcard(self.alphabet)}")
        if self.data.softmask_weight == 0 and len(kept) and self._masked(kept):
            raise ValueError(
                f"data.softmask_weight 0 leaves nothing of the {part} part: all of it is in lower case; give a weight "
                "above 0, or split in another way"
            )
        return kept

    def _masked(self, spans: Spans) -> bool:
        """Whether every symbol is soft-masked."""
        places = zip(spans.record.tolist(), spans.start.tolist(), spans.stop.tolist(), strict=True)
        return all(self.corpus.soft_mask(*place).all() for place in places)

    def held(self, part: str, spans: Spans, length: int, step: int, most: int, each: int | None = None) -> Spans | None:
        """Windows of a part that is not trained on, evenly spread where they are too many; None: it is empty.

        Args:
            part: Its name.
            spans: What it holds.
            length: Of a window, in symbols.
            step: From one to the next.
            most: Symbols looked at.
            each: Symbols that looking at a window costs; None: those that count in it.
        """
        if len(spans) == 0 or int(spans.lengths.sum()) == 0:
            self.counts[part] = {"records": 0, "symbols": 0, "windows": 0, "left_out": 0}
            return None
        found = self.cut(part, spans, length, step, once=True)
        read = int((found.lengths - found.context).sum()) if each is None else len(found) * each
        shown = spread(found, max(1, round(len(found) * most / read))) if read > most else found
        if len(shown) < len(found):
            self.notes.append(f"{part}: {len(shown):,} of {len(found):,} windows, evenly spread, are looked at")
        return shown

    def dataset(self, spans: Spans, closed: bool = True) -> SequenceDataset:
        """The windows as batches, each record behind its end where it is `closed`."""
        end = self.end if closed else None
        return SequenceDataset(self.corpus, spans, end=end, softmask_weight=self.data.softmask_weight)


def _without_known(corpus: Corpus, split: Split, notes: list[str]) -> Split:
    """The split without molecules of the test and of validation that are in training: sets may share some."""
    for part in ("val", "test"):
        found = unknown(corpus, split.train, getattr(split, part))
        if (known := len(getattr(split, part)) - len(found)) > 0:
            notes.append(f"{part}: {known:,} molecules left out that are in training, in other sets")
        split = replace(split, **{part: found})
    return split


def _budgeted(fit: FitConfig, budget: Budget, train: SequenceDataset | FamilyWindows, width: int) -> FitConfig:
    """How to train, with what was left open chosen by the size of the data and the width of the network."""
    batch = fit.batch_size or int(np.clip(budget.per_step // train.mean_length, 1, max(1, len(train) // 8)))
    steps = fit.steps_per_epoch or min(budget.most_steps, max(_LEAST_STEPS, -(-len(train) // batch)))
    rate = fit.learning_rate or LEARNING_RATE * min(1.0, _USUAL_WIDTH / width)
    return replace(fit, batch_size=batch, steps_per_epoch=steps, learning_rate=rate)


def respelling_of(sequence: SequenceConfig, share: float) -> Respelling | None:
    """What `data.randomise` asks for; None where it is 0.

    Raises:
        ValueError: Another alphabet than that of molecules; RDKit is not installed.
    """
    if share == 0:
        return None
    if sequence.alphabet != "smiles":
        raise ValueError(f"data.randomise is for molecules, and the alphabet is {sequence.alphabet}; leave it out")
    codes = alphabet_of(sequence)
    return Respelling(codes.tokens, Tokenizer(codes).encode_bytes, share)


def find_leakage(plan: SequencePlan) -> dict[str, Any] | None:
    """Near copies of test windows in training, for `data_summary.json`; None where nobody asked or there is no test."""
    if not plan.data.leakage or plan.test is None:
        return None
    return near_copies(plan.corpus, plan.split.train, plan.test.spans)


def near_copies(corpus: Corpus, train: Spans, test: Spans) -> dict[str, Any]:
    """How many spans of a test, at most `_SEARCHED` evenly spread, have a near copy in training; see `leakage`. Of
    molecules, short strings of few symbols whose k-mers all occur elsewhere, only the very same count."""
    if corpus.alphabet["name"] == "smiles":
        known = {read_span(corpus, train, n)[0].tobytes() for n in range(len(train))}
        shown = spread(test, _SEARCHED)
        copies = sum(read_span(corpus, shown, n)[0].tobytes() in known for n in range(len(shown)))
        return {"windows": len(shown), "near_copies": copies, "checked": len(shown), "copies": copies}
    found = leakage(corpus, train, spread(test, _SEARCHED)).to_dict()
    return {"windows": found["checked"], "near_copies": found["copies"], **found}


def spread(spans: Spans, most: int) -> Spans:
    """The spans, or `most` of them evenly spread."""
    return spans if len(spans) <= most else spans[evenly(len(spans), most)]


def _wildcard(alphabet: Alphabet) -> str:
    return alphabet.tokens[alphabet.wildcard] if alphabet.wildcard is not None else "unknown"
