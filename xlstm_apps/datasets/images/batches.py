"""Batches of images of one size: cut, padded or squashed alike, or cut at random; or each at its own size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torch.utils.data import Dataset

from .collection import ImageSet
from .config import Fit
from .shapes import Shape, nearest_shapes

_ASPECT = (3 / 4, 4 / 3)
_THIN = 8
"""Shapes that differ by more than this factor are cut before they are scaled."""


class ImageBatches(Dataset):
    """Images [B, C, H, W], of the size of `images.reading`, with their labels, as uint8, or float32 from 0 to 1 where
    one of them is. Where that has several shapes, `pixels` of a batch with more than one of them is a list, a tensor
    for each, and the labels are in its order.

    Args:
        images: The set.
        indices: Which of them.
        fit: How images of other shapes get that one.
        crop_scale: Smallest share of the area that `draw` cuts out at random (Szegedy et al. 2015); None or 1: it gives
            what `__getitems__` does.
    """

    def __init__(
        self, images: ImageSet, indices: Sequence[int] | np.ndarray, fit: Fit, crop_scale: float | None = None
    ) -> None:
        self.images, self.indices, self.fit = images, np.asarray(indices), fit
        self.crop_scale = crop_scale if crop_scale is not None and crop_scale < 1 else None
        self.shapes = images.reading.shapes or (images.reading.sides,)
        self.kinds = nearest_shapes(self.shapes, images.sizes[self.indices])
        """Number of the shape of each image."""
        self._fitted: Tensor | list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """The batch with every image as a whole."""
        fitted = self._all()
        if isinstance(fitted, Tensor):
            return {"pixels": fitted[indices], "label": self._labels(indices)}
        return self._batch(indices, self._square if fitted is None else fitted.__getitem__)

    def draw(self, indices: Sequence[int], generator: np.random.Generator) -> dict[str, Any]:
        """The batch for training, every image cut at random."""
        scale = self.crop_scale
        if scale is None:
            return self.__getitems__(indices)
        return self._batch(indices, lambda n: random_crop(self._tensor(n), self._sides(n), scale, generator))

    def alike(self, most: int, indices: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Those numbers, or all, with those of one shape together, at most so many at a time."""
        for rows in self._by_shape(range(len(self)) if indices is None else indices):
            yield from (rows[begin : begin + most] for begin in range(0, len(rows), most))

    def _batch(self, indices: Sequence[int], give: Callable[[int], Tensor]) -> dict[str, Any]:
        groups = self._by_shape(indices)
        pixels = [stacked([give(n) for n in group]) for group in groups]
        label = self._labels([n for group in groups for n in group])
        return {"pixels": pixels[0] if len(pixels) == 1 else pixels, "label": label}

    def _by_shape(self, indices: Sequence[int]) -> list[list[int]]:
        rows = np.asarray(indices)
        kinds = self.kinds[rows]
        return [rows[kinds == kind].tolist() for kind in np.unique(kinds)]

    def _labels(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.images.labels[self.indices[indices]])

    def _all(self) -> Tensor | list[Tensor] | None:
        """All images, made once, where the set is in memory; one tensor where they have one shape."""
        if self._fitted is None and self.images.pixels is not None:
            fitted = [self._square(n) for n in range(len(self))]
            self._fitted = stacked(fitted) if len(self.shapes) == 1 else fitted
        return self._fitted

    def _tensor(self, n: int) -> Tensor:
        return channels_first(self.images[int(self.indices[n])])

    def _sides(self, n: int) -> Shape:
        return self.shapes[self.kinds[n]]

    def _square(self, n: int) -> Tensor:
        return fitted(self._tensor(n), self._sides(n), self.fit, self.images.reading.background)


class OwnSizes(Dataset):
    """Images one by one, each at its own height and width.

    Args:
        images: The set, read with `whole`.
        indices: Which of them.
    """

    def __init__(self, images: ImageSet, indices: Sequence[int] | np.ndarray) -> None:
        self.images, self.indices = images, np.asarray(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, n: int) -> Tensor:
        """[C, H, W] as float32 from 0 to 1."""
        return as_floats(channels_first(self.images[int(self.indices[n])]))


def channels_first(pixels: np.ndarray) -> Tensor:
    """[H, W, C] -> [C, H, W]."""
    return torch.from_numpy(np.require(pixels.transpose(2, 0, 1), requirements=["C", "W"]))


def fitted(image: Tensor, sides: tuple[int, int], fit: Fit, background: str = "white") -> Tensor:
    """An image [C, H, W] at another height and width."""
    height, width = image.shape[1:]
    if (height, width) == sides:
        return image
    if fit == "squash":
        return resized(image, *sides)
    scales = sides[0] / height, sides[1] / width
    scale = max(scales) if fit == "crop" else min(scales)
    if fit == "crop" and max(scales) > _THIN * min(scales):  # a line of pixels would grow without bounds
        rows, columns = (
            min(height, math.ceil(_THIN * sides[0] / scale)),
            min(width, math.ceil(_THIN * sides[1] / scale)),
        )
        top, left = (height - rows) // 2, (width - columns) // 2
        image, height, width = image[:, top : top + rows, left : left + columns], rows, columns
    image = resized(image, max(1, round(height * scale)), max(1, round(width * scale)))
    down, right = sides[0] - image.shape[1], sides[1] - image.shape[2]
    if fit == "crop":
        top, left = -down // 2, -right // 2
        return image[:, top : top + sides[0], left : left + sides[1]]
    colour = 0 if background == "black" else 255 if image.dtype == torch.uint8 else 1
    return pad(image, (right // 2, right - right // 2, down // 2, down - down // 2), value=colour)


def random_crop(image: Tensor, sides: tuple[int, int], least: float, generator: np.random.Generator) -> Tensor:
    """A random part of an image, at least `least` of its area, at that height and width."""
    height, width = image.shape[1:]
    for _ in range(10):
        area = height * width * generator.uniform(least, 1)
        aspect = np.exp(generator.uniform(*np.log(_ASPECT))) * sides[1] / sides[0]
        h, w = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            break
    else:
        scale = min(height / sides[0], width / sides[1])
        h, w = max(1, int(sides[0] * scale)), max(1, int(sides[1] * scale))
    top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
    return resized(image[:, top : top + h, left : left + w], *sides)


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """Another size, bicubic, smoothed where it shrinks; of the same type."""
    if tuple(image.shape[1:]) == (height, width):
        return image
    values = interpolate(image[None].float(), (height, width), mode="bicubic", antialias=True)[0]
    if image.dtype == torch.uint8:
        return values.round_().clamp_(0, 255).to(torch.uint8)
    return values.clamp_(0, 1)


def stacked(images: list[Tensor]) -> Tensor:
    """One tensor of images of one size, as float32 where they are of several types."""
    if len({image.dtype for image in images}) > 1:
        images = [as_floats(image) for image in images]
    return torch.stack(images)


def by_shape(pixels: Tensor | list[Tensor]) -> list[Tensor]:
    """The pixels of a batch, a tensor for each shape."""
    return pixels if isinstance(pixels, list) else [pixels]


def as_floats(pixels: Tensor) -> Tensor:
    """uint8 from 0 to 255 as float32 from 0 to 1; what is floating already stays."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def moments(batches: ImageBatches, most: int = 2000) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel over the images, or some of them evenly spread."""
    rows = np.unique(np.linspace(0, len(batches) - 1, min(len(batches), most)).round().astype(int))
    count, total, square = 0, 0.0, 0.0
    for begin in range(0, len(rows), 64):
        for pixels in by_shape(batches.__getitems__(rows[begin : begin + 64].tolist())["pixels"]):
            x: Any = as_floats(pixels).double()
            count += x[:, 0].numel()
            total, square = total + x.sum((0, 2, 3)), square + x.square().sum((0, 2, 3))
    mean = total / count
    spread = (square / count - mean**2).clamp(min=0).sqrt()
    return mean.tolist(), [float(s) if s > 1e-4 else 1.0 for s in spread]
