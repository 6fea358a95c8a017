"""A protein that an option names, and the context that it, or a molecule, is read behind."""

from pathlib import Path

import numpy as np

from xlstm_apps.biosequence.family import SUFFIX, FamilyContext, check_family_model
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.tokenizer import get_tokenizer
from xlstm_apps.datasets.sequences import read_records
from xlstm_apps.datasets.sequences.mutations import THREE_LETTERS, clean_protein, three_letters


def residues(given: str, option: str) -> str:
    """Residues of a protein that is written out, or the only record of a file.

    Raises:
        ValueError: No such file and no protein, several records, or a character that no protein holds.
    """
    text, where = given, option
    if Path(given).expanduser().exists() or not given.replace("*", "").isalpha():
        records = [*read_records(given)]
        where = f"{option} {given}"
        if len(records) != 1:
            raise ValueError(f"{where}: holds {len(records):,} sequences; bring a file of one, or write it out")
        text = records[0].sequence.decode("latin-1")
    text = clean_protein(text)
    if not text:
        raise ValueError(f"{where}: holds no residue")
    if three_letters(text):
        raise ValueError(f"{where}: {THREE_LETTERS}")
    try:
        get_tokenizer("protein").fold(np.frombuffer(text.encode("latin-1", errors="replace"), np.uint8))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return text


def behind(path: str | None, mean_of: FamilyContext | None = None) -> list[str]:
    """A line that says what was read first, where anything was."""
    mean = f", mean of {len(mean_of)} contexts" if mean_of is not None and len(mean_of) > 1 else ""
    return [] if path is None else [f"behind what {path} holds{mean}"]


def family_context(
    path: str | None, model: SequenceModel, model_path: str | None = None, seed: int = 0, notes: list[str] | None = None
) -> FamilyContext | None:
    """The saved context of a family, or that of a file of molecules; None where none is named.

    Args:
        path: The file.
        model: Which reads it.
        model_path: Where the model lies, where it may be one of molecules.
        seed: Of the order of the molecules.
        notes: Takes up what a user should know.

    Raises:
        ValueError: As `FamilyContext.load` or `context_of_file`, or a model that reads no families.
    """
    if path is None:
        return None
    check_family_model(model)
    if model.alphabet.name != "smiles" or model_path is None or Path(path).suffix == SUFFIX:
        return FamilyContext.load(path, model)
    from xlstm_apps.recipes._sequence_molecules import context_of_file

    context, found = context_of_file(path, model, model_path, seed=seed)
    if notes is not None:
        notes += found
    return context
