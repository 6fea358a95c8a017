"""Volumes whose labels depend on what is far away: an xLSTM in a U-Net, in three dimensions and slice by slice.

    python benchmarks/segment_volumes.py --workers 5 --seconds 290 --output FOLDER          # one GPU
    python benchmarks/segment_volumes.py --accelerator cpu --steps 300 --output FOLDER      # minutes a cell
    python benchmarks/segment_volumes.py --summary

One row per (network, steps, learning rate, seed) goes to segment_volumes.csv in the output folder, with the rows that
were in results/ before; rows that are there are not made again.

Task, the same volumes for all: 48 slices of 16 x 16 in noise. Two tubes wander through all slices. Whether a tube is of
class 1 or 2 is seen in its first three slices only, where its core is brighter or darker; behind them all tubes look
alike. Spheres of the same brightness are class 3, and can be told from nearby. 96 volumes to train, 16 to validate, 32
to test. Three-dimensional networks have as many weights as the plain one (to within a few per cent), as do the
two-dimensional ones among each other; all see the same volumes in the same order and take the weights of the best look
at validation. `plain`, `bottleneck`, `encoder`: three-dimensional; `slices-plain`: each slice by itself; `slices`: the
same with a memory that goes on from slice to slice, which may be streamed. `far`: share of the pixels of tubes behind
the 24th slice that got the right class.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from grid import Grid, Row, arguments, show
from segment_fitting import FIELDS, fit_and_score, image_set, told

SIZE = (48, 16, 16)
COUNTS = {"train": 96, "val": 16, "test": 32}
BASE = (8, 16, 24)
NETWORKS = {"plain": (3, "none"), "bottleneck": (3, "bottleneck"), "encoder": (3, "encoder"),
            "slices-plain": (2, "none"), "slices": (2, "bottleneck")}  # fmt: skip
KEY = ("network", "steps", "learning_rate", "seed")
RATES = (3e-3,)


def volume(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One volume and its classes."""
    depth, height, width = SIZE
    image, label = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.uint8)
    y, x = np.mgrid[:height, :width]
    for side in (0, 1):
        kind = int(draw.integers(1, 3))
        centre = np.array([draw.uniform(4, height - 4), 4.0 + 8 * side])
        for z in range(depth):
            centre = centre + draw.normal(0, 0.35, 2)
            centre[0] = np.clip(centre[0], 2.5, height - 3.5)
            centre[1] = np.clip(centre[1], 2.5 + 8 * side, 4.5 + 8 * side)
            distance = np.hypot(y - centre[0], x - centre[1])
            tube = distance <= 2.2
            image[z][tube], label[z][tube] = 1.0, kind
            if z < 3:
                image[z][distance <= 1.2] = 2.0 if kind == 1 else 0.2
    z, y, x = np.mgrid[:depth, :height, :width]
    for _ in range(4):
        centre = [draw.uniform(6, depth - 3), draw.uniform(3, height - 3), draw.uniform(3, width - 3)]
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 2.5**2
        ball &= label == 0
        image[ball], label[ball] = 1.0, 3
    return image + draw.normal(0, 0.15, SIZE).astype(np.float32), label


def data() -> tuple[Any, dict[str, np.ndarray]]:
    """All volumes, the same for every network and seed."""
    draw = np.random.default_rng(0)
    found = [volume(draw) for _ in range(sum(COUNTS.values()))]
    images = image_set(*(np.stack(part) for part in zip(*found, strict=True)), [str(n) for n in range(len(found))])
    borders = np.cumsum([0, *COUNTS.values()])
    return images, {name: np.arange(borders[n], borders[n + 1]) for n, name in enumerate(COUNTS)}


def run(options: argparse.Namespace, cell: Row) -> Row:
    """Fit one network and test it."""
    import torch

    from xlstm_apps.vision.unet import XLSTMUNet, count_weights, of_size
    from xlstm_apps.vision.unet_config import UNetConfig

    images, parts = data()
    dims, where = NETWORKS[cell["network"]]
    base = UNetConfig(features=BASE, where="none")
    weights = count_weights(XLSTMUNet.from_config(dims, 1, 4, base))
    wanted = UNetConfig(features=BASE, where=where)  # type: ignore[arg-type]
    torch.manual_seed(cell["seed"])
    network = XLSTMUNet.from_config(dims, 1, 4, of_size(dims, 1, 4, wanted, weights, 2))
    row, find = fit_and_score(options, cell, network, images, parts, SIZE, options.batch, None)
    right = total = 0
    for index in parts["test"].tolist():
        truth, found = images.labels[index][24:], find(images.pixels(index))[24:]
        tube = (truth == 1) | (truth == 2)
        right, total = right + int((found == truth)[tube].sum()), total + int(tube.sum())
    return {**row, "far": right / total}


GRID = Grid(
    name="segment_volumes.csv", fields=(*KEY, *FIELDS, "far"), key=KEY, group=("network", "steps"), judged="val_loss",
    run=run, told=lambda row: f"{told(row)} far {row['far']:.3f}",
)  # fmt: skip


def summary(options: argparse.Namespace) -> None:
    """Means and deviations over the seeds."""
    rows, lines = GRID.rows(options.output), []
    for network in options.networks:
        group = {"network": network, "steps": options.steps}
        lines.append((network, *GRID.chosen(rows, group, options.rates, options.seeds)))
    show(lines, ("dice", "far", "ms_per_image", "fit_seconds"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1200)
    arguments(parser, RATES, seeds=3)
    options = parser.parse_args()
    if options.summary:
        summary(options)
    elif failed := GRID.measure(options, [{"network": name, "steps": options.steps} for name in options.networks]):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
