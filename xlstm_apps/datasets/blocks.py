"""A file as frames of some rows each, so that it need not fit into memory."""

import codecs
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from .config import SeriesData
from .delimited import Origin, read_text
from .files import decode, open_stream
from .frames import plain

_CHARACTERS = 1 << 23
_ROWS = 1 << 18
_HEAD = 1 << 20
# Where unpacking streams keep the packed one: gzip, bzip2 and xz, zip.
_UNPACKERS = ("fileobj", "_fp", "_fileobj")


def is_parquet(file: Path) -> bool:
    """Whether the file says so by its name."""
    return file.suffix.lower() in (".parquet", ".pq")


def many_rows(file: Path, most: int) -> bool:
    """Whether a file has more than `most` rows, for text by the lengths of its first lines."""
    if is_parquet(file):
        try:
            return pl.scan_parquet(file).select(pl.len()).collect().item() > most
        except (pl.exceptions.PolarsError, OSError):
            return False  # reading it says what is wrong
    size = file.stat().st_size
    if size * 50 < most:  # no packed table has fifty rows to a byte
        return False
    try:
        with open_stream(file) as stream:
            head = stream.read(_HEAD)
            raw = next((r for r in (getattr(stream, n, None) for n in _UNPACKERS) if r is not None), stream)
            packed = raw.tell()
    except _DAMAGED:
        return False
    lines = head.count(b"\n") or head.count(b"\r")
    return len(head) == _HEAD and lines * size / packed > most


def blocks(file: Path, data: SeriesData) -> Iterator[tuple[pl.DataFrame, Origin]]:
    """Frames of consecutive rows with their origin, as `read_frame` would give them whole.

    Raises:
        ValueError: one line that names the file, the line and the mend.
    """
    return _parquet(file) if is_parquet(file) else _text(file, data)


_DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile)


def _parquet(file: Path) -> Iterator[tuple[pl.DataFrame, Origin]]:
    before = 0
    try:
        for frame in pl.scan_parquet(file).collect_batches(chunk_size=_ROWS, maintain_order=True):
            if frame.height:
                lines = np.arange(before, before + frame.height)
                yield plain(frame), Origin(file.name, lines=lines, unit="row")
                before += frame.height
    except (pl.exceptions.PolarsError, OSError) as e:
        raise ValueError(f"{file}: not a readable Parquet file ({str(e).splitlines()[0]})") from None
    if before == 0:
        raise ValueError(f"{file}: the table has no rows")


def _text(file: Path, data: SeriesData) -> Iterator[tuple[pl.DataFrame, Origin]]:
    names: list[str] | None = None
    separator, lines, rest = data.separator, 0, ""
    encoding, facts = _encoding(file, data), {}
    for text, last in _decoded(file, encoding):
        text = rest + text
        end = len(text) if last else _record_end(text)
        part, rest = text[:end], text[end:]
        if not part.strip() and (names is not None or not last):
            lines += part.count("\n")
            continue
        if names is None:
            frame, origin = read_text(part, file.name, separator, data.header)
            origin.facts["encoding"] = encoding
            names, separator, facts = frame.columns, origin.facts["mark"], origin.facts
        else:
            frame, origin = read_text(part, file.name, separator, None, names=names, lines_before=lines)
            origin.facts.update(facts)
        lines += part.count("\n")
        if frame.height:
            yield frame, origin


def _encoding(file: Path, data: SeriesData) -> str:
    """By the file's first part, without a character that it cuts."""
    try:
        with open_stream(file) as stream:
            head = stream.read(_HEAD)
    except _DAMAGED as e:
        raise ValueError(f"{file}: the archive is truncated or damaged ({e}); fetch it again") from None
    if not head:
        raise ValueError(f"{file}: the file is empty; bring a table with a header line and rows")
    if len(head) == _HEAD and head.rfind(b"\n") > 0 and data.encoding is None and 0 not in head:
        head = head[: head.rfind(b"\n") + 1]
    elif len(head) == _HEAD and data.encoding is not None:
        return data.encoding
    return "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else decode(head, file, data.encoding)[1]


def _decoded(file: Path, encoding: str) -> Iterator[tuple[str, bool]]:
    """Text in parts with `\\n` line ends, and whether each is the last."""
    decoder, held, read = codecs.getincrementaldecoder(encoding)(), "", 0
    try:
        with open_stream(file) as stream:
            while True:
                piece = stream.read(_CHARACTERS)
                text = held + decoder.decode(piece, final=not piece)
                held = "\r" if text.endswith("\r") and piece else ""  # its line feed may follow
                read += len(piece)
                yield text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n"), not piece
                if not piece:
                    return
    except UnicodeDecodeError as e:
        raise ValueError(
            f"{file}: near byte {read + e.start:,} is no {encoding} text; name the encoding with data.encoding "
            "(latin-1 reads any byte)"
        ) from None
    except _DAMAGED as e:
        raise ValueError(f"{file}: the archive is truncated or damaged ({e}); fetch it again") from None


def _record_end(text: str) -> int:
    """Where the last whole record ends: after a line feed outside quotes."""
    quotes, end = text.count('"'), len(text)
    while True:
        cut = text.rfind("\n", 0, end) + 1
        quotes -= text.count('"', cut, end)
        if quotes % 2 == 0 or cut == 0:
            return cut
        end = cut - 1
