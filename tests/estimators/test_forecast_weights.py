"""Weighing a trained forecaster: what is looked at, and that units do not matter."""

import numpy as np
import polars as pl
import pytest
import torch

from xlstm_apps.datasets import table_from_frame
from xlstm_apps.estimators.forecast_plan import plan_forecast
from xlstm_apps.estimators.forecast_weights import weigh
from xlstm_apps.forecasting import BACKBONE, ForecastConfig
from xlstm_apps.forecasting.weights import Held, member_weights
from xlstm_apps.training import FitConfig

HORIZON, SEASON, ROWS = 5, 7, 150
MEMBERS = ["naive", "seasonal", "nlinear"]


def repeating(size: float) -> np.ndarray:
    noise = 0.1 * np.random.default_rng(0).normal(size=ROWS)
    return size * (np.tile([0, 3, 1, 5, 2, 4, 9], ROWS)[:ROWS] + noise)


def walk(size: float) -> np.ndarray:
    return size * np.random.default_rng(1).normal(size=ROWS).cumsum()


def plan_of(*series: np.ndarray, wide: bool = False):
    days = np.datetime64("2024-01-01", "us") + np.arange(ROWS) * np.timedelta64(1, "D")
    if wide:
        frame = pl.DataFrame({"ds": days, **{f"y{i}": y for i, y in enumerate(series)}})
    else:
        frame = pl.concat([pl.DataFrame({"unique_id": str(i), "ds": days, "y": y}) for i, y in enumerate(series)])
    return plan_forecast(
        table_from_frame(frame),
        head=ForecastConfig(prediction_length=HORIZON, context_length=2 * SEASON, season=SEASON, members=MEMBERS),
        backbone=BACKBONE,
        fit=FitConfig(max_steps=2, batch_size=8, accelerator="cpu"),
        val_fraction=0.2,
        test_fraction=0.2,
    )


def weighed(*series: np.ndarray, wide: bool = False) -> list[float]:
    plan = plan_of(*series, wide=wide)
    model = plan.model(0)
    weigh(model, plan.valid, plan.split)
    return model.weights.tolist()


def test_training_ends_with_the_weights_of_the_validation_part():
    plan = plan_of(walk(1.0))
    model = plan.model(0)
    plan.train_model(model, 0)
    batch = plan.valid.__getitems__(range(len(plan.valid)))
    with torch.no_grad():
        medians = torch.stack([y[..., model.median] for y in model.eval().forward_members(batch)])
    block = (batch["cutoff"] - plan.split[0][0]) // HORIZON
    held = Held(medians, batch["target"], batch["target_mask"], block)
    assert block.unique().tolist() == list(range(6))
    torch.testing.assert_close(model.weights, member_weights(held, MEMBERS, 30 / HORIZON))
    assert model.weights.max() < 0.9  # of a walk, nobody knows


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_stays(training):
    plan = plan_of(repeating(1.0))
    model = plan.model(0).train(training)
    weigh(model, plan.valid, plan.split)
    assert model.training == training and model.weights[1] > 0.9  # the last season again


@pytest.mark.parametrize("wide", [False, True])
def test_series_and_columns_count_alike_whatever_their_units(wide):
    first, second = (weighed(repeating(a), walk(b), wide=wide) for a, b in [(1000.0, 1.0), (1.0, 1000.0)])
    assert first == pytest.approx(second, rel=1e-3)
