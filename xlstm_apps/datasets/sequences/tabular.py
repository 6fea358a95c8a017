"""Sequences in a column of a table, with labels, groups and weights beside them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .opening import blocks, existing
from .record import Record

_SEQUENCE_NAMES = ("sequence", "seq", "dna", "protein", "smiles", "canonical_smiles", "selfies", "x")
_OF_ALPHABET = {
    "dna": ("dna",),
    "protein": ("protein",),
    "smiles": ("smiles", "isomeric_smiles", "canonical_smiles", "selfies", "smi", "structure"),  # canonical may be flat
}
_ID_NAMES = ("id", "name", "identifier")
_LABEL_NAMES = ("label", "target", "y", "class")
_PART_NAMES = ("part", "split")
_NO_NUMBERS = ("", "na", "n/a", "nan", "null", "none")
"""Cells that say, among numbers, that there is none."""


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """Which columns of a table of sequences mean what."""

    sequence: str | None = None
    """Column of the sequences. None: found by name."""
    alphabet: str | None = None
    """What the sequences are, where that is known: a column of another alphabet is not taken for theirs."""
    id: str | None = None
    """Column of the names. None: found by name, else rows are numbered row_1, row_2, ..."""
    numbered: str = "row_"
    """What stands before the number of a row without a name."""
    labels: list[str] | Literal["found"] = field(default_factory=list)
    """Columns to predict: one, or several numbers; "found": the one named label, target, y or class, if there is one.
    """
    part: str | None = None
    """Column that says train, val or test; "found": the one named part or split, if there is one."""
    group: str | None = None
    """Column of the groups that stay together in a split."""
    weight: str | None = None
    """Column of weights."""


def read_table(path: str | Path, columns: TableColumns) -> Iterator[Record]:
    """Records of a CSV, TSV or Parquet table, one per row.

    Raises:
        ValueError: a column is missing, or a cell of a weight is no number; the file cannot be read.
    """
    frame = read_frame(path)
    return frame_records(frame, columns, path, range(2, len(frame) + 2))  # the first line names the columns


def frame_records(frame: Any, columns: TableColumns, path: str | Path, lines: Sequence[int]) -> Iterator[Record]:
    """Records of a table that was read from `path`, where its rows stand in these `lines`.

    Raises:
        ValueError: as `read_table`.
    """
    import polars as pl

    names = frame.columns
    sequence = columns.sequence or _sequence_column(names, columns.alphabet, path)
    if sequence is None:
        raise ValueError(
            f"{path}: no column of sequences; name one with data.sequence_column, of {', '.join(names[:12])}"
        )
    identity = columns.id or _found([n for n in names if n != sequence], _ID_NAMES)
    labels, part = columns.labels, columns.part
    if labels == "found":
        named = _found([n for n in names if n != sequence], _LABEL_NAMES)
        labels = [] if named is None else [named]
    if part == "found":
        part = _found(names, _PART_NAMES)
    wanted = [n for n in (sequence, identity, *labels, part, columns.group, columns.weight) if n is not None]
    for name in wanted:
        if name not in names:
            raise ValueError(f"{path}: no column {name!r}; there are {', '.join(names[:12])}")
        if f"{name}_duplicated_0" in names:  # as polars calls the second
            raise ValueError(f"{path}: two columns {name!r}; rename one of them")
    if frame.schema[sequence] not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        raise ValueError(f"{path}: column {sequence!r} holds {frame.schema[sequence]}, and sequences are text")
    if columns.weight is not None:
        frame = frame.with_columns(as_numbers(frame[columns.weight]))
    if columns.weight is not None and not frame.schema[columns.weight].is_numeric():
        raise ValueError(f"{path}: column {columns.weight!r} holds text; weights are numbers")
    if columns.weight is not None and frame[columns.weight].null_count():
        raise ValueError(
            f"{path}: column {columns.weight!r} has empty cells; weights are numbers, 1 where all count alike"
        )

    if columns.weight is not None and not (frame[columns.weight].is_finite() & (frame[columns.weight] >= 0)).all():
        raise ValueError(
            f"{path}: column {columns.weight!r} holds weights below 0 or without bound; 0 leaves a row out"
        )
    if sequence in labels or len({*labels}) < len(labels):
        raise ValueError(f"{path}: label columns {', '.join(labels)} name one twice, or the sequences ({sequence})")

    frame = frame.with_columns(as_numbers(frame[name]) for name in labels)

    def label(row: dict[str, Any]) -> Any:
        values = [row[name] for name in labels]
        return values[0] if len(values) == 1 else values or None

    rows = frame.select(list(dict.fromkeys(wanted))).iter_rows(named=True)
    for number, (row, line) in enumerate(zip(rows, lines, strict=True), 1):
        yield Record(
            id=f"{columns.numbered}{number}" if identity is None or row[identity] is None else str(row[identity]),
            sequence=str(row[sequence] if row[sequence] is not None else "").strip().encode(),
            label=label(row),
            group=None if columns.group is None or row[columns.group] is None else str(row[columns.group]),
            part=None if part is None or row[part] is None else str(row[part]),
            weight=1.0 if columns.weight is None else float(row[columns.weight]),
            source=str(path),
            line=line,
        )


def read_frame(path: str | Path) -> Any:
    """A CSV, TSV or Parquet table, plain or packed, as a polars frame; cells of a text table stay text, so that a name
    such as 007 stays one.

    Raises:
        ValueError: the file cannot be read as a table.
    """
    import polars as pl

    file = existing(path)
    if file.suffix.lower() in (".parquet", ".pq"):
        try:
            return pl.read_parquet(file).with_columns(pl.col(pl.Binary).cast(pl.String))
        except pl.exceptions.PolarsError as e:
            raise ValueError(f"{file}: not readable as Parquet: {str(e).splitlines()[0]}") from None
    content = b"".join(blocks(file))
    first = content.split(b"\n", 1)[0]
    separator = max((",", "\t", ";"), key=lambda mark: first.count(mark.encode()))
    try:
        return pl.read_csv(content, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as e:
        why = _wrong(content, separator) or f": not readable as a table: {str(e).splitlines()[0]}"
        raise ValueError(f"{file}{why}") from None


def _wrong(content: bytes, separator: str) -> str | None:
    """The place and the mend of what polars refuses to read, where it can be told."""
    try:
        text = content.decode()
    except UnicodeDecodeError as e:
        return f" line {content[: e.start].count(10) + 1}: not UTF-8 text; save the table as UTF-8"
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    width = len(next(rows))
    for row in rows:
        if len(row) > width:
            return f" line {rows.line_num}: {len(row)} cells, and the header names {width} columns; mend the line"
    return None


def as_numbers(column: Any) -> Any:
    """A column of text as numbers, where all its cells are; digits behind a leading zero, such as 0110, are text."""
    import polars as pl

    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(list(_NO_NUMBERS)), None)
    if text.str.contains(r"^[+-]?0\d").any():
        return column
    for kind in (pl.Int64, pl.Float64):
        numbers = text.cast(kind, strict=False)
        if numbers.null_count() == text.null_count() and numbers.null_count() < len(text):
            return numbers
    return column


def _sequence_column(names: list[str], alphabet: str | None, path: str | Path) -> str | None:
    """The column of the sequences by its name, or None.

    A table of a drug and its target has both, so a column of molecules is the surest; and a column `protein` may hold
    names beside one called `sequence`. One such as PUBCHEM_SMILES is of molecules, too.

    Raises:
        ValueError: several columns may be meant.
    """
    own = _OF_ALPHABET.get(alphabet or "", ())
    others = {name for found in _OF_ALPHABET.values() for name in found} - {*own} if own else set()
    general = _found(names, tuple(name for name in _SEQUENCE_NAMES if name not in others))
    if alphabet != "smiles":
        return general
    found = _found(names, own)
    same = [
        name
        for name in names
        if ("smiles" in plain_name(name).split("_") if found is None else plain_name(name) == plain_name(found))
    ]
    if len(same) > 1:
        raise ValueError(
            f"{path}: {len(same)} columns may hold the sequences, {', '.join(map(repr, same[:12]))}; name one with "
            "data.sequence_column"
        )
    return same[0] if same else general


def _found(names: list[str], candidates: tuple[str, ...]) -> str | None:
    plain = {plain_name(name): name for name in reversed(names)}
    return next((plain[c] for c in candidates if c in plain), None)


def plain_name(name: str) -> str:
    """A name as it would stand in code: `Canonical SMILES` and CanonicalSMILES as canonical_smiles."""
    return "_".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))).lower()
