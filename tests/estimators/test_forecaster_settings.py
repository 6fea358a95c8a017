"""Arguments of another kind than they should be: one line that says what they are."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from frames import QUICK, long_frame

from xlstm_apps import XLSTMForecaster
from xlstm_apps.datasets import table_from_frame
from xlstm_apps.estimators.forecaster_settings import sections_of
from xlstm_apps.estimators.give_back import give_back, kind_of
from xlstm_apps.estimators.trained import check_levels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prediction_length": 7.5}, "prediction_length is a whole number, not 7.5"),
        ({"prediction_length": "7"}, "prediction_length is a whole number, not '7'"),
        ({"minimum": "0"}, "minimum is a number, auto or null, not '0'"),
        ({"minimum": [0]}, r"minimum is a number, auto or null, not \[0\]"),
        ({"seed": "x"}, "seed is a whole number, not 'x'"),
        ({"quantiles": 0.5}, r"quantiles is a list, such as \[0.5\], not 0.5"),
        ({"target_columns": "temp"}, r"target_columns is a list, such as \['temp'\], not 'temp'"),
        ({"static_covariates": "region"}, r"static_covariates is a list, such as \['region'\]"),
    ],
)
def test_kinds_of_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        XLSTMForecaster(**{**QUICK, **arguments}).fit(long_frame())


def test_numbers_of_numpy_are_numbers():
    sections = sections_of(XLSTMForecaster(np.int64(7), np.array([0.1, 0.9])))
    assert sections.head.prediction_length == 7 and type(sections.head.prediction_length) is int


@pytest.mark.parametrize(
    ("quantiles", "level", "message"), [(None, 80, "level is a list"), (0.5, None, "quantiles is a list")]
)
def test_levels_are_lists(quantiles, level, message):
    with pytest.raises(ValueError, match=message):
        check_levels(quantiles, level)


def test_whole_ids_come_back_whole_from_every_kind_of_frame():
    stamps = pd.date_range("2024-01-01", periods=9)
    frame = pd.DataFrame({"unique_id": 3, "ds": stamps, "y": range(9)})
    as_polars = pl.DataFrame({name: frame[name].to_list() for name in frame.columns})
    for df in (frame, frame.set_index(["unique_id", "ds"]), as_polars, as_polars.lazy()):
        assert kind_of(df, None, 1)["integer_ids"] and not kind_of(df, None, 2)["integer_ids"]
    assert kind_of(pd.Series(range(9), index=stamps), None, 1) == {
        "library": "pandas",
        "integer_ids": False,
        "offset": None,
    }
    assert kind_of(as_polars.lazy(), None, 1)["library"] == "polars"


def test_arguments_come_back_as_they_were(tmp_path):
    forecaster = XLSTMForecaster(**{**QUICK, "prediction_length": np.int64(5)}, quantiles=np.array([0.1, 0.5]))
    forecaster.set_params(seed=np.int64(3), past_covariates=(), missing_values=[-9.0]).fit(long_frame(40, 1)).save(
        tmp_path / "saved"
    )
    again = XLSTMForecaster.load(tmp_path / "saved")
    assert again.prediction_length == 5 and again.quantiles == [0.1, 0.5]
    assert again.past_covariates == () and again.missing_values == [-9.0]
    assert len(again.predict()) == 5


def test_how_a_frame_is_read_is_an_argument():
    frame = long_frame(60, 1)
    frame.loc[3, "y"] = -9999
    twice = pd.concat([frame, frame.tail(1)])
    with pytest.raises(ValueError, match=r"choose duplicates='mean' \(or first, last\)"):
        XLSTMForecaster(**QUICK).fit(twice)
    forecaster = XLSTMForecaster(**QUICK, duplicates="last", missing_values=[-9999]).fit(twice)
    assert forecaster.predict(twice)["0.5"].between(-20, 20).all()
    with pytest.raises(ValueError, match="duplicates is one of error, first, last, mean, not 'sum'"):
        XLSTMForecaster(**QUICK, duplicates="sum").fit(frame)


def test_messages_name_no_option_of_the_command_line():
    frame = long_frame(60, 1)
    for arguments, df in (
        ({"prediction_length": 70}, frame),
        ({"val_fraction": 1.5}, frame),
        ({"val_fraction": 0.95}, frame),
        ({}, frame.assign(y=["998", "1.002"] * 30)),
        ({"resample": "mean"}, frame),
    ):
        with pytest.raises(ValueError) as caught:
            XLSTMForecaster(**{**QUICK, **arguments}).fit(df)
        assert "--" not in str(caught.value)


def test_stamps_at_a_fixed_offset_come_back_at_it():
    for offset, hours in (("+02:00", 2), ("+05:30", 5.5), ("-03:30", -3.5)):
        stamps = pd.date_range("2024-01-01", periods=40, freq="D", tz=offset)
        frame = pd.DataFrame({"ds": stamps, "y": np.arange(40.0)})
        given = give_back([table_from_frame(frame).to_frame()], kind_of(frame, None, 1))["ds"]
        assert given.tolist() == stamps.tolist() and given[0].utcoffset() == pd.Timedelta(hours=hours)
        if hours > 0:  # days are those of the user's clock
            week = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=40, freq="B", tz=offset), "y": range(40)})
            assert table_from_frame(week).freq == "1b"
        there = table_from_frame(frame, time_zone="Europe/Berlin", freq="24h")
        assert str(give_back([there.to_frame()], kind_of(frame, None, 1))["ds"].dt.tz) == "Europe/Berlin"


def test_a_later_table_is_read_as_the_training_told():
    def table(first: str, rows: int, cell) -> pd.DataFrame:
        stamps = pd.date_range(first, periods=rows, freq="D").strftime("%d/%m/%Y")
        return pd.DataFrame({"ds": stamps, "y": [cell(i) for i in range(rows)], "price": "1.000,5"})

    frame = table("2024-01-01", 60, lambda i: f"1.{200 + i},5")
    forecaster = XLSTMForecaster(**QUICK, known_covariates=["price"]).fit(frame)
    ahead = table("2024-03-01", 5, lambda i: "1.260").assign(price="1.000")  # neither day nor decimal mark would tell
    assert forecaster.predict(future_df=ahead)["0.5"].between(1000, 1500).all()
    later = forecaster.predict(table("2024-03-01", 7, lambda i: f"1.{260 + i}"), table("2024-03-08", 5, lambda i: "2"))
    assert later["ds"].tolist() == pd.date_range("2024-03-08", periods=5).tolist()
    assert later["0.5"].between(1000, 1500).all()


def test_a_calendar_keeps_the_clock_it_was_learned_by():
    stamps = pd.date_range("2024-03-28", periods=120, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({"ds": stamps, "y": np.sin(np.arange(120) * 2 * np.pi / 24)})
    learned = XLSTMForecaster(**QUICK, calendar=True).fit(frame)
    elsewhere = learned.predict(frame.assign(ds=stamps.tz_convert("America/New_York")))
    assert elsewhere.equals(learned.predict())
    as_it_comes = XLSTMForecaster(**QUICK).fit(frame).predict(frame.assign(ds=stamps.tz_convert("UTC")))
    assert str(as_it_comes["ds"].dt.tz) == "UTC"
