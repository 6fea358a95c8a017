"""Scaffold decoration: molecules that hold a scaffold, with what a model makes up at its points to attach at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.datasets.molecules.chemistry import chemistry
from xlstm_apps.datasets.molecules.scaffolds import attach, open_scaffold, spellings
from xlstm_apps.estimators.sequence_generation import Made, generate_sequences

_FREE_DRAWS = 20
"""Draws at a point that are kept if they are molecules by themselves, which is fast and what the model makes."""
_MOST_DRAWS = 40
"""Draws until a point is taken for impossible; the later ones under the constraint."""


def decorate(
    model: SequenceModel,
    scaffold: str,
    *,
    num_molecules: int = 1,
    min_length: int = 1,
    max_length: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    batch_size: int = 64,
    seed: int = 0,
    family: FamilyContext | None = None,
) -> Iterator[list[Made]]:
    """Batches of molecules with a scaffold, canonical, numbers of `Made` being sums over its points.

    One point after another: of the spellings that end there, with hydrogen at the points that are still open, the model
    goes on from the one it finds most probable. What is no molecule, or does not hang on a single bond there, is drawn
    anew, at last under the constraint of `ValidSmiles`.

    Args:
        model: A causal model of molecules.
        scaffold: SMILES with points to attach at, `*` or, in the order of their numbers, `[*:1]`.
        num_molecules: How many.
        min_length: Fewest tokens to add at each point; at least one is.
        max_length: Most tokens to add at each point.
        temperature: As in `SequenceModel.generate`.
        top_k: As there.
        top_p: As there.
        batch_size: Molecules at a time.
        seed: Of the draws.
        family: Molecules that were read before.

    Raises:
        ValueError: A scaffold without points or that is no molecule; a point at which nothing can be drawn.
    """
    if num_molecules < 1 or batch_size < 1:
        raise ValueError("num_sequences, batch_size and max_length must be at least 1")
    if temperature == 0 and num_molecules > 1:
        raise ValueError("temperature 0 always makes the same molecule; leave num_sequences out, or give 1 such as 0.7")
    start, points = open_scaffold(scaffold)
    rng = np.random.default_rng(seed)

    def draw(prompts: list[str], *, valid: bool) -> list[Made]:
        batches = generate_sequences(
            model, prompts, min_length=max(1, min_length), max_length=max_length, temperature=temperature, top_k=top_k,
            top_p=top_p, batch_size=len(prompts), seed=int(rng.integers(1 << 62)), family=family, valid=valid,
        )  # fmt: skip
        return [made for batch in batches for made in batch]

    for begin in range(0, num_molecules, batch_size):
        count = min(batch_size, num_molecules - begin)
        grown: list[Any] = [start] * count
        sums = [Made(0, "", 0, 0.0, 0, True)] * count
        for point in range(1, points + 1):
            try:
                prompts = _beginnings(model, grown, point, rng)
            except ValueError as error:
                raise ValueError(f"scaffold {scaffold!r} cannot be written for this model: {error}") from None
            wanting = list(range(count))
            for turn in range(_MOST_DRAWS):
                free = turn < _FREE_DRAWS
                tries = [i for i in wanting for _ in range(batch_size // len(wanting) if free else 1)]
                drawn = draw([prompts[i] for i in tries], valid=not free)
                for i, one in zip(tries, drawn, strict=True):
                    if i not in wanting:
                        continue
                    found = attach(grown[i], point, one.text.removeprefix(prompts[i]))
                    if found is not None:
                        grown[i], sums[i] = found, _plus(sums[i], one)
                        wanting.remove(i)
                if not wanting:
                    break
            else:
                raise ValueError(
                    f"scaffold {scaffold!r}: {_MOST_DRAWS} draws gave nothing that can be attached at point {point}; "
                    "give a greater max_length or another temperature"
                )
        yield [total._replace(text=chemistry().MolToSmiles(mol)) for total, mol in zip(sums, grown, strict=True)]


def _beginnings(model: SequenceModel, molecules: Sequence[Any], point: int, rng: np.random.Generator) -> list[str]:
    """For each molecule the spelling that ends at a point which the model finds most probable."""
    distinct = {id(mol): mol for mol in molecules}
    options = {key: spellings(mol, point, rng) for key, mol in distinct.items()}
    texts = [text for found in options.values() for text in found]
    loss = {text: float(nll.double().sum()) for text, nll in zip(texts, model.score(texts), strict=True)}
    best = {key: min(found, key=loss.__getitem__) for key, found in options.items()}
    return [best[id(mol)] for mol in molecules]


def _plus(total: Made, one: Made) -> Made:
    return Made(
        0, "", total.added + one.added, total.log_likelihood + one.log_likelihood, total.scored + one.scored,
        total.ended and one.ended,
    )  # fmt: skip
