"""Fit any LightningModule of this package: budget, device, optimiser, checkpoints, resume."""

import importlib.util
import inspect
import logging
import math
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from rich.console import Console

from xlstm_apps.training.config import FitConfig
from xlstm_apps.training.journal import Journal, WholeCheckpoints
from xlstm_apps.training.loader import BatchLoader
from xlstm_apps.training.progress import TrainingProgress
from xlstm_apps.training.signals import Interrupted, StopSignals

LEARNING_RATE = 1e-3
"""Peak learning rate where neither the user nor the task names one."""
FUSED = ("cpu", "cuda")
"""Devices on which AdamW is one call for all weights; else small networks spend a tenth of a step in it on a CPU."""
_LOGGER_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came out of a fit. The module holds the weights of the best epoch."""

    best_epoch: int
    """Epoch (from 1) with the lowest validation loss."""
    best_value: float
    """That loss; the training loss where there is no validation part."""
    epochs: int
    """Epochs done."""
    steps: int
    """Optimiser steps done."""
    seconds: float
    """Time spent fitting, over all parts of a resumed run."""
    stopped: str
    """`budget`, `patience` or `caller`."""
    device: str
    """Device it ran on."""
    history: list[dict[str, Any]]
    """One row per epoch, as in `metrics.csv`."""


def check(config: FitConfig) -> None:
    """Find out before anything is written whether this machine can fit as asked.

    Raises:
        ValueError: Unknown trainer argument, missing device, missing logger package.
    """
    known = inspect.signature(pl.Trainer.__init__).parameters
    for name in config.trainer:
        if name not in known:
            raise ValueError(f"fit.trainer.{name} is not an argument of lightning.Trainer")
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError("fit.accelerator is cuda, but torch sees no CUDA device; use auto or cpu")
    if config.accelerator == "mps" and not torch.backends.mps.is_available():
        raise ValueError("fit.accelerator is mps, but torch sees no Apple GPU; use auto or cpu")
    package = _LOGGER_PACKAGES.get(config.logger)
    if package and importlib.util.find_spec(package) is None:
        raise ValueError(f"fit.logger is {config.logger}, which needs a package: pip install {package}")


def fit(
    module: pl.LightningModule,
    train: BatchLoader,
    valid: BatchLoader | None,
    config: FitConfig,
    *,
    seed: int = 0,
    run_dir: Path | None = None,
    resume: bool = False,
    console: Console | None = None,
    label: str = "training",
    after_epoch: Callable[[dict[str, Any]], bool] | None = None,
) -> FitResult:
    """Train `module` and leave it with the weights of the epoch that was best on `valid`.

    The same call with `resume=True` after a kill ends with the same weights, bit for bit, on the same machine and
    number of threads: batches and the randomness of each step depend on (seed, batch number) alone, the rest is in
    `checkpoints/last.ckpt`. On a GPU, whose libraries round sums in several ways, they are the same but for that. The
    caller's global random state is left as it was.

    Args:
        module: Has `training_step` (returns the loss) and `validation_step`, and logs `val_loss` as the mean over the
            whole part. It gets AdamW with the schedule of `config` unless it brings `configure_optimizers`; with
            `optimizer_groups(learning_rate, weight_decay)` it divides its parameters itself.
        train: Shuffled training batches.
        valid: Validation batches in order; None: no early stopping, the last epoch is taken.
        config: How to train.
        seed: Seed of order and randomness.
        run_dir: Run folder for checkpoints and metrics; None writes no file at all.
        resume: Go on from `run_dir/checkpoints/last.ckpt` where it exists.
        console: Where to show progress; None: silent.
        label: Name shown with the progress.
        after_epoch: Called after every epoch with its row of the history; True ends training there.

    Returns:
        Best epoch, its loss, history and time.

    Raises:
        ValueError: The loss became NaN or infinite.
        SystemExit: SIGINT or SIGTERM ended a run that has a folder (code 130 or 143), after a checkpoint was saved.
        KeyboardInterrupt: The same without a folder.
    """
    accumulate = config.trainer.get("accumulate_grad_batches", 1)
    total_steps = config.max_epochs * math.ceil(len(train) / accumulate)
    total_steps = min(total_steps, config.max_steps or total_steps)
    if type(module).configure_optimizers is pl.LightningModule.configure_optimizers:
        module.configure_optimizers = partial(adamw, module, config, total_steps)
    last = run_dir / "checkpoints" / "last.ckpt" if run_dir is not None else None
    with _own_randomness(), _quiet_lightning(), StopSignals(announce=console is not None) as signals:
        journal = Journal(
            train,
            seed=seed,
            total_steps=total_steps,
            patience=config.patience if valid is not None else None,
            validated=valid is not None,
            run_dir=run_dir,
            checkpoint_seconds=config.checkpoint_seconds,
            signals=signals,
            after_epoch=after_epoch,
        )
        callbacks: list[pl.Callback] = [journal]
        if console is not None:
            callbacks.append(TrainingProgress(journal, console, label))
        trainer = _trainer(config, callbacks, run_dir, every_step=len(train) < 50)
        if trainer.world_size > 1:
            raise ValueError("training on several devices is not supported yet; leave fit.trainer.devices at 1")
        module.train()
        checkpoint = last if resume and last is not None and last.exists() else None
        try:
            trainer.fit(module, train, valid, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
        except Interrupted as stop:
            if run_dir is None:
                raise KeyboardInterrupt from None
            if console is not None:
                done = f"step {trainer.global_step} of {total_steps}"
                way = f"the same command goes on with --resume --run_dir {run_dir}"
                console.print(f"stopped at {done}, checkpoint saved; {way}", highlight=False, soft_wrap=True)
            raise SystemExit(128 + stop.signum) from None
        device = str(trainer.strategy.root_device)
    best = journal.best_weights
    if run_dir is not None:
        best = torch.load(run_dir / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(best)
    module.eval()
    row = journal.history[-1]
    return FitResult(
        best_epoch=journal.best_epoch,
        best_value=journal.best_value,
        epochs=row["epoch"],
        steps=row["step"],
        seconds=journal.seconds,
        stopped=journal.stopped,
        device=device,
        history=journal.history,
    )


def _trainer(config: FitConfig, callbacks: list[pl.Callback], run_dir: Path | None, *, every_step: bool) -> pl.Trainer:
    """Lightning's Trainer with its own bars, summaries and checkpoints off; `every_step`: log each step."""
    arguments = {
        "max_epochs": config.max_epochs,
        "accelerator": config.accelerator,
        "devices": 1,
        "precision": config.precision,
        "gradient_clip_val": config.gradient_clip or None,
        "logger": _logger(config, run_dir),
        "log_every_n_steps": 1 if every_step else 50,
        "default_root_dir": run_dir,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "use_distributed_sampler": False,
        **config.trainer,
    }
    plugins = arguments.pop("plugins", None) or []
    plugins = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
    return pl.Trainer(**arguments, callbacks=callbacks, plugins=plugins)


def adamw(module: torch.nn.Module, config: FitConfig, total_steps: int) -> dict[str, Any]:
    """AdamW (Loshchilov & Hutter 2019), matrices decayed, with linear warm-up and a cosine down to 1 %."""
    rate = LEARNING_RATE if config.learning_rate is None else config.learning_rate
    weights = [p for p in module.parameters() if p.requires_grad]
    divide = getattr(module, "optimizer_groups", None)
    groups = (divide(rate, config.weight_decay) if divide is not None else None) or [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    # With float16, a fused AdamW would undo the scaling of gradients by itself, too late for their clipping.
    fused = config.precision != "16-mixed" and all(p.device.type in FUSED for p in weights)
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=fused)
    if config.precision == "bf16-mixed":
        # Gradients are scaled for float16 only, but Lightning refuses to clip for any optimiser that bears this mark
        # of torch, and asks nothing else; where torch no longer has it, setting it does no harm.
        optimizer._step_supports_amp_scaling = False  # pyright: ignore[reportAttributeAccessIssue]
    rise = max(1, round(config.warmup * total_steps))
    parts = [torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (rise + 1), total_iters=rise)]
    if config.schedule == "cosine":
        # CosineAnnealingLR knows one end for all; here each group falls to 1 % of its own rate.
        fall = partial(_cosine, max(1, total_steps - rise))
        parts.append(torch.optim.lr_scheduler.LambdaLR(optimizer, fall))
    else:
        parts.append(torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0))
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [rise])
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _cosine(fall: int, step: int) -> float:
    """Share of the learning rate after so many steps of its fall."""
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, step / fall))) / 2


def _logger(config: FitConfig, run_dir: Path | None) -> Any:
    if run_dir is None or config.logger == "csv":
        return False  # metrics.csv is the journal's: whole at any time, and continued by a resumed run
    from lightning.pytorch import loggers

    if config.logger == "tensorboard":
        return loggers.TensorBoardLogger(run_dir, name="tensorboard", version="")
    if config.logger == "wandb":
        return loggers.WandbLogger(name=run_dir.name, save_dir=run_dir, project="xlstm-apps")
    return loggers.MLFlowLogger(experiment_name="xlstm-apps", run_name=run_dir.name, save_dir=str(run_dir / "mlruns"))


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Give the caller's random states back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's banners and tips say nothing that the progress and run.json do not."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # torch's own deprecation inside Lightning; nothing a user could act on.
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
            warnings.filterwarnings("ignore", message="GPU available but not used")  # who asks for the CPU knows it
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
