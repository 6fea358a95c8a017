"""The page on segmentation: every block of it runs, and its commands have the options it names."""

import re
import statistics
from pathlib import Path

import pytest
from written_results import results

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


@pytest.mark.parametrize(("steps", "heading"), [("800", "| network, on a GPU |"), ("250", "250 steps on one CPU")])
def test_the_tables_of_volumes_say_what_the_rows_say(steps, heading):
    rows, below = [row for row in results("segment_volumes") if row["steps"] == steps], TEXT.partition(heading)[2]
    assert {row["network"] for row in rows} == TITLES.keys()
    for network, title in TITLES.items():
        own = sorted((row for row in rows if row["network"] == network), key=lambda row: int(row["seed"]))
        means = " | ".join(f"{statistics.mean(float(row[name]) for row in own):.3f}" for name in ("dice", "f1"))
        far = ", ".join(f"{float(row['far']):.3f}" for row in own)
        assert f"| {title} | {means} | {far} |" in below


def title(network: str) -> str:
    return "plain U-Net" if network == "plain" else TITLES[network]


@pytest.mark.parametrize(("precision", "seeds"), [("bf16-mixed", 3), ("16-mixed", 1)])
def test_the_tables_of_nuclei_say_what_the_rows_say(precision, seeds):
    below = TEXT.partition("At full size")[2].partition("Alone on it")[0]
    below = below.partition("In float16")[0 if precision == "bf16-mixed" else 2]
    rows = [row for row in results("segment_nuclei") if row["steps"] == "1000" and row["precision"] == precision]
    for network in ("bottleneck", "encoder", "plain"):
        own, cells = [row for row in rows if row["network"] == network], []
        assert len(own) == seeds
        for name, digits in {"dice": 4, "iou": 4, "hd95": 2, "f1": 3, "dice_384": 4, "dice_160": 4}.items():
            values = [float(row[name]) for row in own]
            spread = f" ± {statistics.stdev(values):.{digits}f}" if seeds > 1 else ""
            cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
        assert f"| {title(network)} | {' | '.join(cells)} |" in below


def test_time_and_memory_of_the_nuclei():
    below = TEXT.partition("| network, alone |")[2]
    for row in results("segment_nuclei_speed"):
        cells = [f"{float(row['train_ms']):.0f}", f"{float(row['train_mb']):,.0f}"]
        cells += [f"{float(row['ms_per_image']):.1f}", f"{float(row['mb_per_image']):.0f}"]
        assert f"| {title(row['network'])} | {' | '.join(cells)} |" in below
    times = [float(row["fit_seconds"]) for row in results("segment_nuclei") if row["steps"] == "1000"]
    assert f"{min(times):.0f} to {max(times):.0f} seconds" in TEXT
