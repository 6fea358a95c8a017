"""Fashion-MNIST: Vision-LSTM beside a ViT and a ResNet of equal size and budget, three seeds.

    python benchmarks/vision_fashion.py --data FOLDER --workers 3 --seconds 540 --precision bf16-mixed --output FOLDER
    python benchmarks/vision_fashion.py --data FOLDER --size 300k --epochs 2 --cut 2000 --output /tmp/trial   # a trial
    python benchmarks/vision_fashion.py --summary

FOLDER holds the four IDX files as they come (github.com/zalandoresearch/fashion-mnist, MIT). One row per (network,
learning rate, seed) goes to vision_fashion.csv in the output folder, with the rows that were in results/ before; rows
that are there are not made again.

Protocol: 55,000 images for training, 5,000 for validation (drawn once), the 10,000 of the test looked at once, by the
average of the weights at the epoch with the lowest validation loss. All networks see the same batches and the same
changes of images (flips, moves by 10 %, zoom, erased rectangles, half of the batches with CutMix), take the learning
rate of the grid with the lowest validation loss at seed 0, and get the same number of epochs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, Row, arguments
from vision_networks import NETWORKS, SIZES, build, parameters

RATES = (5e-4, 1e-3, 2e-3)
KEY = ("network", "size", "patch_size", "epochs", "cut", "learning_rate", "seed")
FIELDS = (*KEY, "parameters", "val_loss", "val_accuracy", "accuracy", "best_epoch", "fit_seconds", "precision",
          "device", "torch")  # fmt: skip
BATCH, HELD, CLASSES, SIZE = 128, 5000, 10, 28


class Pictures:
    """Images and labels: a data set of batches."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        return {
            "pixels": torch.from_numpy(self.pixels[indices][:, None]),
            "label": torch.from_numpy(self.labels[indices].astype(np.int64)),
        }


def parts(folder: Path, cut: int | None) -> dict[str, Pictures]:
    """Training, validation and test; `cut` keeps some images only, for a trial."""
    from xlstm_apps.datasets.images.idx import labels_beside, read_idx

    def both(word: str) -> tuple[np.ndarray, np.ndarray]:
        found = sorted(folder.glob(f"*{word}-images-idx3-ubyte*"))
        if len(found) != 1:
            raise SystemExit(f"{folder}: expected one file *{word}-images-idx3-ubyte*, found {len(found)}")
        labels = labels_beside(found[0])
        if labels is None:
            raise SystemExit(f"{found[0]}: no labels beside it")
        return read_idx(found[0]), read_idx(labels)

    x, y = both("train")
    order = np.random.default_rng(0).permutation(len(x))
    rows = {"val": order[:HELD], "train": order[HELD:]}
    made = {name: Pictures(x[own[:cut]], y[own[:cut]]) for name, own in rows.items()}
    x, y = both("t10k")
    return {**made, "test": Pictures(x[:cut], y[:cut])}


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Train one network and test it."""
    import torch
    from torch import nn

    from xlstm_apps.training import BatchLoader, FitConfig, fit
    from xlstm_apps.vision.classifier import Normalize
    from xlstm_apps.vision.module import ClassifierModule, unit_pixels
    from xlstm_apps.vision.training_config import AugmentConfig

    part = parts(options.data, options.cut)
    torch.manual_seed(cell["seed"])
    body = build(
        cell["network"], cell["size"], img_size=SIZE, in_chans=1, num_classes=CLASSES, patch_size=cell["patch_size"]
    )
    sample = part["train"].pixels[:5000] / 255
    network = nn.Sequential(Normalize((float(sample.mean()),), (float(sample.std()),)), body)
    augment = AugmentConfig(shift=0.1, zoom=0.1, erasing=0.25, cutmix=1.0, mix_probability=0.5, label_smoothing=0.1)
    module = ClassifierModule(network, CLASSES, augment, ema=0.998)
    started = time.monotonic()
    result = fit(
        module,
        BatchLoader(part["train"], BATCH, seed=cell["seed"], shuffle=True),  # pyright: ignore
        BatchLoader(part["val"], 500),  # pyright: ignore
        FitConfig(
            max_epochs=cell["epochs"], learning_rate=cell["learning_rate"], weight_decay=0.05, patience=None,
            accelerator=options.accelerator, precision=options.precision,
        ),
        seed=cell["seed"],
    )  # fmt: skip
    seconds = time.monotonic() - started
    made, right = module.result.to(result.device).eval(), 0
    for begin in range(0, len(part["test"]), 500):
        batch = part["test"].__getitems__(list(range(begin, min(begin + 500, len(part["test"])))))
        with torch.inference_mode():
            guess = made(unit_pixels(batch["pixels"].to(result.device))).argmax(-1).cpu()
        right += int((guess == batch["label"]).sum())
    best = result.history[result.best_epoch - 1]
    return {
        **cell,
        "parameters": parameters(body),
        "val_loss": result.best_value,
        "val_accuracy": best["val_accuracy"],
        "accuracy": right / len(part["test"]),
        "best_epoch": result.best_epoch,
        "fit_seconds": round(seconds, 1),
        "precision": options.precision,
        "device": torch.cuda.get_device_name() if result.device.startswith("cuda") else "cpu",
        "torch": torch.__version__,
    }


GRID = Grid(
    name="vision_fashion.csv", fields=FIELDS, key=KEY, group=("network",), judged="val_loss", run=run,
    told=lambda row: f"val {row['val_accuracy']:.4f} test {row['accuracy']:.4f}",
)  # fmt: skip


def group_of(options: argparse.Namespace, name: str) -> Row:
    return {"network": name, "size": options.size, "patch_size": options.patch_size, "epochs": options.epochs,
            "cut": options.cut or ""}  # fmt: skip


def summary(options: argparse.Namespace) -> None:
    """Means and deviations over the seeds, at the learning rate that validation chose."""
    rows = GRID.rows(options.output)
    print(f"{'network':8s} {'weights':>10s} {'rate':>7s} n {'val':>15s} {'test':>15s} {'seconds':>8s}")
    for name in options.networks:
        group = group_of(options, name)
        rate = GRID.rate(rows, group, options.rates)
        wanted = {GRID.cell({**group, "learning_rate": rate, "seed": seed}) for seed in range(options.seeds)}
        own = [row for row in rows if GRID.cell(row) in wanted]
        if not own:
            continue
        cells = []
        for key in ("val_accuracy", "accuracy"):
            found = [float(row[key]) for row in own]
            cells.append(f"{statistics.mean(found):.4f}" + (f" ±{statistics.stdev(found):.4f}" if len(own) > 1 else ""))
        seconds = statistics.mean(float(row["fit_seconds"]) for row in own)
        head = f"{name:8s} {own[0]['parameters']:>10} {rate:>7g} {len(own)}"
        print(f"{head} {cells[0]:>15s} {cells[1]:>15s} {seconds:>8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("fashion-mnist"), help="folder of the IDX files")
    parser.add_argument("--networks", nargs="+", default=["vil", "vit", "resnet"], choices=NETWORKS)
    parser.add_argument("--size", default="3m", choices=list(SIZES))
    parser.add_argument("--patch_size", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--cut", type=int, help="for a trial: that many images of each part only")
    arguments(parser, RATES, seeds=3)
    options = parser.parse_args()
    if options.summary:
        summary(options)
    elif failed := GRID.measure(options, [group_of(options, name) for name in options.networks]):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
