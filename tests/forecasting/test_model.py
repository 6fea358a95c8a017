"""The forecaster around its members: normalisation, gaps, quantiles, the mean, files."""

import json
from dataclasses import replace

import pytest
import torch
from forecast_cases import BACKBONE, NAMES, SIZES, covariates_of, example, make_model, row, shake

from xlstm_apps.forecasting import PRESETS, ForecastConfig, ForecastModel, with_preset
from xlstm_apps.forecasting.model import fill, last_steps, masked_moments


@pytest.mark.parametrize("members", [[name] for name in NAMES] + [NAMES])
@pytest.mark.parametrize("quantiles", [[0.1, 0.9], [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99], [0.8, 0.2, 0.6]])
def test_quantiles_never_cross_whatever_the_weights(members, quantiles):
    model = make_model(members=members, quantiles=quantiles)
    assert model.levels == sorted({*quantiles, 0.5}) and model.levels[model.median] == 0.5
    batch = example()
    for scale in (0.01, 1, 3):
        with torch.no_grad():
            forecast = shake(model, scale)(batch)
        assert forecast.shape == (4, 5, 3, len(model.levels))
        assert torch.isfinite(forecast).all()
        assert (forecast.diff(dim=-1) >= 0).all()


def named_model(name: str) -> ForecastModel:
    head, backbone, _ = with_preset(ForecastConfig(prediction_length=5, model=name), BACKBONE)
    return shake(ForecastModel(head.resolve(context_length=20, season=1), backbone, SIZES), 0.1).eval()


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_a_forecast_does_not_depend_on_its_batch_mates(name):
    model, batch = named_model(name), example(windows=6) | covariates_of(6)
    whole = model(batch)
    torch.testing.assert_close(model(row(batch, slice(2, 3))), whole[2:3], rtol=1e-4, atol=1e-5)
    others = {key: x.clone() for key, x in batch.items()}
    rest = [0, 1, 3, 4, 5]
    for key in ("context", "past", "known", "static"):
        others[key][rest] = 1e3 * torch.randn_like(others[key][rest])
    others["context_mask"][rest] = True
    torch.testing.assert_close(model(others)[2], whole[2], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(model(others)[0], whole[0], rtol=1e-2)


@pytest.mark.parametrize("name", ["naive", "nlinear", "dlinear", "patch", "patchtst"])
@torch.no_grad()
def test_members_that_read_one_channel_at_a_time(name):
    model, batch = shake(make_model(members=[name])).eval(), example()
    alone = {key: x[..., 1:2] for key, x in batch.items()}
    torch.testing.assert_close(model(alone), model(batch)[:, :, 1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_missing_values_are_not_looked_at(name):
    model, batch = shake(make_model(members=[name], covariates=SIZES)), example() | covariates_of()
    expected = model(batch)
    for garbage in (1e6, float("nan"), float("inf")):
        changed = dict(batch)
        for key in ("context", "past"):
            changed[key] = torch.where(batch[f"{key}_mask"], batch[key], garbage)
        assert torch.equal(model(changed), expected)


def test_the_forecast_is_the_weighted_mean_of_the_members():
    model, batch = shake(make_model(members=["naive", "nlinear", "patch"])), example()
    parts = model.forward_members(batch)
    torch.testing.assert_close(model(batch), sum(parts) / 3)
    model.weights.copy_(torch.tensor([0.0, 0.25, 0.75]))
    torch.testing.assert_close(model(batch), 0.25 * parts[1] + 0.75 * parts[2])


def test_constant_windows_are_forecast_near_their_value_and_empty_ones_near_zero():
    model, x = make_model(), torch.full((1, 20, 1), 5.0)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert (model({"context": x, "context_mask": seen}) - 5).abs().max() < 2
    assert model({"context": x, "context_mask": ~seen}).abs().max() < 2


@pytest.mark.parametrize("name", sorted({*NAMES} - {"dlinear"}))
def test_shifted_and_scaled_windows_give_shifted_and_scaled_forecasts(name):
    model, batch = make_model(members=[name]), example()
    x = batch["context"] * 50  # far above the floor of the deviation, which alone breaks the symmetry
    moved = model(batch | {"context": 3 * x + 1000})
    torch.testing.assert_close(moved, 3 * model(batch | {"context": x}) + 1000, rtol=1e-3, atol=0.5)


@pytest.mark.parametrize(("norm", "moved"), [(True, False), (False, True)])
def test_instance_norm_can_be_turned_off(norm, moved):
    model, batch = shake(make_model(members=["patch"], instance_norm=norm)), example(missing=0)
    batch["context"] = batch["context"] * 50
    shift = model(batch | {"context": batch["context"] + 1000}) - model(batch)
    assert torch.allclose(shift, torch.tensor(1000.0), atol=1) is not moved


def test_moments_see_observed_values_only():
    x = torch.tensor([[0.0, 0, 1, 2, 3]])
    seen = torch.tensor([[False, False, True, True, True]])
    mean, std = masked_moments(x, seen)
    assert mean.item() == 2 and std.item() == pytest.approx((2 / 3 + 0.01) ** 0.5)
    mean, std = masked_moments(x, torch.zeros_like(seen))
    assert mean.item() == 0 and std.item() == pytest.approx(0.1)


def test_fill_carries_forward_and_back():
    x = torch.tensor([[9.0, 1, 9, 9, 2, 9], [9, 9, 9, 9, 9, 9], [1, 2, 3, 4, 5, 6]])
    seen = torch.tensor([[False, True, False, False, True, False], [False] * 6, [True] * 6])
    assert fill(x, seen).tolist() == [[1, 1, 1, 1, 2, 2], [0] * 6, [1, 2, 3, 4, 5, 6]]
    long = torch.rand(3, 300)
    gaps = torch.rand(3, 300) < 0.02
    gaps[:, 150] = True
    expected = long.clone()
    for r in range(3):
        observed = gaps[r].nonzero()[:, 0].tolist()
        for t in range(300):
            expected[r, t] = long[r, max((o for o in observed if o <= t), default=observed[0])]
    assert torch.equal(fill(long, gaps), expected)


def test_wrong_context_is_refused():
    with pytest.raises(ValueError, match="sees 20 steps of context, not 19"):
        make_model()(example(length=19))


def test_a_batch_is_cut_to_what_a_model_sees():
    batch = example() | covariates_of()
    cut = last_steps(batch, 7, 5)
    assert {key: x.shape[1] for key, x in cut.items()} == {
        "context": 7, "context_mask": 7, "past": 7, "past_mask": 7, "known": 12, "known_codes": 12, "static": 1,
        "static_codes": 1,
    }  # fmt: skip
    assert torch.equal(cut["context"], batch["context"][:, 13:]) and torch.equal(cut["known"], batch["known"][:, 13:])


@pytest.mark.parametrize("covariates", [None, SIZES])
@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_saving_keeps_everything(tmp_path, name, covariates):
    model = named_model(name)
    model = shake(ForecastModel(replace(model.head, quantiles=[0.2, 0.7]), model.backbone, covariates)).eval()
    model.weights.copy_(torch.rand_like(model.weights))
    model.save_pretrained(tmp_path)
    again = ForecastModel.from_pretrained(tmp_path)
    assert (again.head, again.backbone, again.covariates) == (model.head, model.backbone, covariates)
    assert not again.training
    batch = example() | ({} if covariates is None else covariates_of())
    assert torch.equal(again(batch), model(batch))
    stored = {"head", "backbone"} | (set() if covariates is None else {"covariates"})
    assert stored <= set(json.loads((tmp_path / "config.json").read_text()))
