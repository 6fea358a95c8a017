"""The data of the molecule benchmarks, made once into a small folder that needs nothing but NumPy to be read.

    python benchmarks/molecule_data.py --source FOLDER --output .molecules

FOLDER holds moses_train.csv.gz (1,584,663 molecules of ZINC; Polykovskiy et al. 2020) and, with a property each that
was measured, lipo.csv (octanol-water distribution at pH 7.4), esol.csv (log solubility in water) and bbbp.csv (does it
pass the blood-brain barrier?), all three of MoleculeNet (Wu et al. 2018). Ids are those of the SMILES alphabet, an end
token behind each molecule.

moses: as written, in the order of the alphabet, of which every 158th is for validation. Properties: canonical SMILES,
each molecule once (the first label counts), what RDKit does not read is left out; with 2,048 bits of Morgan
fingerprints of radius 2. Molecules of one Murcko scaffold, and those without rings each by themselves, are dealt at
random to training, validation and test, 80 / 10 / 10 %, five times.

sets: the 50 sets of icst_valid.zip (Schmidinger et al. 2024), canonical; parts of salts are molecules, as there.
Sets that share a tenth of the smaller one are a group; the groups, whole, are for training, validation (2) or test (8),
the largest for training. chembl: 150,000 molecules of chemblv31_*.zip, as written, to begin from; none of them is in a
set for validation or test. Those that share a Murcko scaffold with 3 to 400 others are a series.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from protein_data import deal

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "shared" / "data" / "smiles"
FOLDER = HERE.parent / ".molecules"
PROPERTIES = {  # file, column of the property, whether it is a class
    "lipo": ("lipo.csv", "exp", False),
    "esol": ("esol.csv", "measured log solubility in mols per litre", False),
    "bbbp": ("bbbp.csv", "p_np", True),
}
SPLITS = 5
SETS = ("icst_valid.zip", ("chemblv31_mini_train.zip", "chemblv31_valid.zip", "chemblv31_test.zip"))
SHARED = 0.1
SERIES = (4, 401)
PARTS = ("moses", "properties", "sets")
SHARES = [0.8, 0.1, 0.1]
HELD_BACK = 158
END, PAD = 2, 0


def load(folder: Path, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Ids of the molecules of a file of the folder, uint8 [S], each with its end, and what is known of them."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise SystemExit(f"error: {path} is missing; make it with python benchmarks/molecule_data.py --output {folder}")
    with np.load(path) as file:
        facts = {key: file[key] for key in file}
    return facts.pop("ids"), facts


def rows(ids: np.ndarray) -> list[np.ndarray]:
    """The molecules one by one, each with its end."""
    return np.split(ids, np.flatnonzero(ids == END)[:-1] + 1)


def prepare(source: Path, folder: Path, first: int | None, parts: list[str]) -> None:
    """Write the folder, or parts of it."""
    from xlstm_apps.biosequence import get_tokenizer

    tokenizer = get_tokenizer("smiles")
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, smiles: list[str], **facts: np.ndarray) -> None:
        ids = [np.append(tokenizer.encode(text), END).astype(np.uint8) for text in smiles]
        np.savez_compressed(folder / f"{name}.npz", ids=np.concatenate(ids), **facts)  # pyright: ignore

    if "moses" in parts:
        with gzip.open(source / "moses_train.csv.gz", "rt") as file:
            smiles = sorted(line.strip() for line in [*file][1:])
        smiles = smiles[:: 1 if first is None else max(1, len(smiles) // first)]
        write("moses", smiles)
        print(f"moses: {len(smiles):,}, of which {len(smiles[::HELD_BACK]):,} for validation", flush=True)
    if "sets" in parts:
        smiles, facts, told = sets(source)
        write("sets", smiles, **facts)
        held_out = {smiles[i] for i, n in zip(facts["molecule"], facts["set"], strict=True) if facts["part"][n]}
        chembl = sorted({text for name in SETS[1] for text in _zipped(source / name)} - held_out)
        series = series_of(chembl)
        write("chembl", chembl, series=series)
        print(f"sets: {told}\nchembl: {len(chembl):,}, {(series >= 0).sum():,} of them in {series.max() + 1:,} series")
    for name in PROPERTIES if "properties" in parts else ():
        smiles, facts, told = labelled(source, name)
        write(name, smiles, **facts)
        print(f"{name}: {told}", flush=True)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"wrote {folder}, {size:.1f} MiB")


def sets(source: Path) -> tuple[list[str], dict[str, np.ndarray], str]:
    """Canonical SMILES, which of them each set holds, the part of each set and its group, and what to say of it."""
    from rdkit.Chem import MolToSmiles

    from xlstm_apps.datasets.molecules.chemistry import molecule, quiet

    rows = [line.split(".") for line in _zipped(source / SETS[0])]
    canonical: dict[str, str | None] = {}
    with quiet():
        for text in {text for row in rows for text in row}:
            canonical[text] = None if (mol := molecule(text)) is None else MolToSmiles(mol)
    members = [list(dict.fromkeys(c for text in row if (c := canonical[text]) is not None)) for row in rows]
    held = [set(row) for row in members]
    near = [[len(a & b) >= SHARED * min(len(a), len(b)) for b in held] for a in held]
    group = np.arange(len(rows))
    for a, b in np.argwhere(np.triu(near, 1)):
        group[group == group[b]] = group[a]
    group = np.unique(group, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(np.delete(np.arange(group.max() + 1), np.bincount(group).argmax()))
    part = np.where(np.isin(group, order[:8]), 2, np.isin(group, order[8:10])).astype(np.uint8)
    smiles = sorted(set().union(*held))
    number = {text: n for n, text in enumerate(smiles)}
    facts = {
        "molecule": np.array([number[text] for row in members for text in row], np.int32),
        "set": np.repeat(np.arange(len(rows), dtype=np.uint8), [len(row) for row in members]),
        "part": part,
        "group": group.astype(np.uint8),
    }
    bad = sum(value is None for value in canonical.values())
    told = (
        f"{len(rows)} in {group.max() + 1} groups, {np.bincount(part).tolist()} for training, validation and test; "
        f"{len(smiles):,} molecules, {bad} unreadable"
    )
    return smiles, facts, told


def series_of(smiles: list[str]) -> np.ndarray:
    """Number of the series of each molecule; -1 where it is in none."""
    from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
    from xlstm_apps.datasets.molecules.fragments import scaffold

    with quiet():
        found = [None if (mol := molecule(text)) is None else scaffold(mol) for text in smiles]
    _, number, count = np.unique([text or "" for text in found], return_inverse=True, return_counts=True)
    least, most = SERIES
    usable = (count >= least) & (count <= most)
    usable[number[[n for n, text in enumerate(found) if not text]]] = False
    return np.where(usable, usable.cumsum() - 1, -1)[number].astype(np.int32)


def _zipped(path: Path) -> list[str]:
    """Lines of the one file of an archive."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).decode().split()


def labelled(source: Path, name: str) -> tuple[list[str], dict[str, np.ndarray], str]:
    """Canonical SMILES of the molecules with a property, what is known of them, and what to say of it."""
    from rdkit.Chem import MolToSmiles

    from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
    from xlstm_apps.datasets.molecules.fingerprints import morgan_fingerprints
    from xlstm_apps.datasets.molecules.fragments import scaffold

    path, column, _ = PROPERTIES[name]
    with (source / path).open(newline="") as file:
        table = [(row["smiles"].strip(), float(row[column])) for row in csv.DictReader(file)]
    found: dict[str, tuple[Any, float]] = {}
    bad = other = 0
    with quiet():
        for text, value in table:
            mol = molecule(text)
            if mol is None:
                bad += 1
                continue
            smiles = MolToSmiles(mol)
            mol, first = found.setdefault(smiles, (molecule(smiles), value))
            other += first != value
        mols = [mol for mol, _ in found.values()]
        scaffolds = [scaffold(mol) or f"alone {n}" for n, mol in enumerate(mols)]
        prints = np.packbits(morgan_fingerprints(mols, bits=2048), axis=1)
    group = np.unique(scaffolds, return_inverse=True)[1]
    part = np.stack([deal(group, np.ones(len(group)), SHARES, seed) for seed in range(SPLITS)]).astype(np.uint8)
    target = np.array([value for _, value in found.values()], np.float32)
    told = (
        f"{len(found):,} molecules of {len(table):,} rows, {bad} unreadable, {other} repeated with another label; "
        f"{group.max() + 1:,} scaffolds; for test {[int((row == 2).sum()) for row in part]}"
    )
    return list(found), {"target": target, "fingerprint": prints, "part": part}, told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--first", type=int, help="for a trial: about so many molecules of MOSES only")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="what to make")
    options = parser.parse_args()
    prepare(options.source, options.output, options.first, options.parts)
