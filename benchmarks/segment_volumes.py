"""Volumes whose labels depend on what is far away: an xLSTM in a U-Net, in three dimensions and slice by slice.

    python benchmarks/segment_volumes.py --workers 5 --seconds 290 --output FOLDER          # one GPU
    python benchmarks/segment_volumes.py --accelerator cpu --steps 250 --output FOLDER      # minutes a cell
    python benchmarks/segment_volumes.py --summary

One row per (network, steps, learning rate, seed) goes to segment_volumes.csv in the output folder, with the rows that
were in results/ before; rows that are there are not made again.

Task, the same volumes for all: 96 slices of 8 x 12 in noise, through which two tubes wander, one of class 1 and one of
class 2. Every 24 slices it may be the other way round. Which is which is seen in the first four of these only, where
that of class 1 is bright and that of class 2 dim; behind them both look alike, and nothing but those slices tells them
apart. In every volume two of the four sections are one way and two the other, in random order, so that no mean over the
volume gives them away, such as norms make. Spheres of the same brightness are class 3, and can be told from nearby. 192
volumes to train, 32 to validate, 48 to test. All three-dimensional networks have as many weights as the plain one (to
within a few per cent), as do the two-dimensional ones among each other; all see the same volumes in the same order and
take the weights of the best look at validation. `plain`, `bottleneck`, `encoder`: three-dimensional, with three stages,
whose convolutions reach 11 slices either way; `deep`: a plain one with five stages, whose convolutions reach 40;
`slices-plain`: each slice by itself; `slices`: the same with a memory that goes on from slice to slice, which may be
streamed. `far`: share of the pixels of tubes from the 16th slice of a section on that got the right class; who finds
all tubes and guesses their class reaches 0.5.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from grid import Grid, Row, arguments, show
from segment_fitting import FIELDS, fit_and_score, image_set, told

SIZE = (96, 8, 12)
SECTION, MARKED, FAR = 24, 4, 16
COUNTS = {"train": 192, "val": 32, "test": 48}
BASE, DEEP = (8, 16, 24), (8, 12, 16, 20, 24)
STRIDES = (1, (1, 2, 2), 2, 2, 2)
NETWORKS = {"plain": (3, "none"), "deep": (3, "none"), "bottleneck": (3, "bottleneck"), "encoder": (3, "encoder"),
            "slices-plain": (2, "none"), "slices": (2, "bottleneck")}  # fmt: skip
KEY = ("network", "steps", "learning_rate", "seed")
RATES = (3e-3,)


def volume(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One volume and its classes."""
    depth, height, width = SIZE
    image, label = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.uint8)
    z, y, x = np.ogrid[:depth, :height, :width]
    sections = depth // SECTION
    left = draw.permutation(np.arange(sections) % 2).repeat(SECTION)[:, None, None]
    for side in (0, 1):
        way = draw.normal(0, 0.35, (depth, 2)).cumsum(0)
        centre_y = _between(draw.uniform(2, height - 3) + way[:, 0], 2, height - 3)
        middle = width * (1 + 2 * side) / 4 - 0.5
        centre_x = _between(middle + way[:, 1], middle - 1, middle + 1)
        tube = np.hypot(y - centre_y[:, None, None], x - centre_x[:, None, None]) <= 1.8
        first = tube & ((left + side) % 2 == 0)
        image[tube], label[tube], label[first] = 1.0, 2, 1
        shown = z % SECTION < MARKED
        image[tube & shown], image[first & shown] = 0.5, 1.8
    for _ in range(sections + 2):
        centre = [draw.uniform(3, n - 3) for n in SIZE]
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 2.3**2
        ball &= label == 0
        image[ball], label[ball] = 1.0, 3
    return image + draw.normal(0, 0.15, SIZE).astype(np.float32), label


def _between(way: np.ndarray, low: float, high: float) -> np.ndarray:
    """The way thrown back at both borders."""
    return high - np.abs((way - low) % (2 * (high - low)) - (high - low))


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

    def shaped(features: tuple[int, ...], where: str) -> UNetConfig:
        strides = STRIDES[: len(features)] if dims == 3 else None
        return UNetConfig(features=features, strides=strides, where=where)  # type: ignore[arg-type]

    weights = count_weights(XLSTMUNet.from_config(dims, 1, 4, shaped(BASE, "none")))
    wanted = shaped(DEEP if cell["network"] == "deep" else BASE, where)
    torch.manual_seed(cell["seed"])
    network = XLSTMUNet.from_config(dims, 1, 4, of_size(dims, 1, 4, wanted, weights, 2))
    row, find = fit_and_score(options, cell, network, images, parts, SIZE, options.batch, None)
    right = total = 0
    for index in parts["test"].tolist():
        truth, found = images.labels[index], find(images.pixels(index))
        tube = ((truth == 1) | (truth == 2)) & (np.arange(SIZE[0]) % SECTION >= FAR)[:, None, None]
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
    parser.add_argument("--steps", type=int, default=800)
    arguments(parser, RATES, seeds=3)
    options = parser.parse_args()
    if options.summary:
        summary(options)
    elif failed := GRID.measure(options, [{"network": name, "steps": options.steps} for name in options.networks]):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
