"""Write the sample of molecules, wehi_molecules.smi.gz, from the data that RDKit brings along.

Needs RDKit 2026.9.1 for the same bytes (canonical SMILES differ between versions). What is taken is told in
samples/DATA.md.
"""

import csv
import gzip
import hashlib
import io
from pathlib import Path

from rdkit import Chem, RDConfig, rdBase

SOURCE = Path(RDConfig.RDDataDir) / "Pains" / "test_data" / "wehi_mols.csv"
OUTPUT = Path(__file__).resolve().parents[1] / "xlstm_apps" / "datasets" / "samples" / "wehi_molecules.smi.gz"


def extract(source: Path, output: Path) -> str:
    """Write the sample and return its SHA-256."""
    lines, seen = [], set()
    with source.open(newline="") as file:
        for smiles, name in csv.reader(file):
            canonical = Chem.MolToSmiles(Chem.MolFromSmiles(smiles))
            if canonical not in seen:
                seen.add(canonical)
                lines.append(f"{canonical} {name}\n")
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as archive:
        archive.write("".join(lines).encode())
    output.write_bytes(packed.getvalue())
    print(f"{len(lines):,} molecules")
    return hashlib.sha256(packed.getvalue()).hexdigest()


if __name__ == "__main__":
    with rdBase.BlockLogs():
        print(extract(SOURCE, OUTPUT))
