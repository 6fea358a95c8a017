"""One image or mask of segmentation as an array, in two or three dimensions; and masks written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .decoding import BadImage, read_image
from .nifti import ENDINGS as NIFTI
from .nifti import MAPPED, read_nifti, write_nifti

VOLUMES = (*NIFTI, ".npy")
_LARGEST = 1e30
"""Value that can still be squared and summed."""
_LARGEST_WHOLE = 2**53
"""Up to which every whole number has a floating one of its own."""
_LOSSY = ("JPEG", "MPO", "WEBP")


class Pixels(NamedTuple):
    """An image as it stands in its file."""

    values: np.ndarray
    """[C, *size] with two or three dimensions. uint8 from 0 to 255, float32, or what a volume holds."""
    spacing: tuple[float, ...]
    """Length of a pixel in each dimension."""
    header: bytes | None = None
    """Of a NIfTI file."""
    notes: tuple[str, ...] = ()


def ending(path: Path) -> str:
    """`.nii.gz`, `.png`."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem(path: Path) -> str:
    """The name without its ending."""
    return path.name[: len(path.name) - len(ending(path))]


def read_pixels(path: Path) -> Pixels:
    """The image in a file.

    Raises:
        BadImage: It cannot be read; the reason without the name of the file.
    """
    kind = ending(path)
    if kind in NIFTI:
        found = read_nifti(path)
        return Pixels(_finite(found.pixels), found.spacing, found.header, found.notes)
    if kind == ".npy":
        values = _array(path)
        values = values if values.nbytes > MAPPED else np.array(values)
        return Pixels(_finite(values if values.ndim == 4 else values[None]), (1.0,) * 3)
    if kind in (".tif", ".tiff") and (values := _tiff(path)) is not None:
        return Pixels(_finite(values[None]), (1.0,) * values.ndim)
    found = read_image(path)
    return Pixels(found.pixels.transpose(2, 0, 1), (1.0, 1.0), None, found.notes)


def read_labels(path: Path) -> np.ndarray:
    """The values of a mask, whole numbers [*size].

    Palettes are taken by number, as segmentation tools write them; colours are refused, since what they mean is not
    known.

    Raises:
        BadImage: It cannot be read, or holds colours or fractions.
    """
    kind = ending(path)
    if kind in VOLUMES:
        values = read_nifti(path).pixels if kind in NIFTI else _array(path)
        return np.array(_whole(values[0] if values.ndim == 4 and len(values) == 1 else values))
    pages = _pages(path)
    return _whole(pages[0] if len(pages) == 1 else np.stack(pages))


def write_labels(path: Path, labels: np.ndarray, header: bytes | None, spacing: tuple[float, ...]) -> None:
    """Write a mask in the form that the ending asks for, as uint8, or wider where numbers are larger."""
    labels = labels.astype(smallest_type(int(labels.max(initial=0))), copy=False)
    kind = ending(path)
    if kind in NIFTI:
        write_nifti(path, labels, header, spacing)
    elif kind == ".npy":
        np.save(path, labels)
    else:
        from PIL import Image

        pages = [Image.fromarray(page) for page in (labels if labels.ndim == 3 else labels[None])]
        more: dict[str, Any] = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
        pages[0].save(path, **more)


def smallest_type(top: int) -> type[np.integer]:
    """Of whole numbers from 0 to `top`."""
    return np.uint8 if top < 256 else np.uint16 if top < 65536 else np.int32


def _array(path: Path) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:80]
        if "objects in dtype" in reason:
            raise BadImage("is an array of Python objects; save one of numbers") from None
        raise BadImage("is no NumPy file" if "pickled" in reason else f"is no readable array ({reason})") from None
    if not isinstance(values, np.ndarray):
        raise BadImage("holds several arrays (.npz); save one of them as .npy")
    if values.ndim not in (3, 4) or values.size == 0 or values.dtype.kind not in "biuf":
        raise BadImage(
            f"has shape {[*values.shape]} of {values.dtype}; numbers [depth, height, width] are needed, or with "
            "channels in front"
        )
    return values


def _tiff(path: Path) -> np.ndarray | None:
    """A volume of several pages [D, H, W], or a page of floating point [H, W]; None for other pictures."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            several, mode = getattr(image, "n_frames", 1) > 1, image.mode
    except (OSError, SyntaxError, ValueError, EOFError):
        return None  # why, is told when it is read as a picture
    if not several and mode != "F":
        return None
    if mode not in ("1", "L", "I", "F") and not mode.startswith("I;16"):
        raise BadImage(
            "has several pages in colour; a volume has grey ones, or save it as .npy with the channels in front"
        )
    pages = _pages(path)
    return np.stack(pages) if several else pages[0]


def _pages(path: Path) -> list[np.ndarray]:
    """All pages of a picture as whole numbers [H, W], without changing a value."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.format in _LOSSY and not image.info.get("lossless"):
                raise BadImage(f"is a {image.format} file, which changes values; masks are PNG, TIFF or NIfTI")
            pages = []
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                pages.append(_plain(image))
    except BadImage:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        if not path.is_file():
            reason = "is not a file" if path.exists() else "does not exist"
        elif not path.stat().st_size:
            reason = "is empty"
        else:
            reason = "holds no picture" if isinstance(error, UnidentifiedImageError) else "is truncated or broken"
        raise BadImage(reason) from None
    if len({page.shape for page in pages}) > 1:
        raise BadImage("has pages of several sizes")
    return pages


def _plain(image: Any) -> np.ndarray:
    values = np.asarray(image)
    if image.mode == "1":
        return values.astype(np.uint8)
    if values.ndim == 2:
        return values
    if image.mode in ("LA", "RGBA", "PA") and (values[..., -1] == values[..., -1].flat[0]).all():
        values = values[..., :-1]  # the same opacity everywhere says nothing
    if (values == values[..., :1]).all():
        return values[..., 0]
    if image.mode in ("LA", "RGBA", "PA") and (values[..., :-1] == values[..., :1]).all():
        raise BadImage(f"is {image.mode} with an opacity that varies; save it in grey, one value for each class")
    raise BadImage(f"is {image.mode} with colours; save it in grey or with a palette, one value for each class")


def _whole(values: np.ndarray) -> np.ndarray:
    if values.ndim not in (2, 3):
        raise BadImage(f"has shape {[*values.shape]}; a mask has two or three dimensions, one value for each place")
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise BadImage("has values that are not numbers (NaN or infinite); masks are whole numbers")
        if not (values == np.rint(values)).all():
            raise BadImage("has fractions for values; masks are whole numbers")
        if np.abs(values).max() > _LARGEST_WHOLE:
            raise BadImage(f"holds the value {values.flat[np.abs(values).argmax()]:g}, which is no number of a class")
        return values.astype(np.int64)
    return values


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        for part in (part for channel in values for part in channel):  # a slice at a time
            if not np.isfinite(part).all():
                raise BadImage("has voxels that are not numbers (NaN or infinite)")
            if np.abs(part).max() > _LARGEST:
                raise BadImage(f"has voxels up to {np.abs(part).max():g}; scale them to smaller numbers")
    return values
