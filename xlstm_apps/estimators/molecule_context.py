"""A set of molecules as a prompt: the state of a model that has read them, in several orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xlstm_apps.biosequence.family import FamilyContext, check_family_model, read_homologs
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.tokenizer import Tokenizer

DRAWS = 8
"""Orders where nobody says how many."""


def read_set(
    model: SequenceModel,
    smiles: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    draws: int = DRAWS,
    num_molecules: int | None = None,
    max_symbols: int | None = None,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> FamilyContext:
    """Let a model read molecules, for each draw in an order of its own, and others of them where not all fit.

    Args:
        model: One that was trained on sets of molecules.
        smiles: Written as in training, as a rule canonical.
        names: What to call them; None: by their SMILES.
        draws: How many orders.
        num_molecules: Most in each; None: all.
        max_symbols: Most tokens in each, with those between molecules; None: any number.
        seed: Of the draws.
        about: What to remember beside what is known here.
        advance: Called with a number of molecules that are read.

    Raises:
        ValueError: Another kind of model, a string that cannot be read, no molecule, or none that fits.
    """
    check_family_model(model)
    if not smiles:
        raise ValueError("a set of molecules to read first must hold at least one")
    tokenizer = Tokenizer(model.alphabet)
    encoded = [np.array(ids, np.uint8) for ids in tokenizer.encode_batch(smiles)]
    lengths, names = np.array([len(ids) + 1 for ids in encoded]), smiles if names is None else names
    room = int(lengths.sum()) if max_symbols is None else max_symbols
    shown, facts = [], []
    for number in range(draws):
        order = np.random.default_rng((seed, number)).permutation(len(encoded))
        fits = _fitting(lengths, order.tolist(), room)[:num_molecules]
        if not fits and num_molecules != 0:
            raise ValueError(
                f"none of the {len(encoded):,} molecules fits into {room:,} tokens; the shortest has {lengths.min():,}"
            )
        shown.append([encoded[n] for n in fits])
        facts.append({"molecules": [names[n] for n in fits], "symbols": sum(len(encoded[n]) for n in fits)})
    return read_homologs(
        model, shown, {"sequences": len(encoded), "draws": draws, "seed": seed, "contexts": facts, **(about or {})},
        advance=advance,
    )  # fmt: skip


def _fitting(lengths: np.ndarray, order: Sequence[int], room: int) -> list[int]:
    taken = []
    for n in order:
        if lengths[n] <= room:
            taken.append(n)
            room -= int(lengths[n])
    return taken
