"""Forecasts of what cannot be negative: where they end, where they do not, and that truth is never moved."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from frames import QUICK
from toy_forecaster import HORIZON, LastValue, made

from xlstm_apps import XLSTMForecaster
from xlstm_apps.datasets import Scaler, table_from_frame
from xlstm_apps.estimators.forecast_floor import floors
from xlstm_apps.estimators.forecast_frames import predict_frames, window_frames
from xlstm_apps.estimators.forecast_scores import Evaluator

ROWS = 120


def sold(rows=ROWS, series=("a",), seed=0, **columns) -> pl.DataFrame:
    """Sales of 0 on most days."""
    rng, frames = np.random.default_rng(seed), []
    for name in series:
        y = np.where(rng.random(rows) < 0.6, 0.0, rng.poisson(2, rows))
        frames.append(pl.DataFrame({"unique_id": [name] * rows, "ds": day(0, rows), "y": y, **columns}))
    return pl.concat(frames)


def day(first, rows):
    return np.datetime64("2024-01-01") + np.arange(first, first + rows)


def floor_of(y, minimum="auto", ends=None):
    frame = pl.DataFrame({"ds": day(0, len(y)), "y": np.asarray(y, dtype=float)})
    table = table_from_frame(frame)
    return floors(table, table.lengths if ends is None else [ends], minimum)


def test_what_never_goes_below_0_and_often_is_0_ends_there():
    counts = np.arange(100) % 10
    assert floor_of(counts)[0] == 0 and "forecasts of 'y' end at 0" in floor_of(counts)[1][0]
    none = (counts + 1, counts - 1, np.where(counts == 0, np.nan, counts), [0.0, *range(1, 100)], [np.nan] * 99 + [1])
    for y in none:
        assert floor_of(y) == ([-np.inf], [])
    assert floor_of([*counts, -1], ends=100)[0] == 0  # what comes later is not known
    assert floor_of(counts, None) == ([-np.inf], [])
    floor, told = floor_of(counts, 3)
    assert floor == 3 and told == ["30 of 100 values lie below head.minimum 3, where forecasts end"]
    assert floor_of(counts, -2.5) == ([-2.5], [])
    with pytest.raises(ValueError, match=r"head\.minimum 12 is above every value"):
        floor_of(counts, 12)


def test_every_way_out_ends_at_the_floor_and_truth_is_not_moved():
    frame = sold()
    late = frame["y"].to_numpy().copy()
    late[-10] = -5.0  # a return, in the test part
    table, scaler, split = made(frame.with_columns(y=pl.Series(late)))
    scaler = replace(scaler, floor=floors(table, [b for _, b in split], "auto")[0])
    scaler = Scaler.from_dict(scaler.to_dict())  # as saved
    model = LastValue(spread=3.0)

    def evaluator(by):
        return Evaluator(
            table, by, split, season=7, context_length=6, prediction_length=HORIZON, levels=[0.1, 0.5, 0.9]
        )

    free = replace(scaler, floor=np.full(1, -np.inf, dtype=np.float32))
    ended, open_ = (evaluator(by).run({"xlstm": model}) for by in (scaler, free))
    for rows in zip(ended.comparison(), open_.comparison(), strict=True):
        assert rows[0]["mae"] <= rows[1]["mae"] and rows[0]["wql"] < rows[1]["wql"], rows[0]["model"]
    assert ended.residuals["y"].min() == pytest.approx(-5.0)
    windows = evaluator(scaler).windows
    back = pl.concat(window_frames(model, table, windows))
    assert back["0.1"].min() == 0 and back["0.9"].max() > 0 and back["y"].min() == -5.0
    passed = pl.concat(window_frames(model, table, evaluator(free).windows))
    assert passed["0.1"].min() < 0
    assert back["0.1"].equals(passed["0.1"].clip(0))


def test_truth_at_the_floor_is_inside_whatever_scaling_makes_of_it():
    for seed in range(20):
        table, scaler, split = made(sold(seed=seed))
        scaler = replace(scaler, floor=np.zeros(1, dtype=np.float32))
        scores = Evaluator(
            table, scaler, split, season=7, context_length=6, prediction_length=HORIZON, levels=[0.1, 0.5, 0.9],
            calibrate=False,
        ).run({"xlstm": LastValue(spread=9.0)})  # fmt: skip
        assert scores.comparison()[0]["coverage"] == 1.0


def test_a_past_that_goes_below_has_no_floor_and_its_neighbour_keeps_it():
    frame = sold(series=("a", "b"))
    y = frame["y"].to_numpy().copy()
    y[ROWS - 2] = -4.0
    table, scaler, _ = made(frame.with_columns(y=pl.Series(y)))
    scaler = replace(scaler, floor=np.zeros(1, dtype=np.float32))
    model = LastValue(spread=3.0)
    lowest = pl.concat(predict_frames(model, table, scaler))["0.1"].to_numpy().reshape(2, HORIZON).min(axis=1)
    assert lowest[0] < 0 and lowest[1] == 0
    model.head.minimum = 0  # said, not found
    assert pl.concat(predict_frames(model, table, scaler))["0.1"].min() == 0


@pytest.mark.parametrize(("minimum", "lowest"), [("auto", 0.0), (None, None), (np.int64(1), 1.0)])
def test_the_estimator_and_what_it_saves(minimum, lowest, tmp_path):
    forecaster = XLSTMForecaster(**QUICK, model="nlinear", minimum=minimum).fit(sold(series=("a", "b")))
    forecast = forecaster.predict(level=[95])
    found = forecast["xLSTM-lo-95"].min()
    assert found < 0 if lowest is None else found == lowest
    forecaster.save(tmp_path / "saved")
    again = XLSTMForecaster.load(tmp_path / "saved")
    assert again.predict(level=[95]).equals(forecast)
    if lowest is not None:
        assert again.sample(5)["y_hat"].min() >= lowest
        assert forecaster.predict_insample()["0.1"].min() == lowest
        assert forecaster.cross_validation(sold(), 2)["0.1"].min() >= lowest
