"""VCF out: the lines of a file as they were, with values per alternative allele added to INFO; plain or bgzip."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .bcf import is_bcf
from .opening import BGZF_END, lines
from .variants import line_variants, read_variants

Values = Mapping[str, str]
_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
# The most bytes that, packed or stored, surely fit the 16 bits of a block's size (SAM specification, 4.1).
_BLOCK = 0xFF00


def annotated(path: str | Path, values: Iterable[Values], header: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Lines of a VCF file with INFO entries added, one value per alternative allele. Entries of the same names that
    were there are replaced. Of a BCF file only the sites are written, without samples and other INFO.

    Args:
        path: VCF or BCF.
        values: For every allele, in the order of the file, its value by name; one that lacks a name gets `.`.
        header: Type and description by name.

    Raises:
        ValueError: as `read_variants`.
    """
    stream = iter(values)
    if is_bcf(path):
        yield "##fileformat=VCFv4.2"
        yield from _described(header)
        yield "\t".join(_COLUMNS)
        yield from _sites(path, stream, header)
        return
    told = False
    for number, text in lines(path):
        if text.startswith("##"):
            if not any(text.startswith(f"##INFO=<ID={name},") for name in header):
                yield text
            continue
        if not text.strip():
            continue
        if text.startswith("#"):
            if text.startswith("#CHROM") and not told:
                yield from _described(header)
                told, cells = True, text.split()
                yield "\t".join([*cells, *_COLUMNS[len(cells) :]])
            continue
        if not told:
            yield "##fileformat=VCFv4.2"
            yield from _described(header)
            yield "\t".join(_COLUMNS)
            told = True
        cells = text.split("\t") if "\t" in text else text.split()
        cells += ["."] * (8 - len(cells))
        found = [next(stream) for _ in line_variants(text, number, path)]
        kept = [entry for entry in cells[7].split(";") if entry not in ("", ".") and entry.split("=")[0] not in header]
        cells[7] = ";".join([*kept, *_entries(found, header)]) or "."
        yield "\t".join(cells)


def _described(header: Mapping[str, tuple[str, str]]) -> list[str]:
    return [
        f'##INFO=<ID={name},Number=A,Type={kind},Description="{text}">' for name, (kind, text) in header.items()
    ]  # fmt: skip


def _entries(found: list[Values], header: Mapping[str, tuple[str, str]]) -> list[str]:
    return [
        f"{name}={','.join(value.get(name, '.') for value in found)}"
        for name in header
        if any(name in value for value in found)
    ]


def _sites(path: str | Path, stream: Iterator[Values], header: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    row: list = []
    for variant in read_variants(path):
        if row and variant.line != row[0].line:
            yield _site(row, stream, header)
            row = []
        row.append(variant)
    if row:
        yield _site(row, stream, header)


def _site(row: list, stream: Iterator[Values], header: Mapping[str, tuple[str, str]]) -> str:
    first, found = row[0], [next(stream) for _ in row]
    cells = (first.contig, str(first.start + 1), first.id or ".", first.ref, ",".join(v.alt for v in row), ".", ".")
    return "\t".join([*cells, ";".join(_entries(found, header)) or "."])


def write_lines(path: str | Path, text: Iterable[str], *, packed: bool) -> None:
    """Write lines, packed as bgzip does, so that an index can be made of the file.

    Args:
        packed: False: plain text.
    """
    with Path(path).open("wb") as file:
        rest = bytearray()
        for line in text:
            rest += line.encode() + b"\n"
            while len(rest) >= _BLOCK:
                file.write(_packed(bytes(rest[:_BLOCK])) if packed else rest[:_BLOCK])
                del rest[:_BLOCK]
        if rest:
            file.write(_packed(bytes(rest)) if packed else rest)
        if packed:
            file.write(BGZF_END)


def _packed(block: bytes) -> bytes:
    """A block of BGZF: gzip with its own size in an extra field."""
    for level in (6, 0):
        deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
        body = deflate.compress(block) + deflate.flush()
        if len(body) + 26 <= 0x10000:
            break
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(block), len(block))
