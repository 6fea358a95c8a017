"""Bits per base of E. coli: xLSTM, LSTM, Transformer of equal size on equal data, beside an interpolated Markov model.

    python benchmarks/dna_data.py                                # once: makes the folder .dna
    python benchmarks/dna_language.py --markov                   # counts, on the CPU
    python benchmarks/dna_language.py --workers 4 --seconds 540 --output FOLDER    # one GPU
    python benchmarks/dna_language.py --summary

One row per (network, learning rate, seed) goes to dna_language.csv in the output folder, with the rows that were in
results/ before; rows that are there are not made again, and cells that time was too short for go on from their
checkpoints, so a stopped benchmark goes on.

Protocol: every network draws the same windows of the training stretch of K-12, half of them on the other strand, in the
same order, for the same number of steps. Its learning rate is the one of the grid with the lowest bits on the
validation stretch at seed 0, looked for from the middle of the grid to where it gets no lower; the other seeds take
that one, and only what is trained with it is tested. The weights are those of the best of ten looks at validation.
On a GPU all networks compute in bfloat16 where autocast says so, the recurrence of the LSTM in TF32, since cuDNN under
autocast has float16 to offer instead, in which small gradients vanish.

Tested on the last tenth of K-12 and on O157:H7; `_apart` counts only windows less than half of whose 16-mers occur in
training. Three ways to read: `windows`, each anew; `sliding`, half a window of context for every base; `carried`, the
state handed on along the genome (recurrent networks).
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from dna_data import FOLDER, N, load, overlap, parts, reverse_complement
from grid import Grid, Row
from grid_fit import facts, fit_cell, restore
from sequence_grid import LanguageBenchmark, options_of, steps_of
from sequence_networks import NETWORKS, build

RATES = (1e-3, 2e-3, 4e-3, 8e-3)
LOOKS = 10
CARRIED, CARRIED_ROWS = 2**15, 128  # least length of a stretch that is read with its state, and most of them
SYMBOLS = 2**18  # read at a time in tests: recurrent networks take as long for many rows as for few
TESTS = ("test", "o157")
MODES = ("windows", "sliding", "carried")
BITS = tuple(f"{test}_{mode}{apart}" for test in TESTS for mode in MODES for apart in ("", "_apart"))
FIELDS = (
    "network", "size", "parameters", "learning_rate", "seed", "steps", "batch", "context", "val_bits", *BITS,
    "best_step", "fit_seconds", "evaluate_seconds", "precision", "device", "torch",
)  # fmt: skip
KEY = ("network", "size", "learning_rate", "seed", "steps", "batch", "context")


class Draws:
    """Windows of the training stretch on either strand, fixed by the seed: the data set of every network."""

    def __init__(self, genome: np.ndarray, count: int, context: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.genome, self.context = genome, context
        self.starts = draw.integers(0, len(genome) - context + 1, count)
        self.turned = draw.random(count) < 0.5

    def __len__(self) -> int:
        return len(self.starts)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        rows = self.genome[self.starts[indices][:, None] + np.arange(self.context)]
        rows = np.where(self.turned[indices][:, None], reverse_complement(rows), rows)
        return {"ids": torch.from_numpy(rows.astype(np.int64))}


class Windows(Draws):
    """Windows one after another, as they stand."""

    def __init__(self, genome: np.ndarray, context: int) -> None:
        self.genome, self.context = genome, context
        self.starts = np.arange(0, len(genome) - context + 1, context)
        self.turned = np.zeros(len(self.starts), bool)


def plan(length: int, context: int, mode: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Where readings of a genome start, how many symbols of each are context only, and how long they are."""
    if mode == "carried":
        rows = min(CARRIED_ROWS, max(1, length // CARRIED))
        size = -(-length // rows)
        return np.minimum(np.arange(rows) * size, length - size), np.zeros(rows, int), size
    stride = context if mode == "windows" else context // 2
    starts = np.arange(0, length - context + stride, stride)
    starts = np.minimum(starts, length - context)
    return starts, np.concatenate([[0], context - np.diff(starts)]), context


def surprisal(model: Any, genome: np.ndarray, context: int, mode: str, precision: str) -> np.ndarray:
    """-log2 p of every base."""
    import torch

    device = model.embedding.weight.device
    starts, skip, size = plan(len(genome), context, mode)
    batch = len(starts) if mode == "carried" else max(1, SYMBOLS // context)
    out = np.full(len(genome), np.nan, np.float32)
    for first in range(0, len(starts), batch):
        rows = starts[first : first + batch]
        ids = torch.from_numpy(genome[rows[:, None] + np.arange(size)].astype(np.int64)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            scores = model.score(ids, chunk_length=max(context, SYMBOLS // len(rows)) if mode == "carried" else size)
        for start, unread, row in zip(rows, skip[first : first + batch], scores.float().cpu().numpy(), strict=True):
            out[start + unread : start + size] = row[unread:]
    return out / math.log(2)


def tested(bits: np.ndarray, genome: np.ndarray, known: np.ndarray, context: int) -> tuple[float, float]:
    """Mean bits of a base, over all of a genome and over its windows without a near copy in training."""
    first = np.arange(0, len(genome), context)
    windows = np.stack([first, np.minimum(first + context, len(genome))], 1)
    apart = np.repeat(overlap(known, windows) < 0.5, windows[:, 1] - windows[:, 0])
    counted = genome != N
    return float(bits[counted].mean()), float(bits[counted & apart].mean())


def stretches(folder: Path, cut: int | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The genomes tested on and which of their 16-mers are known; `cut` keeps their begin only, for a trial."""
    data = load(folder, "genomes")
    test = parts(data["k12"])["test"]
    known = {"test": data["known_test"], "o157": data["known_o157"]}
    return {
        name: (genome[:cut], np.unpackbits(known[name])[: len(genome[:cut]) - 15].astype(np.int64))
        for name, genome in {"test": test, "o157": data["o157"]}.items()
    }


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Train one network."""
    import torch

    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader

    part = parts(load(options.data, "genomes")["k12"])
    context, batch = cell["context"], cell["batch"]
    torch.manual_seed(cell["seed"])
    model, parameters = build(cell["network"], cell["size"])
    train = Draws(part["train"], cell["steps"] * batch, context, cell["seed"])
    valid = Windows(part["val"][: options.cut], context)
    per_look, how = steps_of(cell["steps"], LOOKS)
    result, row = fit_cell(
        options, cell, SequenceModule(model),
        BatchLoader(train, batch, seed=cell["seed"], shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        BatchLoader(valid, max(1, SYMBOLS // context)),  # pyright: ignore
        weight_decay=0.1, **how,
    )  # fmt: skip
    return {**cell, "parameters": parameters, "val_bits": result.best_value / math.log(2), **row}


def test(options: argparse.Namespace, row: Row) -> Row:
    """What a trained network makes of the stretches held out."""
    from xlstm_apps.biosequence.module import SequenceModule

    started, model = time.monotonic(), build(row["network"], row["size"])[0]
    found = facts(options, restore(options, SequenceModule(model)))
    for name, (ids, known) in stretches(options.data, options.cut).items():
        for mode in MODES if row["network"] != "transformer" else MODES[:2]:
            bits = surprisal(model, ids, row["context"], mode, options.precision)
            found[f"{name}_{mode}"], found[f"{name}_{mode}_apart"] = tested(bits, ids, known, row["context"])
    return {**found, "evaluate_seconds": round(time.monotonic() - started, 1)}


def markov(options: argparse.Namespace) -> list[Row]:
    """The interpolated Markov model, its order chosen on validation, and the unigram in it; no break in reading."""
    from xlstm_apps.biosequence.alphabets import get_alphabet
    from xlstm_apps.biosequence.baselines.markov import MarkovModel

    part = parts(load(options.data, "genomes")["k12"])
    started = time.monotonic()
    model = MarkovModel.fit([part["train"]], [part["val"]], get_alphabet("dna"), max_order=12)
    fitted = time.monotonic() - started
    rows = []
    for each in (model, model.lower(0)):
        row: Row = {"network": each.name, "parameters": each.parameters, "fit_seconds": round(fitted, 1)}
        row |= {"context": options.context, "val_bits": np.nanmean(each.score(part["val"])) / math.log(2)}
        for test, (ids, known) in stretches(options.data, options.cut).items():
            bits = each.score(ids) / math.log(2)
            row[f"{test}_carried"], row[f"{test}_carried_apart"] = tested(bits, ids, known, options.context)
        rows.append(row)
        print(f"{each.name}: validation {row['val_bits']:.4f}, test {row['test_carried']:.4f} bits", flush=True)
    return rows


GRID = Grid(
    name="dna_language.csv",
    fields=FIELDS,
    key=KEY,
    group=("network",),
    judged="val_bits",
    run=run,
    told=lambda row: f"val {float(row['val_bits']):.4f} test {float(row.get('test_windows') or math.nan):.4f}",
    test=test,
    tested="test_windows",
)
BENCHMARK = LanguageBenchmark(
    GRID,
    given=("size", "steps", "batch", "context"),
    markov=markov,
    shown=("val_bits", *(f"{t}_{m}{a}" for t in TESTS for m in ("windows", "carried") for a in ("", "_apart"))),
)


def main() -> None:
    parser = options_of(__doc__, FOLDER, RATES, 3, ("xlstm", "lstm", "transformer"), NETWORKS)
    parser.add_argument("--batch", type=int, default=128, help="windows per step")
    parser.add_argument("--cut", type=int, help="for a trial: test on that many bases only")
    BENCHMARK.main(parser, size="2m", steps=1000)


if __name__ == "__main__":
    main()
