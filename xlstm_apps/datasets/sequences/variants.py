"""Variants of a VCF or BCF file, one per alternative allele, checked against the genome: every row gets a status."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from .bcf import is_bcf, read_bcf
from .codes import Codes
from .corpus import Corpus
from .opening import lines

Status = Literal[
    "ok", "ref_mismatch", "unknown_contig", "beyond_contig", "ambiguous", "symbolic", "overlapping", "no_change", "bad"
]
_COLUMNS = "CHROM, POS, ID, REF, ALT"


@dataclass(slots=True, kw_only=True)
class Variant:
    """One alternative allele."""

    contig: str
    start: int
    """Place of the first base of `ref`, from 0; the file counts from 1, and calls the telomere before it 0."""
    ref: str
    alt: str
    id: str = ""
    allele: int = 1
    """Number of the alternative in its line, from 1."""
    line: int = 0
    """Line of the file, from 1; in BCF the number of the record."""
    status: Status = "ok"
    """`ambiguous`: N among what changes; `symbolic`: <DEL>, breakends; `overlapping`: `*`; `no_change`: ALT is `.` or
    REF; `bad`: other characters."""

    @property
    def kind(self) -> str:
        """`snv`, `mnv`, `insertion`, `deletion` or `delins`, of the normalised alleles; else the status."""
        if self.status not in ("ok", "ref_mismatch"):
            return self.status
        if len(self.ref) == len(self.alt):
            return "snv" if len(self.ref) == 1 else "mnv"
        short, long = sorted((self.ref, self.alt), key=len)
        if not long.startswith(short) and not long.endswith(short):  # the latter where nothing stands to the left
            return "delins"
        return "insertion" if short == self.ref else "deletion"


def read_variants(path: str | Path) -> Iterator[Variant]:
    """Alleles of a VCF file, plain or packed, or of a BCF file, in its order; lines with several give several.

    Raises:
        ValueError: a line is not of VCF, names it; the file is damaged.
    """
    if is_bcf(path):
        for number, row in enumerate(read_bcf(path), 1):
            yield from _alleles(*row, number)
        return
    found = False
    for number, text in lines(path):
        if not text.strip() or text.startswith("#"):
            found = found or text.startswith("#CHROM")
            continue
        yield from line_variants(text, number, path)
        found = True
    if not found:
        raise ValueError(f"{path}: no variant and no line '#CHROM ...'; is it a VCF file?")


def line_variants(text: str, number: int, path: str | Path) -> list[Variant]:
    """Alleles of one line of VCF.

    Raises:
        ValueError: it is none; names file and line.
    """
    cells = text.split("\t") if "\t" in text else text.split()
    if len(cells) < 5:
        raise ValueError(f"{path} line {number}: {len(cells)} columns; a VCF line begins with {_COLUMNS}")
    contig, position, name, ref, alts = cells[:5]
    if not (position.isascii() and position.isdigit()):
        raise ValueError(f"{path} line {number}: position {position!r} is no whole number")
    return _alleles(contig, int(position), name, ref, alts.split(","), number)


def _alleles(contig: str, position: int, name: str, ref: str, alts: list[str], number: int) -> list[Variant]:
    return [
        Variant(
            contig=contig,
            start=position - 1,
            ref=ref.upper(),
            alt=alt.upper() if alt.isalpha() else alt,
            id="" if name == "." else name,
            allele=allele,
            line=number,
            status=_status(ref.upper(), alt.upper()),
        )
        for allele, alt in enumerate(alts, 1)
    ]


def _status(ref: str, alt: str) -> Status:
    if alt == "*":
        return "overlapping"
    if alt in (".", "") or alt == ref:
        return "no_change"
    if alt.startswith("<") or "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return "symbolic"
    return "ok" if set(ref + alt) <= set("ACGTUN") and ref else "bad"


def check_variant(corpus: Corpus, codes: Codes, variant: Variant) -> Variant:
    """The variant with its status against the genome and its alleles normalised: trimmed, and moved as far left as they
    go (Tan, Abecasis, Kang 2015), so that two ways to write one change give one result.

    Args:
        codes: the alphabet of the corpus.
    """
    if variant.status != "ok":
        return variant
    try:
        number = corpus.find(variant.contig)
    except ValueError:
        return replace(variant, status="unknown_contig")
    if variant.start < 0 or variant.start + len(variant.ref) > corpus.lengths[number]:
        return replace(variant, status="beyond_contig")
    here = corpus.fetch(number, variant.start, variant.start + len(variant.ref))
    if not np.array_equal(here, ids_of(codes, variant.ref)):
        return replace(variant, status="ref_mismatch")
    found = _normalised(corpus, codes, number, variant)
    return replace(found, status="ambiguous") if "N" in "".join(_changed(found.ref, found.alt)) else found


def _changed(ref: str, alt: str) -> tuple[str, str]:
    """What is taken out and what is put in, without the base that anchors an insertion or deletion."""
    if len(ref) == len(alt):
        differ = [n for n in range(len(ref)) if ref[n] != alt[n]]
        return "".join(ref[n] for n in differ), "".join(alt[n] for n in differ)
    if ref[:1] == alt[:1]:
        return ref[1:], alt[1:]
    return (ref[:-1], alt[:-1]) if ref[-1:] == alt[-1:] else (ref, alt)


def ids_of(codes: Codes, allele: str) -> np.ndarray:
    """Ids of an allele: uint8 [T]."""
    return codes.byte_table[np.frombuffer(allele.encode(), np.uint8)]


def _normalised(corpus: Corpus, codes: Codes, number: int, variant: Variant) -> Variant:
    letters = {int(codes.byte_table[ord(c)]): c for c in "ACGTN"}
    ref, alt, start = variant.ref.replace("U", "T"), variant.alt.replace("U", "T"), variant.start
    while ref and alt and ref[-1] == alt[-1] and (len(ref) > 1 or len(alt) > 1):
        ref, alt = ref[:-1], alt[:-1]
        if not ref or not alt:
            if start == 0:  # nothing stands to the left: the base to the right anchors it, as VCF asks
                if len(ref) == corpus.lengths[number]:
                    return variant
                after = letters[int(corpus[number][len(ref)])]
                return replace(variant, ref=ref + after, alt=alt + after)
            start -= 1
            before = letters[int(corpus[number][start])]
            ref, alt = before + ref, before + alt
    while len(ref) > 1 and len(alt) > 1 and ref[0] == alt[0]:
        ref, alt, start = ref[1:], alt[1:], start + 1
    return replace(variant, ref=ref, alt=alt, start=start)
