"""Nuclei in 334 pictures of 256 x 256: the xLSTM in the bottleneck or the encoder of a U-Net, beside a plain U-Net.

    python benchmarks/segment_nuclei.py --prepare --source nuclei256.tar.xz          # once: makes the folder .nuclei
    python benchmarks/segment_nuclei.py --workers 3 --seconds 570 --output FOLDER    # one GPU, all of it
    python benchmarks/segment_nuclei.py --accelerator cpu --steps 300 --base 8 16 32 64 --patch 96 --batch 8
    python benchmarks/segment_nuclei.py --summary

One row per (network, base, patch, steps, precision, learning rate, seed) goes to segment_nuclei.csv in the output
folder, with the rows that were in results/ before; rows that are there are not made again, and cells that time was too
short for go on from their checkpoints. On a GPU, first memory and time of each network alone go to
segment_nuclei_speed.csv; then come the trainings in bfloat16, and where time is left those of seed 0 in float16. A
training whose loss is not finite at any step fails, and has no row.

Protocol. The pictures of stage 1 of the 2018 Data Science Bowl (CC0) that are 256 x 256, split by nuclei_split.csv
beside this script: 70 / 10 / 20 %, drawn once, pictures with the same pixels in one part. All networks have as many
weights as the plain U-Net of the base widths (multiples of 4, so to within a few per cent), see the same patches in the
same order with the same augmentation, and take the learning rate of the grid with the lowest validation loss at seed 0;
their weights are those of the best look at validation. Scores are means over the test pictures, objects counted over
all of them: F1 of objects that overlap by more than one half, and its mean over 0.5 to 0.95. The masks come merged, so
nuclei that touch count as one, for all networks alike. `dice_384` and `dice_160`: pictures enlarged to 384 pixels (by
repeating pixels and scaling back what is found), and their middle of 160 pixels alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, Row, arguments, precision, show, write
from segment_alone import FIELDS as ALONE
from segment_alone import alone
from segment_fitting import FIELDS, fit_and_score, image_set, told

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "shared" / "data" / "segmentation" / "nuclei256.tar.xz"
FOLDER = HERE.parent / ".nuclei"
SPLIT = HERE / "nuclei_split.csv"
WHERE = {"plain": "none", "bottleneck": "bottleneck", "encoder": "encoder", "all": "all"}
KEY = ("network", "base", "patch", "steps", "precision", "learning_rate", "seed")
RATES = (2e-3,)
SPEED = "segment_nuclei_speed.csv"


def prepare(source: Path, folder: Path) -> None:
    """All pictures and masks as one file that NumPy reads."""
    from io import BytesIO

    from PIL import Image

    found: dict[str, dict[str, np.ndarray]] = {"images": {}, "masks": {}}
    with tarfile.open(source) as archive:
        for member in archive:
            path = Path(member.name)
            content = archive.extractfile(member) if member.isfile() and path.suffix == ".png" else None
            if content is not None:
                found[path.parent.name][path.stem] = np.asarray(Image.open(BytesIO(content.read())).convert("L"))
    names = sorted(found["images"])
    pixels = np.stack([found["images"][name] for name in names])
    masks = np.stack([found["masks"][name] > 0 for name in names])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "nuclei.npz", names=np.array(names), pixels=pixels, masks=masks)
    if not SPLIT.exists():
        split(names, pixels)
    print(f"{len(names)} pictures in {folder}")


def split(names: list[str], pixels: np.ndarray) -> None:
    """Draw the parts, once."""
    units: dict[str, list[str]] = {}
    for name, picture in zip(names, pixels, strict=True):
        units.setdefault(hashlib.sha1(picture.tobytes()).hexdigest(), []).append(name)
    order = np.random.default_rng(0).permutation(len(units))
    groups, rows, done = list(units.values()), [], 0
    for number in order:
        part = "test" if done < 0.2 * len(names) else "val" if done < 0.3 * len(names) else "train"
        rows += [(name, part) for name in groups[number]]
        done += len(groups[number])
    with SPLIT.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "part"), *sorted(rows)])


def data(options: argparse.Namespace) -> tuple[Any, dict[str, np.ndarray]]:
    """The pictures and the numbers of those of every part."""
    with np.load(options.data / "nuclei.npz") as file:
        names, pixels, masks = file["names"].tolist(), file["pixels"], file["masks"].astype(np.uint8)
    with SPLIT.open(newline="") as file:
        part = {row["id"]: row["part"] for row in csv.DictReader(file)}
    parts = {name: np.flatnonzero([part[one] == name for one in names]) for name in ("train", "val", "test")}
    return image_set(pixels, masks, names), {name: rows[: options.cut] for name, rows in parts.items()}


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Fit one network and test it, at other sizes too."""
    from xlstm_apps.vision.segment_config import SegmentAugment

    images, parts = data(options)
    patch, network = (options.patch,) * 2, network_of(options, cell)
    row, find = fit_and_score(options, cell, network, images, parts, patch, options.batch, SegmentAugment())
    return {**row, **other_sizes(find, images, parts["test"])}


def network_of(options: argparse.Namespace, cell: Row) -> Any:
    """The network of a cell, as large as the plain one of the base widths."""
    import torch

    from xlstm_apps.vision.unet import XLSTMUNet, count_weights, of_size
    from xlstm_apps.vision.unet_config import UNetConfig

    base = UNetConfig(features=tuple(options.base), where="none", deep_supervision=True)
    weights = count_weights(XLSTMUNet.from_config(2, 1, 2, base))
    wanted = UNetConfig(features=base.features, where=WHERE[cell["network"]], deep_supervision=True)
    torch.manual_seed(cell["seed"])
    return XLSTMUNet.from_config(2, 1, 2, of_size(2, 1, 2, wanted, weights, 4))


def other_sizes(find: Any, images: Any, rows: np.ndarray) -> Row:
    """Dice where pictures are larger or smaller than any in training."""
    from xlstm_apps.vision.segment_scores import overlap

    large, small = [], []
    there = np.arange(384) * 256 // 384
    back = np.arange(256) * 384 // 256 + 1
    middle = slice(48, 208)
    for index in rows.tolist():
        pixels, truth = images.pixels(index), images.labels[index] == 1
        found = find(pixels[:, there][:, :, there])[back][:, back]
        large.append(overlap(truth, found == 1)["dice"])
        small.append(overlap(truth[middle, middle], find(pixels[:, middle, middle]) == 1)["dice"])
    return {"dice_384": float(np.nanmean(large)), "dice_160": float(np.nanmean(small))}


GRID = Grid(
    name="segment_nuclei.csv", fields=tuple(dict.fromkeys((*KEY, *FIELDS, "dice_384", "dice_160"))), key=KEY,
    group=KEY[:-2], judged="val_loss", run=run, told=told,
)  # fmt: skip


def group_of(options: argparse.Namespace, network: str) -> Row:
    base = " ".join(map(str, options.base))
    return {"network": network, "base": base, "patch": options.patch, "steps": options.steps,
            "precision": options.precision}  # fmt: skip


def summary(options: argparse.Namespace) -> None:
    """Means and deviations over the seeds, at the learning rate that validation chose."""
    rows = GRID.rows(options.output)
    measures = ("dice", "iou", "hd95", "f1", "f1_ladder", "dice_384", "dice_160", "ms_per_image", "fit_seconds")
    lines = []
    for network in options.networks:
        group = group_of(options, network)
        lines.append((network, *GRID.chosen(rows, group, options.rates, options.seeds)))
    show(lines, measures)


def measure(options: argparse.Namespace) -> int:
    """All of it; returns how many cells failed."""
    import torch

    started, failed = time.monotonic(), 0
    cuda = options.accelerator != "cpu" and torch.cuda.is_available()
    if cuda and not (options.output / SPEED).is_file():
        rows = []
        for name in options.networks:
            network = network_of(options, {"network": name, "seed": 0})
            rows.append({"network": name, **alone(network, options.batch, options.patch, "cuda")})
            print(" ".join(f"{key} {rows[-1][key]:.4g}" for key in ("train_ms", "train_mb", "ms_per_image")), name)
        write(options.output / SPEED, ALONE, rows)
        torch.cuda.empty_cache()
    for form, seeds in ((options.precision, options.seeds), *((("16-mixed", 1),) if cuda else ())):
        left = options.seconds - (time.monotonic() - started)
        own = argparse.Namespace(**{**vars(options), "precision": form, "seeds": seeds, "seconds": left})
        failed += GRID.measure(own, [group_of(own, network) for network in options.networks])
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="read the archive, once")
    parser.add_argument("--source", type=Path, default=SOURCE, help="nuclei256.tar.xz")
    parser.add_argument("--data", type=Path, default=FOLDER, help="what --prepare made")
    parser.add_argument("--networks", nargs="+", default=list(WHERE)[:3], choices=list(WHERE))
    parser.add_argument("--base", nargs="+", type=int, default=[32, 64, 128, 256], help="widths of the plain U-Net")
    parser.add_argument("--patch", type=int, default=256, help="side of a training patch")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--cut", type=int, help="for a trial: that many pictures of each part only")
    arguments(parser, RATES, seeds=3)
    options = parser.parse_args()
    options.precision = precision(options)
    if options.prepare:
        prepare(options.source, options.data)
    elif options.summary:
        summary(options)
    elif failed := measure(options):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
