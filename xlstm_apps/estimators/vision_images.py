"""Images in memory in the place of files: arrays, pictures of Pillow, or paths, as records to read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xlstm_apps.datasets.images import ImageRecord, Listing

_STRAY = 0.1
"""Share of the pixels that are not 0 which may lie beyond the learned range, as where every pixel is scaled by its own
range in training; they are clipped."""


@dataclass(frozen=True)
class Scale:
    """Of pixels that are not bytes: what becomes 0 and what becomes 1."""

    low: float = 0.0
    high: float = 1.0


def array_of(X: Any) -> np.ndarray | None:  # noqa: N803 - scikit-learn's name
    """Images of one size as an array [N, H, W, C]; None for lists of pictures or paths.

    Taken are [N, H, W], [N, H, W, C] and [N, C, H, W] with 1 or 3 channels, and rows of pixels [N, H * W] of squares,
    as scikit-learn has them.

    Raises:
        ValueError: Another shape, or no numbers.
    """
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()  # noqa: N806
    elif hasattr(X, "to_numpy"):
        X = X.to_numpy()  # noqa: N806
    if not isinstance(X, np.ndarray) or X.dtype == object or X.dtype.kind in "US":
        return None
    if X.dtype.kind not in "buif":
        raise ValueError(f"X is an array of {X.dtype}; images are numbers")
    shape = f"X has the shape {X.shape}; images are [N, H, W], [N, H, W, C], [N, C, H, W] or rows of squares [N, H * W]"
    if X.ndim == 2:
        side = math.isqrt(X.shape[1])
        if side * side != X.shape[1]:
            raise ValueError(f"{shape}, and {X.shape[1]} is no square")
        X = X.reshape(len(X), side, side)  # noqa: N806
    if X.ndim == 3:
        X = X[..., None]  # noqa: N806
    elif X.ndim == 4 and X.shape[3] not in (1, 3) and X.shape[1] in (1, 3):
        X = X.transpose(0, 2, 3, 1)  # noqa: N806
    if X.ndim != 4 or X.shape[3] not in (1, 3) or 0 in X.shape:
        raise ValueError(shape)
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise ValueError("X has pixels that are not numbers (NaN or infinite)")
    return X


def scale_of(X: Any) -> Scale:  # noqa: N803
    """The least and the greatest pixel of what is not bytes; 0 and 1 for what lies between them."""
    array = array_of(X)
    several = isinstance(X, Iterable) and not isinstance(X, str | Path | bytes)
    arrays = [array] if array is not None else [*map(_held, X)] if several else []
    ranges = [(float(a.min()), float(a.max())) for a in arrays if a is not None and a.size and a.dtype != np.uint8]
    if not ranges:
        return Scale()
    low, high = min(least for least, _ in ranges), max(most for _, most in ranges)
    if low >= 0 and high <= 1:
        return Scale()
    return Scale(min(low, 0.0), high) if high > low else Scale(low, low + 1)


def _held(one: Any) -> np.ndarray | None:
    """The array that is one image, if it is one; what is wrong with it is told when it is read."""
    if isinstance(one, str | Path) or hasattr(one, "getbands"):
        return None
    found = one.detach().cpu().numpy() if hasattr(one, "detach") else np.asarray(one)
    return found if found.dtype.kind in "buif" and np.isfinite(found).all() else None


def _scaled(pixels: np.ndarray, scale: Scale, where: str) -> np.ndarray:
    """Pixels from 0 to 1.

    Raises:
        ValueError: They are on quite another scale than those that were learned from; clipped, they would be all white,
            or all but black.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high, span = float(pixels.min()), float(pixels.max()), scale.high - scale.low
    small = scale.high > 2 and low >= 0 and 0 < high <= 1 and bool((pixels != np.rint(pixels)).any())
    far = high > scale.high + span or low < scale.low - span
    if far:
        beyond = np.count_nonzero((pixels > scale.high) | (pixels < scale.low))
        far = beyond > _STRAY * np.count_nonzero(pixels)
    if far or small:
        learned = "bytes, or from 0 to 1" if scale == Scale() else f"from {scale.low:g} to {scale.high:g}"
        raise ValueError(
            f"{where} has pixels from {low:g} to {high:g}; those learned from were {learned}: scale them alike"
        )
    return ((pixels.astype(np.float32) - scale.low) / span).clip(0, 1)


def listing_of(X: Any, scale: Scale) -> Listing:  # noqa: N803
    """Records of images in memory, or of files.

    Raises:
        ValueError: Something that is no image; names its row, counted from 0.
    """
    array, rows = array_of(X), []
    if array is not None:
        pixels: list[Any] = list(_scaled(array, scale, "X")) if array.size else []
    else:
        if isinstance(X, str | Path | bytes):
            raise ValueError("X is one image; give a list of them, [X] for a single one")
        if not isinstance(X, Iterable):
            raise ValueError(f"X is of the type {type(X).__name__}; give a list of images or an array")
        pixels = [_single(n, one, scale) for n, one in enumerate(X)]
    if not pixels:
        raise ValueError("X holds no image")
    for n, one in enumerate(pixels):
        path, held = (one, None) if isinstance(one, Path) else (None, one)
        rows.append(ImageRecord(id=f"X[{n}]" if path is None else str(path), path=path, pixels=held))
    return Listing(records=rows)


def _single(n: int, one: Any, scale: Scale) -> Path | np.ndarray:
    """A path, or pixels [H, W, C]."""
    if isinstance(one, str | Path):
        return Path(one)
    if hasattr(one, "getbands"):  # a picture of Pillow
        from xlstm_apps.datasets.images.decoding import BadImage, picture_pixels, pillow

        try:
            with pillow():
                return picture_pixels(one)
        except BadImage as error:
            raise ValueError(f"X[{n}] {error}") from None
    try:
        array = array_of(np.asarray(one)[None])
    except ValueError as error:
        raise ValueError(f"X[{n}]: {str(error).replace('[N, ', '[')}") from None
    if array is None:
        raise ValueError(f"X[{n}] is of the type {type(one).__name__}; give arrays, pictures or paths")
    return _scaled(array[0], scale, f"X[{n}]")
