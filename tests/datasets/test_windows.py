"""Splits, scaling and windows: which rows are used for what, and that nothing leaks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from xlstm_apps.datasets import Scaler, WindowDataset, last_windows, split_points, table_from_frame


def make(lengths=(40,), channels=2, missing=0.0, seed=0):
    """Series whose value tells where it came from: 1000 * series + row + channel / 10."""
    rng = np.random.default_rng(seed)
    frames = []
    for i, n in enumerate(lengths):
        values = 1000 * i + np.arange(n)[:, None] + np.arange(channels) / 10
        values = np.where(rng.random(values.shape) < missing, np.nan, values)
        days = pd.date_range("2024-01-01", periods=n, freq="h")
        columns = {f"c{j}": values[:, j] for j in range(channels)}
        frames.append(pd.DataFrame({"unique_id": f"s{i}", "ds": days, **columns}))
    return table_from_frame(pd.concat(frames), target_columns=[f"c{j}" for j in range(channels)])


def prepare(table, part="train", context=6, horizon=3, stride=1, fractions=(0.2, 0.2)):
    split = split_points(table, *fractions)
    scaler = Scaler.fit(table, [train_end for train_end, _ in split])
    return WindowDataset(table, scaler, part, split, context, horizon, stride), split, scaler


def test_split_is_that_of_the_ltsf_protocol():
    assert split_points(make([10_000]), 0.1, 0.2) == [(7000, 8000)]
    assert split_points(make([966]), 0.1, 0.2) == [(676, 773)]  # int(.7 n), n - int(.2 n)
    assert split_points(make([52_696 // 10]), 0.1, 0.2) == [(3688, 4216)]
    assert split_points(make([10, 20]), 0.0, 0.2) == [(8, 8), (16, 16)]
    assert split_points(make([10]), 0.0, 0.0) == [(10, 10)]


def test_short_series_get_whole_horizons():
    table = make([30, 17, 16, 9, 8, 3])
    # train keeps at least horizon + 1 rows; the validation part goes before the test part
    assert split_points(table, 0.1, 0.2, min_length=4) == [(20, 24), (9, 13), (8, 12), (5, 5), (8, 8), (3, 3)]
    assert split_points(table, 0.1, 0.2, min_length=4)[2] == (8, 12)
    with pytest.raises(ValueError, match="sum below 1"):
        split_points(table, 0.5, 0.5)


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_windows_equal_plain_slices(stride, missing):
    table = make([40, 25, 60], missing=missing)
    context, horizon = 6, 3
    for part in ("train", "val", "test"):
        dataset, split, scaler = prepare(table, part, context, horizon, stride)
        batch = dataset.__getitems__(range(len(dataset)))
        series, cutoff = dataset.windows()
        torch.testing.assert_close(series, batch["series"])
        for i in range(len(dataset)):
            s, c = int(series[i]), int(cutoff[i])
            x = table.series[s].values
            expected = (torch.from_numpy(x) - torch.from_numpy(scaler.mean[s])) / torch.from_numpy(scaler.std[s])
            begin, end = {"train": (0, split[s][0]), "val": split[s], "test": (split[s][1], len(x))}[part]
            assert begin <= c and c + horizon <= end and c - context >= 0
            for name, rows in (("context", slice(c - context, c)), ("target", slice(c, c + horizon))):
                mask = ~torch.isnan(expected[rows])
                torch.testing.assert_close(batch[f"{name}_mask"][i], mask)
                torch.testing.assert_close(batch[name][i], expected[rows].nan_to_num(0.0))
            undone = batch["target"][i] * batch["std"][i] + batch["mean"][i]
            truth = torch.from_numpy(x[c : c + horizon])
            truth = truth.where(batch["target_mask"][i], batch["mean"][i])
            torch.testing.assert_close(undone, truth, atol=1e-3, rtol=1e-5)


def test_shapes_and_types():
    dataset, _, _ = prepare(make([40, 25]))
    batch = dataset.__getitems__([0, 3, len(dataset) - 1])
    shapes = {"context": (3, 6, 2), "context_mask": (3, 6, 2), "target": (3, 3, 2), "target_mask": (3, 3, 2),
              "series": (3,), "cutoff": (3,), "mean": (3, 2), "std": (3, 2), "floor": (3, 2)}  # fmt: skip
    assert {name: tuple(x.shape) for name, x in batch.items()} == shapes
    assert batch["context"].dtype == batch["mean"].dtype == torch.float32
    assert batch["context_mask"].dtype == torch.bool and batch["series"].dtype == batch["cutoff"].dtype == torch.int64
    assert dataset[0]["context"].shape == (6, 2)
    torch.testing.assert_close(dataset[-1]["cutoff"], batch["cutoff"][2])
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_validation_and_test_row_is_a_target(stride):
    table = make([40, 25, 61])
    for part in ("val", "test"):
        dataset, split, _ = prepare(table, part, stride=stride)
        covered = [set() for _ in range(3)]
        for s, c in zip(*(x.tolist() for x in dataset.windows()), strict=True):
            covered[s] |= set(range(c, c + 3))
        for s, (train_end, val_end) in enumerate(split):
            expected = range(train_end, val_end) if part == "val" else range(val_end, len(table.series[s].values))
            assert covered[s] == set(expected)


def test_number_of_test_windows_does_not_depend_on_the_context():
    table = make([100])
    assert len({len(prepare(table, "test", context)[0]) for context in (1, 10, 70, 500)}) == 1
    dataset, split, _ = prepare(table, "test", 500)
    batch = dataset.__getitems__([0])
    assert batch["context_mask"].sum() == 2 * split[0][1]  # padded on the left
    padding = 500 - split[0][1]
    assert not batch["context_mask"][0, :padding].any() and (batch["context"][0, :padding] == 0).all()


def test_training_prefers_full_contexts_and_pads_short_series():
    full, _, _ = prepare(make([40]))
    assert int(full.windows()[1].min()) == 6 and full.__getitems__(range(len(full)))["context_mask"].all()
    dataset, split, _ = prepare(make([40, 12]))
    cutoffs = dataset.windows()[1][dataset.windows()[0] == 1]
    assert split[1] == (7, 10) and cutoffs.tolist() == [3, 4]  # as long a context as the horizon, no full one exists
    tiny, _, _ = prepare(make([40, 5]), fractions=(0, 0.2))
    assert tiny.windows()[1][tiny.windows()[0] == 1].tolist() == [1]


def test_windows_without_observed_values_are_left_out_and_counted():
    table = make([60])
    table.values[20:35] = np.nan
    dataset, _, _ = prepare(table, context=5, horizon=3, fractions=(0, 0.2))
    cutoffs = set(dataset.windows()[1].tolist())
    assert cutoffs == set(range(5, 46)) - set(range(20, 33)) - set(range(25, 36)) and dataset.skipped["windows"] == 16
    assert dataset.__getitems__(range(len(dataset)))["target_mask"].flatten(1).any(1).all()
    # Testing keeps a window whose context is empty: its targets must be scored.
    split = [(18, 18)]
    test = WindowDataset(table, Scaler.fit(table, [18]), "test", split, 5, 3)
    assert set(test.windows()[1].tolist()) == set(range(18, 58)) - set(range(20, 33))


def test_series_without_windows_are_counted():
    dataset, _, _ = prepare(make([40, 3, 2]))
    assert dataset.skipped["series"] == 2 and set(dataset.windows()[0].tolist()) == {0}


@pytest.mark.parametrize(
    "lengths, part, horizon, fractions, parts",
    [
        ([20], "train", 24, (0.1, 0.2), ["horizon is longer than the data", "prediction_length 24", "20 rows"]),
        ([40], "train", 30, (0.1, 0.2), ["shorter than one window", "has 40 rows, 28 of them in the train", "31"]),
        ([40], "val", 10, (0.1, 0.2), ["4 of them in the val part", "raise val_fraction"]),
        ([40], "test", 10, (0.1, 0.2), ["8 of them in the test part", "raise test_fraction"]),
    ],
)
def test_too_short(lengths, part, horizon, fractions, parts):
    with pytest.raises(ValueError) as caught:
        prepare(make(lengths), part, 10, horizon, 1, fractions)
    for text in parts:
        assert text in str(caught.value), str(caught.value)


def test_bad_arguments():
    table = make([40])
    split = split_points(table)
    scaler = Scaler.fit(table, [28])
    for change in ({"context": 0}, {"horizon": 0}, {"stride": 0}):
        with pytest.raises(ValueError, match="1 or more"):
            prepare(table, **change)
    with pytest.raises(ValueError, match="'train', 'val' or 'test'"):
        WindowDataset(table, scaler, "valid", split, 6, 3)
    with pytest.raises(ValueError, match="split has 2"):
        WindowDataset(table, scaler, "val", split * 2, 6, 3)


def test_nothing_after_the_cutoff_changes_what_lies_before():
    before = make([60, 50], missing=0.2)
    split = split_points(before, 0.2, 0.2)
    ends = [train_end for train_end, _ in split]
    after = make([60, 50], missing=0.2)
    for s, (_, val_end) in enumerate(split):
        test = after.series[s].values[val_end:]
        test[:] = np.where(np.arange(len(test))[:, None] % 3, 1e6, np.nan)
    old, new = Scaler.fit(before, ends), Scaler.fit(after, ends)
    np.testing.assert_array_equal(old.mean, new.mean)
    np.testing.assert_array_equal(old.std, new.std)
    for part in ("train", "val"):
        a, b = (WindowDataset(t, old, part, split, 6, 3) for t in (before, after))
        a, b = (d.__getitems__(range(len(d))) for d in (a, b))
        assert all(torch.equal(a[name], b[name]) for name in a)
    a, b = (WindowDataset(t, old, "test", split, 6, 3).__getitems__([0]) for t in (before, after))
    assert torch.equal(a["context"], b["context"]) and not torch.equal(a["target"], b["target"])


def test_scaler_sees_training_rows_only():
    table = make([50, 30], missing=0.3)
    scaler = Scaler.fit(table, [20, 10])
    for s, end in enumerate([20, 10]):
        seen = table.series[s].values[:end].astype(np.float64)
        np.testing.assert_allclose(scaler.mean[s], np.nanmean(seen, axis=0), rtol=1e-6)
        np.testing.assert_allclose(scaler.std[s], np.nanstd(seen, axis=0), rtol=1e-6)


def test_scaler_of_constant_and_empty_parts():
    table = make([20, 20, 20])
    table.series[0].values[:10] = 0.1
    table.series[1].values[:10] = np.nan
    scaler = Scaler.fit(table, [10, 10, 1])
    np.testing.assert_array_equal(scaler.std, np.ones((3, 2), np.float32))
    np.testing.assert_allclose(scaler.mean, [[0.1, 0.1], [0, 0], [2000, 2000.1]], rtol=1e-6)
    with pytest.raises(ValueError, match="one row number per series"):
        Scaler.fit(table, [1, 2])


def test_scaler_survives_json():
    scaler = Scaler.fit(make([50, 30], missing=0.3), [20, 10])
    back = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(back.mean, scaler.mean)
    np.testing.assert_array_equal(back.std, scaler.std)
    assert back.mean.dtype == np.float32 and back.item_ids == ["s0", "s1"] and back.channels == ["c0", "c1"]


def test_scaler_for_another_table():
    scaler = Scaler.fit(make([50, 30]), [20, 10])
    other = make([8, 8, 8])
    other.item_ids[:] = ["s1", "new", "s0"]
    own = scaler.for_table(other)
    np.testing.assert_array_equal(own.mean[[0, 2]], scaler.mean[[1, 0]])
    np.testing.assert_allclose(own.mean[1], [1003.5, 1003.6], rtol=1e-6)
    with pytest.raises(ValueError, match="value columns"):
        scaler.for_table(make([8], channels=3))


def test_a_window_does_not_depend_on_its_batch_mates():
    dataset, _, _ = prepare(make([40, 25, 60], missing=0.3))
    together = dataset.__getitems__(range(len(dataset)))
    for i in (0, 7, len(dataset) - 1):
        alone = dataset.__getitems__([i])
        assert all(torch.equal(together[name][i], alone[name][0]) for name in alone)


def test_last_windows():
    table = make([40, 4], missing=0.2)
    scaler = Scaler.fit(table, [40, 4])
    batch = last_windows(table, scaler, 6)
    assert batch["cutoff"].tolist() == [40, 4] and batch["context"].shape == (2, 6, 2) and "target" not in batch
    x = torch.from_numpy((table.series[0].values[-6:] - scaler.mean[0]) / scaler.std[0])
    torch.testing.assert_close(batch["context"][0], x.nan_to_num(0.0))
    assert not batch["context_mask"][1, :2].any()
    some = last_windows(table, scaler, 6, series=[1])
    assert all(torch.equal(some[name][0], batch[name][1]) for name in some)


def test_with_a_data_loader():
    dataset, _, _ = prepare(make([40, 25]))
    loader = DataLoader(dataset, batch_size=16, shuffle=True, collate_fn=lambda batch: batch)
    cutoffs = torch.cat([batch["series"] * 1000 + batch["cutoff"] for batch in loader])
    series, cutoff = dataset.windows()
    assert sorted(cutoffs.tolist()) == sorted((series * 1000 + cutoff).tolist())  # the last, smaller batch included


def test_windows_are_not_stored():
    rows = 300_000
    table = table_from_frame(pd.DataFrame({"ds": np.arange(rows), "a": np.arange(rows, dtype=np.float32)}))
    dataset = WindowDataset(table, Scaler.fit(table, [rows]), "train", [(rows, rows)], 512, 96)
    assert len(dataset) == rows - 512 - 96 + 1
    tensors = [v for v in vars(dataset).values() if isinstance(v, torch.Tensor)]
    assert sum(t.numel() for t in tensors) < 10  # the windows are computed from their number
    assert dataset._gather.values.data_ptr() == table.values.ctypes.data  # and cut from the table's own memory


def test_many_series():
    table = make([7, 9] * 50, channels=1)
    table = replace(
        table,
        values=np.tile(table.values, (1000, 1)),
        timestamps=np.tile(table.timestamps, 1000),
        offsets=np.arange(0, 100_001) * 8,
        item_ids=[f"{i}" for i in range(100_000)],
    )
    split = split_points(table, 0.1, 0.2, min_length=2)
    scaler = Scaler.fit(table, [train_end for train_end, _ in split])
    dataset = WindowDataset(table, scaler, "test", split, 4, 2)
    assert len(dataset) == 100_000
    batch = dataset.__getitems__(torch.arange(99_000, 100_000))
    assert batch["series"].tolist() == list(range(99_000, 100_000))
    assert last_windows(table, scaler, 4, series=range(10))["context"].shape == (10, 4, 1)
