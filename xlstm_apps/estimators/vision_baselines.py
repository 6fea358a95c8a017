"""What a classifier of images is compared with: logistic regression of pixels, networks of equal size."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from xlstm_apps import training
from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.images import ImageBatches
from xlstm_apps.estimators.vision_plan import VisionPlan
from xlstm_apps.estimators.vision_scores import probabilities
from xlstm_apps.thinning import evenly
from xlstm_apps.training import files
from xlstm_apps.vision.baselines import matched
from xlstm_apps.vision.classifier import Normalize
from xlstm_apps.vision.module import unit_pixels

SIDE = 16
"""Pixels across what logistic regression sees."""
MOST = 10_000
"""Training images that it is fitted to at most."""
_STRENGTHS = (0.003, 0.03, 0.3)


class Fitted(Protocol):
    """A model that was trained to be compared with."""

    parameters: int
    seconds: float

    def predict(self, batches: ImageBatches) -> np.ndarray:
        """Probabilities [N, classes]."""
        ...


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression of pixels, shrunk to `SIDE` across and standardised."""

    model: Any
    mean: np.ndarray
    std: np.ndarray
    parameters: int
    seconds: float

    def predict(self, batches: ImageBatches) -> np.ndarray:
        """Probabilities [N, classes]."""
        return self.model.predict_proba((_pixels(batches, np.arange(len(batches))) - self.mean) / self.std)


@dataclass(frozen=True)
class Trained:
    """A network."""

    network: nn.Module
    device: torch.device
    parameters: int
    seconds: float

    def predict(self, batches: ImageBatches) -> np.ndarray:
        """Probabilities [N, classes]."""
        return probabilities(self.network.to(self.device), batches)


def fitted(
    name: str,
    plan: VisionPlan,
    seed: int,
    *,
    parameters: int,
    cache: Path | None = None,
    console: Console | None = None,
) -> Fitted:
    """Fit one of them to the training part of a plan; strengths and epochs are chosen on validation.

    Args:
        name: logistic, resnet or vit.
        plan: What the model itself is trained by.
        seed: Of weights and batches.
        parameters: How many a network should have.
        cache: Folder of networks that were trained before, to be taken from there or kept there.
        console: Where to show progress.
    """
    return _logistic(plan) if name == "logistic" else _network(name, plan, seed, parameters, cache, console)


def _logistic(plan: VisionPlan) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    started = time.monotonic()
    train = ImageBatches(plan.images, plan.parts["train"], plan.looks.fit)
    rows = evenly(len(train), MOST)
    labels = plan.images.labels[plan.parts["train"]]
    rows = np.union1d(rows, np.unique(labels, return_index=True)[1])  # a rare class may have no image among them
    x, y = _pixels(train, rows), labels[rows]
    mean, std = x.mean(0), np.maximum(x.std(0), 1e-3)
    x = (x - mean) / std
    weight = None if plan.class_weight is None else "balanced"
    best, chosen = np.inf, None
    valid = plan.batches("val") if "val" in plan.parts else None
    for strength in _STRENGTHS if valid is not None else _STRENGTHS[:1]:
        model = LogisticRegression(C=strength, max_iter=200, tol=1e-3, class_weight=weight)
        with warnings.catch_warnings(action="ignore"):  # that more iterations could help: for who fits by hand
            model.fit(x, y)
        loss = 0.0
        if valid is not None:
            said = model.predict_proba((_pixels(valid, np.arange(len(valid))) - mean) / std)
            truth = plan.images.labels[plan.parts["val"]]
            loss = float(-np.log(said[np.arange(len(truth)), truth] + 1e-9).mean())
        if loss < best:
            best, chosen = loss, model
    assert chosen is not None
    size = chosen.coef_.size + chosen.intercept_.size
    return Logistic(chosen, mean, std, int(size), time.monotonic() - started)


def _pixels(batches: ImageBatches, rows: np.ndarray) -> np.ndarray:
    """Pixels as features: float32 [N, F]."""
    sides = [min(SIDE, side) for side in batches.images.reading.sides]
    out = np.empty((len(rows), batches.images.reading.in_chans * math.prod(sides)), np.float32)
    for group in batches.alike(256, rows):
        x = adaptive_avg_pool2d(unit_pixels(batches.__getitems__(group)["pixels"]), sides)
        out[np.searchsorted(rows, group)] = x.flatten(1).numpy()
    return out


def _network(
    name: Any, plan: VisionPlan, seed: int, parameters: int, cache: Path | None, console: Console | None
) -> Trained:
    from safetensors.torch import load_model, save_model

    with training.seeded(seed):
        made = matched(
            name, parameters, in_chans=plan.vision.in_chans, num_classes=len(plan.looks.classes),
            img_size=plan.looks.sides, patch_size=plan.vision.patch_size[0], depth=plan.backbone.num_blocks,
        )  # fmt: skip
    network: nn.Module = nn.Sequential(Normalize(plan.looks.mean, plan.looks.std), made)
    size = count_weights(network)
    path = None if cache is None else cache / name
    if path is not None and path.is_dir():
        load_model(network, path / "model.safetensors")
        return Trained(network, plan.device, size, float((path / "seconds.txt").read_text()))
    network, result = plan.train(network, seed, console=console, label=f"training {name}")
    if path is not None:
        with files.replacing_folder(path) as aside:
            save_model(network, str(aside / "model.safetensors"))
            (aside / "seconds.txt").write_text(f"{result.seconds:.2f}")
    return Trained(network, plan.device, size, result.seconds)
