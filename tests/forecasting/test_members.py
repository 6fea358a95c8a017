"""Every member at odd sizes, with gaps, and what makes each the method it is named after."""

import pytest
import torch
from forecast_cases import BACKBONE, NAMES, example, make_model, shake, training_batch

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting import ForecastConfig, ForecastModel, ForecastModule, with_preset
from xlstm_apps.forecasting.config import UNTRAINED
from xlstm_apps.forecasting.members.patch import patch_count
from xlstm_apps.forecasting.members.transformer import TokenBatchNorm

MANY = [i / 40 for i in range(1, 40)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("windows", "context", "horizon", "channels", "quantiles"),
    [
        (1, 1, 1, 1, [0.1, 0.5, 0.9]),
        (3, 2, 1, 1, [0.5, 0.9]),
        (2, 3, 7, 30, [0.9]),
        (2, 37, 50, 1, MANY),
        (5, 96, 2, 30, [0.01]),
    ],
)
def test_odd_sizes_forecast_and_learn(name, windows, context, horizon, channels, quantiles):
    model = make_model(context, horizon, members=[name], quantiles=quantiles).train()
    batch = training_batch(windows, channels, context, horizon)
    batch["target_mask"][0, 0, 0] = True
    forecast = model(batch)
    assert forecast.shape == (windows, horizon, channels, len({*quantiles, 0.5})) and torch.isfinite(forecast).all()
    ForecastModule(model).training_step(batch, 0).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients) and any(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("name", sorted({*NAMES} - UNTRAINED))
def test_only_the_median(name, tmp_path):
    model = make_model(members=[name], quantiles=[0.5])
    batch = training_batch()
    assert model(batch).shape == (4, 5, 3, 1)
    ForecastModule(model.train()).training_step(batch, 0).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    model.eval().save_pretrained(tmp_path)
    assert torch.equal(ForecastModel.from_pretrained(tmp_path)(batch), model(batch))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_with_missing_constant_and_empty_windows(name):
    model, batch = make_model(members=[name]).train(), example()
    x, seen = batch["context"], batch["context_mask"]
    x[0], seen[1], seen[2, :-1] = 7.0, False, False
    forecast = model({"context": torch.where(seen, x, float("nan")), "context_mask": seen})
    assert torch.isfinite(forecast).all()
    forecast.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name):
    model = shake(make_model(members=[name], dropout=0.0), 0.1).train()
    model(example()).square().sum().backward()
    learning = ((key, p) for key, p in model.named_parameters() if p.requires_grad)
    idle = [key for key, p in learning if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("name", NAMES)
def test_the_newest_value_counts(name):
    model, batch = shake(make_model(members=[name])), example(missing=0)
    changed = batch["context"].clone()
    changed[:, -1] += 1
    assert not torch.allclose(model(batch), model(batch | {"context": changed}), atol=1e-3)


def test_the_ridge_member_has_weights_by_channel():
    model, batch = shake(make_model(members=["ridge"], ridge_channels=3)), training_batch()
    whole, chosen = model(batch), torch.tensor([2, 0])
    some = {name: x[..., chosen] for name, x in batch.items()}
    torch.testing.assert_close(model({**some, "channels": chosen}), whole[:, :, chosen])
    with pytest.raises(ValueError, match="each of 3 columns, and this table has 2; give the columns it was trained on"):
        model(some)


def test_the_naive_member_repeats_the_last_observed_value():
    model = make_model(members=["naive"])
    x = torch.tensor([[1.0, 5.0, 2.0, 9.0]]).repeat(1, 5).T[None]  # one window, 20 steps, one channel
    seen = torch.ones_like(x, dtype=torch.bool)
    seen[0, -1] = False
    median = model({"context": x, "context_mask": seen})[0, :, 0, model.median]
    torch.testing.assert_close(median, torch.full((5,), 2.0))


def test_linear_members_start_from_the_last_value_and_from_the_mean():
    batch = example(missing=0)
    last, mean = batch["context"][:, -1:], batch["context"].mean(1, keepdim=True)
    for name, expected in (("nlinear", last), ("dlinear", mean)):
        model = make_model(members=[name])
        torch.testing.assert_close(model(batch)[..., model.median], expected.expand(-1, 5, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["variate", "mixer", "itransformer"])
def test_members_across_channels_read_the_other_channels(name):
    model, batch = shake(make_model(members=[name])), example(missing=0)
    changed = batch["context"].clone()
    changed[..., 0] = torch.randn(4, 20).cumsum(1)
    assert not torch.allclose(model(batch)[:, :, 2], model(batch | {"context": changed})[:, :, 2], atol=1e-3)


@pytest.mark.parametrize(
    ("context", "patch", "stride"), [(20, 6, 6), (20, 6, 4), (5, 5, 5), (7, 3, 1), (1, 1, 1), (20, 20, 3), (9, 2, 4)]
)
def test_patches_of_any_size_end_at_the_newest_value(context, patch, stride):
    count, padding = patch_count(context, patch, stride)
    assert (count - 1) * stride + patch == context + padding and 0 <= padding < max(stride, patch)
    model = shake(make_model(context, members=["patch"], patch_length=patch, patch_stride=stride))
    batch = example(length=context, missing=0)
    changed = batch["context"].clone()
    changed[:, 0] += 1
    if stride <= patch and context > 1:  # every value is in some patch, the oldest too
        assert not torch.equal(model(batch), model(batch | {"context": changed}))


def test_tokens_of_the_mixer_can_be_left_out():
    batch = example()
    assert make_model(members=["mixer"], mixer_tokens=0)(batch).shape == make_model(members=["mixer"])(batch).shape


def test_batch_normalisation_of_a_single_token_uses_what_it_has_learned():
    norm = TokenBatchNorm(4)
    norm(torch.randn(3, 5, 4))
    alone = torch.randn(1, 1, 4)
    trained = norm(alone)
    assert torch.equal(trained, norm.eval()(alone))


@pytest.mark.parametrize("name", ["patchtst", "itransformer"])
def test_heads_must_divide_the_width(name):
    head = ForecastConfig(prediction_length=2, model=name)
    head, backbone, _ = with_preset(head, xLSTMConfig(embedding_dim=100, num_blocks=1, num_heads=16))
    with pytest.raises(ValueError, match="embedding_dim 100 must be a multiple of"):
        ForecastModel(head.resolve(context_length=8, season=1), backbone)


@pytest.mark.parametrize("name", ["variate", "mixer", "patch"])
def test_any_backbone_fits_in(name):
    for backbone in (
        xLSTMConfig(embedding_dim=16, num_blocks=2, num_heads=2),
        xLSTMConfig(embedding_dim=16, num_blocks=2, num_heads=2, slstm_at=(1,)),
        xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, family="xlstm-large"),
        xLSTMConfig(embedding_dim=16, num_blocks=2, num_heads=2, direction="alternating", slstm_at="all"),
    ):
        head, _, _ = with_preset(ForecastConfig(prediction_length=5, members=[name]), BACKBONE)
        model = ForecastModel(head.resolve(context_length=20, season=1), backbone).eval()
        assert torch.isfinite(model(example())).all()


def test_seasonal_repeats_the_last_season_or_else_the_last_value():
    batch = training_batch(2, 3, 12, 7)
    past = batch["context"]
    for season, expected in ((5, past[:, [7, 8, 9, 10, 11, 7, 8]]), (13, past[:, [11] * 7])):
        batch["context_mask"][:] = True
        head = ForecastConfig(prediction_length=7, context_length=12, members=["seasonal"])
        head, backbone, _ = with_preset(head, BACKBONE)
        model = ForecastModel(head.resolve(context_length=12, season=season), backbone).eval()
        assert torch.allclose(model(batch)[..., model.median], expected, atol=1e-5)
