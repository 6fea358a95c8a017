"""Perplexity of held-out proteins: xLSTM, LSTM, Transformer of equal size on equal data, beside n-grams.

    python benchmarks/protein_data.py                                # once: makes the folder .protein
    python benchmarks/protein_language.py --markov                   # counts, on the CPU
    python benchmarks/protein_language.py --size 2m --steps 2000 --symbols 65536 --seconds 540 --output FOLDER   # GPU
    python benchmarks/protein_language.py --accelerator cpu --threads 1 --seeds 1 --rates 2e-3 4e-3
    python benchmarks/protein_language.py --summary

One row per (network, learning rate, seed) goes to protein_language.csv in the output folder, with the rows that were in
results/ before; rows that are there are not made again, so a stopped benchmark goes on.

Protocol: 20,000 proteins of UniProt, split in whole groups of similar ones. Every network sees the same batches of
pieces of at most `--context` residues, in the same order, for the same number of steps. Its learning rate is the one of
the grid with the lowest loss on validation, seed 0; the other seeds take that one. The weights are those of the best of
`--looks` looks at validation. `pieces`: each piece read anew; `whole`: each protein from its begin to its end, which a
Transformer is not made for beyond the context it was trained on. n-grams are counted over all of training.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, Row, arguments
from protein_data import FOLDER, load
from sequence_networks import NETWORKS, SIZES, build

RATES = (1e-3, 2e-3, 4e-3)
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


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Train one network and test it."""
    import torch

    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader, FitConfig, fit

    part = sequences(options.data)
    context, symbols, steps = cell["context"], cell["symbols"], cell["steps"]
    train = Pieces([row for row in part["train"] if len(row) >= LEAST], context)
    train.rows = [row for row in train.rows if len(row) >= LEAST]
    valid = Pieces(part["val"], context).spread(options.residues)
    torch.manual_seed(cell["seed"])
    model, parameters = build(cell["network"], cell["size"], alphabet="protein")
    per_look, started = max(1, steps // options.looks), time.monotonic()
    batches = Batches(train, symbols, cut=True)
    result = fit(
        SequenceModule(model),
        BatchLoader(batches, 1, seed=cell["seed"], shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        BatchLoader(Batches(valid, 4 * symbols, cut=False), 1),  # pyright: ignore
        FitConfig(
            max_epochs=-(-steps // per_look), max_steps=steps, learning_rate=cell["learning_rate"], weight_decay=0.1,
            patience=None, accelerator=options.accelerator, precision=options.precision,
        ),
        seed=cell["seed"],
    )  # fmt: skip
    fitted = time.monotonic()
    model.to(result.device).eval()
    test = {"pieces": Pieces(part["test"], context).spread(options.residues)}
    if cell["network"] != "transformer":
        test["whole"] = Pieces(part["test"], None).spread(options.residues)
    row: Row = {
        **cell,
        "parameters": parameters,
        "n_train": train.residues,
        "n_test": test["pieces"].residues,
        "val_perplexity": math.exp(result.best_value),
        "best_step": result.history[result.best_epoch - 1]["step"],
        "fit_seconds": round(fitted - started, 1),
        "precision": options.precision,
        "device": device_name(result.device),
        "torch": torch.__version__,
    }
    row |= {f"test_{how}": perplexity(model, own, 4 * symbols, options.precision) for how, own in test.items()}
    return {**row, "evaluate_seconds": round(time.monotonic() - fitted, 1)}


def device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device.startswith("cuda") else f"cpu, {torch.get_num_threads()} threads"


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
    told=lambda row: f"val {row['val_perplexity']:.3f} test {row['test_pieces']:.3f}",
)


def group_of(options: argparse.Namespace, network: str) -> Row:
    return {"network": network, **{name: getattr(options, name) for name in ("size", "steps", "symbols", "context")}}


def summary(options: argparse.Namespace) -> None:
    """What the rows say: means and deviations over the seeds, at the learning rate that validation chose."""
    rows = GRID.rows(options.output)
    shown = ("val_perplexity", "test_pieces", "test_whole")
    print(f"{'network':12s} {'weights':>8s} {'rate':>6s} n " + " ".join(f"{name:>16s}" for name in shown))
    for network in dict.fromkeys(row["network"] for row in rows):
        rate = GRID.rate(rows, group_of(options, network), options.rates)
        own = [row for row in rows if row["network"] == network]
        if network in NETWORKS:
            group = group_of(options, network) | {"learning_rate": rate}
            wanted = {GRID.cell({**group, "seed": seed}) for seed in range(options.seeds)}
            own = [row for row in own if GRID.cell(row) in wanted]
        cells = []
        for name in shown:
            found = [float(row[name]) for row in own if row.get(name)]
            spread = f" ±{statistics.stdev(found):.3f}" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.3f}{spread}" if found else "-")
        if own:
            head = f"{network:12s} {own[0]['parameters']:>8} {rate or '-':>6} {len(own)}"
            print(head, " ".join(f"{cell:>16s}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="what protein_data.py made")
    parser.add_argument("--networks", nargs="+", default=["xlstm", "lstm", "transformer"], choices=NETWORKS)
    parser.add_argument("--size", default="65k", choices=SIZES)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--symbols", type=int, default=4096, help="residues per step, at most")
    parser.add_argument("--context", type=int, default=512, help="residues of a piece, at most")
    parser.add_argument("--looks", type=int, default=6, help="looks at validation")
    parser.add_argument(
        "--residues", type=int, help="of validation and of test, evenly spread; all of them if left out"
    )
    parser.add_argument("--markov", action="store_true", help="only the n-grams")
    arguments(parser, RATES, seeds=3)
    options = parser.parse_args()
    if options.summary:
        summary(options)
    elif options.markov:
        found = markov(options)
        names = {row["network"] for row in found}
        others = [row for row in GRID.rows(options.output) if row["network"] not in names]
        GRID.write(options.output, others + found)
    elif failed := GRID.measure(options, [group_of(options, network) for network in options.networks]):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
