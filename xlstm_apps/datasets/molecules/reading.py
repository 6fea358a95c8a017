"""Files of molecules: lists of SMILES (.smi) and structure files (SDF), each record with its line."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from xlstm_apps.datasets.sequences.opening import lines
from xlstm_apps.datasets.sequences.record import Record
from xlstm_apps.datasets.sequences.tabular import TableColumns, frame_records

from .chemistry import LONGEST, chemistry, quiet

SMI_ENDINGS = (".smi", ".smiles", ".ism", ".can", ".selfies")
SDF_ENDINGS = (".sdf", ".sd", ".mol")
_HEADERS = ("smiles", "selfies", "canonical_smiles", "isomeric_smiles", "smile", "structure", "molecule")
_EXTENSION = re.compile(r"(\|[^|]*\|)\s*(.*)", re.DOTALL)
_MARKS = {"STEREO_AND": "&", "STEREO_OR": "o"}
_FIELD = re.compile(r">.*?<([^>]+)>")


def read_smi(path: str | Path) -> Iterator[Record]:
    """Molecules of a list, one a line: SMILES, then a name, parted by white space, comma or semicolon.

    A first line that names columns, lines that begin with `#` and blank ones are no molecules; ChemAxon extensions
    between bars become the description. A molecule without a name is called after its line.
    """
    first = True
    for number, text in lines(path):
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        smiles, *rest = re.split(r"[\s,;]+", text.replace('"', ""), maxsplit=1)
        if first and smiles.lower() in _HEADERS:
            first = False
            continue
        if first and any(word.lower() in _HEADERS for word in re.split(r"[\s,;]+", "".join(rest))[:3]):
            raise ValueError(
                f"{path} line {number}: {text[:40]!r} names columns, and SMILES are not the first; set data.format to "
                "table, or call the file .tsv or .csv"
            )
        first = False
        extended = _EXTENSION.match("".join(rest))
        extension, name = extended.groups() if extended else ("", "".join(rest))
        yield Record(
            id=name.split("\t", 1)[0].strip() or f"line_{number}",
            sequence=smiles.encode(),
            description=extension,
            source=str(path),
            line=number,
        )


def sdf_records(path: str | Path, columns: TableColumns) -> Iterator[Record]:
    """Molecules of an SDF or MOL file, with what data fields say about them.

    Raises:
        ValueError: as `read_sdf`; a field that none of them has.
    """
    import polars as pl

    rows, begins = read_sdf(path)
    if not rows:
        raise ValueError(f"{path}: there is no molecule in this file")
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})
    plain = {"sequence": columns.sequence or "smiles", "id": columns.id or "id"}
    for record in frame_records(frame, replace(columns, **plain), path, begins):
        if plain["sequence"] == "smiles":
            smiles, _, extension = record.sequence.partition(b" ")
            record.sequence, record.description = smiles, extension.decode()
        yield record


def read_sdf(path: str | Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Molecules of an SDF (V2000, V3000) or MOL file as rows `id`, `smiles` and their data fields; and the line each
    begins at.

    What RDKit cannot read at all has an empty SMILES; what it can read but not sanitise is written as it stands, so
    that the valence or aromaticity that is wrong can be told; a pattern of many, such as with a list of elements for
    one atom, is written as SMARTS.

    Raises:
        ValueError: RDKit is not installed; a record holds two structures.
    """
    Chem = chemistry()  # noqa: N806
    rows: list[dict[str, Any]] = []
    begins: list[int] = []
    for number, (begin, block) in enumerate(_blocks(path), 1):
        title = block[0].strip() if block else ""
        ends = [
            i + 1
            for i, line in enumerate(takewhile(lambda line: not line.startswith(">"), block))
            if line.startswith("M  END")
        ]
        if len(ends) > 1:
            raise ValueError(
                f"{path} line {begin + ends[1] - 1}: a second structure in one record; a line $$$$ parts them"
            )
        end = ends[0] if ends else len(block)
        with quiet():
            text = "\n".join(block[:end]) + "\n"
            mol = Chem.MolFromMolBlock(text) or Chem.MolFromMolBlock(text, sanitize=False)
            smiles = "" if mol is None or mol.GetNumAtoms() > LONGEST else _written(mol)
        rows.append({"id": title or f"molecule_{number}", **_fields(block[end:]), "smiles": smiles})
        begins.append(begin)
    return rows, begins


def _written(mol: Any) -> str:
    """SMILES of a structure, or SMARTS where it leaves atoms or bonds open; `*` is a point to attach at."""
    open_atom = any(atom.HasQuery() and atom.GetAtomicNum() for atom in mol.GetAtoms())
    if open_atom or any(bond.HasQuery() for bond in mol.GetBonds()):
        return chemistry().MolToSmarts(mol)
    return chemistry().MolToSmiles(mol) + _groups(mol)


def _groups(mol: Any) -> str:
    """Groups of stereo centres (V3000) that are a mixture, or not known, as an extension would name them."""
    kinds = [str(group.GetGroupType()) for group in mol.GetStereoGroups()]
    marks = [_MARKS[kind] for kind in kinds if kind in _MARKS]
    return f" |{','.join(f'{mark}{number}:' for number, mark in enumerate(marks, 1))}|" if marks else ""


def _blocks(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """First line and lines of every record; what stands behind the last `$$$$` is a record if it is not blank."""
    begin, block = 1, []
    for number, line in lines(path):
        if line.startswith("$$$$"):
            yield begin, block
            begin, block = number + 1, []
        else:
            block.append(line)
    if any(line.strip() for line in block):
        yield begin, block


def _fields(block: list[str]) -> dict[str, str]:
    """Data fields of a record: the name in angle brackets, the value in the lines below it."""
    found: dict[str, str] = {}
    name = None
    for line in block:
        head = _FIELD.match(line)
        if head:
            name = head[1]
            found[name] = ""
        elif name is not None and line.strip():
            found[name] = f"{found[name]}\n{line}".strip()
        else:
            name = None
    return {key: value for key, value in found.items() if key not in ("id", "smiles")}
