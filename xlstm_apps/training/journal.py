"""What a training run remembers: history, best epoch, patience, and the checkpoints that carry it over a kill."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from xlstm_apps.training import files
from xlstm_apps.training.loader import BatchLoader, seed_everywhere
from xlstm_apps.training.signals import Interrupted, StopSignals


class Journal(pl.Callback):
    """Keeps the books of one fit and saves them with the weights.

    Everything that decides how training goes on (place in the data, best value, patience, history, partial sums of the
    loss) is in the callback's state, hence in every checkpoint. Randomness of a step is set from (seed, batch number)
    at its start, so no random state has to be carried over.

    Args:
        loader: Training batches; their position is restored with the checkpoint.
        seed: Seed of the randomness inside the steps (dropout).
        total_steps: Optimiser steps after which training ends.
        patience: Epochs without a better `val_loss` before it ends early; None never.
        validated: Whether there is a validation loss; without one the last epoch counts as best.
        run_dir: Where `checkpoints/` and `metrics.csv` go; None keeps the best weights in memory and writes nothing.
        checkpoint_seconds: Least interval between two checkpoints within an epoch.
        signals: Tells whether the user asked to stop.
        after_epoch: Called with every epoch's row of the history; True ends training.
    """

    def __init__(
        self,
        loader: BatchLoader,
        *,
        seed: int,
        total_steps: int,
        patience: int | None,
        validated: bool,
        run_dir: Path | None,
        checkpoint_seconds: float,
        signals: StopSignals,
        after_epoch: Callable[[dict[str, Any]], bool] | None = None,
    ):
        self.after_epoch = after_epoch
        self.loader, self.seed, self.total_steps, self.patience = loader, seed, total_steps, patience
        self.validated, self.run_dir, self.checkpoint_seconds, self.signals = (
            validated,
            run_dir,
            checkpoint_seconds,
            signals,
        )
        self.history: list[dict[str, Any]] = []
        self.best_value, self.best_epoch, self.waited, self.stopped = math.inf, None, 0, ""
        self.best_weights: dict[str, torch.Tensor] | None = None
        self._loss_sum: float | torch.Tensor = 0.0
        self._loss_count = 0
        self._seconds_before, self._started, self._saved = 0.0, time.monotonic(), time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent fitting, earlier parts of a resumed run included."""
        return self._seconds_before + time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "stopped": self.stopped,
            "position": self.loader.position,
            "loss_sum": float(self._loss_sum),
            "loss_count": self._loss_count,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history, self.stopped = state["history"], state["stopped"]
        self.best_value, self.best_epoch, self.waited = state["best_value"], state["best_epoch"], state["waited"]
        self.loader.position = state["position"]
        self._loss_sum, self._loss_count = state["loss_sum"], state["loss_count"]
        self._seconds_before = state["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = self._saved = time.monotonic()
        if self.stopped:  # the run was killed after its last epoch, before it was marked finished
            trainer.should_stop = True

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int):
        seed_everywhere(self.seed, self.loader.position)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss_sum = self._loss_sum + outputs["loss"].detach()
        self._loss_count += 1
        if trainer.global_step >= self.total_steps:
            trainer.should_stop = True
            return
        last = batch_idx + 1 >= len(self.loader)
        if last or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # the end of the epoch saves; half-gathered gradients are in no checkpoint
        if self.signals.received or time.monotonic() - self._saved >= self.checkpoint_seconds:
            self._save(trainer, "last.ckpt")
            self._obey_signal()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        train_loss = float(self._loss_sum) / max(self._loss_count, 1)
        self._loss_sum, self._loss_count = 0.0, 0
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        value = metrics.get("val_loss", math.nan) if self.validated else train_loss
        if not (math.isfinite(train_loss) and math.isfinite(value)):
            raise ValueError(
                f"training diverged: the loss is not finite after epoch {trainer.current_epoch + 1}; "
                "lower fit.learning_rate or look for extreme values in the data"
            )
        self.history.append(
            {
                "epoch": trainer.current_epoch + 1,
                "step": trainer.global_step,
                "train_loss": train_loss,
                **metrics,
                "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
                "seconds": round(self.seconds, 2),
            }
        )
        if value < self.best_value or not self.validated:
            self.best_value, self.best_epoch, self.waited = value, trainer.current_epoch + 1, 0
            if self.run_dir is None:
                self.best_weights = {k: v.detach().cpu().clone() for k, v in pl_module.state_dict().items()}
            else:
                self._save(trainer, "best.ckpt")
        else:
            self.waited += 1
        if trainer.global_step >= self.total_steps:
            self.stopped = "budget"
        elif self.patience is not None and self.waited >= self.patience:
            self.stopped = "patience"
        elif self.after_epoch is not None and self.after_epoch(self.history[-1]):
            self.stopped = "caller"
        trainer.should_stop = bool(self.stopped)
        if self.run_dir is not None:
            files.write_rows(self.run_dir / "metrics.csv", self.history)
            self._save(trainer, "last.ckpt")
        self._obey_signal()

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if self.run_dir is not None:
            trainer.save_checkpoint(self.run_dir / "checkpoints" / name)
            self._saved = time.monotonic()

    def _obey_signal(self) -> None:
        if self.signals.received and not self.stopped:
            raise Interrupted(self.signals.received)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are complete or absent, written aside in the same folder (Lightning's go through /tmp)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with files.replacing(path) as aside:
            torch.save(checkpoint, aside)
