"""What to do with what is not as it should be in a file of sequences. Imports no torch: it is read for `--help`."""

from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices

from ..molecules.standardise import Salts, Stereo

OnBad = Literal["error", "skip", "fix"]
Duplicates = Literal["error", "suffix", "first"]
SoftMask = Literal["ignore", "weight", "wildcard"]
Ambiguous = Literal["wildcard", "sample", "skip", "error"]
Repeats = Literal["first", "keep", "error"]
Format = Literal["fasta", "fastq", "genbank", "embl", "table", "a3m", "stockholm", "smi", "sdf", "text"]


@dataclass(frozen=True, kw_only=True)
class SequencePolicy:
    """How sequences are cleaned on their way into a corpus. What was done is counted in the quality report."""

    on_bad: OnBad = "error"
    """Records with characters that no sequence of the alphabet holds: `error` stops at the first, `skip` leaves the
    record out, `fix` reads the character as the wildcard (N in DNA, X in proteins)."""

    duplicates: Duplicates = "error"
    """Records of one name: `error` stops and lists them, `suffix` names the second id_2, `first` keeps the first."""

    softmask: SoftMask = "weight"
    """Lower case: `weight` keeps it beside the sequence, so that training may weigh it down; `ignore` forgets it;
    `wildcard` reads it as N."""

    ambiguous: Ambiguous = "wildcard"
    """Codes for several symbols, such as R for A or G: `wildcard` reads them as N, `sample` draws one of the symbols,
    `skip` leaves the record out, `error` stops. N itself is left as it is."""

    min_length: int = 1
    """Shorter records are left out."""

    max_length: int | None = None
    """Longer records are left out, and counted. None: any length."""

    seed: int = 0
    """Seed of `ambiguous: sample`."""

    standardise: bool = True
    """Molecules: read them with RDKit, which finds what is no molecule, and write them canonically. False takes SMILES
    as they stand."""

    salts: Salts = "keep"
    """Molecules of several parts, such as salts: `keep` all parts, take the `largest`, or `drop` the record."""

    stereo: Stereo = "keep"
    """Molecules: `strip` leaves out what tells mirror images, and E from Z."""

    repeats: Repeats = "first"
    """Molecules that come twice, where a corpus is made: `first` keeps the first, `keep` all; `error` stops."""

    def __post_init__(self) -> None:
        check_choices(self, "data.")
        if self.min_length < 1:
            raise ValueError(f"min_length is a number of symbols, 1 or more, not {self.min_length}")
        if self.max_length is not None and self.max_length < self.min_length:
            raise ValueError(f"max_length {self.max_length} is below min_length {self.min_length}")


@dataclass(frozen=True, kw_only=True)
class SequenceSource(SequencePolicy):
    """Which sequences to read, and what to do with those that are not as they should be."""

    path: list[str]
    """Files: FASTA, FASTQ, GenBank, EMBL, an alignment (A3M, Stockholm; read without gaps, insertions as symbols), a
    table (CSV, TSV, Parquet), molecules (.smi, .sdf), text (.txt, each a record); plain or packed (gzip, bgzip, bzip2,
    xz); patterns in quotes (`'genomes/*.fa.gz'`), folders of such files; `sample:ecoli-k12`, `sample:ww-domains`,
    `sample:ecoli-or-bacillus`, `sample:wehi-molecules`; or one folder that `prepare` made."""

    format: Format | None = None
    """Format of the files; `text`: each is one record. None: seen from their content and ending."""

    sequence_column: str | None = None
    """Tables: column of the sequences. None: found by name."""

    id_column: str | None = None
    """Tables: column of the names. None: found by name, else rows are numbered."""

    regions_path: str | None = None
    """BED, GFF or GTF file, or GenBank or EMBL, which may be the one of the sequences: read these regions, or features,
    of the sequences instead of the whole, on their own strand. Blocks of BED12 and joined features, such as exons, are
    not joined: a region is read from its start to its end."""

    region_kind: str | None = None
    """GFF, GTF (third column), GenBank and EMBL: only features of this kind, such as CDS. None: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("data.path names no file")
        if self.region_kind is not None and self.regions_path is None:
            raise ValueError("data.region_kind chooses among the features of data.regions_path, which is not given")


@dataclass(frozen=True, kw_only=True)
class LabelledSource(SequenceSource):
    """Which sequences to read, and what is known about each."""

    group_column: str | None = None
    """Tables: column of the groups that stay in one part of a split."""

    weight_column: str | None = None
    """Tables: column that says how much each sequence counts in training."""

    label_columns: list[str] | None = None
    """Tables: what is to be predicted; several columns give several labels. None: the one named label, target, y or
    class."""

    label_from: Literal["auto", "column", "file", "header"] = "auto"
    """Where labels come from. `column`: a table; `file`: one class per file, named after it; `header`: `label=...` in
    the FASTA header. auto: whichever is there."""

    families: Literal["none", "file", "group", "line"] = "none"
    """Homologs, or sets of molecules, that a model reads one after another. `file`: each file holds a family (FASTA,
    A3M; of Stockholm each alignment) or set; `group`: the groups of the records are families, or sets; `line`: each
    line of a list of SMILES is a set, with dots between its molecules, so that no salts can be in it."""

    part_column: str | None = None
    """Tables: column that says train, val or test. None: the one named part or split, if there is one (FASTA headers
    say `part=test`)."""


@dataclass(frozen=True, kw_only=True)
class SequenceData(LabelledSource):
    """Sequences to learn from: how they are cut into windows and split into training, validation and test."""

    context_length: int | None = None
    """Symbols in a window; longer sequences are cut. None: the task decides from the lengths of the records."""

    stride: int | None = None
    """Symbols from one training window to the next. None: `context_length`."""

    alone: float | None = None
    """Families: share of the training windows that show one sequence by itself. None: 0.1."""

    randomise: float = 0.0
    """Molecules: share of those in training that are spelled anew each time they are seen, from a random order of their
    atoms; validation and test stay as they are."""

    softmask_weight: float = 1.0
    """Weight of lower-case symbols in the loss; 0 leaves repeats out, 1 counts them like all others."""

    max_wildcard: float = 0.5
    """Windows with a larger share of N are left out, and counted."""

    split: Literal[
        "auto", "stretch", "contig", "region", "group", "cluster", "identity", "scaffold", "column", "random"
    ] = "auto"
    """How validation and test are kept apart. `stretch`: the end of every record; `contig`: whole records by name;
    `region`: stretches by name; `group`: whole groups; `cluster`: whole clusters of a file; `identity`: whole
    clusters of proteins that are alike, found here; `scaffold`: molecules of one Murcko scaffold stay together;
    `column`: as the table says; `random`: records at random. auto: whichever of these the options or a column name,
    else `group` where there are groups, `identity` for a language model of proteins, `stretch` for a few long records,
    `random` for many."""

    val_fraction: float = 0.1
    """Share of the data for validation, on which the best epoch is chosen."""

    test_fraction: float = 0.1
    """Share of the data for the test, looked at once, at the end."""

    val_contigs: list[str] | None = None
    """Split by contig: records for validation."""

    test_contigs: list[str] | None = None
    """Split by contig: records for the test."""

    val_regions: list[str] | None = None
    """Split by region: stretches for validation as `chr1:1001-2000`, counted from 1, the end in it."""

    test_regions: list[str] | None = None
    """Split by region: stretches for the test."""

    clusters_path: str | None = None
    """Split by cluster: two columns, representative and member, as MMseqs2 writes them."""

    identity: float | None = None
    """Split by identity: proteins with about this share of equal residues, or more, stay in one part. None: 0.5, or 0.7
    where families are cut."""

    margin: int = 0
    """Symbols left out on both sides of a held-out stretch."""

    split_seed: int = 0
    """Seed of random splits; apart from the seed of training, so that several seeds are tested on the same data."""

    leakage: bool = True
    """Count how many windows of the test have a near copy in training, and say so."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("context_length", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"data.{name} is a number of symbols, 1 or more, not {value}")
        for name in ("softmask_weight", "max_wildcard", "randomise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.{name} lies between 0 and 1, not at {getattr(self, name)}")
        if self.alone is not None and self.families == "none":
            raise ValueError("data.alone is a share of the windows of data.families, which is none; leave it out")
        if self.alone is not None and not 0 <= self.alone <= 1:
            raise ValueError(f"data.alone is a share, from 0 to 1, not {self.alone}")
        if self.identity is not None and not 0 < self.identity <= 1:
            raise ValueError(f"data.identity is a share of equal residues, above 0 and at most 1, not {self.identity}")
        if self.margin < 0:
            raise ValueError(f"data.margin is a number of symbols, 0 or more, not {self.margin}")
