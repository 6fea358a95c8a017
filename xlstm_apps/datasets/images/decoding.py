"""One image file as an array, whatever its mode, depth or orientation; or a reason why it cannot be one."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_SIGNATURES = {b"%PDF": "a PDF file", b"PK\x03\x04": "a ZIP archive", b"<svg": "an SVG drawing", b"<?xm": "XML text",
               b"<!DO": "a web page", b"<htm": "a web page",
               b"vers": "the pointer of a file that git lfs keeps elsewhere (git lfs pull)"}  # fmt: skip
_UNREAD = {b"II*\0": "a TIFF picture", b"MM\0*": "a TIFF picture", b"II+\0": "a TIFF picture",
           b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture"}  # fmt: skip
"""Beginnings of files that should be pictures."""
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


_ORIENTATION = 0x0112
"""The entry of EXIF data."""
_MOST_BYTES = 2**31
"""No picture within Pillow's limit of pixels is a larger file."""
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""Entries of TIFF files."""


class BadImage(ValueError):  # noqa: N818
    """A file that is no readable picture; the message is the reason, without the name of the file."""


class Decoded(NamedTuple):
    """A picture."""

    pixels: np.ndarray
    """[H, W, C], C = 1 or 3: uint8 from 0 to 255, or float32 from 0 to 1 where the file has more than 8 bits."""
    size: tuple[int, int]
    """Height and width in the file, turned upright."""
    notes: tuple[str, ...]
    """What was done to make it plain, such as `turned upright (EXIF)`."""


@contextmanager
def pillow() -> Iterator[Any]:
    """Pillow's `Image` module, its warnings silent: what they are about is told by the notes and the rejects.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("images are read by Pillow: pip install 'xlstm-apps[vision]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Image


def read_image(path: str | Path, *, shorter: int | None = None, background: str = "white") -> Decoded:
    """The picture in a file.

    Args:
        path: The file.
        shorter: Shrink it so that its shorter side is this long, if it is longer; JPEG files are then decoded at a
            fraction of their size, so that huge ones cost little.
        background: What is behind transparent pixels.

    Raises:
        BadImage: Not a picture, truncated, or too large.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise BadImage("does not exist" if not file.exists() else "is not a file")
        if (size := file.stat().st_size) > _MOST_BYTES:
            raise BadImage(f"has {size / 1e9:.1f} GB, more than a picture that is read can have")
        content = file.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror or type(error).__name__})") from None
    return decode_image(content, shorter=shorter, background=background)


def decode_image(content: bytes, *, shorter: int | None = None, background: str = "white") -> Decoded:
    """The picture in the bytes of a file; see `read_image`."""
    from PIL import Image

    if not content:
        raise BadImage("is empty")
    try:
        image = Image.open(io.BytesIO(content))
        notes = [f"{image.format}: the first of several frames is read"] if _frames(image) > 1 else []
        if image.mode in ("LA", "RGB", "RGBA") and _deeper(image, content):
            notes.append("16-bit colours, read as 8 bits")
        if shorter is not None and image.format == "JPEG":
            image.draft(None, (shorter, shorter))
        width, height = Image.open(io.BytesIO(content)).size  # a draft is smaller
        _check_tiff(image)
        upright, turned = _upright(image, notes)
        size = (width, height) if turned else (height, width)
        pixels = _plain(upright, notes, shorter, background)
    except Image.UnidentifiedImageError:
        raise BadImage(_unidentified(content)) from None
    except Image.DecompressionBombError:
        raise BadImage("has more pixels than Pillow takes for safe (PIL.Image.MAX_IMAGE_PIXELS); shrink it") from None
    except BadImage:
        raise
    except Exception as error:  # Pillow's readers of damaged files raise whatever their libraries do
        raise _bad(error) from None
    return Decoded(pixels, size, tuple(notes))


def picture_pixels(image: Any) -> np.ndarray:
    """A picture that Pillow holds, such as an opened file, as that file would be read: `Decoded.pixels`.

    Raises:
        BadImage: It cannot be loaded, or its pixels are not to be used.
    """
    try:
        _check_tiff(image)
        return _plain(_upright(image, [])[0], [], None, "white")
    except BadImage:
        raise
    except Exception as error:  # loading happens here; see `decode_image`
        raise _bad(error) from None


def _bad(error: Exception) -> BadImage:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    truncated = "truncated" in reason.lower() or "premature" in reason.lower() or "broken data" in reason.lower()
    return BadImage("is truncated or damaged" if truncated else f"cannot be decoded ({reason})")


def _unidentified(content: bytes) -> str:
    """What may be in a file that Pillow makes nothing of."""
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF:
        return "is a HEIC photo, which Pillow does not read; save it as JPEG or PNG"
    for mark, words in _UNREAD.items():
        if content.startswith(mark):
            return f"begins like {words}, but is truncated or of a kind that Pillow does not read (16-bit colours, say)"
    if content[128:132] == b"DICM":
        return "is a DICOM file, which is not read; save it as PNG, TIFF or NIfTI"
    start = content[:4].lower()
    return f"holds {next((words for mark, words in _SIGNATURES.items() if mark.lower() == start), 'no picture')}"


def _deeper(image: Any, content: bytes) -> bool:
    """Whether the file has more than the 8 bits a channel that Pillow keeps of colours."""
    if image.format == "PNG":
        return content[24] > 8
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS, (8,))) > 8
    return image.format == "PPM" and image.tile[0][0] in ("ppm", "ppm_plain") and image.tile[0][3][1] > 255


def _frames(image: Any) -> int:
    return getattr(image, "n_frames", 1) if image.format in ("GIF", "TIFF", "WEBP", "PNG") else 1


def _check_tiff(image: Any) -> None:
    """Refuse what Pillow would show as something else.

    Raises:
        BadImage: Signed bytes, whose negative values it takes for bright ones; 16 bits in which 0 is white.
    """
    if image.format != "TIFF":
        return
    if image.mode == "L" and image.tag_v2.get(_SAMPLE_FORMAT) == (2,):
        raise BadImage("has signed bytes for pixels; save them as 0 to 255")
    if image.mode.startswith("I;16") and image.tag_v2.get(_PHOTOMETRIC) == 0:
        raise BadImage("has pixels of 16 bits in which 0 is white; save it with 0 for black")


def _upright(image: Any, notes: list[str]) -> tuple[Any, bool]:
    """The picture as the camera was held, and whether height and width changed places."""
    from PIL import ImageOps

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        upright = ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
    except OSError:
        raise
    except Exception:  # EXIF is written by cameras and their apps, and broken in all ways; the pixels are not
        notes.append("broken EXIF data, not used")
        return image, False
    if upright is not image:
        notes.append("turned upright (EXIF)")
    # Of a TIFF file, Pillow tells the size as it is once turned.
    return upright, upright is not image and orientation >= 5 and image.format != "TIFF"


def _plain(image: Any, notes: list[str], shorter: int | None, background: str) -> np.ndarray:
    """Grey or RGB pixels of an image in any of Pillow's modes: [H, W, C]."""
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        return _deep(image, notes, shorter)
    if mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        straight = {"La": "LA", "RGBa": "RGBA"}.get(mode)
        image = (image.convert(straight) if straight else image).convert("RGBA")
        if image.getextrema()[3][0] < 255:
            notes.append(f"transparent pixels made {background}")
        image = _over(image, background)
        if mode in ("LA", "La", "L", "1"):
            image = image.convert("L")
    elif mode == "P":
        image = image.convert("RGB")
        if _is_grey(np.asarray(image)):
            image = image.convert("L")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "RGB"):
        notes.append(f"{mode} made RGB")
        image = image.convert("RGB")
    pixels = np.asarray(_shrunk(image, shorter))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _over(image: Any, background: str) -> Any:
    from PIL import Image

    behind = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(behind, image).convert("RGB")


def _deep(image: Any, notes: list[str], shorter: int | None) -> np.ndarray:
    """Grey pixels of more than 8 bits: float32 [H, W, 1] from 0 to 1."""
    values = np.asarray(image).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadImage("has pixels that are not numbers")
    if image.mode == "F":
        if low < 0 or high > 1:  # by its own range, one picture could be read unlike the next
            raise BadImage(f"has floating-point pixels from {low:g} to {high:g}; scale all pictures alike to 0 to 1")
        notes.append("floating-point pixels, kept as they are")
    elif low >= 0 and high <= 65535:
        values /= 65535
        notes.append("16-bit pixels, kept as fine as they are")
    else:
        raise BadImage(f"has pixels from {low:g} to {high:g}; scale them to 0 to 65535")
    from PIL import Image

    return np.asarray(_shrunk(Image.fromarray(values), shorter)).clip(0, 1)[:, :, None]


def _shrunk(image: Any, shorter: int | None) -> Any:
    least = min(image.size)
    if shorter is None or least <= shorter:
        return image
    from PIL import Image

    size = tuple(max(1, round(n * shorter / least)) for n in image.size)
    return image.resize(size, Image.Resampling.BICUBIC)


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
