"""More like these: a model of molecules turned towards a few, and what it then makes up, beside what it made before."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from xlstm_apps.biosequence import SequenceModel
from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.objective import ask, loss_sums
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
from xlstm_apps.datasets.molecules.fingerprints import morgan_fingerprints, nearest
from xlstm_apps.datasets.molecules.fragments import scaffold
from xlstm_apps.datasets.molecules.metrics import read_valid
from xlstm_apps.estimators.sequence_generation import generate_sequences

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Turning:
    """How far a model is turned towards molecules, and how new ones are drawn."""

    passes: int = 10
    """How often each of the molecules is shown."""
    learning_rate: float = 5e-4
    """Of AdamW."""
    draws: int = 1000
    """How many molecules are made up, before what is known or comes twice is left out."""
    max_length: int = 200
    """Most tokens of one."""
    temperature: float = 1.0
    """Below 1 keeps to what is probable."""
    top_p: float | None = None
    """Draw among the most probable tokens that together reach this probability only."""
    seed: int = 0
    """Of the order of the molecules and of the draws."""

    def __post_init__(self) -> None:
        for name in ("passes", "draws", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")


class Candidate(NamedTuple):
    """A molecule that is new."""

    smiles: str
    similarity: float
    """Tanimoto similarity to the nearest of those given, by Morgan fingerprints."""
    nearest: int
    """Which of them that is."""
    perplexity: float
    """Of its tokens, by the turned model."""
    drawn: int
    """How often it came."""
    new_scaffold: bool
    """Whether none of those given has its scaffold."""


class Drawn(NamedTuple):
    """What came of draws."""

    candidates: list[Candidate]
    """The most similar first."""
    draws: int
    known: int
    """Draws of molecules that were given, or excluded."""
    repeated: int
    """Draws of molecules that had come before."""
    similarity: float
    """Mean over the candidates; NaN of none."""


def turn(model: SequenceModel, smiles: Sequence[str], turning: Turning) -> SequenceModel:
    """A copy of a causal model of molecules, trained on a few for some steps; the model itself stays.

    Args:
        model: Of the SMILES alphabet.
        smiles: Canonical.
        turning: How far.
    """
    turned = copy.deepcopy(model).train()
    tokenizer, alphabet = Tokenizer(model.alphabet), model.alphabet
    rows = [torch.tensor([*tokenizer.encode(text), alphabet.end]) for text in smiles]
    optimizer = torch.optim.AdamW(turned.parameters(), lr=turning.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(turning.seed)
    device = turned.embedding.weight.device
    for _ in range(turning.passes):
        for members in torch.randperm(len(rows), generator=generator).split(BATCH):
            chosen = [rows[i] for i in members.tolist()]
            borders = torch.tensor([0, *np.cumsum([len(row) for row in chosen])], dtype=torch.int32, device=device)
            ids = torch.cat(chosen)[None].to(device)
            question = ask(turned.sequence, alphabet, ids, torch.ones(ids.shape, device=device), borders)
            total, count = loss_sums(turned(question.inputs, cu_seqlens=borders), question)
            optimizer.zero_grad()
            (total / count).backward()
            torch.nn.utils.clip_grad_norm_(turned.parameters(), 1.0)
            optimizer.step()
    return turned.eval()


def draw_new(
    model: SequenceModel,
    given: Sequence[str],
    turning: Turning,
    exclude: set[str] | None = None,
    prompt: str = "",
    *,
    context: FamilyContext | None = None,
) -> Drawn:
    """Molecules made up by a model that are none of those given and none that are excluded, every draw a molecule.

    Args:
        model: Turned, or not.
        given: Canonical SMILES of the molecules that new ones are compared with.
        turning: How to draw.
        exclude: Canonical SMILES that are known already.
        prompt: What every one begins with.
        context: Molecules that a model of sets has read first.
    """
    batches = generate_sequences(
        model, [prompt], per_prompt=turning.draws, max_length=turning.max_length, temperature=turning.temperature,
        top_p=turning.top_p, seed=turning.seed, valid=True, family=context,
    )  # fmt: skip
    made = [sequence for batch in batches for sequence in batch]
    with quiet():
        smiles = read_valid(sequence.text for sequence in made).smiles
        counts, bits = Counter(smiles), {}
        for text, sequence in zip(smiles, made, strict=True):
            bits.setdefault(text, sequence.bits)
        seen = {*given, *(exclude or ())}
        new = [text for text in counts if text not in seen]
        mols, references = [molecule(text) for text in new], [molecule(text) for text in given]
        best, which = nearest(morgan_fingerprints(mols), morgan_fingerprints(references))
        scaffolds = {scaffold(mol) for mol in references}
        candidates = [
            Candidate(
                text, float(best[i]), int(which[i]), 2 ** bits[text], counts[text], scaffold(mols[i]) not in scaffolds
            )
            for i, text in enumerate(new)
        ]
    candidates.sort(key=lambda found: (-found.similarity, found.perplexity, found.smiles))
    known = sum(count for text, count in counts.items() if text in seen)
    repeated = sum(candidate.drawn - 1 for candidate in candidates)
    mean = float(np.mean(best)) if candidates else math.nan
    return Drawn(candidates, len(made), known, repeated, mean)
