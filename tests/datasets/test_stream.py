"""Tables on disk and in parts: the same as in memory."""

import bz2
import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from xlstm_apps.datasets import (
    Scaler,
    SeriesData,
    WindowDataset,
    blocks,
    iter_tables,
    last_windows,
    load_table,
    spill,
    split_points,
)
from xlstm_apps.datasets.frames import to_polars

COVARIATES = {
    "past_covariates": ["traffic", "state"],
    "known_covariates": ["price", "event"],
    "static_covariates": ["region", "size"],
    "calendar": True,
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(blocks, "_CHARACTERS", 2000)
    monkeypatch.setattr(blocks, "_ROWS", 37)
    monkeypatch.setattr(spill, "ROWS", 100)


def frame(order="series", seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for i, n in enumerate([50, 3, 130, 41, 20, 77]):
        row = np.arange(n + 4)
        part = pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range("2024-03-01", periods=n + 4, freq="D") + pd.Timedelta(days=i),
                "y": np.where(row < n, rng.normal(10 * i, 3, n + 4).round(3), np.nan),
                "traffic": np.where(row < n, rng.normal(0, 5, n + 4).round(2), np.nan),
                "state": np.where(row < n, rng.choice(["on", "off"], n + 4), None),
                "price": 100.0 * i + row,
                "event": np.where(row % 7 == 0, "sale,\nbig", ""),
                "region": ["north", "south", "east"][i % 3],
                "size": i,
            }
        )
        parts.append(part.drop(index=part.index[2:3]) if n > 10 else part)
    df = pd.concat(parts, ignore_index=True)
    if order == "time":
        return df.sort_values(["ds", "unique_id"], ignore_index=True)
    return df.sample(frac=1, random_state=1, ignore_index=True) if order == "random" else df


def same(a, b):
    assert a.item_ids == b.item_ids and a.channels == b.channels and a.freq == b.freq and a.time_kind == b.time_kind
    for name in ("values", "timestamps", "offsets"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    if a.covariates is not None:
        np.testing.assert_array_equal(a.covariates.known_offsets, b.covariates.known_offsets)
        for role in ("past", "known", "static"):
            x, y = getattr(a.covariates, role), getattr(b.covariates, role)
            assert x.names == y.names and x.levels == y.levels
            np.testing.assert_array_equal(x.values, y.values)


def close(a, b):
    """Reports, up to the rounding of sums."""
    assert a.keys() == b.keys()
    for name in a:
        if isinstance(a[name], dict):
            close(a[name], b[name])
        else:
            assert a[name] == pytest.approx(b[name]) if isinstance(a[name], float) else a[name] == b[name], name


@pytest.mark.parametrize("order", ["series", "time", "random"])
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.bz2", "zip", "parquet"])
def test_a_streamed_table_is_the_same(tmp_path, kind, order):
    path = tmp_path / f"sales.{kind}"
    df = frame(order)
    text = df.to_csv(index=False).replace("\n2", "\r\n2").encode()
    if kind == "parquet":
        to_polars(df).write_parquet(path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("sales.csv", text)
    else:
        path.write_bytes({"csv": bytes, "csv.gz": gzip.compress, "csv.bz2": bz2.compress}[kind](text))
    whole = load_table(SeriesData(path=str(path), **COVARIATES))
    streamed = load_table(SeriesData(path=str(path), stream=True, cache_dir=str(tmp_path), **COVARIATES))
    assert len(list(tmp_path.iterdir())) == 1 and streamed.report.pop("streamed")
    same(whole, streamed)
    whole.report["gaps"].pop("first"), streamed.report["gaps"].pop("first")
    whole.report.pop("sorted"), streamed.report.pop("sorted")
    close(whole.report, streamed.report)


@pytest.mark.parametrize("order", ["series", "random"])
def test_parts_hold_whole_series_in_order(tmp_path, order):
    path, ahead = tmp_path / "sales.csv", tmp_path / "ahead.csv"
    df = frame(order)
    future = df["y"].isna() & df["traffic"].isna()
    df[~future].to_csv(path, index=False)
    df[future].to_csv(ahead, index=False)
    data = SeriesData(path=str(path), future_path=str(ahead), **COVARIATES)
    whole = load_table(data)
    scaler = Scaler.fit(whole, whole.lengths)
    expected = last_windows(whole, scaler, 10, 4)
    tables = list(iter_tables(data, series_per_table=2))
    assert [i for t in tables for i in t.item_ids] == whole.item_ids and len(tables) >= 3
    done = 0
    for table in tables:
        assert len(table) <= 2
        batch = last_windows(table, scaler.for_table(table), 10, 4)
        for name in set(batch) - {"series"}:
            torch.testing.assert_close(batch[name], expected[name][done : done + len(table)])
        done += len(table)


def test_training_reads_from_disk(tmp_path):
    path = tmp_path / "sales.csv"
    frame().to_csv(path, index=False)
    whole, streamed = (load_table(SeriesData(path=str(path), stream=s, **COVARIATES)) for s in (False, True))
    batches = []
    for table in (whole, streamed):
        split = split_points(table, 0.1, 0.2, min_length=4)
        scaler = Scaler.fit(table, [a for a, _ in split])
        windows = WindowDataset(table, scaler, "train", split, 8, 4)
        batches.append(windows.__getitems__(range(len(windows))))
    assert windows._gather.values.data_ptr() == streamed.values.ctypes.data  # no copy in memory
    for name in batches[0]:
        torch.testing.assert_close(batches[0][name], batches[1][name])
    values = whole.values.copy()
    streamed.values[0] = 0  # private: the other tables of the same file do not see it
    np.testing.assert_array_equal(whole.values, values)


def test_large_files_are_streamed_by_themselves(tmp_path):
    path = tmp_path / "sales.csv"
    pd.concat([frame()] * 1).to_csv(path, index=False)
    assert "streamed" not in load_table(SeriesData(path=str(path), memory_rows=300)).report
    big = tmp_path / "big.csv"
    stamps = pd.date_range("2000-01-01", periods=60_000, freq="h")
    pd.DataFrame({"time": stamps, "y": np.arange(60_000.0)}).to_csv(big, index=False)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as m:
        m.setattr(blocks, "_CHARACTERS", 1 << 20)
        m.setattr(blocks, "_HEAD", 1 << 16)
        table = load_table(SeriesData(path=str(big), memory_rows=50_000))
        assert table.report["streamed"] and table.layout == "wide" and table.lengths.tolist() == [60_000]
        assert "streamed" not in load_table(SeriesData(path=str(big), memory_rows=70_000)).report


@pytest.mark.parametrize(
    "old, new, options, parts",
    [
        ("s5,2024-04-20,", "s5,2024-04-20,oops", {}, ["sales.csv line", "column 'y'", "oops"]),
        ("s5,2024-04-20,", "s5,20.4.2024,", {}, ["column 'ds'", "20.4.2024"]),
        ("s5,2024-04-20,", "s5,2024-04-19,", {}, ["sales.csv line", "is there 2 times (first: line"]),
        ("s5,2024-04-20,", "s5,2024-04-20,1,1,1", {}, ["line", "cells"]),
        ("", "", {"layout": "rows"}, ["layout rows"]),
        ("", "", {"cache_dir": "nowhere"}, ["cache_dir nowhere", "no such folder"]),
        ("", "", {"time_column": "none"}, ["needs stamps"]),
    ],
)
def test_mistakes_name_their_line(refuses, old, new, options, parts):
    text = frame()[["unique_id", "ds", "y"]].to_csv(index=False)
    assert old in text
    message = refuses(text.replace(old, new), *parts, stream=True, **options)
    if old and "cells" not in parts:
        line = text[: text.index(old)].count("\n") + 1
        assert f"line {line}" in message


def test_a_column_empty_at_first(refuses):
    text = frame()[["unique_id", "ds", "y"]].assign(z=None)
    text.loc[len(text) - 1, "z"] = 5
    refuses(
        text.to_csv(index=False), "column 'z'", "first rows of this column are empty", "target_columns", stream=True
    )


def test_repeated_hour_across_pieces(tmp_path):
    local = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Berlin")
    df = pd.DataFrame({"time": local.tz_localize(None), "y": np.arange(60.0)})
    path = tmp_path / "log.csv"
    df.to_csv(path, index=False)
    whole, streamed = (
        load_table(SeriesData(path=str(path), time_zone="Europe/Berlin", stream=s)) for s in (False, True)
    )
    same(whole, streamed)
    assert len(streamed.values) == 60
