"""IDX files, as MNIST and Fashion-MNIST come: images and labels in two files of whole numbers."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from .record import ImageRecord

_IMAGES = re.compile(r"(.*)images([-_.]idx3)(.*)", re.IGNORECASE)
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def is_images(path: Path) -> bool:
    """Whether a file is named as IDX images are."""
    return _IMAGES.fullmatch(path.name) is not None


def labels_beside(path: Path) -> Path | None:
    """The file of labels that belongs to one of images: `...labels-idx1...` in the same folder."""
    found = _IMAGES.fullmatch(path.name)
    if found is None:
        return None
    name = f"{found[1]}labels{found[2].replace('3', '1')}{found[3]}"
    others = (name, name.removesuffix(".gz"), f"{name}.gz")
    return next((path.with_name(other) for other in others if path.with_name(other).is_file()), None)


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, plain or packed by gzip.

    Raises:
        ValueError: Not an IDX file, or one that is cut short.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] not in _TYPES or not 1 <= content[3] <= 4:
        raise ValueError(f"{path}: not an IDX file")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{path}: is cut short: it ends before its shape does")
    shape = tuple(np.frombuffer(content[4:start], ">u4").astype(int).tolist())
    kind = np.dtype(_TYPES[content[2]])
    wanted, given = math.prod(shape) * kind.itemsize, len(content) - start
    if given != wanted:
        what = "is cut short" if given < wanted else "is longer than it should be"
        raise ValueError(f"{path}: {what}: {wanted:,} bytes are announced, {given:,} there")
    return np.frombuffer(content[start:], kind).reshape(shape)


def read_images(path: Path, labelled: bool) -> list[ImageRecord]:
    """Images [N, H, W] of 8 bits, with the labels beside them; files named t10k or test are the test part.

    Raises:
        ValueError: Other numbers or shapes, or labels that are missing or of another number.
    """
    images = read_idx(path)
    grey, colours = images.ndim == 3, images.ndim == 4 and images.shape[3] in (1, 3)
    if not (grey or colours) or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise ValueError(
            f"{path}: holds {images.dtype} of shape {images.shape}, no images of 8 bits [N, H, W] or [N, H, W, 1 or 3]"
        )
    labels, beside = None, labels_beside(path) if labelled else None
    if labelled:
        if beside is None:
            raise ValueError(f"{path}: no file of labels beside it (…labels-idx1…)")
        labels = read_idx(beside)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"{beside}: holds {labels.dtype} of shape {labels.shape}, no whole numbers [N] for labels")
        if len(labels) != len(images):
            raise ValueError(f"{beside}: {len(labels):,} labels for {len(images):,} images")
    name = path.name.partition(".gz")[0]
    part = None
    if labelled:
        part = "test" if re.search(r"t10k|test", name, re.IGNORECASE) else "train" if "train" in name.lower() else None
    pixels = images[..., None] if grey else images
    return [
        ImageRecord(
            id=f"{name}:{n}", path=None, label=None if labels is None else str(int(labels[n])), part=part,
            pixels=pixels[n],
        )
        for n in range(len(pixels))
    ]  # fmt: skip
