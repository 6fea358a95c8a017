"""The report of segmentation: what it says of good, bad and half-finished runs."""

import json

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.report import model_card, write_report
from xlstm_apps.report.run import Run
from xlstm_apps.report.segment_scores import Scores, headline
from xlstm_apps.training import files

ROWS = [
    {"model": "xlstm-unet", "dice": 0.91, "iou": 0.84, "hd95": 3.2, "f1": 0.8, "f1_ladder": 0.6, "parameters": 41570,
     "seconds_per_image": 0.05},
    {"model": "unet", "dice": 0.9, "iou": 0.83, "hd95": 3.0, "f1": 0.79, "f1_ladder": 0.6, "parameters": 42000,
     "seconds_per_image": 0.04},
    {"model": "pixels", "dice": 0.84, "iou": 0.73, "hd95": 9.0, "f1": 0.7, "f1_ladder": 0.5, "parameters": 10,
     "seconds_per_image": 0.01},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    run = {"task": "vision-segment", "status": "finished", "parameters": 41570, "seed": 0,
           "resolved": {"unet": {"where": "encoder"}, "images": {"dims": 2, "in_chans": 3}}}  # fmt: skip
    files.write_json(tmp_path / "run.json", run)
    files.write_text(tmp_path / "config.yaml", "data:\n  path: /data/<cells>\n")
    quality = {"images": 52, "kept": 50, "left_out": {"is truncated or broken": 2}, "channels": 3, "empty": 1,
               "sizes": [{"size": [64, 80], "images": 50}],
               "classes": [{"name": "background", "value": 0, "share": 0.9},
                           {"name": "cell", "value": 255, "share": 0.1}]}  # fmt: skip
    split = {"rule": "at random", "train": {"records": 30}, "val": {"records": 8}, "test": {"records": 12}}
    summary = {"quality": quality, "split": split, "patch_size": [64, 64], "notes": ["1 of 50 masks are empty"]}
    files.write_json(tmp_path / "data_summary.json", summary)
    files.write_rows(tmp_path / "evaluation" / "comparison.csv", ROWS)
    images = [{"id": f"<b>{n + 10}", "dice": 0.4 + 0.05 * n, "iou": 0.3, "hd95": 2.0, "f1": 0.5, "objects_found": n,
               "objects_made_up": 0, "objects_missed": 1} for n in range(12)]  # fmt: skip
    files.write_rows(tmp_path / "evaluation" / "images.csv", images)
    files.write_rows(tmp_path / "evaluation" / "classes.csv", [{"class": "cell", "images": 12, "dice": 0.91}])
    (tmp_path / "evaluation" / "overlays").mkdir()
    Image.fromarray(np.zeros((20, 92, 3), np.uint8)).save(tmp_path / "evaluation" / "overlays" / "01.png")
    shown = [{"picture": f"overlays/0{n}.png", **images[n]} for n in (1, 2)]  # the second picture is missing
    files.write_rows(tmp_path / "evaluation" / "overlays.csv", shown)
    return tmp_path


def test_everything_is_shown_and_nothing_of_the_user_is_markup(folder):
    text = write_report(folder).read_text()
    for words in ("Dice 0.910", "0.900", "plain U-Net", "data:image/png;base64,", "Image by image", "2 images of 12",
                  "is truncated or broken", "64 x 80", "1 of 50 masks are empty", "30 images", "encoder"):  # fmt: skip
        assert words in text, words
    assert "<b>11" not in text and "<cells>" not in text
    assert "overlays/02.png" in text  # told as absent
    card = model_card(folder)
    assert "image-segmentation" in card and "| xLSTM-UNet | 0.9100 |" in card and "(3, 256, 256)" in card


@pytest.mark.parametrize(
    ("dice", "tone", "words"),
    [
        ((0.91, 0.9, 0.84), "good", "next best, plain U-Net"),
        ((0.89, 0.9, 0.84), "warning", "behind plain U-Net with 0.900"),
        ((0.8, 0.79, 0.84), "bad", "behind brightness of pixels"),
    ],
)
def test_the_verdict_is_the_numbers(folder, dice, tone, words):
    rows = [{**row, "dice": value} for row, value in zip(ROWS, dice, strict=True)]
    files.write_rows(folder / "evaluation" / "comparison.csv", rows)
    found = headline(Run(folder))
    assert words in found.verdict and found.tone == tone
    assert any("chance" in notice.text for notice in found.notices)  # twelve test images are few


def test_what_is_not_there_is_told(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    files.write_json(empty / "run.json", {"task": "vision-segment", "status": "running"})
    text = write_report(empty).read_text()
    assert "Not evaluated yet" in text and "still running" in text
    files.write_rows(folder / "evaluation" / "comparison.csv", [{**ROWS[0], "dice": "nan"}])
    assert Scores.read(Run(folder)).verdict()[1] == "warning"
    facts = json.loads((folder / "run.json").read_text())
    files.write_json(folder / "run.json", {**facts, "task": "vision-segment-evaluate"})
    assert "Looked at 12 images" in write_report(folder).read_text()
