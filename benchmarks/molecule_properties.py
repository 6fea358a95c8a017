"""Properties of molecules by scaffold split: fine-tuned and fresh xLSTM beside Morgan fingerprints and a random forest.

    python benchmarks/molecule_data.py                                                       # once: makes .molecules
    python benchmarks/molecule_moses.py --networks xlstm --output FOLDER                     # once: makes FOLDER/xlstm
    python benchmarks/molecule_properties.py --models forest                                 # on the CPU
    python benchmarks/molecule_properties.py --models pretrained scratch --pretrained FOLDER/xlstm --output FOLDER
    python benchmarks/molecule_properties.py --summary

One row per (task, model, learning rate, seed) goes to molecule_properties.csv in the output folder, with the rows that
were in results/ before; rows that are there are not made again.

Protocol. Seed n takes split n of molecule_data.py: molecules of one scaffold in one part, 80 / 10 / 10 %. Of lipo and
esol the root of the mean squared error, of bbbp the area under the ROC curve. Networks take the learning rate with the
lowest loss on the validation part of seed 0 and the weights of the epoch with the lowest one; the forest of 500 trees
takes the share of bits that a node looks at in the same way. `mean`: says the mean of training, or nothing.

`pretrained`: a head on the mean of the features of a model that was trained on the molecules of MOSES, all weights
trained further. `scratch`: what the package trains where nothing is said. Both read canonical SMILES.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, Row, arguments, finish
from molecule_data import END, FOLDER, PROPERTIES, SPLITS, load, rows
from molecule_moses import SEEN

RATES = (5e-4, 1e-3, 3e-3)
MODELS = ("pretrained", "scratch", "forest", "mean")
NETWORKS = MODELS[:2]
SHARES_OF_BITS = ("sqrt", 0.1)
KEY = ("task", "model", "layers", "learning_rate", "seed", "epochs", "batch")
FIELDS = (
    *KEY, "parameters", "molecules_seen", "n_train", "n_test", "val_loss", "rmse", "auc", "best_epoch", "fit_seconds",
    "precision", "device", "torch",
)  # fmt: skip


class Labelled:
    """Molecules with a property, as batches of padded rows."""

    def __init__(self, ids: list[np.ndarray], target: np.ndarray, is_class: bool) -> None:
        self.ids, self.target, self.is_class = ids, target, is_class

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        found = [torch.from_numpy(self.ids[n].astype(np.int64)) for n in indices]
        label = torch.from_numpy(self.target[indices])
        return {
            "ids": torch.nn.utils.rnn.pad_sequence(found, batch_first=True),
            "lengths": torch.tensor([len(row) for row in found]),
            "label": label.long() if self.is_class else label[:, None],
        }


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Fit one model to one task and test it."""
    ids, facts = load(options.data, cell["task"])
    molecules = [row[row != END] for row in rows(ids)]
    is_class, part = PROPERTIES[cell["task"]][2], facts["part"][cell["seed"]]
    chosen = [np.flatnonzero(part == n) for n in range(3)]
    row: Row = {**cell, "n_train": len(chosen[0]), "n_test": len(chosen[2])}
    started, target = time.monotonic(), facts["target"]
    if cell["model"] in NETWORKS:
        data = [Labelled([molecules[i] for i in own], target[own], is_class) for own in chosen]
        own, found = network(options, row, data)
    else:
        bits = np.unpackbits(facts["fingerprint"], axis=1)
        model = forest if cell["model"] == "forest" else constant
        own, found = model([(bits[n], target[n]) for n in chosen], is_class, cell["seed"], options.threads)
    row |= own | {"fit_seconds": round(time.monotonic() - started, 1)}
    return row | tested(target[chosen[2]], found, is_class)


def tested(truth: np.ndarray, found: np.ndarray, is_class: bool) -> Row:
    from sklearn.metrics import roc_auc_score

    if is_class:
        return {"auc": float(roc_auc_score(truth, found))}
    return {"rmse": float(np.sqrt(np.mean((truth - found) ** 2)))}


def loss(truth: np.ndarray, found: np.ndarray, is_class: bool) -> float:
    """Cross-entropy of a probability, or mean squared error."""
    if not is_class:
        return float(np.mean((truth - found) ** 2))
    p = np.clip(np.where(truth == 1, found, 1 - found), 1e-3, 1)
    return float(-np.log(p).mean())


def forest(parts: list[Any], is_class: bool, seed: int, threads: int, trees: int = 500) -> tuple[Row, np.ndarray]:
    """A random forest of fingerprints: its loss on validation, and what it says of the test."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if is_class else RandomForestRegressor
    best: tuple[float, Any] | None = None
    for share in SHARES_OF_BITS:
        model = kind(trees, max_features=share, random_state=seed, n_jobs=threads).fit(*parts[0])
        value = loss(parts[1][1], said(model, parts[1][0], is_class), is_class)
        if best is None or value < best[0]:
            best = value, model
    assert best is not None
    return {"val_loss": best[0], "device": "cpu"}, said(best[1], parts[2][0], is_class)


def said(model: Any, bits: np.ndarray, is_class: bool) -> np.ndarray:
    return model.predict_proba(bits)[:, 1] if is_class else model.predict(bits)


def constant(parts: list[Any], is_class: bool, seed: int, threads: int) -> tuple[Row, np.ndarray]:
    """The mean of training for every molecule."""
    mean = float(parts[0][1].mean())
    valid, test = (np.full(len(own[1]), mean) for own in parts[1:])
    return {"val_loss": loss(parts[1][1], valid, is_class), "device": "cpu"}, test


def predictor(options: argparse.Namespace, name: str, is_class: bool) -> Any:
    """A head on the trained model, or a new predictor."""
    from xlstm_apps.biosequence.config import HeadConfig, SequenceConfig
    from xlstm_apps.biosequence.heads import SequencePredictor
    from xlstm_apps.biosequence.sizes import PREDICTOR
    from xlstm_apps.estimators.sequence_saved import language_model

    head = HeadConfig(task="classification" if is_class else "regression", num_outputs=2 if is_class else 1)
    if name == "pretrained":
        return SequencePredictor.from_model(language_model(options.pretrained, "cpu", verb="be fine-tuned"), head)
    return SequencePredictor(head, SequenceConfig(alphabet="smiles", objective="masked"), PREDICTOR)


def network(options: argparse.Namespace, row: Row, parts: list[Labelled]) -> tuple[Row, np.ndarray]:
    import torch

    from xlstm_apps.biosequence.baselines.conv import trained_weights
    from xlstm_apps.biosequence.module import PredictorModule
    from xlstm_apps.training import BatchLoader, FitConfig, fit

    train, valid, test = parts
    torch.manual_seed(row["seed"])
    model = predictor(options, row["model"], train.is_class)
    if not train.is_class:
        model.target_mean.fill_(float(train.target.mean()))
        model.target_std.fill_(float(train.target.std()))
    result = fit(
        PredictorModule(model),
        BatchLoader(train, row["batch"], seed=row["seed"], shuffle=True),  # pyright: ignore[reportArgumentType]
        BatchLoader(valid, 256),  # pyright: ignore[reportArgumentType]
        FitConfig(
            max_epochs=row["epochs"], learning_rate=row["learning_rate"], patience=None,
            accelerator=options.accelerator, precision=options.precision,
        ),
        seed=row["seed"],
    )  # fmt: skip
    model.to(result.device).eval()
    out = []
    for at in range(0, len(test), 256):
        batch = test.__getitems__(list(range(at, min(at + 256, len(test)))))
        out.append(model.predict(batch["ids"].to(result.device), lengths=batch["lengths"])[:, -1].float().cpu().numpy())
    on_gpu = result.device.startswith("cuda")
    facts: Row = {
        "parameters": trained_weights(model),
        "molecules_seen": seen(options, row["model"]),
        "val_loss": result.best_value,
        "best_epoch": result.best_epoch,
        "precision": options.precision,
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    return facts, np.concatenate(out)


GRID = Grid(
    name="molecule_properties.csv",
    fields=FIELDS,
    key=KEY,
    group=("task", "model"),
    judged="val_loss",
    run=run,
    told=lambda row: f"val {row['val_loss']:.4f} " + " ".join(f"{k} {row[k]:.4f}" for k in ("rmse", "auc") if k in row),
)


def group_of(options: argparse.Namespace, task: str, name: str) -> Row:
    if name not in NETWORKS:
        return {"task": task, "model": name, "layers": "", "epochs": "", "batch": ""}
    layers = "64x2"
    if name == "pretrained":
        layers = told_layers(options.pretrained)
    return {"task": task, "model": name, "layers": layers, "epochs": options.epochs, "batch": options.batch}


def seen(options: argparse.Namespace, name: str) -> str:
    """Molecules that the model was trained on before, counting each time."""
    path = None if name != "pretrained" else options.pretrained / SEEN
    return path.read_text() if path is not None and path.is_file() else ""


def told_layers(folder: Path | None) -> str:
    """Width and number of blocks of a saved model."""
    if folder is None or not (folder / "config.json").is_file():
        raise SystemExit("error: --pretrained is the folder of a model that molecule_moses.py trained")
    config = json.loads((folder / "config.json").read_text())["backbone"]
    return f"{config['embedding_dim']}x{config['num_blocks']}"


def rates_of(options: argparse.Namespace, name: str) -> list[float]:
    return options.rates if name in NETWORKS else [0.0]


def measure(options: argparse.Namespace) -> int:
    failed, began = 0, time.monotonic()
    for name in options.models:
        own = argparse.Namespace(**{**vars(options), "rates": rates_of(options, name)})
        own.seconds = options.seconds - (time.monotonic() - began)
        failed += GRID.measure(own, [group_of(options, task, name) for task in options.tasks])
    return failed


def summary(options: argparse.Namespace) -> None:
    """What the rows say: means and deviations over the splits, at the learning rate that validation chose."""
    found = GRID.rows(options.output)
    print(f"{'task':6s} {'model':10s} {'layers':>7s} {'epochs':>6s} {'weights':>9s} {'rate':>7s} n {'':>6s} test")
    for task in options.tasks:
        measured = "auc" if PROPERTIES[task][2] else "rmse"
        kinds = [{k: row[k] for k in ("task", "model", "layers", "epochs", "batch")} for row in found]
        for group in [g for n, g in enumerate(kinds) if g["task"] == task and g not in kinds[:n]]:
            tried = {float(row["learning_rate"]) for row in found if all(row[k] == v for k, v in group.items())}
            rate, own = GRID.chosen(found, group, sorted(tried), options.seeds)
            values = [float(row[measured]) for row in own]
            if values:
                spread = f" ±{statistics.stdev(values):.3f}" if len(values) > 1 else ""
                print(
                    f"{task:6s} {group['model']:10s} {group['layers']:>7s} {group['epochs']:>6s} "
                    f"{own[0]['parameters']:>9s} {rate or '-':>7} {len(own)} {measured:>6s} "
                    f"{statistics.mean(values):.3f}{spread}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="what molecule_data.py made")
    parser.add_argument("--tasks", nargs="+", default=list(PROPERTIES), choices=list(PROPERTIES))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--pretrained", type=Path, help="folder of the trained model")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32, help="molecules per step")
    arguments(parser, RATES, seeds=SPLITS)
    finish(parser, summary, measure)


if __name__ == "__main__":
    main()
