"""The tutorial on forecasting: every block runs, in order, with tiny budgets on some days of the shipped table."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from xlstm_apps import cli
from xlstm_apps.datasets import SeriesData, load_table
from xlstm_apps.estimators import forecaster_training

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "forecasting.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, flags=re.DOTALL)
BUDGET = {
    "train": ["--fit.max_steps=2", "--head.test_stride=40"],
    "tune": ["--fit.max_steps=2", "--head.test_stride=40", "--search.num_blocks=1"],
}


def commands(block: str) -> list[list[str]]:
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="needs Optuna")
    monkeypatch.chdir(tmp_path)
    table = load_table(SeriesData(path="sample:nyc-weather")).to_frame()
    table.group_by("unique_id", maintain_order=True).head(24 * 45).write_parquet("few-days.parquet")
    work = forecaster_training.sections_of

    def quick(arguments):
        sections = work(arguments)
        return replace(sections, fit=replace(sections.fit, max_steps=2, batch_size=8))

    monkeypatch.setattr(forecaster_training, "sections_of", quick)
    names: dict = {}
    for kind, block in BLOCKS:
        block = block.replace("sample:nyc-weather", "few-days.parquet")
        if kind == "python":
            exec(block, names)
            continue
        for program, *argv in commands(block):
            assert program == "xlstm-apps"
            with pytest.raises(SystemExit) as done:
                cli.main([*argv, *BUDGET.get(argv[1], [])])
            assert done.value.code == 0, (argv, capsys.readouterr().err)
    assert pl.read_parquet("intervals.parquet").columns[2:] == [
        "xLSTM", "xLSTM-lo-95", "xLSTM-lo-80", "xLSTM-hi-80", "xLSTM-hi-95"
    ]  # fmt: skip
    assert pl.read_csv("paths.csv")["sample"].n_unique() == 100
    assert Path("runs/weather/explain/explain.html").is_file() and Path("runs/best/report.html").is_file()
    assert names["nearest"]["change"] > 0 and names["error"] > 0 and Path("why.html").is_file()
    assert len(names["forecast"]) == 3 * 24 and len(pl.read_csv("from-the-estimator.csv")) == 3 * 24
