"""XLSTMForecaster on pandas and polars: silent, without files, the same answer for the same data."""

import datetime
import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from frames import QUICK
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from xlstm_apps import XLSTMForecaster


def values(rows: int, series: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.sin(np.arange(rows) * 2 * np.pi / 7)[:, None] * 3 + rng.normal(0, 0.3, (rows, series)) + np.arange(series)


def long_frame(rows: int = 120, names: tuple[str, str, str] = ("unique_id", "ds", "y")) -> pd.DataFrame:
    stamps, y = pd.date_range("2024-01-01", periods=rows, freq="D"), values(rows, 3)
    parts = [pd.DataFrame({names[0]: f"s{i}", names[1]: stamps, names[2]: y[:, i]}) for i in range(3)]
    return pd.concat(parts, ignore_index=True)


def wide_frame(rows: int = 120) -> pd.DataFrame:
    y = values(rows, 2)
    return pd.DataFrame({"date": pd.date_range("2024-01-01", periods=rows, freq="D"), "a": y[:, 0], "b": y[:, 1]})


def polars_of(df: pd.DataFrame) -> pl.DataFrame:
    return pl.DataFrame({name: df[name].to_list() for name in df.columns})


@pytest.fixture(scope="module")
def fitted():
    return XLSTMForecaster(**QUICK).fit(long_frame())


def test_single_rows_are_forecast_in_the_steps_of_the_training(fitted):
    last = long_frame().groupby("unique_id").tail(1)
    stamps = fitted.predict(last)["ds"]
    assert stamps.tolist() == fitted.predict()["ds"].tolist()


def test_long_pandas_in_pandas_out(fitted):
    forecast = fitted.predict()
    assert list(forecast.columns) == ["unique_id", "ds", "0.1", "0.5", "0.9"]
    assert forecast["unique_id"].tolist() == ["s0"] * 5 + ["s1"] * 5 + ["s2"] * 5
    assert forecast["ds"].tolist()[:5] == pd.date_range("2024-04-30", periods=5, freq="D").tolist()
    assert (forecast["0.1"] < forecast["0.5"]).all() and (forecast["0.5"] < forecast["0.9"]).all()
    assert len(fitted.history_) == 1 and fitted.best_epoch_ == 1


def test_polars_in_polars_out_with_the_same_numbers(fitted):
    forecast = XLSTMForecaster(**QUICK).fit(polars_of(long_frame())).predict()
    assert isinstance(forecast, pl.DataFrame) and forecast["ds"][0] == datetime.datetime(2024, 4, 30)
    expected = fitted.predict()
    for name in ("0.1", "0.5", "0.9"):
        assert forecast[name].to_list() == expected[name].tolist()


@pytest.mark.parametrize("names", [("item_id", "timestamp", "target"), ("shop", "day", "sales")])
def test_other_column_names(fitted, names):
    columns = {} if names[0] == "item_id" else {"id_column": "shop", "time_column": "day", "target_columns": ["sales"]}
    forecast = XLSTMForecaster(**QUICK, **columns).fit(long_frame(names=names)).predict()
    pd.testing.assert_frame_equal(forecast, fitted.predict())


def test_wide_frames_are_named_by_column():
    forecast = XLSTMForecaster(**QUICK).fit(wide_frame()).predict()
    assert forecast["unique_id"].unique().tolist() == ["a", "b"] and len(forecast) == 10


def test_integer_ids_stay_integers():
    frame = long_frame()
    frame["unique_id"] = frame["unique_id"].str[1:].astype(int)
    forecast = XLSTMForecaster(**QUICK).fit(frame).predict()
    assert forecast["unique_id"].dtype == "int64" and forecast["unique_id"].unique().tolist() == [0, 1, 2]


def test_time_zones_come_back():
    frame = wide_frame()
    frame["date"] = pd.date_range("2024-01-01", periods=120, freq="h", tz="Europe/Berlin")
    forecast = XLSTMForecaster(**QUICK).fit(frame).predict()
    assert str(forecast["ds"].dt.tz) == "Europe/Berlin"
    assert forecast["ds"][0] == frame["date"].iloc[-1] + pd.Timedelta("1h")


def test_the_frame_is_not_changed():
    for frame in (long_frame(), polars_of(long_frame())):
        before = frame.copy() if isinstance(frame, pd.DataFrame) else frame.clone()
        XLSTMForecaster(**QUICK).fit(frame).predict(frame)
        assert before.equals(frame)


def test_silent_and_without_files(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    with caplog.at_level(logging.INFO, logger="lightning"):
        XLSTMForecaster(**QUICK).fit(long_frame()).predict()
    XLSTMForecaster(**QUICK).cross_validation(long_frame())
    assert capfd.readouterr() == ("", "") and list(tmp_path.iterdir()) == []
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == np.random.get_state()[1].tolist()


def test_progress_on_request(capfd):
    XLSTMForecaster(**QUICK, progress=True).fit(long_frame())
    out, err = capfd.readouterr()
    assert out == "" and "step 4/4" in err


def test_predict_other_series_and_missing_values(fitted):
    frame = long_frame(rows=40).replace("s1", "new").query("unique_id != 's2'")
    frame.loc[frame.index[::3], "y"] = np.nan
    forecast = fitted.predict(frame)
    assert forecast["unique_id"].unique().tolist() == ["new", "s0"] or forecast["unique_id"].nunique() == 2
    assert np.isfinite(forecast[["0.1", "0.5", "0.9"]]).all(axis=None)
    assert len(fitted.predict(frame.groupby("unique_id").tail(3))) == 10  # three rows of history each
    with pytest.raises(ValueError, match="1h apart, but the model was trained on steps of 1d"):
        fitted.predict(frame.assign(ds=pd.date_range("2024-01-01", periods=len(frame), freq="h"), unique_id="x"))


def test_a_forecast_does_not_depend_on_the_other_series(fitted):
    alone = fitted.predict(long_frame().query("unique_id == 's1'"))
    beside = fitted.predict().query("unique_id == 's1'").reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, beside, rtol=1e-4)


def test_cross_validation_rolls_and_never_looks_ahead():
    frame = long_frame()
    forecaster = XLSTMForecaster(**QUICK)
    result = forecaster.cross_validation(frame, n_windows=3, step_size=4)
    assert list(result.columns) == ["unique_id", "ds", "cutoff", "y", "0.1", "0.5", "0.9"]
    assert len(result) == 3 * 3 * 5 and not hasattr(forecaster, "model_")
    cutoffs = sorted(result["cutoff"].unique())
    assert cutoffs == [pd.Timestamp(f"2024-04-{day}") for day in (16, 20, 24)]
    merged = result.merge(frame, on=["unique_id", "ds"], suffixes=("", "_given"))
    np.testing.assert_allclose(merged["y"], merged["y_given"], rtol=1e-6)
    changed = frame.copy()
    changed.loc[changed["ds"] > cutoffs[0], "y"] *= -20
    again = forecaster.cross_validation(changed, n_windows=3, step_size=4)
    first = result["cutoff"] == cutoffs[0]
    quantiles = ["0.1", "0.5", "0.9"]
    pd.testing.assert_frame_equal(result.loc[first, quantiles], again.loc[first, quantiles])
    assert not np.allclose(result.loc[~first, quantiles], again.loc[~first, quantiles])
    with pytest.raises(ValueError, match="no series is long enough for 40 windows"):
        forecaster.cross_validation(frame, n_windows=40)


def test_saved_and_loaded_it_forecasts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = XLSTMForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(), fitted.predict())
    pd.testing.assert_frame_equal(again.predict(long_frame(60)), fitted.predict(long_frame(60)))
    assert again.get_params() == fitted.get_params()
    assert not list((tmp_path / "model").glob("*.p*"))  # nothing pickled
    with pytest.raises(ValueError, match="no saved forecaster"):
        XLSTMForecaster.load(tmp_path)


def test_scikit_learn_conventions():
    forecaster = XLSTMForecaster(prediction_length=3, quantiles=[0.2, 0.5])
    twin = clone(forecaster).set_params(seed=4)
    assert twin.get_params()["quantiles"] == [0.2, 0.5] and twin.seed == 4 and forecaster.seed == 0
    assert "prediction_length=3" in repr(forecaster)
    for call in (forecaster.predict, lambda: forecaster.save("x")):
        with pytest.raises(NotFittedError, match="call fit"):
            call()


@pytest.mark.parametrize(
    ("options", "frame", "message"),
    [
        ({"prediction_length": 200}, long_frame(), "prediction_length"),
        ({"quantiles": [0.0]}, long_frame(), "quantiles"),
        ({"num_heads": 3}, long_frame(), "heads"),
        ({}, long_frame().drop(columns="ds"), "time"),
        ({}, [1, 2, 3], "frame"),
    ],
)
def test_mistakes_are_value_errors_with_advice(options, frame, message):
    with pytest.raises(ValueError, match=message):
        XLSTMForecaster(**{**QUICK, **options}).fit(frame)
