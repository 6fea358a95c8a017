"""Fashion-MNIST: Vision-LSTM beside a ViT and a ResNet of equal size and budget, three seeds.

    python benchmarks/vision_fashion.py --data FOLDER --workers 3 --seconds 570 --output FOLDER      # one GPU, once
    python benchmarks/vision_fashion.py --data FOLDER --size 300k --epochs 2 --cut 256 --batch 32 --output TRIAL
    python benchmarks/vision_fashion.py --output FOLDER --summary

FOLDER holds the four IDX files as they come (github.com/zalandoresearch/fashion-mnist, MIT). One row per (network,
learning rate, seed) goes to vision_fashion.csv in the output folder, with the rows that were in results/ before; rows
that are there are not made again, and cells that time was too short for go on from their checkpoints.

Protocol: 55,000 images for training, 5,000 for validation (drawn once), the 10,000 of the test looked at once, by the
average of the weights at the look with the lowest validation loss. Vision-LSTM and ViT have the same stem: two
convolutions of 3 x 3, which make 14 x 14 places of 64 features of a picture, as in Hassani et al. 2021 ("Escaping the
Big Data Paradigm with Compact Transformers"); `--no-stem` leaves it out. All networks have as many weights, see the
same batches and the same changes of images (flips, moves by 7 %, zoom, erased rectangles, CutMix in `--mixed` of
the batches), and get the same number of epochs. With several `--rates`, each takes the one with the lowest validation
loss at seed 0. Without `--epochs` their number is such that the time is used: some steps of all networks are timed
first, side by side on the device, and what was found is kept in the output folder. `seconds` of a row are those of its
training beside the others.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, Row, arguments, precision, show
from grid_fit import fit_cell, restore
from vision_networks import NETWORKS, SIZES, build, parameters, with_stem

RATES = (2e-3,)
KEY = ("network", "size", "stem", "patch_size", "batch", "epochs", "cut", "mixed", "drop_path", "learning_rate", "seed")
FIELDS = (*KEY, "parameters", "val_loss", "val_accuracy", "accuracy", "best_step", "fit_seconds", "precision",
          "device", "torch")  # fmt: skip
HELD, CLASSES, SIZE, LOOK = 5000, 10, 28, 3
PACE = "vision_fashion_epochs.txt"
TIMED, WARM, PATIENCE = 6.0, 15, 120.0
"""Seconds for which steps are timed, steps before, and seconds after which a network waits for no other one."""


class Pictures:
    """Images and labels, all on the device: a data set of batches."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, device: str) -> None:
        import torch

        self.pixels = torch.from_numpy(pixels[:, None].copy()).to(device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        chosen = torch.tensor(indices, device=self.labels.device)
        return {"pixels": self.pixels[chosen], "label": self.labels[chosen]}


def parts(options: argparse.Namespace) -> dict[str, Pictures]:
    """Training, validation and test; `cut` keeps some images only, for a trial."""
    import torch

    from xlstm_apps.datasets.images.idx import labels_beside, read_idx

    folder, cut = options.data, options.cut
    device = "cuda" if options.accelerator != "cpu" and torch.cuda.is_available() else "cpu"

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
    made = {name: Pictures(x[own[:cut]], y[own[:cut]], device) for name, own in rows.items()}
    x, y = both("t10k")
    return {**made, "test": Pictures(x[:cut], y[:cut], device)}


def module_of(cell: Row, train: Pictures) -> Any:
    """The network of a cell and how it is trained."""
    import torch
    from torch import nn

    from xlstm_apps.vision.classifier import Normalize
    from xlstm_apps.vision.module import ClassifierModule
    from xlstm_apps.vision.training_config import AugmentConfig

    torch.manual_seed(int(cell["seed"]))
    make = with_stem if cell["stem"] and cell["network"] != "resnet" else build
    body = make(
        cell["network"], cell["size"], img_size=SIZE, in_chans=1, num_classes=CLASSES,
        patch_size=int(cell["patch_size"]), drop_path=float(cell["drop_path"]),
    )  # fmt: skip
    if cell["network"] == "resnet" and train.pixels.is_cuda:
        body = body.to(memory_format=torch.channels_last)
    sample = train.pixels[:5000].float() / 255
    network = nn.Sequential(Normalize((float(sample.mean()),), (float(sample.std()),)), body)
    mixed = {"cutmix": 1.0, "mix_probability": float(cell["mixed"])}
    augment = AugmentConfig(shift=0.07, zoom=0.07, erasing=0.3, **mixed, label_smoothing=0.1)
    return ClassifierModule(network, CLASSES, augment, ema=0.998)


def fit(options: argparse.Namespace, cell: Row, part: dict[str, Pictures], module: Any, looks: int, **how: Any) -> Any:
    """`fit_cell` with the batches of a cell."""
    import torch

    from xlstm_apps.training import BatchLoader

    torch.backends.cudnn.benchmark = True
    steps = -(-len(part["train"]) // cell["batch"]) * LOOK
    return fit_cell(
        options, cell, module,
        BatchLoader(part["train"], cell["batch"], seed=cell["seed"], shuffle=True, steps_per_epoch=steps),  # pyright: ignore
        BatchLoader(part["val"], 1000),  # pyright: ignore
        max_epochs=looks, weight_decay=0.05, patience=None, **how,
    )  # fmt: skip


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Train one network."""
    part = parts(options)
    module = module_of(cell, part["train"])
    steps = -(-len(part["train"]) // cell["batch"]) * cell["epochs"]
    result, facts = fit(options, cell, part, module, -(-cell["epochs"] // LOOK), max_steps=steps)
    return {
        "parameters": parameters(module.network),
        "val_loss": result.best_value,
        "val_accuracy": result.history[result.best_epoch - 1]["val_accuracy"],
        **facts,
    }


def test(options: argparse.Namespace, row: Row) -> Row:
    """What the best weights say of the test."""
    import torch

    from xlstm_apps.vision.module import unit_pixels

    part, right = parts(options), 0
    module = module_of(row, part["train"])
    device = restore(options, module)
    for begin in range(0, len(part["test"]), 1000):
        batch = part["test"].__getitems__(list(range(begin, min(begin + 1000, len(part["test"])))))
        half = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16-mixed")
        with torch.inference_mode(), half:
            guess = module.result(unit_pixels(batch["pixels"])).argmax(-1)
        right += int((guess == batch["label"]).sum())
    return {"accuracy": right / len(part["test"])}


class Timed(Exception):  # noqa: N818
    """Enough steps were timed."""


def pace(options: argparse.Namespace, cell: Row, number: int, count: int) -> float:
    """Seconds of a step of training while `count` networks, of which this one is a `number`, share the device."""
    import torch

    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    part, started = parts(options), time.monotonic()
    module, times = module_of(cell, part["train"]), []
    after, marks = module.on_train_batch_end, options.output / "pace"

    def all_are(state: str) -> bool:
        (marks / f"{number}.{state}").touch()
        return all((marks / f"{n}.{state}").exists() for n in range(count)) or time.monotonic() - started > PATIENCE

    def timed(*args: Any) -> None:
        after(*args)
        if part["train"].pixels.is_cuda:
            torch.cuda.synchronize()
        times.append(time.monotonic())
        if len(times) <= WARM or (len(times) == WARM + 1 and not all_are("warm")):
            if len(times) > WARM:
                times.pop()  # timed are steps beside the others, which are not ready yet
        elif len(times) > WARM + 3 and times[-1] - times[WARM] > TIMED and all_are("timed"):
            raise Timed

    module.on_train_batch_end = timed
    own = argparse.Namespace(**{**vars(options), "folder": None})
    with contextlib.suppress(Timed):
        fit(own, cell, part, module, 10_000)
    return (times[-1] - times[WARM]) / (len(times) - 1 - WARM)


def epochs(options: argparse.Namespace) -> int:
    """As many as there is time for, found once for an output folder."""
    kept, started = options.output / PACE, time.monotonic()
    if kept.is_file():
        return int(kept.read_text())
    cells = [{**group_of(options, name), "learning_rate": options.rates[0], "seed": 0} for name in options.networks]
    marks, count = options.output / "pace", len(cells)
    shutil.rmtree(marks, ignore_errors=True)
    marks.mkdir(parents=True)
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(pace, options, cell, number, count) for number, cell in enumerate(cells)]
        steps = [job.result() for job in jobs]
    shutil.rmtree(marks)
    for name, seconds in zip(options.networks, steps, strict=True):
        print(f"{name}: {1000 * seconds:.1f} ms a step of {options.batch} beside the others", flush=True)
    trained = options.seeds + len(options.rates) - 1
    batches = -(-min(options.cut or 55_000, 55_000) // options.batch)
    # Shared among all, or the slowest twice: its other seeds wait for its first.
    an_epoch = batches * max(trained * sum(steps) / min(options.workers, count), min(2, trained) * max(steps))
    left = options.seconds - (time.monotonic() - started)
    found = int(min(100, max(LOOK, (0.8 * left - 20) / an_epoch)) // LOOK * LOOK)
    print(f"{found} epochs of all: about {found * an_epoch:.0f} of {left:.0f} s", flush=True)
    kept.write_text(f"{found}\n")
    return found


GRID = Grid(
    name="vision_fashion.csv", fields=FIELDS, key=KEY, group=KEY[:-2], judged="val_loss", run=run, test=test,
    tested="accuracy", told=lambda row: f"val {row['val_accuracy']:.4f} test {row.get('accuracy', '-')}",
)  # fmt: skip


def group_of(options: argparse.Namespace, name: str) -> Row:
    stem = int(options.stem and name != "resnet")
    return {"network": name, "size": options.size, "stem": stem, "patch_size": options.patch_size,
            "batch": options.batch, "epochs": options.epochs, "cut": options.cut or "", "mixed": options.mixed,
            "drop_path": options.drop_path if name.startswith("vil") else 0.0}  # fmt: skip


def summary(options: argparse.Namespace) -> None:
    """Means and deviations over the seeds."""
    rows, lines = GRID.rows(options.output), []
    for name in options.networks:
        group = group_of(options, name)
        if group["epochs"] is None:  # the largest number there is
            own = [int(row["epochs"]) for row in rows if row["network"] == name and row["size"] == options.size]
            group["epochs"] = max(own, default=0)
        lines.append((f"{name}, {group['epochs']} epochs", *GRID.chosen(rows, group, options.rates, options.seeds)))
    show(lines, ("val_accuracy", "accuracy", "best_step", "fit_seconds"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".images"), help="folder of the IDX files")
    parser.add_argument("--networks", nargs="+", default=["vil", "vit", "resnet"], choices=NETWORKS)
    parser.add_argument("--size", default="3m", choices=list(SIZES))
    parser.add_argument(
        "--stem", action=argparse.BooleanOptionalAction, default=True, help="convolutions before patches"
    )
    parser.add_argument("--patch_size", type=int, default=1, help="behind the stem; of pixels without")
    parser.add_argument("--mixed", type=float, default=0.25, help="share of the batches with CutMix")
    parser.add_argument("--drop_path", type=float, default=0.0, help="of Vision-LSTM, in training")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, help="left out: as many as there is time for (--seconds)")
    parser.add_argument("--cut", type=int, help="for a trial: that many images of each part only")
    arguments(parser, RATES, seeds=3)
    options = parser.parse_args()
    if options.summary:
        summary(options)
        return
    started = time.monotonic()
    options.precision = precision(options)
    if options.epochs is None:
        if options.seconds > 1e6:
            raise SystemExit("say how long with --seconds, or how many --epochs")
        options.epochs = epochs(options)
    options.seconds -= time.monotonic() - started
    if failed := GRID.measure(options, [group_of(options, name) for name in options.networks]):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
