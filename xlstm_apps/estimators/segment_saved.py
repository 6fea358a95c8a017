"""A saved segmentation model, in the run folder of a training or by itself, and how it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xlstm_apps.core.pretrained import CONFIG, stored_config
from xlstm_apps.datasets.images.segmentation_patches import Moments, own_moments
from xlstm_apps.datasets.images.segmentation_set import Meaning
from xlstm_apps.estimators.saved import model_folder, model_source, resolve_device
from xlstm_apps.vision.segment_config import SegmentImages
from xlstm_apps.vision.segmenter import Segmenter


def load_segmenter(path: str | Path, device: str = "auto") -> Segmenter:
    """A saved model in evaluation mode, with one output.

    Args:
        path: Run folder of `vision segment train`, or folder that `save_pretrained` wrote.
        device: `auto`: CUDA where there is any.

    Raises:
        ValueError: None of those, or a run that has no model yet.
    """
    where = resolve_device(device)
    source = model_source(path, model_folder(path, {"vision-segment": "vision segment train"}))
    config = stored_config(source)
    if not {"unet", "images"} <= set(config):
        raise ValueError(f"{path}: no segmentation model; its {CONFIG} holds {', '.join(config) or 'nothing'}")
    return Segmenter.from_pretrained(source).without_coarse_heads().to(where)


def meaning_of(images: SegmentImages) -> Meaning:
    """How masks are to be read for a model."""
    return Meaning(
        dims=images.dims, in_chans=images.in_chans, masks=images.masks, values=images.values, names=images.names
    )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How images are given to a model."""

    window: Sequence[int] | None = None
    """Parts of this size; empty: whole images; None: as in training."""
    overlap: float = 0.5
    flips: bool = False
    batch_size: int = 4

    def of(self, model: Segmenter) -> dict[str, Any]:
        """As options of `Segmenter.stream`.

        Raises:
            ValueError: A window for other dimensions, or an overlap that is none.
        """
        if model.images.slices and self.window:
            raise ValueError(f"window={[*self.window]}: this model reads whole slices; leave it out")
        window = model.images.patch_size if self.window is None else self.window
        if window and (len(window) != model.images.dims or min(window) < 1):
            raise ValueError(f"window={[*window]} must be {model.images.dims} positive numbers")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap={self.overlap} must be at least 0 and below 1")
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} must be at least 1")
        return {
            "window": tuple(window) or None, "overlap": self.overlap, "flips": self.flips, "batch_size": self.batch_size
        }  # fmt: skip


def moments_for(model: Segmenter, pixels: np.ndarray) -> Moments:
    """By what an image is normalised."""
    images = model.images
    if images.mean is not None and images.std is not None:
        return [*images.mean], [*images.std]
    return own_moments(pixels)


def segment(
    model: Segmenter, pixels: np.ndarray, reading: Reading, tick: Callable[[int], None] | None = None
) -> np.ndarray:
    """The class of every pixel of an image [C, *size]: uint8 [*size]."""
    return model.classes(pixels, moments_for(model, pixels), tick, **reading.of(model))
