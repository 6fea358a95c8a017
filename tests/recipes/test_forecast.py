"""The forecast recipe from table to report, killed, resumed, reused, and fed with what it must refuse."""

import csv
import json
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
import torch
import yaml

from xlstm_apps import cli
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets import SeriesData, load_table
from xlstm_apps.datasets.config import OtherTable, TableToForecast
from xlstm_apps.forecasting import PRESETS, ForecastConfig, ForecastModel
from xlstm_apps.recipes import _forecast, forecast
from xlstm_apps.recipes.catalog import CONFIGS
from xlstm_apps.training import FitConfig

HEAD = ForecastConfig(prediction_length=6, context_length=24, quantiles=[0.1, 0.5, 0.9])
BACKBONE = xLSTMConfig(embedding_dim=8, num_blocks=1, num_heads=2, slstm_at="all", conv1d_kernel_size=0)
FIT = FitConfig(max_epochs=2, steps_per_epoch=2, batch_size=8, checkpoint_seconds=0)
FLAGS = [
    "--head.prediction_length=6", "--head.context_length=24", "--backbone.embedding_dim=8", "--backbone.num_heads=2",
    "--fit.batch_size=8",
]  # fmt: skip


def write_table(path: Path, rows: int = 400, missing: float = 0.0, separator: str = ",", seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    stamps = np.datetime64("2024-01-01T00", "us") + np.arange(rows) * np.timedelta64(3600, "s")
    values = np.sin(np.arange(rows)[:, None] * 2 * np.pi / 24) * [3, 1] + rng.normal(0, 0.3, (rows, 2)) + [10, 0]
    values[rng.random((rows, 2)) < missing] = np.nan
    columns = {name: pl.Series(values[:, i]).fill_nan(None).round(3) for i, name in enumerate("ab")}
    pl.DataFrame({"date": stamps, **columns}).write_csv(path, separator=separator)
    return path


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "load.csv")


def train(table: Path, run_dir: Path, resume: bool = False, fit: FitConfig = FIT, **data) -> None:
    forecast.train(
        SeriesData(path=str(table), **data), head=HEAD, backbone=BACKBONE, fit=fit, run_dir=str(run_dir), resume=resume
    )


def rows_of(path: Path) -> list[dict]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a table with 30 % missing values."""
    folder = tmp_path_factory.mktemp("run")
    train(write_table(folder / "load.csv", missing=0.3), folder / "run")
    return folder / "run"


def test_a_run_leaves_everything(run):
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "finished" and facts["seconds"].keys() >= {"load", "fit", "evaluate"}
    assert yaml.safe_load((run / "config.yaml").read_text())["head"]["prediction_length"] == 6
    assert [row["epoch"] for row in rows_of(run / "metrics.csv")] == ["1", "2"]
    assert (run / "report.html").stat().st_size > 10_000
    assert (run / "model" / "README.md").read_text()
    models = [row["model"] for row in rows_of(run / "evaluation" / "comparison.csv")]
    assert models == ["xlstm", "seasonal_naive", "nlinear", "naive"]
    assert all(
        float(v) >= 0
        for row in rows_of(run / "evaluation" / "comparison.csv")
        for k, v in row.items()
        if k != "model" and not k.endswith("_raw")
    )
    assert {row["unique_id"] for row in rows_of(run / "evaluation" / "series.csv")} == {"a", "b"}
    assert len(rows_of(run / "evaluation" / "horizon.csv")) == 4 * 6
    assert [row["quantile"] for row in rows_of(run / "evaluation" / "calibration.csv")] == ["0.1", "0.5", "0.9"]
    sample = rows_of(run / "evaluation" / "forecasts.csv")
    assert sample[0]["0.5"] == "" and sample[-1]["0.5"] and sample[-1]["seasonal_naive"]
    summary = json.loads((run / "data_summary.json").read_text())
    resolved = facts["resolved"]
    assert resolved["head"]["members"] == list(PRESETS["xlstm-ens"].members)
    assert resolved["backbone"]["embedding_dim"] == 8 and resolved["fit"]["learning_rate"] > 0
    assert summary["windows"].keys() == {"train", "val", "test"} and summary["splits"][0]["train_end"] == 280


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "xlstm-ens",
            f"xlstm-ens: {' + '.join(PRESETS['xlstm-ens'].members)}; backbone: embedding_dim 64, num_blocks 1",
        ),
        # A width set to the default's own value cannot be told from one left open: the run says what it took.
        ("xlstm-time", "xlstm-time: variate; backbone: embedding_dim 256, num_blocks 3, num_heads 4"),
        ("nlinear", "nlinear: nlinear"),
    ],
)
def test_the_run_says_which_network_it_trains(table, name, line):
    head = replace(HEAD, model=name)
    job = _forecast.prepare(SeriesData(path=str(table)), head, replace(BACKBONE, embedding_dim=64, num_heads=4), FIT, 0)
    assert _forecast.choices(job)[0].startswith(f"model     {line}")


def test_predictions_begin_after_the_last_row(run):
    rows = rows_of(run / "predictions.csv")
    assert list(rows[0]) == ["unique_id", "ds", "0.1", "0.5", "0.9"]
    assert len(rows) == 2 * 6 and rows[0]["ds"] == "2024-01-17 16:00:00"
    assert all(float(r["0.1"]) < float(r["0.5"]) < float(r["0.9"]) for r in rows)


def test_no_checkpoint_or_aside_file_is_left_half(run):
    assert not [p for p in run.rglob("*") if p.name.startswith(".")]


def test_every_test_target_is_scored_once_per_step(run):
    summary = json.loads((run / "data_summary.json").read_text())
    assert summary["windows"]["test"] == 80 - 6 + 1 and summary["test_stride"] == 1


def test_predict_from_the_model_folder_alone_on_new_data(run, tmp_path, capsys):
    same = tmp_path / "same.csv"
    forecast.predict(str(run), output=str(same))
    assert same.read_text() == (run / "predictions.csv").read_text()
    new = write_table(tmp_path / "new.csv", rows=100, seed=5)
    copy = tmp_path / "copied-model"
    copy.mkdir()
    for file in (run / "model").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    forecast.predict(str(copy), TableToForecast(path=str(new)), str(tmp_path / "new.parquet"))
    frame = pl.read_parquet(tmp_path / "new.parquet")
    assert len(frame) == 12 and frame["ds"][0].isoformat() == "2024-01-05T04:00:00"
    capsys.readouterr()
    forecast.predict(str(copy), TableToForecast(path=str(new)))
    assert capsys.readouterr().out.splitlines()[0] == "unique_id,ds,0.1,0.5,0.9"
    with pytest.raises(ValueError, match="holds no data"):
        forecast.predict(str(copy))


def test_evaluate_repeats_the_scores_of_training(run, tmp_path, capsys):
    forecast.evaluate(str(run), output=str(tmp_path / "scores"))
    for name in ("comparison", "horizon", "series", "calibration"):
        assert rows_of(tmp_path / "scores" / f"{name}.csv") == rows_of(run / "evaluation" / f"{name}.csv")
    assert "seasonal" in capsys.readouterr().out


def test_backtest_has_the_columns_and_cutoffs_of_neuralforecast(run, tmp_path):
    forecast.backtest(str(run), n_windows=3, step_size=4, output=str(tmp_path / "back.csv"))
    frame = pl.read_csv(tmp_path / "back.csv", try_parse_dates=True)
    assert frame.columns == ["unique_id", "ds", "cutoff", "y", "0.1", "0.5", "0.9"]
    cutoffs = frame["cutoff"].unique().sort()
    assert [c.isoformat() for c in cutoffs] == ["2024-01-17T01:00:00", "2024-01-17T05:00:00", "2024-01-17T09:00:00"]
    assert len(frame) == 3 * 2 * 6 and (frame["ds"] > frame["cutoff"]).all()


def test_backtest_refuses_to_score_what_was_trained_on(run):
    with pytest.raises(ValueError, match=r"reach into the part the model was trained on; at most 13 fit"):
        forecast.backtest(str(run), n_windows=20)
    with pytest.raises(ValueError, match="at least 1"):
        forecast.backtest(str(run), n_windows=0)


def test_what_comes_after_a_cutoff_changes_no_forecast_at_it(run, tmp_path):
    table = pl.read_csv(run.parent / "load.csv")
    later = table.with_row_index().with_columns(
        pl.when(pl.col("index") >= 390).then(pl.col(c) * 100 + 5).otherwise(pl.col(c)).alias(c) for c in "ab"
    )
    for name, frame in (("one", table), ("two", later.drop("index"))):
        frame.write_csv(tmp_path / f"{name}.csv")
        forecast.backtest(
            str(run),
            OtherTable(path=str(tmp_path / f"{name}.csv")),
            n_windows=1,
            output=str(tmp_path / f"{name}.parquet"),
        )
    one, two = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    last = one["cutoff"].max()
    assert last.isoformat() == "2024-01-17T09:00:00"  # row 393: the change at 390 is known there
    forecast.backtest(str(run), OtherTable(path=str(tmp_path / "one.csv")), 3, output=str(tmp_path / "one.parquet"))
    forecast.backtest(str(run), OtherTable(path=str(tmp_path / "two.csv")), 3, output=str(tmp_path / "two.parquet"))
    one, two = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    early = pl.col("cutoff") < pl.datetime(2024, 1, 17, 6)  # cutoff row below 390
    assert one.filter(early).drop("y").equals(two.filter(early).drop("y")) and len(one.filter(early)) > 0
    assert not one.filter(~early).drop("y").equals(two.filter(~early).drop("y"))


def test_the_test_part_takes_no_part_in_training(tmp_path):
    table = pl.read_csv(write_table(tmp_path / "one.csv"))
    changed = table.with_row_index().with_columns(
        pl.when(pl.col("index") >= 320).then(pl.col("a") * -50).otherwise(pl.col("a")).alias("a")
    )
    changed.drop("index").write_csv(tmp_path / "two.csv")
    for name in ("one", "two"):
        train(tmp_path / f"{name}.csv", tmp_path / name)
    one, two = (ForecastModel.from_pretrained(tmp_path / name / "model").state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def same_weights(a: Path, b: Path) -> bool:
    return (a / "model" / "model.safetensors").read_bytes() == (b / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "stage", ["open_run", "fit_model", "fit_baseline", "score", "predict_beyond", "model_card", "finish"]
)
def test_stopped_after_any_stage_and_resumed(table, tmp_path, monkeypatch, stage):
    from xlstm_apps.recipes import _forecast, _run

    train(table, tmp_path / "whole")
    module = _run if stage in ("model_card", "finish") else _forecast
    work = getattr(module, stage)

    def dies(*args):
        work(*args)
        raise RuntimeError("power cut")

    monkeypatch.setattr(module, stage, dies)
    with pytest.raises(RuntimeError, match="power cut"):
        train(table, tmp_path / "run")
    monkeypatch.undo()
    train(table, tmp_path / "run", resume=True)
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    for name in ("predictions.csv", "evaluation/comparison.csv", "evaluation/forecasts.csv"):
        assert (tmp_path / "run" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_in_the_middle_of_training_through_the_command_line(table, tmp_path):
    def command(run_dir, *more):
        options = ["--fit.max_epochs=4", "--fit.steps_per_epoch=50", "--fit.checkpoint_seconds=0", *FLAGS, *more]
        return [sys.executable, "-m", "xlstm_apps", "forecast", "train", "--data.path", str(table),
                "--run_dir", str(run_dir), *options]  # fmt: skip

    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command(tmp_path / "run"), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    while process.poll() is None:
        if last.exists() and torch.load(last, weights_only=True)["global_step"] >= 14:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    step = torch.load(last, weights_only=True)["global_step"]
    assert 14 <= step < 200
    resumed = subprocess.run(command(tmp_path / "run", "--resume"), env=env, capture_output=True, text=True)
    assert resumed.returncode == 0 and "resuming" in resumed.stderr, resumed.stderr
    with pytest.raises(SystemExit) as done:
        cli.main(command(tmp_path / "whole")[3:])
    assert done.value.code == 0
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_resuming_a_finished_run_says_so_and_touches_nothing(table, tmp_path, capsys):
    train(table, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    train(table, tmp_path / "run", resume=True)
    assert "finished, nothing is left to do" in " ".join(capsys.readouterr().err.split())
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}


def test_resuming_with_other_settings_or_other_data_is_refused(table, tmp_path):
    train(table, tmp_path / "run")
    with pytest.raises(ValueError, match=r"fit.learning_rate \(was None, is 0.5\)"):
        train(table, tmp_path / "run", resume=True, fit=replace(FIT, learning_rate=0.5))
    with pytest.raises(ValueError, match="already holds a run; continue it with --resume"):
        train(table, tmp_path / "run")
    write_table(table, rows=401)
    with pytest.raises(ValueError, match="its data_fingerprint changed"):
        train(table, tmp_path / "run", resume=True)


def test_without_run_dir_runs_are_named_and_the_newest_is_resumed(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = SeriesData(path="load.csv")
    forecast.train(data, head=HEAD, backbone=BACKBONE, fit=FIT)
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("forecast-load-")
    forecast.train(data, head=HEAD, backbone=BACKBONE, fit=FIT, resume=True)
    assert made.name in "".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", [], "empty"),
        ("a,b\n1,2\n3,4\n", [], "time"),
        ("date,a\n2024-01-01,1\n2024-01-01,2\n2024-01-02,3\n", [], "2024-01-01"),
        ("date,a\n2024-01-01,1\n2024-01-02,x\n2024-01-03,3\n", [], "x"),
        (None, ["--head.prediction_length=399"], "prediction_length"),
        (None, ["--head.prediction_length=4000"], "prediction_length"),
        (None, ["--head.quantiles=0.1,1.5"], "quantiles"),
        (None, ["--head.patch_length=25"], "patch_length"),
        (None, ["--data.test_fraction=0"], "test"),
        (None, ["--fit.max_epoch=3"], "max_epochs"),
        (None, ["--fit.max_epochs=x"], "max_epochs"),
        (None, ["--fit.accelerator=cuda"], "cuda"),
        (None, ["--fit.trainer.foo=1"], "foo"),
        (None, ["--backbone.num_heads=3"], "sLSTM heads = 3"),
        (None, ["--data.path=nowhere.csv"], "nowhere.csv"),
        (None, ["--data.path=."], "is a directory"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capfd, content, flags, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if content is None:
        write_table(tmp_path / "t.csv")
    else:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(SystemExit) as stop:
        cli.main(["forecast", "train", "--data.path=t.csv", *FLAGS, *flags])
    out, err = capfd.readouterr()
    assert stop.value.code == 2 and out == "" and len(err.splitlines()) == 1 and message in err, err
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["predict", "nowhere"], "no such folder"),
        (["predict", "{run}", "--output=x.txt"], "write to a .csv, .tsv or .parquet file"),
        (["predict", "{run}", "--output=no/x.csv"], "does not exist"),
        (["predict", "{run}", "--data.path=nowhere.csv"], "nowhere.csv"),
        (["evaluate", "{run}/model"], "needs the run folder"),
        (["backtest", "{run}", "--n_windows=100"], "at most"),
    ],
)
def test_bad_requests_to_a_trained_model(run, tmp_path, monkeypatch, capfd, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["forecast", *(word.format(run=run) for word in call)])
    err = capfd.readouterr().err
    assert stop.value.code == 2 and message in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_other_steps_are_refused(run, tmp_path):
    (tmp_path / "daily.csv").write_text("date,a,b\n" + "".join(f"2024-01-{d:02},{d},1\n" for d in range(1, 29)))
    with pytest.raises(ValueError, match="1d apart, but the model was trained on steps of 1h"):
        forecast.predict(str(run), TableToForecast(path=str(tmp_path / "daily.csv")))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted(CONFIGS.glob("forecast/*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_parses_and_trains_two_steps(recipe, tmp_path):
    function = forecast.train
    parser = cli.build_parser("xlstm-apps forecast train", function)
    arguments = cli.parse(parser, [f"--config={recipe}"], cli.option_types(function))
    assert recipe.read_text().startswith("# ")
    data = arguments["data"]
    if data.path.startswith("sample:"):  # some days of it
        days = load_table(data).to_frame().group_by("unique_id", maintain_order=True).head(24 * 45)
        days.write_parquet(tmp_path / "t.parquet")
        data = replace(data, path=str(tmp_path / "t.parquet"))
    else:
        data = replace(data, path=str(write_table(tmp_path / "t.csv", rows=1200)))
    if data.split_rows is not None:  # a twelfth of them
        data = replace(data, split_rows=[rows // 12 for rows in data.split_rows])
    fit = replace(arguments["fit"], max_steps=2, batch_size=4)
    head = replace(arguments["head"], test_stride=200)
    forecast.train(**{**arguments, "data": data, "head": head, "fit": fit, "run_dir": str(tmp_path / "run")})
    forecast.train(
        **{**arguments, "data": data, "head": head, "fit": fit, "run_dir": str(tmp_path / "run"), "resume": True}
    )
    forecast.predict(str(tmp_path / "run"), output=str(tmp_path / "again.csv"))
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "run" / "predictions.csv").read_text()
