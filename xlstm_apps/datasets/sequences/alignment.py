"""Families of aligned sequences: A3M (A2M, aligned FASTA) and Stockholm, gaps and insertions told apart.

Columns of the family are those of the first sequence in A3M (upper case and `-`; lower case are insertions between
them), in Stockholm those that the line `#=GC RF` marks, else all that hold an upper-case letter.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .opening import lines
from .record import Record

GAP = ord("-")
_GAPS = b".-_~"
_NOT_HOMOLOGS = ("ss_pred", "ss_conf", "ss_dssp", "sa_pred")  # that HH-suite puts before the sequences


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Homologs in the order of the file; the first is the query."""

    name: str
    """As the file says, else its name without ending."""
    records: list[Record]
    """Each sequence as it is without the alignment: upper case, insertions in it, no gaps."""
    rows: np.ndarray
    """uint8 [N, L], symbols in the columns of the family, upper case; `GAP` where there is none."""

    def __len__(self) -> int:
        return len(self.records)


def read_a3m(path: str | Path) -> Alignment:
    """The alignment of an A3M file; A2M and aligned FASTA, whose insertions are padded with `.`, are read too.

    Raises:
        ValueError: no sequence, text before the first header, a character that stands in no alignment, or a row of
            another width than the first; names the line.
    """
    records, texts = [], []
    for number, line in lines(path):
        text = line.strip()
        if text.startswith(">"):
            words = text.lstrip(">").split(None, 1) or [""]
            name, description = words[0], "".join(words[1:])
            records.append(Record(id=name, sequence=b"", description=description, source=str(path), line=number))
            texts.append([])
        elif text.startswith("#") and not records:  # ColabFold writes lengths and numbers of chains there
            if re.match(r"#\d+,\d", text):
                raise ValueError(
                    f"{path} line {number}: rows of several chains joined; bring an alignment for each chain"
                )
        elif text and not records:
            raise ValueError(f"{path} line {number}: {text[:40]!r} stands before the first header '>name'")
        elif text and records[-1].id not in _NOT_HOMOLOGS:  # confidences are digits
            texts[-1].append(_checked("".join(text.split()), path, number))
    kept = [(r, b"".join(t)) for r, t in zip(records, texts, strict=True) if r.id not in _NOT_HOMOLOGS]
    if not kept:
        raise ValueError(f"{path}: no sequence in this alignment; a record begins with '>name'")
    aligned = [text.translate(None, b"abcdefghijklmnopqrstuvwxyz.") for _, text in kept]
    _check_widths([record for record, _ in kept], aligned, "columns (upper case and '-')")
    _check_columns(aligned[0], path)
    return _alignment(Path(path).name.split(".")[0], kept, aligned)


def read_stockholm(path: str | Path) -> Iterator[Alignment]:
    """The alignments of a Stockholm file, one after another; sequences may be broken over several blocks.

    Raises:
        ValueError: no alignment, one without sequences or without its end (`//`), a line that is none of the format, a
            character that stands in no alignment, or rows of different widths; names the line.
    """
    count, block = 0, _Block(path)
    for number, line in lines(path):
        text = line.strip()
        if text == "//":
            count += 1
            yield block.alignment(count)
            block = _Block(path)
        elif text:
            block.add(text, number)
    if block.texts:
        raise ValueError(f"{path}: the last alignment has no end '//'; the file is cut short, fetch it again")
    if not count:
        raise ValueError(f"{path}: no alignment in this Stockholm file; bring one with at least one sequence")


def read_alignment(path: str | Path) -> Alignment:
    """The one alignment of a file, A3M or Stockholm, seen from its content.

    Raises:
        ValueError: as the readers, or a Stockholm file of several.
    """
    first = next((text for _, text in lines(path) if text.strip()), "")
    if not first.startswith("# STOCKHOLM"):
        return read_a3m(path)
    found = [*read_stockholm(path)]
    if len(found) > 1:
        names = ", ".join(alignment.name for alignment in found[:5])
        raise ValueError(f"{path}: {len(found)} alignments ({names} ...); take one out, up to its line '//'")
    return found[0]


class _Block:
    """One alignment of a Stockholm file while it is read."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        self.texts: dict[str, list[bytes]] = {}
        self.descriptions: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.reference = ""

    def add(self, text: str, number: int) -> None:
        words = text.split(None, 3)
        if words[0] == "#=GF" and len(words) > 2:
            self.names.setdefault(words[1], words[2])
        elif words[0] == "#=GS" and len(words) > 3 and words[2] == "DE":
            self.descriptions[words[1]] = words[3]
        elif words[0] == "#=GC" and len(words) > 2 and words[1] == "RF":
            self.reference += words[2]
        elif not text.startswith("#"):
            if len(words) != 2:
                raise ValueError(f"{self.path} line {number}: expected a name and its row, found {text[:40]!r}")
            name, row = words
            self.records.setdefault(name, Record(id=name, sequence=b"", source=str(self.path), line=number))
            self.texts.setdefault(name, []).append(_checked(row, self.path, number))

    def alignment(self, number: int) -> Alignment:
        if not self.records:
            raise ValueError(f"{self.path}: alignment {number} has no sequence")
        for name, record in self.records.items():
            record.description = self.descriptions.get(name, "")
        kept = [(record, b"".join(self.texts[name])) for name, record in self.records.items()]
        _check_widths([record for record, _ in kept], [text for _, text in kept], "columns")
        cells = np.stack([np.frombuffer(text, np.uint8) for _, text in kept])
        if self.reference and len(self.reference) != cells.shape[1]:
            width = cells.shape[1]
            raise ValueError(f"{self.path}: line '#=GC RF' marks {len(self.reference)} columns, the rows have {width}")
        marked = np.frombuffer(self.reference.encode("latin-1", errors="replace"), np.uint8)
        columns = ~np.isin(marked, [*_GAPS]) if self.reference else ((cells >= 65) & (cells <= 90)).any(0)
        _check_columns(cells[0, columns].tobytes(), self.path)
        aligned = [row.tobytes().upper() for row in cells[:, columns]]
        name = self.names.get("ID") or self.names.get("AC") or f"{Path(self.path).name.split('.')[0]}_{number}"
        return _alignment(name, kept, aligned)


def _checked(row: str, path: str | Path, number: int) -> bytes:
    for character in row:
        if not (character.isascii() and (character.isalpha() or character in ".-_~*")):
            raise ValueError(f"{path} line {number}: {character!r} stands in no row of an alignment")
    return row.encode("ascii")


def _check_widths(records: list[Record], rows: list[bytes], what: str) -> None:
    for record, row in zip(records, rows, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(f"{record.where()} has {len(row)} {what}, the first sequence {len(rows[0])}")


def _check_columns(row: bytes, path: str | Path) -> None:
    if not row:
        raise ValueError(f"{path}: the first sequence has no column in upper case; bring an alignment, or FASTA")


def _alignment(name: str, kept: list[tuple[Record, bytes]], aligned: list[bytes]) -> Alignment:
    for record, text in kept:
        record.sequence = text.translate(None, _GAPS).upper()
    rows = np.stack([np.frombuffer(row, np.uint8) for row in aligned])
    return Alignment(name=name, records=[r for r, _ in kept], rows=np.where(np.isin(rows, [*_GAPS]), GAP, rows))
