"""GenBank and EMBL, through Biopython: sequences, and features as regions."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files import open_stream
from .opening import existing
from .record import Record
from .regions import Region


def read_genbank(path: str | Path, format: str = "genbank") -> Iterator[Record]:
    """Sequences of a GenBank or EMBL file; case has no meaning there.

    Raises:
        ValueError: a record has no sequence, the file cannot be read, or Biopython is not installed.
    """
    for entry in _entries(path, format, features=False):
        yield Record(id=entry.id, sequence=_sequence(entry, path), source=str(path))


def read_features(path: str | Path, kind: str | None = "CDS", format: str = "genbank") -> list[Region]:
    """Features of one kind (None: all) as regions, joined ones with their parts in order of the product.

    Raises:
        ValueError: as `read_genbank`; there is no feature of that kind, or a part of one lies in another record.
    """
    out, kinds = [], set()
    for entry in _entries(path, format, features=True):
        for feature in entry.features:
            kinds.add(feature.type)
            if kind is not None and feature.type != kind:
                continue
            if feature.location is None:
                raise ValueError(
                    f"{path}: record {entry.id!r}: the place of a feature {feature.type!r} is not readable; mend it"
                )
            parts = [(int(p.start), int(p.end), "-" if p.strand == -1 else "+") for p in feature.location.parts]
            name = next((feature.qualifiers[key][0] for key in ("locus_tag", "gene") if key in feature.qualifiers), "")
            elsewhere = next((p.ref for p in feature.location.parts if p.ref is not None), None)
            if elsewhere is not None:
                raise ValueError(
                    f"{path}: record {entry.id!r}: a part of the feature {name or feature.type!r} lies in another "
                    f"record ({elsewhere}); leave the feature out"
                )
            out.append(
                Region(
                    contig=entry.id,
                    start=min(p[0] for p in parts),
                    end=max(p[1] for p in parts),
                    strand=parts[0][2],
                    name=name,
                    label=feature.type,
                    parts=tuple(parts) if len(parts) > 1 else (),
                    source=str(path),
                )
            )
    if not out:
        raise ValueError(f"{path}: no feature of kind {kind!r}; there are {', '.join(sorted(kinds)) or 'none'}")
    return out


def _entries(path: str | Path, format: str, features: bool) -> Iterator[Any]:
    try:
        from Bio.GenBank.Scanner import EmblScanner, GenBankScanner
    except ImportError:
        raise ValueError(f"{path}: reading {format} needs Biopython; pip install 'xlstm-apps[bio]'") from None
    file = existing(path)
    scanner = EmblScanner() if format == "embl" else GenBankScanner()
    found = False
    with io.TextIOWrapper(open_stream(file), encoding="utf-8", errors="replace") as stream:
        try:
            entries = scanner.parse_records(stream, do_features=features)
            while (entry := _next(entries, file)) is not None:
                found = True
                yield entry
        except (EOFError, OSError) as e:
            raise ValueError(f"{file}: the archive is truncated or damaged ({e}); fetch it again") from None
        except (ValueError, AssertionError) as e:
            raise ValueError(f"{file}: not readable as {format}: {' '.join(str(e).split())}") from None
    if not found:
        raise ValueError(f"{file}: no {format} record; one begins with {'ID' if format == 'embl' else 'LOCUS'}")


def _next(entries: Iterator[Any], file: Path) -> Any:
    """The next entry, None behind the last.

    Raises:
        ValueError: it breaks off, which Biopython only warns of; the layout of its lines may be odd.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        entry = next(entries, None)
    for warning in said:
        text = " ".join(str(warning.message).split())
        if text.startswith(("Premature end", "Expected sequence length")):
            raise ValueError(
                f"the file breaks off, or a part was cut out ({text.rstrip('.')}); fetch it again, or bring FASTA"
            )
    return entry


def _sequence(entry: Any, path: str | Path) -> bytes:
    from Bio.Seq import UndefinedSequenceError

    try:
        return bytes(entry.seq)
    except UndefinedSequenceError:
        raise ValueError(
            f"{path}: record {entry.id!r} has no sequence, only its length or a CONTIG line; download it as "
            "'GenBank (full)', or bring the FASTA file"
        ) from None
