"""What the benchmarks of segmentation rest on: volumes that hide their classes, a fixed split, networks of one size."""

import csv
import sys
from pathlib import Path

import numpy as np

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import segment_nuclei  # noqa: E402
import segment_volumes  # noqa: E402

from xlstm_apps.vision.unet import XLSTMUNet, count_weights, of_size  # noqa: E402
from xlstm_apps.vision.unet_config import UNetConfig  # noqa: E402


def test_classes_of_tubes_are_seen_in_the_first_slices_only():
    draw = np.random.default_rng(0)
    bright = {1: [], 2: []}
    for _ in range(12):
        image, label = segment_volumes.volume(draw)
        assert image.shape == label.shape == segment_volumes.SIZE and set(np.unique(label)) <= {0, 1, 2, 3}
        for kind in set(np.unique(label)) & {1, 2}:
            bright[kind].append((image[:3][label[:3] == kind].mean(), image[3:][label[3:] == kind].mean()))
    first, rest = (np.array([[row[n] for row in bright[kind]] for kind in (1, 2)], dtype=object) for n in (0, 1))
    assert min(first[0]) > max(first[1]) + 0.2  # markers tell the classes apart
    assert abs(np.mean(rest[0]) - np.mean(rest[1])) < 0.02  # nothing else does


def test_split_of_nuclei():
    with (BENCHMARKS / "nuclei_split.csv").open(newline="") as file:
        parts = {row["id"]: row["part"] for row in csv.DictReader(file)}
    counts = {part: list(parts.values()).count(part) for part in ("train", "val", "test")}
    assert counts == {"train": 233, "val": 34, "test": 67}


def test_networks_of_one_size():
    base = UNetConfig(features=(32, 64, 128, 256), where="none", deep_supervision=True)
    weights = count_weights(XLSTMUNet.from_config(2, 1, 2, base))
    for where in (segment_nuclei.WHERE["bottleneck"], segment_nuclei.WHERE["encoder"]):
        wanted = UNetConfig(features=base.features, where=where, deep_supervision=True)
        found = of_size(2, 1, 2, wanted, weights, 4)
        assert all(width % 4 == 0 for width in found.features)
        assert abs(count_weights(XLSTMUNet.from_config(2, 1, 2, found)) / weights - 1) < 0.04
