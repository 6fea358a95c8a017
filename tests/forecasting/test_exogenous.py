"""Covariates move the forecast, and what may not be known does not."""

import numpy as np
import pandas as pd
import pytest
import torch
from forecast_cases import CONTEXT, HORIZON, NAMES, SIZES, covariates_of, example, make_model, shake

from xlstm_apps.datasets import Scaler, WindowDataset, table_from_frame
from xlstm_apps.forecasting import CovariateSizes, ForecastModule
from xlstm_apps.forecasting.exogenous import Exogenous
from xlstm_apps.forecasting.module import some_channels

CHANGES = {
    "past": lambda x: x + 1,
    "past_mask": lambda x: ~x,
    "known": lambda x: torch.cat([x[:, :-1], x[:, -1:] + 1], 1),  # the last step of the horizon
    "known_codes": lambda x: torch.cat([x[:, :-1], (x[:, -1:] + 1) % 4], 1),
    "static": lambda x: x + 1,
    "static_codes": lambda x: (x + 1) % 3,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", CHANGES)
@torch.no_grad()
def test_each_kind_moves_the_forecast(name, kind):
    model, batch = shake(make_model(members=[name], covariates=SIZES)), example() | covariates_of()
    moved = (model(batch | {kind: CHANGES[kind](batch[kind])}) - model(batch)).abs().amax(dim=(0, 2, 3))
    assert moved[-1] > 1e-3
    if kind.startswith("known"):  # acts on its own step
        assert moved[:-1].max() < 1e-5


@pytest.mark.parametrize(
    "sizes",
    [
        CovariateSizes(channels=3, past=2),
        CovariateSizes(channels=3, known=2),
        CovariateSizes(channels=3, known_codes=[4]),
        CovariateSizes(channels=3, static=1),
        CovariateSizes(channels=3, static_codes=[3]),
        CovariateSizes(channels=3, known=2, static_codes=[3]),
    ],
    ids=str,
)
def test_any_of_them_alone(sizes):
    kinds = [k for k in ("past", "known", "known_codes", "static", "static_codes") if getattr(sizes, k)]
    batch = example() | {k: x for k, x in covariates_of().items() if k in [*kinds, *(["past_mask"] * bool(sizes.past))]}
    model = shake(make_model(covariates=sizes))
    before = model(batch)
    assert torch.isfinite(before).all()
    for kind in kinds:
        assert not torch.allclose(model(batch | {kind: CHANGES[kind](batch[kind])}), before, atol=1e-3)


def test_at_the_start_they_do_nothing():
    model, batch = make_model(covariates=SIZES), example() | covariates_of()
    with torch.no_grad():
        other = model(batch | covariates_of())
    assert torch.equal(model(batch), other)


def test_effects_are_those_of_the_channels_in_the_batch():
    head = make_model().head
    exogenous, batch = shake(Exogenous(SIZES, head)), covariates_of()
    past, future = exogenous(batch)
    chosen = torch.tensor([0, 2])
    some_past, some_future = exogenous(batch | {"channels": chosen})
    torch.testing.assert_close(some_past, past[:, chosen])
    torch.testing.assert_close(some_future, future[:, chosen])


def test_gradients_reach_every_table():
    model = shake(make_model(members=["nlinear"], covariates=SIZES)).train()
    batch = example() | covariates_of() | {"target": torch.randn(4, 5, 3), "target_mask": torch.ones(4, 5, 3).bool()}
    ForecastModule(model).training_step(some_channels(batch, 8), 0).backward()
    idle = [key for key, p in model.exogenous.named_parameters() if not p.grad.abs().sum() > 0]
    assert idle == []


def frame(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = []
    for i in range(2):
        columns = {name: rng.normal(size=rows) for name in ("y", "weather", "price")}
        stamps = pd.date_range("2024-01-01", periods=rows, freq="D")
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, **columns, "size": float(i)}))
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def forecast_of(data: pd.DataFrame, cutoff: int) -> torch.Tensor:
    table = table_from_frame(
        data, past_covariates=["weather"], known_covariates=["price"], static_covariates=["size"], target_columns=["y"]
    )
    ends = [30] * 2
    scaler = Scaler.fit(table, ends)
    windows = WindowDataset(table, scaler, "test", [(cutoff, cutoff)] * 2, CONTEXT, HORIZON)
    torch.manual_seed(0)
    model = shake(make_model(covariates=CovariateSizes(channels=1, **scaler.covariates.sizes)))
    batch = windows.__getitems__([0, len(windows) // 2])
    assert batch["cutoff"].tolist() == [cutoff] * 2
    return model(batch)


@pytest.mark.parametrize(("column", "first_unknown"), [("y", 0), ("weather", 0), ("price", HORIZON)])
def test_what_is_not_known_at_the_cutoff_changes_nothing(column, first_unknown):
    cutoff, data = 40, frame()
    expected = forecast_of(data, cutoff)
    later = data.groupby("unique_id").cumcount() >= cutoff + first_unknown
    changed = data.copy()
    changed.loc[later, column] = changed.loc[later, column] * -30 + 100
    assert torch.equal(forecast_of(changed, cutoff), expected)
    just_before = data.groupby("unique_id").cumcount() == cutoff + first_unknown - 1
    changed = data.copy()
    changed.loc[just_before, column] += 3
    assert not torch.allclose(forecast_of(changed, cutoff), expected)
