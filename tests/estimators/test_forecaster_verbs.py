"""What a fitted XLSTMForecaster can be asked: levels, sample paths, refits, in-sample forecasts, explanations."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from frames import QUICK, future_of, long_frame, shop_frame
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from xlstm_apps import XLSTMForecaster

SHOP = {"known_covariates": ["price"], "past_covariates": ["weather"], "static_covariates": ["region"]}


@pytest.fixture(scope="module")
def fitted():
    return XLSTMForecaster(**QUICK).fit(long_frame())


@pytest.fixture(scope="module")
def shop():
    return XLSTMForecaster(**QUICK, **SHOP).fit(shop_frame())


def test_intervals_by_level_and_by_quantile_are_the_same(fitted):
    by_level = fitted.predict(level=[80, 95])
    assert list(by_level.columns) == [
        "unique_id", "ds", "xLSTM", "xLSTM-lo-95", "xLSTM-lo-80", "xLSTM-hi-80", "xLSTM-hi-95"
    ]  # fmt: skip
    by_quantile = fitted.predict(quantiles=[0.025, 0.1, 0.5, 0.9, 0.975])
    assert list(by_quantile.columns) == ["unique_id", "ds", "0.025", "0.1", "0.5", "0.9", "0.975"]
    np.testing.assert_array_equal(by_level["xLSTM-lo-95"], by_quantile["0.025"])
    np.testing.assert_array_equal(by_level["xLSTM"], by_quantile["0.5"])
    values = by_quantile.iloc[:, 2:].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()


def test_without_calibration_only_the_trained_quantiles_are_there():
    forecaster = XLSTMForecaster(**QUICK, conformal=False).fit(long_frame())
    assert list(forecaster.predict(quantiles=[0.1, 0.9]).columns) == ["unique_id", "ds", "0.1", "0.9"]
    with pytest.raises(ValueError, match=r"knows the quantiles \[0.1, 0.5, 0.9\]"):
        forecaster.predict(level=[95])
    with pytest.raises(ValueError, match="validation part"):
        forecaster.sample(3)


def test_sample_paths(fitted):
    paths = fitted.sample(20)
    assert list(paths.columns) == ["unique_id", "ds", "sample", "y_hat"] and len(paths) == 20 * 3 * 5
    assert sorted(paths["sample"].unique()) == list(range(20))
    pd.testing.assert_frame_equal(paths, fitted.sample(20))
    assert not np.allclose(paths["y_hat"], fitted.sample(20, seed=7)["y_hat"])
    with pytest.raises(ValueError, match="at least 1"):
        fitted.sample(0)


def test_refitting_trains_on_what_each_cutoff_knows():
    frame, forecaster = long_frame(), XLSTMForecaster(**QUICK)
    once = forecaster.cross_validation(frame, n_windows=3)
    anew = forecaster.cross_validation(frame, n_windows=3, refit=True)
    assert list(anew.columns) == list(once.columns) and anew[["unique_id", "ds"]].equals(once[["unique_id", "ds"]])
    cutoffs = sorted(anew["cutoff"].unique())
    first = anew["cutoff"] == cutoffs[0]
    pd.testing.assert_frame_equal(once[first], anew[first])  # the same training
    assert not np.allclose(once.loc[~first, "0.5"], anew.loc[~first, "0.5"])
    # The forecasts from the last cutoff are those of a forecaster fitted on what came before it.
    known = frame[frame["ds"] <= cutoffs[-1]]
    alone = XLSTMForecaster(**QUICK).fit(known).predict()
    last = anew[anew["cutoff"] == cutoffs[-1]].reset_index(drop=True)
    np.testing.assert_allclose(last["0.5"], alone["0.5"], rtol=1e-5)
    changed = frame.copy()
    changed.loc[changed["ds"] > cutoffs[1], "y"] *= -9
    again = forecaster.cross_validation(changed, n_windows=3, refit=True)
    early = anew["cutoff"] <= cutoffs[1]
    quantiles = ["0.1", "0.5", "0.9"]
    pd.testing.assert_frame_equal(anew.loc[early, quantiles], again.loc[early, quantiles])


def test_refitting_every_other_cutoff_and_with_levels():
    forecaster = XLSTMForecaster(**QUICK)
    result = forecaster.cross_validation(long_frame(), n_windows=3, step_size=2, refit=2, level=[80])
    assert list(result.columns) == ["unique_id", "ds", "cutoff", "xLSTM", "xLSTM-lo-80", "xLSTM-hi-80", "y"]
    assert len(result) == 3 * 3 * 5
    with pytest.raises(ValueError, match="refit"):
        forecaster.cross_validation(long_frame(), refit=-1)


def test_insample_reaches_over_the_whole_frame(fitted):
    result = fitted.predict_insample(step_size=10)
    per_series = result.groupby("unique_id")["cutoff"].unique()
    assert all(pd.Timestamp("2024-04-24") == max(cutoffs) and len(cutoffs) == 12 for cutoffs in per_series)
    assert list(result.columns) == ["unique_id", "ds", "cutoff", "y", "0.1", "0.5", "0.9"]
    merged = result.merge(long_frame(), on=["unique_id", "ds"], suffixes=("", "_given"))
    np.testing.assert_allclose(merged["y"], merged["y_given"], rtol=1e-5)
    with pytest.raises(ValueError, match="step_size"):
        fitted.predict_insample(step_size=0)


def test_explain_gives_frames_and_a_page(fitted, tmp_path):
    found = fitted.explain(windows=6)
    assert found.windows == 6 and found.segments["to_step"].max() == 14
    assert found.variates["source"].to_list() == ["y"] and found.variates["change"][0] > 0
    assert found.to_html(tmp_path / "why.html").stat().st_size > 10_000
    assert fitted.explain(long_frame(rows=60), windows=2).windows == 2


def test_known_covariates_move_the_forecast(shop):
    frame = shop_frame()
    with pytest.raises(ValueError, match=r"'price'.*missing at 2024-04-30"):
        shop.predict()
    cheap, dear = (shop.predict(future_df=future_of(frame, 5, price)) for price in (-1.0, 1.0))
    assert list(cheap.columns) == ["unique_id", "ds", "0.1", "0.5", "0.9"]
    assert not np.allclose(cheap["0.5"], dear["0.5"])
    assert shop.predict(frame, future_of(frame, 5, 1.0)).equals(dear)
    sources = set(shop.explain(windows=4).variates["source"])
    assert sources == {"y", "price", "weather", "region"}
    windows = shop.cross_validation(frame, n_windows=2)
    assert len(windows) == 2 * 3 * 5


def test_a_saved_one_keeps_covariates_levels_and_samples(shop, tmp_path):
    shop.save(tmp_path / "shop")
    again, future = XLSTMForecaster.load(tmp_path / "shop"), future_of(shop_frame(), 5, 0.5)
    pd.testing.assert_frame_equal(
        again.predict(future_df=future, level=[90]), shop.predict(future_df=future, level=[90])
    )
    frame = shop_frame(60)
    pd.testing.assert_frame_equal(again.predict(frame, future_of(frame, 5)), shop.predict(frame, future_of(frame, 5)))
    with pytest.raises(ValueError, match="predict_insample needs the frame given to fit"):
        again.predict_insample()
    with pytest.raises(ValueError, match="give one as df"):
        again.explain()
    assert again.explain(frame, windows=2).windows == 2


def test_saved_on_a_gpu_and_loaded_without_one(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "estimator.json").read_text())
    facts["arguments"]["accelerator"] = "cuda"
    (tmp_path / "model" / "estimator.json").write_text(json.dumps(facts))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    again = XLSTMForecaster.load(tmp_path / "model")
    assert again.accelerator == "auto"
    pd.testing.assert_frame_equal(again.predict(), fitted.predict())


def test_a_clone_is_unfitted_and_has_the_same_arguments(shop):
    twin = clone(shop)
    assert twin.get_params() == shop.get_params() and twin.get_params()["known_covariates"] == ["price"]
    for call in (
        twin.predict, twin.predict_insample, twin.explain, lambda: twin.sample(1), lambda: twin.save("x"),
        lambda: XLSTMForecaster(**QUICK).fit(long_frame(), from_model=twin),
    ):  # fmt: skip
        with pytest.raises(NotFittedError, match="call fit"):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": [0.8]}, r"in percent, .*not \[0.8\]"),
        ({"level": [100]}, "below 100"),
        ({"level": []}, "percent"),
        ({"level": [80], "quantiles": [0.1]}, "not both"),
        ({"quantiles": [10, 90]}, "between 0 and 1"),
        ({"quantiles": [0.0]}, "between 0 and 1"),
        ({"future_df": long_frame()}, "no known covariates"),
        ({"df": long_frame().rename(columns={"y": "sales"})}, "y"),
        (
            {"df": long_frame().assign(ds=pd.date_range("2024-01-01", periods=360, freq="h"), unique_id="x")},
            "steps of 1d",
        ),
    ],
)
def test_mistakes_in_asking_are_one_line(fitted, options, message):
    with pytest.raises(ValueError, match=message) as error:
        fitted.predict(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "lstm"}, "xlstm-ens"),
        ({"known_covariates": ["nosuch"]}, "nosuch"),
        ({"past_covariates": ["y"], "target_columns": ["y"]}, "one role"),
        ({"prediction_length": 150}, "longer than the data"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"accelerator": "tpu"}, "accelerator"),
        ({"val_fraction": 1.5}, "val_fraction"),
    ],
)
def test_mistakes_in_fitting_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        XLSTMForecaster(**{**QUICK, **options}).fit(long_frame())
    assert "\n" not in str(error.value)
