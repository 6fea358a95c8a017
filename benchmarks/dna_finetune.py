"""Promoters and their strength: masked pre-training with shared strands, fine-tuned, beside CNNs and linear models.

    python benchmarks/dna_data.py                                        # once: makes the folder .dna
    python benchmarks/dna_finetune.py --networks kmers places            # linear models, on the CPU
    python benchmarks/dna_finetune.py --workers 8 --seconds 540 --output FOLDER    # one GPU
    python benchmarks/dna_finetune.py --summary

One row per (task, network, learning rate, seed) goes to dna_finetune.csv in the output folder, with the rows that were
in results/ before; rows that are there are not made again. The pre-trained model goes to `pretrained` in the output
folder, and is taken from there, or from the data folder, where it is there.

Protocol. Pre-training: K-12, with every labelled E. coli sequence, promoter or not, hidden as N. Promoters: 70 / 10 /
20 % in each of five random splits that keep near copies together, the same for every model; the seed sets split and
weights. Sort-seq: the split that comes with the data, the target being the mean bin. Networks have equally many
weights, see the same batches, and take the learning rate of the grid with the lowest validation loss at seed 0; their
weights are those of the best epoch on validation. Accuracy and MCC of classes, Pearson of numbers, all on the test.

`xlstm`: pre-trained, both strands, same weights, then weights of every place, since the sequences of a task lie aligned
to one another; `xlstm-scratch`: the same without pre-training; `cnn`: convolutions and the maximum over places;
`cnn-places`: convolutions, then weights of every place; `kmers`: linear on counts of k-mers, `places`: linear on the
base at every place.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from dna_data import FOLDER, load
from dna_language import Draws, Windows
from grid import Before, Grid, Row
from grid_fit import fit_cell
from sequence_grid import TaskBenchmark, options_of, steps_of

RATES = (5e-4, 1e-3, 2e-3)
NETWORKS = ("xlstm", "xlstm-scratch", "cnn", "cnn-places", "kmers", "places")
LINEAR = ("kmers", "places")
TASKS = {"ecoli": 64, "mouse-tata": 64, "sortseq": 512}  # batch
KEY = ("task", "network", "size", "learning_rate", "seed", "pretraining_steps", "epochs")
FIELDS = (
    *KEY, "parameters", "n_train", "n_test", "val_loss", "accuracy", "mcc", "auroc", "pearson", "best_epoch",
    "fit_seconds", "precision", "device", "torch",
)  # fmt: skip
PRETRAINED, CONTEXT, PRETRAINING_BATCH, PRETRAINING_RATE = "pretrained", 256, 64, 2e-3
READ = 1024  # sequences at a time in validation and test


class Labelled:
    """Sequences and what is to be said of them: a data set of batches."""

    def __init__(self, ids: np.ndarray, label: np.ndarray) -> None:
        self.ids, self.label = ids, label

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        ids, label = self.ids[indices].astype(np.int64), self.label[indices]
        return {"ids": torch.from_numpy(ids), "label": torch.from_numpy(label)}


def parts(folder: Path, task: str, seed: int, cut: int | None) -> dict[str, Labelled]:
    """Training, validation and test; `cut` keeps some sequences only, for a trial."""
    data = load(folder, task)
    if task == "sortseq":
        part = {"training": "train", "validation": "val", "test": "test"}
        names = np.array([part[name] for name in data["part"]])
        mean, spread = (f(data["target"][names == "train"]) for f in (np.mean, np.std))
        label = ((data["target"] - mean) / spread).astype(np.float32)[:, None]
    else:
        names, label = split(data["group"], data["label"], seed), data["label"].astype(np.int64)
    kept = {name: np.flatnonzero(names == name)[:cut] for name in ("train", "val", "test")}
    return {name: Labelled(data["ids"][rows], label[rows]) for name, rows in kept.items()}


def split(group: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
    """Whole groups at random, class by class of their first member, 70 / 10 / 20 %."""
    draw, names = np.random.default_rng(seed), np.full(len(group), "train", dtype="<U5")
    groups, first, sizes = np.unique(group, return_index=True, return_counts=True)
    for kind in np.unique(label):
        own = draw.permutation(np.flatnonzero(label[first] == kind))
        place = np.cumsum(sizes[own]) / sizes[own].sum()
        for name, low, high in (("test", 0.0, 0.2), ("val", 0.2, 0.3)):
            names[np.isin(group, groups[own[(place > low) & (place <= high)]])] = name
    return names


def pretrain(options: argparse.Namespace) -> None:
    """Write the pre-trained model, whole or not at all."""
    import torch
    from sequence_networks import build

    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader

    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    genome = load(options.data, "hidden")["k12"]
    border, steps = int(0.95 * len(genome)), options.pretraining_steps
    torch.manual_seed(0)
    model, _ = build("xlstm", options.size, "masked", "shared")
    started, (per_look, how) = time.monotonic(), steps_of(steps, 10)
    own = argparse.Namespace(**{**vars(options), "folder": kept(options)})
    result, _ = fit_cell(
        own, {"learning_rate": PRETRAINING_RATE, "seed": 0}, SequenceModule(model),
        BatchLoader(  # pyright: ignore
            Draws(genome[:border], steps * PRETRAINING_BATCH, CONTEXT, 0), PRETRAINING_BATCH, shuffle=True,
            steps_per_epoch=per_look,
        ),
        BatchLoader(Windows(genome[border:][: options.cut and 4 * CONTEXT], CONTEXT), 2 * PRETRAINING_BATCH),  # pyright: ignore
        weight_decay=0.1, **how,
    )  # fmt: skip
    model.cpu().save_pretrained(options.output / f"{PRETRAINED}.partial")
    (options.output / f"{PRETRAINED}.partial").rename(options.output / PRETRAINED)
    shutil.rmtree(kept(options))
    bits = result.best_value / math.log(2)
    print(f"pre-trained: {bits:.4f} bits per hidden base ({time.monotonic() - started:.0f} s)", flush=True)


def kept(options: argparse.Namespace) -> Path:
    """What a pre-training that time was too short for goes on from."""
    return (options.kept or options.output / "cells") / PRETRAINED


def pretrained(options: argparse.Namespace) -> Path | None:
    folders = [folder / PRETRAINED for folder in (options.output, options.data)]
    return next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)


def predictor(options: argparse.Namespace, cell: Row, length: int) -> Any:
    """The network of a cell, with as many weights as the xLSTM."""
    from sequence_networks import build

    from xlstm_apps.biosequence.baselines.conv import ConvConfig, ConvPredictor, trained_weights
    from xlstm_apps.biosequence.config import HeadConfig
    from xlstm_apps.biosequence.heads import SequencePredictor
    from xlstm_apps.biosequence.model import SequenceModel

    regression = cell["task"] == "sortseq"
    head = HeadConfig(
        task="regression" if regression else "classification", num_outputs=1 if regression else 2, pooling="places",
        length=length,
    )  # fmt: skip
    model = build("xlstm", cell["size"], "masked", "shared")[0]
    if cell["network"] == "xlstm":
        folder = pretrained(options)
        assert folder is not None, "made before the cells"
        model = SequenceModel.from_pretrained(folder)
    made = SequencePredictor.from_model(model, head)
    if cell["network"] in ("xlstm", "xlstm-scratch"):
        return made
    target, sequence = trained_weights(made), replace(model.sequence, symmetry="none")  # as given: they are aligned
    if cell["network"] == "cnn":
        head = replace(head, pooling="max", length=None)
    return ConvPredictor.matched(head, sequence, target, ConvConfig())


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Fit one model to one task and test it."""
    part = parts(options.data, cell["task"], cell["seed"], options.cut)
    row: Row = {**cell, "n_train": len(part["train"]), "n_test": len(part["test"])}
    started = time.monotonic()
    row, outputs = (linear if cell["network"] in LINEAR else network)(options, row, part)
    truth = part["test"].label
    row.setdefault("fit_seconds", round(time.monotonic() - started, 1))
    if cell["task"] == "sortseq":
        return {**row, "pearson": float(np.corrcoef(truth[:, 0], outputs[:, 0])[0, 1])}
    return {**row, **judged(truth, outputs[:, 1])}


def judged(truth: np.ndarray, p: np.ndarray) -> Row:
    """Accuracy and MCC at p = 1/2, and the area under the ROC curve."""
    guess = p > 0.5
    table = np.array([[np.sum((truth == a) & (guess == b)) for b in (0, 1)] for a in (0, 1)], float)
    spread = math.sqrt(np.prod(table.sum(0)) * np.prod(table.sum(1)))
    order = np.argsort(np.argsort(p, kind="stable"), kind="stable") + 1
    positives, negatives = int(truth.sum()), int((1 - truth).sum())
    return {
        "accuracy": float((guess == truth).mean()),
        "mcc": float((table[0, 0] * table[1, 1] - table[0, 1] * table[1, 0]) / spread) if spread else 0.0,
        "auroc": float((order[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)),
    }


def linear(options: argparse.Namespace, row: Row, part: dict[str, Labelled]) -> tuple[Row, np.ndarray]:
    from xlstm_apps.biosequence.alphabets import get_alphabet
    from xlstm_apps.biosequence.baselines.kmers import LinearModel

    task = "regression" if row["task"] == "sortseq" else "classification"
    model = LinearModel(get_alphabet("dna"), task, features=row["network"])
    model.fit(part["train"].ids, part["train"].label, part["val"].ids, part["val"].label)
    val, truth = model.predict(part["val"].ids), part["val"].label
    if task == "regression":
        loss = float(((val - truth) ** 2).mean())
    else:
        loss = float(-np.log(val[np.arange(len(truth)), truth]).mean())
    return {**row, "parameters": model.parameters, "val_loss": loss}, model.predict(part["test"].ids)


def network(options: argparse.Namespace, row: Row, part: dict[str, Labelled]) -> tuple[Row, np.ndarray]:
    import torch

    from xlstm_apps.biosequence.baselines.conv import trained_weights
    from xlstm_apps.biosequence.module import PredictorModule
    from xlstm_apps.training import BatchLoader

    torch.manual_seed(row["seed"])
    batch = TASKS[row["task"]]
    model = predictor(options, row, part["train"].ids.shape[1])
    result, facts = fit_cell(
        options, row, PredictorModule(model),
        BatchLoader(part["train"], batch, seed=row["seed"], shuffle=True),  # pyright: ignore
        BatchLoader(part["val"], READ),  # pyright: ignore
        max_epochs=row["epochs"], weight_decay=0.1, patience=4, warmup=0.1,
    )  # fmt: skip
    ids = torch.from_numpy(part["test"].ids.astype(np.int64))
    outputs = torch.cat([model.predict(rows.to(result.device)).float().cpu() for rows in ids.split(READ)])
    facts |= {"parameters": trained_weights(model), "val_loss": result.best_value, "best_epoch": result.best_epoch}
    facts.pop("best_step")
    return {**row, **facts}, outputs.numpy()


def told(row: Row) -> str:
    if row["task"] == "sortseq":
        return f"val {row['val_loss']:.4f} Pearson {row['pearson']:.4f}"
    return f"val {row['val_loss']:.4f} accuracy {row['accuracy']:.4f} MCC {row['mcc']:.4f}"


GRID = Grid(
    name="dna_finetune.csv", fields=FIELDS, key=KEY, group=("task", "network"), judged="val_loss", run=run, told=told
)


def given(options: argparse.Namespace, network: str) -> Row:
    steps = options.pretraining_steps if network == "xlstm" else ""
    return {"size": options.size, "pretraining_steps": steps, "epochs": options.epochs}


# Sort-seq takes longest, so it begins.
BENCHMARK = TaskBenchmark(
    GRID, tuple(reversed(TASKS)), NETWORKS, solved=LINEAR, given=given, shown=("accuracy", "mcc", "pearson")
)


def before(options: argparse.Namespace) -> Before | None:
    """The pre-training, where there is none yet."""
    if "xlstm" not in options.networks or pretrained(options) is not None:
        return None
    options.output.mkdir(parents=True, exist_ok=True)
    return Before(pretrain, waits_for_pretraining)


def waits_for_pretraining(group: Row) -> bool:
    return group["network"] == "xlstm"


def main() -> None:
    parser = options_of(__doc__, FOLDER, RATES, 5, NETWORKS[:4], NETWORKS)
    parser.add_argument("--size", default="500k", choices=["500k", "2m"])
    parser.add_argument("--pretraining_steps", type=int, default=2500)
    parser.add_argument("--epochs", type=int, default=15, help="most passes of fine-tuning")
    parser.add_argument("--cut", type=int, help="for a trial: that many sequences of each part only")
    BENCHMARK.main(parser, before)


if __name__ == "__main__":
    main()
