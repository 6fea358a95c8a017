"""Tables of mutants, as ProteinGym and MaveDB hand them out: which column says what, checked before any scoring."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .mutations import (
    BAD,
    STOP,
    Mutant,
    Mutation,
    check_mutant,
    clean_protein,
    fitting_offset,
    parse_mutations,
    reverted,
)
from .opening import head
from .tabular import as_numbers, read_frame

_MUTANT_NAMES = ("mutant", "mutants", "mutation", "mutations", "variant", "hgvs_pro", "hgvs_p")
_SEQUENCE_NAMES = ("mutated_sequence", "mutant_sequence", "sequence", "seq")
_MEASURED_NAMES = ("dms_score",)
_AGREE = 0.5


@dataclass(frozen=True, kw_only=True)
class MutantColumns:
    """Which columns of a table of mutants mean what."""

    mutant: str | None = None
    """Column of the mutations. None: the one named mutant, mutation, variant or hgvs_pro."""
    sequence: str | None = None
    """Column of the whole sequences. None: the one named mutated_sequence, mutant_sequence, sequence or seq."""
    measured: str | None = None
    """Column of what was measured. None: the one named DMS_score."""


@dataclass(frozen=True, kw_only=True)
class MutantTable:
    """The mutants of a table, in its order."""

    frame: Any
    """The polars frame, as it was read."""
    wild_type: str
    """Residues, upper case."""
    mutants: list[Mutant]
    measured: np.ndarray | None
    """float64 [N], NaN where nothing was measured; None where no column says."""
    notes: list[str]
    """What a reader of the results should know."""

    @property
    def statuses(self) -> Counter[str]:
        """How many mutants have each status."""
        return Counter(mutant.status for mutant in self.mutants)


def read_mutants(
    path: str | Path,
    wild_type: str | None = None,
    *,
    offset: int = 0,
    columns: MutantColumns | None = None,
    on_bad: Literal["error", "skip"] = "error",
) -> MutantTable:
    """Mutants of a CSV, TSV or Parquet table, checked against the wild type.

    Args:
        path: The table.
        wild_type: Residues. None: seen from the first row that has mutations and a sequence; the others must agree.
        offset: How far positions run ahead of the wild type, as in `check_mutant`.
        columns: Which columns to take; None: found by name.
        on_bad: What to do with rows that do not fit the wild type or cannot be read: `error` stops, `skip` leaves them
            with their status.

    Raises:
        ValueError: No such column, rows that `on_bad` calls an error, no wild type, or something measured that is no
            number; names the line, what the wild type holds there and an offset that would fit.
    """
    if not str(path).endswith((".parquet", ".pq")) and head(path).lstrip().startswith(b">"):
        raise ValueError(f"{path}: this is FASTA; mutants come as a table with a column mutant or mutated_sequence")
    frame, columns = read_frame(path), columns or MutantColumns()
    if not len(frame):
        raise ValueError(f"{path}: the table has no rows")
    texts = _cells(frame, path, columns.mutant, _MUTANT_NAMES)
    sequences = _cells(frame, path, columns.sequence, _SEQUENCE_NAMES)
    if texts is None and sequences is None:
        raise ValueError(
            f"{path}: no column of mutants such as A10G, and none of sequences; name one with mutant_column or "
            f"sequence_column, of {', '.join(frame.columns[:12])}"
        )
    none = [None] * len(frame)
    rows = [*zip(texts or none, sequences or none, strict=True)]
    notes = []
    if wild_type is None:
        wild_type = _wild_type_of(rows, offset, path)
        notes.append(
            f"the wild type, {len(wild_type):,} residues, is what mutations and sequences of the table agree on"
        )
    wild_type = clean_protein(wild_type)
    mutants = [check_mutant(text, sequence, wild_type, offset) for text, sequence in rows]
    bad = [n for n, mutant in enumerate(mutants) if mutant.status in BAD]
    if bad and (on_bad == "error" or len(bad) == len(mutants)):
        what = f"{len(bad):,} of {len(mutants):,} mutants cannot be scored" if len(bad) > 1 else "it cannot be scored"
        skip = "" if len(bad) == len(mutants) else "; set on_bad to 'skip' to leave them without a score"
        line = f" line {bad[0] + 2}" if not str(path).endswith((".parquet", ".pq")) else f" row {bad[0] + 1}"
        raise ValueError(
            f"{path}{line}: {mutants[bad[0]].problem}; {what}{_hint(texts, mutants, wild_type, offset)}{skip}"
        )
    known = [mutant.sequence for mutant in mutants if mutant.status == "ok"]
    if len(known) > len(set(known)):
        notes.append(f"rows that repeat a mutant: {len(known) - len(set(known)):,}; each has its score")
    return MutantTable(
        frame=frame,
        wild_type=wild_type,
        mutants=mutants,
        measured=_measured(frame, path, columns.measured),
        notes=notes,
    )


def _cells(frame: Any, path: str | Path, name: str | None, candidates: tuple[str, ...]) -> list[str | None] | None:
    found = _column(frame, path, name, candidates)
    return None if found is None else [None if cell is None else str(cell) for cell in frame[found].to_list()]


def _column(frame: Any, path: str | Path, name: str | None, candidates: tuple[str, ...]) -> str | None:
    if name is not None:
        if name not in frame.columns:
            raise ValueError(f"{path}: no column {name!r}; there are {', '.join(frame.columns[:12])}")
        return name
    lower = {column.lower(): column for column in reversed(frame.columns)}
    return next((lower[candidate] for candidate in candidates if candidate in lower), None)


def _wild_type_of(rows: list[tuple[str | None, str | None]], offset: int, path: str | Path) -> str:
    """What most rows say that can be turned back; a vote, since a single row may be wrong."""
    votes: Counter[str] = Counter()
    both = 0
    for text, sequence in rows:
        if text and sequence and all(mutation.alt not in ("", STOP) for mutation in _mutations(text)):
            found = reverted(text, sequence, offset)
            both += found is not None or bool(_mutations(text))
            votes.update([] if found is None else [found])
    if not both:
        raise ValueError(f"{path}: mutations and sequences together would tell the wild type; give --wild_type")
    wild_type, count = votes.most_common(1)[0] if votes else ("", 0)
    if count <= _AGREE * both:
        raise ValueError(
            f"{path}: mutations and sequences agree on no wild type ({count:,} of {both:,} rows at most); give "
            "--wild_type, and --offset where the table does not count from its first residue"
        )
    return wild_type


def _measured(frame: Any, path: str | Path, name: str | None) -> np.ndarray | None:
    found = _column(frame, path, name, _MEASURED_NAMES)
    if found is None:
        return None
    column = as_numbers(frame[found])
    if not column.dtype.is_numeric() and column.null_count() < len(column):
        cells = frame[found].to_list()
        line = next(n for n, cell in enumerate(cells) if cell is not None and cell.strip() and not _is_number(cell))
        raise ValueError(f"{path} line {line + 2}: {cells[line]!r} in column {found!r} is no number")
    return np.array([np.nan if value is None else float(value) for value in column.to_list()], float)


def _mutations(text: str) -> list[Mutation]:
    """Those of a text that can be read; else none."""
    try:
        return parse_mutations(text)
    except ValueError:
        return []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _hint(texts: list[str | None] | None, mutants: list[Mutant], wild_type: str, offset: int) -> str:
    """An offset that would fit, where the one given does not."""
    if texts is None or not any(mutant.status in ("mismatch", "beyond") for mutant in mutants):
        return ""
    found = fitting_offset([mutation for text in texts for mutation in _mutations(text or "")], wild_type)
    if found is None or found[0] == offset or found[1] < 0.9:
        return ""
    share = "all" if found[1] == 1 else f"{found[1]:.0%}"
    return f"; with --offset {found[0]} {share} of the positions fit"
