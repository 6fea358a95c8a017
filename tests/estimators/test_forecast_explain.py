"""Occlusion on models whose answer is known: it finds what they use, and nothing else."""

import itertools
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from xlstm_apps.datasets import Scaler, WindowDataset, table_from_frame
from xlstm_apps.estimators.forecast_explain import cut, explain
from xlstm_apps.report import write_explanation

CONTEXT, HORIZON = 12, 3


class Repeats(torch.nn.Module):
    """Every channel's forecast is channel 0, five steps before the cutoff, plus the known covariate if there is one."""

    def __init__(self):
        super().__init__()
        self.head = SimpleNamespace(context_length=CONTEXT, prediction_length=HORIZON)
        self.median, self.anchor = 1, torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        value = batch["context"][:, -5, :1, None].expand(-1, HORIZON, 1)[:, :, None]  # [B, H, 1, 1]
        forecast = value.expand(-1, -1, batch["context"].shape[2], 3)
        return forecast + batch["known"][:, -HORIZON:, :1, None] if "known" in batch else forecast


def setting(**covariates):
    rng = np.random.default_rng(0)
    stamps = np.datetime64("2024-01-01T00", "us") + np.arange(100) * np.timedelta64(3600, "s")
    frame = {"ds": stamps, "a": rng.normal(size=100), "b": rng.normal(size=100), "price": rng.normal(size=100)}
    table = table_from_frame(pl.DataFrame(frame), target_columns=["a", "b"], **covariates)
    scaler = Scaler.fit(table, [70])
    return table, scaler, WindowDataset(table, scaler, "test", [(70, 80)], CONTEXT, HORIZON)


def test_the_step_and_the_column_in_use_are_found_and_no_other():
    table, scaler, windows = setting()
    found = explain(Repeats(), table, scaler, windows, season=1, segment_length=1)
    assert found.windows == len(windows) == 18
    changes = {row["from_step"]: row["change"] for row in found.segments.iter_rows(named=True)}
    assert changes[5] > 0.3 and sum(changes.values()) == changes[5] and len(changes) == CONTEXT
    pairs = {(row["source"], row["target"]): row for row in found.variates.iter_rows(named=True)}
    assert pairs.keys() == {("a", "a"), ("a", "b"), ("b", "b")}  # b changes a nowhere; a column's own past always shows
    assert pairs["b", "b"]["change"] == 0 and pairs["b", "b"]["error_without"] == pairs["b", "b"]["error"]
    # Hidden means the mean of training: the forecast is then 0.
    batch = windows.__getitems__(list(range(18)))
    expected = batch["context"][:, -5, 0].abs().mean()
    assert pairs["a", "a"]["change"] == pytest.approx(float(expected), rel=1e-5)
    assert pairs["a", "a"]["error_without"] == pytest.approx(float(batch["target"][..., 0].abs().mean()), rel=1e-5)
    by_step = found.steps.filter(pl.col("from_step") == 5)
    assert by_step["step"].to_list() == [1, 2, 3] and by_step["change"].to_list() == pytest.approx([changes[5]] * 3)


def test_a_known_covariate_is_found():
    table, scaler, windows = setting(known_covariates=["price"])
    found = explain(Repeats(), table, scaler, windows, season=1)
    rows = found.variates.filter(pl.col("source") == "price")
    assert rows["kind"].unique().to_list() == ["known covariate"] and (rows["change"] > 0.3).all() and len(rows) == 2
    assert found.segments["change"].max() > 0 and len(found.variates) == 5


def test_missing_targets_count_nowhere():
    table, scaler, _ = setting()
    values = table.values.copy()
    values[80:, 1] = np.nan
    table = type(table)(**{**table.__dict__, "values": values})
    windows = WindowDataset(table, scaler, "test", [(70, 80)], CONTEXT, HORIZON)
    found = explain(Repeats(), table, scaler, windows, season=1)
    errors = {row["target"]: row["error"] for row in found.variates.iter_rows(named=True)}
    assert errors["b"] is None and errors["a"] > 0


@pytest.mark.parametrize(
    ("context", "season", "length", "expected"),
    [
        (96, 24, None, 8),
        (672, 24, None, 48),
        (12, 1, None, 1),
        (30, 7, None, 7),
        (100, 1, 30, 30),
        (5, 24, None, 1),
    ],
)
def test_segments_are_whole_seasons_or_fractions_of_one(context, season, length, expected):
    segments = cut(context, season, length)
    assert segments[0] == (1, expected) and segments[-1][1] == context
    assert all(last + 1 == first for (_, last), (first, _) in itertools.pairwise(segments))


def test_a_segment_longer_than_the_context_is_refused():
    table, scaler, windows = setting()
    with pytest.raises(ValueError, match="1 to 12 steps"):
        explain(Repeats(), table, scaler, windows, season=1, segment_length=13)
    with pytest.raises(ValueError, match="at least 1"):
        explain(Repeats(), table, scaler, windows, season=1, most_windows=0)


def test_the_page_says_it_in_words(tmp_path):
    table, scaler, windows = setting(known_covariates=["price"])
    found = explain(Repeats(), table, scaler, windows, season=1, segment_length=1)
    page = write_explanation(tmp_path / "explain.html", found.frames(), windows=found.windows).read_text()
    assert "rest most on step 5 before them, and among other columns on a" in page and ">price<" in page
    assert "18 held-out windows" in page and "http://" not in page.split("<script>")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["explain.html"]
