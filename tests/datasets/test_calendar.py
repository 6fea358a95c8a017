"""Calendar features: local time, daylight saving, and which cycles suit which step."""

import numpy as np
import pandas as pd
import pytest
import torch

from xlstm_apps.datasets import Scaler, WindowDataset, last_windows, table_from_frame
from xlstm_apps.datasets.calendar import Calendar
from xlstm_apps.datasets.cycles import feature_names

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]


def expected(local: pd.DatetimeIndex, names):
    """The same features, from pandas' own calendar."""
    clock = (local.hour * 3600 + local.minute * 60 + local.second) / 86400
    length = np.where(local.is_leap_year, 366, 365)
    phase = {
        "day": clock,
        "week": (local.dayofweek + clock) / 7,
        "month": (local.day - 1 + clock) / local.days_in_month,
        "year": (local.dayofyear - 1 + clock) / length,
    }
    out = []
    for name in names:
        if name == "weekend":
            out.append(local.dayofweek >= 5)
        else:
            cycle, wave = name.split("_")
            out.append((np.sin if wave == "sin" else np.cos)(2 * np.pi * np.asarray(phase[cycle])))
    return np.stack([np.asarray(x, dtype=float) for x in out], axis=-1)


@pytest.mark.parametrize(
    "freq, names",
    [
        ("15m", ["day", "week", "year"]),
        ("12h", ["day", "week", "year"]),
        ("1d", ["week", "month", "year"]),
        ("1b", ["week", "month", "year"]),
        ("1w", ["month", "year"]),
        ("1mo", ["year"]),
        ("1q", ["year"]),
        ("1y", []),
        ("1i", []),
    ],
)
def test_cycles_suit_the_step(freq, names):
    found = feature_names(freq)
    assert [n.removesuffix("_sin") for n in found if n.endswith("_sin")] == names
    assert ("weekend" in found) == ("week" in names)


@pytest.mark.parametrize("zone", ZONES)
def test_features_are_those_of_local_time(zone):
    utc = pd.date_range("2023-12-30", "2025-01-03", freq="30min", tz="UTC")
    stamps = utc.tz_localize(None).to_numpy().astype("datetime64[us]")
    calendar = Calendar("30m", zone, stamps[0], stamps[-1])
    found = calendar.features(torch.from_numpy(stamps.view(np.int64)))
    np.testing.assert_allclose(found, expected(utc.tz_convert(zone), feature_names("30m")), atol=1e-5)


@pytest.mark.parametrize("freq", ["1d", "1b", "1w", "1mo"])
def test_features_of_longer_steps(freq):
    days = pd.date_range("1967-12-25", "1972-03-03", freq={"1d": "D", "1b": "B", "1w": "W", "1mo": "MS"}[freq])
    stamps = days.to_numpy().astype("datetime64[us]")
    found = Calendar(freq, None, stamps[0], stamps[-1]).features(torch.from_numpy(stamps.view(np.int64)))
    np.testing.assert_allclose(found, expected(days, feature_names(freq)), atol=1e-5)


@pytest.mark.parametrize("day", ["2024-03-29", "2024-10-25"])
@pytest.mark.parametrize("freq", ["h", "D"])
def test_daylight_saving_in_windows_and_beyond_the_end(day, freq):
    """Contexts before the change and steps after it, computed by arithmetic, agree with pandas' local clock."""
    n, horizon, context = 40, 30, 20
    local = pd.date_range(day, periods=n + horizon, freq=freq, tz="Europe/Berlin")
    df = pd.DataFrame({"ds": local[:n], "y": np.arange(float(n))})
    table = table_from_frame(df, calendar=True, freq="1h" if freq == "h" else "1d")
    assert table.time_zone == "Europe/Berlin" and len(table.values) == n
    scaler = Scaler.fit(table, [30])
    names = scaler.covariates.names["known"]
    assert scaler.sizes["known"] == len(names) == 7
    known = last_windows(table, scaler, context, horizon)["known"][0]
    np.testing.assert_allclose(known, expected(local[n - context :], names), atol=1e-5)
    windows = WindowDataset(table, scaler, "train", [(n, n)], context, 3)
    batch = windows.__getitems__(range(len(windows)))
    for i in range(len(windows)):
        c = int(batch["cutoff"][i])
        np.testing.assert_allclose(batch["known"][i], expected(local[c - context : c + 3], names), atol=1e-5)


def test_calendar_beside_named_covariates_of_short_series():
    days = pd.date_range("2024-01-01", periods=12, freq="D")
    df = pd.concat(
        pd.DataFrame({"unique_id": f"s{i}", "ds": days[i : 10 - i], "y": 1.0 * i, "promo": i % 2 == 0})
        for i in range(3)
    )
    table = table_from_frame(df, calendar=True, known_covariates=["promo"])
    scaler = Scaler.fit(table, table.lengths)
    windows = WindowDataset(table, scaler, "train", [(int(n), int(n)) for n in table.lengths], 8, 2)
    batch = windows.__getitems__(range(len(windows)))
    assert scaler.covariates.names["known"][0] == "promo" and batch["known"].shape[-1] == 8
    padding = ~batch["context_mask"][..., 0]
    assert padding.any() and (batch["known"][:, :8][padding] == 0).all()


def test_stamps_without_a_calendar():
    df = pd.DataFrame({"step": np.arange(30), "y": np.arange(30.0)})
    with pytest.raises(ValueError, match=r"no calendar to add.*start"):
        table_from_frame(df, time_column="step", calendar=True)
    yearly = pd.DataFrame({"ds": pd.date_range("1990-01-01", periods=30, freq="YS"), "y": np.arange(30.0)})
    with pytest.raises(ValueError, match=r"steps of 1y.*nothing"):
        table_from_frame(yearly, calendar=True)
