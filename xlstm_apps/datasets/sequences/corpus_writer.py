"""Writing a corpus: streamed, aside, and moved into place once it is whole."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cleaning import Encode, clean_records
from .codes import Codes
from .config import SequencePolicy
from .corpus import INDEX, MANIFEST, MASK, RECORDS, TOKENS, VERSION
from .opening import existing
from .quality import QualityReport
from .record import Record

if TYPE_CHECKING:
    from ..molecules.curation import Curator


def write_corpus(
    records: Iterable[Record],
    path: Path,
    codes: Codes,
    policy: SequencePolicy,
    encode: Encode | None,
    sources: Iterable[str | Path],
    notes: Iterable[str] = (),
    curate: "Curator | None" = None,
) -> None:
    """See `Corpus.build`."""
    report = QualityReport()
    rows: dict[str, list[Any]] = {"id": [], "label": [], "group": [], "part": []}
    starts, strands, weights, offsets = [], [], [], [0]
    with _aside(path) as folder:
        with (folder / TOKENS).open("wb") as tokens, (folder / MASK).open("wb") as bits:
            for clean in clean_records(records, codes, policy, report, encode, curate):
                tokens.write(clean.ids.data)
                mask = np.zeros(len(clean.ids), bool) if clean.mask is None else clean.mask
                bits.write(np.packbits(mask).data)
                offsets.append(offsets[-1] + len(clean.ids))
                record = clean.record
                starts.append(record.start)
                strands.append(-1 if record.strand == "-" else 1)
                weights.append(record.weight)
                for key in rows:
                    rows[key].append(getattr(record, key))
        report.notes.extend(notes)  # taken now: a note may count what was read
        if report.kept == 0:
            where = ", ".join(report.sources) or "the input"
            why = "; ".join(f"{n} {reason}" for reason, n in report.left_out.items()) or "there is no record in it"
            raise ValueError(f"{where}: nothing to build a corpus from: {why}")
        if report.definite == 0:
            case = "; the text is lower case: set softmask to 'ignore'" if policy.softmask == "wildcard" else ""
            raise ValueError(f"{', '.join(report.sources) or 'the input'}: every symbol is ambiguous, like N{case}")
        masked = report.soft_masked > 0 and policy.softmask == "weight"
        if masked and report.soft_masked == report.symbols:
            masked = False
            report.notes.append("all lower case: taken as a way of writing, not as masked")
        if not masked:
            (folder / MASK).unlink()
        np.savez(
            folder / INDEX,
            offsets=np.array(offsets, np.int64),
            starts=np.array(starts, np.int64),
            strands=np.array(strands, np.int8),
            weights=np.array(weights, np.float32),
        )
        _write_rows(rows, folder / RECORDS)
        if curate is not None:
            curate.write(folder)
        manifest = {
            "version": VERSION,
            "alphabet": codes.to_dict(),
            "alphabet_sha256": codes.sha,
            "complement": None if codes.complement is None else codes.complement.tolist(),
            "soft_masked": masked,
            "records": report.kept,
            "symbols": report.symbols,
            "sources": {str(source): fingerprint(source) for source in sources},
            "policy": policy_of(policy),
            "quality": report.to_dict(),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def policy_of(policy: SequencePolicy) -> dict[str, Any]:
    """The policy as it stands in a manifest."""
    return asdict(policy)


def fingerprint(path: str | Path) -> str:
    """sha256 of a file as it lies on disk."""
    with existing(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_rows(rows: dict[str, list[Any]], path: Path) -> None:
    import polars as pl

    labels = [label for label in rows["label"] if label is not None]
    kinds = {"text" if isinstance(x, str) else "numbers" if isinstance(x, list) else "number" for x in labels}
    if len(kinds) > 1:
        raise ValueError(f"labels are of several kinds ({', '.join(sorted(kinds))}); give all records the same kind")
    pl.DataFrame(
        {
            "id": pl.Series(rows["id"], dtype=pl.String),
            "label": pl.Series(rows["label"], strict=False) if labels else pl.Series(rows["label"], dtype=pl.Null),
            "group": pl.Series(rows["group"], dtype=pl.String),
            "part": pl.Series(rows["part"], dtype=pl.String),
        }
    ).write_parquet(path)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A folder that takes the place of `path` when the block succeeds, and is gone when it fails.

    Raises:
        ValueError: something else than a corpus lies at `path`.
    """
    if path.exists() and not (path / MANIFEST).is_file() and (path.is_file() or any(path.iterdir())):
        raise ValueError(f"{path} is there already and is no corpus; give another place")
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield folder
        umask = os.umask(0)
        os.umask(umask)
        folder.chmod(0o777 & ~umask)
        if path.exists():
            shutil.rmtree(path)
        os.replace(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
