"""Bytes and lines of a file that may be compressed, in pieces, whatever ends its lines."""

import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..files import SAMPLES, open_stream, resolve

BLOCK = 1 << 20
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that closes a file of bgzip."""
_UTF8_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r+\n|\r")
_NOT_READ = {
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it with `zstd -d`, or pack the file with gzip",
    b"\x1f\x9d": "packed with compress; unpack it with `uncompress`, or pack the file with gzip",
    b"7z\xbc\xaf": "this is a 7z archive; unpack it, or pack the file with gzip",
    b"Rar!": "this is a RAR archive; unpack it, or pack the file with gzip",
}


def existing(path: str | Path) -> Path:
    """The file behind a path.

    Raises:
        ValueError: there is none, it is a folder or a pipe, it may not be read, or bgzip has not closed it.
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
    if not file.is_file():
        raise ValueError(f"{path}: a pipe or device, and files are read more than once; write it to a file first")
    try:
        with file.open("rb") as f:
            begin = f.read(18)
            f.seek(max(0, file.stat().st_size - len(BGZF_END)))
            end = f.read()
    except OSError as e:
        raise ValueError(f"{path}: cannot be opened ({e.strerror or e})") from None
    if not begin:
        raise ValueError(f"{path}: the file is empty; bring one with at least one record")
    if begin.startswith(b"PK\x03\x04"):
        spreadsheet = file.suffix.lower() in (".xlsx", ".xlsm", ".ods")
        what = (
            "a spreadsheet; save it as CSV" if spreadsheet else "a zip archive; unpack it, or pack the file with gzip"
        )
        raise ValueError(f"{path}: this is {what}")
    for magic, what in _NOT_READ.items():
        if begin.startswith(magic):
            raise ValueError(f"{path}: {what}")
    if begin.startswith(b"\x1f\x8b\x08\x04") and begin[12:14] == b"BC" and end != BGZF_END:
        raise ValueError(
            f"{path}: the block that ends a file of bgzip is missing, so it may be cut short; fetch it again, or, if "
            f"it is whole, pack it anew: gunzip -c {path} | bgzip > NEW"
        )
    return file


def blocks(path: str | Path, size: int = BLOCK) -> Iterator[bytes]:
    """The content in pieces: unpacked (gzip, bgzip, bzip2, xz), without a byte order mark, lines ending in LF.

    Raises:
        ValueError: not a readable text file, or its archive is damaged.
    """
    file = existing(path)
    try:
        with open_stream(file) as stream:
            first, held = True, b""
            while block := stream.read(size):
                if first:
                    block = _checked(block, file)
                    first = False
                block = held + block
                held = block[len(block.rstrip(b"\r")) :]  # a line end may go on in the next piece
                block = block.removesuffix(held).replace(b"\r\n", b"\n")
                if b"\r" in block:  # of an old Mac, alone or among others
                    block = _LINE_END.sub(b"\n", block)
                if block:
                    yield block
            if held:
                yield b"\n"
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
            yield number, line.decode("utf-8", errors="replace")
    if rest:
        yield number + 1, rest.decode("utf-8", errors="replace")


def _checked(block: bytes, file: Path) -> bytes:
    """The first piece, without its mark.

    Raises:
        ValueError: it is UTF-16 or no text.
    """
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{file}: this is UTF-16 text; save it as plain text (ASCII or UTF-8)")
    if block.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        raise ValueError(f"{file}: packed twice; unpack it once")
    if block[257:262] == b"ustar":
        raise ValueError(f"{file}: this is a tar archive; unpack it, and give the files inside")
    if b"\0" in block:
        kind = "a BAM or BCF file" if block.startswith((b"BAM\1", b"BCF")) else "a binary file"
        raise ValueError(f"{file}: this is {kind}, not text; bring FASTA, FASTQ, GenBank or a table")
    if block.lstrip()[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{file}: this is a web page or XML; fetch the file itself")
    return block.removeprefix(_UTF8_MARK)
