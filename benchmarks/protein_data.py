"""The data of the protein benchmarks, made once into a small folder that needs nothing but NumPy to be read.

    python benchmarks/protein_data.py --source FOLDER --output .protein

FOLDER holds DB.fasta.gz (20,000 proteins of UniProt), FLIP_secondary_structure_splits.zip (Dallago et al. 2021; states
H, E, C of every residue that is resolved), SEQ_LOCATION.tsv (plasma membrane or cytoplasm; from AAanalysis, which gives
these sequences without the letters E, F, I, L, P and Q), A0A1C5UJ41.a3m (glycerol-1-phosphate dehydrogenases) and
P62593.fasta (single mutants of TEM-1 beta-lactamase, measured). Ids are those of the protein alphabet.

Sequences of 60 % identity and more, by shared 5-mers, and those alike to either stay on one side of every split.
UniProt is split 90 / 4 / 6 % in whole groups, the localisation into five folds of equal classes, the secondary
structure as given.
"""

from __future__ import annotations

import argparse
import csv
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "shared" / "data" / "protein"
FOLDER = HERE.parent / ".protein"
FILES = (
    "DB.fasta.gz", "FLIP_secondary_structure_splits.zip", "SEQ_LOCATION.tsv", "A0A1C5UJ41.a3m", "P62593.fasta",
)  # fmt: skip
IDENTITY = 0.6
STATES = "HEC"
FOLDS = 5
UNKNOWN = 255


class Proteins(NamedTuple):
    """Sequences one behind the other."""

    ids: np.ndarray
    """uint8 [S]"""
    ends: np.ndarray
    """Where each sequence ends: int64 [N]."""

    @classmethod
    def of(cls, sequences: list[np.ndarray]) -> Proteins:
        return cls(np.concatenate(sequences), np.cumsum([len(row) for row in sequences]))

    def rows(self, values: np.ndarray | None = None) -> list[np.ndarray]:
        """The sequences, or values of their residues."""
        return np.split(self.ids if values is None else values, self.ends[:-1])


def load(folder: Path, name: str) -> tuple[Proteins, dict[str, np.ndarray]]:
    """Sequences of a file of the folder, and what is known of them."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise SystemExit(f"error: {path} is missing; make it with python benchmarks/protein_data.py --output {folder}")
    with np.load(path) as file:
        facts = {key: file[key] for key in file}
    return Proteins(facts.pop("ids"), facts.pop("ends")), facts


def deal(group: np.ndarray, size: np.ndarray, shares: list[float], seed: int) -> np.ndarray:
    """Whole groups at random to parts of these shares of the size: number of the part of each sequence, int64 [N]."""
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    total = np.bincount(group, size)[order]
    middle = (np.cumsum(total) - total / 2) / total.sum()
    part = np.empty(len(order), np.int64)
    part[order] = np.searchsorted(np.cumsum(shares)[:-1], middle, side="right")
    return part[group]


def prepare(source: Path, folder: Path) -> None:
    """Write the folder."""
    from xlstm_apps.biosequence import get_tokenizer
    from xlstm_apps.datasets.sequences import identity_clusters, read_records

    tokenizer = get_tokenizer("protein")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if not (source / name).is_file():
            raise SystemExit(f"error: {source / name} is missing")

    def clusters(rows: list[np.ndarray]) -> np.ndarray:
        return identity_clusters(rows, tokenizer.alphabet.definite, IDENTITY)

    def write(name: str, sequences: list[np.ndarray], **facts: np.ndarray) -> None:
        own = Proteins.of(sequences)
        np.savez_compressed(folder / f"{name}.npz", ids=own.ids, ends=own.ends, **facts)

    records = read_records(source / "DB.fasta.gz")
    sequences = [tokenizer.fold_text(bytes(record.sequence).decode()) for record in records]
    group = clusters(sequences)
    part = deal(group, np.array([len(row) for row in sequences]), [0.9, 0.04, 0.06], seed=0)
    write("uniprot", sequences, group=group, part=part)
    told = ", ".join(f"{name} {(part == n).sum():,}" for n, name in enumerate(("train", "val", "test")))
    print(f"uniprot: {told}; {group.max() + 1:,} groups, the largest of {np.bincount(group).max():,}")

    with zipfile.ZipFile(source / "FLIP_secondary_structure_splits.zip") as archive:
        files = {name: _fasta(archive.read(f"splits/{name}.fasta")) for name in ("sequences", "sampled", "mask")}
    rows, states, parts = [], [], []
    for name, (_, text) in files["sequences"].items():
        told, label = files["sampled"][name]
        row = np.frombuffer(label.encode(), np.uint8)
        known = np.frombuffer(files["mask"][name][1].encode(), np.uint8) == ord("1")
        state = np.select([row == ord(letter) for letter in STATES], range(len(STATES)), UNKNOWN)
        rows.append(tokenizer.fold_text(text))
        states.append(np.where(known, state, UNKNOWN).astype(np.uint8))
        parts.append(2 if "SET=test" in told else int("VALIDATION=True" in told))
    part = np.array(parts)
    write("structure", rows, state=np.concatenate(states), part=part)
    told = ", ".join(f"{name} {(part == n).sum():,}" for n, name in enumerate(("train", "val", "test")))
    print(f"structure: {told}; {np.mean(np.concatenate(states) != UNKNOWN):.1%} of the residues have a state")

    with (source / "SEQ_LOCATION.tsv").open(newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    rows = [tokenizer.fold_text(row["sequence"]) for row in table]
    label, group = np.array([int(row["label"]) for row in table]), clusters(rows)
    fold = np.zeros(len(rows), np.int64)
    first = label[np.unique(group, return_index=True)[1]][group]  # class of the first of each group
    for kind in np.unique(first):
        own = np.flatnonzero(first == kind)
        fold[own] = deal(np.unique(group[own], return_inverse=True)[1], np.ones(len(own)), [1 / FOLDS] * FOLDS, seed=0)
    write("location", rows, label=label, group=group, fold=fold)
    print(f"location: {len(rows):,}, {label.sum():,} of class 1; {group.max() + 1:,} groups; folds {np.bincount(fold)}")

    relatives = [tokenizer.fold_text(bytes(r.sequence).decode()) for r in read_records(source / "A0A1C5UJ41.a3m")][1:]
    relatives = [np.frombuffer(text, np.uint8) for text in dict.fromkeys(row.tobytes() for row in relatives)]
    mutants = [*read_records(source / "P62593.fasta")]
    rows = [tokenizer.fold_text(bytes(record.sequence).decode()) for record in mutants]
    wild = np.array([np.bincount(column).argmax() for column in np.stack(rows).T], np.uint8)
    changed = [n for n, row in enumerate(rows) if (row != wild).sum() == 1]
    joint = clusters([*sequences, *relatives, wild])
    near = np.isin(joint[: len(sequences)], joint[len(sequences) :])
    write("relatives", relatives, near=near)
    score = np.array([float(mutants[n].id.rpartition("|")[2]) for n in changed])
    write("lactamase", [wild, *(rows[n] for n in changed)], score=score)
    print(
        f"relatives: {len(relatives):,}; lactamase: {len(changed):,}; {near.sum()} proteins of UniProt are like either"
    )
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"wrote {folder}, {size:.1f} MiB")


def _fasta(content: bytes) -> dict[str, tuple[str, str]]:
    """What stands behind each name, and its lines as one: of labels too, which a reader of sequences would refuse."""
    entries = (entry.partition("\n") for entry in content.decode().split(">")[1:])
    return {head.split()[0]: (head, body.replace("\n", "")) for head, _, body in entries}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    prepare(options.source, options.output)
