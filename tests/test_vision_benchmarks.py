"""What the benchmarks of images rest on: networks of one size, pictures on the device, epochs that fit the time."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import segment_alone  # noqa: E402
import segment_fitting  # noqa: E402
import vision_fashion  # noqa: E402
from vision_networks import build, parameters, with_stem  # noqa: E402

from xlstm_apps.vision.unet import XLSTMUNet  # noqa: E402

SHAPE = {"img_size": 28, "in_chans": 1, "num_classes": 10, "patch_size": 2}


def test_networks_of_one_size():
    with torch.device("meta"):
        counts = {name: parameters(with_stem(name, "3m", **SHAPE)) for name in ("vil", "vil-mlp", "vit")}
        counts["resnet"] = parameters(build("resnet", "3m", **SHAPE))
    assert max(counts.values()) <= 3_000_000
    assert max(counts.values()) / min(counts.values()) < 1.09, counts


@pytest.mark.parametrize("name", ["vil", "vit"])
def test_the_stem_halves_pictures(name):
    network = with_stem(name, "300k", **SHAPE)
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert network[:-1](torch.rand(1, 1, 28, 28)).shape == (1, 64, 14, 14)


def test_batches_of_pictures_on_the_device():
    pixels = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    batch = vision_fashion.Pictures(pixels, np.array([2, 0, 1]), "cpu").__getitems__([2, 0])
    assert batch["label"].tolist() == [1, 2] and batch["pixels"].dtype == torch.uint8
    assert batch["pixels"][:, 0].tolist() == pixels[[2, 0]].tolist()


def test_epochs_are_kept_for_the_next_command(tmp_path):
    (tmp_path / vision_fashion.PACE).write_text("34\n")
    assert vision_fashion.epochs(argparse.Namespace(output=tmp_path)) == 34


def test_whole_images_as_batches():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[1, :4] = 1
    images = segment_fitting.image_set(np.random.default_rng(0).random((3, 8, 8)), masks, ["a", "b", "c"])
    batch = segment_fitting.Whole(images, np.array([2, 1]), "cpu").__getitems__([1])
    assert batch["image"].shape == (1, 1, 8, 8) and abs(float(batch["image"].mean())) < 1e-5
    assert batch["label"].dtype == torch.int64 and int(batch["label"].sum()) == 32


def test_time_of_a_network_alone():
    row = segment_alone.alone(XLSTMUNet(2, 1, 2, (4, 8), deep_supervision=True), 1, 8, "cpu", times=1)
    assert row["train_ms"] > 0 and row["ms_per_image"] > 0 and row["train_mb"] is None
    assert set(row) | {"network"} == set(segment_alone.FIELDS)
