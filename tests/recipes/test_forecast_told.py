"""What the forecasting verbs say: every number of the comparison, what a model does not know, what was not written."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets import SeriesData
from xlstm_apps.datasets.config import TableToForecast
from xlstm_apps.forecasting import ForecastConfig
from xlstm_apps.recipes import _forecast_tune, forecast
from xlstm_apps.recipes._forecast_comparison import show_comparison
from xlstm_apps.recipes.config import SearchConfig
from xlstm_apps.training import FitConfig

ROWS = [
    {"model": name, "mae": mae, "rmse": mae * 1.3, "mase": 0.7123, "smape": 14.2, "wql": 0.07814, "owa": 0.71}
    | {"coverage_80": 0.801, "coverage_95": 0.949}
    for name, mae in (("xlstm", 37685.0), ("seasonal_naive", 51146.0), ("naive", 137988.0))
]


@pytest.mark.parametrize("width", [50, 80, 120])
def test_no_number_of_the_comparison_is_cut(width):
    evaluation = SimpleNamespace(windows=4952, season=7, comparison=lambda: ROWS)
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_comparison(evaluation, 7, console)
    text = console.export_text()
    console.file.close()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    assert "37,685" in text and "137,988" in text and "-26.3%" in text and "80.1%" in text
    assert ("48,990" in text) == (width == 120)  # RMSE goes first where there is no room


def write(path, region="north", names=("a", "b"), empty=""):
    rows, frames = 90, []
    for i, name in enumerate(names):
        y = np.sin(np.arange(rows) * 2 * np.pi / 7) + 10 * i
        y = pl.Series("y", np.full(rows, np.nan) if name == empty else y).fill_nan(None)
        ds = np.datetime64("2024-01-01") + np.arange(rows)
        columns = {"unique_id": [name] * rows, "ds": ds, "y": y, "region": [region] * rows}
        frames.append(pl.DataFrame(columns | {"promo": np.arange(rows) % 5}))
    pl.concat(frames).write_csv(path)
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    forecast.train(
        SeriesData(path=write(folder / "t.csv", names=("b", "a")), static_covariates=["region"]),
        head=ForecastConfig(
            prediction_length=4, context_length=14, model="nlinear", quantiles=[0.001, 0.1, 0.5, 0.9, 0.999]
        ),
        fit=FitConfig(max_steps=2),
        run_dir=str(folder / "run"),
    )
    return folder / "run"


def test_a_baseline_as_the_model_is_called_what_it_is(run):
    models = pl.read_csv(run / "evaluation" / "comparison.csv")["model"].to_list()
    assert models == ["nlinear", "seasonal_naive", "naive"]
    assert "NLinear model" in (run / "model" / "README.md").read_text()
    page = (run / "report.html").read_text()
    assert "NLinear, median" in page and "xLSTM, median" not in page
    drawn = pl.read_csv(run / "evaluation" / "forecasts.csv")["unique_id"].unique(maintain_order=True)
    assert drawn.to_list() == ["b", "a"]  # as in the table


def test_levels_that_the_held_out_errors_do_not_support_are_told(run, tmp_path, capsys):
    beyond = "held-out errors of each step support intervals up to 9"
    assert beyond in (run / "report.html").read_text() and beyond in (run / "run.json").read_text()
    forecast.predict(str(run), level=[80, 99.99], output=str(tmp_path / "next.csv"))
    said = " ".join(capsys.readouterr().err.split())
    assert said.count(beyond) == 1 and "; 99.99 % rests on assumed heavy tails" in said
    forecast.backtest(str(run), n_windows=2, level=[99.5], output=str(tmp_path / "back.csv"))
    assert beyond in " ".join(capsys.readouterr().err.split())
    forecast.predict(str(run), level=[80, 95], output=str(tmp_path / "next.csv"))
    assert beyond not in " ".join(capsys.readouterr().err.split())


def test_values_that_training_did_not_see_are_told(run, tmp_path, capsys):
    table = write(tmp_path / "east.csv", "east", empty="b")
    forecast.predict(str(run), data=TableToForecast(path=table), output=str(tmp_path / "next.csv"))
    said = " ".join(capsys.readouterr().err.split())
    assert "'region' holds 'east', not seen in training" in said and "1 of 2 series have no observed value" in said
    made = pl.read_csv(tmp_path / "next.csv")
    nothing = made.filter(pl.col("unique_id") == "b")
    assert len(nothing) == 4 and nothing["0.5"].null_count() == 4 and made["0.5"].null_count() == 4
    forecast.predict(str(run), output=str(tmp_path / "own.csv"))
    assert "not seen" not in capsys.readouterr().err


def test_a_later_table_may_be_written_in_another_way(run, tmp_path):
    text = pl.read_csv(write(tmp_path / "t.csv"), infer_schema=False)
    forecast.predict(str(run), TableToForecast(path=str(tmp_path / "t.csv")), str(tmp_path / "expected.csv"))
    expected = (tmp_path / "expected.csv").read_text()

    def forecast_of(frame, **options):
        frame.write_csv(tmp_path / "later.csv", separator=options.get("separator", ","))
        data = TableToForecast(path=str(tmp_path / "later.csv"), **options)
        forecast.predict(str(run), data, str(tmp_path / "next.csv"))
        return (tmp_path / "next.csv").read_text()

    commas = text.with_columns(
        pl.col("y").str.replace(r"\.", ","), ds=pl.col("ds").str.replace(r"(\d+)-(\d+)-(\d+)", "$3/$2/$1")
    )
    options = {"separator": ";", "decimal": ",", "time_format": "day/month/year"}
    assert forecast_of(commas, **options) == expected
    with pytest.raises(ValueError):
        forecast_of(commas, **options | {"decimal": "."})
    twice = pl.concat([text, text.tail(1).with_columns(y=pl.lit("7"))])
    with pytest.raises(ValueError, match=r"--data\.duplicates"):
        forecast_of(twice)
    assert forecast_of(twice, duplicates="first") == expected
    odd = text.with_columns(y=pl.when(pl.int_range(pl.len()) == 88).then(pl.lit("-999")).otherwise("y"))
    gone = text.with_columns(y=pl.when(pl.int_range(pl.len()) == 88).then(None).otherwise("y"))
    assert forecast_of(odd) != forecast_of(odd, missing_values=[-999]) == forecast_of(gone)


def test_one_row_is_forecast_in_the_steps_of_the_model(run, tmp_path):
    row = pl.read_csv(write(tmp_path / "t.csv")).tail(1)
    row.write_csv(tmp_path / "row.csv")
    forecast.predict(str(run), TableToForecast(path=str(tmp_path / "row.csv")), str(tmp_path / "next.csv"))
    made = pl.read_csv(tmp_path / "next.csv", try_parse_dates=True)
    assert (
        made["ds"].diff().drop_nulls().unique().item().days == 1
        and len(made) == 4
        and made.null_count().sum_horizontal().item() == 0
    )


def test_predictions_that_cannot_be_made_are_not_listed(tmp_path, capsys):
    forecast.train(
        SeriesData(path=write(tmp_path / "t.csv"), known_covariates=["promo"]),
        head=ForecastConfig(prediction_length=4, context_length=14, model="nlinear"),
        fit=FitConfig(max_steps=1),
        run_dir=str(tmp_path / "run"),
    )
    heard = capsys.readouterr()
    assert "no predictions.csv" in heard.err and "predictions.csv" not in heard.out


def test_a_search_varies_what_the_model_has(tmp_path):
    pytest.importorskip("optuna", reason="the search needs optuna")
    data, network = SeriesData(path=write(tmp_path / "t.csv")), {"embedding_dim", "dropout"}
    for model, wanted in (("nlinear", set()), ("p-slstm", network)):
        head = ForecastConfig(prediction_length=4, context_length=14, model=model)
        made = _forecast_tune.prepare(data, head, xLSTMConfig(embedding_dim=32), FitConfig(), SearchConfig(), 0)
        assert made.space.keys() & network == wanted and "learning_rate" in made.space
