"""Cutoffs of series of unequal length: each has as many as fit into it."""

from types import SimpleNamespace

import numpy as np
import pytest
from toy_forecaster import HORIZON, LastValue, walks

from xlstm_apps.datasets import Scaler, split_points, table_from_frame
from xlstm_apps.estimators.forecast_rolling import by_series, fewer_windows, first_cutoffs, refit_frames

LENGTHS = (40, 17, 9, 4)


@pytest.fixture(scope="module")
def table():
    return table_from_frame(walks(LENGTHS), freq="1d")


def test_shorter_series_have_fewer_cutoffs(table):
    first = first_cutoffs(table, HORIZON, 5, 4)
    assert first.tolist() == [40 - 4 - 4 * 4, 1, 1, 4]  # 36, 32, ..., 20; 13, 9, 5, 1; 5, 1; none
    assert fewer_windows(table, first, HORIZON, 5, 4) == [
        "2 of 4 series have room for fewer than 5 windows",
        "1 of 4 series have room for none: they are left out",
    ]
    with pytest.raises(ValueError, match=r"no series is long enough for 10 windows .* the longest has 40 rows"):
        first_cutoffs(table, HORIZON, 10, 4)


def test_none_reaches_into_what_was_trained_on(table):
    tested = np.array([28, 12, 6, 2])
    assert first_cutoffs(table, HORIZON, 3, 4, tested).tolist() == [28, 13, 9, 4]
    with pytest.raises(ValueError, match="at most 3 fit into the test part"):
        first_cutoffs(table, HORIZON, 4, 4, tested)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_shorter_series_joins_when_it_is_long_enough(table, every):
    known = []

    def train(seen):
        known.append(seen.lengths.tolist())
        scaler = Scaler.fit(seen, seen.lengths)
        return SimpleNamespace(scaler=scaler, split=split_points(seen, 0.0, 0.0)), LastValue()

    first = first_cutoffs(table, HORIZON, 5, 4)
    frame = by_series(
        refit_frames(
            table, first, horizon=HORIZON, n_windows=5, step=4, every=every, train=train, calibrated=False,
            quantiles=[0.5],
        )
    )  # fmt: skip
    counts = frame.group_by("unique_id", maintain_order=True).len()
    assert dict(counts.iter_rows()) == {"s0": 20, "s1": 16, "s2": 8}
    assert known[0] == [20, 1, 1, 1] and len(known) == -(-5 // every)
    if every == 1:
        assert known[3] == [32, 9, 1, 1]
    last = frame.group_by("unique_id").agg(cutoff=frame["cutoff"].max())
    assert len(last) == 3 and (frame["ds"] > frame["cutoff"]).all() and frame["y"].null_count() == 0
