"""How much of the past to see: tried out on the validation part."""

import numpy as np
import polars as pl
import pytest

from xlstm_apps.datasets import Scaler, WindowDataset, split_points, table_from_frame
from xlstm_apps.estimators import forecast_context
from xlstm_apps.estimators.forecast_context import candidates, choose_context


def parts(values: np.ndarray, longest: int, horizon: int = 12):
    columns = {f"y{c}": y for c, y in enumerate(values.reshape(len(values), -1).T)}
    stamps = np.datetime64("2024-01-01T00", "us") + np.arange(len(values)) * np.timedelta64(3600, "s")
    table = table_from_frame(pl.DataFrame({"ds": stamps, **columns}))
    split = split_points(table, 0.2, 0.1, min_length=horizon)
    scaler = Scaler.fit(table, [a for a, _ in split])
    return [WindowDataset(table, scaler, part, split, longest, horizon) for part in ("train", "val")]


def test_a_long_past_where_the_data_needs_it():
    rng = np.random.default_rng(0)
    pattern = rng.normal(size=300).cumsum()  # comes back every 300 rows, and says nothing about itself before that
    values = np.tile(pattern - np.linspace(0, pattern[-1], 300), 20) + rng.normal(0, 0.1, 6000)
    assert choose_context(*parts(values, 720), [24, 96, 336, 720]) >= 336


def test_not_the_longest_where_more_rows_only_bring_noise():
    rng = np.random.default_rng(0)
    values = np.zeros(700)
    for t in range(1, 700):
        values[t] = 0.7 * values[t - 1] + rng.normal()
    assert choose_context(*parts(values, 240, horizon=3), [8, 24, 240]) < 240


def test_a_short_one_where_the_past_says_nothing():
    values = np.random.default_rng(0).normal(size=(3000, 2)).cumsum(0)
    assert choose_context(*parts(values, 336), [12, 24, 96, 336]) == 24


def test_gaps_constants_and_empty_columns_do_no_harm():
    values = np.random.default_rng(0).normal(size=(600, 3)).cumsum(0)
    values[:, 1], values[:, 2] = 4.0, np.nan
    values[np.random.default_rng(1).random((600, 3)) < 0.3] = np.nan
    assert choose_context(*parts(values, 96), [24, 96]) in (24, 96)


def test_no_held_out_value_where_it_looks_is_a_tie(monkeypatch):
    monkeypatch.setattr(forecast_context, "STEPS", 1)  # the first step of the horizon alone
    values = np.random.default_rng(0).normal(size=600)
    train, valid = parts(values, 96)
    valid._gather.values = valid._gather.values.clone()
    valid._gather.values[:] = np.nan
    assert choose_context(train, valid, [24, 48, 96]) == 24


def test_wide_tables_are_read_in_pieces(monkeypatch):
    values = np.random.default_rng(0).normal(size=(400, 90)).cumsum(0)
    train, valid = parts(values, 48)
    whole = choose_context(train, valid, [12, 48])
    sizes, read = [], WindowDataset.__getitems__
    monkeypatch.setattr(forecast_context, "ROWS", 1000)
    monkeypatch.setattr(WindowDataset, "__getitems__", lambda self, i: sizes.append(len(i)) or read(self, i))
    assert choose_context(train, valid, [12, 48]) == whole
    assert max(sizes) * 90 <= 1000


@pytest.mark.parametrize(
    ("season", "seasons", "horizon", "rows", "channels"),
    [
        (24, [24, 168], 96, 8640, 7),
        (1, [], 1, 3, 1),
        (7, [7], 14, 40, 1),
        (12, [12], 18, 60, 1),
        (96, [96], 720, 900, 1),
    ],
)
def test_candidates_fit_into_the_training_part(season, seasons, horizon, rows, channels):
    lengths = candidates(season, seasons, horizon, rows, rows * channels)
    assert lengths == sorted(set(lengths)) and lengths[0] >= 1
    assert lengths[-1] <= max(min(720, rows - horizon), 1)
    if rows == 8640:
        assert {96, 336, 720} <= set(lengths)
