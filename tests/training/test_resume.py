"""A killed run that is resumed ends as if it had never been killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy import Toy, train

TOY = Path(__file__).with_name("toy.py")


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def checkpoint(run_dir: Path, name: str) -> dict:
    return torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)


def without_time(history: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 2},
        {"max_epochs": 9, "patience": 1, "learning_rate": 0.3, "spe": 4},  # stops early, the best epoch is not the last
        {"max_epochs": 4, "max_steps": 7},  # ends inside an epoch
        {"max_epochs": 2, "spe": 8, "trainer": {"accumulate_grad_batches": 2}},  # epochs that cross a pass
    ],
    ids=["epochs", "patience", "max_steps", "accumulate"],
)
def test_failing_at_any_step_changes_nothing(tmp_path, power_cut, options):
    whole, result = train(tmp_path / "whole", **options)
    batches = whole.steps
    for step in {1, 2, 4, 5, 6, batches - 1, batches}:  # both sides of every border
        run_dir = tmp_path / f"failed-{step}"
        with power_cut(Toy, step):
            train(run_dir, **options)
        module, resumed = train(run_dir, resume=True, **options)
        assert equal(module.state_dict(), whole.state_dict()), step
        for name in ("last", "best"):
            assert equal(checkpoint(run_dir, name)["state_dict"], checkpoint(tmp_path / "whole", name)["state_dict"])
        last, expected = checkpoint(run_dir, "last"), checkpoint(tmp_path / "whole", "last")
        for key in ("exp_avg", "exp_avg_sq"):
            moments = [[s[key] for s in c["optimizer_states"][0]["state"].values()] for c in (last, expected)]
            assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))
        assert without_time(resumed.history) == without_time(result.history)
        assert (resumed.best_epoch, resumed.stopped, resumed.steps) == (
            result.best_epoch,
            result.stopped,
            result.steps,
        )


def test_files_or_no_files_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept, _ = train(tmp_path / "run", max_epochs=2)
    silent, result = train(None, max_epochs=2)
    assert equal(kept.state_dict(), silent.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert not silent.training and result.epochs == 2


def test_best_epoch_is_restored_into_the_module(tmp_path):
    module, result = train(tmp_path, max_epochs=9, patience=2, learning_rate=0.3)
    assert result.best_epoch < result.epochs and result.stopped == "patience"
    assert result.best_value == min(row["val_loss"] for row in result.history)
    assert equal(module.state_dict(), checkpoint(tmp_path, "best")["state_dict"])


def test_resuming_what_is_complete_trains_no_step(tmp_path):
    whole, _ = train(tmp_path, max_epochs=9, patience=1, learning_rate=0.3)
    again, result = train(tmp_path, resume=True, max_epochs=9, patience=1, learning_rate=0.3)
    assert again.steps == 0 and result.stopped == "patience"
    assert equal(again.state_dict(), whole.state_dict())


def start(run_dir: Path, mode: str, seconds_per_step: float = 0.2) -> subprocess.Popen:
    """A run slow enough that a busy machine sends its signal before the run has ended."""
    env = {**os.environ, "TOY_SLEEP": str(seconds_per_step), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-W", "error", str(TOY), str(run_dir), mode], env=env)


def wait_for_step(run_dir: Path, step: int, process: subprocess.Popen) -> None:
    """Until last.ckpt holds at least `step` steps; reading it at any moment is part of the test."""
    while True:  # starting Python and torch takes long on a busy machine
        if (run_dir / "checkpoints" / "last.ckpt").exists() and checkpoint(run_dir, "last")["global_step"] >= step:
            return
        assert process.poll() is None, "the run ended before it was to be killed"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sigkill_twice_in_mid_epoch_then_the_same_weights(tmp_path):
    for mode, step in (("new", 3), ("resume", 12)):
        process = start(tmp_path / "killed", mode)
        wait_for_step(tmp_path / "killed", step, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert checkpoint(tmp_path / "killed", "last")["global_step"] < 30
    assert start(tmp_path / "killed", "resume", seconds_per_step=0).wait() == 0
    train(tmp_path / "whole", max_epochs=6, patience=4, learning_rate=0.03)
    for name in ("last", "best"):
        killed, whole = (checkpoint(tmp_path / run, name)["state_dict"] for run in ("killed", "whole"))
        assert equal(killed, whole), name
    rows = [
        list(csv.DictReader((tmp_path / run / "metrics.csv").read_text().splitlines())) for run in ("killed", "whole")
    ]
    assert without_time(rows[0]) == without_time(rows[1])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sigterm_saves_and_leaves(tmp_path):
    process = start(tmp_path, "new")
    wait_for_step(tmp_path, 1, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    saved = checkpoint(tmp_path, "last")["global_step"]
    assert 1 <= saved < 30
    resumed, result = train(tmp_path, resume=True, max_epochs=6, patience=4, learning_rate=0.03)
    assert resumed.steps == result.steps - saved  # nothing is done twice


def test_ctrl_c_saves_and_leaves(tmp_path, monkeypatch):
    step = Toy.training_step

    def interrupted(self, *args):
        if self.steps == 6:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(Toy, "training_step", interrupted)
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, max_epochs=2, checkpoint_seconds=1000)
    assert stop.value.code == 130
    assert checkpoint(tmp_path, "last")["global_step"] == 7
    with pytest.raises(KeyboardInterrupt):  # without a folder there is nothing to save
        train(None, max_epochs=2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a script
    try:
        module, _ = train(None, max_epochs=2)
        assert module.steps > 7 and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
