"""Bits per base of E. coli: xLSTM, LSTM, Transformer of equal size on equal data, beside an interpolated Markov model.

    python benchmarks/dna_data.py                                # once: makes the folder .dna
    python benchmarks/dna_language.py --markov                   # counts, on the CPU
    python benchmarks/dna_language.py --seconds 540 --output FOLDER
    python benchmarks/dna_language.py --summary

One row per (network, learning rate, seed) goes to dna_language.csv in the output folder, with the rows that were in
results/ before; rows that are there are not made again, so a stopped benchmark goes on.

Protocol: every network draws the same windows of the training stretch of K-12, half of them on the other strand, in the
same order, for the same number of steps. Its learning rate is the one of the grid with the lowest bits on the
validation stretch, seed 0; the other seeds take that one. The weights are those of the best of ten looks at validation.
Tested on the last tenth of K-12 and on O157:H7; `_apart` counts only windows less than half of whose 16-mers occur in
training. Three ways to read: `windows`, each anew; `sliding`, half a window of context for every base; `carried`, the
state handed on along the genome (recurrent networks).
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from dna_data import FOLDER, N, load, overlap, parts, reverse_complement
from grid import Grid, Row, arguments
from sequence_networks import NETWORKS, SIZES, build

RATES = (1e-3, 2e-3, 4e-3)
LOOKS = 10
CARRIED_ROWS = 32
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
        size = -(-length // CARRIED_ROWS)
        return np.minimum(np.arange(CARRIED_ROWS) * size, length - size), np.zeros(CARRIED_ROWS, int), size
    stride = context if mode == "windows" else context // 2
    starts = np.arange(0, length - context + stride, stride)
    starts = np.minimum(starts, length - context)
    return starts, np.concatenate([[0], context - np.diff(starts)]), context


def surprisal(model: Any, genome: np.ndarray, context: int, mode: str, batch: int, precision: str) -> np.ndarray:
    """-log2 p of every base."""
    import torch

    device = model.embedding.weight.device
    starts, skip, size = plan(len(genome), context, mode)
    out = np.full(len(genome), np.nan, np.float32)
    for first in range(0, len(starts), batch):
        rows = starts[first : first + batch]
        ids = torch.from_numpy(genome[rows[:, None] + np.arange(size)].astype(np.int64)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            scores = model.score(ids, chunk_length=max(context, 2**18 // len(rows)) if mode == "carried" else size)
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
    """Train one network and test it."""
    import torch

    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader, FitConfig, fit

    part = parts(load(options.data, "genomes")["k12"])
    context, batch, steps = cell["context"], cell["batch"], cell["steps"]
    torch.manual_seed(cell["seed"])
    model, parameters = build(cell["network"], cell["size"])
    train = Draws(part["train"], steps * batch, context, cell["seed"])
    valid = Windows(part["val"][: options.cut], context)
    per_look = max(1, steps // LOOKS)
    started = time.monotonic()
    result = fit(
        SequenceModule(model),
        BatchLoader(train, batch, seed=cell["seed"], shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        BatchLoader(valid, 2 * batch),  # pyright: ignore
        FitConfig(
            max_epochs=-(-steps // per_look), max_steps=steps, learning_rate=cell["learning_rate"], weight_decay=0.1,
            patience=None, accelerator=options.accelerator, precision=options.precision,
        ),
        seed=cell["seed"],
    )  # fmt: skip
    fitted = time.monotonic()
    on_gpu = result.device.startswith("cuda")
    model.to(result.device).eval()
    row: Row = {
        **cell,
        "parameters": parameters,
        "val_bits": result.best_value / math.log(2),
        "best_step": result.history[result.best_epoch - 1]["step"],
        "fit_seconds": round(fitted - started, 1),
        "precision": options.precision,
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    for test, (ids, known) in stretches(options.data, options.cut).items():
        for mode in MODES if cell["network"] != "transformer" else MODES[:2]:
            bits = surprisal(model, ids, context, mode, 4 * batch, options.precision)
            row[f"{test}_{mode}"], row[f"{test}_{mode}_apart"] = tested(bits, ids, known, context)
    return {**row, "evaluate_seconds": round(time.monotonic() - fitted, 1)}


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
    told=lambda row: f"val {row['val_bits']:.4f} test {row['test_windows']:.4f}",
)


def group_of(options: argparse.Namespace, network: str) -> Row:
    names = ("size", "steps", "batch", "context")
    return {"network": network, **{name: getattr(options, name) for name in names}}


def summary(options: argparse.Namespace) -> None:
    """What the rows say: means and deviations over the seeds, at the learning rate that validation chose."""
    rows = GRID.rows(options.output)
    shown = ("val_bits", *(f"{t}_{m}{a}" for t in TESTS for m in ("windows", "carried") for a in ("", "_apart")))
    print(f"{'network':13s} {'rate':>7s} n " + " ".join(f"{name.replace('_', ' '):>20s}" for name in shown))
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
            spread = f" ±{statistics.stdev(found):.4f}" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.4f}{spread}" if found else "-")
        if own:
            print(f"{network:13s} {rate or '-':>7} {len(own)} " + " ".join(f"{cell:>20s}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="what dna_data.py made")
    parser.add_argument("--networks", nargs="+", default=["xlstm", "lstm", "transformer"], choices=NETWORKS)
    parser.add_argument("--size", default="2m", choices=SIZES)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=128, help="windows per step")
    parser.add_argument("--context", type=int, default=512, help="bases per window")
    parser.add_argument("--cut", type=int, help="for a trial: test on that many bases only")
    parser.add_argument("--markov", action="store_true", help="only the Markov model, and the unigram")
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
