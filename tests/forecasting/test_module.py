"""Training of a forecaster: every member by itself, averaged weights, the best epoch of each, exact resume."""

import pytest
import torch
from forecast_cases import NAMES, make_model, shake, training_batch

from xlstm_apps.forecasting import ForecastModule, pinball
from xlstm_apps.forecasting.module import member_losses, some_channels
from xlstm_apps.training import BatchLoader, FitConfig, fit

MEMBERS = ["naive", "nlinear", "patch"]


def test_pinball_is_the_definition_and_leaves_missing_targets_out():
    forecast, target = torch.randn(2, 3, 1, 3), torch.randn(2, 3, 1)
    mask = torch.rand(2, 3, 1) > 0.4
    levels = [0.1, 0.5, 0.9]
    loss = pinball(forecast, torch.where(mask, target, float("nan")), mask, torch.tensor(levels))
    for b, h in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        expected = 0.0
        for i, q in enumerate(levels):
            error = float(target[b, h, 0] - forecast[b, h, 0, i])
            expected += (q * error if error > 0 else (q - 1) * error) / 3
        assert loss[b, h, 0].item() == pytest.approx(expected if mask[b, h, 0] else 0.0, abs=1e-6)


def test_every_member_learns_from_its_own_loss():
    model = shake(make_model(members=MEMBERS, dropout=0.0), 0.1).train()
    batch = training_batch()
    ForecastModule(model).training_step(batch, 0).backward()
    for name in MEMBERS:
        alone = make_model(members=[name], dropout=0.0).train()
        alone.members[name].load_state_dict(model.members[name].state_dict())
        ForecastModule(alone).training_step(batch, 0).backward()
        for p, q in zip(alone.members[name].parameters(), model.members[name].parameters(), strict=True):
            torch.testing.assert_close(p.grad / 3, q.grad)


def test_missing_targets_teach_nothing():
    model, batch = make_model().train(), training_batch()
    module = ForecastModule(model.eval())
    garbage = batch | {"target": torch.where(batch["target_mask"], batch["target"], float("nan"))}
    loss = module.training_step(garbage, 0)
    assert torch.equal(loss, module.training_step(batch, 0))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def validate(module: ForecastModule, parts: list[dict[str, torch.Tensor]]) -> float:
    logged = {}
    module.log = lambda name, value: logged.setdefault(name, float(value))
    with torch.no_grad():
        module.on_validation_epoch_start()
        for i, part in enumerate(parts):
            module.validation_step(part, i)
        module.on_validation_epoch_end()
    return logged["val_loss"]


def test_validation_does_not_depend_on_how_the_part_is_cut():
    batch, results = training_batch(6), []
    for cuts in ([6], [4, 2], [1] * 6):
        torch.manual_seed(1)
        module = ForecastModule(shake(make_model(members=MEMBERS), 0.1))
        pieces = [torch.split(x, cuts) for x in batch.values()]
        loss = validate(module, [dict(zip(batch, part, strict=True)) for part in zip(*pieces, strict=True)])
        results.append([loss, *module.best_losses.tolist()])
    assert results[1] == pytest.approx(results[0], rel=1e-5) and results[2] == pytest.approx(results[0], rel=1e-5)


def losses_of(model, batch) -> list[float]:
    with torch.no_grad():
        sums = member_losses(model, batch)
    return (sums[:-1] / sums[-1]).tolist()


def test_each_member_is_kept_at_its_own_best_epoch():
    module, batch = ForecastModule(make_model(members=MEMBERS)), training_batch(8)
    seen, logged = [], []
    for epoch in range(6):
        torch.manual_seed(epoch)
        shake(module.average, 0.2)
        seen.append(losses_of(module.average, batch))
        logged.append(validate(module, [batch]))
    best = [min(epoch[i] for epoch in seen) for i in range(3)]
    winners = [min(range(6), key=lambda e, i=i: seen[e][i]) for i in range(3)]
    assert len(set(winners)) > 1, "choose other seeds: the members should differ"
    assert losses_of(module.result, batch) == pytest.approx(best, rel=1e-5)
    assert module.result is module.best and module.best_losses.tolist() == pytest.approx(best, rel=1e-5)
    assert logged == sorted(logged, reverse=True) and logged[-1] == pytest.approx(sum(best) / 3, rel=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training():
    module = ForecastModule(make_model(members=MEMBERS))
    module._sums.copy_(torch.tensor([2.0, float("nan"), 1.0, 1.0]))
    logged = []
    module.log = lambda name, value: logged.append(float(value))
    module.on_validation_epoch_end()
    assert logged == [float("inf")]


def test_wide_tables_train_on_some_channels_per_step():
    batch = training_batch(windows=4, channels=10)
    small = some_channels(batch, 12)
    assert small["context"].shape == (4, 20, 3) and small["target_mask"].shape == (4, 5, 3)
    chosen = small["channels"]
    assert torch.equal(small["target"], batch["target"][..., chosen]) and chosen.tolist() == sorted(
        set(chosen.tolist())
    )
    assert some_channels(batch, 40) is batch
    assert some_channels(batch, 1)["context"].shape == (4, 20, 1)


class Windows(torch.utils.data.Dataset):
    def __init__(self, count: int):
        torch.manual_seed(count)
        self.batch = training_batch(count)

    def __len__(self) -> int:
        return len(self.batch["context"])

    def __getitems__(self, indices):
        return {name: x[indices] for name, x in self.batch.items()}


class Recording(ForecastModule):
    steps = 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, *_):
        weights = [p.detach().clone() for p in self.model.parameters()]
        self.recorded = [*getattr(self, "recorded", []), weights]


def trained(run_dir=None, resume=False, valid=True, members=None, **options):
    torch.manual_seed(0)
    module = Recording(make_model(members=members or [*MEMBERS, "patchtst"], dropout=0.2))
    loader = BatchLoader(Windows(30), 8, seed=3, shuffle=True, steps_per_epoch=5)
    held_out = BatchLoader(Windows(12), 8) if valid else None
    config = FitConfig(**{"checkpoint_seconds": 0, "max_epochs": 3, "learning_rate": 0.01, **options})
    result = fit(module, loader, held_out, config, seed=3, run_dir=run_dir, resume=resume)
    return module, result


def test_what_is_validated_is_a_running_average():
    module, _ = trained(valid=False, members=["nlinear"])
    torch.manual_seed(0)
    average = [p.detach().clone() for p in make_model(members=["nlinear"]).parameters()]
    for step, weights in enumerate(module.recorded, 1):
        decay = min(0.99, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
    assert module.result is module.average  # there being no validation part
    for a, expected in zip(module.result.parameters(), average, strict=True):
        torch.testing.assert_close(a, expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("fail_at", [1, 5, 8, 15])
def test_failing_at_any_step_changes_nothing(tmp_path, whole_run, power_cut, fail_at):
    whole, result = whole_run
    with power_cut(Recording, fail_at):
        trained(tmp_path / "failed")
    again, resumed = trained(tmp_path / "failed", resume=True)
    assert again.steps == 15 - (fail_at - 1)
    assert again.state_dict().keys() == whole.state_dict().keys()
    for name, x in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], x), name
    losses = [[row["val_loss"] for row in r.history] for r in (result, resumed)]
    assert losses[0] == losses[1] and resumed.best_epoch == result.best_epoch


def test_gathering_gradients_over_batches():
    module, result = trained(trainer={"accumulate_grad_batches": 2}, max_epochs=2)
    assert result.steps == 6 and torch.isfinite(module.best_losses).all()


def test_the_loss_falls():
    module = ForecastModule(make_model(dropout=0.0, members=["nlinear", "mixer", "patch"]))
    batch = training_batch()
    optimizer = torch.optim.Adam(module.model.parameters(), 0.01)
    losses = []
    for _ in range(30):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def gradients(model) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.gpu
@pytest.mark.parametrize("members", [[name] for name in NAMES] + [NAMES])
def test_graphed_losses_are_the_eager_ones(gpu, members):
    model = shake(make_model(members=members, dropout=0.0), 0.1).to(gpu).train()
    batches = [{k: x.to(gpu) for k, x in training_batch(6).items()} for _ in range(3)]
    graphed = ForecastModule(model)._graphed
    buffers = {name: x.clone() for name, x in model.named_buffers()}
    graphed(**batches[0])  # what autograd keeps of losses without a graph must not be there when one is captured
    assert all(torch.equal(x, buffers[name]) for name, x in model.named_buffers())
    for batch in batches:
        model.zero_grad(set_to_none=True)
        expected = member_losses(model, batch)
        expected[:-1].sum().backward()
        wanted = gradients(model)
        model.zero_grad(set_to_none=True)
        losses = graphed(**batch)
        losses[:-1].sum().backward()
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-4)
        for got, want in zip(gradients(model), wanted, strict=True):
            assert (got is None or not got.abs().sum()) if want is None else True
            if want is not None:
                torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_gathered_gradients_are_not_taken_from_a_graph(gpu):
    options = {"max_epochs": 1, "trainer": {"accumulate_grad_batches": 2}, "members": ["nlinear"], "warmup": 0.0}
    on_gpu, _ = trained(accelerator="cuda", **options)
    on_cpu, _ = trained(accelerator="cpu", **options)
    assert not on_gpu._graphed.captured  # a replay overwrites the gradients of the one before
    for a, b in zip(on_gpu.model.parameters(), on_cpu.model.parameters(), strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_training_on_a_gpu_repeats_itself(gpu, tmp_path, power_cut):
    first, _ = trained(accelerator="cuda", max_epochs=2)
    assert first._graphed.captured
    again, _ = trained(accelerator="cuda", max_epochs=2)
    for a, b in zip(first.result.parameters(), again.result.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    # At a whole batch: cut at the last, smaller one of a pass, a run captures that one, and the sums are not all alike.
    with power_cut(Recording, step=3):
        trained(tmp_path, accelerator="cuda", max_epochs=2)
    resumed, _ = trained(tmp_path, resume=True, accelerator="cuda", max_epochs=2)
    for a, b in zip(first.result.parameters(), resumed.result.parameters(), strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-4, atol=1e-5)
