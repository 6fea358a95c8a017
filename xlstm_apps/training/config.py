"""The `fit` section: how any model of this package is trained."""

from dataclasses import dataclass, field
from typing import Any, Literal

from xlstm_apps.choices import check_choices

Device = Literal["auto", "cpu", "cuda", "mps"]
_OWNED = {
    "accelerator": "fit.accelerator",
    "callbacks": "a Lightning callback needs Python: build your own Trainer",
    "enable_checkpointing": "fit.checkpoint_seconds",
    "enable_progress_bar": "commands show progress on a terminal, estimators have the argument progress",
    "gradient_clip_val": "fit.gradient_clip",
    "logger": "fit.logger",
    "max_epochs": "fit.max_epochs",
    "max_steps": "fit.max_steps",
    "precision": "fit.precision",
}


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train: budget, optimiser, device, logging."""

    max_epochs: int = 20
    """Most epochs, each of `steps_per_epoch` batches."""

    max_steps: int | None = None
    """Most optimiser steps in all; the learning rate falls to its end by then. None: `max_epochs` decides."""

    steps_per_epoch: int | None = None
    """Batches between two validations. The walk through the data goes on where the last epoch stopped, so that long
    tables finish in minutes on two cores. None: the task decides (forecasting: a whole pass, but 20 to 50 batches)."""

    batch_size: int | None = None
    """Examples per step. None: the task decides from the size of one example and says what it took."""

    learning_rate: float | None = None
    """Peak learning rate of AdamW. None: the task decides."""

    weight_decay: float = 0.01
    """Decoupled weight decay, applied to matrices only (not to biases and norms)."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: down to 1 % along half a cosine, or constant."""

    warmup: float = 0.05
    """Share of the steps during which the learning rate rises linearly."""

    gradient_clip: float = 1.0
    """Largest norm of the gradient; 0 turns clipping off."""

    patience: int | None = 5
    """Epochs without a better validation loss before training stops. None: never stop early."""

    accelerator: Device = "auto"
    """Device to train on; auto takes a GPU where there is one."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Number format of the computation."""

    num_workers: int = 0
    """Processes that read data ahead; 0 reads in the main process, which is best for data held in memory."""

    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] = "csv"
    """Where the metrics go besides metrics.csv, which is always written. The others need their package installed."""

    checkpoint_seconds: float = 30.0
    """Save checkpoints/last.ckpt at least this often (and after every epoch)."""

    trainer: dict[str, Any] = field(default_factory=dict)
    """Further arguments of lightning.Trainer, such as `accumulate_grad_batches: 4`."""

    def __post_init__(self) -> None:
        for name in ("max_epochs", "max_steps", "steps_per_epoch", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"fit.{name} must be at least 1, not {value}")
        for name in ("weight_decay", "gradient_clip", "checkpoint_seconds", "num_workers"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"fit.{name} must not be negative, not {getattr(self, name)}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"fit.learning_rate must be positive, not {self.learning_rate}")
        check_choices(self, "fit.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"fit.warmup is a share of the steps, at least 0 and below 1, not {self.warmup}")
        for name in self.trainer:
            if name in _OWNED:
                raise ValueError(f"fit.trainer.{name} is not taken from there; use instead: {_OWNED[name]}")
