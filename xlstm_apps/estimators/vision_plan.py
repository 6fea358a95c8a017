"""From images and settings to a network and its training: what was left open is chosen here, and told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from xlstm_apps import training
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.images import ImageBatches, ImageData, ImageSet, moments
from xlstm_apps.datasets.images.shapes import cut_off
from xlstm_apps.estimators.saved import resolve_device
from xlstm_apps.training import BatchLoader, FitConfig, FitResult
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.config import VisionConfig
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.module import ClassifierModule
from xlstm_apps.vision.registry import create_model
from xlstm_apps.vision.training_config import AugmentConfig, ImagesConfig, NetworkConfig
from xlstm_apps.vision.weights import adopt

LEARNING_RATE, FINETUNING_RATE = 1e-3, 3e-4
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""With which published weights were trained."""
_MUCH = 0.1
"""Share of the images' area that is not cut off without a word."""
_FREE = ("drop_path", "dropout")
"""Of `network`: what a trained model does not fix."""


@dataclass(frozen=True, kw_only=True)
class VisionPlan:
    """A training that is fully settled."""

    images: ImageSet
    parts: dict[str, np.ndarray]
    rule: str
    """How the parts were made."""
    vision: VisionConfig
    backbone: xLSTMConfig
    looks: ImagesConfig
    augment: AugmentConfig
    fit: FitConfig
    ema: float
    layer_decay: float
    class_weight: torch.Tensor | None
    start: ImageClassifier | VisionLSTM | None
    head_only: bool
    notes: list[str] = field(default_factory=list)

    def classifier(self, seed: int) -> ImageClassifier:
        """The network, with new weights or those it starts from."""
        with training.seeded(seed):
            made = ImageClassifier(self.vision, self.backbone, self.looks)
        if self.start is not None:
            source = self.start.model if isinstance(self.start, ImageClassifier) else self.start
            adopt(made.model, source)
        return made

    def batches(self, part: str) -> ImageBatches:
        """Images of a part; those of training are cut at random."""
        scale = self.augment.crop(self.looks.img_size) if part == "train" else None
        return ImageBatches(self.images, self.parts[part], self.looks.fit, scale)

    def train(
        self,
        network: nn.Module,
        seed: int,
        *,
        run_dir: Path | None = None,
        resume: bool = False,
        console: Console | None = None,
        label: str = "training",
        after_epoch: Callable[[dict[str, Any]], bool] | None = None,
    ) -> tuple[nn.Module, FitResult]:
        """Train a network, the one of the plan or one to compare it with; returns what is to be used of it."""
        own = isinstance(network, ImageClassifier)
        if self.head_only and own:
            assert isinstance(network, ImageClassifier)
            network.model.requires_grad_(False)
            network.model.head.requires_grad_(True)
        module = ClassifierModule(
            network,
            len(self.looks.classes),
            self.augment,
            ema=self.ema,
            layer_decay=self.layer_decay if own else 1.0,
            class_weight=self.class_weight,
        )
        fit = self.fit
        if not own and self.start is not None:  # it has no trained weights to be careful with
            fit = dataclasses.replace(fit, learning_rate=LEARNING_RATE)
        valid = self.batches("val") if "val" in self.parts else None
        result = training.fit(
            module,
            BatchLoader.shuffled(self.batches("train"), fit, seed),
            None if valid is None else BatchLoader(valid, 2 * (fit.batch_size or 1), num_workers=fit.num_workers),
            fit,
            seed=seed,
            run_dir=run_dir,
            resume=resume,
            console=console,
            label=label,
            after_epoch=after_epoch,
        )
        return module.result.requires_grad_(True).eval().cpu(), result

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return resolve_device(self.fit.accelerator)


def plan_vision(
    images: ImageSet,
    parts: dict[str, np.ndarray],
    rule: str,
    *,
    data: ImageData,
    network: NetworkConfig,
    augment: AugmentConfig,
    fit: FitConfig,
    start: ImageClassifier | VisionLSTM | None = None,
    source: str = "",
    head_only: bool = False,
    balanced: bool = False,
    ema: float = 0.99,
    layer_decay: float = 1.0,
) -> VisionPlan:
    """Settle a training.

    Args:
        images: What was read.
        parts: Numbers of the images of train, val and test.
        rule: How the parts were made.
        data: How images become alike.
        network: Which network.
        augment: How training images are changed.
        fit: How to train.
        start: Trained model to go on from.
        source: What to call it in messages.
        head_only: Train the head alone.
        balanced: Every class counts alike.
        ema: As in `ClassifierModule`.
        layer_decay: As in `ClassifierModule`.

    Raises:
        ValueError: Settings that do not go together.
    """
    if not 0 <= ema < 1:
        raise ValueError(f"ema is a share, at least 0 and below 1, not {ema}")
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay lies above 0 and at most at 1, not at {layer_decay}")
    if head_only and start is None:
        raise ValueError("head_only trains the head of a trained model; name one with from_model")
    size, channels = images.reading.img_size, images.reading.in_chans
    if start is None:
        if (network.patch_size or 1) > min(images.reading.sides):
            raise ValueError(
                f"network.patch_size={network.patch_size} is more than the {min(images.reading.sides)} pixels of the "
                "shorter side of images; take smaller patches, or larger images (data.img_size)"
            )
        made = create_model(
            network.named(size),
            num_classes=len(images.classes),
            in_chans=channels,
            img_size=images.reading.sides,
            patch_size=min(network.patch(size), *images.reading.sides),
            **network.options(),
        )
        assert isinstance(made, VisionLSTM)
        vision, backbone = made.vision, made.config
    else:
        vision, backbone = _adopted(start, network, source, images)
    rate = FINETUNING_RATE if start is not None and not head_only else LEARNING_RATE
    train = parts["train"]
    batch = min(64, max(8, 2 ** int(np.log2(max(1, len(train) / 8)))))
    settled = dataclasses.replace(
        fit,
        batch_size=min(fit.batch_size or batch, len(train)),
        learning_rate=fit.learning_rate or rate,
    )
    looks = _looks(images, data, train, start)
    weight = None
    if balanced:
        counts = np.bincount(images.labels[train], minlength=len(images.classes))
        weight = torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)
    notes = []
    if "val" not in parts:
        notes.append("no validation part: the weights of the last epoch are kept")
    lost = cut_off(looks.shapes or (looks.sides,), images.sizes) if looks.fit == "crop" else 0.0
    if lost > _MUCH:
        notes.append(
            f"images lose {lost:.0%} of their area on average, since only their middle is read; data.num_shapes 4 "
            "brings them to several shapes, each to the nearest, data.fit pad or squash keeps all of it"
        )
    return VisionPlan(
        images=images, parts=parts, rule=rule, vision=vision, backbone=backbone, looks=looks, augment=augment,
        fit=settled, ema=ema, layer_decay=layer_decay, class_weight=weight, start=start, head_only=head_only,
        notes=notes,
    )  # fmt: skip


def _looks(
    images: ImageSet, data: ImageData, train: np.ndarray, start: ImageClassifier | VisionLSTM | None
) -> ImagesConfig:
    """What the classifier will know of images; a trained one keeps its mean and standard deviation."""
    channels = images.reading.in_chans
    if isinstance(start, ImageClassifier) and start.model.vision.in_chans == channels:
        mean, std = start.images.mean, start.images.std
    elif isinstance(start, VisionLSTM) and channels == 3:
        mean, std = IMAGENET["mean"], IMAGENET["std"]
    else:
        found = moments(ImageBatches(images, train, data.fit))
        mean, std = (tuple(round(value, 4) for value in values) for values in found)
    return ImagesConfig(
        classes=tuple(images.classes),
        img_size=images.reading.img_size,
        shape=images.reading.shape,
        shapes=images.reading.shapes,
        fit=data.fit,
        background=data.background,
        mean=mean,
        std=std,
    )


def _adopted(
    start: ImageClassifier | VisionLSTM, network: NetworkConfig, source: str, images: ImageSet
) -> tuple[VisionConfig, xLSTMConfig]:
    """Configurations of a trained model, for these images and classes."""
    model = start.model if isinstance(start, ImageClassifier) else start
    own = {**dataclasses.asdict(model.config), **dataclasses.asdict(model.vision)}
    said = {f.name: getattr(network, f.name) for f in dataclasses.fields(network)}
    for name, value in said.items():
        if value is None or name in _FREE:
            continue
        known = own.get(name)
        known = known[0] if name == "patch_size" and known is not None else known
        if name == "name" or value != known:
            what = "" if name == "name" else f", which has {known!r}"
            raise ValueError(f"network.{name} is fixed by {source or 'the trained model'}{what}; leave the option out")
    changes: dict[str, Any] = {
        "num_classes": len(images.classes),
        "in_chans": images.reading.in_chans,
        "img_size": images.reading.sides,
    }
    if network.drop_path is not None:
        changes["drop_path_rate"] = network.drop_path
    backbone = model.config
    if network.dropout is not None:
        backbone = dataclasses.replace(backbone, dropout=network.dropout)
    return dataclasses.replace(model.vision, **changes), backbone
