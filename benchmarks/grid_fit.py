"""Training of one cell of a grid: goes on from its checkpoint, and stops with one when time is up."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from grid import Late, Row

if TYPE_CHECKING:
    from xlstm_apps.training.run import FitResult


def fit_cell(
    options: argparse.Namespace, cell: Row, module: Any, train: Any, valid: Any, **how: Any
) -> tuple[FitResult, Row]:
    """Train a module as its cell says, and leave it on the device with the weights of the best look at validation.

    Args:
        options: As in `Grid.run`; without `folder` nothing is kept.
        cell: Its learning rate and seed count.
        module: What `training.fit` takes, as `train` and `valid` are.
        how: More of `FitConfig`.

    Returns:
        What came out, and what the row says of it: `best_step`, seconds, device.

    Raises:
        Late: Time was up.
    """
    from xlstm_apps.training.config import FitConfig
    from xlstm_apps.training.run import fit

    folder = getattr(options, "folder", None)
    config = FitConfig(
        learning_rate=cell["learning_rate"], accelerator=options.accelerator, precision=options.precision,
        checkpoint_seconds=1e9, **how,  # at every look, and when time is up
    )  # fmt: skip
    with _stopping(options.until if folder is not None else None):
        result = fit(module, train, valid, config, seed=cell["seed"], run_dir=folder, resume=folder is not None)
    module.to(result.device).eval()
    step = result.history[result.best_epoch - 1]["step"]
    return result, {"best_step": step, "fit_seconds": round(result.seconds, 1), **facts(options, result.device)}


def facts(options: argparse.Namespace, device: str) -> Row:
    """What every row says of where it was made."""
    import torch

    cuda = device.startswith("cuda")
    name = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    return {"precision": options.precision, "device": name, "torch": torch.__version__}


def restore(options: argparse.Namespace, module: Any) -> str:
    """Give a module the weights that `fit_cell` left in the cell's folder; returns the device it is on."""
    import torch

    device = "cuda" if options.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    best = torch.load(options.folder / "checkpoints" / "best.ckpt", map_location=device, weights_only=True)
    module.load_state_dict(best["state_dict"])
    module.to(device).eval()
    return device


@contextmanager
def _stopping(until: float | None) -> Iterator[None]:
    """Ask this process to stop at a time, as a user would, which `training.fit` answers with a checkpoint."""
    if until is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    if time.time() > until:
        raise Late("time is up; the same command goes on")
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # should it come just when the fit has ended
    timer = threading.Timer(min(until - time.time(), threading.TIMEOUT_MAX), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    except SystemExit:
        raise Late("stopped, since time is up; the same command goes on from there") from None
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)
