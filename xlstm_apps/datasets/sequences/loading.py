"""The `data` section made real: files, samples, regions and labels in, one corpus out."""

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..molecules.curation import Curator
from .cleaning import Encode
from .codes import Codes
from .config import LabelledSource, SequencePolicy, SequenceSource
from .corpus import MANIFEST, Corpus
from .corpus_writer import policy_of
from .family_reading import read_families
from .molecule_records import check_molecules, check_sets, curator
from .reading import TABULAR, sniff
from .record import Record
from .regions import place_regions, read_regions
from .spans import Spans
from .tabular import TableColumns

Source = TypeVar("Source", bound=SequenceSource)
_ENDINGS = (
    "fa",
    "fasta",
    "fna",
    "ffn",
    "faa",
    "frn",
    "fas",
    "fq",
    "fastq",
    "gb",
    "gbk",
    "gbff",
    "genbank",
    "embl",
    "a3m",
    "a2m",
    "sto",
    "stk",
    "smi",
    "selfies",
    "sdf",
)
_PACKINGS = ("", ".gz", ".bgz", ".bz2", ".xz")
_IN_HEADER = re.compile(r"""(?:^|[\s|;,])(label|group|part)=(?:"([^"]+)"|'([^']+)'|([^\s|;,]+))""")


def load_corpus(
    data: SequenceSource,
    codes: Codes,
    folder: str | Path,
    *,
    encode: Encode | None = None,
    labels: bool = False,
    repeats: bool = False,
) -> Corpus:
    """The sequences of a `data` section as a corpus in `folder`; a folder that `prepare` made is used where it lies.

    Args:
        data: What to read, and how. A `LabelledSource` says where labels are.
        codes: The alphabet.
        folder: Where to build, in the place of a corpus that may be there.
        encode: Bytes to ids, for alphabets whose symbols are not single bytes: `tokenizer.encode_bytes`.
        labels: Read labels; False leaves them out, so that odd ones trouble nobody who does not need them.
        repeats: Keep molecules that come twice, whatever `data.repeats` says: who asks about each wants each answered.

    Raises:
        ValueError: A file cannot be read, a record has what the policy calls an error, nothing is left; says where.
    """
    check_molecules(data, codes)
    prepared = prepared_folder(data)
    if prepared is not None:
        corpus = _opened(prepared, data, codes)
        check_sets(corpus, data, repeats)
        return corpus if data.regions_path is None else _cut(corpus, data, codes, Path(folder), [])
    paths = source_files(data)
    policy = plain_policy(data)
    if data.regions_path is None:
        curate = curator(replace(data, repeats="keep") if repeats else data, codes)
        return _built(data, codes, Path(folder), policy, encode, labels, paths, curate)
    if encode is not None:
        raise ValueError(f"data.regions_path is for genomes; the {codes.name} alphabet has no places to cut at")
    Path(folder).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(folder).parent, prefix=".whole-") as whole:
        corpus = _built(data, codes, Path(whole) / "corpus", policy, encode, labels, paths)
        return _cut(corpus, data, codes, Path(folder), paths)


@contextmanager
def open_corpus(data: SequenceSource, codes: Codes, *, encode: Encode | None = None) -> Iterator[Corpus]:
    """The same for a while, in a temporary folder: for those who use a model and keep no corpus."""
    with tempfile.TemporaryDirectory(prefix="xlstm-apps-") as folder:
        yield load_corpus(data, codes, Path(folder) / "corpus", encode=encode, repeats=True)


def prepared_folder(data: SequenceSource) -> Path | None:
    """The corpus that `data.path` names, where it names one.

    Raises:
        ValueError: a corpus beside other paths.
    """
    folders = [Path(path).expanduser() for path in data.path]
    prepared = [folder for folder in folders if (folder / MANIFEST).is_file()]
    if not prepared:
        return None
    if len(data.path) > 1:
        raise ValueError(f"data.path: {prepared[0]} is a prepared folder, which is read alone; prepare all files again")
    return prepared[0]


def source_files(data: SequenceSource) -> list[str]:
    """The files of `data.path`: patterns such as `genomes/*.fa` resolved, folders as the sequence files in them.

    Raises:
        ValueError: a pattern or folder without a file; the same file twice.
    """
    out: list[str] = []
    for path in data.path:
        place = Path(path).expanduser()
        if path.startswith("sample:") or place.is_file():
            out.append(path)
        elif place.is_dir():
            inside = sorted(str(file) for file in place.iterdir() if is_sequence_file(file))
            if not inside:
                raise ValueError(
                    f"{path}: no file in this folder has an ending of sequences ({', '.join(_ENDINGS)}, plain or "
                    ".gz); name the files"
                )
            out += inside
        elif any(mark in path for mark in "*?["):
            found = sorted(name for name in glob.glob(str(place)) if Path(name).is_file())
            if not found:
                raise ValueError(f"{path}: no file fits this pattern (the current folder is {Path.cwd()})")
            out += found
        else:
            out.append(path)  # missing: whoever opens it says so
    real = [Path(name).expanduser().resolve() if not name.startswith("sample:") else name for name in out]
    for number, name in enumerate(real):
        if name in real[:number]:
            raise ValueError(f"data.path names {out[number]} twice")
    return out


def located(data: Source) -> Source:
    """The section with paths that hold from any working directory."""

    def absolute(path: str) -> str:
        return path if path.startswith("sample:") else str(Path(path).expanduser().absolute())

    changed: dict[str, Any] = {"path": [absolute(path) for path in data.path]}
    for name in ("regions_path", "clusters_path"):
        if getattr(data, name, None) is not None:
            changed[name] = absolute(getattr(data, name))
    return replace(data, **changed)


def plain_policy(data: SequencePolicy) -> SequencePolicy:
    """Only the policy of a section, which is what a corpus writes down."""
    return SequencePolicy(**{field.name: getattr(data, field.name) for field in fields(SequencePolicy)})


def read_source(
    data: SequenceSource, alphabet: str | None = None, *, labels: bool = False, paths: list[str] | None = None
) -> Iterator[Record]:
    """The records of a section, one after another, with what files, headers and columns say about them.

    Args:
        data: The section.
        alphabet: That of the sequences, which tells among several columns of a table.
        labels: Whether labels are read.
        paths: The files, where they are known.

    Raises:
        ValueError: as `read_records`; an option that no file can use.
    """
    files = source_files(data) if paths is None else paths
    formats = [data.format or sniff(path, alphabet) for path in files]
    _check_columns(data, formats)
    where = getattr(data, "label_from", "auto") if labels else None
    if where == "column" and not any(kind in TABULAR for kind in formats):
        raise ValueError("data.label_from: column is for tables and SDF, and there is none among the files")
    found, families = False, getattr(data, "families", "none")
    if families == "file" and len({file_class(path) for path in files}) < len(files):
        raise ValueError("data.families: file names families after files, and two files have one name; rename them")
    for path, kind in zip(files, formats, strict=True):
        columns = _columns(data, alphabet, where, path if len(files) > 1 else None) if kind in TABULAR else None
        for record in read_families(path, kind, families, file_class(path), columns):
            if kind == "smi" and len(files) > 1 and record.id == f"line_{record.line}":  # it has no name
                record.id = f"{file_class(path)}:{record.id}"
            header = {key: "".join(values) for key, *values in _IN_HEADER.findall(record.description)}
            record.group = record.group or header.get("group")
            record.part = record.part or header.get("part")
            if where == "file":
                record.label = file_class(path)
            elif where in ("auto", "header") and kind not in TABULAR:
                record.label = header.get("label")
                if record.label is None and where == "auto" and len(files) > 1:
                    record.label = file_class(path)
            found = found or record.label is not None
            yield record
    if where == "header" and not found:
        raise ValueError(f"{files[0]}: no header says label=...; a header is '>name label=CLASS'")


def file_class(path: str) -> str:
    """The class that a file stands for: its name without endings."""
    name = path.removeprefix("sample:")
    name = Path(name).name
    for packing in _PACKINGS[1:]:
        name = name.removesuffix(packing)
    stem, dot, ending = name.rpartition(".")
    return stem if dot and stem and ending.isalnum() else name


def check_file_classes(data: LabelledSource, labels: Iterable[Any]) -> None:
    """Refuse classes named after files of one name in folders that otherwise hold other names: `a/x.fa b/x.fa c/y.fa`
    are hardly two classes, `train/x.fa train/y.fa test/x.fa test/y.fa` are.

    Args:
        data: The section.
        labels: Those that were read.

    Raises:
        ValueError: names the first two such files.
    """
    if prepared_folder(data) is not None or data.label_from not in ("auto", "file"):
        return
    folders: dict[Path, set[str]] = {}
    first: dict[str, str] = {}
    twice = None
    for path in source_files(data):
        name = file_class(path)
        folders.setdefault(Path(path).parent, set()).add(name)
        twice = twice or ((first[name], path) if name in first else None)
        first.setdefault(name, path)
    uneven = any(names != {*first} for names in folders.values())
    if twice is not None and uneven and file_class(twice[0]) in map(str, labels):
        raise ValueError(
            f"data.path: {twice[0]} and {twice[1]} have one name and would be one class; rename them, or write "
            "label=... into the headers and set data.label_from to header"
        )


def is_sequence_file(file: Path) -> bool:
    """Whether a file of a folder is read when `data.path` names the folder."""
    name = file.name.lower()
    return (
        file.is_file()
        and not name.startswith(".")
        and any(name.endswith(f".{end}{packing}") for end in _ENDINGS for packing in _PACKINGS)
    )


def _check_columns(data: SequenceSource, formats: list[str]) -> None:
    """Refuse options of tables where there is none."""
    if any(kind in TABULAR for kind in formats):
        return
    for name in ("sequence_column", "id_column", "group_column", "weight_column", "part_column", "label_columns"):
        if getattr(data, name, None) is not None:
            raise ValueError(f"data.{name} is for tables, and {data.path[0]} is {formats[0]}")


def _columns(data: SequenceSource, alphabet: str | None, where: str | None, several: str | None) -> TableColumns:
    """Which columns mean what; `several`: the table among several files whose rows must not share names."""
    named = getattr(data, "label_columns", None)
    part = getattr(data, "part_column", None)
    if part is None and getattr(data, "split", "auto") in ("auto", "column"):
        part = "found"
    labels: Any = [] if where not in ("auto", "column") else named or "found"
    return TableColumns(
        sequence=data.sequence_column,
        alphabet=alphabet,
        id=data.id_column,
        numbered="row_" if several is None else f"{file_class(several)}:row_",
        labels=labels,
        part=part,
        group=getattr(data, "group_column", None),
        weight=getattr(data, "weight_column", None),
    )


def _built(
    data: SequenceSource,
    codes: Codes,
    folder: Path,
    policy: SequencePolicy,
    encode: Encode | None,
    labels: bool,
    paths: list[str],
    curate: Curator | None = None,
) -> Corpus:
    records = read_source(data, codes.name, labels=labels, paths=paths)
    if codes.name == "smiles" and getattr(data, "families", "none") != "none" and policy.duplicates == "error":
        policy = replace(policy, duplicates="suffix")  # a molecule of several sets has its name in each: no mistake
    return Corpus.build(records, folder, codes, policy=policy, encode=encode, curate=curate, sources=paths)


def _opened(folder: Path, data: SequenceSource, codes: Codes) -> Corpus:
    """A prepared corpus, if it is of this alphabet and what is asked for can still be had from it."""
    corpus = Corpus(folder)
    corpus.check(codes)
    default, asked, made = SequencePolicy(), policy_of(plain_policy(data)), corpus.manifest["policy"]
    for name, value in asked.items():
        was = made.get(name, getattr(default, name))  # of a corpus older than the option
        if value not in (getattr(default, name), was):
            raise ValueError(
                f"data.{name} is {value!r}, and {folder} was prepared with {was!r}; prepare it again, or leave "
                "the option out"
            )
    if getattr(data, "families", "none") in ("file", "line") and all(group is None for group in corpus.groups):
        raise ValueError(f"data.families: {folder} was prepared without families; give the option to `prepare`")
    for name in ("format", "sequence_column", "id_column", "group_column", "weight_column", "label_columns"):
        if getattr(data, name, None) is not None:
            raise ValueError(f"data.{name} is for files, and {folder} is prepared; give the option to `prepare`")
    return corpus


def _cut(corpus: Corpus, data: SequenceSource, codes: Codes, folder: Path, paths: Iterable[str]) -> Corpus:
    """The regions of a corpus as a corpus of their own."""
    assert data.regions_path is not None
    if not codes.bytewise:
        raise ValueError(f"data.regions_path is for genomes; the {codes.name} alphabet has no places to cut at")
    on_bad = {"error": "error", "skip": "skip", "fix": "clip"}[data.on_bad]
    regions = read_regions(data.regions_path, kind=data.region_kind)
    try:
        placed = place_regions(corpus, regions, on_bad)  # type: ignore[arg-type]
    except ValueError as e:
        mend = "; set on_bad to 'skip' or 'fix'" if on_bad == "error" else ""
        raise ValueError(f"{e}{mend}") from None
    whole = corpus.report
    notes = [f"{len(placed.regions):,} of {len(regions):,} regions of {data.regions_path}, cut from {_brief(whole)}"]
    notes += placed.notes()
    written = _written(codes)

    def records() -> Iterator[Record]:
        for region, number in zip(placed.regions, range(len(placed.spans)), strict=True):
            yield _record(corpus, placed.spans, number, region.name, data.regions_path or "", region.line, written)

    policy = plain_policy(data)
    if policy.duplicates == "error":  # parts of one gene share its name: that is no mistake
        policy = SequencePolicy(**{**policy_of(policy), "duplicates": "suffix"})
    out = Corpus.build(records(), folder, codes, policy=policy, sources=[*paths, data.regions_path], notes=notes)
    return out


def _record(
    corpus: Corpus, spans: Spans, number: int, name: str, source: str, line: int, written: np.ndarray
) -> Record:
    """A region as the record a file would hold."""
    row = int(spans.record[number])
    start, stop, strand = int(spans.start[number]), int(spans.stop[number]), int(spans.strand[number])
    raw = written[corpus.fetch(row, start, stop, strand)]
    if corpus.has_mask:
        raw = np.where(corpus.soft_mask(row, start, stop, strand) & (raw >= 65) & (raw <= 90), raw + 32, raw)
    sign = "-" if strand < 0 else "+"
    return Record(
        id=name if name not in ("", ".") else f"{corpus.ids[row]}:{start + 1}-{stop}({sign})",
        sequence=raw.astype(np.uint8).tobytes(),
        start=start,
        end=stop,
        strand=sign,
        group=corpus.groups[row],
        label=corpus.labels[row],
        part=corpus.parts[row],
        weight=float(corpus.weights[row]),
        source=source,
        line=line,
    )


def _written(codes: Codes) -> np.ndarray:
    """The byte each id is written as: uint8 [256]."""
    table = np.zeros(256, np.uint8)
    for byte in range(255, -1, -1):
        if codes.exact_table[byte] != 255:
            table[codes.exact_table[byte]] = byte
    return table


def _brief(report: dict[str, Any]) -> str:
    left = sum(report["left_out"].values())
    return f"{report['kept']:,} records, {report['symbols']:,} symbols" + (f" ({left:,} left out)" if left else "")
