"""The data of the DNA benchmarks, made once into a small folder that needs nothing but NumPy to be read.

    python benchmarks/dna_data.py --source FOLDER --output .dna

FOLDER holds NC_000913.gbk.gz (E. coli K-12), NC_002695.gbk.gz (E. coli O157:H7), Ecoli_prom.fa, Ecoli_non_prom.fa,
Mouse_tata.fa, Mouse_nonprom.fa (promoters and not; Umarov & Solovyev 2017) and sortseq_data.csv.gz (lac promoters
sorted by expression; Kinney et al. 2010). Ids are those of the DNA alphabet: A, C, G, T, N = 7 to 11.

K-12 is cut into training, validation (5 %, within it) and test (the last 10 %). A k-mer (k = 16) of the test or of
O157:H7 is known if it occurs in training, on either strand; a window of which half of the k-mers are known has a near
copy there. Promoters are grouped: sequences that share half of their k-mers stay on one side of every split.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "shared" / "data" / "dna"
FOLDER = HERE.parent / ".dna"
A, N = 7, 11
K = 16
HELD_OUT = {
    "val": (0.62, 0.67),
    "test": (0.90, 1.0),
}  # no ribosomal RNA in the validation stretch: all have near copies
PROMOTERS = {"ecoli": ("Ecoli_prom.fa", "Ecoli_non_prom.fa"), "mouse-tata": ("Mouse_tata.fa", "Mouse_nonprom.fa")}


def parts(genome: np.ndarray) -> dict[str, np.ndarray]:
    """Training, validation and test of K-12. Where validation was cut out of training stands an N."""
    cut = {name: slice(int(a * len(genome)), int(b * len(genome))) for name, (a, b) in HELD_OUT.items()}
    gap = np.array([N], np.uint8)
    train = np.concatenate([genome[: cut["val"].start], gap, genome[cut["val"].stop : cut["test"].start]])
    return {"train": train, **{name: genome[stretch] for name, stretch in cut.items()}}


def load(folder: Path, name: str) -> dict[str, np.ndarray]:
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise SystemExit(f"error: {path} is missing; make it with python benchmarks/dna_data.py --output {folder}")
    with np.load(path) as file:
        return {key: file[key] for key in file}


def reverse_complement(ids: np.ndarray) -> np.ndarray:
    """Of the last axis; N stays N."""
    return np.where(ids == N, N, 2 * A + 3 - ids)[..., ::-1].astype(np.uint8)


def kmers(ids: np.ndarray) -> np.ndarray:
    """Every k-mer as a number, the smaller of both strands; those with an N become the largest number: uint64."""
    if len(ids) < K:
        return np.zeros(0, np.uint64)

    def words(row: np.ndarray) -> np.ndarray:
        out = np.zeros(len(row) - K + 1, np.uint64)
        for j in range(K):
            out = (out << np.uint64(2)) | (row[j : j + len(out)] - A).astype(np.uint64) & np.uint64(3)
        return out

    both = np.minimum(words(ids), words(reverse_complement(ids))[::-1])
    unknown = np.concatenate([[0], np.cumsum(ids == N)])
    return np.where(unknown[K:] == unknown[:-K], both, np.uint64(2**63))


def overlap(known: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Share of the k-mers of each window [start, stop) that are known; 1 where it has none."""
    total = np.concatenate([[0], np.cumsum(known)])
    first, last = windows[:, 0], np.minimum(windows[:, 1] - K + 1, len(known))
    return np.where(last > first, (total[last] - total[first]) / np.maximum(last - first, 1), 1.0)


def clusters(ids: np.ndarray) -> np.ndarray:
    """Group of each sequence: single linkage over pairs that share half of their k-mers: int64 [N]."""
    own = [np.unique(kmers(row)) for row in ids]
    words = np.concatenate(own)
    owner = np.repeat(np.arange(len(own)), [len(w) for w in own])
    order = np.argsort(words, kind="stable")
    words, owner = words[order], owner[order]
    borders = np.concatenate([[0], np.flatnonzero(np.diff(words)) + 1, [len(words)]])
    shared: dict[tuple[int, int], int] = {}
    for a, b in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        members = owner[a:b].tolist()
        for i, one in enumerate(members):
            for two in members[i + 1 :]:
                shared[one, two] = shared.get((one, two), 0) + 1
    group = list(range(len(own)))

    def root(n: int) -> int:
        while group[n] != n:
            group[n] = group[group[n]]
            n = group[n]
        return n

    for (one, two), count in shared.items():
        if count >= 0.5 * min(len(own[one]), len(own[two])):
            group[root(one)] = root(two)
    return np.array([root(n) for n in range(len(own))])


def prepare(source: Path, folder: Path) -> None:
    """Write the folder."""
    from xlstm_apps.datasets.sequences import read_records

    table = np.full(256, N, np.uint8)
    for code, (large, small) in enumerate(zip(b"ACGT", b"acgt", strict=True), A):
        table[[large, small]] = code

    def ids_of(sequence: bytes) -> np.ndarray:
        return table[np.frombuffer(sequence, np.uint8)]

    def read(name: str) -> list[np.ndarray]:
        if not (source / name).is_file():
            raise SystemExit(f"error: {source / name} is missing")
        return [ids_of(bytes(record.sequence)) for record in read_records(source / name)]

    folder.mkdir(parents=True, exist_ok=True)
    k12, o157 = max(read("NC_000913.gbk.gz"), key=len), max(read("NC_002695.gbk.gz"), key=len)
    k12_parts = parts(k12)
    training = np.unique(kmers(k12_parts["train"]))

    def known(ids: np.ndarray) -> np.ndarray:
        return np.packbits(np.isin(kmers(ids), training))

    np.savez_compressed(
        folder / "genomes.npz", k12=k12, o157=o157, known_test=known(k12_parts["test"]), known_o157=known(o157)
    )
    text, hidden = k12.tobytes(), k12.copy()
    for name, files in PROMOTERS.items():
        both = [read(file) for file in files]
        length = max(map(len, both[0]))
        kept = [[row for row in rows if len(row) == length] for rows in both]
        ids = np.stack(kept[0] + kept[1])
        label = np.repeat([1, 0], [len(kept[0]), len(kept[1])])
        ids, first = np.unique(ids, axis=0, return_index=True)
        label, group = label[first], clusters(ids)
        np.savez_compressed(folder / f"{name}.npz", ids=ids, label=label, group=group)
        print(
            f"{name}: {label.sum()} promoters, {(label == 0).sum()} not, {length} bp; "
            f"{sum(map(len, both)) - len(ids)} left out (double or of another length), {len(np.unique(group))} groups, "
            f"the largest of {np.bincount(group).max()}"
        )
        if name == "ecoli":
            found = 0
            for row in ids:
                for strand in (row, reverse_complement(row)):
                    place = text.find(strand.tobytes())
                    found += place >= 0
                    while place >= 0:
                        hidden[place : place + length] = N
                        place = text.find(strand.tobytes(), place + 1)
            print(f"{name}: {found} of these are on the genome, {(hidden == N).mean():.1%} of which is hidden as N")
    np.savez_compressed(folder / "hidden.npz", k12=hidden)
    with gzip.open(source / "sortseq_data.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    counts = np.array([[float(row[f"ct_{n}"]) for n in range(10)] for row in rows])
    np.savez_compressed(
        folder / "sortseq.npz",
        ids=np.stack([ids_of(row["x"].encode()) for row in rows]),
        target=(counts @ np.arange(10) / counts.sum(1)).astype(np.float32),
        part=np.array([row["set"] for row in rows]),
    )
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"K-12 {len(k12):,}, O157:H7 {len(o157):,}, sort-seq {len(rows):,}; wrote {folder}, {size:.1f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    prepare(options.source, options.output)
