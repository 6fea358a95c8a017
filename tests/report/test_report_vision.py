"""The report and the card of a vision run, from files as a run leaves them."""

import json

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.report import model_card, write_report

COMPARISON = """model,n,accuracy,top2,mcc,log_loss,accuracy_lo,accuracy_hi,mcc_lo,mcc_hi,parameters,seconds
xlstm,40,0.9,0.975,0.85,0.3,0.8,0.97,0.7,0.95,66794,12.5
logistic,40,0.6,0.8,0.4,0.9,0.45,0.75,0.2,0.6,650,0.5
"""


@pytest.fixture
def run(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    write("run.json", {"task": "vision", "status": "finished", "parameters": 66794, "seconds": {"fit": 12.5},
                       "resolved": {"images": {"img_size": 28, "fit": "pad"}, "vision": {"in_chans": 1}}})  # fmt: skip
    write("config.yaml", "data:\n  path: [photos/<b>pets</b>]\n")
    write("evaluation/comparison.csv", COMPARISON)
    labels = {"task": "classification", "classes": ["cat", "<dog>", "owl"], "test": {"cat": 20, "<dog>": 10, "owl": 10},
              "train": {"cat": 70, "<dog>": 60, "owl": 50}}  # fmt: skip
    size = {"least": 20, "median": 30.0, "most": 300}
    quality = {"images": 225, "kept": 220, "left_out": {"is truncated": 5}, "height": size, "width": size,
               "channels": 1, "notes": ["3 images: turned upright (EXIF)"], "copies": 2}  # fmt: skip
    split = {"rule": "at random", "train": {"records": 180}, "test": {"records": 40}}
    write("data_summary.json", {"quality": quality, "labels": labels, "split": split,
                                "leakage": {"near_copies": 4, "windows": 40}})  # fmt: skip
    write("rejected.csv", "path,reason\nphotos/a.jpg,is truncated\n")
    rows = ["picture,id,label,predicted,p_predicted", "mistakes/001.png,a & b.jpg,cat,<dog>,0.97",
            "mistakes/002.png,gone.jpg,cat,owl,0.5"]  # fmt: skip
    write("evaluation/mistakes.csv", "\n".join(rows))
    write("evaluation/examples.csv", "picture,id,label,predicted\nexamples/001.png,c.jpg,owl,owl\n")
    write("evaluation/predictions.csv", "id,label,predicted,p_cat\na,cat,<dog>,0.1\nb,cat,cat,0.9\n")
    for name in ("mistakes/001.png", "examples/001.png"):
        path = tmp_path / "evaluation" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(12, dtype=np.uint8) * 255).save(path)
    return tmp_path


def test_the_page(run):
    page = write_report(run).read_text()
    assert "90.0" in page and "above logistic regression" in page and "28 x 28 pixels, a border added" in page
    assert "5 files left out: is truncated" in page and "photos/a.jpg" in page and "turned upright" in page
    assert "4 of 40 test images" in page and "the very pixels" in page and "220 of 225 found" in page
    assert page.count('<image href="data:image/png') == 2 and "&lt;dog&gt; (97" in page and "a &amp; b.jpg" in page
    assert "<dog>" not in page.partition("<script")[0] and "<b>pets" not in page
    assert "evaluation/mistakes/002.png" in page  # named among what is not there
    assert write_report(run).read_text() == page


def test_a_run_without_a_test_part(run):
    for name in ("comparison", "mistakes", "examples", "predictions"):
        (run / "evaluation" / f"{name}.csv").unlink()
    assert "Not evaluated yet" in write_report(run).read_text()


def test_the_card(run):
    text = model_card(run)
    assert "cat, (dog), owl" in text and "pipeline_tag: image-classification" in text
    assert "torch.rand(1, 1, 28, 28)" in text and "| **90.0" in text


def test_folders_that_are_too_many_to_list_are_counted(run):
    (run / "config.yaml").write_text(f"data:\n  path: [{', '.join(f'photos{i}' for i in range(7))}]\n")
    for text in (write_report(run).read_text(), model_card(run)):
        assert "photos4" in text and "and 2 more" in text
