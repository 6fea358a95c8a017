"""Training of image classifiers, in the form `training.fit` takes."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from xlstm_apps.core.graphed import GraphedLoss
from xlstm_apps.vision.augmentation import augmented, mixed
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.groups import parameter_groups
from xlstm_apps.vision.training_config import AugmentConfig

Batch = dict[str, Any]


class ClassifierModule(pl.LightningModule):
    """Loss of a network that takes pixels [B, C, H, W] from 0 to 1 and gives class scores.

    A batch has `pixels` (uint8 or float32; or a list of such, of several shapes) and `label` [B]. Validation logs
    `val_loss` and `val_accuracy` over the whole part, of the average of the weights where one is kept. The loss is that
    of training, targets smoothed alike: by plain cross-entropy, a network that learns to be as unsure as it is asked to
    seems to become worse.

    Args:
        network: What is trained.
        num_classes: Number of classes.
        augment: How training images are changed.
        ema: Share of the average of the weights that stays at every step (Polyak & Juditsky 1992), less in the first
            steps; 0: no average.
        layer_decay: As in `parameter_groups`; for an `ImageClassifier`.
        class_weight: How much a mistake on each class counts [classes]; None: all alike.
    """

    updates: Tensor

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        augment: AugmentConfig,
        *,
        ema: float = 0.0,
        layer_decay: float = 1.0,
        class_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network, self.num_classes, self.augment, self.ema = network, num_classes, augment, ema
        self.layer_decay = layer_decay
        self.average = copy.deepcopy(network).requires_grad_(False) if ema else None
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._updates = 0
        self.register_buffer("class_weight", class_weight, persistent=False)
        self._graphed, self._replays = GraphedLoss(network, self._losses), False
        self._start()

    @property
    def result(self) -> nn.Module:
        """The network to be used: the average, where there is one."""
        return self.network if self.average is None else self.average

    def optimizer_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]] | None:
        """Groups of parameters for `training.fit`; None: the usual ones."""
        if not isinstance(self.network, ImageClassifier):
            return None
        return parameter_groups(
            self.network.model, learning_rate=learning_rate, weight_decay=weight_decay, layer_decay=self.layer_decay
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # Several calls of a graph in a step would overwrite each other's gradients.
        one_shape = isinstance(batch["pixels"], Tensor)
        losses = self._graphed if self._replays and one_shape else self._losses
        found = []
        for pixels, label in _groups(batch):
            x, targets = mixed(augmented(unit_pixels(pixels), self.augment), label, self.num_classes, self.augment)
            found.append(losses(pixels=x, targets=targets))
        return torch.cat(found).mean()

    def _losses(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each image, [B]."""
        loss = -(targets * self.network(pixels).float().log_softmax(-1))
        return (loss if self.class_weight is None else loss * self.class_weight).sum(-1)

    def on_train_start(self) -> None:
        self._updates = int(self.updates)  # of a resumed run, too; asking a GPU at every step would make it wait
        # A graph's gradients must be used before its next call, and it recomputes nothing.
        checkpoints = any(getattr(module, "grad_checkpointing", False) for module in self.network.modules())
        self._replays = self.trainer.accumulate_grad_batches == 1 and not checkpoints

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.average is None:
            return
        self.updates += 1
        self._updates += 1
        count = self._updates
        move = 1 - min(self.ema, (1 + count) / (10 + count))
        with torch.no_grad():
            mine, others = list(self.average.parameters()), list(self.network.parameters())
            torch._foreach_lerp_(mine, others, move)
            for own, other in zip(self.average.buffers(), self.network.buffers(), strict=True):
                own.copy_(other)

    def on_validation_epoch_start(self) -> None:
        self._start()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        smoothing = self.augment.label_smoothing
        for pixels, label in _groups(batch):
            scores = self.result(unit_pixels(pixels)).float()
            self._total += cross_entropy(scores, label, label_smoothing=smoothing, reduction="sum").item()
            self._right += int((scores.argmax(-1) == label).sum())
            self._count += len(scores)

    def on_validation_epoch_end(self) -> None:
        loss, right = (value / self._count if self._count else math.nan for value in (self._total, self._right))
        self.log_dict({"val_loss": loss, "val_accuracy": right})

    def _start(self) -> None:
        self._total, self._right, self._count = 0.0, 0, 0


def _groups(batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Images of one shape and their labels, for every shape of a batch."""
    pixels, label = batch["pixels"], batch["label"]
    if isinstance(pixels, Tensor):
        return [(pixels, label)]
    return [*zip(pixels, label.split([len(group) for group in pixels]), strict=True)]


def unit_pixels(pixels: Tensor) -> Tensor:
    """uint8 from 0 to 255 as float32 from 0 to 1; what is floating already stays."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
