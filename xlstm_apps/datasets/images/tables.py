"""Images named in a table: a column of paths, and beside it classes, parts and groups."""

from __future__ import annotations

import codecs
import csv
import io
import math
import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from .config import ImageData, ImageSource, LabelledImages
from .record import ImageRecord, expanded, part_of

_PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "image_id")
_LABELS = ("label", "class", "class_name", "target", "category", "y")
_PARTS = ("part", "split", "set", "subset")
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")


def read_table(file: Path, data: ImageSource, labelled: bool) -> list[ImageRecord]:
    """Records of a CSV, TSV or Parquet table, one per row.

    Raises:
        ValueError: A column is missing, a cell is empty, or a part is none; names the line.
    """
    frame = _frame(file)
    names = frame.columns
    path = _column(file, names, data.path_column, _PATHS, "paths", "data.path_column")
    assert path is not None
    label = part = group = None
    if isinstance(data, LabelledImages):
        known = _LABELS if labelled else ()
        label = _column(file, names, data.label_column, known, "classes" if labelled else None, "data.label_column")
        part = _column(file, names, data.part_column, _PARTS, None, "data.part_column")
    if isinstance(data, ImageData):
        group = _column(file, names, data.group_column, (), None, "data.group_column")
    records = []
    wanted = list(dict.fromkeys(name for name in (path, label, part, group) if name is not None))
    for line, row in enumerate(frame.iter_rows(named=True), 2):
        if not any(map(_filled, row.values())):  # an empty line
            continue
        cells = {name: str(row[name]).strip() if _filled(row[name]) else "" for name in wanted}
        for name, what in ((path, "path"), (label, "class")):
            if name is not None and not cells[name]:
                raise ValueError(f"{file}: line {line}: no {what} in column {name!r}")
        where = expanded(cells[path])
        if "\\" in cells[path] and not os.path.exists(file.parent / where):  # a table made on Windows
            where = Path(cells[path].replace("\\", "/"))
        records.append(
            ImageRecord(
                id=cells[path],
                path=where if where.is_absolute() else file.parent / where,
                label=unicodedata.normalize("NFC", cells[label]) if label is not None else None,
                part=part_of(cells[part], f"{file}: line {line}") if part is not None and cells[part] else None,
                group=(cells[group] or None) if group is not None else None,
            )
        )
    if not records:
        raise ValueError(f"{file}: the table has no rows")
    return records


def _filled(value: Any) -> bool:
    """Whether a cell holds anything; NaN is how a column of numbers says that it does not."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _column(
    file: Path, names: list[str], given: str | None, known: tuple[str, ...], needed: str | None, option: str
) -> str | None:
    """The column that is meant; `needed` says what for, where there must be one."""
    if given is not None:
        if given not in names:
            raise ValueError(f"{file}: no column {given!r}; there are {', '.join(names[:12])}")
        return given
    lower = {name.lower().strip(): name for name in reversed(names)}
    found = next((lower[name] for name in known if name in lower), None)
    if found is None and needed is not None:
        raise ValueError(f"{file}: no column of {needed} found; name it with {option}, of {', '.join(names[:12])}")
    return found


def _frame(file: Path) -> Any:
    import polars as pl

    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(file)
        content = file.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            content = content.decode("utf-16").encode()
        if b"\n" not in content:
            content = content.replace(b"\r", b"\n")
        first = content.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace").rstrip("\r")
        separator = _separator(first)
        header = next(csv.reader([first], delimiter=separator), [])
        twice = [name for name, count in Counter(header).items() if name and count > 1]
        if twice:
            raise ValueError(f"{file}: {Counter(header)[twice[0]]} columns are called {twice[0]!r}; rename all but one")
        return pl.read_csv(content, separator=separator, infer_schema=False)  # a class such as 007 stays one
    except UnicodeDecodeError:
        raise ValueError(f"{file}: begins like UTF-16, but is not; save the table as UTF-8") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(_unreadable(file, str(error).splitlines()[0])) from None


def _unreadable(file: Path, reason: str) -> str:
    """Why a table cannot be read, with the line where it is a line of text that is too long."""
    try:
        text = file.read_text(encoding="utf-8-sig") if file.suffix.lower() not in (".parquet", ".pq") else ""
    except UnicodeDecodeError as error:
        return f"{file}: byte {error.start:,} is not UTF-8; save the table as UTF-8"
    except OSError:
        text = ""
    first = text.split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text), delimiter=_separator(first))
    header = next(rows, [])
    for row in rows:
        if len(row) > len(header):
            return f"{file}: line {rows.line_num} has {len(row)} cells, and there are {len(header)} columns"
    return f"{file}: not readable as a table: {reason}"


def _separator(line: str) -> str:
    return max((",", "\t", ";"), key=line.count)
