"""Training of a forecaster: every member on its own pinball loss, kept as it was at its own best epoch."""

import copy
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from xlstm_apps.core.graphed import GraphedLoss
from xlstm_apps.forecasting.model import Batch, ForecastModel


class ForecastModule(pl.LightningModule):
    """Loss of a `ForecastModel` on batches of windows.

    A batch has `context`, `context_mask` [B, L, C], `target`, `target_mask` [B, H, C], scaled, masks True = observed,
    and covariates as `ForecastModel` takes them. What is validated is a running average of the weights, whose decay
    rises with the steps (Polyak averaging as in Tarvainen & Valpola 2017); each member is kept as it was when its
    average was best on the validation part.

    Args:
        model: The forecaster.
        max_rows: Most windows-times-channels per training step; wider batches train on a random choice of channels,
            drawn anew each step, so that 300 columns cost as much as 30.
        decay: Decay of the running average.
    """

    def __init__(self, model: ForecastModel, max_rows: int = 512, decay: float = 0.99):
        super().__init__()
        self.model, self.max_rows, self.decay = model, max_rows, decay
        self.average, self.best = (copy.deepcopy(model).requires_grad_(False) for _ in range(2))
        members = len(model.members)
        self._graphed = GraphedLoss(model, lambda **batch: member_losses(model, batch))
        self.register_buffer("best_losses", torch.full((members,), torch.inf))
        self.register_buffer("_sums", torch.zeros(members + 1), persistent=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        batch = some_channels(batch, self.max_rows)
        # Gradients that are gathered over several batches cannot come from a graph, whose replay overwrites the last.
        gathered = self.device.type == "cuda" and self.trainer.accumulate_grad_batches > 1
        losses = member_losses(self.model, batch) if gathered else self._graphed(**batch)
        return losses[:-1].sum() / (losses[-1].clamp(min=1) * (len(losses) - 1))

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        # Here and not at the end of the batch, where the checkpoint is saved before this module gets its turn.
        super().optimizer_step(*arguments, **options)
        step = self.trainer.global_step + 1
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            average, now = zip(*((a, p) for a, p in pairs if p.requires_grad), strict=True)
            torch._foreach_lerp_(average, now, 1 - decay)
            torch._foreach_copy_(list(self.average.buffers()), list(self.model.buffers()))

    def on_validation_epoch_start(self) -> None:
        self._sums.zero_()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # Sums, not means of means: the last, smaller batch counts by its size.
        self._sums += member_losses(self.average, batch)

    def on_validation_epoch_end(self) -> None:
        losses = self._sums[:-1] / self._sums[-1].clamp(min=1)
        better = losses < self.best_losses
        for chosen, name in zip(better.tolist(), self.model.members, strict=True):
            if chosen:
                self._keep(name)
        self.best_losses.copy_(torch.where(better, losses, self.best_losses))
        # Falls whenever a member got better, so that patience waits for all of them; infinite where a loss was never
        # finite.
        self.log("val_loss", self.best_losses.mean())

    @property
    def result(self) -> ForecastModel:
        """The members at their best epochs, all counting alike; without a validation part, the running average."""
        return self.best if bool(torch.isfinite(self.best_losses).any()) else self.average

    def _keep(self, member: str) -> None:
        for part in ("members", "exogenous"):
            now = getattr(self.average, part)
            if member in now:
                getattr(self.best, part)[member].load_state_dict(now[member].state_dict())


def member_losses(model: ForecastModel, batch: Batch) -> Tensor:
    """Sum of the pinball losses of each member, and the number of targets: [M + 1]."""
    target, mask = batch["target"], batch["target_mask"]
    losses = (pinball(y, target, mask, model.level_values).sum() for y in model.forward_members(batch))
    return torch.stack([*losses, mask.sum()])


def pinball(forecast: Tensor, target: Tensor, mask: Tensor, levels: Tensor) -> Tensor:
    """Pinball loss (Koenker & Bassett 1978) of every target, mean over the levels; 0 where the target is missing.

    Twice this, averaged over a fine grid of levels, is the CRPS.

    Args:
        forecast: [B, H, C, Q].
        target: [B, H, C].
        mask: True = observed, [B, H, C].
        levels: Quantile levels, [Q].

    Returns:
        [B, H, C].
    """
    error = target[..., None] - forecast
    return torch.where(mask, torch.maximum(levels * error, (levels - 1) * error).mean(-1), 0)


def some_channels(batch: Batch, max_rows: int) -> Batch:
    """The batch with a random choice of its channels, no more than fit into `max_rows` rows (at least one)."""
    windows, _, channels = batch["target"].shape
    keep = max(1, max_rows // windows)
    if channels <= keep:
        return batch
    chosen = torch.randperm(channels)[:keep].sort().values.to(batch["target"].device)
    names = ("context", "context_mask", "target", "target_mask")
    return {**batch, "channels": chosen, **{name: batch[name].index_select(2, chosen) for name in names}}
