import random

import numpy as np
import pytest
import torch
from rich.console import Console
from toy import Points, Toy, train

from xlstm_apps.training import BatchLoader, FitConfig, fit
from xlstm_apps.training.run import adamw, check


def test_random_states_of_the_caller_are_left_alone():
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    train(None, max_epochs=1)
    torch.manual_seed(0)  # the toy seeds its own weights
    before = torch.get_rng_state()
    module = Toy()
    torch.set_rng_state(before)
    fit(module, BatchLoader(Points(8), 4, shuffle=True), None, FitConfig(max_epochs=1))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), before)


def test_silent_by_default(capfd):
    train(None, max_epochs=1)
    assert capfd.readouterr() == ("", "")


def fit_shown(console):
    loaders = BatchLoader(Points(8), 4, shuffle=True), BatchLoader(Points(8), 4)
    fit(Toy(), *loaders, FitConfig(max_epochs=2), console=console)


def test_progress_is_one_line_per_epoch_without_a_terminal(capsys):
    fit(
        Toy(),
        BatchLoader(Points(8), 4, shuffle=True),
        BatchLoader(Points(8), 4),
        FitConfig(max_epochs=2),
        console=Console(),
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "epoch 1/2" in lines[0] and "val" in lines[1] and "step 4/4" in lines[1]


def test_progress_bar_on_a_terminal(capsys):
    console = Console(force_terminal=True, width=150)
    fit(
        Toy(),
        BatchLoader(Points(8), 4, shuffle=True),
        BatchLoader(Points(8), 4),
        FitConfig(max_epochs=2),
        console=console,
    )
    assert "4/4" in capsys.readouterr().out


def test_diverging_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"diverged.*learning_rate"):
        train(tmp_path, max_epochs=5, learning_rate=1e30, gradient_clip=0)


def test_without_validation_the_last_epoch_is_taken(tmp_path):
    module = Toy()
    loader = BatchLoader(Points(16), 4, shuffle=True)
    result = fit(module, loader, None, FitConfig(max_epochs=3, patience=1), run_dir=tmp_path)
    assert result.best_epoch == result.epochs == 3
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(last[k], v) for k, v in module.state_dict().items())


def rates_of(module: torch.nn.Module, config: FitConfig, steps: int = 100) -> np.ndarray:
    """The learning rate of every step and group."""
    parts, rates = adamw(module, config, steps), []
    for _ in range(steps):
        rates.append([group["lr"] for group in parts["optimizer"].param_groups])
        parts["optimizer"].step()
        parts["lr_scheduler"]["scheduler"].step()
    return np.array(rates)


def test_schedule_rises_and_falls():
    rates = rates_of(torch.nn.Linear(2, 2), FitConfig(learning_rate=1.0, warmup=0.1))[:, 0]
    assert rates[0] < 0.2 and max(rates) == pytest.approx(1.0) and np.argmax(rates) == 10 and rates[-1] < 0.02


class Divided(torch.nn.Linear):
    """Whose weights learn at one rate, and whose bias at another share of it."""

    share = 1.0

    def optimizer_groups(self, rate: float, decay: float) -> list[dict]:
        return [{"params": [self.weight], "lr": rate}, {"params": [self.bias], "lr": self.share * rate}]


def test_every_group_falls_along_the_same_cosine_from_its_own_rate():
    config = FitConfig(learning_rate=0.3, warmup=0.1)
    one, divided = rates_of(torch.nn.Linear(2, 2), config), Divided(2, 2)
    np.testing.assert_array_equal(rates_of(divided, config), one)
    divided.share = 0.25  # exact in binary
    np.testing.assert_array_equal(rates_of(divided, config), one * [1.0, 0.25])
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.3)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 90, eta_min=0.003)
    for rate in one[10:, 0]:
        assert rate == pytest.approx(torchs.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        torchs.step()


def test_only_matrices_are_decayed():
    groups = adamw(torch.nn.Linear(2, 3), FitConfig(weight_decay=0.1), 10)["optimizer"].param_groups
    assert [(g["weight_decay"], [p.ndim for p in g["params"]]) for g in groups] == [(0.1, [2]), (0.0, [1])]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainer": {"max_epoch": 3}}, r"fit\.trainer\.max_epoch is not an argument"),
        ({"accelerator": "cuda"}, "no CUDA device"),
        ({"logger": "wandb"}, "pip install wandb"),
    ],
)
def test_what_this_machine_cannot_do_is_found_before_training(options, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=message):
        check(FitConfig(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 0}, "max_epochs"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"warmup": 1.0}, "warmup"),
        ({"gradient_clip": -1}, "gradient_clip"),
        ({"schedule": "linear"}, "fit.schedule is one of cosine, constant, not .linear."),
        ({"accelerator": "gpu"}, "fit.accelerator is one of auto, cpu, cuda, mps"),
        ({"precision": "64"}, "fit.precision is one of 32-true"),
        ({"trainer": {"max_epochs": 3}}, r"use instead: fit\.max_epochs"),
    ],
)
def test_wrong_settings_name_themselves(options, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**options)


def test_the_caller_may_end_training_after_an_epoch():
    seen = []
    loader = BatchLoader(Points(8), 4, shuffle=True)
    result = fit(
        Toy(),
        loader,
        BatchLoader(Points(8), 4),
        FitConfig(max_epochs=5),
        after_epoch=lambda row: bool(seen.append(row["val_loss"])) or len(seen) == 2,
    )
    assert (result.epochs, result.stopped) == (2, "caller") and result.best_value == min(seen)
