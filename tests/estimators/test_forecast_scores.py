"""All models on the same windows, with their intervals as given and as calibrated."""

import numpy as np
import pytest
from toy_forecaster import CONTEXT, HORIZON, LastValue, made, walks

from xlstm_apps.estimators.forecast_scores import Evaluator


def evaluator(lengths=(600,), **options) -> Evaluator:
    table, scaler, split = made(walks(lengths, channels=2), val=0.2)
    settings = {"season": 7, "context_length": CONTEXT, "prediction_length": HORIZON, "levels": [0.1, 0.5, 0.9]}
    return Evaluator(table, scaler, split, **{**settings, **options})


def test_calibrated_and_own_intervals_stand_side_by_side():
    found = evaluator().run({"xlstm": LastValue(0.02), "other": LastValue(0.5)})
    rows = {row["model"]: row for row in found.comparison()}
    assert list(rows) == ["xlstm", "seasonal_naive", "other", "naive"]
    ours = rows["xlstm"]
    assert ours["coverage_80"] == pytest.approx(0.8, abs=0.05) and ours["coverage_80_raw"] < 0.5
    assert ours["coverage"] == ours["coverage_80"] and ours["coverage_95"] == pytest.approx(0.95, abs=0.03)
    assert np.isnan(ours["coverage_95_raw"]) and rows["naive"]["coverage_80_raw"] is None
    assert ours["mae"] == pytest.approx(rows["naive"]["mae"], rel=1e-5)  # it is the naive forecast
    assert ours["mse"] == pytest.approx(ours["rmse"] ** 2)
    quantiles = found.calibration_rows()
    assert [row["quantile"] for row in quantiles] == [0.1, 0.5, 0.9]
    assert quantiles[0]["empirical_raw"] > quantiles[0]["empirical"]
    assert quantiles[1]["empirical_raw"] == quantiles[1]["empirical"]
    assert len(found.residuals) > 0 and set(found.calibrators) == {"xlstm", "other"}


def test_without_calibration_the_models_own_intervals_are_scored():
    found = evaluator(calibrate=False).run({"xlstm": LastValue(0.02)})
    row = found.comparison()[0]
    assert row["coverage_80"] < 0.5 and row["coverage_80_raw"] is None and found.raw == {}
    assert found.calibration_rows()[0]["empirical_raw"] is None


def test_scaled_units_are_deviations_of_the_training_part():
    data, scaled = (evaluator((300,), units=u) for u in ("data", "scaled"))
    one, two = (e.run({"xlstm": LastValue()}).by_series() for e in (data, scaled))
    std = data.scaler.std[0]
    for a, b in zip(one[:2], two[:2], strict=True):
        assert a["mae"] / b["mae"] == pytest.approx(std[int(a["unique_id"][-1])], rel=1e-4)
        assert a["mase"] == pytest.approx(b["mase"], rel=1e-4)


def test_owa_stands_beside_naive2():
    found = evaluator((300, 200), baselines=["naive2"], stride=9).run({"xlstm": LastValue()})
    rows = {row["model"]: row for row in found.comparison()}
    assert rows["naive2"]["owa"] == 1 and 0.5 < rows["xlstm"]["owa"] < 2
    assert np.isnan(rows["naive2"]["coverage_80"])


def test_too_many_fits_and_names_used_twice_are_refused():
    with pytest.raises(ValueError, match="larger head"):
        evaluator((6000,), baselines=["auto_ets"])
    with pytest.raises(ValueError, match="name"):
        evaluator((300,)).run({"xlstm": LastValue(), "naive": LastValue()})


def test_sample_has_calibrated_quantiles():
    scoring = evaluator()
    model = LastValue(0.02)
    calibrator = scoring.run({"xlstm": model}).calibrators["xlstm"]
    own, wider = scoring.sample(model), scoring.sample(model, calibrator)
    assert own.columns == wider.columns and "seasonal_naive" in own.columns
    assert ((wider["0.9"] - wider["0.1"]).drop_nulls() > (own["0.9"] - own["0.1"]).drop_nulls()).mean() > 0.9
