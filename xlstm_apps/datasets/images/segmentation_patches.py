"""Patches of images with their labels, of one size, for training; whole images for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .segmentation_set import IGNORE, SegmentSet

Moments = tuple[list[float], list[float]]
"""Mean and deviation of every channel."""


MOST_PLACES = 20_000
"""Of a class in an image that are remembered."""


class Patches(Dataset):
    """Places in images, always the same ones: number n is patch n // I of image n % I, of I images.

    Every third patch is laid around a pixel of the foreground, the others anywhere, so that rare classes are seen (as
    in nnU-Net). What lies outside a small image is 0 and not scored. A batch has `image` float32 [B, C, *size],
    normalised, and `label` int64 [B, *size].

    Args:
        images: With masks.
        indices: Which of them.
        size: Of a patch.
        moments: Of all images; None: each image by its own.
        per_image: Patches of each image.
        seed: Of the places.
    """

    def __init__(
        self,
        images: SegmentSet,
        indices: Sequence[int] | np.ndarray,
        size: Sequence[int],
        moments: Moments | None = None,
        per_image: int = 64,
        seed: int = 0,
    ) -> None:
        self.images, self.indices, self.size = images, np.asarray(indices), tuple(size)
        self.per_image, self.seed = per_image, seed
        self.moments = [moments or own_moments(images.pixels(n)) for n in self.indices.tolist()]
        self.places = [foreground(images.labels[n], seed) for n in self.indices.tolist()]

    def __len__(self) -> int:
        return len(self.indices) * self.per_image

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The patches of these numbers."""
        found = [self._patch(int(number)) for number in numbers]
        image, label = (np.stack(part) for part in zip(*found, strict=True))
        return {"image": torch.from_numpy(image), "label": torch.from_numpy(label)}

    def _patch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        turn, which = divmod(number, len(self.indices))
        index = int(self.indices[which])
        generator = np.random.default_rng((self.seed, turn, index))
        labels, pixels = self.images.labels[index], self.images.pixels(index)
        places = self.places[which] if turn % 3 == 0 else []
        start = self._start(labels.shape, generator, places)
        image = normalised(_cut(pixels, (0, *start), (len(pixels), *self.size), 0), self.moments[which])
        image *= _cut(np.broadcast_to(np.True_, labels.shape), start, self.size, False)
        return image, _cut(labels, start, self.size, IGNORE).astype(np.int64)

    def _start(self, shape: tuple[int, ...], generator: np.random.Generator, places: Sequence[np.ndarray]) -> list[int]:
        centre = None
        if places:
            own = places[int(generator.integers(len(places)))]
            centre = np.unravel_index(int(own[generator.integers(len(own))]), shape)
        start = []
        for axis, (whole, size) in enumerate(zip(shape, self.size, strict=True)):
            room = whole - size
            if room <= 0:
                start.append(room // 2)
            elif centre is None:
                start.append(int(generator.integers(room + 1)))
            else:
                shift = int(generator.integers(size))
                start.append(int(np.clip(centre[axis] - shift, 0, room)))
        return start


def foreground(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Places (by rows) of every class but the background that an image has, or some of them at random."""
    generator, flat, found = np.random.default_rng(seed), labels.reshape(-1), []
    for number in range(1, int(flat.max(initial=0)) + 1):
        places = np.flatnonzero(flat == number)
        if len(places):
            found.append(
                places if len(places) <= MOST_PLACES else np.sort(generator.choice(places, MOST_PLACES, False))
            )
    return found


def own_moments(pixels: np.ndarray) -> Moments:
    """Mean and deviation of every channel of an image [C, *size], a slice at a time."""
    count, total, square = 0, np.zeros(len(pixels)), np.zeros(len(pixels))
    axes = tuple(range(1, pixels.ndim - 1))
    for n in range(pixels.shape[1]):
        part = np.asarray(pixels[:, n], np.float64)
        count += part[0].size
        total += part.sum(axes)
        square += np.square(part).sum(axes)
    return _moments(count, total, square)


def all_moments(images: SegmentSet, indices: Sequence[int] | np.ndarray) -> Moments:
    """Mean and deviation of every channel over images."""
    count, total, square = 0, 0.0, 0.0
    for index in indices:
        pixels = images.pixels(int(index))
        size = pixels[0].size
        mean, spread = (np.array(part) for part in own_moments(pixels))
        count, total, square = count + size, total + size * mean, square + size * (spread**2 + mean**2)
    return _moments(count, np.asarray(total), np.asarray(square))


def normalised(pixels: np.ndarray, moments: Moments) -> np.ndarray:
    """Pixels [C, *size] with mean 0 and deviation 1, float32."""
    shape = (-1, *(1,) * (pixels.ndim - 1))
    mean, spread = (np.array(part, np.float32).reshape(shape) for part in moments)
    return (pixels.astype(np.float32) - mean) / spread


def _moments(count: int, total: np.ndarray, square: np.ndarray) -> Moments:
    mean = total / count
    spread = np.sqrt(np.maximum(square / count - mean**2, 0))
    return mean.tolist(), [float(s) if s > 1e-6 * max(1.0, abs(m)) else 1.0 for s, m in zip(spread, mean, strict=True)]


def _cut(values: np.ndarray, start: Sequence[int], size: Sequence[int], fill: float) -> np.ndarray:
    """A part of an array that may reach beyond it, with `fill` there."""
    inner, around = [], []
    for first, length, whole in zip(start, size, values.shape, strict=True):
        low, high = max(first, 0), min(first + length, whole)
        inner.append(slice(low, high))
        around.append((low - first, first + length - high))
    part = np.asarray(values[tuple(inner)])
    return np.pad(part, around, constant_values=fill) if any(map(any, around)) else part
