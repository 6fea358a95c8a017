"""Going on from a trained model: what is kept, what is learned anew, and what does not fit."""

import numpy as np
import pandas as pd
import pytest
import torch
from frames import QUICK, future_of, long_frame, shop_frame

from xlstm_apps import XLSTMForecaster


@pytest.fixture(scope="module")
def first():
    return XLSTMForecaster(**QUICK, quantiles=[0.2, 0.5]).fit(long_frame())


def test_it_begins_with_the_weights(first):
    gentle = XLSTMForecaster(prediction_length=5, max_steps=1, learning_rate=1e-12).fit(
        long_frame(seed=3), from_model=first
    )
    assert gentle.model_.head.context_length == 14 and gentle.model_.backbone.embedding_dim == 8
    theirs = first.model_.state_dict()
    for name, value in gentle.model_.state_dict().items():
        if name == "weights":
            continue  # of the members in the mean: they follow from the new frame's validation part
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-8)
    assert list(gentle.predict().columns) == ["unique_id", "ds", "0.2", "0.5"]


def test_training_goes_on_and_the_first_model_stays(first):
    before = {name: value.clone() for name, value in first.model_.state_dict().items()}
    later = XLSTMForecaster(**QUICK).fit(long_frame(seed=3), from_model=first)
    assert any(not torch.equal(value, before[name]) for name, value in later.model_.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in first.model_.state_dict().items())


def test_targets_are_scaled_by_the_new_frame(first):
    frame = long_frame(seed=3)
    frame["y"] = 1000 * frame["y"] + 50_000
    forecast = XLSTMForecaster(**QUICK).fit(frame, from_model=first).predict()
    assert forecast["0.5"].between(40_000, 60_000).all()


def test_from_a_saved_folder(first, tmp_path):
    first.save(tmp_path / "model")
    frame = long_frame(seed=3)
    a, b = (XLSTMForecaster(**QUICK).fit(frame, from_model=start).predict() for start in (first, tmp_path / "model"))
    pd.testing.assert_frame_equal(a, b)


def test_covariates_keep_their_codes():
    options = {**QUICK, "known_covariates": ["price"], "static_covariates": ["region"]}
    start = XLSTMForecaster(**options).fit(shop_frame())
    frame = shop_frame()
    frame["region"] = frame["region"].replace({"north": "east"})  # training knows north and south alone
    later = XLSTMForecaster(**options).fit(frame, from_model=start)
    assert np.isfinite(later.predict(future_df=future_of(frame, 5))["0.5"]).all()
    with pytest.raises(ValueError, match="covariates"):
        XLSTMForecaster(**QUICK).fit(long_frame(), from_model=start)


@pytest.mark.parametrize(
    ("options", "frame", "message"),
    [
        ({"prediction_length": 7}, long_frame(), "forecasts 5 steps, and prediction_length is 7"),
        ({"context_length": 20}, long_frame(), "head.context_length 14, not 20"),
        ({"quantiles": [0.3]}, long_frame(), "head.quantiles"),
        ({"embedding_dim": 16}, long_frame(), "backbone.embedding_dim 8, not 16"),
        ({"model": "nlinear"}, long_frame(), "head.model xlstm-ens, not nlinear"),
        ({}, long_frame().assign(ds=pd.date_range("2024-01-01", periods=360, freq="h"), unique_id="x"), "steps of 1d"),
        ({"known_covariates": ["price"]}, shop_frame()[["unique_id", "ds", "y", "price"]], "knows no covariates"),
    ],
)
def test_what_does_not_fit_is_one_line(first, options, frame, message):
    with pytest.raises(ValueError, match=message) as error:
        XLSTMForecaster(**{**QUICK, **options}).fit(frame, from_model=first)
    assert "\n" not in str(error.value)


def test_no_such_folder(tmp_path):
    for path, message in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "no saved forecaster")):
        with pytest.raises(ValueError, match=message):
            XLSTMForecaster(**QUICK).fit(long_frame(), from_model=path)
