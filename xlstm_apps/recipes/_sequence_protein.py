"""A protein that an option names, and the context that it is read behind."""

from pathlib import Path

import numpy as np

from xlstm_apps.biosequence.family import FamilyContext, check_family_model
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.tokenizer import get_tokenizer
from xlstm_apps.datasets.sequences import read_records
from xlstm_apps.datasets.sequences.mutations import clean_protein


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
    try:
        get_tokenizer("protein").fold(np.frombuffer(text.encode("latin-1", errors="replace"), np.uint8))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return text


def behind(path: str | None, mean_of: FamilyContext | None = None) -> list[str]:
    """A line that says which homologs were read, where any were."""
    mean = f", mean of {len(mean_of)} contexts" if mean_of is not None and len(mean_of) > 1 else ""
    return [] if path is None else [f"behind the homologs of {path}{mean}"]


def family_context(path: str | None, model: SequenceModel) -> FamilyContext | None:
    """The saved context of a family; None where none is named.

    Raises:
        ValueError: As `FamilyContext.load`, or a model that reads no families.
    """
    if path is None:
        return None
    check_family_model(model)
    return FamilyContext.load(path, model)
