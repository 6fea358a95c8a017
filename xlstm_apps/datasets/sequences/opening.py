"""Bytes and lines of a file that may be compressed, in pieces, whatever ends its lines."""

import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..files import SAMPLES, open_stream, resolve

BLOCK = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"


def existing(path: str | Path) -> Path:
    """The file behind a path.

    Raises:
        ValueError: there is none, it is a folder, or it may not be read.
    """
    if str(path).startswith("sample:"):
        file = resolve(str(path))
        if file.name == SAMPLES["nyc-weather"]:
            raise ValueError(
                f"{path} is a table of weather; the samples of sequences are sample:ecoli-k12, "
                "sample:ecoli-or-bacillus, sample:ww-domains and sample:wehi-molecules"
            )
    else:
        file = Path(path).expanduser()
    if file.is_dir():
        raise ValueError(f"{path} is a folder; give the file inside it")
    if not file.exists():
        raise ValueError(f"{path}: no such file (the current folder is {Path.cwd()})")
    try:
        with file.open("rb") as f:
            begin = f.read(4)
    except OSError as e:
        raise ValueError(f"{path}: cannot be opened ({e.strerror or e})") from None
    if not begin:
        raise ValueError(f"{path}: the file is empty; bring one with at least one record")
    if begin == b"PK\x03\x04":
        raise ValueError(f"{path}: this is a zip archive; unpack it, or pack the file with gzip")
    if begin == b"\x28\xb5\x2f\xfd":
        raise ValueError(f"{path}: packed with zstd; unpack it with `zstd -d`, or pack the file with gzip")
    return file


def blocks(path: str | Path, size: int = BLOCK) -> Iterator[bytes]:
    """The content in pieces: unpacked (gzip, bgzip, bzip2, xz), without a byte order mark, lines ending in LF or CR LF.

    Raises:
        ValueError: not a readable text file, or its archive is damaged.
    """
    file = existing(path)
    try:
        with open_stream(file) as stream:
            first, old_mac = True, False
            while block := stream.read(size):
                if first:
                    block = _checked(block, file)
                    old_mac = b"\r" in block and b"\n" not in block
                    first = False
                yield block.replace(b"\r", b"\n") if old_mac else block
            if first:
                raise ValueError(f"{file}: the archived file is empty; bring one with at least one record")
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as e:
        raise ValueError(f"{file}: the archive is truncated or damaged ({e}); fetch it again") from None


def head(path: str | Path, size: int = 65536) -> bytes:
    """The first bytes of the content, as `blocks` gives it."""
    for block in blocks(path, size):
        return block
    raise AssertionError("blocks yields or raises")


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of every line, without its end; bytes that are not UTF-8 read as U+FFFD."""
    number, rest = 0, b""
    for block in blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            yield number, line.rstrip(b"\r").decode("utf-8", errors="replace")
    if rest:
        yield number + 1, rest.rstrip(b"\r").decode("utf-8", errors="replace")


def _checked(block: bytes, file: Path) -> bytes:
    """The first piece, without its mark.

    Raises:
        ValueError: it is UTF-16 or no text.
    """
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{file}: this is UTF-16 text; save it as plain text (ASCII or UTF-8)")
    if b"\0" in block:
        kind = "a BAM or BCF file" if block.startswith((b"BAM\1", b"BCF")) else "a binary file"
        raise ValueError(f"{file}: this is {kind}, not text; bring FASTA, FASTQ, GenBank or a table")
    if block.lstrip()[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{file}: this is a web page or XML; fetch the file itself")
    return block.removeprefix(_UTF8_MARK)
