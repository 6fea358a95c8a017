"""Molecules in context: what a set that is read before is worth, in perplexity and in what is then made up.

    python benchmarks/molecule_data.py                                                  # once: makes .molecules
    python benchmarks/molecule_moses.py --corpus chembl --networks xlstm --budget 100 --output FOLDER/chembl    # GPU
    python benchmarks/molecule_sets.py --start FOLDER/chembl/xlstm --precision bf16-mixed --output FOLDER       # GPU
    python benchmarks/molecule_sets.py --score --output FOLDER                                                  # CPU

The first call trains a model on lines of sets and writes FOLDER/sets (weights in half precision), molecule_sets.csv
(`perplexity`) and sets.tokens.gz, what was drawn; the second one, which needs RDKit, adds `similarity` to the rows.

Protocol. 8 of the 18 groups of sets, none of which shares a tenth of its molecules with another group, are only tested
on. A line of training holds molecules in random order, parted by [SEP]: of one set or, since there are few, of one to
eight series of ChEMBL, as many lines of either; a tenth of the batches hold single ones. The weights are those of the
best of `--looks` looks at lines of two other groups.

`perplexity`: of molecules that training has not, behind 0, 1, 2, ... of their own set (`real`), and behind as many of a
set of another group (`other`).
`similarity`: Tanimoto similarity, by Morgan fingerprints, of new molecules to the nearest of the `--shown` molecules
that were shown, and of those of the set that were not. New: a molecule that is neither among the shown nor in training
(ChEMBL as it was written, too), each once; how many are copies is told apart and never counts as similar. Controls: as
many drawn behind nothing, and behind a set of each other group, held against the same molecules. Means over sets, each
with as many draws.
"""

from __future__ import annotations

import argparse
import gzip
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import Row, precision, read, write
from grid_fit import facts
from molecule_data import FOLDER, load, rows
from molecule_moses import draw
from sequence_grid import line_options, steps_of
from sequence_networks import build

NAME = "molecule_sets.csv"
FIELDS = (
    "measure", "control", "molecules", "sets", "targets", "perplexity", "to_shown", "to_rest", "sets_behind", "valid",
    "distinct", "copies", "known", "new", "parameters", "val_loss", "fit_seconds", "precision", "device", "torch",
)  # fmt: skip
COUNTS = (0, 1, 2, 4, 8, 16, 32)
SERIES = 8  # of one line, at most
SINGLE = 10  # every so many batches hold single molecules
ROOM = 64  # tokens of one of these, about
NOTHING = "nothing"


class Sets:
    """The sets of the folder: ids of all molecules, which each set holds, and where it belongs; and the series."""

    def __init__(self, folder: Path) -> None:
        from xlstm_apps.biosequence.alphabets import get_alphabet

        self.alphabet = get_alphabet("smiles", sets=True)
        ids, facts = load(folder, "sets")
        self.molecules = [np.append(row[:-1], self.alphabet.end).astype(np.uint8) for row in rows(ids)]
        self.members = [facts["molecule"][facts["set"] == n] for n in range(len(facts["part"]))]
        self.part, self.group = facts["part"], facts["group"]
        self.series = self._series(folder)
        self.trained = {self.molecules[i].tobytes() for n in self.of(0) for i in self.members[n]}

    def _series(self, folder: Path) -> list[list[np.ndarray]]:
        """Molecules of each series of ChEMBL."""
        ids, facts = load(folder, "chembl")
        found: list[list[np.ndarray]] = [[] for _ in range(facts["series"].max() + 1)]
        for row, number in zip(rows(ids), facts["series"].tolist(), strict=True):
            if number >= 0:
                found[number].append(np.append(row[:-1], self.alphabet.end).astype(np.uint8))
        return found

    def of(self, part: int) -> list[int]:
        """Numbers of the sets of a part; of those that are tested one of each group."""
        own = np.flatnonzero(self.part == part).tolist()
        return own if part != 2 else [own[n] for n in np.unique(self.group[own], return_index=True)[1]]

    def text(self, molecule: int) -> str:
        return "".join(self.alphabet.tokens[i] for i in self.molecules[molecule][:-1])


class Lines:
    """Batches of lines, each a function of the seed and its number; to train, of series and single molecules, too."""

    def __init__(self, sets: Sets, part: int, context: int, symbols: int, count: int, seed: int, train: bool) -> None:
        self.sets, self.own, self.context, self.symbols = sets, sets.of(part), context, symbols
        self.count, self.seed, self.train = count, seed, train

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        (index,) = indices
        rng, pad = np.random.default_rng((self.seed, index)), self.sets.alphabet.pad
        alone = self.train and index % SINGLE == 0
        lines = []
        for line in range(max(1, self.symbols // (ROOM if alone else self.context))):
            members = self._series(rng) if self.train and line % 2 else self._set(rng)
            order = rng.permutation(len(members))
            found, length = [], 0
            for i in order[: 1 if alone else None]:
                found.append(members[i])
                length += len(found[-1])
                if length >= self.context:
                    break
            lines.append(np.concatenate(found)[: self.context])
        width = max(map(len, lines))
        ids = np.stack([np.pad(line, (0, width - len(line)), constant_values=pad) for line in lines]).astype(np.int64)
        return {"ids": torch.from_numpy(ids), "weights": torch.from_numpy((ids != pad).astype(np.float32))}

    def _set(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [self.sets.molecules[i] for i in self.sets.members[rng.choice(self.own)]]

    def _series(self, rng: np.random.Generator) -> list[np.ndarray]:
        chosen = rng.choice(len(self.sets.series), min(len(self.sets.series), rng.integers(1, SERIES + 1)), False)
        return [molecule for number in chosen for molecule in self.sets.series[number]]


def train(options: argparse.Namespace, sets: Sets) -> tuple[Any, Row]:
    """The model, and what to say of it."""
    import torch

    from xlstm_apps.biosequence.config import SequenceConfig
    from xlstm_apps.biosequence.model import SequenceModel
    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader, FitConfig, fit

    started = time.monotonic()
    torch.manual_seed(options.seed)
    layers = build("xlstm", options.size, alphabet="smiles")[0].config
    start = None if options.start is None else SequenceModel.from_pretrained(str(options.start))
    model = SequenceModel(SequenceConfig(alphabet="smiles", sets=True), layers if start is None else start.config)
    if start is not None:
        from xlstm_apps.estimators.molecule_sets import begin_with

        begin_with(model, start)
    per_look, how = steps_of(options.steps, options.looks)
    made = (options.context, options.symbols)
    lines, held = Lines(sets, 0, *made, options.steps, options.seed, True), Lines(sets, 1, *made, 4, 10**6, False)
    result = fit(
        SequenceModule(model),
        BatchLoader(lines, 1, steps_per_epoch=per_look, shuffle=True),  # pyright: ignore
        BatchLoader(held, 1),  # pyright: ignore
        FitConfig(
            learning_rate=options.rate, weight_decay=0.1, accelerator=options.accelerator,
            precision=options.precision, **how,
        ),
        seed=options.seed,
    )  # fmt: skip
    for row in result.history:
        print(f"step {row['step']}: validation {row['val_loss']:.4f}", flush=True)
    told: Row = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "val_loss": result.best_value,
        "fit_seconds": round(time.monotonic() - started, 1),
        **facts(options, result.device),
    }
    return model.to(result.device).eval(), told


def perplexity(model: Any, sets: Sets, options: argparse.Namespace) -> list[Row]:
    """Of the same molecules behind more and more of their own set, and of another one."""
    tested, targets = sets.of(2), []
    rng = np.random.default_rng(options.seed)
    for n in tested:
        new = [i for i in sets.members[n] if sets.molecules[i].tobytes() not in sets.trained]
        other = int(rng.choice([m for m in tested if m != n]))
        for target in rng.permutation(new)[: options.targets // len(tested)]:
            own = rng.permutation(sets.members[n][sets.members[n] != target])[: max(COUNTS)]
            apart = sets.members[other][~np.isin(sets.members[other], sets.members[n])]
            targets.append((target, {"real": own, "other": rng.permutation(apart)[: max(COUNTS)]}))
    found = []
    for count in COUNTS:
        for control in ("real", "other"):
            lines = [([*shown[control][:count]], target) for target, shown in targets]
            value = math.exp(nll_of(model, sets, lines, options.batch))
            print(f"perplexity {control} {count}: {value:.4f}", flush=True)
            about = {"measure": "perplexity", "control": control, "molecules": count, "sets": len(tested)}
            found.append({**about, "targets": len(targets), "perplexity": value})
    return found


def nll_of(model: Any, sets: Sets, lines: list[tuple[list[int], int]], batch: int) -> float:
    """Mean -log p of a token of the molecules asked about, each behind others; the end counts."""
    import torch

    total, tokens = 0.0, 0
    device, pad = model.embedding.weight.device, sets.alphabet.pad
    for at in range(0, len(lines), batch):
        own = [[*(sets.molecules[i] for i in shown), sets.molecules[asked]] for shown, asked in lines[at : at + batch]]
        full = [np.concatenate([[sets.alphabet.bos], *row]).astype(np.int64) for row in own]
        width = max(map(len, full))
        ids = torch.from_numpy(np.stack([np.pad(row, (0, width - len(row)), constant_values=pad) for row in full]))
        asked = torch.zeros(ids.shape, dtype=torch.bool)
        for n, row in enumerate(full):
            asked[n, len(row) - len(own[n][-1]) : len(row)] = True
        with torch.inference_mode():
            logits = model(ids[:, :-1].to(device))
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten().to(device), reduction="none")
        known = asked[:, 1:].flatten()
        total, tokens = total + nll.cpu()[known].double().sum().item(), tokens + int(known.sum())
    return total / tokens


def generate(model: Any, sets: Sets, options: argparse.Namespace) -> None:
    """Draw behind molecules of each set that is tested, and behind nothing, and write what comes."""
    import torch

    device, tokens = model.embedding.weight.device, sets.alphabet.tokens
    aside = options.output / "sets.partial"
    with gzip.open(aside, "wt") as file:

        def note(name: str, shown: list[int], behind: Any, seed: int) -> None:
            for made in draw(model, options.draws, options.draws, seed, behind):
                words = " ".join(tokens[i] for i in made if i != sets.alphabet.end)
                file.write(f"{name}\t{','.join(map(str, shown))}\t{words}\n")

        note(NOTHING, [], None, options.seed)
        for n in sets.of(2):
            for number in range(options.orders):
                shown = np.random.default_rng((options.seed, n, number)).permutation(sets.members[n])[: options.shown]
                line = np.concatenate([[sets.alphabet.bos], *(sets.molecules[i] for i in shown)])[:-1]
                with torch.inference_mode():
                    _, state = model(torch.from_numpy(line.astype(np.int64))[None].to(device), return_state=True)
                note(str(n), shown.tolist(), state, 1 + options.seed + 100 * n + number)
    aside.replace(options.output / "sets.tokens.gz")


def score(options: argparse.Namespace) -> None:
    """Add what the draws are like to the rows."""
    from rdkit.Chem import MolToSmiles

    from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
    from xlstm_apps.datasets.molecules.fingerprints import morgan_fingerprints, similarities

    sets = Sets(options.data)
    trained = {sets.text(i) for n in sets.of(0) for i in sets.members[n]}
    trained.update("".join(sets.alphabet.tokens[i] for i in row[:-1]) for row in rows(load(options.data, "chembl")[0]))
    drawn: dict[tuple[str, str], list[str]] = {}
    with gzip.open(options.output / "sets.tokens.gz", "rt") as file:
        for line in file:
            name, shown, words = line.rstrip("\n").split("\t")
            drawn.setdefault((name, shown), []).append(words.replace(" ", ""))
    with quiet():
        found = {}
        for key, texts in drawn.items():
            mols = [mol for mol in map(molecule, texts) if mol is not None]
            smiles = [MolToSmiles(mol) for mol in mols]
            first = {text: n for n, text in reversed([*enumerate(smiles)])}
            prints = morgan_fingerprints([mols[n] for n in first.values()])
            found[key] = (len(smiles) / len(texts), len(first) / max(1, len(smiles)), [*first], prints)
        every = morgan_fingerprints([molecule(sets.text(i)) for i in range(len(sets.molecules))])
    values: dict[str, dict[str, list[Row]]] = {}
    for (name, shown), _ in drawn.items():
        if name == NOTHING:
            continue
        at = [int(i) for i in shown.split(",")]
        rest = np.setdiff1d(sets.members[int(name)], at)
        given = {sets.text(i) for i in at}
        for other, (valid, distinct, smiles, prints) in found.items():
            control = "none" if other[0] == NOTHING else "own" if other == (name, shown) else "other"
            if control == "other" and other[0] == name:
                continue  # another draw of the same set
            new = np.array([text not in given and text not in trained for text in smiles], bool)
            if not new.any():
                continue
            values.setdefault(control, {}).setdefault(name, []).append({
                "to_shown": similarities(prints[new], every[at]).max(1).mean(),
                "to_rest": similarities(prints[new], every[rest]).max(1).mean(),
                "valid": valid, "distinct": distinct, "new": new.mean(),
                "copies": np.mean([text in given for text in smiles]),
                "known": np.mean([text in trained for text in smiles]),
            })  # fmt: skip
    old = [row for row in read(options.output / NAME) if row["measure"] != "similarity"]
    about = {key: old[0][key] for key in FIELDS[FIELDS.index("parameters") :]} if old else {}
    means = {c: {n: {k: statistics.mean(float(r[k]) for r in own) for k in own[0]} for n, own in by.items()}
             for c, by in values.items()}  # fmt: skip
    for control, by in means.items():
        row: Row = {"measure": "similarity", "control": control, "sets": len(by), "targets": options.draws}
        row |= {"molecules": len(at) if control != "none" else 0}
        row |= {k: statistics.mean(own[k] for own in by.values()) for k in next(iter(by.values()))}
        if control != "own":
            own = means["own"]
            row["sets_behind"] = sum(by[n]["to_rest"] < own[n]["to_rest"] for n in by if n in own)
        old.append({**about, **row})
    write(options.output / NAME, FIELDS, old)


def summary(found: list[Row]) -> None:
    for row in found:
        shown = [f"{k} {float(row[k]):.4f}" for k in FIELDS[5:14] if row.get(k) not in (None, "")]
        print(f"{row['measure']:10s} {row['control']:6s} {row['molecules']:>3}  {'  '.join(shown)}")


def main() -> None:
    parser = line_options(
        __doc__, FOLDER, size="7m", steps=800, symbols=65_536, context=2048, rate=1e-3, looks=10,
        targets="molecules whose perplexity is measured", number=480,
        draws="molecules drawn behind each set that is shown", times=256,
    )  # fmt: skip
    parser.add_argument("--start", type=Path, help="folder of a model of single molecules to begin from")
    parser.add_argument("--batch", type=int, default=32, help="targets at a time")
    parser.add_argument("--shown", type=int, default=32, help="molecules shown before drawing")
    parser.add_argument("--orders", type=int, default=4, help="draws of them for each set")
    parser.add_argument("--score", action="store_true", help="only judge what was drawn; needs RDKit")
    parser.add_argument("--summary", action="store_true", help="only show the rows")
    import torch

    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    options.precision = precision(options)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.score:
        score(options)
    elif not options.summary:
        sets = Sets(options.data)
        model, about = train(options, sets)
        found = perplexity(model, sets, options)
        write(options.output / NAME, FIELDS, [row | about for row in found])
        generate(model, sets, options)
        model.cpu().half().save_pretrained(options.output / "sets")
    summary(read(options.output / NAME))


if __name__ == "__main__":
    main()
