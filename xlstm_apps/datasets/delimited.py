"""Delimited text to a frame of text columns: separator, header, comments, ragged lines, and where each row stood.

Cells stay text here. What they mean is decided column by column later, with the line number of every cell at hand.
"""

import difflib
import io
import json
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

_QUOTE, _NEWLINE, _RETURN = ord('"'), ord("\n"), ord("\r")
_SEPARATORS = ";\t|,"
_NUMBER = re.compile(r"\s*[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?\s*$|\s*(nan|na|null|inf|-inf|)\s*$", re.IGNORECASE)
_STAMP = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?$|\s*\d{4}-\d{2}$|\s*\d{1,2}:\d{2}(:\d{2})?$")


@dataclass
class Origin:
    """Where rows and columns came from, for messages that a person can act on."""

    name: str
    lines: np.ndarray | None = None
    """Line in the file of every row; None for frames and Parquet, where rows are numbered from 0."""
    unit: str = "line"
    numbered: str | None = None
    """`line` or `row`, where rows are handed over by that number already; `lines` is None then."""
    from_file: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    """What was found on the way (separator, encoding, ...), for the report."""

    def where(self, row: int) -> str:
        if self.numbered is not None:
            return f"{self.name} {self.numbered} {row}"
        return f"{self.name} row {row}" if self.lines is None else f"{self.name} {self.unit} {self.lines[row]}"

    def cell(self, row: int, column: str | None) -> str:
        return f"{self.where(row)}, column {column!r}"

    def column(self, name: str) -> str:
        return f"{self.name}, column {name!r}"

    def only(self, rows: np.ndarray) -> "Origin":
        """The origin of some of the rows."""
        if self.lines is None:
            return replace(self, lines=rows, unit=self.numbered or "row", numbered=None)
        return replace(self, lines=self.lines[rows])

    def option(self, name: str, value: Any) -> str:
        """How the user sets an option: on the command line for a file, as an argument for a frame."""
        if not self.from_file:
            return f"{name}={value!r}"
        text = f"[{', '.join(_yaml(v) for v in value)}]" if isinstance(value, list) else str(value)
        return f"--data.{name} {shlex.quote(text)}"


def _yaml(value: Any) -> str:
    """A list item as the command line reads it: only plain words go without quotes."""
    if isinstance(value, float):
        return f"{value:g}".replace("inf", ".inf")
    plain = re.fullmatch(r"[A-Za-z][\w ]*", str(value))
    words = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none")
    return str(value) if plain and str(value).lower() not in words else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class _Records:
    """The lines that hold cells: byte ranges, line numbers and cell counts."""

    begin: np.ndarray
    end: np.ndarray
    line: np.ndarray
    cells: np.ndarray
    comments: int
    """Lines behind the first of them that were left out, since they begin with #."""
    like_rows: np.ndarray
    """Those that have as many cells as it."""


def read_text(
    text: str,
    name: str,
    separator: str | None,
    header: bool | None,
    *,
    names: list[str] | None = None,
    lines_before: int = 0,
) -> tuple[pl.DataFrame, Origin]:
    """Split text into columns of text.

    Args:
        name: the file, for messages.
        separator: one character; None to detect it.
        header: whether the first record names the columns; None to look.
        names: of the columns, where the text is a later part of a table whose header has been read.
        lines_before: how many lines of the table come before such a part.

    Raises:
        ValueError: no rows, a line with another number of cells, a quote that never closes, columns of the same name.
    """
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    facts: dict[str, Any] = {}
    if data.lower().startswith(b"sep=") and separator is None:  # Excel's own hint
        separator = chr(data[4])
        data = b"#" + data
    if separator is None:
        separator = _detect_separator(data, name)
    facts["mark"] = separator
    if separator == " ":
        data, separator = _tabbed(data), "\t"
    facts["separator"] = {"\t": "tab"}.get(separator, separator)
    records = _scan(data, separator, name, lines_before)
    facts["comments"] = records.comments
    if len(records.like_rows) > 0.2 * (len(records.like_rows) + len(records.line)):
        raise ValueError(
            f"{name} line {records.like_rows[0]}: {len(records.like_rows):,} lines among the rows begin with #, which "
            "marks comments; if names begin so, put them in quotes or write them without"
        )
    if names is not None:
        frame = _frame(data, records, 0, list(names), separator, name)
        return frame, Origin(name, lines=records.line, facts=facts)
    if len(records.begin) == 0:
        raise ValueError(f"{name}: no lines with cells in it; bring a table with a header line and rows")
    first = _cells(data, records, 0, separator)
    if header is None:
        header = not all(_NUMBER.match(c) or _STAMP.match(c) for c in first) or not any(c.strip() for c in first)
    commented = [] if header else _commented_header(data[: records.begin[0]], separator, len(first))
    facts["header"] = header or bool(commented)
    names = _names(first, name) if header else commented or [f"column_{i + 1}" for i in range(len(first))]
    start = 1 if header else 0
    if len(records.begin) == start:
        raise ValueError(f"{name}: a header line and no rows; bring rows of data")
    frame = _frame(data, records, start, names, separator, name)
    return frame, Origin(name, lines=records.line[start:], facts=facts)


def _frame(data: bytes, records: _Records, start: int, names: list[str], separator: str, name: str) -> pl.DataFrame:
    """The records from `start` on as columns of text."""
    if len(records.begin) == start:
        return pl.DataFrame({n: pl.Series(dtype=pl.String) for n in names})
    _check_cells(records, start, len(names), data, separator, name)
    width = int(records.cells[start:].max())
    names += [f"__trailing_{i}" for i in range(width - len(names))]
    frame = pl.read_csv(
        _body(data, records, start),
        has_header=False,
        new_columns=names,
        separator=separator,
        quote_char='"',
        infer_schema=False,
        truncate_ragged_lines=False,
        encoding="utf8",
    )
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    return frame.drop([c for c in frame.columns if c.startswith("__trailing_")])


def _scan(data: bytes, separator: str, name: str, lines_before: int = 0) -> _Records:
    """Find records without splitting them: a newline counts outside quotes, after an even number of them."""
    raw = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", dtype=np.uint8)
    newline = np.flatnonzero(raw == _NEWLINE)
    mark = np.flatnonzero(raw == ord(separator))
    breaks = newline
    if b'"' in data:
        # uint8 sums wrap at 256, which keeps their parity.
        quoted = (np.cumsum(raw == _QUOTE, dtype=np.uint8) & 1).astype(bool)
        breaks, mark = newline[~quoted[newline]], mark[~quoted[mark]]
        if quoted[-1]:
            opened = int(np.flatnonzero(raw == _QUOTE)[-1])
            line = int(np.searchsorted(newline, opened)) + 1 + lines_before
            raise ValueError(f"{name} line {line}: a quote opens and never closes; close it or remove it")
    begin = np.concatenate([[0], breaks[:-1] + 1])
    cells = np.searchsorted(mark, breaks) - np.searchsorted(mark, begin) + 1
    line = np.searchsorted(newline, begin) + 1 + lines_before
    # Blank lines, lines of separators alone, and comments hold no cells.
    empty = np.frombuffer(b' \t\n\r"\x1a' + separator.encode(), dtype=np.uint8)
    comment = raw[begin] == ord("#")
    keep = ~comment
    suspects = np.flatnonzero(np.isin(raw[begin], empty))
    if len(suspects):
        inked = np.cumsum(~np.isin(raw, empty), dtype=np.int64)
        before = np.where(begin[suspects] > 0, inked[begin[suspects] - 1], 0)
        keep[suspects[inked[breaks[suspects]] == before]] = False
    first = int(keep.argmax()) if keep.any() else len(keep) - 1
    comment[:first] = False
    like_rows = line[comment & (cells == cells[first])]
    return _Records(begin[keep], breaks[keep], line[keep], cells[keep], int(comment.sum()), like_rows)


def _body(data: bytes, records: _Records, start: int) -> io.BytesIO:
    """The records from `start` on, without the lines between them that hold none."""
    begin, end = records.begin[start:], records.end[start:]
    if len(begin) < 2 or (begin[1:] == end[:-1] + 1).all():
        return io.BytesIO(data[begin[0] : end[-1] + 1])
    jumps = np.flatnonzero(begin[1:] != end[:-1] + 1) + 1
    runs = zip(begin[np.concatenate([[0], jumps])], end[np.concatenate([jumps - 1, [len(end) - 1]])], strict=True)
    return io.BytesIO(b"".join(data[a:b] + b"\n" for a, b in runs))


def _cells(data: bytes, records: _Records, index: int, separator: str) -> list[str]:
    line = data[records.begin[index] : records.end[index]].decode()
    cells = pl.read_csv(
        io.BytesIO(line.encode() + b"\n"), has_header=False, separator=separator, infer_schema=False, quote_char='"'
    )
    return [c or "" for c in cells.row(0)]


def _commented_header(above: bytes, separator: str, width: int) -> list[str]:
    """Names in the comment right above the first row, if it has as many cells."""
    last = above.rstrip().split(b"\n")[-1].decode()
    cells = [c.strip() for c in last.lstrip("# ").split(separator)]
    return cells if last.startswith("#") and len(cells) == width > 1 and all(cells) and len(set(cells)) == width else []


def _names(first: list[str], name: str) -> list[str]:
    names = [" ".join(c.split()) for c in first]
    while len(names) > 1 and not names[-1]:  # a trailing separator
        names.pop()
    # Unnamed columns get a number; pandas writes its index under an empty name.
    names = [c or f"unnamed_{i + 1}" for i, c in enumerate(names)]
    for i, column in enumerate(names):
        if column in names[:i]:
            raise ValueError(
                f"{name}: columns {names.index(column) + 1} and {i + 1} are both named {column!r}; rename one of them"
            )
    return names


def _check_cells(records: _Records, start: int, width: int, data: bytes, separator: str, name: str) -> None:
    cells = records.cells[start:]
    wrong = np.flatnonzero(cells != width)
    if len(wrong) == 0:
        return
    if (cells[wrong] > width).all():
        # Cells beyond the header are fine when they are empty: a trailing separator.
        extra = [i for i in wrong if any(c.strip() for c in _cells(data, records, start + i, separator)[width:])]
        if not extra:
            return
        wrong = np.asarray(extra)
    row = int(wrong[0])
    what = f"{name} line {records.line[start + row]}: {cells[row]} cells, but the header has {width}"
    if len(wrong) == len(cells) and (cells == cells[0]).all():
        above = " remove the lines above it if they are a title," if width == 1 else ""
        raise ValueError(f"{what}, as in all lines;{above} name every column in the header, or set data.separator")
    if start + row == len(records.begin) - 1 and cells[row] < width:
        raise ValueError(f"{what}: the last line is cut short; remove it or fetch the file again")
    more = f" ({len(wrong)} such lines)" if len(wrong) > 1 else ""
    if len(wrong) == len(cells) - row and (cells[row:] == cells[row]).all():
        raise ValueError(f"{what}, as in all lines after it; if the table begins there, remove the lines above")
    raise ValueError(f"{what}{more}; mend the line, or set data.separator if it was read wrongly as {separator!r}")


def _detect_separator(data: bytes, name: str) -> str:
    """The character that splits the first lines most alike, and of those the one that makes the most cells."""
    head = data[:65536]
    if len(data) > len(head):
        head = head[: head.rfind(b"\n") + 1] or head
    best, best_score = " " if _aligned(head) else ",", (0.0, 0)
    for candidate in _SEPARATORS:
        try:
            cells = _scan(head, candidate, "").cells[:50]
        except ValueError:  # a quoted cell reaches beyond the head
            cells = _scan(head[: head.rfind(b'"')] + b'"', candidate, name).cells[:50]
        if len(cells) == 0 or cells[0] < 2:
            continue
        score = (float((cells == cells[0]).mean()), int(cells[0]))
        if score > best_score:
            best, best_score = candidate, score
    return best


def _aligned(head: bytes) -> bool:
    """Whether spaces alone separate the cells: every line has as many words, two or more."""
    words = [len(line.split()) for line in head.split(b"\n") if line.strip() and not line.startswith(b"#")]
    return b'"' not in head and len(words) > 0 and words[0] > 1 and len(set(words)) == 1


def _tabbed(data: bytes) -> bytes:
    return b"\n".join(b"\t".join(line.split()) for line in data.split(b"\n"))


def suggest(wrong: str, columns: list[str]) -> str:
    """`the columns are a, b, c` with the likeliest first, for a column name that does not exist."""
    near = difflib.get_close_matches(wrong, columns, n=1, cutoff=0.6)
    near = near or [c for c in columns if c.lower() == wrong.lower()]
    listed = ", ".join(columns[:12]) + (f", ... ({len(columns)} in all)" if len(columns) > 12 else "")
    return f"did you mean {near[0]!r}? The columns are {listed}" if near else f"the columns are {listed}"
