"""Files of molecules: lists of SMILES (.smi) and structure files (SDF), each record with its line."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from xlstm_apps.datasets.sequences.opening import lines
from xlstm_apps.datasets.sequences.record import Record
from xlstm_apps.datasets.sequences.tabular import TableColumns, frame_records, plain_name

from .chemistry import LONGEST, chemistry, quiet

SMI_ENDINGS = (".smi", ".smiles", ".ism", ".can", ".selfies")
SDF_ENDINGS = (".sdf", ".sd", ".mol")
_HEADERS = ("selfies", "smile", "smi", "structure", "molecule")
_LINE = re.compile(r'"([^"]*)"[\s,;]*(.*)|([^\s,;]*)[\s,;]*(.*)', re.DOTALL)
"""A first cell, in quotes or not, and what stands behind it."""
_EXTENSION = re.compile(r"(\|[^|]*\|)\s*(.*)", re.DOTALL)
_ALIAS = "molFileAlias"
_END = "M  END"
_MARKS = {"STEREO_AND": "&", "STEREO_OR": "o"}
_FIELD = re.compile(r">.*?<([^>]+)>")
_NO_STRUCTURES = {
    "$RXN": "a file of a reaction; bring its molecules as SDF",
    "$RDFILE": "an RD file; bring its molecules as SDF",
    "@<TRIPOS>": "a Mol2 file; convert it to SDF",
    "data_": "a CIF file; convert it to SDF",
    "HEADER ": "a PDB file; convert it to SDF",
}


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
        quoted, behind, plain, beside = _LINE.fullmatch(text).groups()  # pyright: ignore[reportOptionalMemberAccess]
        smiles, rest = (plain, beside.replace('"', "")) if quoted is None else (quoted, behind.replace('"', ""))
        head = re.split(r"[\t,;]", text)[0] if re.search(r"[\t,;]", text) else smiles  # "Canonical SMILES" is one
        if first and (smiles.lower() in _HEADERS or _names_smiles(head)):
            first = False
            continue
        if first and any(map(_names_smiles, re.split(r"[\s,;]+", rest)[:3])):
            raise ValueError(
                f"{path} line {number}: {text[:40]!r} names columns, and SMILES are not the first; set data.format to "
                "table, or call the file .tsv or .csv"
            )
        first = False
        extended = _EXTENSION.match(rest)
        extension, name = extended.groups() if extended else ("", rest)
        yield Record(
            id=name.split("\t", 1)[0].strip() or f"line_{number}",
            sequence=smiles.encode(),
            description=extension,
            source=str(path),
            line=number,
        )


def _names_smiles(text: str) -> bool:
    """Whether it is the name of a column, such as PUBCHEM_SMILES or "Canonical SMILES"."""
    words = plain_name(text).split("_")
    return len(words) < 4 and not {"smiles", "selfies"}.isdisjoint(words)


def sdf_records(path: str | Path, columns: TableColumns) -> Iterator[Record]:
    """Molecules of an SDF or MOL file, with what data fields say about them.

    Raises:
        ValueError: as `read_sdf`; a field that none of them has.
    """
    import polars as pl

    structures = list(read_sdf(path))
    if not structures:
        raise ValueError(f"{path}: there is no molecule in this file")
    names = dict.fromkeys(("id", *(name for found in structures for name in found.fields), "smiles"))
    rows = [{**found.fields, "id": found.id, "smiles": found.smiles} for found in structures]
    frame = pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})
    plain = {"sequence": columns.sequence or "smiles", "id": columns.id or "id"}
    records = frame_records(frame, replace(columns, **plain), path, [found.line for found in structures])
    for record, found in zip(records, structures, strict=True):
        if plain["sequence"] == "smiles":
            record.description = found.remark
        yield record


class Structure(NamedTuple):
    """A record of an SDF."""

    line: int
    """Where it begins."""
    id: str
    smiles: str
    """Empty where RDKit cannot read it at all."""
    remark: str
    """What the SMILES does not say, as an extension of ChemAxon; or why there is none."""
    fields: dict[str, str]


def read_sdf(path: str | Path) -> Iterator[Structure]:
    """Molecules of an SDF (V2000, V3000) or MOL file, with their data fields.

    What RDKit can read but not sanitise is written as it stands, so that the valence or aromaticity that is wrong can
    be told; a pattern of many, such as with a list of elements for one atom, is written as SMARTS.

    Raises:
        ValueError: RDKit is not installed; a record holds two structures; this is a file of another kind.
    """
    chemistry()
    for number, (begin, block) in enumerate(_blocks(path), 1):
        title = block[0].strip() if block else ""
        for word, what in _NO_STRUCTURES.items():
            if number == 1 and title.startswith(word):
                raise ValueError(f"{path}: this is {what}")
        ends = [
            i + 1
            for i, line in enumerate(takewhile(lambda line: not line.startswith(">"), block))
            if line.startswith(_END)
        ]
        if len(ends) > 1:
            raise ValueError(
                f"{path} line {begin + ends[1] - 1}: a second structure in one record; a line $$$$ parts them"
            )
        end = ends[0] if ends else len(block)
        smiles, remark = _written("\n".join(block[:end]) + "\n")
        yield Structure(begin, title or f"molecule_{number}", smiles, remark, _fields(block[end:]))


def _written(text: str) -> tuple[str, str]:
    """SMILES of a structure and the extension that belongs to it, or SMARTS where it leaves atoms or bonds open; `*` is
    a point to attach at. Nothing, and why, where it cannot be read."""
    Chem = chemistry()  # noqa: N806
    with quiet():
        mol = Chem.MolFromMolBlock(text) or Chem.MolFromMolBlock(text, sanitize=False)
        if mol is None:
            lacks = "the line 'M  END' is missing" if _END not in text else "see its counts line, atoms and bonds"
            return "", f"a structure that RDKit cannot read; {lacks}"
        if mol.GetNumAtoms() == 0:
            return "", "a structure without atoms"
        if mol.GetNumAtoms() > LONGEST:
            return "", f"{mol.GetNumAtoms():,} atoms; molecules have at most {LONGEST:,}"
        if any(bond.HasQuery() for bond in mol.GetBonds()) or any(
            atom.HasQuery() and atom.DescribeQuery().strip() != "AtomNull" for atom in mol.GetAtoms()
        ):
            return Chem.MolToSmarts(mol), ""
        return Chem.MolToSmiles(mol), _extension(mol)


def _extension(mol: Any) -> str:
    """What a SMILES does not say, as an extension of ChemAxon would: what atoms are called (alias lines, such as of a
    group that the atom stands for), and groups of stereo centres (V3000) that are a mixture, or not known."""
    names = [re.sub(r"[|$;\s]+", " ", atom.GetProp(_ALIAS)) if atom.HasProp(_ALIAS) else "" for atom in mol.GetAtoms()]
    kinds = [str(group.GetGroupType()) for group in mol.GetStereoGroups()]
    marks = [_MARKS[kind] for kind in kinds if kind in _MARKS]
    parts = [f"${';'.join(names)}$"] if any(names) else []
    parts += [f"{mark}{number}:" for number, mark in enumerate(marks, 1)]
    return f"|{','.join(parts)}|" if parts else ""


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
            name = head[1] if head[1] not in found else f"{head[1]}_duplicated_0"  # refused where it is asked for
            found[name] = ""
        elif name is not None and line.strip():
            found[name] = f"{found[name]}\n{line}".strip()
        else:
            name = None
    return {key: value for key, value in found.items() if key not in ("id", "smiles")}
