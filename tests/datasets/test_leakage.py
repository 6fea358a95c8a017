"""Nothing after a cutoff shows before it: in batches, in scales, in vocabularies; and nothing at the end is dropped."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from xlstm_apps.datasets import Scaler, WindowDataset, split_points, table_from_frame

ROLES = {
    "past_covariates": ["traffic", "state"],
    "known_covariates": ["price", "event"],
    "static_covariates": ["region"],
    "calendar": True,
}
N, CONTEXT, HORIZON = 60, 8, 4


def frame(seed=0, shuffled=False):
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=N, freq="D")
    df = pd.concat(
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": days,
                "y": rng.normal(i, 2, N),
                "traffic": rng.normal(0, 1, N),
                "state": rng.choice(["on", "off"], N),
                "price": rng.normal(5, 1, N),
                "event": rng.choice(["fair", "sale", ""], N),
                "region": f"r{i}",
            }
        )
        for i in range(3)
    )
    return df.sample(frac=1, random_state=0) if shuffled else df


def parts(df):
    table = table_from_frame(df, **ROLES)
    split = split_points(table, 0.2, 0.2, min_length=HORIZON)
    scaler = Scaler.fit(table, [a for a, _ in split])
    return scaler, {p: WindowDataset(table, scaler, p, split, CONTEXT, HORIZON) for p in ("train", "val", "test")}


def changed(df, column, after):
    """Every value of a column after day `after` is another one; text becomes what was never there."""
    late = df["ds"] >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=after)
    out = df.copy()
    if column in ("state", "event"):
        out.loc[late, column] = "aaa"
    else:
        out.loc[late, column] = 1e4 + np.arange(late.sum())
    return out


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("column", ["y", "traffic", "state", "price", "event"])
def test_no_batch_changes_before_the_cutoff(column, shuffled):
    df = frame(shuffled=shuffled)
    _, before = parts(df)
    for part, at in (("train", 36), ("val", 48), ("test", 52)):
        _, after = parts(changed(df, column, at))
        a, b = (x[part].__getitems__(range(len(x[part]))) for x in (before, after))
        assert set(a) >= {"past", "past_mask", "known", "known_codes", "static_codes"}
        for name in a:
            # Targets and known covariates reach up to the horizon, all else stops at the cutoff.
            reach = HORIZON if name.startswith(("target", "known")) else 0
            early = a["cutoff"] + reach <= at
            assert early.any() and torch.equal(a[name][early], b[name][early]), (part, name)


@pytest.mark.parametrize("column", ["y", "traffic", "state", "price", "event"])
def test_scales_and_vocabularies_see_the_training_part_alone(column):
    df = frame()
    before, _ = parts(df)
    after, _ = parts(changed(df, column, 36))
    assert json.dumps(before.to_dict()) == json.dumps(after.to_dict())
    # The probe itself works: a change one row earlier shows.
    earlier, _ = parts(changed(df, column, 35))
    assert json.dumps(before.to_dict()) != json.dumps(earlier.to_dict())


def test_the_last_window_is_scored():
    _, windows = parts(frame())
    for part, end in (("train", 36), ("val", 48), ("test", N)):
        series, cutoff = windows[part].windows()
        for s in range(3):
            assert int(cutoff[series == s].max()) == end - HORIZON, part


def test_a_batch_does_not_depend_on_its_mates():
    _, windows = parts(frame())
    together = windows["test"].__getitems__(range(len(windows["test"])))
    for i in (0, 7, len(windows["test"]) - 1):
        alone = windows["test"].__getitems__([i])
        for name in together:
            assert torch.equal(alone[name][0], together[name][i]), name
