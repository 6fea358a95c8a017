"""Ridge regression solved before training: exact, from the training part alone, shared or by column."""

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import Ridge

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import Scaler, WindowDataset, split_points, table_from_frame
from xlstm_apps.estimators import forecast_ridge
from xlstm_apps.estimators.forecast_plan import plan_forecast
from xlstm_apps.estimators.forecast_ridge import Sums, solve_ridge
from xlstm_apps.forecasting import ForecastConfig
from xlstm_apps.training import FitConfig

CONTEXT, HORIZON = 12, 4


def table_of(values: np.ndarray):
    columns = {f"y{c}": y for c, y in enumerate(values.reshape(len(values), -1).T)}
    stamps = np.datetime64("2024-01-01T00", "us") + np.arange(len(values)) * np.timedelta64(3600, "s")
    return table_from_frame(pl.DataFrame({"ds": stamps, **columns}))


def parts(values: np.ndarray):
    table = table_of(values)
    split = split_points(table, 0.2, 0.2, min_length=HORIZON)
    scaler = Scaler.fit(table, [a for a, _ in split])
    return [WindowDataset(table, scaler, part, split, CONTEXT, HORIZON) for part in ("train", "val")]


def walks(rows: int = 600, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, channels)).cumsum(0)


def waves(rows: int, periods: list[float], noise: float = 0.02) -> np.ndarray:
    t = np.arange(rows)[:, None]
    return np.sin(2 * np.pi * t / np.array(periods)) + noise * np.random.default_rng(0).normal(
        size=(rows, len(periods))
    )


@pytest.mark.parametrize("by_channel", [False, True])
def test_the_weights_are_those_of_scikit_learn(by_channel):
    train, _ = parts(walks())
    batch = train.__getitems__(range(len(train)))
    x, y = batch["context"].numpy().astype(float), batch["target"].numpy().astype(float)
    std = np.sqrt(x.var(1, keepdims=True) + 0.1**2)
    x, y = ((z - x[:, -1:]) / std for z in (x, y))
    groups = [[c] for c in range(2)] if by_channel else [[0, 1]]
    for weights, members in zip(Sums.of(train, by_channel).solve(0.3), groups, strict=True):
        rows = np.concatenate([x[..., c] for c in members])
        answers = np.concatenate([y[..., c] for c in members])
        expected = Ridge(alpha=0.3 * len(rows), fit_intercept=False).fit(rows, answers).coef_.T
        np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_own_weights_are_drawn_towards_the_shared_ones():
    train, _ = parts(walks())
    sums = Sums.of(train, True)
    shared = sums.total().solve(0.1)
    far = (sums.solve(1e-3, shared) - shared).abs().max()
    near = (sums.solve(1e3, shared) - shared).abs().max()
    assert near < 0.01 * far and far > 0.01


def test_columns_share_their_weights_where_they_are_alike():
    assert len(solve_ridge(*parts(waves(900, [24, 24.0, 24])), None)) == 1


def test_columns_have_their_own_where_they_differ():
    periods = [6.0, 9.5, 17, 31, 50]
    assert len(solve_ridge(*parts(waves(900, periods, noise=0.3)), None)) == len(periods)


def test_too_many_columns_share(monkeypatch):
    monkeypatch.setattr(forecast_ridge, "MOST_NUMBERS", 100)
    assert len(solve_ridge(*parts(waves(900, [6.0, 9.5, 17, 31, 50], noise=0.3)), None)) == 1


def test_the_number_of_columns_can_be_set():
    train, valid = parts(walks())
    assert [len(solve_ridge(train, valid, g)) for g in (1, 2)] == [1, 2]
    with pytest.raises(ValueError, match=r"ridge_channels is 3, .* table has 2"):
        solve_ridge(train, valid, 3)


def test_without_a_validation_part():
    train, _ = parts(walks())
    torch.testing.assert_close(solve_ridge(train, None, None), Sums.of(train, False).solve(1.0))


def test_values_behind_the_training_part_change_nothing():
    values = walks()
    before = solve_ridge(parts(values)[0], None, None)
    values[360:] += 100
    assert torch.equal(solve_ridge(parts(values)[0], None, None), before)


def test_gaps_constants_and_empty_columns_give_finite_weights():
    values = walks(channels=3)
    values[:, 1], values[:, 2] = 4.0, np.nan
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    assert torch.isfinite(solve_ridge(*parts(values), None)).all()


def test_a_plan_gives_its_weights_to_the_model():
    backbone = xLSTMConfig(embedding_dim=8, num_blocks=1, num_heads=2, slstm_at="all", conv1d_kernel_size=0)
    head = ForecastConfig(prediction_length=HORIZON, context_length=CONTEXT, members=["ridge", "nlinear"])
    table = table_of(waves(600, [6.0, 9.5]))
    plan = plan_forecast(table, head=head, backbone=backbone, fit=FitConfig(), val_fraction=0.2, test_fraction=0.2)
    model = plan.model(0)
    assert torch.equal(model.members["ridge"].weights, plan.ridge) and plan.ridge.abs().sum() > 0
    assert plan.head.ridge_channels == len(plan.ridge)
    plan.train_model(model, 0)
    assert torch.equal(model.members["ridge"].weights, plan.ridge)
    batch = plan.valid.__getitems__(range(50))
    errors = [(y[..., model.median] - batch["target"]).abs().mean() for y in model.forward_members(batch)]
    assert errors[0] < 0.2 * batch["target"].abs().mean()
