"""NIfTI-1 files (.nii, .nii.gz): volumes with the size of their voxels, read without a library, mapped where possible.

Source: the NIfTI-1.1 header, nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
"""

from __future__ import annotations

import gzip
import math
import struct
import tempfile
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .decoding import BadImage

HEADER, OFFSET = 348, 352
ENDINGS = (".nii", ".nii.gz")
MAPPED = 1 << 23
"""Bytes from which a volume is left on the disk: a map of it keeps its file open, and a process has few of them."""
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_CODES = {np.dtype(name): code for code, name in _TYPES.items()}


class Nifti(NamedTuple):
    """A volume."""

    pixels: np.ndarray
    """[C, D, H, W]: z, y, x; of a large uncompressed file a map of it, or of another one where values are scaled."""
    spacing: tuple[float, float, float]
    """Length of a voxel along z, y, x, in the unit of the file, mostly mm."""
    header: bytes
    """As it stands in the file: orientation and place."""
    notes: tuple[str, ...] = ()
    """What the header leaves open."""


def read_nifti(path: Path) -> Nifti:
    """The volume in a file.

    Raises:
        BadImage: It is no volume, or broken.
    """
    packed = _is_packed(path)
    content = _content(path, None if packed else HEADER)
    if content[4:7] in (b"n+2", b"ni2"):
        raise BadImage("is NIfTI-2; save it as NIfTI-1")
    if len(content) < HEADER or content[344:348] not in (b"n+1\0", b"ni1\0"):
        raise BadImage("is empty" if not content else "holds no NIfTI-1 volume")
    header = content[:HEADER]
    order = "<" if struct.unpack_from("<i", header)[0] == HEADER else ">"
    if content[344:348] == b"ni1\0":
        raise BadImage("is a header whose voxels are in a file of their own (.hdr and .img); save it as .nii")
    dims = struct.unpack_from(order + "8h", header, 40)
    code = struct.unpack_from(order + "h", header, 70)[0]
    lengths = struct.unpack_from(order + "8f", header, 76)
    offset, slope, shift = struct.unpack_from(order + "3f", header, 108)
    offset = OFFSET if offset == 0 else offset  # many writers leave it open
    if not math.isfinite(offset) or offset < OFFSET:
        raise BadImage(f"has its voxels at byte {offset:g}, as its header says (vox_offset), which cannot be")
    if code not in _TYPES:
        raise BadImage(f"has voxels of type {code}; whole and real numbers can be read")
    if not 2 <= dims[0] <= 7 or any(n < 1 for n in dims[1 : dims[0] + 1]):
        raise BadImage(f"has dimensions {list(dims[1 : dims[0] + 1])}")
    x, y, z, channels = (*dims[1 : dims[0] + 1], 1, 1, 1)[:4]
    if any(n > 1 for n in dims[5 : dims[0] + 1]):
        raise BadImage(f"has {dims[0]} dimensions; three, or four with channels, can be read")
    shape, dtype = (channels, z, y, x), np.dtype(order + _TYPES[code])
    count = int(np.prod(shape))
    available = max(0, (len(content) if packed else path.stat().st_size) - int(offset))
    if available < count * dtype.itemsize:
        raise BadImage(f"is truncated: {count * dtype.itemsize:,} bytes of voxels are announced, {available:,} there")
    if packed:
        pixels = np.frombuffer(content, dtype, count, int(offset)).reshape(shape)
    else:
        pixels = np.memmap(path, dtype, "r", int(offset), shape)
        pixels = pixels if pixels.nbytes > MAPPED else np.array(pixels)
    if slope != 0 and not math.isnan(slope):  # both mean that values are not scaled
        if not (math.isfinite(slope) and math.isfinite(shift)):
            raise BadImage(f"has values scaled by {slope:g} and shifted by {shift:g}, as its header says (scl_slope)")
        if (slope, shift) != (1.0, 0.0):
            pixels = _scaled(pixels, slope, shift)
    told = [abs(length) if math.isfinite(length) and length else None for length in lengths[3:0:-1]]
    lost = any(length is None and n > 1 for length, n in zip(told, (z, y, x), strict=True))
    notes = ("the header does not say how large voxels are: 1 is taken",) if lost else ()
    return Nifti(pixels, tuple(length or 1.0 for length in told), header, notes)  # type: ignore[arg-type]


def _scaled(pixels: np.ndarray, slope: float, shift: float) -> np.ndarray:
    """Values as the header means them, float32; of a map a map of a nameless file, as it may not fit in memory."""
    if isinstance(pixels, np.memmap):
        with tempfile.TemporaryFile() as file:  # stays as long as its map
            scaled: np.ndarray = np.memmap(file, np.float32, "w+", shape=pixels.shape)
    else:
        scaled = np.empty(pixels.shape, np.float32)
    for channel in range(len(pixels)):
        for place, part in enumerate(pixels[channel]):
            scaled[channel, place] = part.astype(np.float32) * np.float32(slope) + np.float32(shift)
    return scaled


def read_header(path: Path) -> bytes:
    """The header of a file that was read before."""
    return _content(path, HEADER)


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _content(path: Path, most: int | None) -> bytes:
    try:
        with gzip.open(path) if _is_packed(path) else path.open("rb") as file:
            return file.read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise BadImage(f"cannot be unpacked ({error}): truncated or no gzip file") from None


def place_of(header: bytes) -> np.ndarray | None:
    """Where voxels lie, as rows [3, 4] from x, y, z to millimetres right, front and up; None where nothing is said, or
    nothing that can be."""
    order = "<" if struct.unpack_from("<i", header)[0] == HEADER else ">"
    turn, affine = struct.unpack_from(order + "2h", header, 252)
    if affine > 0:
        return _sound(np.array(struct.unpack_from(order + "12f", header, 280)).reshape(3, 4))
    if turn <= 0:
        return None
    b, c, d, *shift = struct.unpack_from(order + "6f", header, 256)
    lengths = np.array(struct.unpack_from(order + "4f", header, 76))
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5  # of the quaternion
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    steps = lengths[1:] * [1, 1, -1 if lengths[0] < 0 else 1]
    return _sound(np.column_stack([rotation * steps, shift]))


def _sound(place: np.ndarray) -> np.ndarray | None:
    """A place in which every axis leads somewhere."""
    return place if np.isfinite(place).all() and place[:, :3].any(0).all() else None


def orientation(header: bytes) -> str:
    """Where the axes x, y, z of the voxels lead, such as RAS: right, anterior, superior; or nothing."""
    place = place_of(header)
    if place is None:
        return ""
    words = ""
    for column in place[:, :3].T:
        axis = int(np.abs(column).argmax())
        words += ("RL", "AP", "SI")[axis][int(column[axis] < 0)]
    return words


def write_nifti(
    path: Path, pixels: np.ndarray, header: bytes | None = None, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> None:
    """Write a volume [D, H, W], with place and orientation of another one if its header is given."""
    pixels = np.ascontiguousarray(pixels, np.dtype(pixels.dtype).newbyteorder("<"))
    new = bytearray(header or bytes(HEADER))
    if header is not None and struct.unpack_from(">i", header)[0] == HEADER:
        new = bytearray(_swapped(header))
    struct.pack_into("<i", new, 0, HEADER)
    struct.pack_into("<8h", new, 40, 3, *pixels.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<hh", new, 70, _CODES[pixels.dtype.newbyteorder("=")], 8 * pixels.dtype.itemsize)
    if header is None:
        struct.pack_into("<8f", new, 76, 1.0, *spacing[::-1], 1.0, 1.0, 1.0, 1.0)
        struct.pack_into("<hh", new, 252, 0, 2)  # sform: voxel sizes alone
        for row, length in enumerate(spacing[::-1]):
            struct.pack_into("<4f", new, 280 + 16 * row, *(length if n == row else 0.0 for n in range(3)), 0.0)
    struct.pack_into("<3f", new, 108, float(OFFSET), 1.0, 0.0)
    new[344:348] = b"n+1\0"
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 5, raw, mtime=0) if _is_packed(path) else nullcontext(raw) as file,
    ):
        file.write(bytes(new) + bytes(OFFSET - HEADER))
        for part in pixels:  # a slice at a time, so that no second copy is in memory
            file.write(part.tobytes())


def _swapped(header: bytes) -> bytes:
    """Little-endian from big-endian: the fields that say where a volume lies."""
    new = bytearray(HEADER)
    fields = ((76, "8f"), (252, "2h"), (256, "6f"), (280, "12f"))
    for start, form in fields:
        struct.pack_into("<" + form, new, start, *struct.unpack_from(">" + form, header, start))
    new[123], new[148:228] = header[123], header[148:228]
    return bytes(new)
