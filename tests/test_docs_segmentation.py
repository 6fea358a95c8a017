"""The page on segmentation: every block of it runs, and its commands have the options it names."""

import csv
import re
import statistics
from pathlib import Path

import pytest

from xlstm_apps.cli import COMMANDS, load, option_types

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "segmentation.md").read_text(encoding="utf-8")


def test_every_block_runs():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)
    assert names["logits"].shape == (1, 2, 65, 43) and names["logits3d"].shape == (1, 4, 5, 16, 16)
    assert names["whole"].shape == (1, 2, 6, 16, 16) and names["one_by_one"].shape == (2, 6, 16, 16)
    assert (names["one_by_one"] - names["whole"][0]).abs().max() < 1e-4
    assert names["classes"].shape == (100, 120)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--([a-z_]+(?:\.[a-z_]+)?)", TEXT))))
def test_options_exist(option):
    known = {name for verb in COMMANDS["vision"]["segment"].values() for name in option_types(load(verb))}
    assert option in known or any(name.startswith(f"{option}.") for name in known)


TITLES = {
    "bottleneck": "xLSTM in the bottleneck", "encoder": "xLSTM in the encoder",
    "plain": "plain U-Net, whose convolutions reach 11 slices", "deep": "plain U-Net of five stages, which reach 40",
    "slices": "slice by slice, with memory", "slices-plain": "each slice by itself",
}  # fmt: skip


def test_the_table_of_volumes_says_what_the_rows_say():
    with (ROOT / "benchmarks" / "results" / "segment_volumes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["steps"] == "250"]
    assert {"bottleneck", "plain"} <= {row["network"] for row in rows}
    for network in {row["network"] for row in rows}:
        own = sorted((row for row in rows if row["network"] == network), key=lambda row: int(row["seed"]))
        means = " | ".join(f"{statistics.mean(float(row[name]) for row in own):.3f}" for name in ("dice", "f1"))
        far = ", ".join(f"{float(row['far']):.3f}" for row in own)
        assert f"| {TITLES[network]} | {means} | {far} |" in TEXT
