"""Training of segmentation networks, in the form `training.fit` takes."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import torch
from torch import Tensor

from xlstm_apps.vision.segment_augment import augmented
from xlstm_apps.vision.segment_config import SegmentAugment
from xlstm_apps.vision.segment_loss import IGNORE, dice_cross_entropy
from xlstm_apps.vision.unet import XLSTMUNet, finest
from xlstm_apps.vision.unet_slices import read_slices

Batch = dict[str, Tensor]


class SegmentModule(pl.LightningModule):
    """Dice and cross-entropy of patches `image` [B, C, *size], `label` [B, *size].

    Validation logs `val_loss`, the mean over batches weighted by their patches, and `val_dice`, the Dice coefficient of
    all places of the part together, averaged over the classes but the background.

    Args:
        network: The network to train.
        augment: Random changes of the patches; None: none.
    """

    def __init__(self, network: XLSTMUNet, augment: SegmentAugment | None = None) -> None:
        super().__init__()
        self.network, self.augment = network, augment
        self._reset()

    def _reset(self) -> None:
        self._total, self._count = 0.0, 0
        self._both = torch.zeros(self.network.out_channels, dtype=torch.float64)
        self._sizes = torch.zeros_like(self._both)

    def logits(self, image: Tensor) -> Tensor | list[Tensor]:
        """What the network says of a batch; volumes given to a network of two dimensions are read slice by slice."""
        if image.dim() - 2 > self.network.spatial_dims:
            return read_slices(self.network, image)[0]
        return self.network(image)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        image, label = batch["image"], batch["label"]
        if self.augment is not None:
            with torch.autocast(image.device.type, enabled=False):
                image, label = augmented(image, label, self.augment)
        return dice_cross_entropy(self.logits(image), label)

    def on_validation_epoch_start(self) -> None:
        self._reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        label = batch["label"]
        logits = self.logits(batch["image"])
        self._total += float(dice_cross_entropy(logits, label).detach()) * len(label)
        self._count += len(label)
        found = finest(logits).argmax(1)
        known = label != IGNORE
        for number in range(self.network.out_channels):
            truth, said = (label == number) & known, (found == number) & known
            self._both[number] += int((truth & said).sum())
            self._sizes[number] += int(truth.sum()) + int(said.sum())

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", self._total / self._count if self._count else math.nan)
        there = self._sizes[1:] > 0
        dice = 2 * self._both[1:][there] / self._sizes[1:][there]
        self.log("val_dice", float(dice.mean()) if len(dice) else math.nan)
