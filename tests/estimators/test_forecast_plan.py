"""What a plan settles before training, and that what it trains is of use."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from frames import QUICK, long_frame, shop_frame

from xlstm_apps import XLSTMForecaster
from xlstm_apps.datasets import SeriesData, load_table, table_from_frame
from xlstm_apps.estimators.forecast_plan import plan_forecast
from xlstm_apps.estimators.forecast_scores import Evaluator
from xlstm_apps.forecasting import BACKBONE, PRESETS, ForecastConfig
from xlstm_apps.training import FitConfig

SMALL = replace(BACKBONE, embedding_dim=8, num_heads=2)


def plan_of(frame, head=None, fit=None, backbone=SMALL, val=0.2, test=0.2, **options):
    head = ForecastConfig(prediction_length=5, context_length=14) if head is None else head
    return plan_forecast(
        table_from_frame(frame, **options.pop("reading", {})),
        head=head,
        backbone=backbone,
        fit=fit or FitConfig(max_steps=2, batch_size=8),
        val_fraction=val,
        test_fraction=test,
        **options,
    )


@pytest.mark.parametrize("horizon", [96, 192, 336, 720])
def test_windows_of_the_usual_protocol(shared_data, horizon):
    """Every window of the published protocol, the last ones included (2880 - H + 1, and 8640 - L - H + 1 to train)."""
    rows = [8640, 2880, 2880]
    table = load_table(SeriesData(path=str(shared_data("timeseries/ETTh1.csv")), split_rows=rows))
    plan = plan_forecast(
        table,
        head=ForecastConfig(prediction_length=horizon, context_length=336),
        backbone=BACKBONE,
        fit=FitConfig(),
        val_fraction=0.2,
        test_fraction=0.2,
        split_rows=rows,
    )
    assert len(plan.train) == 8640 - 336 - horizon + 1
    assert len(plan.valid) == 2880 - horizon + 1
    evaluator = Evaluator(
        table, plan.scaler, plan.split, season=24, context_length=336, prediction_length=horizon, levels=[0.1, 0.5, 0.9]
    )
    assert len(evaluator.windows) == 2880 - horizon + 1
    np.testing.assert_allclose(plan.scaler.mean[0], table.values[:8640].mean(0), rtol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("frame", [long_frame(), shop_frame()], ids=["plain", "covariates"])
def test_every_preset_trains_two_steps_and_forecasts(name, frame, tmp_path):
    roles = {}
    if "price" in frame:
        roles = {
            "known_covariates": ["price"], "past_covariates": ["weather"], "static_covariates": ["region"],
            "target_columns": ["y"],
        }  # fmt: skip
    forecaster = XLSTMForecaster(
        5, model=name, context_length=14, max_steps=2, batch_size=8, calendar=bool(roles), **roles
    )
    forecaster.fit(frame)
    assert forecaster.model_.head.members == list(PRESETS[name].members)
    insample = forecaster.predict_insample()
    assert np.isfinite(insample[["0.1", "0.5", "0.9"]]).all(axis=None)
    forecaster.save(tmp_path / "m")
    again = XLSTMForecaster.load(tmp_path / "m").model_.state_dict()
    assert all(torch.equal(again[k].cpu(), x.cpu()) for k, x in forecaster.model_.state_dict().items())


def test_arguments_win_over_the_model_whatever_their_value():
    options = {**QUICK, "model": "xlstm-time", "embedding_dim": 64, "num_blocks": 1, "num_heads": 4, "max_steps": 1}
    forecaster = XLSTMForecaster(**options).fit(long_frame())
    backbone = forecaster.model_.backbone
    assert (backbone.embedding_dim, backbone.num_blocks, backbone.num_heads) == (64, 1, 4)
    assert backbone.conv1d_kernel_size == 4  # what was left open is the model's
    later = XLSTMForecaster(5, max_steps=1).fit(long_frame(), from_model=forecaster)
    assert later.model_.backbone == backbone
    with pytest.raises(ValueError, match=r"backbone.num_blocks 1, not 3"):
        XLSTMForecaster(5, max_steps=1, num_blocks=3).fit(long_frame(), from_model=forecaster)
    with pytest.raises(ValueError, match=r"backbone.embedding_dim 8, not 64"):
        XLSTMForecaster(5, max_steps=1, embedding_dim=64).fit(
            long_frame(), from_model=XLSTMForecaster(**QUICK).fit(long_frame())
        )


def test_weights_follow_from_the_seed_and_the_global_state_stays():
    plan, before = plan_of(long_frame()), torch.get_rng_state()
    first, same, other = plan.model(1).state_dict(), plan.model(1).state_dict(), plan.model(2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_another_model_on_the_same_windows():
    plan = plan_of(long_frame(), ForecastConfig(prediction_length=5, context_length=14, members=["patch"], dropout=0.4))
    model = plan.model(0, "itransformer")
    assert model.head.members == ["itransformer"] and model.head.dropout == PRESETS["itransformer"].dropout
    assert model.backbone == PRESETS["itransformer"].backbone
    result = plan.train_model(model, 0)
    assert result.steps == 2 and result.history[0]["learning_rate"] < PRESETS["itransformer"].learning_rate


def test_the_context_is_left_to_the_data():
    stamps = pd.date_range("2024-01-01", periods=900, freq="h")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"ds": stamps, "y": np.sin(np.arange(900) * 2 * np.pi / 24) + rng.normal(0, 0.2, 900)})
    plan = plan_of(frame, ForecastConfig(prediction_length=12))
    assert plan.season.steps == 24 and 25 <= plan.head.context_length <= 270
    assert plan.train.context_length == plan.valid.context_length == plan.head.context_length
    guess = plan_of(frame, ForecastConfig(prediction_length=12), val=0.0)
    assert guess.valid is None and guess.head.context_length == 48


def test_the_test_part_decides_nothing():
    frame = long_frame(200)
    changed = frame.copy()
    late = frame.groupby("unique_id").cumcount() >= 160
    changed.loc[late, "y"] = -1e4
    plans = [plan_of(f, ForecastConfig(prediction_length=5)) for f in (frame, changed)]
    assert plans[0].head == plans[1].head and plans[0].season == plans[1].season
    weights = []
    for plan in plans:
        model = plan.model(0)
        plan.train_model(model, 0)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


@pytest.mark.parametrize("rows", [7, 12, 20])
def test_very_short_series(rows):
    frame = pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=rows, freq="MS"), "y": np.arange(rows) * 1.0})
    forecaster = XLSTMForecaster(3, max_steps=2).fit(frame)
    assert np.isfinite(forecaster.predict()[["0.1", "0.5", "0.9"]]).all(axis=None)


@pytest.mark.slow
def test_a_random_walk_is_forecast_about_as_well_as_by_its_last_value():
    values = np.random.default_rng(5).normal(size=(1500, 2)).cumsum(0)
    stamps = np.datetime64("2020-01-01", "us") + np.arange(1500) * np.timedelta64(1, "D")
    frame = pl.DataFrame({"ds": stamps, "a": values[:, 0], "b": values[:, 1]})
    forecaster = XLSTMForecaster(7, max_steps=100, val_fraction=0.2)
    result = forecaster.cross_validation(frame, n_windows=30, step_size=7)
    both = result.join(
        frame.unpivot(index="ds", variable_name="unique_id", value_name="last").with_columns(cutoff="ds").drop("ds"),
        on=["unique_id", "cutoff"],
    )
    error, naive = [(both["y"] - both[name]).abs().mean() for name in ("0.5", "last")]
    assert len(both) == 2 * 30 * 7 and error < 1.05 * naive
