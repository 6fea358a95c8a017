"""Perplexity of held-out proteins: xLSTM, LSTM, Transformer of equal size on equal data, beside n-grams.

    python benchmarks/protein_data.py                                # once: makes the folder .protein
    python benchmarks/protein_language.py --markov                   # counts, on the CPU
    python benchmarks/protein_language.py --size 2m --steps 1000 --symbols 65536 --workers 4 --seconds 540 \\
        --output FOLDER                                                                                         # GPU
    python benchmarks/protein_language.py --accelerator cpu --threads 1 --seeds 1 --rates 2e-3 4e-3
    python benchmarks/protein_language.py --summary

One row per (network, learning rate, seed) goes to protein_language.csv in the output folder, with the rows that were in
results/ before; rows that are there are not made again, and cells that time was too short for go on from their
checkpoints, so a stopped benchmark goes on.

Protocol: 20,000 proteins of UniProt, split in whole groups of similar ones. Every network sees the same batches of
pieces of at most `--context` residues, in the same order, for the same number of steps. Its learning rate is the one of
the grid with the lowest loss on validation at seed 0, looked for from the middle of the grid to where it gets no lower;
the other seeds take that one, and only what is trained with it is tested. The weights are those of the best of
`--looks` looks at validation. On a GPU all compute in bfloat16 as in dna_language.py. n-grams are counted over all of
training.

`pieces`: each piece read anew; `whole`: each protein from its begin to its end, which a Transformer is not made for
beyond the context it was trained on.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, Row
from grid_fit import facts, fit_cell, restore
from protein_data import FOLDER, load
from sequence_grid import LanguageBenchmark, options_of, steps_of
from sequence_networks import NETWORKS, build

RATES = (1e-3, 2e-3, 4e-3, 8e-3)
READ = 2**18  # symbols at a time in validation and test on a GPU: recurrent networks take as long for many rows as few
LEAST = 16  # residues of a piece to train on
PARTS = ("train", "val", "test")
KEY = ("network", "size", "learning_rate", "seed", "steps", "symbols", "context")
FIELDS = (
    *KEY, "parameters", "n_train", "n_test", "val_perplexity", "test_pieces", "test_whole", "best_step",
    "fit_seconds", "evaluate_seconds", "precision", "device", "torch",
)  # fmt: skip


class Pieces:
    """Stretches of sequences, one behind the other: a data set of padded rows.

    Args:
        rows: Ids of each sequence.
        context: Most symbols of a stretch; None: whole sequences.
    """

    def __init__(self, rows: list[np.ndarray], context: int | None) -> None:
        self.rows = [
            row[a : a + (context or len(row))] for row in rows for a in range(0, len(row), context or len(row))
        ]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def residues(self) -> int:
        return sum(map(len, self.rows))

    def spread(self, most: int | None) -> Pieces:
        """About as many residues, evenly spread."""
        if most is not None and most < self.residues:
            chosen = np.linspace(0, len(self) - 1, max(1, round(len(self) * most / self.residues))).round().astype(int)
            self.rows = [self.rows[n] for n in chosen]
        return self

    def batches(self, symbols: int) -> list[list[int]]:
        """Numbers of stretches of about one length, so many symbols together; every stretch in one of them."""
        found: list[list[int]] = [[]]
        for n in sorted(range(len(self)), key=lambda n: len(self.rows[n])):
            if found[-1] and len(self.rows[n]) * (len(found[-1]) + 1) > symbols:
                found.append([])
            found[-1].append(n)
        return found

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        rows = [torch.from_numpy(self.rows[n].astype(np.int64)) for n in indices]
        lengths = torch.tensor([len(row) for row in rows])
        return {"ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1), "lengths": lengths}


class Batches:
    """Batches of stretches of about one length: a data set of which each example is a batch.

    In training each is cut to its shortest row, so that nothing is padded, which networks take differently well.
    """

    def __init__(self, pieces: Pieces, symbols: int, *, cut: bool) -> None:
        self.pieces, self.cut, self.members = pieces, cut, pieces.batches(symbols)

    def __len__(self) -> int:
        return len(self.members)

    def __getitems__(self, indices: list[int]) -> Any:
        (index,) = indices
        batch = self.pieces.__getitems__(self.members[index])
        if not self.cut:
            return batch
        return {"ids": batch["ids"][:, : int(batch["lengths"].min())]}


def sequences(folder: Path) -> dict[str, list[np.ndarray]]:
    proteins, facts = load(folder, "uniprot")
    rows = proteins.rows()
    return {name: [rows[i] for i in np.flatnonzero(facts["part"] == n)] for n, name in enumerate(PARTS)}


def perplexity(model: Any, pieces: Pieces, symbols: int, precision: str) -> float:
    """exp of the mean -log p of a residue; those that say X do not count."""
    import torch

    device, total, count = model.embedding.weight.device, 0.0, 0
    for members in pieces.batches(symbols):
        batch = pieces.__getitems__(members)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            scores = model.score(batch["ids"].to(device), lengths=batch["lengths"]).double()
        known = ~scores.isnan()
        total, count = total + scores[known].sum().item(), count + int(known.sum())
    return math.exp(total / count)


def read_at_once(options: argparse.Namespace, symbols: int) -> int:
    """Symbols of a batch that nothing is learned from."""
    import torch

    return max(READ if options.accelerator != "cpu" and torch.cuda.is_available() else 0, 4 * symbols)


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Train one network."""
    import torch

    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader

    part = sequences(options.data)
    context, symbols = cell["context"], cell["symbols"]
    train = Pieces([row for row in part["train"] if len(row) >= LEAST], context)
    train.rows = [row for row in train.rows if len(row) >= LEAST]
    valid = Pieces(part["val"], context).spread(options.residues)
    torch.manual_seed(cell["seed"])
    model, parameters = build(cell["network"], cell["size"], alphabet="protein")
    per_look, how = steps_of(cell["steps"], options.looks)
    batches = Batches(train, symbols, cut=True)
    result, row = fit_cell(
        options, cell, SequenceModule(model),
        BatchLoader(batches, 1, seed=cell["seed"], shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        BatchLoader(Batches(valid, read_at_once(options, symbols), cut=False), 1),  # pyright: ignore
        weight_decay=0.1, **how,
    )  # fmt: skip
    known = {"parameters": parameters, "n_train": train.residues, "val_perplexity": math.exp(result.best_value)}
    return {**cell, **known, **row}


def test(options: argparse.Namespace, row: Row) -> Row:
    """Perplexity of a trained network on the proteins held out."""
    from xlstm_apps.biosequence.module import SequenceModule

    started, part = time.monotonic(), sequences(options.data)["test"]
    model = build(row["network"], row["size"], alphabet="protein")[0]
    found = facts(options, restore(options, SequenceModule(model)))
    contexts = {"pieces": row["context"], "whole": None}
    for how, context in contexts.items() if row["network"] != "transformer" else [("pieces", row["context"])]:
        own = Pieces(part, context).spread(options.residues)
        found[f"test_{how}"] = perplexity(model, own, read_at_once(options, row["symbols"]), options.precision)
        found.setdefault("n_test", own.residues)
    return {**found, "evaluate_seconds": round(time.monotonic() - started, 1)}


def markov(options: argparse.Namespace) -> list[Row]:
    """n-grams: the order chosen on validation, the trigram, the unigram."""
    from xlstm_apps.biosequence.alphabets import get_alphabet
    from xlstm_apps.biosequence.baselines.markov import MarkovModel

    part, started = sequences(options.data), time.monotonic()
    chosen = MarkovModel.fit(part["train"], part["val"], get_alphabet("protein"), max_order=5)
    fitted = time.monotonic() - started
    test = {"pieces": options.context, "whole": None}
    test = {how: Pieces(part["test"], context).spread(options.residues) for how, context in test.items()}
    rows = []
    for model in {each.name: each for each in (chosen, chosen.lower(min(2, chosen.order)), chosen.lower(0))}.values():
        row: Row = {"network": model.name, "parameters": model.parameters, "fit_seconds": round(fitted, 1)}
        row |= {"n_train": sum(map(len, part["train"])), "n_test": test["pieces"].residues, "device": "cpu"}
        valid = Pieces(part["val"], options.context).spread(options.residues)
        for name, own in (("val_perplexity", valid), *((f"test_{how}", own) for how, own in test.items())):
            row[name] = math.exp(np.nanmean(np.concatenate([model.score(ids) for ids in own.rows])))
        print(f"{model.name}: validation {row['val_perplexity']:.3f}, test {row['test_pieces']:.3f}", flush=True)
        rows.append(row)
    return rows


GRID = Grid(
    name="protein_language.csv",
    fields=FIELDS,
    key=KEY,
    group=("network",),
    judged="val_perplexity",
    run=run,
    told=lambda row: f"val {float(row['val_perplexity']):.3f} test {float(row.get('test_pieces') or math.nan):.3f}",
    test=test,
    tested="test_pieces",
)
BENCHMARK = LanguageBenchmark(
    GRID, given=("size", "steps", "symbols", "context"), markov=markov,
    shown=("val_perplexity", "test_pieces", "test_whole"),
)  # fmt: skip


def main() -> None:
    parser = options_of(__doc__, FOLDER, RATES, 3, ("xlstm", "lstm", "transformer"), NETWORKS)
    parser.add_argument("--symbols", type=int, default=4096, help="residues per step, at most")
    parser.add_argument("--looks", type=int, default=6, help="looks at validation")
    parser.add_argument(
        "--residues", type=int, help="of validation and of test, evenly spread; all of them if left out"
    )
    BENCHMARK.main(parser, size="65k", steps=600)


if __name__ == "__main__":
    main()
