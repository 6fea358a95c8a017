"""Metrics, seasons and baselines against plain loops."""

import numpy as np
import pytest
import torch

from xlstm_apps.forecasting import Scores, choose_season, naive_errors, seasonal_naive
from xlstm_apps.forecasting.seasons import usual_seasons

LEVELS = [0.1, 0.5, 0.9]


def test_scores_are_the_plain_definitions_over_all_batches():
    rng = np.random.default_rng(0)
    forecast = np.sort(rng.normal(size=(7, 4, 2, 3)), axis=-1)
    target, mask = rng.normal(size=(7, 4, 2)), rng.random((7, 4, 2)) > 0.3
    series, scale = np.array([0, 0, 1, 1, 1, 2, 2]), np.array([[1.0, 2.0], [0.5, np.nan], [0.0, 3.0]])
    scores = Scores(LEVELS, 4, scale)
    for rows in (slice(0, 3), slice(3, 7)):
        truth = torch.from_numpy(np.where(mask, target, np.nan)[rows])
        scores.update(
            torch.from_numpy(forecast[rows]), truth, torch.from_numpy(mask[rows]), torch.from_numpy(series[rows])
        )
    summary = scores.summary()
    error = target - forecast[..., 1]
    assert summary["mae"] == pytest.approx(np.abs(error)[mask].mean())
    assert summary["rmse"] == pytest.approx(np.sqrt((error**2)[mask].mean()))
    inside = (target >= forecast[..., 0]) & (target <= forecast[..., 2])
    assert summary["coverage"] == pytest.approx(inside[mask].mean())
    losses = [
        np.maximum(q * (target - forecast[..., i]), (q - 1) * (target - forecast[..., i]))[mask].sum()
        for i, q in enumerate(LEVELS)
    ]
    assert summary["wql"] == pytest.approx(2 * np.mean(losses) / np.abs(target)[mask].sum())
    ratios, rows = [], {}
    for s in range(3):
        for c in range(2):
            mine = mask[series == s, :, c]
            mae = np.abs(error[series == s, :, c])[mine].mean()
            rows[f"{s}/{c}"] = mae
            if scale[s, c] > 0:
                ratios.append(mae / scale[s, c])
    assert len(ratios) == 4 and summary["mase"] == pytest.approx(np.mean(ratios))
    names = [f"{s}/{c}" for s in range(3) for c in range(2)]
    assert {row["unique_id"]: row["mae"] for row in scores.series_rows("m", names)} == pytest.approx(rows)
    steps = [row["mae"] for row in scores.horizon_rows("m")]
    assert steps == pytest.approx([np.abs(error[:, h])[mask[:, h]].mean() for h in range(4)])
    for i, row in enumerate(scores.calibration_rows()):
        assert row["empirical"] == pytest.approx((target <= forecast[..., i])[mask].mean())
    assert scores.windows == 7 and scores.count == mask.sum()


def test_nothing_observed_is_nan_not_an_error():
    scores = Scores(LEVELS, 2, np.ones((1, 1)))
    scores.update(
        torch.zeros(1, 2, 1, 3), torch.zeros(1, 2, 1), torch.zeros(1, 2, 1, dtype=torch.bool), torch.tensor([0])
    )
    assert all(np.isnan(v) for v in scores.summary().values()) and scores.series_rows("m", ["a"]) == []


def test_seasonal_naive_repeats_the_last_season_seen():
    context = torch.tensor([1.0, 2, 3, 10, 20, 30, 11, 21, 31])[None, :, None]
    mask = torch.ones_like(context, dtype=torch.bool)
    forecast = seasonal_naive(context, mask, 3, 5, torch.tensor([[2.0]]), LEVELS)
    assert forecast[0, :, 0, 1].tolist() == [11, 21, 31, 11, 21]
    assert (forecast[0, 0, 0, 2] - 11).item() == pytest.approx(2 * 1.2816, abs=1e-3)
    assert (forecast[0, 3, 0, 2] - 11).item() == pytest.approx(2 * 2**0.5 * 1.2816, abs=1e-3)
    mask[0, 7], mask[0, [2, 5, 8]] = False, False
    forecast = seasonal_naive(context, mask, 3, 3, torch.tensor([[2.0]]), [0.5])
    assert forecast[0, :, 0, 0].tolist() == [11, 20, 11]  # a season earlier; never seen: the last value
    mask[:] = False
    assert seasonal_naive(context, mask, 3, 2, torch.tensor([[2.0]]), [0.5]).flatten().tolist() == [0, 0]


def test_naive_errors_stay_inside_each_training_part():
    values = np.array([[1.0], [3], [6], [1000], [5], [np.nan], [9], [13], [1000]])
    errors = naive_errors(values, np.array([0, 4, 9]), np.array([3, 4]), 1)
    assert errors.tolist() == [[2.5], [4.0]]
    assert naive_errors(values, np.array([0, 4, 9]), np.array([3, 4]), 2, power=2).tolist() == [[25.0], [16.0]]
    assert np.isnan(naive_errors(values, np.array([0, 4, 9]), np.array([3, 4]), 50)).all()


@pytest.mark.parametrize(
    ("freq", "seasons"),
    [("1h", [24, 168]), ("15m", [96, 672]), ("1d", [7, 365]), ("1b", [5]), ("1w", [52]), ("1mo", [12]), ("1q", [4]),
     ("1y", []), ("3mo", [4]), ("1i", []), ("30s", [120]), ("2h", [12, 84]), ("7m", [1440]), ("11m", [])],
)  # fmt: skip
def test_usual_seasons(freq, seasons):
    assert usual_seasons(freq) == seasons


def test_the_season_that_repeats_best_is_chosen_and_the_users_wins():
    t = np.arange(2000)
    daily = np.sin(2 * np.pi * t / 24)[:, None] + np.random.default_rng(0).normal(0, 0.1, (2000, 1))
    weekly = np.where((t // 24) % 7 < 5, 1.0, -1.0)[:, None] * daily
    for values, season in ((daily, 24), (weekly, 168)):
        found = choose_season(values, np.array([0, 2000]), np.array([1500]), "1h", 24)
        assert (found.steps, found.candidates) == (season, [24, 168])
    assert choose_season(daily, np.array([0, 2000]), np.array([1500]), "1h", 24, 7).steps == 7
    assert choose_season(daily, np.array([0, 2000]), np.array([30]), "1h", 24).steps == 1
    missing = np.full((2000, 1), np.nan)
    assert choose_season(missing, np.array([0, 2000]), np.array([1500]), "1h", 24).steps == 24


def test_truth_at_a_quantile_says_nothing_against_it():
    scores = Scores([0.1, 0.5, 0.9], 1, np.ones((1, 1)))
    target = torch.tensor([0.0] * 6 + [1.0, 2.0, 3.0, 4.0]).reshape(10, 1, 1)
    forecast = torch.tensor([0.0, 0.0, 2.5]).expand(10, 1, 1, 3)
    scores.update(forecast, target, torch.ones_like(target, dtype=torch.bool), torch.zeros(10, dtype=torch.int64))
    assert [row["empirical"] for row in scores.calibration_rows()] == pytest.approx([0.1, 0.5, 0.8])
