"""What was found in the input and what was done about it: counted, machine readable, and in two lines."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_SHOWN = 5
_MANY_AMBIGUOUS = 0.05
_EXPECTED = {"dna": ("ACGT", 1_000, 1), "protein": ("ACDEFGHIKLMNPQRSTVWY", 10_000, 2)}
"""Letters that real sequences hold, in how many symbols at the latest, and how many may not be missing: a family may do
without one residue."""


@dataclass(kw_only=True)
class QualityReport:
    """Counts over all records, filled while they are cleaned."""

    alphabet: str = ""
    sources: list[str] = field(default_factory=list)
    records: int = 0
    """Records read."""
    kept: int = 0
    symbols: int = 0
    """Symbols of the records that were kept."""
    definite: int = 0
    """Those that say exactly one thing: in DNA the A, C, G and T."""
    soft_masked: int = 0
    """Lower-case symbols."""
    ambiguous: Counter[str] = field(default_factory=Counter)
    """Codes for several symbols, by code."""
    ambiguous_records: int = 0
    synonyms: int = 0
    """Symbols read as another without loss, such as U as T."""
    bad_characters: Counter[str] = field(default_factory=Counter)
    """Characters that no sequence of the alphabet holds; of molecules the first such token of a record."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Records left out, by reason."""
    stops_stripped: int = 0
    """Records whose last character was the `*` of a stop."""
    gapped: int = 0
    """Proteins with gaps (`-` and `.`), which are taken out."""
    unnamed: int = 0
    renamed: int = 0
    examples: list[str] = field(default_factory=list)
    """The first findings, with their place."""
    notes: list[str] = field(default_factory=list)
    letters: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    """Counts of bytes."""
    lengths: list[int] = field(default_factory=list)

    def leave_out(self, reason: str, where: str) -> None:
        """Count a record that is not kept."""
        self.left_out[reason] += 1
        self.example(f"{where}: {reason}")

    def example(self, text: str) -> None:
        """Keep one of the first findings."""
        if len(self.examples) < _SHOWN:
            self.examples.append(text)

    @property
    def ambiguous_share(self) -> float:
        """Share of the symbols kept that do not say exactly one thing."""
        return 1 - self.definite / self.symbols if self.symbols else 0.0

    @property
    def exit_code(self) -> int:
        """0 clean, 1 some records were bad, 2 nothing is left to use: no record, or none that says anything."""
        if self.definite == 0:
            return 2
        return int(bool(self.left_out or self.bad_characters))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        lengths = np.asarray(self.lengths, np.int64)
        return {
            "alphabet": self.alphabet,
            "sources": self.sources,
            "records": self.records,
            "kept": self.kept,
            "left_out": dict(self.left_out),
            "symbols": self.symbols,
            "definite": self.definite,
            "ambiguous": dict(self.ambiguous),
            "ambiguous_share": round(self.ambiguous_share, 6),
            "ambiguous_records": self.ambiguous_records,
            "soft_masked": self.soft_masked,
            "synonyms": self.synonyms,
            "bad_characters": dict(self.bad_characters),
            "stops_stripped": self.stops_stripped,
            "gapped": self.gapped,
            "unnamed": self.unnamed,
            "renamed": self.renamed,
            "composition": self.composition(),
            "lengths": {
                "min": int(lengths.min()),
                "median": float(np.median(lengths)),
                "max": int(lengths.max()),
            }
            if len(lengths)
            else None,
            "examples": self.examples,
            "notes": self.notes,
            "exit_code": self.exit_code,
        }

    def composition(self) -> dict[str, int]:
        """Counts of characters, upper and lower case together."""
        upper = self.letters.copy()
        upper[65:91] += upper[97:123]
        upper[97:123] = 0
        return {chr(i): int(upper[i]) for i in np.flatnonzero(upper)}

    def missing(self) -> str | None:
        """Words for letters that never occur, as where a program has taken out what it did not know; else None."""
        letters, enough, most = _EXPECTED.get(self.alphabet, ("", 0, 1))
        found = self.composition()
        found["T"] = found.get("T", 0) + found.get("U", 0) * (self.alphabet == "dna")
        absent = [letter for letter in letters if not found.get(letter)]
        if len(absent) < most or self.symbols < enough:
            return None
        return f"no {', '.join(absent)} in {self.symbols:,} symbols: is the file as it should be?"

    def summary(self) -> str:
        """Two lines for a person."""
        if self.kept == 0:
            first = f"{self.records:,} records, none of them usable"
        else:
            span = f"{min(self.lengths):,}" + (f" to {max(self.lengths):,}" if len(set(self.lengths)) > 1 else "")
            first = f"{self.kept:,} of {self.records:,} records, {self.symbols:,} symbols, {span} long"
        found = [f"{count:,} left out ({reason})" for reason, count in self.left_out.items()]
        if self.bad_characters:
            shown = ", ".join(f"{char!r} x {n:,}" for char, n in self.bad_characters.most_common(_SHOWN))
            found.append(f"bad characters {shown}")
        if self.symbols and self.ambiguous_share > 0:
            warning = " (many: is this the right file?)" if self.ambiguous_share > _MANY_AMBIGUOUS else ""
            found.append(f"{self.ambiguous_share:.2%} ambiguous{warning}")
        if self.soft_masked:
            found.append(f"{self.soft_masked / max(1, self.symbols):.1%} lower case")
        if self.synonyms:
            found.append(f"{self.synonyms:,} U read as T" if self.alphabet == "dna" else f"{self.synonyms:,} folded")
        if self.stops_stripped:
            found.append(f"{self.stops_stripped:,} end in *, which is taken off")
        if self.gapped:
            found.append(f"{self.gapped:,} with gaps, which are taken out")
        if self.unnamed:
            found.append(f"{self.unnamed:,} without a name")
        if self.renamed:
            found.append(f"{self.renamed:,} renamed duplicates")
        found += self.notes
        return f"{first}\n{'; '.join(found) if found else 'nothing to remark'}"
