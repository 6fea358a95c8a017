"""Covariates: reading, scales and codes, what a batch holds, future rows."""

import json
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from xlstm_apps.datasets import (
    Scaler,
    WindowDataset,
    last_windows,
    split_points,
    table_from_frame,
    with_future,
)
from xlstm_apps.datasets.covariate_rows import CovariateRows

ROLES = {
    "past_covariates": ["traffic", "state"],
    "known_covariates": ["price", "event", "shop"],
    "static_covariates": ["size", "region"],
    "categorical_covariates": ["shop"],
    "holidays_column": "holiday",
}


def frame(lengths=(40, 25), future=6, seed=0):
    """Long, hourly; `price` is 100 * series + row, so that a batch tells where its rows came from."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, n in enumerate(lengths):
        m = n + future
        row = np.arange(m)
        target = np.where(row < n, rng.normal(10, 3, m), np.nan)
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{i}",
                    "ds": pd.date_range("2024-03-29", periods=m, freq="h"),
                    "y": target,
                    "traffic": np.where(row < n, rng.normal(0, 5, m), np.nan),
                    "state": np.where(row < n, rng.choice(["on", "off"], m), None),
                    "price": 100.0 * i + row,
                    "event": np.where(row % 7 == 0, "sale", np.where(row % 5 == 0, "fair", "")),
                    "shop": rng.integers(1, 4, m),
                    "holiday": np.where(row % 11 == 0, "easter", None),
                    "size": 10.0 * (i + 1),
                    "region": ["north", "south"][i % 2],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def fitted(df, context=8, horizon=6, part="train", **options):
    table = table_from_frame(df, **(ROLES | options))
    split = split_points(table, 0.2, 0.2, min_length=horizon)
    scaler = Scaler.fit(table, [a for a, _ in split])
    return table, scaler, WindowDataset(table, scaler, part, split, context, horizon), split


def test_future_rows_do_not_lengthen_the_series():
    table = table_from_frame(frame(), **ROLES)
    assert table.lengths.tolist() == [40, 25] and table.covariates.known_lengths.tolist() == [46, 31]
    assert table.channels == ["y"] and table.report["left_out"] == {} and table.report["future_rows"] == 12
    assert table.report["covariates"]["categories"] == {"state": 2, "event": 2, "shop": 3, "holiday": 1, "region": 2}
    # Without known covariates such rows are missing values of the series.
    assert table_from_frame(frame()[["unique_id", "ds", "y"]]).lengths.tolist() == [46, 31]
    # A past covariate shows that a row has happened, target or not.
    df = frame()
    df.loc[42, "traffic"] = 1.0
    assert table_from_frame(df, **ROLES).lengths.tolist() == [43, 25]


def test_a_batch_holds_the_rows_of_its_window():
    table, scaler, windows, _ = fitted(frame())
    batch = windows.__getitems__(range(len(windows)))
    sizes = scaler.sizes
    assert sizes == {"past": 3, "known": 1, "known_codes": [3, 4, 3], "static": 1, "static_codes": [3]}
    assert scaler.covariates.names == {
        "past": ["traffic", "state=off", "state=on"],
        "known": ["price"],
        "known_codes": ["event", "shop", "holiday"],
        "static": ["size"],
        "static_codes": ["region"],
    }
    b = len(windows)
    shapes = {"past": (b, 8, 3), "past_mask": (b, 8, 3), "known": (b, 14, 1), "known_codes": (b, 14, 3),
              "static": (b, 1), "static_codes": (b, 1)}  # fmt: skip
    assert {name: tuple(batch[name].shape) for name in shapes} == shapes
    assert batch["past_mask"].dtype == torch.bool
    assert batch["known_codes"].dtype == batch["static_codes"].dtype == torch.int64
    assert all(batch[name].dtype == torch.float32 for name in ("past", "known", "static"))
    scale = scaler.covariates.known
    for i in range(b):
        s, c = int(batch["series"][i]), int(batch["cutoff"][i])
        assert c >= 8 or s == 1
        rows = np.arange(c - 8, c + 6)
        inside = rows >= 0
        price = batch["known"][i, :, 0].numpy() * scale.std[s, 0] + scale.mean[s, 0]
        np.testing.assert_allclose(price[inside], (100.0 * s + rows)[inside], rtol=1e-5, atol=1e-3)
        assert (batch["known"][i, ~inside] == 0).all() and (batch["known_codes"][i, ~inside] == 0).all()
        # event: fair 1, sale 2, empty 0; holiday: none 1, easter 2
        event = np.where(rows % 7 == 0, 2, np.where(rows % 5 == 0, 1, 0))
        assert batch["known_codes"][i, inside, 0].tolist() == event[inside].tolist()
        assert batch["known_codes"][i, inside, 2].tolist() == np.where(rows % 11 == 0, 2, 1)[inside].tolist()
        assert batch["static_codes"][i, 0] == s + 1
        np.testing.assert_allclose(batch["past"][i, inside[:8], 1:].sum(-1), 1)
        traffic = table.covariates.past.values[table.offsets[s] + rows[:8].clip(0), 0]
        undone = batch["past"][i, :, 0] * scaler.covariates.past.std[s, 0] + scaler.covariates.past.mean[s, 0]
        np.testing.assert_allclose(undone[inside[:8]], traffic[inside[:8]], atol=1e-4)
        assert (batch["past_mask"][i].numpy() == inside[:8, None]).all()


def test_last_windows_reach_beyond_the_end():
    table, scaler, _, _ = fitted(frame())
    batch = last_windows(table, scaler, 8, 6)
    price = batch["known"][..., 0] * torch.from_numpy(scaler.covariates.known.std) + torch.from_numpy(
        scaler.covariates.known.mean
    )
    assert price[0].round().tolist() == list(range(32, 46)) and price[1].round().tolist() == list(range(117, 131))
    one = last_windows(table, scaler, 8, 6, series=[1])
    for name in batch:
        torch.testing.assert_close(one[name][0], batch[name][1])
    with pytest.raises(ValueError, match="needs prediction_length"):
        last_windows(table, scaler, 8)
    with pytest.raises(ValueError) as caught:
        last_windows(table, scaler, 8, 7)
    assert "'price' of series 's0' is missing at 2024-03-30 22:00:00, step 7 of 7" in str(caught.value)


def test_known_covariates_come_from_a_second_table_too(tmp_path):
    df = frame()
    expected = last_windows(*fitted(df)[:2], 8, 6)
    past, ahead = df[df["y"].notna()], df[df["y"].isna()].drop(columns=["y", "traffic", "state", "size", "region"])
    table = table_from_frame(past, **ROLES)
    scaler = fitted(past)[1]
    more = pd.concat(
        [ahead, ahead.assign(unique_id="other"), df[["unique_id", "ds", "price", "event", "shop", "holiday"]][:3]]
    )
    path = tmp_path / "ahead.csv"
    more.to_csv(path, index=False)
    for future in (more, pl.from_pandas(more.astype({"event": str})), str(path)):
        longer = with_future(table, future)
        assert longer.report["future_table"] == {"rows": 27, "used": 12, "not_ahead": 3, "other_series": 12}
        batch = last_windows(longer, scaler, 8, 6)
        for name in batch:
            torch.testing.assert_close(batch[name], expected[name])
    read = table_from_frame(past, **ROLES, future_path=str(path))
    torch.testing.assert_close(last_windows(read, scaler, 8, 6)["known"], expected["known"])


@pytest.mark.parametrize(
    "change, parts",
    [
        (lambda f: f.drop(columns="price"), ["known_covariates", "no such column", "did you mean 'Price'"]),
        (lambda f: f.drop(columns="ds"), ["no such column", "ds"]),
        (lambda f: f.assign(price="high"), ["column 'price'", "'high' is text", "numbers"]),
        (lambda f: f.assign(ds=f["ds"] + pd.Timedelta("5min")), ["row 0", "off the 1h grid of series 's0'"]),
        (lambda f: pd.concat([f, f[:1]]), ["row 12", "same series and stamp as row 0"]),
        (lambda f: f.assign(ds=f["ds"].dt.tz_localize("UTC")), ["time zone", "the table has none"]),
        (
            lambda f: f.assign(ds=f["ds"].to_numpy().astype("datetime64[s]") + np.timedelta64(90_000, "D")),
            ["far from all others"],
        ),
    ],
)
def test_future_tables_that_do_not_fit(change, parts):
    df = frame().assign(Price=0.0)
    ahead = change(df[df["y"].isna()].reset_index(drop=True))
    with pytest.raises(ValueError) as caught:
        with_future(table_from_frame(df[df["y"].notna()], **ROLES, target_columns=["y"]), ahead)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_scales_and_codes_travel_with_the_scaler():
    df = frame((60, 50, 40))
    table, scaler, _, _ = fitted(df)
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again.covariates.sizes == scaler.sizes and again.covariates.options == scaler.covariates.options
    # Another order of series and columns, one series unknown, one value never seen.
    new = df[df["unique_id"] != "s1"].assign(unique_id=lambda f: f["unique_id"].replace({"s2": "new"}))
    new = pd.concat([new[new["unique_id"] == "new"], new[new["unique_id"] == "s0"]])
    new.loc[new["unique_id"] == "new", "region"] = "west"
    options = again.covariates.options
    options["known_covariates"] = options["known_covariates"][::-1]
    other = table_from_frame(new[new.columns[::-1]], target_columns=["y"], **options)
    moved = again.for_table(other)
    batch, old = last_windows(other, moved, 8, 6), last_windows(table, scaler, 8, 6)
    for name in batch:
        if name != "series":
            torch.testing.assert_close(batch[name][1], old[name][0])
    assert batch["static_codes"][:, 0].tolist() == [0, 1]  # west is unknown, north is 1
    assert abs(float(batch["known"][0, :8].mean())) < 3  # scaled by its own rows
    for change, text in (
        ({"known_covariates": ["price", "event"], "categorical_covariates": []}, "known covariates"),
        ({"categorical_covariates": []}, "held categories in training and holds numbers"),
        ({"calendar": True}, "calendar False"),
    ):
        with pytest.raises(ValueError, match=text):
            again.for_table(table_from_frame(df, **(ROLES | change)))
    with pytest.raises(ValueError, match="trained without"):
        Scaler.fit(table_from_frame(df[["unique_id", "ds", "y"]]), [9] * 3).for_table(table)


def test_missing_numbers_are_the_mean_and_unseen_values_code_zero():
    df = frame()
    df.loc[3, ["price", "traffic"]] = np.nan
    df.loc[[38, 39], "event"] = "strike"  # only in the test part
    table, scaler, windows, _ = fitted(df, part="test")
    assert scaler.covariates.known_levels["event"] == ["fair", "sale"]
    batch = windows.__getitems__(range(len(windows)))
    i = int(((batch["series"] == 0) & (batch["cutoff"] == 34)).nonzero()[0, 0])
    assert batch["known_codes"][i, [12, 13], 0].tolist() == [0, 0]
    early = WindowDataset(table, scaler, "train", [(20, 20), (10, 10)], 8, 6)
    first = early.__getitems__([0])
    assert first["known"][0, 3, 0] == 0 and first["past"][0, 3, 0] == 0
    assert not first["past_mask"][0, 3, 0] and first["past_mask"][0, 3, 1]


def test_a_series_constant_in_training_is_not_blown_up():
    df = frame((60, 60))
    df.loc[(df["unique_id"] == "s0") & (df.index < 50), "price"] = 1000.0
    df["flag"] = df["event"] == "sale"
    _, scaler, _, _ = fitted(df, known_covariates=["price", "event", "shop", "flag"])
    scale = scaler.covariates.known
    assert scale.names == ["price", "flag"] and scale.flags == [False, True]
    np.testing.assert_allclose(scale.std[0, 0], scale.std[1, 0])
    assert scale.mean[:, 1].tolist() == [0, 0] and scale.std[:, 1].tolist() == [1, 1]


def test_moving_keeps_the_batches():
    _, _, windows, _ = fitted(frame(), calendar=True)
    before = windows.__getitems__([0, 5])
    after = windows.to("cpu").to(torch.device("cpu")).__getitems__([0, 5])
    assert "known" in before
    for name in before:
        torch.testing.assert_close(before[name], after[name])


def test_everything_is_computed_where_the_rows_are():
    table, scaler, windows, _ = fitted(frame(), calendar=True)
    batch = windows.__getitems__(range(4))
    rows = CovariateRows(table, scaler.covariates).to("meta")  # a mix of devices is an error there too
    elsewhere = rows.windows(batch["series"].to("meta"), batch["cutoff"].to("meta"), 8, 6)
    assert {n: (x.shape, x.dtype) for n, x in elsewhere.items()} == {
        n: (batch[n].shape, batch[n].dtype) for n in elsewhere
    }
    assert len(elsewhere) == 6


def test_wide_tables_have_covariates_too():
    days = pd.date_range("2024-01-01", periods=60, freq="D")
    row = np.arange(60.0)
    df = pd.DataFrame({"date": days, "a": row, "b": -row, "temperature": row**2, "open": row % 7 < 5})
    df.loc[55:, ["a", "b"]] = np.nan
    table = table_from_frame(df, known_covariates=["temperature", "open"])
    assert table.layout == "wide" and table.channels == ["a", "b"] and table.lengths.tolist() == [55]
    scaler = Scaler.fit(table, [40])
    batch = last_windows(table, scaler, 10, 5)
    assert batch["known"].shape == (1, 15, 2)
    assert batch["known"][0, :, 1].tolist() == [float(r % 7 < 5) for r in range(45, 60)]


def test_an_earlier_table_still_knows_what_is_ahead():
    table, _, _, _ = fitted(frame())
    earlier = table.until([30, 20])
    scaler = Scaler.fit(earlier, earlier.lengths)
    known = last_windows(earlier, scaler, 8, 10)["known"][0, :, 0] * scaler.covariates.known.std[0, 0]
    assert (known + scaler.covariates.known.mean[0, 0]).round().tolist() == list(range(22, 40))
    assert len(earlier.covariates.past.values) == 50


def test_duplicates_and_resampling_keep_categories_whole():
    df = frame((40,), future=0)
    twice = pd.concat([df, df.assign(price=df["price"] + 1, event="sale")])
    table = table_from_frame(twice, **ROLES, duplicates="mean")
    event, price = (table.covariates.known.names.index(n) for n in ("event", "price"))
    levels = table.covariates.known.levels["event"]
    assert [levels[int(v)] for v in table.covariates.known.values[:5, event]] == ["sale", "", "", "", ""]
    assert table.covariates.known.values[:3, price].tolist() == [0.5, 1.5, 2.5]
    daily = table_from_frame(df, **ROLES, freq="1d", resample="mean")
    assert [levels[int(v)] for v in daily.covariates.known.values[:, event]] == ["sale", ""]
    assert daily.covariates.known.values[0, price] == 11.5


@pytest.mark.parametrize(
    "values, known",
    [
        ([True, False, None, False], ["", "holiday"]),
        (["yes", "no", "", "no"], ["", "holiday"]),
        ([1, 0, 0, 0], ["", "1"]),
        (["Easter", None, "none", "N/A"], ["", "Easter"]),
    ],
)
def test_a_day_without_a_holiday_has_a_code_of_its_own(values, known):
    df = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=40), "y": np.arange(40.0), "holiday": values * 10})
    table = table_from_frame(df, holidays_column="holiday")
    scaler = Scaler.fit(table, [40])
    assert scaler.covariates.known_levels == {"holiday": known} and scaler.sizes["known_codes"] == [3]
    windows = WindowDataset(table, scaler, "train", [(40, 40)], 4, 2)
    assert windows[0]["known_codes"][:, 0].tolist() == [2, 1, 1, 1, 2, 1]


def test_ten_thousand_series_without_a_loop_over_them():
    """Tables of many short series: what is done per series is done in arrays."""
    s, n = 10_000, 40
    rng = np.random.default_rng(0)
    df = pl.DataFrame(
        {
            "unique_id": np.repeat(np.char.add("s", np.arange(s).astype(str)), n),
            "ds": np.tile(np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "D"), s),
            "y": rng.normal(size=s * n),
            "price": rng.normal(size=s * n),
            "region": np.repeat(rng.choice(["north", "south"], s), n),
        }
    )
    begin = time.process_time()
    table = table_from_frame(df, known_covariates=["price"], static_covariates=["region"], calendar=True)
    split = split_points(table, 0.1, 0.2, min_length=6)
    scaler = Scaler.fit(table, [a for a, _ in split])
    windows = WindowDataset(table, scaler, "train", split, 12, 6)
    built = time.process_time() - begin
    begin = time.process_time()
    for _ in range(20):
        windows.__getitems__(torch.from_numpy(rng.integers(0, len(windows), 256)))
    assert built < 20 and time.process_time() - begin < 10
