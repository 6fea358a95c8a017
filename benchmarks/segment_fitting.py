"""What benchmarks of segmentation share: one network fitted to images with masks, and scored on those held out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from grid import Row
from grid_fit import fit_cell

FIELDS = ("parameters", "features", "val_loss", "dice", "iou", "hd95", "f1", "f1_ladder", "best_step", "ms_per_image",
          "train_mb", "fit_seconds", "precision", "device", "torch")  # fmt: skip
STEPS_PER_LOOK = 50


class Whole:
    """Images of one size, normalised, with their labels, all on the device: a data set of batches."""

    def __init__(self, images: Any, indices: np.ndarray, device: str) -> None:
        import torch

        from xlstm_apps.datasets.images.segmentation_patches import normalised, own_moments

        found = [(images.pixels(n), images.labels[n]) for n in indices.tolist()]
        pixels = np.stack([normalised(own, own_moments(own)) for own, _ in found])
        self.image = torch.from_numpy(pixels).to(device)
        self.label = torch.from_numpy(np.stack([label for _, label in found]).astype(np.int64)).to(device)

    def __len__(self) -> int:
        return len(self.label)

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        chosen = torch.tensor(indices, device=self.label.device)
        return {"image": self.image[chosen], "label": self.label[chosen]}


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

    A loss that is not finite ends the cell as failed: rows are of trainings without one.

    Returns:
        The row, and what finds the classes of an image.
    """
    import torch

    from xlstm_apps.datasets.images.segmentation_patches import Patches, normalised, own_moments
    from xlstm_apps.estimators.segment_scores import ImageScores, summary
    from xlstm_apps.training import BatchLoader
    from xlstm_apps.vision.segment_module import SegmentModule
    from xlstm_apps.vision.unet import count_weights

    module = SegmentModule(network, augment)
    cuda = options.accelerator != "cpu" and torch.cuda.is_available()
    if all(images.labels[n].shape == tuple(patch) for n in range(len(images))):
        train, valid = (Whole(images, parts[name], "cuda" if cuda else "cpu") for name in ("train", "val"))
    else:
        train = Patches(images, parts["train"], patch, per_image=64)
        valid = Patches(images, parts["val"], patch, per_image=4, seed=1)
    if cuda:
        torch.backends.cudnn.benchmark = True
        torch.cuda.reset_peak_memory_stats()
    looks = min(STEPS_PER_LOOK, row["steps"])
    result, facts = fit_cell(
        options, row, module,
        BatchLoader(train, batch, seed=row["seed"], shuffle=True, steps_per_epoch=looks),  # pyright: ignore
        BatchLoader(valid, batch),  # pyright: ignore
        max_epochs=-(-row["steps"] // looks), max_steps=row["steps"], weight_decay=0.01, patience=None,
    )  # fmt: skip
    memory = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(options.precision)
    if network.config.deep_supervision:
        network.decoder.deep_supervision = False

    @torch.no_grad()
    def find(pixels: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalised(pixels, own_moments(pixels)))[None].to(result.device)
        with torch.autocast(x.device.type, half, enabled=half is not None):
            return module.logits(x).argmax(1)[0].cpu().numpy()

    scores, seconds = [], []
    for index in parts["test"].tolist():
        started = time.perf_counter()
        found = find(images.pixels(index))
        seconds.append(time.perf_counter() - started)
        scores.append(ImageScores(images.labels[index], found, images.meaning.names, (1.0,) * images.meaning.dims))
    found = {
        "parameters": count_weights(network), "features": " ".join(map(str, network.config.features)),
        "val_loss": result.best_value, **summary(scores), "ms_per_image": 1000 * float(np.median(seconds)),
        "train_mb": "" if memory is None else round(memory),
    }  # fmt: skip
    return {**row, **found, **facts}, find


def told(row: Row) -> str:
    """What is shown of a row."""
    return f"val {row['val_loss']:.4f} Dice {row['dice']:.4f} F1 {row['f1']:.4f} ({row['parameters']:,} weights)"
