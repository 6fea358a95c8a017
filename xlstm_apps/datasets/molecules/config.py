"""Which molecules to read, where what is no molecule is one more thing to count. Imports no RDKit."""

from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices
from xlstm_apps.datasets.sequences.config import SequenceSource

from .standardise import MoleculePolicy


@dataclass(frozen=True, kw_only=True)
class MoleculeSource(MoleculePolicy):
    """Files of molecules, and how each is written."""

    path: list[str]
    """Files: lists of SMILES (.smi), SDF, tables (CSV, TSV, Parquet) with a column of SMILES, FASTA; plain or
    packed."""
    format: Literal["smi", "sdf", "table", "fasta"] | None = None
    """Format of the files. None: seen from their content and ending."""
    smiles_column: str | None = None
    """Tables: column of the SMILES. None: found by name."""
    id_column: str | None = None
    """Tables and SDF: column, or field, of the names. None: found by name."""
    repeats: Literal["first", "keep"] = "first"
    """Of molecules that come twice keep the `first`, or `keep` them all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("data.path names no file")
        check_choices(self, "data.")

    @property
    def as_sequences(self) -> SequenceSource:
        """The same as sequences are read."""
        return SequenceSource(
            path=self.path, format=self.format, sequence_column=self.smiles_column, id_column=self.id_column
        )
