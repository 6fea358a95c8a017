"""From images with masks and settings to a network and its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from xlstm_apps import training
from xlstm_apps.datasets.images.segmentation_config import SegmentData
from xlstm_apps.datasets.images.segmentation_doubts import usual_axes
from xlstm_apps.datasets.images.segmentation_patches import Moments, Patches, all_moments
from xlstm_apps.datasets.images.segmentation_set import SegmentSet
from xlstm_apps.estimators.saved import resolve_device
from xlstm_apps.training import FitConfig
from xlstm_apps.vision.segment_config import SegmentAugment, SegmentImages
from xlstm_apps.vision.segment_module import SegmentModule
from xlstm_apps.vision.segmenter import Segmenter
from xlstm_apps.vision.unet import plain_of_equal_size
from xlstm_apps.vision.unet_config import UNetConfig, strides_for

LEARNING_RATE = 2e-3
_LONGEST = {("cpu", 2): 128, ("cuda", 2): 256, ("cpu", 3): 32, ("cuda", 3): 96}
"""Side of a patch."""
_PIXELS = {("cpu", 2): 1 << 17, ("cuda", 2): 1 << 21, ("cpu", 3): 1 << 16, ("cuda", 3): 1 << 21}
"""In a batch."""
_STEPS = {"cpu": 40, "cuda": 100}
"""In an epoch, at most."""
_MOST_ROWS = 32
PER_IMAGE = 64
"""Patches of each image, where they are smaller than it."""


@dataclass(frozen=True, kw_only=True)
class SegmentPlan:
    """What will be trained on what."""

    images: SegmentSet
    parts: Mapping[str, np.ndarray]
    spec: SegmentImages
    unet: UNetConfig
    augment: SegmentAugment
    fit: FitConfig
    device: torch.device
    train: Patches
    valid: Patches | None
    notes: list[str] = field(default_factory=list)

    def model(self, seed: int, unet: UNetConfig | None = None) -> Segmenter:
        """A new model whose weights follow from the seed; the global random state is left alone."""
        with training.seeded(seed):
            return Segmenter(unet or self.unet, self.spec)

    @property
    def plain(self) -> UNetConfig:
        """The plain U-Net of equal size."""
        spec = self.spec
        return plain_of_equal_size(spec.network_dims, spec.in_chans, len(spec.names), self.unet)

    def train_model(
        self,
        model: Segmenter,
        seed: int,
        *,
        run_dir: Path | None = None,
        resume: bool = False,
        console: Console | None = None,
        label: str = "training",
    ) -> training.FitResult:
        """Fit, the best epoch chosen on validation; see `training.fit`."""
        assert self.fit.batch_size is not None, "resolved by plan_segmentation"
        loader = training.BatchLoader.shuffled(self.train, self.fit, seed)
        valid = None if self.valid is None else training.BatchLoader(self.valid, self.fit.batch_size)
        return training.fit(
            SegmentModule(model.network, self.augment),
            loader,
            valid,
            self.fit,
            seed=seed,
            run_dir=run_dir,
            resume=resume,
            console=console,
            label=label,
        )


def plan_segmentation(
    images: SegmentSet,
    parts: Mapping[str, np.ndarray],
    *,
    data: SegmentData,
    unet: UNetConfig,
    augment: SegmentAugment,
    fit: FitConfig,
) -> SegmentPlan:
    """Choose what was left open: patches, batches, strides.

    Raises:
        ValueError: Settings that do not fit the images.
    """
    meaning, device = images.meaning, resolve_device(fit.accelerator)
    kind = "cuda" if device.type == "cuda" else "cpu"
    dims, notes = meaning.dims, []
    for name in ("patch_size", "spacing"):
        value = getattr(data, name)
        if value is not None and len(value) != dims:
            raise ValueError(f"data.{name}={value} has {len(value)} entries, the images have {dims} dimensions")
    sizes = np.array([images.images[n].values.shape[1:] for n in parts["train"]])
    patch = data.patch_size or np.minimum(np.median(sizes, 0), _LONGEST[kind, dims]).astype(int).tolist()
    moments: Moments | None = None
    if data.normalize == "dataset":
        moments = all_moments(images, parts["train"])
    if data.slices and dims != 3:
        raise ValueError("data.slices is for volumes, and these are pictures; leave it out")
    spacing = tuple(np.median([images.spacing(n, data.spacing) for n in parts["train"]], 0).tolist())
    first = 1 if data.slices else 0  # the dimensions of the network
    if unet.strides is None and max(spacing[first:]) >= 2 * min(spacing[first:]):
        unet = _spaced(unet, patch[first:], spacing[first:])
        lengths, strides = " x ".join(f"{length:g}" for length in spacing), [*(unet.strides or ())]
        notes.append(f"pixels are {lengths}: strides {strides}")
    if data.slices and unet.where == "none":
        notes.append("without an xLSTM (unet.where none) nothing is remembered: each slice is read by itself")
    whole = bool((sizes <= patch).all())
    cover = max(1, math.ceil(float(np.median(sizes.prod(1))) / math.prod(patch)))
    batch = fit.batch_size or int(np.clip(_PIXELS[kind, dims] // math.prod(patch), 1, _MOST_ROWS))
    if fit.batch_size is None:
        batch = max(1, min(batch, math.ceil(len(sizes) * cover / 4)))  # few images still make some steps
    steps = fit.steps_per_epoch or max(10, min(_STEPS[kind], math.ceil(len(sizes) * cover / batch)))
    spec = SegmentImages(
        dims=dims, in_chans=meaning.in_chans, names=meaning.names, values=meaning.values, patch_size=tuple(patch),
        slices=data.slices, masks=meaning.masks,  # type: ignore[arg-type]
        mean=None if moments is None else tuple(moments[0]), std=None if moments is None else tuple(moments[1]),
        spacing=None if data.spacing is None else tuple(data.spacing),
        seen_spacing=spacing if dims == 3 and data.spacing is None else None,
        seen_axes=usual_axes([images.images[n] for n in parts["train"]]),
    )  # fmt: skip
    valid = parts.get("val")
    if valid is None:
        notes.append("no validation part: no early stopping, the last epoch is taken")
    plan = SegmentPlan(
        images=images,
        parts=parts,
        spec=spec,
        unet=unet,
        augment=augment,
        fit=replace(
            fit, batch_size=batch, steps_per_epoch=steps, learning_rate=fit.learning_rate or LEARNING_RATE
        ),
        device=device,
        train=Patches(images, parts["train"], patch, moments, 1 if whole else PER_IMAGE),
        valid=None if valid is None else Patches(images, valid, patch, moments, 1 if whole else min(8, 2 * cover), 1),
        notes=notes,
    )  # fmt: skip
    plan.model(0)  # a network that cannot be built says so here
    return plan


def _spaced(unet: UNetConfig, patch: Sequence[int], spacing: Sequence[float]) -> UNetConfig:
    """Strides and kernels for pixels that are no cubes, for as many stages as there are."""
    stages = len(unet.features)
    strides, kernels = strides_for(patch, spacing, stages=stages, smallest=2)
    missing = stages - len(strides)
    strides += [(1,) * len(patch)] * missing
    kernels += [kernels[-1]] * missing
    return replace(unet, strides=tuple(strides), kernel_sizes=tuple(kernels))
