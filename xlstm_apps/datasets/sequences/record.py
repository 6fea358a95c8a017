"""One sequence as a file holds it, with what is known about it."""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)
class Record:
    """A sequence and where it comes from. Nothing in it is judged yet: the bytes are those of the file, white space
    taken out."""

    id: str
    """Name, the first word of a FASTA header."""
    sequence: bytes
    """Symbols, one byte each; lower case as in the file."""
    start: int = 0
    """Place of the first symbol in the sequence that the record was cut from, counted from 0."""
    end: int | None = None
    """Place after the last symbol there; None: `start` and the length say it."""
    strand: str = "+"
    """`+` or `-`: which strand of the source the symbols are of."""
    label: Any = None
    """What is to be predicted: text, a number, or a list of numbers."""
    group: str | None = None
    """Records of one group stay in one part of a split."""
    part: str | None = None
    """Part of a split that the data names for it: train, val or test."""
    description: str = ""
    """What stands behind the name in a FASTA or FASTQ header."""
    weight: float = 1.0
    """How much the record counts in training."""
    source: str = ""
    """File it came from."""
    line: int = 0
    """Line of the file it begins at, from 1; 0 where lines have no meaning."""

    def where(self) -> str:
        """Words for a message: file, line and name."""
        place = f"{self.source} line {self.line}" if self.line else self.source
        return f"{place}: record {self.id!r}" if place else f"record {self.id!r}"
