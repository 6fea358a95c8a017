"""The README says what is true: its Python runs, its files exist, its numbers are those of the committed results."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_python_blocks_run(index):
    steps = np.arange(400)
    df = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": np.sin(steps / 4)}
    )
    sequences = ["ACGTTGCA" * 5, "TTGACCGA" * 5] * 20
    images = [np.full((16, 16), value, np.uint8) for value in (40, 200)] * 20
    names = {"df": df, "sequences": sequences, "images": images, "labels": [0, 1] * 20}
    exec(BLOCKS[index], names)
    if "forecast" in names:
        assert list(names["forecast"].columns) == ["unique_id", "ds", "0.1", "0.5", "0.9"]
        assert len(names["forecast"]) == 24
    if "classifier" in names:
        given = images if "images" in BLOCKS[index] else sequences
        assert names["classifier"].predict(given[:2]).tolist() == [0, 1]


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_named_modules_exist():
    for name in re.findall(r"^  (\w+(?:/|\.py)) ", TEXT, flags=re.MULTILINE):
        assert (ROOT / "xlstm_apps" / name).exists(), name


def test_demo_table_is_the_committed_result():
    with open(ROOT / "benchmarks" / "results" / "forecast_demo.csv", newline="") as file:
        results = {row["model"]: row for row in csv.DictReader(file)}
    names = {
        "**xLSTM**": "xlstm",
        "NLinear": "nlinear",
        "last value": "naive",
        "seasonal naive (24 h)": "seasonal_naive",
    }
    for shown, model in names.items():
        line = next(line for line in TEXT.splitlines() if line.startswith(f"| {shown} |"))
        numbers = [float(n) for n in re.findall(r"\d+\.\d+", line.removeprefix(f"| {shown} |"))]
        row = results[model]
        expected = [float(row[key]) for key in ("mae", "rmse", "mase", "wql")] + [100 * float(row["coverage"])]
        assert numbers == pytest.approx(expected, rel=2e-3)
    mae = {model: float(row["mae"]) for model, row in results.items()}
    below = {model: 100 * (1 - mae["xlstm"] / mae[model]) for model in ("seasonal_naive", "nlinear")}
    own = 100 * float(results["xlstm"]["coverage_raw"])
    for said in (
        f"{below['seasonal_naive']:.0f} % below the seasonal naive; {below['nlinear']:.1f} % below NLinear",
        f"before calibration they held {own:.1f} %",
    ):
        assert said in TEXT
