"""The page on vision models: every block of it runs, in order."""

import re
import statistics
from pathlib import Path

from written_results import results

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "vision.md").read_text(encoding="utf-8")
MODELS = ("vil_tiny", "vil_mlp_tiny", "vit_tiny")


def test_every_block_runs():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)
    assert [names[name].shape[0] for name in ("logits", "wide", "mixed")] == [2, 1, 2]
    assert names["guess"].shape == (10,)
    assert names["tokens"].shape == (1, 64, 192) and names["pooled"].shape == (1, 384)
    assert names["maps"][1].shape == (1, 192, 8, 12)
    assert [one.shape for one in names["pyramid"]] == [(1, 192, 4, 4)] * 4


def test_images_per_second():
    rows = [r for r in results("vision_speed") if r["device"] != "cpu"]
    found = {(r["network"], r["task"], r["resolution"], r["graph"]): float(r["images_per_second"]) for r in rows}
    for task, word in (("infer", "inference"), ("train", "training")):
        for resolution in ("224", "448", "896"):
            cells = [f"{found[n, task, resolution, '1']:,.0f} ({found[n, task, resolution, '0']:,.0f})" for n in MODELS]
            assert f"| {word}, {resolution} pixels | {' | '.join(cells)} |" in TEXT
    trained = [f"{found[name, 'train', '224', '1']:,.0f}" for name in MODELS]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        "trains {} images of 224 pixels a second with `vil_tiny`, {} with `vil_mlp_tiny`, {} with".format(*trained)
        in readme
    )


def test_seconds_of_an_image_on_a_cpu():
    found = {(r["network"], r["task"], r["resolution"]): r for r in results("vision_speed") if r["device"] == "cpu"}
    for task, resolution in {(task, resolution) for _, task, resolution in found}:
        cells = [f"{float(found[name, task, resolution]['milliseconds']) / 1000:.2f}" for name in MODELS]
        word = {"infer": "inference", "train": "training"}[task]
        assert f"| {word}, {resolution} pixels | {' | '.join(cells)} |" in TEXT
    assert float(found["vil_tiny", "infer", "1024"]["milliseconds"]) < 5000


def test_fashion_mnist():
    rows = results("vision_fashion")
    for network, title in {"vil": "Vision-LSTM", "vit": "ViT", "resnet": "ResNet"}.items():
        own = [row for row in rows if (row["network"], row["epochs"], row["mixed"]) == (network, "48", "0.25")]
        assert len(own) == 3
        cells = [f"{int(own[0]['parameters']):,}"]
        for measure, digits in (("val_accuracy", 1), ("accuracy", 2)):
            values = [100 * float(row[measure]) for row in own]
            cells.append(f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f} %")
        seconds = [float(row["fit_seconds"]) for row in own]
        cells.append(f"{min(seconds):.0f} to {max(seconds):.0f}")
        assert f"| {title} | {' | '.join(cells)} |" in TEXT
    values = [100 * float(row["accuracy"]) for row in rows if row["network"] == "vil" and row["mixed"] == "0.25"]
    first, second, third = (f"{value:.2f}" for value in values)
    text = " ".join(TEXT.split())
    assert (
        f"**{statistics.mean(values):.3f} %, a third of an image below it**, of {first}, {second} and {third}" in text
    )
    (other,) = [row for row in rows if row["mixed"] == "0.5"]
    assert f"one seed got {100 * float(other['accuracy']):.2f} %" in text
