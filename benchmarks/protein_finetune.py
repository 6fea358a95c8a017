"""Secondary structure of residues and the place of proteins in a cell: xLSTM beside a CNN and k-mers.

    python benchmarks/protein_data.py                                                        # once: makes .protein
    python benchmarks/protein_finetune.py --tasks location --networks kmers --seeds 5        # on the CPU
    python benchmarks/protein_finetune.py --tasks structure --networks xlstm cnn --steps 1500 --symbols 16384 \\
        --workers 6 --seconds 540 --output FOLDER                                                            # GPU
    python benchmarks/protein_finetune.py --tasks location --networks xlstm cnn --workers 6 --output FOLDER  # GPU
    python benchmarks/protein_finetune.py --summary

One row per (task, network, learning rate, seed) goes to protein_finetune.csv in the output folder, with the rows that
were in results/ before; rows that are there are not made again, and cells that time was too short for go on from their
checkpoints.

Protocol. `structure`: Q3, the share of residues whose state (helix, strand, neither) is right, on the test set that
comes with the data, 364 chains; the seed sets the weights. `location`: five folds in whole groups of similar proteins;
seed n is tested on fold n, and a tenth of the others is for validation. Networks have equally many weights, see the
same batches and take the learning rate of the grid with the lowest validation loss at seed 0; their weights are those
of the best of `--looks` looks at validation. Networks read the first `--context` residues of a protein to be located,
k-mers all of them.

`xlstm`: what the package trains where nothing is said; `xlstm-4`: the same with convolutions of 4 residues; `cnn`:
convolutions on one learned vector per residue, which is a linear map of one-hot input; `kmers`: logistic regression on
k-mers, k and its strength chosen on validation. `joined`: the xLSTM and the k-mers together, as the package gives them,
with weights chosen on validation.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from grid import Grid, Row
from grid_fit import fit_cell
from protein_data import FOLDER, FOLDS, STATES, UNKNOWN, deal, load
from protein_language import Batches, Pieces, read_at_once
from sequence_grid import TaskBenchmark, options_of, steps_of

RATES = (1e-3, 3e-3)
NETWORKS = ("xlstm", "xlstm-4", "cnn", "kmers")
LEFT_OUT = (("structure", "kmers"),)  # they are of whole sequences
TASKS = ("structure", "location")
KEY = ("task", "network", "learning_rate", "seed", "steps", "symbols", "context")
FIELDS = (
    *KEY, "parameters", "n_train", "n_test", "val_loss", "accuracy", "mcc", "joined_accuracy", "joined_mcc",
    "joined_share", "best_step", "fit_seconds", "precision", "device", "torch",
)  # fmt: skip
PARTS = ("train", "val", "test")


class Labelled(Pieces):
    """Sequences and their classes, or stretches and the classes of their residues."""

    def __init__(self, rows: list[np.ndarray], labels: Any, context: int | None = None) -> None:
        if isinstance(labels, list):
            super().__init__(rows, context)
            self.labels = Pieces(labels, context).rows
        else:
            self.rows, self.labels = [row[:context] for row in rows], labels

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        batch = super().__getitems__(indices)
        if not isinstance(self.labels, list):
            return batch | {"label": torch.from_numpy(self.labels[indices])}
        rows = [torch.from_numpy(self.labels[n].astype(np.int64)) for n in indices]
        label = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=UNKNOWN)
        return batch | {"label": label.masked_fill(label == UNKNOWN, -1)}


class Even(Batches):
    """Batches of labelled stretches of about one length, cut to the shortest."""

    def __getitems__(self, indices: list[int]) -> Any:
        batch = self.pieces.__getitems__(self.members[indices[0]])
        least = int(batch["lengths"].min())
        return {name: batch[name][:, :least] for name in ("ids", "label")}


def parts(options: argparse.Namespace, task: str, seed: int) -> dict[str, tuple[list[np.ndarray], Any]]:
    """Sequences and labels for training, validation and test."""
    proteins, facts = load(options.data, task)
    rows = proteins.rows()
    if task == "structure":
        label: Any = proteins.rows(facts["state"])
        part = facts["part"]
    else:
        label = facts["label"]
        part = folded(facts["fold"], facts["group"], seed)
    chosen = [np.flatnonzero(part == n) for n in range(len(PARTS))]
    return {
        name: ([rows[i] for i in own], [label[i] for i in own] if isinstance(label, list) else label[own])
        for name, own in zip(PARTS, chosen, strict=True)
    }


def folded(fold: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Number of the part of each protein where fold `seed` is the test, and a tenth of the groups left validation."""
    part = np.full(len(fold), 2)
    rest = fold != seed % FOLDS
    own = np.unique(group[rest], return_inverse=True)[1]
    part[rest] = deal(own, np.ones(len(own)), [0.9, 0.1], seed)
    return part


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Fit one model to one task and test it."""
    from xlstm_apps.biosequence.metrics import Confusion

    part = parts(options, cell["task"], cell["seed"])
    row: Row = {**cell, "n_train": len(part["train"][0]), "n_test": len(part["test"][0])}
    started = time.monotonic()
    row, outputs = (kmers if cell["network"] == "kmers" else network)(options, row, part)
    row.setdefault("fit_seconds", round(time.monotonic() - started, 1))
    truth = part["test"][1]
    for name, found in outputs.items():
        confusion = Confusion(found[0].shape[-1])
        for label, p in zip(truth if isinstance(truth, list) else [truth], found, strict=True):
            known = label != UNKNOWN
            _add(confusion, label[known], p.argmax(-1)[known])
        row |= {f"{name}accuracy": confusion.accuracy, f"{name}mcc": confusion.mcc}
    return row


def _add(confusion: Any, truth: np.ndarray, guess: np.ndarray) -> None:
    import torch

    confusion.add(torch.from_numpy(truth.astype(np.int64)), torch.from_numpy(guess.astype(np.int64)))


def fitted_kmers(part: dict[str, tuple[list[np.ndarray], Any]]) -> Any:
    from xlstm_apps.biosequence.alphabets import get_alphabet
    from xlstm_apps.biosequence.baselines.kmers import LinearModel

    return LinearModel(get_alphabet("protein"), "classification").fit(*part["train"], *part["val"])


def kmers(options: argparse.Namespace, row: Row, part: dict[str, Any]) -> tuple[Row, dict[str, list[np.ndarray]]]:
    model = fitted_kmers(part)
    rows, truth = part["val"]
    loss = float(-np.log(model.predict(rows)[np.arange(len(truth)), truth]).mean())
    facts = {"parameters": model.parameters, "val_loss": loss, "device": "cpu"}
    return row | facts, {"": [model.predict(part["test"][0])]}


def predictor(name: str, per_symbol: bool) -> Any:
    """The package's predictor of proteins from scratch, or convolutions of as many weights."""
    from xlstm_apps.biosequence.baselines.conv import ConvConfig, ConvPredictor, trained_weights
    from xlstm_apps.biosequence.config import HeadConfig, SequenceConfig
    from xlstm_apps.biosequence.heads import SequencePredictor
    from xlstm_apps.biosequence.sizes import PREDICTOR, predictor_layers

    sequence = SequenceConfig(alphabet="protein", objective="masked")
    head = HeadConfig(
        task="classification", num_outputs=len(STATES) if per_symbol else 2, per_symbol=per_symbol, pooling="mean"
    )
    layers = predictor_layers(PREDICTOR, "protein", per_symbol)
    if name == "xlstm-4":
        layers = replace(layers, conv1d_kernel_size=4)
    made = SequencePredictor(head, sequence, layers)
    return made if name != "cnn" else ConvPredictor.matched(head, sequence, trained_weights(made), ConvConfig())


def network(options: argparse.Namespace, row: Row, part: dict[str, Any]) -> tuple[Row, dict[str, list[np.ndarray]]]:
    import torch

    from xlstm_apps.biosequence.baselines.conv import trained_weights
    from xlstm_apps.biosequence.module import PredictorModule
    from xlstm_apps.training import BatchLoader

    per_symbol, at_once = row["task"] == "structure", read_at_once(options, row["symbols"])
    torch.manual_seed(row["seed"])
    model = predictor(row["network"], per_symbol)
    train = Labelled(*part["train"], row["context"])
    valid = Labelled(*part["val"], row["context"])
    if per_symbol:
        examples, rows = Even(train, row["symbols"], cut=True), 1
        valid = Labelled(*(x[:: options.thin] for x in part["val"]), row["context"])
    else:
        examples, rows = train, max(1, round(row["symbols"] * len(train) / train.residues))
    per_look, how = steps_of(row["steps"], options.looks)
    result, facts = fit_cell(
        options, row, PredictorModule(model),
        BatchLoader(examples, rows, seed=row["seed"], shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        BatchLoader(Batches(valid, at_once, cut=False), 1),  # pyright: ignore
        **how,
    )  # fmt: skip
    context = None if per_symbol else row["context"]
    outputs = {"": predicted(model, Labelled(*part["test"], context), at_once)}
    facts |= {"parameters": trained_weights(model), "val_loss": result.best_value}
    if not per_symbol:
        outputs = {name: [np.stack(found)] for name, found in outputs.items()}
        if row["network"] == "xlstm":
            own = np.stack(predicted(model, valid, at_once))
            facts["joined_share"], outputs["joined_"] = joined(model, own, outputs[""][0], part)
    return row | facts, outputs


def predicted(model: Any, pieces: Pieces, symbols: int) -> list[np.ndarray]:
    """Probabilities of every row: [O], or [T, O] per residue."""
    out: list[Any] = [None] * len(pieces)
    device = model.head.weight.device
    for members in pieces.batches(symbols):
        batch = pieces.__getitems__(members)
        found = model.predict(batch["ids"].to(device), lengths=batch["lengths"]).float().cpu().numpy()
        for n, row, length in zip(members, found, batch["lengths"].tolist(), strict=True):
            out[n] = row[:length] if model.head_config.per_symbol else row
    return out


def joined(model: Any, own: np.ndarray, test: np.ndarray, part: dict[str, Any]) -> tuple[float, list[np.ndarray]]:
    """The share of the network among it and the k-mers, and what both say of the test."""
    from xlstm_apps.biosequence.linear import weights_of_members

    linear, (rows, truth) = fitted_kmers(part), part["val"]
    weights = weights_of_members(model.cpu(), [np.log(own), linear.scores(rows)], truth)
    return float(weights[0] / weights.sum()), [weights[0] * np.log(test) + weights[1] * linear.scores(part["test"][0])]


GRID = Grid(
    name="protein_finetune.csv",
    fields=FIELDS,
    key=KEY,
    group=("task", "network"),
    judged="val_loss",
    run=run,
    told=lambda row: f"val {row['val_loss']:.4f} accuracy {row['accuracy']:.4f} MCC {row['mcc']:.4f}",
)


BENCHMARK = TaskBenchmark(
    GRID, TASKS, NETWORKS, solved=("kmers",),
    given=lambda options, network: {name: getattr(options, name) for name in ("steps", "symbols", "context")},
    shown=("accuracy", "mcc", "joined_accuracy", "joined_mcc"), left_out=LEFT_OUT,
)  # fmt: skip


def main() -> None:
    parser = options_of(__doc__, FOLDER, RATES, FOLDS, ("xlstm", "cnn", "kmers"), NETWORKS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--symbols", type=int, default=4096, help="residues per step, about")
    parser.add_argument("--context", type=int, default=512, help="residues read at a time, at most")
    parser.add_argument("--looks", type=int, default=6, help="looks at validation")
    parser.add_argument("--thin", type=int, default=1, help="structure: every so many chains of validation only")
    BENCHMARK.main(parser)


if __name__ == "__main__":
    main()
