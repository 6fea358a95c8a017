import json

import pytest
import torch

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting import ForecastConfig, ForecastModel, ForecastModule, pinball
from xlstm_apps.forecasting.model import fill, masked_moments
from xlstm_apps.forecasting.module import some_channels

BACKBONE = xLSTMConfig(embedding_dim=8, num_blocks=1, num_heads=2, slstm_at="all", conv1d_kernel_size=0)


def make_model(context=20, horizon=5, **options) -> ForecastModel:
    head = ForecastConfig(prediction_length=horizon, context_length=context, **options)
    return ForecastModel(head.resolve(seasons=[], season=1, train_length=1000), BACKBONE).eval()


def example(windows=4, length=20, channels=3, missing=0.3):
    x = torch.randn(windows, length, channels).cumsum(1)
    return x, torch.rand(windows, length, channels) >= missing


@pytest.mark.parametrize("members", [["linear"], ["patch"], ["linear", "patch"]])
@pytest.mark.parametrize("quantiles", [[0.5], [0.1, 0.9], [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99], [0.8, 0.2, 0.6]])
def test_quantiles_never_cross_whatever_the_weights(members, quantiles):
    model = make_model(members=members, quantiles=quantiles)
    assert model.levels == sorted({*quantiles, 0.5})
    x, seen = example()
    for _ in range(5):
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(0, 2)
            forecast = model(x, seen)
        assert forecast.shape == (4, 5, 3, len(model.levels))
        assert torch.isfinite(forecast).all()
        assert (forecast.diff(dim=-1) >= 0).all()


def test_a_row_depends_on_no_other_row():
    model = make_model()
    x, seen = example(windows=6)
    whole = model(x, seen)
    torch.testing.assert_close(model(x[2:3], seen[2:3]), whole[2:3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(x[..., 1:2], seen[..., 1:2]), whole[:, :, 1:2], rtol=1e-4, atol=1e-5)
    others = x.clone()
    others[[0, 1, 3, 4, 5]] = 1e4 * torch.randn(5, 20, 3)
    assert torch.equal(model(others, seen)[2], whole[2])


def test_missing_values_are_not_looked_at():
    model = make_model()
    x, seen = example()
    garbage = torch.where(seen, x, 1e6)
    nan = torch.where(seen, x, float("nan"))
    assert torch.equal(model(garbage, seen), model(x, seen))
    assert torch.equal(model(nan, seen), model(x, seen))


def test_gradients_are_finite_with_missing_constant_and_empty_windows():
    model = make_model().train()
    x, seen = example()
    x[0], seen[1], seen[2, :-1] = 7.0, False, False
    x = torch.where(seen, x, float("nan"))
    forecast = model(x, seen)
    assert torch.isfinite(forecast).all()
    forecast.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_constant_windows_are_forecast_near_their_value_and_empty_ones_near_zero():
    model = make_model()
    x = torch.full((1, 20, 1), 5.0)
    assert (model(x, torch.ones_like(x, dtype=torch.bool)) - 5).abs().max() < 2
    assert model(x, torch.zeros_like(x, dtype=torch.bool)).abs().max() < 2


def test_shifted_and_scaled_windows_give_shifted_and_scaled_forecasts():
    model = make_model()
    x, seen = example()
    x = x * 50  # far above the floor of the deviation, which alone breaks the symmetry
    torch.testing.assert_close(model(3 * x + 1000, seen), 3 * model(x, seen) + 1000, rtol=1e-3, atol=0.5)


def test_longer_padding_on_the_left_changes_only_what_padding_must():
    x = torch.tensor([[0.0, 0, 1, 2, 3]])
    seen = torch.tensor([[False, False, True, True, True]])
    mean, std = masked_moments(x, seen)
    assert mean.item() == 2 and std.item() == pytest.approx((2 / 3 + 0.01) ** 0.5)


def test_fill_carries_forward_and_back():
    x = torch.tensor([[9.0, 1, 9, 9, 2, 9], [9, 9, 9, 9, 9, 9]])
    seen = torch.tensor([[False, True, False, False, True, False], [False] * 6])
    assert fill(x, seen).tolist() == [[1, 1, 1, 1, 2, 2], [0] * 6]


def test_wrong_context_is_refused():
    with pytest.raises(ValueError, match="sees 20 steps of context, not 19"):
        make_model()(*example(length=19))


@pytest.mark.parametrize(("context", "patch", "stride"), [(20, 6, 6), (20, 6, 4), (5, 5, 5), (7, 3, 1), (1, 1, 1)])
def test_patches_of_any_size_cover_the_newest_values(context, patch, stride):
    model = make_model(context, members=["patch"], patch_length=patch, patch_stride=stride)
    x, seen = example(length=context, missing=0)
    changed = x.clone()
    changed[:, -1] += 1
    assert not torch.equal(model(x, seen), model(changed, seen))


def test_saving_keeps_everything(tmp_path):
    model = make_model(quantiles=[0.2, 0.7])
    model.save_pretrained(tmp_path)
    again = ForecastModel.from_pretrained(tmp_path)
    assert again.head == model.head and again.backbone == model.backbone and not again.training
    assert torch.equal(again(*(batch := example())), model(*batch))
    assert set(json.loads((tmp_path / "config.json").read_text())) == {"head", "backbone"}


def test_pinball_is_the_definition_and_leaves_missing_targets_out():
    forecast, target = torch.randn(2, 3, 1, 3), torch.randn(2, 3, 1)
    mask = torch.rand(2, 3, 1) > 0.4
    levels = [0.1, 0.5, 0.9]
    loss = pinball(forecast, torch.where(mask, target, float("nan")), mask, levels)
    for b, h in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        expected = 0.0
        for i, q in enumerate(levels):
            error = float(target[b, h, 0] - forecast[b, h, 0, i])
            expected += (q * error if error > 0 else (q - 1) * error) / 3
        assert loss[b, h, 0].item() == pytest.approx(expected if mask[b, h, 0] else 0.0, abs=1e-6)


def batch_of(windows=4, channels=3):
    context, context_mask = example(windows, 20, channels)
    target, target_mask = example(windows, 5, channels)
    return {"context": context, "context_mask": context_mask, "target": target, "target_mask": target_mask}


@torch.no_grad()
def test_validation_loss_does_not_depend_on_how_the_part_is_cut(monkeypatch):
    module, batch = ForecastModule(make_model()), batch_of(6)
    logged = {}
    monkeypatch.setattr(module, "log", lambda name, value: logged.setdefault(name, []).append(float(value)))
    for cuts in ([6], [4, 2], [1] * 6):
        module.on_validation_epoch_start()
        for i, part in enumerate(zip(*(x.split(cuts) for x in batch.values()), strict=True)):
            module.validation_step(dict(zip(batch, part, strict=True)), i)
        module.on_validation_epoch_end()
    assert logged["val_loss"] == pytest.approx([logged["val_loss"][0]] * 3, rel=1e-5)


def test_wide_tables_train_on_some_channels_per_step():
    batch = batch_of(windows=4, channels=10)
    small = some_channels(batch, 12)
    assert small["context"].shape == (4, 20, 3) and small["target_mask"].shape == (4, 5, 3)
    assert some_channels(batch, 40) is batch
    assert some_channels(batch, 1)["context"].shape == (4, 20, 1)


def test_the_loss_falls():
    module = ForecastModule(make_model(dropout=0.0))
    batch = batch_of()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    losses = []
    for _ in range(30):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
