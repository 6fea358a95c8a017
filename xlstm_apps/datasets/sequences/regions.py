"""Regions of a genome from BED, GFF, GTF and GenBank files, and their places in a corpus."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .corpus import Corpus
from .opening import head, lines
from .spans import Spans

_HEADERS = ("track", "browser")
_ENDINGS = {"gff": {".gff", ".gff3", ".gtf"}, "bed": {".bed"}, "embl": {".embl"}}
_ITEMS = re.compile(r'(?:"[^"]*"|[^;"])+')


@dataclass(slots=True, kw_only=True)
class Region:
    """A stretch of a contig, counted from 0, its end not in it."""

    contig: str
    start: int
    end: int
    strand: str = "+"
    name: str = ""
    label: Any = None
    parts: tuple[tuple[int, int, str], ...] = ()
    """Of a joined feature, or blocks of BED, (start, end, strand) of each part, in order of the product."""
    source: str = ""
    line: int = 0


@dataclass(kw_only=True)
class Placed:
    """Where regions lie in a corpus."""

    spans: Spans
    regions: list[Region]
    """The region of each span."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Regions left out, by reason."""
    clipped: int = 0
    """Regions cut at the end of their contig."""
    examples: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What a reader of the results should know about the regions."""
        found = [f"regions left out: {count:,} ({reason})" for reason, count in self.left_out.items()]
        if self.clipped:
            found.append(f"regions cut at the end of their contig: {self.clipped:,}")
        if joined := sum(len(region.parts) > 1 for region in self.regions):
            found.append(
                f"regions of several blocks, read from the first to the last with what lies between: {joined:,} "
                "(`bedtools getfasta -split` joins blocks)"
            )
        return found


def read_regions(
    path: str | Path, format: Literal["bed", "gff", "genbank", "embl"] | None = None, kind: str | None = None
) -> list[Region]:
    """Regions of a BED file (counted from 0, end not in it), of a GFF / GTF file (counted from 1, end in it), or the
    features of a GenBank or EMBL file.

    Args:
        format: None: by the ending, else by the content.
        kind: of features, the third column of GFF and GTF; None: all.

    Raises:
        ValueError: a line is not of that format, names it; a kind of BED, which has none; no region is found.
    """
    out: list[Region] = []
    if format is None:
        suffixes = {suffix.lower() for suffix in Path(path).suffixes}
        named: Any = next((name for name, endings in _ENDINGS.items() if endings & suffixes), None)
        format = "genbank" if re.match(rb"(.*\n)?LOCUS ", head(path), re.DOTALL) else named
    if format in ("genbank", "embl"):
        from .genbank import read_features

        return read_features(path, kind, format)
    for number, text in lines(path):
        if text.startswith("##FASTA"):
            break
        if text.startswith("##fileformat=VCF"):
            raise ValueError(f"{path}: this is a VCF file, variants instead of regions; see `sequence variants`")
        if not text.strip() or text.startswith("#") or text.split(None, 1)[0] in _HEADERS:
            continue
        cells = text.split("\t") if "\t" in text else text.split()
        if format is None:
            format = "gff" if len(cells) >= 8 and not cells[1].lstrip("-").isdigit() else "bed"
        if format == "bed" and kind is not None:
            raise ValueError(f"{path}: only GFF and GTF say the kind of a region ({kind!r}), and this is BED")
        region = (_gff if format == "gff" else _bed)(cells, f"{path} line {number}")
        region.source, region.line = str(path), number
        if format == "gff" and kind is not None and region.label != kind:
            continue
        out.append(region)
    if not out:
        raise ValueError(f"{path}: no region found" + (f" of kind {kind!r}" if kind else ""))
    return out


def _bed(cells: list[str], where: str) -> Region:
    start, end = _numbers(cells, 1, 2, 3, where, "BED: contig, start, end")
    strand = _strand(cells, 5, where)
    if len(cells) in (4, 5) and cells[3].strip() in ("+", "-"):
        raise ValueError(f"{where}: the fourth column is the name, not the strand ({cells[3]}), which is the sixth")
    name, parts = "".join(cells[3:4]), _blocks(cells, start, strand)
    return Region(contig=cells[0], start=start, end=end, strand=strand, name=name, parts=parts)


def _blocks(cells: list[str], start: int, strand: str) -> tuple[tuple[int, int, str], ...]:
    """The blocks of BED12, such as exons; none where the columns say something else."""
    try:
        sizes, begins = ([int(cell) for cell in cells[i].rstrip(",").split(",")] for i in (10, 11))
        count = int(cells[9])
    except (IndexError, ValueError):
        return ()
    if count < 2 or len(sizes) != count or len(begins) != count:
        return ()
    parts = [(start + begin, start + begin + size, strand) for size, begin in zip(sizes, begins, strict=True)]
    return tuple(parts if strand == "+" else parts[::-1])


def _gff(cells: list[str], where: str) -> Region:
    first, end = _numbers(cells, 3, 4, 8, where, "GFF: contig, source, kind, start, end, score, strand, phase")
    attributes = cells[8] if len(cells) > 8 else ""
    name = next((v for k, v in _attributes(attributes) if k in ("ID", "Name", "gene_id", "locus_tag")), "")
    strand = _strand(cells, 6, where)
    return Region(contig=cells[0], start=first - 1, end=end, strand=strand, name=name, label=cells[2])


def _strand(cells: list[str], i: int, where: str) -> str:
    """`+` or `-`; what has no strand, or one that is not known, is read forward."""
    said = cells[i].strip() if len(cells) > i else "."
    if said not in ("", ".", "?", "+", "-"):
        raise ValueError(f"{where}: the strand {said!r} is none of + - . ?")
    return "-" if said == "-" else "+"


def _attributes(text: str) -> list[tuple[str, str]]:
    items = (item.strip() for item in _ITEMS.findall(text))
    pairs = (item.replace(" ", "=", 1).partition("=") for item in items if item)
    return [(key, value.strip('" =')) for key, _, value in pairs]


def _numbers(cells: list[str], i: int, j: int, least: int, where: str, shape: str) -> tuple[int, int]:
    if len(cells) < least:
        raise ValueError(f"{where}: {len(cells)} columns; a line of {shape}")
    try:
        return int(cells[i]), int(cells[j])
    except ValueError:
        raise ValueError(f"{where}: {cells[i]!r} and {cells[j]!r} are no positions; a line of {shape}") from None


def place_regions(corpus: Corpus, regions: list[Region], on_bad: Literal["error", "skip", "clip"] = "clip") -> Placed:
    """The regions as spans of a corpus, on their own strand.

    Args:
        on_bad: a region that reaches beyond its contig is cut (`clip`), left out (`skip`) or refused (`error`). One
            without a contig, of no length or across the origin of a circle cannot be cut: it is left out, or refused
            by `error`. Joined features are taken from their first base to their last.

    Raises:
        ValueError: as asked for by `on_bad`; no region is left.
    """
    kept, left, clipped, examples = [], Counter[str](), 0, []
    rows = []
    for region in regions:
        where = f"{region.source} line {region.line}" if region.line else region.source or "region"
        start, end, reason, advice = region.start, region.end, None, ""
        try:
            number = corpus.find(region.contig)
        except ValueError as e:
            number, reason, advice = -1, "unknown contig", str(e)
        if reason is None and start >= end:
            reason, advice = "no length", f"start {start}, counted from 0, is not before end {end}"
        elif reason is None and not _one_stretch(region):
            reason = "not one stretch"
            advice = (
                f"the parts of {region.name or region.contig} lie across the origin of a circle, or on both strands: "
                "give each as a region of its own"
            )
        elif reason is None and (start < 0 or end > corpus.lengths[number]):
            advice = (
                f"{region.contig}:{start + 1}-{end}, counted from 1, reaches beyond the {corpus.lengths[number]:,} "
                "symbols of its contig"
            )
            start, end = max(start, 0), min(end, int(corpus.lengths[number]))
            if on_bad != "clip" or start >= end:
                reason = "beyond the contig"
            else:
                clipped += 1
        if reason is not None:
            if on_bad == "error":
                raise ValueError(f"{where}: {advice}")
            left[reason] += 1
            if len(examples) < 5:
                examples.append(f"{where}: {reason}: {advice}")
            continue
        kept.append(region)
        rows.append((number, start, end, -1 if region.strand == "-" else 1))
    if not rows:
        raise ValueError(f"none of {len(regions)} regions can be used: {examples[0] if examples else 'there are none'}")
    record, begin, stop, strand = np.array(rows, np.int64).T
    return Placed(
        spans=Spans(record, begin, stop, strand), regions=kept, left_out=left, clipped=clipped, examples=examples
    )


def _one_stretch(region: Region) -> bool:
    """Whether the parts follow one another on one strand, so that there is a stretch from the first to the last."""
    begins = [begin for begin, _, _ in region.parts]
    ordered = begins == sorted(begins, reverse=region.strand == "-")
    return ordered and all(strand == region.strand for _, _, strand in region.parts)
