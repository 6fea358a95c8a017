"""The search: resumable, honest about the test part, and stopped, killed or fed with what it must refuse."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from xlstm_apps import cli
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets import SeriesData
from xlstm_apps.forecasting import ForecastConfig
from xlstm_apps.recipes import _forecast_tune, forecast
from xlstm_apps.recipes.config import SearchConfig
from xlstm_apps.training import FitConfig

HEAD = ForecastConfig(prediction_length=4, context_length=24)
BACKBONE = xLSTMConfig(embedding_dim=8, num_blocks=1, num_heads=2, slstm_at="all", conv1d_kernel_size=0)
FIT = FitConfig(max_epochs=2, steps_per_epoch=2, batch_size=8)
SEARCH = SearchConfig(context_length=[12, 48], embedding_dim=[16], num_blocks=[])


def write_table(path: Path, rows: int = 400, test_part: float = 1.0) -> Path:
    rng = np.random.default_rng(0)
    stamps = np.datetime64("2024-01-01T00", "us") + np.arange(rows) * np.timedelta64(3600, "s")
    values = np.sin(np.arange(rows)[:, None] * 2 * np.pi / 24) * [3, 1] + rng.normal(0, 0.3, (rows, 2))
    values[int(0.8 * rows) :] *= test_part
    pl.DataFrame({"date": stamps, "a": values[:, 0].round(3), "b": values[:, 1].round(3)}).write_csv(path)
    return path


def tune(table: Path, run_dir: Path, *, trials: int = 4, search: SearchConfig = SEARCH, resume: bool = False, **more):
    forecast.tune(
        SeriesData(path=str(table)),
        HEAD,
        BACKBONE,
        FIT,
        search,
        trials=trials,
        run_dir=str(run_dir),
        resume=resume,
        **more,
    )


def trials_of(folder: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("table") / "load.csv")


@pytest.fixture(scope="module")
def study(table):
    tune(table, table.parent / "study")
    return table.parent / "study"


def test_a_study_leaves_the_trials_and_the_best(study):
    trials = trials_of(study)
    assert len(trials) == 4 and {"context_length", "embedding_dim", "learning_rate", "dropout", "members"} <= {
        *trials[0]
    }
    assert (trials[0]["context_length"], trials[0]["embedding_dim"], trials[0]["learning_rate"]) == ("24", "8", "0.003")
    best = min((row for row in trials if row["state"] == "done"), key=lambda row: float(row["val_loss"]))
    settings = yaml.safe_load((study / "best.yaml").read_text())
    assert settings["head"]["context_length"] == int(best["context_length"])
    assert settings["head"]["members"] == best["members"].split("+")
    assert settings["fit"]["learning_rate"] == pytest.approx(float(best["learning_rate"]))
    assert float(best["val_loss"]) <= float(trials[0]["val_loss"])


def test_train_accepts_the_best(study, tmp_path):
    parser = cli.build_parser("train", forecast.train)
    arguments = cli.parse(parser, [f"--config={study / 'best.yaml'}"], cli.option_types(forecast.train))
    arguments["fit"] = replace(arguments["fit"], max_steps=1)
    forecast.train(**{**arguments, "run_dir": str(tmp_path / "run")})
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_table_is_printed_and_the_way_on(table, tmp_path, capsys):
    tune(table, tmp_path / "study", trials=2)
    out = capsys.readouterr().out
    assert "0 (as given)" in out and "forecast train --config" in out


def test_the_test_part_changes_nothing(table, study, tmp_path):
    write_table(tmp_path / "load.csv", test_part=-70.0)
    tune(tmp_path / "load.csv", tmp_path / "study")
    assert trials_of(tmp_path / "study") == trials_of(study)


def test_stopped_in_a_trial_and_resumed_it_ends_as_if_it_had_not_been(table, study, tmp_path, monkeypatch, capsys):
    work, calls = _forecast_tune.validation_loss, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(_forecast_tune, "validation_loss", stopped)
    with pytest.raises(SystemExit) as stop:
        tune(table, tmp_path / "study")
    assert stop.value.code == 130 and (tmp_path / "study" / "best.yaml").is_file()
    assert "stopped after 2 of 4 trials; go on with --resume" in capsys.readouterr().err
    tune(table, tmp_path / "study", resume=True)
    assert trials_of(tmp_path / "study") == trials_of(study)
    assert (tmp_path / "study" / "best.yaml").read_text().splitlines()[2:] == (
        study / "best.yaml"
    ).read_text().splitlines()[2:]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # three processes that import torch, on a machine that may be busy
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_through_the_command_line(table, tmp_path, number):
    command = [sys.executable, "-m", "xlstm_apps", "forecast", "tune", "--data.path", str(table),
               "--run_dir", str(tmp_path / "s"), "--head.prediction_length=4", "--fit.max_epochs=3",
               "--fit.steps_per_epoch=30", "--backbone.embedding_dim=8", "--backbone.num_heads=2",
               "--search.embedding_dim=16"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--trials=50"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "s" / "trials.csv").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), err
    assert "Traceback" not in err
    done = len(trials_of(tmp_path / "s"))
    assert 1 <= done < 50
    resumed = subprocess.run([*command, f"--trials={done + 2}", "--resume"], env=env, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert len(trials_of(tmp_path / "s")) == done + 2 and f"Best of {done + 2} trials" in resumed.stdout


def test_a_finished_study_can_be_made_longer(table, tmp_path):
    tune(table, tmp_path / "study", trials=1)
    tune(table, tmp_path / "study", trials=3, resume=True)
    assert len(trials_of(tmp_path / "study")) == 3


def test_another_table_or_another_search_is_refused(table, study, tmp_path):
    other = write_table(tmp_path / "load.csv", rows=401)
    with pytest.raises(ValueError, match=r"data\.path \(was"):
        tune(other, study, resume=True)
    with pytest.raises(ValueError, match=r"search\.embedding_dim"):
        tune(table, study, search=replace(SEARCH, embedding_dim=[32]), resume=True)
    with pytest.raises(ValueError, match="already holds a run"):
        tune(table, study)
    before = table.read_bytes()
    try:
        write_table(table, rows=401)
        with pytest.raises(ValueError, match="data_fingerprint changed"):
            tune(table, study, resume=True)
    finally:
        table.write_bytes(before)


def test_a_trial_that_fails_is_a_row_and_not_the_end(table, tmp_path):
    search = SearchConfig(
        context_length=[12], embedding_dim=[], num_blocks=[], members=[], learning_rate=[], dropout=[]
    )
    head = replace(HEAD, patch_length=20)
    forecast.tune(SeriesData(path=str(table)), head, BACKBONE, FIT, search, trials=8, run_dir=str(tmp_path / "study"))
    trials = trials_of(tmp_path / "study")
    failed = [row for row in trials if row["state"] == "failed"]
    assert len(trials) == 8 and failed and all(row["context_length"] == "12" for row in failed)
    assert "longer than the context" in failed[0]["reason"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trials=0"], "at least 1"),
        (["--search.dropout=0.3,0.1"], "lowest and its highest"),
        (["--search.learning_rate=0,0.1"], "positive"),
        (["--data.val_fraction=0"], "validation part"),
        (["--search.members=nlinear+nosuch"], "no member 'nosuch'"),
        (["--head.prediction_length=4000"], "prediction_length"),
        (["--search.embeding_dim=3"], "did you mean --search.embedding_dim?"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(table, tmp_path, monkeypatch, capfd, flags, message):
    monkeypatch.chdir(tmp_path)
    options = ["--head.context_length=24", *flags]
    with pytest.raises(SystemExit) as stop:
        cli.main(["forecast", "tune", f"--data.path={table}", *options])
    err = capfd.readouterr().err
    assert stop.value.code == 2 and message in err and len(err.splitlines()) == 1, err
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_the_line_says_what_to_install(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"xlstm-apps\[tune\]"):
        tune(table, tmp_path / "study")


def test_the_search_splits_the_table_as_the_training_does(table):
    data = SeriesData(path=str(table), split_rows=[200, 60, 90])
    search = _forecast_tune.prepare(data, HEAD, BACKBONE, FIT, SEARCH, seed=0)
    assert search.plan(search.given).split == [(200, 260)]
