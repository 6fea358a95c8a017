"""BCF, the binary form of VCF: the columns that name a variant, read as a stream (BCF 2.1 and 2.2, plain or bgzip)."""

import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..files import open_stream
from .opening import existing

_WIDTHS = {1: "<b", 2: "<h", 3: "<i"}
_CONTIG = re.compile(r"^##contig=<(.*)>\s*$")


def is_bcf(path: str | Path) -> bool:
    """Whether the file, unpacked, begins as BCF does.

    Raises:
        ValueError: it cannot be opened.
    """
    try:
        with open_stream(existing(path)) as stream:
            return stream.read(4) == b"BCF\2"
    except (EOFError, OSError, lzma.LZMAError, zlib.error):
        return False  # a damaged archive, which the reader of text tells about


def read_bcf(path: str | Path) -> Iterator[tuple[str, int, str, str, list[str]]]:
    """Contig, position from 1, name, REF and alternatives of every record.

    Raises:
        ValueError: the file is damaged or of another version; names the record.
    """
    number = 0
    try:
        with open_stream(existing(path)) as stream:
            magic = stream.read(5)
            if magic not in (b"BCF\2\1", b"BCF\2\2"):
                raise ValueError(f"{path}: BCF of a version that is not read; convert it with `bcftools view -Ov`")
            (size,) = struct.unpack("<I", _exactly(stream, 4))
            contigs = _contigs(_exactly(stream, size).rstrip(b"\0").decode("utf-8", errors="replace"))
            while sizes := stream.read(8):
                number += 1
                shared, individual = struct.unpack("<II", sizes)
                yield _record(_exactly(stream, shared), contigs)
                _exactly(stream, individual)
    except (EOFError, OSError, lzma.LZMAError, zlib.error, struct.error, KeyError, IndexError) as e:
        raise ValueError(
            f"{path} record {number}: the BCF file is truncated or damaged ({e}); fetch it again"
        ) from None


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("it ends too early")
    return content


def _contigs(header: str) -> dict[int, str]:
    """Names by number: their order in the header, or the IDX that a line gives."""
    out: dict[int, str] = {}
    for line in header.splitlines():
        found = _CONTIG.match(line)
        if found:
            fields = dict(re.findall(r'(\w+)=("[^"]*"|[^,]*)', found[1]))
            out[int(fields.get("IDX", len(out)))] = fields["ID"]
    return out


def _record(content: bytes, contigs: dict[int, str]) -> tuple[str, int, str, str, list[str]]:
    contig, position, _, _, alleles_and_info = struct.unpack_from("<iiifI", content)
    name, at = _text(content, 24)
    alleles = []
    for _ in range(alleles_and_info >> 16):
        allele, at = _text(content, at)
        alleles.append(allele)
    ref, *alts = alleles
    return contigs[contig], position + 1, name or ".", ref, alts or ["."]


def _text(content: bytes, at: int) -> tuple[str, int]:
    """A typed string and the place behind it: kind in the low four bits, length in the high ones, 15 for a longer one
    whose length follows as a typed number."""
    kind, size, at = content[at] & 15, content[at] >> 4, at + 1
    if size == 15:
        width = _WIDTHS[content[at] & 15]
        (size,) = struct.unpack_from(width, content, at + 1)
        at += 1 + struct.calcsize(width)
    if kind not in (0, 7) or at + size > len(content):
        raise IndexError("a string is expected")
    return content[at : at + size].decode("utf-8", errors="replace"), at + size
