"""The sample of errors that the diagnostics are drawn from: small, spread, and true to the scored targets."""

import numpy as np
import polars as pl
import pytest

from xlstm_apps.report.residuals import ResidualSample


def scored(series, cutoff, channels, horizon, *, batch=7, missing=lambda s, r, c: False):
    """The sample of a scoring whose truth at (series, row, channel) is known, and whose forecast is off by the step."""
    sample = ResidualSample(series, cutoff, channels=channels, horizon=horizon)
    for begin in range(0, len(series), batch):
        end = min(begin + batch, len(series))
        rows = cutoff[begin:end, None] + np.arange(horizon)
        truth = 1000.0 * series[begin:end, None, None] + rows[..., None] + 0.1 * np.arange(channels)
        error = np.broadcast_to(np.arange(1.0, horizon + 1)[None, :, None], truth.shape)
        at = sample.inside(begin, end)
        seen = np.array(
            [not missing(s, r, c) for s, r, c in zip(series[begin + at[0]], rows[at[:2]], at[2], strict=True)]
        )
        sample.add(truth[at], error[at], seen)
    names = [f"s{i}/c{c}" for i in range(int(series.max()) + 1) for c in range(channels)]
    return sample.frame(names, lambda owner, row: pl.Series("ds", row))


def windows(series: int, each: int, stride: int = 1):
    return np.repeat(np.arange(series), each), np.tile(100 + stride * np.arange(each), series)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 300, 7, 24), (3, 2000, 2, 720), (5000, 1, 1, 13), (2, 5000, 8, 3)])
def test_every_row_is_a_scored_target_and_there_are_few(shape):
    many, each, channels, horizon = shape
    frame = scored(*windows(many, each), channels, horizon, batch=512)
    assert 0 < len(frame) <= 20_000
    name = frame["unique_id"].str.extract_groups(r"s(\d+)/c(\d+)").struct.unnest().cast(pl.Int64)
    truth = 1000 * name["1"] + frame["row"] + 0.1 * name["2"]
    assert np.allclose(frame["y"], truth)
    assert (frame["residual"] == frame["step"]).all()
    assert (frame["ds"] == frame["row"]).all() and (frame["cutoff"] == frame["row"] - frame["step"]).all()
    paths = frame.filter(pl.col("part") == "path")
    assert {1, horizon} <= {*paths["step"]}
    assert paths.select("unique_id", "cutoff", "step").is_duplicated().sum() == 0


def test_first_steps_are_successive_and_of_several_series():
    frame = scored(*windows(20, 1500, stride=2), 1, 5, batch=4096).filter(pl.col("part") == "first")
    assert frame["unique_id"].n_unique() == 8 and (frame["step"] == 1).all()
    for _, part in frame.group_by("unique_id"):
        assert (np.diff(part["row"].sort()) == 2).all() and len(part) == 1000
        assert part["row"].max() == 100 + 2 * 1499


def test_series_of_a_single_window_have_no_first_steps():
    assert "first" not in {*scored(*windows(50, 1), 1, 4)["part"]}


def test_targets_not_observed_are_left_out():
    whole = scored(*windows(2, 40), 2, 3)
    some = scored(*windows(2, 40), 2, 3, missing=lambda s, r, c: r % 2)
    assert 0 < len(some) < len(whole)
    assert (some["row"] % 2 == 0).all()
    assert scored(*windows(1, 5), 1, 2, missing=lambda s, r, c: True).is_empty()
