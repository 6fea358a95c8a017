"""Records with the family, or set, that they are of as their group: that of their file, alignment or line."""

from collections.abc import Iterator
from typing import Any, Literal

from .alignment import read_stockholm
from .reading import TABULAR, read_records
from .record import Record
from .tabular import TableColumns

Families = Literal["none", "file", "group", "line"]


def read_families(
    path: str, kind: Any, how: Families, name: str, columns: TableColumns | None = None
) -> Iterator[Record]:
    """Records of a file.

    Args:
        path: The file.
        kind: Its format.
        how: `file`: it is a family, or of Stockholm each alignment; `line`: each line of a list of SMILES is a set of
            molecules with dots between them; else the records are as they are.
        name: What a family is called that is a file, and lines without a name after it.
        columns: Which columns of a table mean what.

    Raises:
        ValueError: as `read_records`; lines of something else than a list of SMILES, or a table that has groups too.
    """
    if how == "line":
        yield from _lines(path, kind, name)
        return
    if how != "file":
        yield from read_records(path, kind, columns)
        return
    if columns is not None and columns.group is not None:
        raise ValueError(
            f"{path}: data.families: file takes a file for a family, and data.group_column names others; leave it out, "
            "or set data.families to group"
        )
    named = [(a.name, a.records) for a in read_stockholm(path)] if kind == "stockholm" else ()
    for family, records in named or [(name, read_records(path, kind, columns if kind in TABULAR else None))]:
        for record in records:
            record.group = family
            yield record


def _lines(path: str, kind: Any, name: str) -> Iterator[Record]:
    if kind != "smi":
        raise ValueError(f"{path}: data.families: line is for lists of SMILES, and this is {kind}; use file or group")
    for line in read_records(path, kind):
        family = f"{name}:{line.id}" if line.id == f"line_{line.line}" else line.id
        for number, smiles in enumerate(line.sequence.split(b"."), 1):
            yield Record(id=f"{family}:{number}", sequence=smiles, group=family, source=line.source, line=line.line)
