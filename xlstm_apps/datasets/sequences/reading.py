"""A file of sequences, whatever its format, as a stream of records."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from ..molecules.reading import SDF_ENDINGS, SMI_ENDINGS, read_smi, sdf_records
from .alignment import read_a3m, read_stockholm
from .config import Format
from .fasta import read_fasta, read_fastq
from .genbank import read_genbank
from .opening import blocks, existing, head
from .record import Record
from .tabular import TableColumns, read_table

TABULAR = ("table", "sdf")
"""Formats with columns, or fields, beside the sequence."""


def read_records(
    path: str | Path, format: Format | None = None, columns: TableColumns | None = None
) -> Iterator[Record]:
    """Records of a file: FASTA, FASTQ, GenBank, EMBL, an alignment (A3M, Stockholm) without its gaps, or a table (CSV,
    TSV, Parquet) with a column of sequences; molecules as a list of SMILES or SDF; a text as a whole; plain or packed
    with gzip, bgzip, bzip2 or xz.

    Args:
        format: None: seen from the content.
        columns: which columns of a table to take; None: found by name.

    Raises:
        ValueError: the file is missing, empty, damaged or of another format.
    """
    chosen = format or sniff(path)
    if chosen not in get_args(Format):
        raise ValueError(f"no format {chosen!r}; there are {', '.join(get_args(Format))}")
    if columns is not None and chosen not in TABULAR:
        raise ValueError(f"{path}: columns are for tables, and this is {chosen}")
    if chosen == "table":
        return read_table(path, columns or TableColumns())
    if chosen == "sdf":
        return sdf_records(path, columns or TableColumns())
    if chosen == "smi":
        return read_smi(path)
    if chosen == "text":
        return read_text(path)
    if chosen in ("genbank", "embl"):
        return read_genbank(path, chosen)
    if chosen == "a3m":
        return iter(read_a3m(path).records)
    if chosen == "stockholm":
        return (record for alignment in read_stockholm(path) for record in alignment.records)
    return read_fasta(path) if chosen == "fasta" else read_fastq(path)


def read_text(path: str | Path) -> Iterator[Record]:
    """A text as one record, called after its file.

    Raises:
        ValueError: it is not UTF-8; names the line.
    """
    content = b"".join(blocks(path))
    try:
        content.decode()
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise ValueError(f"{path} line {line}: not UTF-8; save the text as UTF-8") from None
    yield Record(id=Path(path).name, sequence=content, source=str(path))


def sniff(path: str | Path, alphabet: str | None = None) -> Format:
    """The format, from the first line that is not blank.

    Args:
        alphabet: that of the sequences, where it is known: for `text` a file .txt without the header of a FASTA record
            is not searched for records.

    Raises:
        ValueError: none of those that are read; says what it looks like.
    """
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        return "table"
    text = head(path)
    named = existing(path) if str(path).startswith("sample:") else Path(path)
    endings = {suffix.lower() for suffix in named.suffixes[-2:]}
    if endings & {*SMI_ENDINGS, *SDF_ENDINGS} and text.strip():
        return "smi" if endings & {*SMI_ENDINGS} and b"M  END" not in text else "sdf"
    if {".csv", ".tsv"} & endings and text.strip():
        return "table"  # also of one column, which no separator gives away
    if alphabet == "text" and ".txt" in endings and text.strip() and not text.lstrip().startswith(b">"):
        return "text"
    rows = [line for line in text.splitlines() if line.strip()]
    first = rows[0] if rows else b""
    while first.startswith(b";") and len(rows) > 1:
        rows = rows[1:]
        first = rows[0]
    if first.startswith(b"# STOCKHOLM"):
        return "stockholm"
    if {".a3m", ".a2m"} & endings:
        return "a3m"
    if first.startswith((b">", b";")):
        return "fasta"
    if first.startswith(b"@") and not first.startswith((b"@HD", b"@SQ", b"@RG", b"@PG")):
        return "fastq"
    if first.startswith(b"LOCUS ") or b"\nLOCUS " in text:  # NCBI releases begin with a page of their own
        return "genbank"
    if first.startswith(b"ID   "):
        return "embl"
    for begin, what in {
        b"##fileformat=VCF": "a VCF file: variants beside a genome, not sequences",
        b"##gff": "a GFF file: regions beside a genome, not sequences",
        b"@": "a SAM file; convert it with `samtools fastq`",
        b"CLUSTAL": "a Clustal alignment; convert it to FASTA",
        b"#NEXUS": "a NEXUS file; convert it to FASTA",
    }.items():
        if first.startswith(begin):
            raise ValueError(f"{path}: this is {what}")
    if not rows:
        raise ValueError(f"{path}: the file holds nothing but white space; bring one with at least one record")
    if any(mark in first for mark in (b",", b"\t", b";")):
        return "table"
    shown = first[:40].decode("utf-8", errors="replace")
    raise ValueError(
        f"{path} line 1: {shown!r} stands before the first header; FASTA begins with '>name', FASTQ with '@name', "
        "GenBank with LOCUS, a table with the names of its columns; a list of SMILES needs data.format smi, a "
        "text of any other kind data.format text"
    )
