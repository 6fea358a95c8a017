"""The code of docs/molecules.md runs, and its numbers are those of the results file."""

import csv
import re
from pathlib import Path

import pytest

pytest.importorskip("rdkit", reason="needs RDKit")
ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "molecules.md").read_text(encoding="utf-8")


def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/molecules.md", "exec"), {})


def test_the_numbers_are_those_measured():
    with (ROOT / "benchmarks" / "results" / "molecule_sample.csv").open(newline="") as file:
        found = {(row["set"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    rows = re.findall(r"^\| (xlstm[^|]*?|counts of \d tokens|drawn from training) \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    metrics = ("valid", "unique", "novel", "int_div", "snn", "frag", "scaf")
    for name, cells in rows:
        told = [float(cell) for cell in cells.split("|")]
        assert told == pytest.approx([found[name.replace("`", ""), metric] for metric in metrics], abs=6e-4)
