"""Intervals at a cutoff rest on what was known there and nothing else; frames carry them under the names asked for."""

import numpy as np
import polars as pl
import pytest
import torch
from toy_forecaster import CONTEXT, HORIZON, LastValue, made, walks

from xlstm_apps.datasets import Scaler, WindowDataset
from xlstm_apps.estimators import forecast_calibration
from xlstm_apps.estimators.forecast_calibration import Calibrator, Clock, calibrator_for
from xlstm_apps.estimators.forecast_frames import predict_frames, sample_frames, scaled_forecast, window_frames


def windows_of(table, scaler, split):
    return WindowDataset(table, scaler, "test", split, CONTEXT, HORIZON)


def quantiles_by_cutoff(frame: pl.DataFrame, scaler: Scaler) -> tuple[np.ndarray, np.ndarray]:
    """Stamps of the cutoffs and the spread calibrated there, in units of the model's spread."""
    table, _, split = made(frame)
    model = LastValue()
    windows = windows_of(table, scaler, split)
    batch = windows.__getitems__(range(len(windows)))
    own = scaled_forecast(model, batch)
    found = Calibrator(model, table, scaler, split).quantiles(batch, own, [0.05, 0.5, 0.95])
    rows = table.offsets[batch["series"].numpy()] + batch["cutoff"].numpy()
    return table.timestamps[rows], ((found - own[..., [1]]) / 0.2).detach().numpy()


@pytest.mark.parametrize(("lengths", "starts"), [((300,), None), ((300, 300), None), ((300, 180, 90), [0, 120, 40])])
def test_no_interval_depends_on_what_came_after_its_cutoff(lengths, starts):
    frame = walks(lengths, starts=starts)
    table, scaler, split = made(frame)
    first_test = max(table.timestamps[table.offsets[i] + end] for i, (_, end) in enumerate(split))
    turn = first_test + np.timedelta64(30, "D")
    noise = pl.col("y0") + pl.Series(np.random.default_rng(1).normal(0, 100, len(frame)))
    changed = frame.with_columns(pl.when(pl.col("ds") >= turn).then(noise).otherwise("y0").alias("y0"))
    stamps, before = quantiles_by_cutoff(frame, scaler)
    _, after = quantiles_by_cutoff(changed, scaler)
    early = stamps <= turn  # a cutoff is the first row not known
    assert early.any() and np.array_equal(before[early], after[early])
    assert np.abs(before[~early] - after[~early]).max() > 1


def test_a_blocks_targets_are_known_exactly_after_it():
    frame = walks((120, 80), starts=[0, 20])
    table, _, split = made(frame)
    train_end, val_end = np.array(split).T
    clock = Clock(table, train_end, val_end, 7, torch.device("cpu"))
    series = torch.repeat_interleave(torch.arange(2), torch.tensor([120, 80]))
    row = torch.cat([torch.arange(120), torch.arange(80)])
    target = clock.target_blocks(series, row, 1)[:, 0]
    known = clock.known_blocks(series, row)
    stamp, tested = table.timestamps, row.numpy() >= val_end[series.numpy()]
    assert (target[row.numpy() < train_end[series.numpy()]] == -1).all()
    for i in np.flatnonzero(tested):
        used = (target >= 0) & (target < known[i])
        assert (stamp[used.numpy() & tested] < stamp[i]).all()
        assert used[(~tested) & (target.numpy() >= 0)].all()
    end = clock.known_blocks(torch.tensor([0, 1]), torch.tensor([120, 80]))
    assert (end == clock.blocks).all() and clock.blocks <= 14


@pytest.mark.parametrize("spread", [0.05, 0.2, 2.0])
def test_coverage_is_right_whatever_the_model_thinks(spread):
    table, scaler, split = made(walks((1500,), channels=2), val=0.1)
    model, windows = LastValue(spread), windows_of(table, scaler, split)
    batch = windows.__getitems__(range(len(windows)))
    own = scaled_forecast(model, batch)
    levels = [0.025, 0.1, 0.5, 0.9, 0.975]
    found = Calibrator(model, table, scaler, split).quantiles(batch, own, levels)
    assert torch.equal(found[..., 2], own[..., 1]) and (found.diff(dim=-1) >= 0).all()
    for low, high, share in ((1, 3, 0.8), (0, 4, 0.95)):
        inside = (batch["target"] >= found[..., low]) & (batch["target"] <= found[..., high])
        assert inside.double().mean().item() == pytest.approx(share, abs=0.04)


def test_many_series_are_taken_together_where_each_has_little_to_say(monkeypatch):
    table, scaler, split = made(walks((40,) * 30))
    each = Calibrator(LastValue(), table, scaler, split)
    monkeypatch.setattr(forecast_calibration, "MOST_COUNTS", 1000)
    pooled = Calibrator(LastValue(), table, scaler, split)
    assert (each.units, pooled.units) == (30, 1)
    assert pooled.typical.isnan().all() and each.typical.isfinite().all()
    end = pooled.at_end()
    assert len(end.state.known) == 1 and end.item_ids is None and each.at_end().item_ids == table.item_ids
    frames = pl.concat(predict_frames(LastValue(), table, scaler, calibration=end, level=[80]))
    assert frames["unique_id"].n_unique() == 30
    width = frames["xLSTM-hi-80"] - frames["xLSTM-lo-80"]
    assert width.min() > 0


def test_thinned_errors_give_about_the_same(monkeypatch):
    table, scaler, split = made(walks((1500,)))
    whole = Calibrator(LastValue(), table, scaler, split)
    monkeypatch.setattr(forecast_calibration, "ERRORS_FROM", 300)
    thin = Calibrator(LastValue(), table, scaler, split)
    assert thin.windows <= 302 and whole.windows > 1000
    own = torch.tensor([-0.2, 0.0, 0.2]).expand(1, HORIZON, 1, 3)
    one, other = (c.at_end().quantiles(own, [0.1, 0.9]) for c in (whole, thin))
    torch.testing.assert_close(one, other, rtol=0.25, atol=0)


def test_without_held_out_rows_there_is_no_calibration():
    table, scaler, _ = made(walks((50,)))
    assert calibrator_for(LastValue(), table, scaler, [(50, 50)]) is None
    assert calibrator_for(LastValue(), table, scaler, [(40, 50)]) is not None


def test_missing_truth_counts_nowhere():
    frame = walks((300,))
    gaps = frame.with_columns(pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("y0").alias("y0"))
    table, scaler, split = made(gaps)
    model = LastValue()
    calibrator = Calibrator(model, table, scaler, split)
    assert 0 < calibrator.targets < 0.8 * Calibrator(model, *made(frame)).targets
    assert torch.isfinite(calibrator.at_end().paths).all()


def test_columns_by_level_are_those_of_neuralforecast():
    table, scaler, split = made(walks((200, 150)))
    model, calibrator = LastValue(), Calibrator(LastValue(), table, scaler, split)
    end = calibrator.at_end()
    frame = pl.concat(predict_frames(model, table, scaler, calibration=end, level=[95, 80]))
    named = ["xLSTM", "xLSTM-lo-95", "xLSTM-lo-80", "xLSTM-hi-80", "xLSTM-hi-95"]
    assert frame.columns == ["unique_id", "ds", *named] and len(frame) == 2 * HORIZON
    ordered = frame.select("xLSTM-lo-95", "xLSTM-lo-80", "xLSTM", "xLSTM-hi-80", "xLSTM-hi-95").to_numpy()
    assert (np.diff(ordered) > 0).all()
    by_quantile = pl.concat(predict_frames(model, table, scaler, calibration=end, quantiles=[0.9, 0.025]))
    assert by_quantile.columns == ["unique_id", "ds", "0.025", "0.9"]
    assert by_quantile["0.9"].to_list() == frame["xLSTM-hi-80"].to_list()
    windows = windows_of(table, scaler, split)
    rolled = pl.concat(window_frames(model, table, windows, range(5), calibrator=calibrator, level=[80]))
    assert rolled.columns == ["unique_id", "ds", "cutoff", "xLSTM", "xLSTM-lo-80", "xLSTM-hi-80", "y"]
    plain = pl.concat(window_frames(model, table, windows, range(5)))
    assert plain.columns == ["unique_id", "ds", "cutoff", "y", "0.1", "0.9"]


def test_levels_that_cannot_be_had_are_refused():
    table, scaler, split = made(walks((200,)))
    end = Calibrator(LastValue(), table, scaler, split).at_end()

    def ask(**options):
        return next(predict_frames(LastValue(), table, scaler, **options))

    with pytest.raises(ValueError, match=r"knows the quantiles \[0.1, 0.5, 0.9\] and has no held-out errors"):
        ask(level=[95])
    assert ask(level=[80]).columns[2:] == ["xLSTM", "xLSTM-lo-80", "xLSTM-hi-80"]
    with pytest.raises(ValueError, match="not both"):
        ask(level=[80], quantiles=[0.1], calibration=end)
    for level in ([0], [100], []):
        with pytest.raises(ValueError, match="percentages"):
            ask(level=level, calibration=end)
    with pytest.raises(ValueError, match="between 0 and 1"):
        ask(quantiles=[0.5, 1.5], calibration=end)


def test_series_of_another_table_take_the_calibration_of_their_name_or_of_all():
    table, scaler, split = made(walks((300, 300)))
    end = Calibrator(LastValue(), table, scaler, split).at_end()
    assert end.rows_for(["s1", "new"]) == [1, -1]
    other = walks((300, 300)).with_columns(pl.col("unique_id").replace({"s0": "new"}))
    new, new_scaler, _ = made(other)
    one, two = (
        pl.concat(predict_frames(LastValue(), t, s, calibration=end, level=[80]))
        for t, s in ((table, scaler), (new, new_scaler))
    )
    same = pl.col("unique_id") == "s1"
    assert one.filter(same)["xLSTM-hi-80"].to_list() == two.filter(same)["xLSTM-hi-80"].to_list()
    assert two.filter(~same)["xLSTM-hi-80"].is_finite().all()


def test_sample_paths_as_a_frame():
    table, scaler, split = made(walks((200, 150), channels=2))
    end = Calibrator(LastValue(), table, scaler, split).at_end()
    frame = pl.concat(sample_frames(LastValue(), table, scaler, calibration=end, samples=3, seed=5))
    assert frame.columns == ["unique_id", "ds", "sample", "y_hat"] and len(frame) == 2 * 2 * 3 * HORIZON
    assert frame.select("unique_id", "ds", "sample").is_unique().all()
    again = pl.concat(sample_frames(LastValue(), table, scaler, calibration=end, samples=3, seed=5))
    assert frame.equals(again)
    points = pl.concat(predict_frames(LastValue(), table, scaler, calibration=end, level=[99]))
    joined = frame.join(points, on=["unique_id", "ds"])
    reach = joined["xLSTM-hi-99"] - joined["xLSTM-lo-99"]
    assert ((joined["y_hat"] - joined["xLSTM"]).abs() < 2 * reach).all()
    with pytest.raises(ValueError, match="validation part"):
        next(sample_frames(LastValue(), table, scaler, calibration=None, samples=3))
    with pytest.raises(ValueError, match="at least 1"):
        next(sample_frames(LastValue(), table, scaler, calibration=end, samples=0))


@pytest.mark.parametrize("seed", range(5))
def test_few_errors_some_of_them_misses_do_not_blow_intervals_up(seed):
    """150 days of counts between 0 and 8, 15 of them held out: the 95 % interval reached to 92, that of 99 % to 592."""
    counts = np.random.default_rng(seed).poisson(2, 150).astype(float)
    frame = pl.DataFrame({"ds": np.datetime64("2024-01-01") + np.arange(150), "y0": counts})
    table, scaler, split = made(frame, 0.1, 0.0)
    calibration = Calibrator(LastValue(0.6), table, scaler, split).at_end()
    found = pl.concat(predict_frames(LastValue(0.6), table, scaler, calibration=calibration, level=[80, 95, 99]))
    assert found["xLSTM-hi-95"].max() < 10 and found["xLSTM-hi-99"].max() < 16
    assert (found["xLSTM-hi-99"] > found["xLSTM-hi-95"]).all() and (found["xLSTM-hi-95"] > found["xLSTM-hi-80"]).all()
