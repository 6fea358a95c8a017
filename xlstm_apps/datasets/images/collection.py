"""Images read into one set: pixels, classes, parts, and a report of what was found and what was left out."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from .config import ImageData, ImageSource
from .decoding import BadImage, Decoded, pillow, read_image
from .finding import Listing, find_images
from .record import ImageRecord
from .shapes import Shape, chosen_shapes

USUAL_SIZE = 224
SMALL = 96
"""Images of one size up to which their size is kept."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_AHEAD, _AHEAD_WHOLE = 256, 8
"""Pictures that are decoded before they are asked for; large ones that are not shrunk take much room."""
Tick = Callable[[int], None]


class NothingReadable(ValueError):  # noqa: N818
    """None of the files is a picture; `rejected` says why."""

    def __init__(self, message: str, rejected: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.rejected = rejected


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files become pixels."""

    img_size: int
    in_chans: int
    background: str
    shape: Shape | None = None
    shapes: tuple[Shape, ...] = ()
    """Where images are brought to one of several; `shape` is the first of them."""
    whole: bool = False
    """Large pictures are not shrunk when they are read."""

    @property
    def sides(self) -> Shape:
        """Height and width that images are brought to, or most of them."""
        return self.shape or (self.img_size, self.img_size)

    @property
    def shorter(self) -> int | None:
        """Shorter side that is kept: twice that of the model's images, so that crops have something to show; or None,
        all of it."""
        return None if self.whole else 2 * (self.img_size if self.shapes else max(self.sides))


@dataclass
class ImageSet:
    """Images by number.

    `labels` are numbers of `classes`, -1 where none is known. `sizes` [N, 2] are height and width in the files.
    """

    records: list[ImageRecord]
    reading: Reading
    classes: list[str]
    labels: np.ndarray
    sizes: np.ndarray
    digests: list[str]
    pixels: list[np.ndarray] | None
    """Decoded, where they fit into memory."""
    report: dict[str, Any] = field(default_factory=dict)
    rejected: list[dict[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> np.ndarray:
        """[H, W, C], uint8 or float32 from 0 to 1; C as in `reading`.

        Raises:
            ValueError: The file has become unreadable since the set was made.
        """
        if self.pixels is not None:
            return as_channels(self.pixels[index], self.reading.in_chans)
        record = self.records[index]
        if record.pixels is not None:
            return as_channels(record.pixels, self.reading.in_chans)
        assert record.path is not None
        try:
            with pillow():
                found = read_image(record.path, shorter=self.reading.shorter, background=self.reading.background)
        except BadImage as error:
            raise ValueError(f"{record.file} {error}; it could be read when the run began") from None
        return as_channels(found.pixels, self.reading.in_chans)

    @property
    def ids(self) -> list[str]:
        """Names of the images."""
        return [record.id for record in self.records]

    def counts(self, indices: np.ndarray) -> dict[str, int]:
        """Number of images of each class."""
        found = np.bincount(self.labels[indices], minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))


def load_images(
    data: ImageSource,
    *,
    labelled: bool = True,
    img_size: int | None = None,
    in_chans: int | None = None,
    shape: tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> ImageSet:
    """Find and read all images.

    Args:
        data: Where they are; `img_size`, `in_chans` and `memory_gb` of `ImageData` are obeyed too.
        labelled: Whether every image needs a class.
        img_size: Size of the model's images. None: as the data say, else seen from the images.
        in_chans: 1 or 3. None: as the data say, else seen from the images.
        shape: Height and width of the model's images, where they are no squares. None: as the data say.
        classes: Those of a trained model. None: all that occur.
        tick: Called with the number of images that are done.

    Raises:
        ValueError: Nothing to read, nothing readable, or classes that cannot be told apart; one line.
    """
    listing = find_images(data, labelled=labelled)
    return read_images(
        listing, data, labelled=labelled, img_size=img_size, in_chans=in_chans, shape=shape, classes=classes, tick=tick
    )


def read_images(
    listing: Listing,
    data: ImageSource,
    *,
    labelled: bool,
    img_size: int | None = None,
    in_chans: int | None = None,
    shape: Shape | None = None,
    shapes: Sequence[Shape] = (),
    step: Callable[[int], int] = lambda side: 1,
    whole: bool = False,
    refuse: Callable[[Shape], str | None] = lambda sides: None,
    classes: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> ImageSet:
    """Read what was listed; see `load_images`. With `shapes`, those of a trained model, images are brought to the
    nearest one; where they are chosen from the images, sides are multiples of `step`. With `whole`, large pictures are
    not decoded at a fraction of their size. `refuse` says of height and width why such an image is left out, or None.
    """
    if isinstance(data, ImageData):
        img_size, in_chans = img_size or data.img_size, in_chans or data.in_chans
        shape = shape or data.shape
    limit, background = (data.memory_gb, data.background) if isinstance(data, ImageData) else (0.0, "white")
    with pillow():
        if shape is None and img_size is None:
            usual = usual_sides(header_sizes(listing.records))
            shape = usual if usual[0] != usual[1] else None
            img_size = max(usual)
        if shape is None and isinstance(data, ImageData) and data.num_shapes > 1:
            assert img_size is not None
            known = header_sizes(listing.records) or [(img_size, img_size)]
            shapes = chosen_shapes(known, img_size, data.num_shapes, step(img_size))
            shape = shapes[0]
        several = tuple(shapes) if len(shapes) > 1 else ()
        size = max(shape) if shape and not several else img_size
        assert size is not None
        reading = Reading(
            img_size=size, in_chans=1, background=background, shape=shape, shapes=several, whole=whole
        )  # fmt: skip
        kept, pixels, sizes, digests, rejected = [], [], [], [], []
        seen: Counter[str] = Counter()
        total, channels = 0, 1
        for record, found in _decoded(listing.records, reading):
            if tick is not None:
                tick(1)
            if not isinstance(found, str):
                found = refuse(found.size) or found
            if isinstance(found, str):
                if data.on_bad == "error":
                    raise ValueError(f"{record.file} {found}; mend it, or leave such files out with data.on_bad skip")
                rejected.append({"path": record.file, "reason": found})
                continue
            kept.append(record)
            sizes.append(found.size)
            digests.append(digest(found.pixels))
            seen.update(found.notes)
            channels = max(channels, found.pixels.shape[2])
            total += found.pixels.nbytes
            if total > limit * 1e9:
                pixels.clear()
            else:
                pixels.append(found.pixels)
    if not kept:
        first = f": {rejected[0]['path']} {rejected[0]['reason']}" if rejected else ""
        message = f"{', '.join(data.path[:3])}: none of {len(listing.records):,} files can be read{first}"
        raise NothingReadable(message, rejected)
    names, labels = _classes(kept, listing.records, rejected, classes, labelled)
    reading = dataclasses.replace(reading, in_chans=in_chans or channels)
    found_set = ImageSet(
        records=kept, reading=reading, classes=names, labels=labels, sizes=np.array(sizes, np.int64).reshape(-1, 2),
        digests=digests, pixels=pixels if len(pixels) == len(kept) else None, rejected=rejected,
    )  # fmt: skip
    found_set.report = _report(found_set, listing, seen, channels)
    return found_set


def header_sizes(records: Sequence[ImageRecord]) -> list[Shape]:
    """Height and width of the images, as their first bytes tell; without those that tell nothing."""
    sizes: list[Shape] = []
    for record in records:
        if record.pixels is not None:
            sizes.append((record.pixels.shape[0], record.pixels.shape[1]))
        elif record.path is not None:
            found = _header(record)
            sizes += [found] if found else []
    return sizes


def usual_sides(sizes: Sequence[Shape]) -> Shape:
    """Height and width of images where all are alike and small; else a square that half of them fill, 224 at most."""
    if not sizes:
        return USUAL_SIZE, USUAL_SIZE
    if len(set(sizes)) == 1 and max(sizes[0]) <= SMALL:
        return sizes[0]
    median = int(np.median([min(size) for size in sizes]))
    side = max(16, min(USUAL_SIZE, median // 16 * 16))
    return side, side


def digest(pixels: np.ndarray) -> str:
    """Equal for equal pixels."""
    return hashlib.sha1(repr((pixels.shape, pixels.dtype.str)).encode() + pixels.tobytes()).hexdigest()


def as_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, C] with 1 or 3 channels: grey repeated, colours weighted as eyes do (ITU-R BT.601)."""
    given = pixels.shape[2]
    if given == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    grey = (pixels.astype(np.float32) @ _LUMA)[:, :, None]
    return np.rint(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey


def _header(record: ImageRecord) -> tuple[int, int] | None:
    """Height and width by the file's head alone; None where there is none."""
    from PIL import Image

    if record.path is None or not os.path.isfile(record.path):  # opening a pipe would wait for ever
        return None
    try:
        with Image.open(record.path) as image:
            width, height = image.size
            turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception:  # told when it is read as a whole
        return None
    return (width, height) if turned else (height, width)


def _decoded(records: Iterable[ImageRecord], reading: Reading) -> Iterator[tuple[ImageRecord, Decoded | str]]:
    """Every record with its picture, or with the reason why there is none; in order, read ahead by threads."""

    def read(record: ImageRecord) -> Decoded | str:
        if record.pixels is not None:
            return Decoded(record.pixels, (record.pixels.shape[0], record.pixels.shape[1]), ())
        assert record.path is not None
        try:
            return read_image(record.path, shorter=reading.shorter, background=reading.background)
        except BadImage as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        source = iter(records)
        ahead = _AHEAD_WHOLE if reading.whole else _AHEAD
        while block := list(islice(source, ahead)):  # so that not all pictures are in memory at once
            yield from zip(block, pool.map(read, block), strict=True)


def _classes(
    kept: list[ImageRecord],
    listed: list[ImageRecord],
    rejected: list[dict[str, str]],
    known: Sequence[str] | None,
    labelled: bool,
) -> tuple[list[str], np.ndarray]:
    """Names of the classes, and the number of that of each image."""
    found = {record.label for record in kept if record.label is not None}
    lost = {record.label for record in listed if record.label is not None} - found
    if labelled and lost:
        first = next(record for record in listed if record.label in lost)
        reason = next(row["reason"] for row in rejected if row["path"] == first.file)
        raise ValueError(
            f"no image of class {', '.join(sorted(lost)[:5])} can be read: {first.file} {reason}; mend its files or "
            "remove it"
        )
    if known is None:
        names = sorted(found, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
    else:
        names = list(known)
        strange = sorted(found - set(names))
        if labelled and strange:
            raise ValueError(
                f"the model knows no class {', '.join(strange[:5])}; it knows {', '.join(names[:12])}"
                + (" ..." if len(names) > 12 else "")
            )
    number = {name: n for n, name in enumerate(names)}
    return names, np.array([number.get(record.label or "", -1) for record in kept], np.int64)


def _report(images: ImageSet, listing: Listing, seen: Counter[str], channels: int) -> dict[str, Any]:
    """What people want to know of the files, JSON-able."""
    by_digest: dict[str, set[int]] = {}
    for name, label in zip(images.digests, images.labels.tolist(), strict=True):
        by_digest.setdefault(name, set()).add(label)
    reasons = Counter(row["reason"].partition(" (")[0] for row in images.rejected)
    height, width = images.sizes.T
    notes = list(listing.notes)
    notes += [f"{count:,} {'image' if count == 1 else 'images'}: {note}" for note, count in seen.most_common()]
    copies = len(images) - len(by_digest)
    folded = Counter(name.casefold() for name in images.classes)
    alike = [name for name in images.classes if folded[name.casefold()] > 1]
    if alike:
        notes.append(f"classes whose names differ in upper and lower case only: {', '.join(alike[:6])}")
    conflicts = sum(len(labels) > 1 for labels in by_digest.values())
    if copies:
        notes.append(f"images with the very pixels of another one: {copies:,}; such stay in one part of a random split")
    if conflicts:
        notes.append(f"pictures that are there under several classes, so that one must be wrong: {conflicts:,}")
    return {
        "images": len(listing.records),
        "kept": len(images),
        "left_out": dict(reasons.most_common()),
        "channels": channels,
        "height": {"least": int(height.min()), "median": float(np.median(height)), "most": int(height.max())},
        "width": {"least": int(width.min()), "median": float(np.median(width)), "most": int(width.max())},
        "copies": copies,
        "conflicts": conflicts,
        "notes": notes,
    }
