"""What the user sees while a model trains: one bar for the whole run, or a line per epoch without a terminal."""

from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xlstm_apps.training.journal import Journal


class TrainingProgress(pl.Callback):
    """Shows step, epoch, losses and the time left.

    Args:
        journal: Where the history is kept; listed before this callback, so that it is up to date.
        console: Where to draw; a terminal gets a bar, anything else a line per epoch.
        label: What is being trained.
    """

    def __init__(self, journal: Journal, console: Console, label: str):
        self.journal, self.console, self.label = journal, console, label
        self.bar: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.console.is_terminal:
            return
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
        )
        self.bar.start()
        self.task = self.bar.add_task(self.label, total=self.journal.total_steps, losses="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = self.journal.history[-1]
        best = " (best)" if self.journal.best_epoch == row["epoch"] else ""
        losses = f"epoch {row['epoch']}/{trainer.max_epochs}  train {row['train_loss']:.4f}"
        if "val_loss" in row:
            losses += f"  val {row['val_loss']:.4f}{best}"
        if self.bar is not None:
            self.bar.update(self.task, losses=losses)
        else:
            self.console.print(
                f"{self.label}: {losses}  step {row['step']}/{self.journal.total_steps}  {row['seconds']:.0f} s",
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
