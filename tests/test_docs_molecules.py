"""The code of docs/molecules.md runs, and its numbers are those of the results file."""

import math
import re
import statistics
from pathlib import Path

import pytest
from written_results import results

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
    found = {(row["set"], row["metric"]): float(row["value"]) for row in results("molecule_sample")}
    rows = re.findall(r"^\| (xlstm[^|]*?|counts of \d tokens|drawn from training) \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    metrics = ("valid", "unique", "novel", "int_div", "snn", "frag", "scaf")
    for name, cells in rows:
        told = [float(cell) for cell in cells.split("|")]
        assert told == pytest.approx([found[name.replace("`", ""), metric] for metric in metrics], abs=6e-4)


def test_larger_models():
    words = " ".join(PAGE.split())
    rows = {row["network"]: row for row in results("molecule_moses") if row["corpus"] == "moses"}
    xlstm, lstm = (math.exp(float(rows[name]["val_loss"])) for name in ("xlstm", "lstm"))
    told = f"trained in {float(rows['xlstm']['fit_seconds']):.0f} seconds, has a perplexity of {xlstm:.3f} per token"
    assert told in words and f"after as many batches {lstm:.3f}" in words
    assert rows["xlstm"]["steps"] == rows["lstm"]["steps"]
    sets = results("molecule_sets")
    for control, first in (("real", "its own set"), ("other", "another set")):
        values = {
            row["molecules"]: float(row["perplexity"]) for row in sets if row["control"] == control if row["perplexity"]
        }
        assert f"| {first} | " + " | ".join(f"{values[count]:.3f}" for count in ("0", "1", "8", "32")) + " |" in PAGE
    like = {row["control"]: row for row in sets if row["measure"] == "similarity"}
    own, other, none = (f"{float(like[name]['to_rest']):.3f}" for name in ("own", "other", "none"))
    beaten = {name: f"(lower in {like[name]['sets_behind']} of {like[name]['sets']}" for name in ("other", "none")}
    assert f"{own}, against {other} behind another set {beaten['other']} sets)" in words
    assert f"{none} behind nothing {beaten['none']})" in words
    assert f"{100 * float(like['own']['valid']):.0f} % of what is drawn behind a set is valid" in words


def test_draws_of_larger_models():
    found = {row["molecules"]: row for row in results("molecule_moses_scores")}
    digits = {"valid": 3, "unique@10k": 4, "novel": 3, "fcd_test": 3, "fcd_scaffolds": 3, "snn_test": 3, "frag_test": 4,
              "scaf_test": 3, "scaf_scaffolds": 3, "int_div": 3}  # fmt: skip
    titles = {
        "xlstm": "xLSTM", "xlstm --valid": "xLSTM, `--valid`", "lstm": "LSTM", "CharRNN": "CharRNN, published",
        "drawn from training": "molecules of training", "JTN-VAE": "JT-VAE, published",
    }  # fmt: skip
    for name, title in titles.items():
        assert found[name]["n"] == "30000"
        cells = [f"{float(found[name][measure]):.{places}f}" for measure, places in digits.items()]
        assert f"| {title} | {' | '.join(cells)} |" in PAGE
    assert float(found["xlstm"]["fcd_test"]) < float(found["CharRNN"]["fcd_test"])


def test_properties():
    titles = {
        "pretrained": "xLSTM trained on MOSES before", "scratch": "xLSTM from scratch",
        "forest": "random forest of Morgan fingerprints", "mean": "mean of training",
    }  # fmt: skip
    for model, title in titles.items():
        cells = []
        for task in ("lipo", "esol", "bbbp"):
            rows = [row for row in results("molecule_properties") if (row["task"], row["model"]) == (task, model)]
            rows = [row for row in rows if row["epochs"] in ("", "20")]
            rates = [row["learning_rate"] for row in rows]  # the one with all splits is the one that was chosen
            own = [row for row in rows if row["learning_rate"] == max(rates, key=rates.count)]
            values = [float(row["auc" if task == "bbbp" else "rmse"]) for row in own]
            assert len(values) == 5
            cells.append(f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")
        assert f"| {title} | {' | '.join(cells)} |" in PAGE


def test_what_the_readme_says():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = {row["molecules"]: row for row in results("molecule_moses_scores")}
    fcd = {name: f"{float(row['fcd_test']):.3f}" for name, row in found.items()}
    assert f"{100 * float(found['xlstm']['valid']):.1f} % are valid" in text
    assert (
        f"distance **{fcd['xlstm']}** (an LSTM of equal size {fcd['lstm']}, published CharRNN {fcd['CharRNN']}" in text
    )
    assert f"molecules of training {fcd['drawn from training']})" in text
    best = (
        re.search(r"\| xLSTM trained on MOSES before \| ([\d.]+)", PAGE),
        re.search(r"\| random forest.*?\| ([\d.]+)", PAGE),
    )
    assert f"RMSE: **{best[0][1]}**, random forest {best[1][1]}" in text
