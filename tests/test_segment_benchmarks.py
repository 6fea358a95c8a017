"""What the benchmarks of segmentation rest on: volumes that hide their classes, a fixed split, networks of one size."""

import csv
import sys
from pathlib import Path

import numpy as np

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import segment_nuclei  # noqa: E402
import segment_volumes  # noqa: E402

from xlstm_apps.core.size import count_weights  # noqa: E402
from xlstm_apps.vision.unet import XLSTMUNet, of_size  # noqa: E402
from xlstm_apps.vision.unet_config import UNetConfig  # noqa: E402


def test_classes_of_tubes_are_seen_in_the_first_slices_of_a_section_only():
    draw = np.random.default_rng(0)
    shown = np.arange(segment_volumes.SIZE[0]) % segment_volumes.SECTION < segment_volumes.MARKED
    means = []
    for _ in range(12):
        image, label = segment_volumes.volume(draw)
        assert image.shape == label.shape == segment_volumes.SIZE and set(np.unique(label)) <= {0, 1, 2, 3}
        means.append([[image[part][label[part] == kind].mean() for kind in (1, 2)] for part in (shown, ~shown)])
        left = [int(np.bincount(part[:, :, :5].reshape(-1))[1:3].argmax()) for part in np.split(label, 4)]
        assert sorted(left) == [0, 0, 1, 1]  # both ways as often, so that no sum over the volume tells anything
    (first, second), (behind, other) = np.mean(means, axis=0)
    assert first > second + 1 and abs(behind - other) < 0.02


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
