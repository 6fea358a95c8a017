"""Naive2 and AutoETS against what they are known to give."""

import numpy as np
import pytest
import torch

from xlstm_apps.forecasting import auto_ets, check_fits, naive2, owa


def season_of(rows: int, period: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    pattern = 1 + 0.4 * np.sin(2 * np.pi * np.arange(rows) / period)
    return torch.tensor(50 * pattern * np.exp(rng.normal(0, 0.01, rows)), dtype=torch.float32)[None, :, None]


@pytest.mark.parametrize("period", [4, 7, 12])
def test_naive2_continues_a_season(period):
    x = season_of(20 * period + 3, period)
    seen = torch.ones_like(x, dtype=torch.bool)
    found = naive2(x[:, :-period], seen[:, :-period], period, period)
    assert (found / x[:, -period:] - 1).abs().max() < 0.06
    padded = torch.cat([torch.full((1, 30, 1), 9e9), x[:, :-period]], 1)  # padding on the left changes nothing
    mask = torch.cat([torch.zeros(1, 30, 1, dtype=torch.bool), seen[:, :-period]], 1)
    torch.testing.assert_close(naive2(padded, mask, period, period), found)


def test_naive2_is_naive_without_a_season_or_with_values_below_zero():
    noise = 50 + torch.randn(3, 60, 2)
    seen = torch.ones_like(noise, dtype=torch.bool)
    for x, period in ((noise, 1), (noise[:, :20], 12), (season_of(80, 4) - 60, 4)):
        found = naive2(x, seen[: len(x), : x.shape[1], : x.shape[2]] if x.shape[1] <= 60 else x < 1e9, period, 5)
        assert torch.equal(found, x[:, -1:].expand(-1, 5, -1))
    missing = seen.clone()
    missing[:, -2:] = False
    assert torch.equal(naive2(noise, missing, 1, 1)[:, 0], noise[:, -3])


def test_naive2_has_the_seasonal_indices_of_the_classical_decomposition():
    x = season_of(51, 4)[0, :, 0].double().numpy()
    average = np.convolve(x, [0.125, 0.25, 0.25, 0.25, 0.125], "valid")
    ratio = x[2:-2] / average
    place = (np.arange(2, 49) - 51) % 4
    index = np.array([ratio[place == p].mean() for p in range(4)])
    index /= index.mean()
    expected = x[-1] / index[-1] * index[np.arange(6) % 4]
    t = torch.tensor(x)[None, :, None]
    assert naive2(t, t > 0, 4, 6)[0, :, 0].numpy() == pytest.approx(expected)


def test_owa_of_naive2_is_one():
    mine = {"smape": 12.0, "mase": 1.5}
    assert owa(mine, mine) == 1 and owa({"smape": 6.0, "mase": 1.5}, mine) == 0.75


def test_auto_ets_knows_trend_and_season_and_keeps_its_intervals_in_bounds():
    pytest.importorskip("statsforecast", reason="the extra `baselines` is not installed")
    x = season_of(60, 4).numpy()
    mask = np.ones_like(x, dtype=bool)
    mask[0, -1] = False
    found = auto_ets(x, mask, 4, 4, [0.025, 0.1, 0.5, 0.9])
    assert found.shape == (1, 4, 1, 4) and (np.diff(found, axis=-1) >= 0).all()
    assert np.abs(found[0, :, 0, 2] / x[0, -4:, 0] - 1).max() < 0.1
    assert found.min() >= x.min() - np.ptp(x) and found.max() <= x.max() + np.ptp(x)
    flat = auto_ets(np.full((1, 20, 1), 3.0), np.ones((1, 20, 1), dtype=bool), 4, 2, [0.1, 0.5, 0.9])
    assert (flat == 3).all()
    assert (auto_ets(x, np.zeros_like(mask), 4, 2, [0.5]) == 0).all()


def test_auto_ets_is_refused_where_it_would_take_hours():
    check_fits(2000)
    with pytest.raises(ValueError, match="5,000 fits: score at most 2,000"):
        check_fits(5000)
