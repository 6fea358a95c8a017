"""`vision segment train`, `predict` and `evaluate`: from folders of images and masks to masks and tables."""

import csv
import json
import shutil
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xlstm_apps import cli
from xlstm_apps.datasets.images.nifti import read_nifti, write_nifti
from xlstm_apps.datasets.images.segmentation_files import read_labels, write_labels
from xlstm_apps.datasets.images.segmentation_pairs import Pair
from xlstm_apps.recipes import _segment_predict
from xlstm_apps.vision.segment_config import SegmentImages
from xlstm_apps.vision.segmenter import Segmenter
from xlstm_apps.vision.unet_config import UNetConfig

QUICK = ["--unet.features", "4,6", "--unet.num_heads", "2", "--fit.max_epochs", "2", "--fit.steps_per_epoch", "3"]
QUICK += ["--fit.batch_size", "2", "--fit.accelerator", "cpu"]


def scene(seed, size=(20, 24)):
    """Discs (spheres) brighter than the noise around them, and the numbers of these."""
    draw = np.random.default_rng(seed)
    places = np.indices(size)
    numbers = np.zeros(size, np.uint8)
    for number in range(1, 4):
        centre = [draw.integers(3, n - 3) for n in size]
        inside = sum((axis - c) ** 2 for axis, c in zip(places, centre, strict=True)) <= 3**2
        numbers[inside] = number
    bright = 60 + 120 * (numbers > 0) + draw.normal(0, 8, size)
    return bright.clip(0, 255).astype(np.uint8), numbers


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("segment") / "discs"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for n in range(12):
        image, numbers = scene(n)
        Image.fromarray(image).save(root / "images" / f"{n}.png")
        Image.fromarray(np.where(numbers > 0, 255, 0).astype(np.uint8)).save(root / "masks" / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    words = ["vision", "segment", "train", "--data.path", str(folder), *QUICK, "--data.patch_size", "16,16"]
    cli.run([*words, "--baselines", "pixels,unet", "--run_dir", str(path)])
    return path


def test_a_run_leaves_everything_and_is_finished(run, folder, capsys):
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "finished" and facts["task"] == "vision-segment" and facts["resolved"]["unet"]
    table = rows_of(run / "evaluation" / "comparison.csv")
    assert [row["model"] for row in table] == ["xlstm-unet", "unet", "pixels"]
    assert float(table[2]["dice"]) > 0.8  # brightness says it all here
    sizes = [int(row["parameters"]) for row in table[:2]]
    assert abs(sizes[0] / sizes[1] - 1) < 0.1
    images = rows_of(run / "evaluation" / "images.csv")
    assert len(images) == json.loads((run / "data_summary.json").read_text())["split"]["test"]["records"] == 2
    assert [float(row["dice"]) for row in images] == sorted(float(row["dice"]) for row in images)
    overlays = rows_of(run / "evaluation" / "overlays.csv")
    assert all((run / "evaluation" / row["picture"]).is_file() for row in overlays)
    assert {row["part"] for row in rows_of(run / "split.csv")} == {"train", "val", "test"}
    assert (run / "report.html").is_file() and (run / "model" / "README.md").is_file()
    words = ["vision", "segment", "train", "--data.path", str(folder), *QUICK, "--data.patch_size", "16,16"]
    cli.run([*words, "--baselines", "pixels,unet", "--run_dir", str(run), "--resume"])
    assert "nothing is left to do" in capsys.readouterr().err


def test_resumed_is_the_same_to_the_last_bit(run, folder, tmp_path, monkeypatch):
    """Stopped after the first epoch and gone on with, as if it had never been stopped."""
    from xlstm_apps.recipes import _segment_train as steps
    from xlstm_apps.training import journal

    class StoppedError(Exception):
        pass

    path = tmp_path / "again"
    words = ["vision", "segment", "train", "--data.path", str(folder), *QUICK, "--data.patch_size", "16,16"]
    words += ["--baselines", "pixels,unet", "--run_dir", str(path)]
    after = journal.Journal.on_train_epoch_end

    def stop(self, trainer, module):
        after(self, trainer, module)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "on_train_epoch_end", stop)
        with pytest.raises(StoppedError):
            cli.run(words)
    assert not (path / "model").exists()
    monkeypatch.setattr(steps, "fit_networks", lambda job: {})
    cli.run([*words, "--resume"])
    whole, parts = (Segmenter.from_pretrained(place / "model").state_dict() for place in (run, path))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(ValueError, match=r"unet\.where \(was 'bottleneck', is 'all'\)"):
        cli.run([*words, "--resume", "--unet.where", "all"])


def test_masks_of_a_folder(run, folder, tmp_path, capsys):
    data = tmp_path / "new"
    (data / "deeper").mkdir(parents=True)
    Image.fromarray(scene(1)[0]).save(data / "deeper" / "a.png")
    Image.fromarray(np.stack([scene(2, (33, 9))[0]] * 3, axis=-1)).save(data / "odd size.jpg")
    words = ["vision", "segment", "predict", str(run), "--data.path", str(data), "--output"]
    cli.run([*words, str(tmp_path / "masks"), "--overlays", "--flips"])
    found = [np.asarray(Image.open(tmp_path / "masks" / name)) for name in ("deeper/a.png", "odd size.png")]
    assert [mask.shape for mask in found] == [(20, 24), (33, 9)]
    assert all(set(np.unique(mask)) <= {0, 255} and mask.dtype == np.uint8 for mask in found)
    assert (tmp_path / "masks" / "overlays" / "deeper" / "a.png").is_file()
    rows = rows_of(tmp_path / "masks" / "masks.csv")
    assert [row["id"] for row in rows] == ["deeper/a", "odd size"] and {row["status"] for row in rows} == {"ok"}
    with pytest.raises(ValueError, match="not empty"):
        cli.run([*words, str(tmp_path / "masks")])
    cli.run([*words, str(tmp_path / "objects"), "--objects", "components", "--smallest", "3", "--window", "[]"])
    objects = np.asarray(Image.open(tmp_path / "objects" / "deeper" / "a.png"))
    assert sorted(np.unique(objects)) == list(range(objects.max() + 1))
    (data / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.png is empty.*on_bad skip"):
        cli.run([*words, str(tmp_path / "stopped")])
    assert not (tmp_path / "stopped").exists()
    cli.run([*words, str(tmp_path / "left out"), "--data.on_bad", "skip"])
    assert "1 of 3 images cannot be used" in capsys.readouterr().err


def test_masks_whose_numbers_need_more_than_16_bits(tmp_path):
    labels = np.array([[0, 70_000]], np.int32)
    name = _segment_predict.mask_name(Pair(id="a", image=Path("a.png")), labels)
    assert name == "a.tif" and _segment_predict.mask_name(Pair(id="a", image=Path("a.tif")), labels // 2) == "a.png"
    write_labels(tmp_path / name, labels, None, (1.0, 1.0))
    np.testing.assert_array_equal(read_labels(tmp_path / name), labels)


def test_a_large_mask_is_in_memory_once():
    known = SegmentImages(dims=3, in_chans=1, names=("none", "a", "b"), values=(0, 1, 2), patch_size=(4, 4, 4))
    model = Segmenter(UNetConfig(features=(2, 4), num_heads=2), known)
    found = np.zeros((64, 128, 128), np.uint8)
    found[:8], found[8:10] = 1, 2
    tracemalloc.start()
    labels = _segment_predict.values(model, found, "none", 0)
    row = _segment_predict.facts(model, found, labels, "none")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels is found and row == {"share_a": 0.125, "share_b": 0.03125} and peak < found.nbytes / 8
    model.images = replace(known, values=(0, 7, 255))
    assert np.unique(_segment_predict.values(model, found, "none", 0)).tolist() == [0, 7, 255]


def test_links_to_nowhere_and_photos_that_were_turned(run, folder, tmp_path, capsys):
    odd = tmp_path / "odd"
    shutil.copytree(folder, odd)
    (odd / "images" / "3.png").unlink()
    (odd / "images" / "3.png").symlink_to(tmp_path / "nowhere.png")
    words = ["--data.path", str(odd), *QUICK, "--data.patch_size", "16,16", "--fit.max_epochs", "1"]
    with pytest.raises(ValueError, match=r"3\.png does not exist; mend it"):
        cli.run(["vision", "segment", "train", *words, "--run_dir", str(tmp_path / "x")])
    cli.run(["vision", "segment", "train", *words, "--data.on_bad", "skip", "--run_dir", str(tmp_path / "left out")])
    rejected = rows_of(tmp_path / "left out" / "rejected.csv")
    assert [(row["path"], row["reason"]) for row in rejected] == [(str(odd / "images" / "3.png"), "does not exist")]
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(scene(1)[0]).save(tmp_path / "photo.jpg", exif=turned)
    capsys.readouterr()
    words = ["vision", "segment", "predict", str(run), "--data.path", str(tmp_path / "photo.jpg"), "--output"]
    cli.run([*words, str(tmp_path / "masks")])
    assert "note: 1 image: turned upright (EXIF)" in capsys.readouterr().err
    assert np.asarray(Image.open(tmp_path / "masks" / "photo.png")).shape == (24, 20)


def test_scores_of_a_folder(run, folder, tmp_path, capsys):
    words = ["vision", "segment", "evaluate", str(run), "--data.path", str(folder), "--output"]
    cli.run([*words, str(tmp_path / "scores")])
    assert len(rows_of(tmp_path / "scores" / "evaluation" / "images.csv")) == 12
    assert "On 12 images" in capsys.readouterr().out and (tmp_path / "scores" / "report.html").is_file()
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    Image.fromarray(np.full((20, 24), 7, np.uint8)).save(other / "masks" / "3.png")
    with pytest.raises(ValueError, match=r"3\.png holds the value 7, and the classes are 0, 255"):
        cli.run(["vision", "segment", "evaluate", str(run), "--data.path", str(other), "--output", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_volumes(tmp_path, capsys):
    for n in range(5):
        image, numbers = scene(n, (8, 12, 12))
        for part, values in (("imagesTr", image), ("labelsTr", (numbers > 0).astype(np.uint8))):
            (tmp_path / "set" / part).mkdir(parents=True, exist_ok=True)
            write_nifti(tmp_path / "set" / part / f"v{n}.nii.gz", values, spacing=(4.0, 1.0, 1.0))
    words = ["vision", "segment", "train", "--data.path", str(tmp_path / "set"), *QUICK, "--fit.max_epochs", "1"]
    run = tmp_path / "run"
    cli.run([*words, "--data.patch_size", "8,8,8", "--run_dir", str(run)])
    assert json.loads((run / "run.json").read_text())["resolved"]["unet"]["strides"] == [[1, 1, 1], [1, 2, 2]]
    assert all(0 <= int(row["slice"]) < 8 for row in rows_of(run / "evaluation" / "overlays.csv"))
    report = (run / "report.html").read_text()
    assert ", slice " in report and "Of each volume the slice with the most mistakes." in report
    volume = tmp_path / "set" / "imagesTr" / "v0.nii.gz"
    cli.run(["vision", "segment", "predict", str(run), "--data.path", str(volume), "--output", str(tmp_path / "out")])
    found = read_nifti(tmp_path / "out" / "v0.nii.gz")
    assert found.pixels.shape == (1, 8, 12, 12) and found.spacing == (4.0, 1.0, 1.0)
    assert "of training" not in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    header = bytearray(read_nifti(volume).header)
    struct.pack_into("<4f", header, 280, -1.0, 0.0, 0.0, 0.0)  # the first axis leads to the left
    write_nifti(tmp_path / "other" / "a.nii.gz", scene(9, (8, 12, 12))[0], bytes(header))
    write_nifti(tmp_path / "other" / "b.nii.gz", scene(9, (8, 12, 12))[0], spacing=(1.0, 1.0, 1.0))
    cli.run(["vision", "segment", "predict", str(run), "--data.path", str(tmp_path / "other"),
             "--output", str(tmp_path / "out1")])  # fmt: skip
    said = " ".join(capsys.readouterr().err.split())
    assert "1 image: axes that lead to LAS, those of training to RAS; nothing is turned" in said
    assert "1 image: voxels of 1 x 1 x 1, those of training were 4 x 1 x 1; nothing is resampled" in said
    run = tmp_path / "slices"
    cli.run([*words, "--data.patch_size", "8,8,8", "--data.slices", "--run_dir", str(run)])
    cli.run(["vision", "segment", "predict", str(run), "--data.path", str(volume), "--output", str(tmp_path / "out2")])
    assert read_nifti(tmp_path / "out2" / "v0.nii.gz").pixels.shape == (1, 8, 12, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.patch_size", "16"], r"patch_size"),
        (["--data.patch_size", "16,16,16"], r"patch_size=\[16, 16, 16\] has 3 entries, the images have 2"),
        (["--data.spacing", "1,1,1"], r"spacing"),
        (["--unet.where", "none", "--baselines", "unet"], "plain U-Net itself"),
        (["--unet.features", "8"], "two or more"),
        (["--unet.strides", "1,2,2"], "strides has 3 entries"),
        (["--data.val_fraction", "0.9"], "leave nothing"),
        (["--seed", "-1"], "seed=-1"),
        (["--data.split_seed", "-1"], "split_seed"),
        (["--data.slices"], "data.slices is for volumes"),
        (["--data.masks", "objects", "--data.values", "0,1"], "masks of classes"),
    ],
)
def test_mistakes_are_told_before_a_folder_is_made(folder, tmp_path, options, message):
    words = ["vision", "segment", "train", "--data.path", str(folder), *QUICK, "--run_dir", str(tmp_path / "run")]
    with pytest.raises(ValueError, match=message):
        cli.run([*words, *options])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value"), [("window", "8"), ("overlap", "1"), ("smallest", "-1"), ("batch_size", "0")]
)
def test_mistakes_in_prediction(run, folder, tmp_path, option, value):
    words = ["vision", "segment", "predict", str(run), "--data.path", str(folder), "--output", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=option):
        cli.run([*words, f"--{option}", value])
    assert not (tmp_path / "out").exists()


def test_shipped_recipe_is_copied_with_its_command(tmp_path, capsys):
    cli.run(["cp", "segment-any", str(tmp_path / "mine.yaml")])
    assert "xlstm-apps vision segment train --config" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"data\.path your-folder: no such file or folder"):
        cli.run(["vision", "segment", "train", "--config", str(tmp_path / "mine.yaml")])
