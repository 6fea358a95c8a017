"""What a model of molecules makes up after its training, for its report."""

from collections.abc import Collection
from typing import Any

import numpy as np
from rich.console import Console

from xlstm_apps.biosequence import SequenceModel
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
from xlstm_apps.datasets.molecules.properties import MOSES_PROPERTIES, measure
from xlstm_apps.estimators.sequence_generation import generate_sequences
from xlstm_apps.estimators.sequence_plan import SequencePlan
from xlstm_apps.recipes._terminal import note

DRAWS = 200
MOST_HELD_OUT = 500
MOST_SYMBOLS = 200


def drawn_molecules(plan: SequencePlan, model: SequenceModel, seed: int, console: Console) -> list[dict[str, Any]]:
    """Rows of `evaluation/molecules.csv`: strings drawn freely, and held-out molecules, with their properties.

    None for a model of something else or one that does not generate; nor without RDKit, said so.
    """
    if plan.alphabet.name != "smiles" or plan.sequence.objective != "causal" or not model.begins:
        return []
    try:
        with quiet(), console.status("drawing molecules"):
            return _rows(plan, model, seed)
    except ValueError as error:
        note(console, [f"no molecules were drawn for the report: {error}"])
        return []


def _rows(plan: SequencePlan, model: SequenceModel, seed: int) -> list[dict[str, Any]]:
    from rdkit.Chem import MolToSmiles

    decode = Tokenizer(plan.alphabet).decode
    model = model.to(plan.device).eval()
    batches = generate_sequences(
        model, [""], per_prompt=DRAWS, max_length=min(plan.context_length, MOST_SYMBOLS), batch_size=DRAWS, seed=seed
    )
    texts = [made.text for batch in batches for made in batch]
    model.cpu()
    mols = [molecule(text) for text in texts]
    smiles = [text if mol is None else MolToSmiles(mol) for text, mol in zip(texts, mols, strict=True)]
    known = {decode(plan.corpus[i]) for i in np.unique(plan.split.train.record)}
    known.update(smiles[n] for n, text in enumerate(texts) if text in known)  # where training is not canonical
    rows = _properties("drawn", smiles, mols, known)
    test = np.unique(plan.split.test.record)
    chosen = np.random.default_rng(seed).permutation(test)[:MOST_HELD_OUT]
    held_out = [decode(plan.corpus[i]) for i in np.sort(chosen)]
    return rows + _properties("held-out", held_out, [molecule(text) for text in held_out], known)


def _properties(name: str, smiles: list[str], mols: list[Any], known: Collection[str]) -> list[dict[str, Any]]:
    at = [n for n, mol in enumerate(mols) if mol is not None]
    values = measure([mols[n] for n in at], MOSES_PROPERTIES)
    rows: list[dict[str, Any]] = [
        {"set": name, "smiles": text, "molecule": int(mol is not None), "new": int(text not in known)}
        | dict.fromkeys(MOSES_PROPERTIES, "")
        for text, mol in zip(smiles, mols, strict=True)
    ]
    for key, found in values.items():
        for n, value in zip(at, found, strict=True):
            rows[n][key] = float(f"{value:.6g}") if np.isfinite(value) else ""
    return rows
