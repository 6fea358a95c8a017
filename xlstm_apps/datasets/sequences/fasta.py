"""FASTA and FASTQ, streamed: one record in memory at a time, no Python loop over its symbols or lines."""

import re
from collections.abc import Iterator
from pathlib import Path

from .opening import blocks, lines
from .record import Record

_BLANKS = b" \t\r\n\v\f"
_PIR = re.compile(r"(?:P1|F1|D[LC]|R[LC]|N[13]|XX);")
_COMMENT = re.compile(rb"^;.*$", re.MULTILINE)


def read_fasta(path: str | Path) -> Iterator[Record]:
    """Records of a FASTA file, empty ones too. Lines that begin with `;` are comments.

    Raises:
        ValueError: text before the first header; a record of PIR; the file cannot be read.
    """
    source = str(path)
    line, parts, before = 0, [], True
    held = b"\n"  # so that the first header, too, follows a line end

    def record() -> Record:
        text = b"".join(parts)
        header, _, body = text.partition(b"\n")
        if b";" in body:
            body = _COMMENT.sub(b"", body)
        words = header.decode("utf-8", errors="replace").split(None, 1)
        if body.rstrip().endswith(b"*") and words and _PIR.match(words[0]):
            raise ValueError(
                f"{source} line {line}: {words[0]!r} looks like PIR, where the line below the header is no sequence; "
                "convert it to FASTA"
            )
        return Record(
            id=words[0] if words else "",
            sequence=body.translate(None, _BLANKS),
            description="".join(words[1:]),
            source=source,
            line=line,
        )

    def close() -> Iterator[Record]:
        nonlocal line, before
        if before:
            _check_preamble(b"".join(parts), source)
        else:
            yield record()
        line += sum(part.count(b"\n") for part in parts) + 1
        before = False

    for block in blocks(path):
        block = held + block
        held = b"\n" if block.endswith(b"\n") else b""  # a border may fall between a line end and the next header
        first, *headers = (block[:-1] if held else block).split(b"\n>")
        parts.append(first)
        for begin in headers:
            yield from close()
            parts = [begin]
    yield from close()


def _check_preamble(text: bytes, source: str) -> None:
    for number, content in enumerate(text.split(b"\n")[1:], 1):
        if content.strip() and not content.startswith(b";"):
            shown = content[:40].decode("utf-8", errors="replace").strip()
            raise ValueError(
                f"{source} line {number}: {shown!r} stands before the first header; a FASTA record begins with a line "
                "'>name'"
            )


def read_fastq(path: str | Path) -> Iterator[Record]:
    """Records of a FASTQ file of four lines each; the qualities are checked for length and not kept.

    Raises:
        ValueError: a record is not four lines, or its qualities are not as many as its symbols; names the line.
    """
    source, rows = str(path), lines(path)
    for number, header in rows:
        if not header.strip():
            continue  # between records; within one, a blank line is a read of no length
        if not header.startswith("@"):
            raise ValueError(f"{source} line {number}: a FASTQ record begins with '@name', found {header[:40]!r}")
        rest = [text for _, (_, text) in zip(range(3), rows, strict=False)]
        if len(rest) < 3 or not rest[1].startswith("+"):
            raise ValueError(
                f"{source} line {number}: a FASTQ record is four lines (@name, sequence, +, qualities); this one is "
                "cut short, or its sequence is broken over several lines"
            )
        sequence, _, quality = rest
        if len(quality.strip()) != len(sequence.strip()):
            raise ValueError(
                f"{source} line {number}: {len(sequence.strip())} symbols and {len(quality.strip())} qualities; fetch "
                "the file again"
            )
        words = header[1:].split(None, 1)
        yield Record(
            id=words[0] if words else "",
            sequence=sequence.strip().encode("utf-8"),
            description="".join(words[1:]),
            source=source,
            line=number,
        )
