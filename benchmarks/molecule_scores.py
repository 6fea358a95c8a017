"""Numbers of MOSES (Polykovskiy et al. 2020) of generated molecules, on the CPU with RDKit and fcd_torch.

    python benchmarks/molecule_scores.py --references      # most of an hour of one core: makes .moses; can be stopped
    python benchmarks/molecule_scores.py FOLDER/xlstm.tokens.gz FOLDER/lstm.tokens.gz --model FOLDER/xlstm
    python benchmarks/molecule_scores.py --summary

One row per set of molecules goes to molecule_moses_scores.csv. Novelty is against all 1,584,663 molecules of training;
SNN, Frag, Scaf and FCD are against the 176,074 held-out molecules (`test`) and the 176,225 with scaffolds that training
does not have (`scaffolds`). `drawn from training`: as many molecules of training, which is as near as it gets.
`--model`: the same draws, but where a string is no molecule, drawn anew from where it went wrong, as `generate --valid`
does. `--first N` looks at the first N lines only, and says so in `n`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from grid import RESULTS, Row, read, write

SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "smiles"
CACHE = Path(__file__).parent.parent / ".moses"
REFERENCES = ("test", "scaffolds")
FILES = {
    "test": "moses_test.csv.gz",
    "scaffolds": "moses_test_scaffolds.csv.gz",
    "training": "moses_train.csv.gz",
}
TRAINING = "training"
NAME = "molecule_moses_scores.csv"
AGAINST = tuple(f"{metric}_{reference}" for metric in ("fcd", "snn", "frag", "scaf") for reference in REFERENCES)
FIELDS = (
    "molecules", "source", "n", "valid", "unique@1k", "unique@10k", *AGAINST, "int_div", "int_div2", "novel", "seconds",
)  # fmt: skip
BLOCK = 10_000

# Table of the paper and of its repository: means of three trainings, 30,000 molecules of each.
PUBLISHED: tuple[tuple[Any, ...], ...] = (
    ("CharRNN", 0.9748, 1.0, 0.9994, 0.0732, 0.5204, 0.6015, 0.5649, 0.9998, 0.9983, 0.9242, 0.1101,
     0.8562, 0.8503, 0.8419),
    ("JTN-VAE", 1.0, 1.0, 0.9996, 0.3954, 0.9382, 0.5477, 0.5194, 0.9965, 0.9947, 0.8964, 0.1009,
     0.8551, 0.8493, 0.9143),
)  # fmt: skip


class Known(NamedTuple):
    """What is known of a set of held-out molecules, or of some of them: what generated ones are compared with."""

    fingerprints: np.ndarray
    """Bits of Morgan fingerprints, packed: uint8 [N, 128]."""
    total: np.ndarray
    """Sum of ChemNet's activations: [512]."""
    products: np.ndarray
    """Sum of their outer products: [512, 512]."""
    fragments: Counter[str]
    scaffolds: Counter[str]

    @classmethod
    def of(cls, smiles: list[str], fcd: Any) -> Known:
        from xlstm_apps.datasets.molecules.chemistry import molecule
        from xlstm_apps.datasets.molecules.fingerprints import morgan_fingerprints
        from xlstm_apps.datasets.molecules.fragments import fragment_counts, scaffold_counts

        mols = [molecule(text) for text in smiles]
        prints = np.packbits(morgan_fingerprints(mols), axis=1)
        x = fcd.get_predictions(smiles).astype(float)
        return cls(prints, x.sum(0), x.T @ x, fragment_counts(mols), scaffold_counts(mols))

    def save(self, path: Path) -> None:
        counts = np.frombuffer(json.dumps([self.fragments, self.scaffolds]).encode(), np.uint8)
        arrays = {"fingerprints": self.fingerprints, "total": self.total, "products": self.products, "counts": counts}
        aside = path.with_name(f"partial-{path.name}")
        np.savez_compressed(aside, **arrays)  # pyright: ignore[reportArgumentType]
        aside.replace(path)

    @classmethod
    def load(cls, paths: list[Path]) -> Known:
        """Of several files together."""
        prints, total, products = [], np.zeros(512), np.zeros((512, 512))
        fragments, scaffolds = Counter[str](), Counter[str]()
        for path in paths:
            with np.load(path) as file:
                prints.append(file["fingerprints"])
                total, products = total + file["total"], products + file["products"]
                found = json.loads(file["counts"].tobytes())
            fragments.update(found[0])
            scaffolds.update(found[1])
        return cls(np.concatenate(prints), total, products, fragments, scaffolds)

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """Mean and covariance of ChemNet's activations, as fcd_torch takes them."""
        n = len(self.fingerprints)
        mean = self.total / n
        return {"mu": mean, "sigma": (self.products - n * np.outer(mean, mean)) / (n - 1)}


def chemnet() -> Any:
    """ChemNet, with the weights that come with fcd_torch."""
    import torch
    from fcd_torch import FCD

    torch.set_num_threads(1)
    return FCD(device="cpu", n_jobs=1, batch_size=128)


def lines(path: Path, header: bool = False) -> list[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [line.rstrip("\n") for line in file][header:]


def make_references(source: Path, cache: Path, names: list[str], first: int | None) -> None:
    """Files of so many molecules each, so that a stopped computation goes on; and all of training, canonical."""
    cache.mkdir(exist_ok=True, parents=True)
    fcd = chemnet()
    for name in names:
        smiles = lines(source / FILES[name], header=True)[:first]
        if name == TRAINING:
            # Some are written in another way than the RDKit of today does, and would seem to be new.
            if not (cache / f"{TRAINING}.smi.gz").is_file():
                write_lines(cache / f"{TRAINING}.smi.gz", canonical(smiles))
            continue
        for path, own in zip(blocks(cache, name, len(smiles)), range(0, len(smiles), BLOCK), strict=True):
            if not path.is_file():
                started = time.monotonic()
                Known.of(smiles[own : own + BLOCK], fcd).save(path)
                print(f"{path.name} of {len(smiles):,} molecules: {time.monotonic() - started:.0f} s", flush=True)


def blocks(cache: Path, name: str, count: int) -> list[Path]:
    return [cache / f"{name}-{at // BLOCK:02d}.npz" for at in range(0, count, BLOCK)]


def known(source: Path, cache: Path, name: str) -> Known:
    paths = blocks(cache, name, len(lines(source / FILES[name], header=True)))
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SystemExit(
            f"error: {cache} lacks {len(missing)} files, such as {missing[0]}; "
            "python benchmarks/molecule_scores.py --references makes them"
        )
    return Known.load(paths)


def canonical(smiles: list[str]) -> list[str]:
    from rdkit.Chem import MolToSmiles

    from xlstm_apps.datasets.molecules.chemistry import molecule

    return [MolToSmiles(molecule(text)) for text in smiles]


def write_lines(path: Path, rows: list[str]) -> None:
    """The whole file or nothing."""
    aside = path.with_name(f"partial-{path.name}")
    with gzip.open(aside, "wt", compresslevel=6) as file:
        file.writelines(f"{row}\n" for row in rows)
    aside.replace(path)


def scores(smiles: list[str], training: set[str], references: dict[str, Known]) -> Row:
    """All numbers of a set."""
    from xlstm_apps.datasets.molecules.fingerprints import morgan_fingerprints
    from xlstm_apps.datasets.molecules.fragments import cosine, fragment_counts, scaffold_counts
    from xlstm_apps.datasets.molecules.metrics import (
        internal_diversity,
        nearest_neighbour_similarity,
        novelty,
        read_valid,
        uniqueness,
        validity,
    )

    started, fcd = time.monotonic(), chemnet()
    valid = read_valid(smiles)
    prints = morgan_fingerprints(valid.molecules)
    fragments, scaffolds = fragment_counts(valid.molecules), scaffold_counts(valid.molecules)
    activations = fcd.precalc(valid.smiles)
    row: Row = {"n": len(smiles), "valid": validity(valid), "novel": novelty(valid.smiles, training)}
    for name, first in (("unique@1k", 1000), ("unique@10k", 10_000)):
        row[name] = uniqueness(valid.smiles, first) if len(valid.smiles) >= first else ""
    row |= {"int_div": internal_diversity(prints), "int_div2": internal_diversity(prints, 2)}
    for name, held_out in references.items():
        row[f"fcd_{name}"] = float(fcd.metric(held_out.activations, activations))
        row[f"snn_{name}"] = nearest_neighbour_similarity(prints, np.unpackbits(held_out.fingerprints, axis=1))
        row[f"frag_{name}"] = cosine(fragments, held_out.fragments)
        row[f"scaf_{name}"] = cosine(scaffolds, held_out.scaffolds)
    return {**row, "seconds": round(time.monotonic() - started)}


def mended(drawn: list[list[str]], folder: Path, seed: int) -> list[str]:
    """Tokens that a model drew, with those that are no molecules drawn anew, as `generate --valid` does."""
    import torch

    from xlstm_apps.biosequence.smiles_validity import ValidSmiles
    from xlstm_apps.biosequence.tokenizer import Tokenizer
    from xlstm_apps.estimators.sequence_generation import only_molecules
    from xlstm_apps.estimators.sequence_saved import language_model

    model, constraint = language_model(folder, "cpu", verb="generate"), ValidSmiles()
    tokenizer, generator = Tokenizer(model.alphabet), torch.Generator().manual_seed(seed)
    out = ["".join(tokens) for tokens in drawn]
    wrong = [n for n, text in enumerate(out) if not constraint.is_molecule(text)]
    symbols = model.alphabet.symbols
    for at in range(0, len(wrong), 64):
        members = wrong[at : at + 64]
        rows = [torch.tensor([*(symbols[token] for token in drawn[n]), model.alphabet.end]) for n in members]
        options = {"temperature": 1.0, "generator": generator}
        made = only_molecules(model, [""] * len(rows), rows, constraint, 0, 100, options)
        for n, row in zip(members, made, strict=True):
            out[n] = tokenizer.decode(row.numpy())
        print(f"{at + len(members):,} of {len(wrong):,} strings that were no molecules", flush=True)
    return out


def published() -> list[Row]:
    names = ("molecules", "valid", "unique@1k", "unique@10k", *AGAINST, "int_div", "int_div2", "novel")
    return [dict(zip(names, row, strict=True)) | {"source": "published", "n": 30_000} for row in PUBLISHED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generated", nargs="*", type=Path, help="files with a string per line, a space between tokens")
    parser.add_argument("--model", type=Path, help="folder of the model that drew the first file: adds its --valid")
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the MOSES data")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of what the held-out sets are like")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--references", nargs="*", choices=list(FILES), help="make the cache; of these, or of all")
    parser.add_argument("--first", type=int, help="for a trial: so many lines of each file only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--summary", action="store_true", help="only show the rows")
    options = parser.parse_args()
    if options.references is not None:
        make_references(options.source, options.cache, options.references or list(FILES), options.first)
        return
    if not options.summary:
        measure(options)
    summary(read(options.output / NAME))


def measure(options: argparse.Namespace) -> None:
    references = {name: known(options.source, options.cache, name) for name in REFERENCES}
    if not (options.cache / f"{TRAINING}.smi.gz").is_file():
        raise SystemExit(f"error: {options.cache} lacks {TRAINING}.smi.gz; --references makes it")
    training = lines(options.cache / f"{TRAINING}.smi.gz")
    drawn = {
        path.name.partition(".")[0]: [row.split() for row in lines(path)[: options.first]] for path in options.generated
    }
    sets = {name: ["".join(tokens) for tokens in rows] for name, rows in drawn.items()}
    if options.model is not None:
        name = next(iter(drawn))
        sets[f"{name} --valid"] = mended(drawn[name], options.model, options.seed)
    count = max(map(len, sets.values()), default=30_000)
    chosen = np.random.default_rng(options.seed).choice(len(training), count, replace=False)
    sets["drawn from training"] = [training[i] for i in chosen]
    rows = [row for row in read(options.output / NAME) if row["source"] == "here"]
    have = {(row["molecules"], int(row["n"])) for row in rows}
    for name, smiles in sets.items():
        if name == "drawn from training" and (name, len(smiles)) in have:
            continue
        row = {"molecules": name, "source": "here", **scores(smiles, set(training), references)}
        rows = [old for old in rows if (old["molecules"], int(old["n"])) != (name, len(smiles))] + [row]
        write(options.output / NAME, FIELDS, rows + published())
        print(f"{name}: {row['seconds']} s", flush=True)


def summary(rows: list[Row]) -> None:
    shown = ("molecules", *FIELDS[2:-1])
    print(" ".join(f"{name[:14]:>14s}" for name in shown))
    for row in rows:
        print(" ".join(f"{row[name][:14]:>14s}" for name in shown))


if __name__ == "__main__":
    from xlstm_apps.datasets.molecules.chemistry import quiet

    with quiet():
        main()
