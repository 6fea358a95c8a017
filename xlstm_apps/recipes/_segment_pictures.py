"""Overlays: an image beside outlines of what is there and of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

COLOURS = np.array(
    [(0, 158, 115), (213, 94, 0), (0, 114, 178), (204, 121, 167), (230, 159, 0), (86, 180, 233)], np.uint8
)
"""Of classes 1, 2 ..., told apart by most people (Okabe & Ito)."""
MISSED, MADE_UP = (230, 159, 0), (213, 0, 90)
LEAST, MOST = 224, 640
"""Pixels across a picture."""


def shown(pixels: np.ndarray) -> np.ndarray:
    """An image [C, H, W] as uint8 [H, W, 3], from its 1 % to its 99 % brightness."""
    values = pixels.astype(np.float32)
    values = values if len(values) in (1, 3) else values[:1]
    low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
    return np.rint(255 * np.broadcast_to(grey.transpose(1, 2, 0), (*grey.shape[1:], 3))).astype(np.uint8)


def outlines(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A picture with the border of every class drawn in its colour."""
    drawn = picture.copy()
    for number in range(1, int(labels.max(initial=0)) + 1):
        mask = labels == number
        drawn[mask & ~ndimage.binary_erosion(mask)] = COLOURS[(number - 1) % len(COLOURS)]
    return drawn


def panel(pixels: np.ndarray, truth: np.ndarray | None, found: np.ndarray) -> np.ndarray:
    """Beside each other: the image, what is there, what was found, and what is wrong; of a volume `telling_slice`."""
    if found.ndim == 3:
        index = telling_slice(truth, found)
        pixels, found = pixels[:, index], found[index]
        truth = None if truth is None else truth[index]
    picture = shown(np.asarray(pixels))
    parts = [picture]
    if truth is not None:
        parts.append(outlines(picture, truth))
    parts.append(outlines(picture, found))
    if truth is not None:
        wrong = picture // 2 + 64
        wrong[(found != truth) & (truth > 0)] = MISSED
        wrong[(found != truth) & (found > 0) & (truth == 0)] = MADE_UP
        parts.append(wrong)
    gap = np.full((picture.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([part for one in parts for part in (one, gap)][:-1], axis=1)


def telling_slice(truth: np.ndarray | None, found: np.ndarray) -> int:
    """Of a volume the slice with most mistakes, or with most that was found."""
    weight = (found > 0) if truth is None else (found != truth) & (truth >= 0)
    return int(weight.sum((1, 2)).argmax())


def write_panel(path: Path, panel: np.ndarray, parts: int = 4) -> None:
    """Write it as PNG, small images enlarged, large ones shrunk."""
    from PIL import Image

    width = panel.shape[1] / parts
    image = Image.fromarray(panel)
    if width < LEAST:
        times = int(np.ceil(LEAST / width))
        image = image.resize((panel.shape[1] * times, panel.shape[0] * times), Image.Resampling.NEAREST)
    elif width > MOST:
        scale = MOST / width
        image = image.resize((round(panel.shape[1] * scale), round(panel.shape[0] * scale)), Image.Resampling.BILINEAR)
    image.save(path)


def chosen(dice: Sequence[float], worst: int = 6) -> list[int]:
    """The images with the lowest scores, then one from the middle and the best; NaN counts as best."""
    order = np.argsort(np.nan_to_num(np.asarray(dice, float), nan=2.0), kind="stable")
    picked = [*order[:worst], order[len(order) // 2], order[-1]]
    return [int(n) for n in dict.fromkeys(picked)]
