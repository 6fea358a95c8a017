"""What a finished run can be asked: intervals, possible futures, refits, explanations, a new start, streaming."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from xlstm_apps import XLSTMForecaster, cli
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets import SeriesData
from xlstm_apps.datasets.config import OtherTable, TableToForecast
from xlstm_apps.forecasting import ForecastConfig
from xlstm_apps.recipes import forecast
from xlstm_apps.training import FitConfig

HEAD = ForecastConfig(prediction_length=4, context_length=24, test_stride=8)
BACKBONE = xLSTMConfig(embedding_dim=8, num_blocks=1, num_heads=2, slstm_at="all", conv1d_kernel_size=0)
FIT = FitConfig(max_epochs=1, steps_per_epoch=2, batch_size=8)


def shops(rows: int = 200, count: int = 3, seed: int = 0, offset: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    stamps = np.datetime64("2024-01-01T00", "us") + (offset + np.arange(rows)) * np.timedelta64(3600, "s")
    parts = []
    for i in range(count):
        price = rng.normal(size=rows).round(3)
        y = (np.sin(np.arange(rows) * 2 * np.pi / 24) * 3 + i + price + rng.normal(0, 0.2, rows)).round(3)
        parts.append(pl.DataFrame({"shop": f"s{i}", "ds": stamps, "sales": y, "price": price}))
    return pl.concat(parts)


def train(path: Path, run_dir: Path, head: ForecastConfig = HEAD, fit: FitConfig = FIT, **more) -> None:
    options = {name: more.pop(name) for name in ("from_model", "resume", "baselines") if name in more}
    data = SeriesData(path=str(path), **{"target_columns": ["sales"], **more})
    forecast.train(data, head, BACKBONE, fit, run_dir=str(run_dir), **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run without covariates."""
    folder = tmp_path_factory.mktemp("run")
    shops().drop("price").write_csv(folder / "shops.csv")
    train(folder / "shops.csv", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    """A finished run with a price known ahead."""
    folder = tmp_path_factory.mktemp("priced")
    shops().write_csv(folder / "shops.csv")
    train(folder / "shops.csv", folder / "run", known_covariates=["price"])
    return folder / "run"


def test_intervals_by_level_and_by_quantile(run, tmp_path):
    forecast.predict(str(run), output=str(tmp_path / "level.csv"), level=[80])
    forecast.predict(str(run), output=str(tmp_path / "quantile.parquet"), quantiles=[0.1, 0.5, 0.9])
    level, quantile = pl.read_csv(tmp_path / "level.csv"), pl.read_parquet(tmp_path / "quantile.parquet")
    assert level.columns == ["unique_id", "ds", "xLSTM", "xLSTM-lo-80", "xLSTM-hi-80"]
    np.testing.assert_allclose(level["xLSTM-lo-80"], quantile["0.1"], rtol=1e-5)


def test_ids_of_a_new_table_may_be_numbers(run, tmp_path):
    table = shops(seed=4).drop("price").with_columns(pl.col("shop").str.slice(1).cast(pl.Int64) + 100)
    table.write_csv(tmp_path / "new.csv")
    forecast.predict(str(run), TableToForecast(path=str(tmp_path / "new.csv")), str(tmp_path / "next.csv"))
    assert pl.read_csv(tmp_path / "next.csv")["unique_id"].unique(maintain_order=True).to_list() == [100, 101, 102]


def test_possible_futures(run, tmp_path):
    forecast.predict(str(run), output=str(tmp_path / "paths.csv"), samples=5)
    paths = pl.read_csv(tmp_path / "paths.csv")
    assert paths.columns == ["unique_id", "ds", "sample", "y_hat"] and len(paths) == 3 * 4 * 5


def test_a_streamed_table_gives_the_same_forecast(run, tmp_path, monkeypatch):
    table = shops(count=7, seed=4).drop("price")
    table.write_csv(tmp_path / "new.csv")
    forecast.predict(str(run), TableToForecast(path=str(tmp_path / "new.csv")), str(tmp_path / "whole.csv"))
    from xlstm_apps.recipes import _forecast_saved

    pieces, work = [], _forecast_saved.iter_tables
    monkeypatch.setattr(_forecast_saved, "many_rows", lambda path, most: True)

    def some(data):
        for piece in work(data, series_per_table=2):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(_forecast_saved, "iter_tables", some)
    forecast.predict(str(run), TableToForecast(path=str(tmp_path / "new.csv")), str(tmp_path / "pieces.csv"))
    forecast.predict(str(run), TableToForecast(path=str(tmp_path / "new.csv")), str(tmp_path / "pieces.parquet"))
    whole, parts = (pl.read_csv(tmp_path / f"{name}.csv") for name in ("whole", "pieces"))
    assert sum(pieces) == 14 and len(pieces) >= 8
    assert whole.drop("0.1", "0.5", "0.9").equals(parts.drop("0.1", "0.5", "0.9"))
    np.testing.assert_allclose(whole["0.5"], parts["0.5"], rtol=1e-4)
    np.testing.assert_allclose(pl.read_parquet(tmp_path / "pieces.parquet")["0.9"], parts["0.9"], rtol=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", "pieces.csv", "pieces.parquet", "whole.csv"]


def test_backtest_refitted_reaches_before_the_test_part(run, tmp_path, capsys):
    forecast.backtest(str(run), n_windows=3, step_size=30, output=str(tmp_path / "back.csv"), refit=True)
    frame = pl.read_csv(tmp_path / "back.csv", try_parse_dates=True)
    assert frame.columns == ["unique_id", "ds", "cutoff", "y", "0.1", "0.5", "0.9"] and len(frame) == 3 * 3 * 4
    assert capsys.readouterr().err.count("training on what was known") == 3
    with pytest.raises(ValueError, match="reach into the part"):
        forecast.backtest(str(run), n_windows=3, step_size=30)
    with pytest.raises(ValueError, match="needs the run folder"):
        forecast.backtest(str(run / "model"), OtherTable(path=str(run.parent / "shops.csv")), n_windows=1, refit=True)


def test_a_refit_sees_nothing_after_its_cutoff(run, tmp_path):
    table = pl.read_csv(run.parent / "shops.csv")
    row = pl.int_range(pl.len()).over("shop")
    changed = table.with_columns(
        pl.when(row >= 166).then(pl.col("sales") * -40).otherwise(pl.col("sales")).alias("sales")
    )
    frames = []
    for name, frame in (("one", table), ("two", changed)):
        frame.write_csv(tmp_path / f"{name}.csv")
        output = tmp_path / f"{name}.parquet"
        forecast.backtest(
            str(run), OtherTable(path=str(tmp_path / f"{name}.csv")), 2, 30, str(output), refit=True, level=[80]
        )
        frames.append(pl.read_parquet(output).filter(pl.col("cutoff") == pl.col("cutoff").min()))
    assert frames[0]["cutoff"][0].isoformat() == "2024-01-07T21:00:00"  # row 165, the last before the change
    assert frames[0].drop("y").equals(frames[1].drop("y")) and not frames[0]["y"].equals(frames[1]["y"])


def test_explain_writes_tables_and_a_page(run, tmp_path, capsys):
    forecast.explain(str(run), windows=5)
    assert sorted(p.name for p in (run / "explain").iterdir()) == [
        "explain.html", "segments.csv", "steps.csv", "variates.csv"
    ]  # fmt: skip
    rows = list(csv.DictReader((run / "explain" / "segments.csv").read_text().splitlines()))
    assert rows[0]["from_step"] == "1" and float(rows[0]["change"]) > 0
    assert "explain.html" in capsys.readouterr().out.replace("\n", "")
    forecast.explain(
        str(run / "model"), OtherTable(path=str(run.parent / "shops.csv")), windows=2, output=str(tmp_path / "why")
    )
    assert (tmp_path / "why" / "explain.html").is_file()


def test_known_covariates_from_a_second_table(priced, tmp_path):
    assert not (priced / "predictions.csv").exists()  # the prices of the future are not known
    with pytest.raises(ValueError, match=r"'price'.*missing"):
        forecast.predict(str(priced))
    shops(rows=4, seed=9, offset=200).drop("sales").write_csv(tmp_path / "prices.csv")
    forecast.predict(str(priced), TableToForecast(future_path=str(tmp_path / "prices.csv")), str(tmp_path / "next.csv"))
    assert len(pl.read_csv(tmp_path / "next.csv")) == 12
    forecast.explain(str(priced), windows=3)
    assert "price" in pl.read_csv(priced / "explain" / "variates.csv")["source"].to_list()
    forecast.backtest(str(priced), n_windows=2, output=str(tmp_path / "back.csv"), refit=2, level=[90])
    assert len(pl.read_csv(tmp_path / "back.csv")) == 2 * 12


def test_a_new_start_from_a_run(run, tmp_path, capsys):
    shops(seed=5).drop("price").write_csv(tmp_path / "later.csv")
    train(tmp_path / "later.csv", tmp_path / "tuned", ForecastConfig(prediction_length=4), from_model=str(run))
    assert "targets are scaled anew" in capsys.readouterr().err
    weights = [path / "model" / "model.safetensors" for path in (run, tmp_path / "tuned")]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    train(
        tmp_path / "later.csv",
        tmp_path / "tuned",
        ForecastConfig(prediction_length=4),
        from_model=str(run),
        resume=True,
    )
    assert "nothing is left to do" in " ".join(capsys.readouterr().err.split())


def test_an_estimator_and_the_commands_read_each_other(run, tmp_path):
    forecaster = XLSTMForecaster(
        prediction_length=4, context_length=24, embedding_dim=8, num_heads=2, max_steps=2, id_column="shop"
    ).fit(shops().drop("price"), from_model=None)
    forecaster.save(tmp_path / "saved")
    forecast.predict(
        str(tmp_path / "saved"), TableToForecast(path=str(run.parent / "shops.csv")), str(tmp_path / "a.parquet")
    )
    np.testing.assert_allclose(pl.read_parquet(tmp_path / "a.parquet")["0.5"], forecaster.predict()["0.5"], rtol=1e-5)
    again = XLSTMForecaster(prediction_length=4, max_steps=1, id_column="shop").fit(
        shops().drop("price"), from_model=run
    )
    assert again.model_.head.context_length == 24


def test_the_device_of_the_training_need_not_be_here(run, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / "config.yaml").read_text()
    assert "accelerator: auto" in text
    (copy / "config.yaml").write_text(text.replace("accelerator: auto", "accelerator: mps"))
    forecast.backtest(str(copy), n_windows=2, step_size=30, output=str(tmp_path / "back.csv"), refit=2, device="cpu")
    with pytest.raises(ValueError, match="device mps is not on this machine"):
        forecast.predict(str(copy), device="mps")


def test_more_baselines_on_request(run, capsys):
    forecast.evaluate(str(run), baselines=["naive2"])
    assert "naive2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["predict", "{run}", "--level=0.8"], "level is in percent"),
        (["predict", "{run}", "--quantiles=10,90"], "between 0 and 1"),
        (["predict", "{run}", "--level=80", "--quantiles=0.1"], "not both"),
        (["predict", "{run}", "--samples=0"], "at least 1"),
        (["predict", "{run}", "--samples=3", "--level=80"], "leave out level"),
        (["predict", "{run}", "--data.future_path=x.csv"], "future_path"),
        (["predict", "{run}", "--data.path={run}/../other.csv"], "no such column"),
        (["backtest", "{run}", "--refit=-1"], "refit"),
        (["backtest", "{run}", "--refit", "--n_windows=900"], "no series is long enough"),
        (["explain", "{run}", "--segment_length=25"], "1 to 24 steps"),
        (["explain", "{run}", "--windows=0"], "at least 1"),
        (["explain", "{run}/model"], "--output"),
        (["explain", "nowhere", "--output=x"], "no such folder"),
        (["train", "--data.path={run}/../shops.csv", "--from_model=nowhere"], "no such folder"),
        (["train", "--data.path={run}/../shops.csv", "--from_model={run}"], "forecasts 4 steps"),
        (
            ["train", "--data.path={run}/../other.csv", "--from_model={run}", "--head.prediction_length=4"],
            "steps of 1h",
        ),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(run, tmp_path, monkeypatch, capfd, call, message):
    monkeypatch.chdir(tmp_path)
    (run.parent / "other.csv").write_text("ds,x\n" + "".join(f"2024-01-{d:02},{d}\n" for d in range(1, 29)))
    before = sorted(p.name for p in run.iterdir())
    with pytest.raises(SystemExit) as stop:
        cli.main(["forecast", *(word.format(run=run) for word in call)])
    err = capfd.readouterr().err
    assert stop.value.code == 2 and message in err and len(err.splitlines()) == 1, err
    assert list(tmp_path.iterdir()) == [] and sorted(p.name for p in run.iterdir()) == before


def test_a_search_is_no_trained_model(run, tmp_path):
    pytest.importorskip("optuna", reason="needs Optuna")
    data = SeriesData(path=str(run.parent / "shops.csv"), target_columns=["sales"])
    forecast.tune(data, HEAD, BACKBONE, replace(FIT, max_steps=1), trials=1, run_dir=str(tmp_path / "study"))
    with pytest.raises(ValueError, match="holds no trained model but a search"):
        forecast.predict(str(tmp_path / "study"))
    with pytest.raises(ValueError, match=r"no saved forecaster|no model yet"):
        train(run.parent / "shops.csv", tmp_path / "x", from_model=str(tmp_path / "study"))
