"""Arguments of another kind than they should be: one line that says what they are."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from frames import QUICK, long_frame

from xlstm_apps import XLSTMForecaster
from xlstm_apps.estimators.forecaster_settings import sections_of
from xlstm_apps.estimators.give_back import kind_of
from xlstm_apps.estimators.trained import check_levels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prediction_length": 7.5}, "prediction_length is a whole number, not 7.5"),
        ({"prediction_length": "7"}, "prediction_length is a whole number, not '7'"),
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
    assert sections.head.prediction_length == 7


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
    assert kind_of(pd.Series(range(9), index=stamps), None, 1) == {"library": "pandas", "integer_ids": False}
    assert kind_of(as_polars.lazy(), None, 1)["library"] == "polars"
