"""Molecules as MOSES has them (Polykovskiy et al. 2020): xLSTM and LSTM of equal size trained on them, and drawn from.

    python benchmarks/molecule_data.py                                           # once: makes the folder .molecules
    python benchmarks/molecule_moses.py --networks xlstm --budget 420 --precision bf16-mixed --output FOLDER    # GPU
    python benchmarks/molecule_moses.py --networks lstm --budget 420 --precision bf16-mixed --output FOLDER
    python benchmarks/molecule_scores.py FOLDER/xlstm.tokens.gz FOLDER/lstm.tokens.gz --model FOLDER/xlstm      # CPU

One row per (network, seed) goes to molecule_moses.csv in the output folder; rows that are there are not made again.
Beside it: NETWORK.tokens.gz, `--samples` strings as they were drawn at temperature 1, molecules or not, one per line, a
space between tokens; and a folder with the xLSTM, its weights in half precision.

Protocol. All 1.58 million molecules but one of 158, on which the weights are chosen, by the loss at `--looks` looks.
Batches hold molecules of about one length and as many tokens each, the same ones in the same order for both networks.
The number of steps is what `--budget` seconds of training allow the xLSTM, measured by a short trial of a model that is
thrown away, and at most `--passes` passes; the LSTM takes as many steps. `--steps` says the number instead. Training
that `--seconds` ends goes on with the same command, from what is in the folder `--kept`.
"""

from __future__ import annotations

import argparse
import gzip
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import RESULTS, Late, Row, read, write
from grid_fit import fit_cell
from molecule_data import END, FOLDER, HELD_BACK, PAD, load
from sequence_grid import steps_of
from sequence_networks import SIZES, build

NAME = "molecule_moses.csv"
KEY = ("corpus", "network", "size", "seed", "learning_rate", "molecules")
FIELDS = (
    *KEY, "steps", "passes", "parameters", "n_train", "val_loss", "best_step", "fit_seconds", "trial_seconds",
    "sample_seconds", "samples", "ended", "precision", "device", "torch",
)  # fmt: skip
NETWORKS = ("xlstm", "lstm")
WIDTH = 4  # lengths are padded to multiples of this, so that there are few shapes
SEEN = "molecules_seen"
LONGEST = 100  # tokens of a string that is drawn, as MOSES has it
TRIAL = (10, 40)  # steps before and within what is timed


class Batches:
    """Batches of molecules of about one length, as many tokens in each: a data set of which each example is a batch.

    The loss of a batch is a mean over its tokens. With as many molecules in each instead, or with batches left over of
    the rarest lengths, tokens of short molecules would count for more, and what is drawn would be too short.

    Args:
        ids: Molecules one behind the other, each with its end.
        molecules: In a batch, on average.
        seed: Of which molecules are together.
    """

    def __init__(self, ids: np.ndarray, molecules: int, seed: int) -> None:
        ends = np.flatnonzero(ids == END) + 1
        begins = np.concatenate([[0], ends[:-1]])
        width = -(-(ends - begins) // WIDTH) * WIDTH
        order = np.lexsort((np.random.default_rng(seed).random(len(width)), width))
        tokens, count = np.cumsum(width[order]), max(1, round(len(width) / molecules))
        cuts = np.searchsorted(tokens, tokens[-1] * np.arange(1, count) / count)
        self.parts: list[np.ndarray] = []
        for own in np.split(order, cuts):
            places = begins[own, None] + np.arange(width[own].max())
            padded = np.where(places < ends[own, None], ids[np.minimum(places, len(ids) - 1)], PAD)
            self.parts.append(padded.astype(np.uint8))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        (index,) = indices
        ids = torch.from_numpy(self.parts[index].astype(np.int64))
        return {"ids": ids, "weights": (ids != PAD).float()}


def parts(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation, each molecule with its end."""
    number = np.cumsum(ids == END) - (ids == END)
    held = number % HELD_BACK == 0
    return ids[~held], ids[held]


def train(options: argparse.Namespace, model: Any, batches: Batches, valid: Batches | None, steps: int) -> Any:
    """Train for so many steps, looking at validation now and then; goes on from `options.folder`, if there is one."""
    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader

    per_look, how = steps_of(steps, options.looks if valid is not None else 1)
    return fit_cell(
        options, {"learning_rate": options.rate, "seed": options.seed}, SequenceModule(model),
        BatchLoader(batches, 1, seed=options.seed, shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        None if valid is None else BatchLoader(valid, 1),  # pyright: ignore
        weight_decay=0.1, **how,
    )  # fmt: skip


def affordable(options: argparse.Namespace, batches: Batches) -> tuple[int, float]:
    """Steps of the xLSTM that fit into the budget, and the seconds of finding that out."""
    model, started = build("xlstm", options.size, alphabet="smiles")[0], time.monotonic()
    before, within = TRIAL
    train(options, model, batches, None, before)
    middle = time.monotonic()
    train(options, model, batches, None, within)
    each = (time.monotonic() - middle) / within
    most = round(options.passes * len(batches))
    return max(options.looks, min(most, int(options.budget / each))), time.monotonic() - started


def draw(model: Any, count: int, at_once: int, seed: int, behind: Any = None) -> list[np.ndarray]:
    """Strings drawn freely from a network, in single precision: ids with the end where it came.

    Args:
        model: The network.
        count: How many.
        at_once: In a batch.
        seed: Of the draws.
        behind: State of one row to go on from.
    """
    import torch

    device, end = model.embedding.weight.device, model.alphabet.end
    generator, out = torch.Generator(device).manual_seed(seed), []
    with torch.inference_mode():
        while len(out) < count:
            ids = torch.full((min(at_once, count - len(out)),), model.alphabet.bos, device=device)
            state = None if behind is None else behind.select([0] * len(ids))
            made, going = [], torch.ones(len(ids), dtype=torch.bool, device=device)
            while len(made) < LONGEST and going.any():
                logits, state = model.step(ids, state)
                chances = logits.masked_fill(model.forbidden, -torch.inf).softmax(-1)
                ids = torch.multinomial(chances, 1, generator=generator)[:, 0].masked_fill(~going, PAD)
                going &= ids != end
                made.append(ids)
            rows = torch.stack(made, 1).cpu().numpy().astype(np.uint8)
            out += [row[row != PAD] for row in rows]
    return out


def run(options: argparse.Namespace, rows: list[Row], network: str) -> Row:
    """Train one network, draw from it, and write what was drawn."""
    import torch

    from xlstm_apps.biosequence.alphabets import SMILES

    own, held = parts(load(options.data, options.corpus)[0])
    batches, valid = Batches(own, options.molecules, options.seed), Batches(held, 2 * options.molecules, 0)
    like = [row for row in rows if same(row, cell(options, "xlstm"))]
    folder = (options.kept or options.output / "cells") / "_".join(map(str, cell(options, network).values()))
    chosen, trial, options.folder = folder / "steps", 0.0, None
    if chosen.is_file():  # stopped before
        steps = int(chosen.read_text())
    elif options.steps is not None:
        steps = options.steps
    elif network == "lstm" and like:
        steps = int(like[0]["steps"])
    else:
        steps, trial = affordable(options, batches)
    print(f"{network}: {steps} steps, {steps / len(batches):.2f} passes; trial {trial:.0f} s", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    chosen.write_text(str(steps))
    options.folder = folder
    torch.manual_seed(options.seed)
    model, parameters = build(network, options.size, alphabet="smiles")
    result, about = train(options, model, batches, valid, steps)
    fitted = time.monotonic()
    print(f"{network}: val {result.best_value:.4f} nats a token, {result.seconds:.0f} s", flush=True)
    made = draw(model.to(result.device).eval(), options.samples, options.at_once, options.seed)
    row: Row = {
        **cell(options, network),
        "steps": steps,
        "passes": steps / len(batches),
        "parameters": parameters,
        "n_train": int((own == END).sum()),
        "val_loss": result.best_value,
        **about,
        "trial_seconds": round(trial, 1),
        "sample_seconds": round(time.monotonic() - fitted, 1),
        "samples": len(made),
        "ended": float(np.mean([row[-1] == END for row in made])),
    }
    aside = options.output / f"{network}.partial"
    with gzip.open(aside, "wt") as file:
        file.writelines(" ".join(SMILES.tokens[i] for i in ids if i != END) + "\n" for ids in made)
    aside.replace(options.output / f"{network}.tokens.gz")
    if network == "xlstm":
        model.cpu().half().save_pretrained(options.output / network)
        (options.output / network / SEEN).write_text(str(round(row["passes"] * row["n_train"])))
    shutil.rmtree(folder)
    return row


def cell(options: argparse.Namespace, network: str) -> Row:
    values = (options.corpus, network, options.size, options.seed, options.rate, options.molecules)
    return dict(zip(KEY, values, strict=True))


def same(row: Row, wanted: Row) -> bool:
    return all(str(row[k]) == str(wanted[k]) for k in KEY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="what molecule_data.py made")
    parser.add_argument("--corpus", default="moses", choices=["moses", "chembl"], help="molecules to learn from")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--size", default="7m", choices=SIZES)
    parser.add_argument("--molecules", type=int, default=2048, help="in a batch, on average")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of both networks")
    parser.add_argument("--budget", type=float, default=420, help="seconds of training of the xLSTM, about")
    parser.add_argument("--passes", type=float, default=20, help="passes through the molecules, at most")
    parser.add_argument("--steps", type=int, help="instead of budget and passes")
    parser.add_argument("--looks", type=int, default=8, help="looks at validation")
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--at-once", type=int, default=3000, help="strings drawn at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop training then; the same command goes on")
    parser.add_argument("--kept", type=Path, help="folder of what is unfinished; `cells` in the output if left out")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the rows and of what was drawn")
    options = parser.parse_args()
    import torch

    options.until = time.time() + options.seconds
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # for both networks alike
    options.output.mkdir(parents=True, exist_ok=True)
    for network in options.networks:
        rows = read(options.output / NAME)
        if any(same(row, cell(options, network)) for row in rows):
            print(f"{network}: is there")
            continue
        try:
            row = run(options, rows, network)
        except Late as late:
            raise SystemExit(f"{network}: {late}") from None
        write(options.output / NAME, FIELDS, [*rows, row])
        told = f"{row['samples']:,} drawn in {row['sample_seconds']:.0f} s, {row['ended']:.1%} came to an end"
        print(f"{network}: perplexity {math.exp(row['val_loss']):.4f}; {told}", flush=True)


if __name__ == "__main__":
    main()
