"""What benchmarks of segmentation share: one network fitted to images with masks, and scored on those held out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from grid import Row

FIELDS = ("parameters", "features", "val_loss", "best_epoch", "dice", "iou", "hd95", "f1", "f1_ladder", "ms_per_image",
          "train_mb", "fit_seconds", "precision", "device", "torch")  # fmt: skip
STEPS_PER_LOOK = 50


def image_set(pixels: np.ndarray, masks: np.ndarray, names: Sequence[str]) -> Any:
    """Images [N, *size] with masks of classes 0, 1, ... as the library has them."""
    from xlstm_apps.datasets.images.segmentation_files import Pixels
    from xlstm_apps.datasets.images.segmentation_pairs import Pair
    from xlstm_apps.datasets.images.segmentation_set import Meaning, SegmentSet

    dims = pixels.ndim - 1
    classes = int(masks.max()) + 1
    titles = ("background", *(f"class {n}" for n in range(1, classes)))
    return SegmentSet(
        pairs=[Pair(id=name, image=None) for name in names],  # type: ignore[arg-type]
        meaning=Meaning(dims=dims, in_chans=1, masks="classes", values=tuple(range(classes)), names=titles),
        images=[Pixels(image[None], (1.0,) * dims) for image in pixels],
        masks=list(masks),
        labels=[mask.astype(np.int16) for mask in masks],
    )


def fit_and_score(
    options: argparse.Namespace,
    row: Row,
    network: Any,
    images: Any,
    parts: dict[str, np.ndarray],
    patch: Sequence[int],
    batch: int,
    augment: Any,
) -> tuple[Row, Callable[[np.ndarray], np.ndarray]]:
    """Fit with the learning rate of the cell, the best epoch taken on validation; scores on the test, once.

    Args:
        options: Of the command line.
        row: The cell: learning rate, seed, steps.
        network: An `XLSTMUNet`; volumes given to one of two dimensions are read slice by slice, with memory.
        images: From `image_set`.
        parts: Numbers of the images of train, val and test.
        patch: Size of the patches in training.
        batch: Patches at a time.
        augment: Random changes; None: none.

    Returns:
        The row, and what finds the classes of an image.
    """
    import torch

    from xlstm_apps.datasets.images.segmentation_patches import Patches, normalised, own_moments
    from xlstm_apps.estimators.segment_scores import ImageScores, summary
    from xlstm_apps.training import BatchLoader, FitConfig, fit
    from xlstm_apps.vision.segment_module import SegmentModule
    from xlstm_apps.vision.unet import count_weights

    module = SegmentModule(network, augment)
    whole = all(images.labels[n].shape == tuple(patch) for n in range(len(images)))
    train = Patches(images, parts["train"], patch, per_image=1 if whole else 64)
    valid = Patches(images, parts["val"], patch, per_image=1 if whole else 4, seed=1)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    looks = min(STEPS_PER_LOOK, row["steps"])
    result = fit(
        module,
        BatchLoader(train, batch, seed=row["seed"], shuffle=True, steps_per_epoch=looks),
        BatchLoader(valid, batch),
        FitConfig(
            max_epochs=-(-row["steps"] // looks), max_steps=row["steps"], learning_rate=row["learning_rate"],
            weight_decay=0.01, patience=None, accelerator=options.accelerator, precision=options.precision,
        ),
        seed=row["seed"],
    )  # fmt: skip
    on_gpu = result.device.startswith("cuda")
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None
    network.to(result.device).eval()
    if network.config.deep_supervision:
        network.decoder.deep_supervision = False

    @torch.no_grad()
    def find(pixels: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalised(pixels, own_moments(pixels)))[None].to(result.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=options.precision == "bf16-mixed"):
            return module.logits(x).argmax(1)[0].cpu().numpy()

    scores, seconds = [], []
    for index in parts["test"].tolist():
        started = time.perf_counter()
        found = find(images.pixels(index))
        seconds.append(time.perf_counter() - started)
        scores.append(ImageScores(images.labels[index], found, images.meaning.names, (1.0,) * images.meaning.dims))
    facts = {
        "parameters": count_weights(network), "features": " ".join(map(str, network.config.features)),
        "val_loss": result.best_value, "best_epoch": result.best_epoch, **summary(scores),
        "ms_per_image": 1000 * float(np.median(seconds)), "train_mb": "" if memory is None else round(memory),
        "fit_seconds": round(result.seconds, 1), "precision": options.precision,
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }  # fmt: skip
    return {**row, **facts}, find


def told(row: Row) -> str:
    """What is shown of a row."""
    return f"val {row['val_loss']:.4f} Dice {row['dice']:.4f} F1 {row['f1']:.4f} ({row['parameters']:,} weights)"
