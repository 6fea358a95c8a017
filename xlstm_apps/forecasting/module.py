"""Training of a forecaster: every member on its own pinball loss, validation on the forecast they make together."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from xlstm_apps.forecasting.model import ForecastModel

Batch = dict[str, Tensor]


class ForecastModule(pl.LightningModule):
    """Loss of a `ForecastModel` on batches of windows.

    A batch has `context`, `context_mask` [B, L, C], `target`, `target_mask` [B, H, C], scaled, masks True = observed.

    Args:
        model: The forecaster.
        max_rows: Most windows-times-channels per training step; wider batches train on a random choice of channels,
            drawn anew each step, so that 300 columns cost as much as 30.
    """

    def __init__(self, model: ForecastModel, max_rows: int = 512):
        super().__init__()
        self.model, self.max_rows = model, max_rows
        self._loss = torch.zeros(2, dtype=torch.float64)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        batch = some_channels(batch, self.max_rows)
        members = self.model.forward_members(batch["context"], batch["context_mask"])
        total, count = 0.0, batch["target_mask"].sum().clamp(min=1)
        for forecast in members:
            total = total + pinball(forecast, batch["target"], batch["target_mask"], self.model.levels).sum() / count
        return total / len(members)

    def on_validation_epoch_start(self) -> None:
        self._loss = torch.zeros(2, dtype=torch.float64, device=self.device if self.device.type != "mps" else "cpu")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        forecast = self.model(batch["context"], batch["context_mask"])
        loss = pinball(forecast, batch["target"], batch["target_mask"], self.model.levels)
        # Sums, not means of means: the last, smaller batch counts by its size.
        self._loss += torch.stack([loss.sum(), batch["target_mask"].sum()]).to(self._loss)

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", (self._loss[0] / self._loss[1].clamp(min=1)).float())


def pinball(forecast: Tensor, target: Tensor, mask: Tensor, levels: list[float]) -> Tensor:
    """Pinball loss (Koenker & Bassett 1978) of every target, mean over the levels; 0 where the target is missing.

    Twice this, averaged over a fine grid of levels, is the CRPS.

    Args:
        forecast: [B, H, C, Q].
        target: [B, H, C].
        mask: True = observed, [B, H, C].
        levels: Q quantile levels.

    Returns:
        [B, H, C].
    """
    level = torch.tensor(levels, dtype=forecast.dtype, device=forecast.device)
    error = target[..., None] - forecast.to(level.dtype)
    return torch.where(mask, torch.maximum(level * error, (level - 1) * error).mean(-1), 0)


def some_channels(batch: Batch, max_rows: int) -> Batch:
    """The batch with a random choice of its channels, no more than fit into `max_rows` rows (at least one)."""
    windows, _, channels = batch["target"].shape
    keep = max(1, max_rows // windows)
    if channels <= keep:
        return batch
    chosen = torch.randperm(channels)[:keep].sort().values.to(batch["target"].device)
    names = ("context", "context_mask", "target", "target_mask")
    return {name: batch[name].index_select(2, chosen) for name in names}
