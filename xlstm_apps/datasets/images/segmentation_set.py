"""Images with their masks, read, checked and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .decoding import BadImage, pillow
from .objects import parted
from .segmentation_config import MaskedImages, SegmentData, SegmentSource
from .segmentation_doubts import check_values, once, places, thin
from .segmentation_files import Pixels, read_labels, read_pixels
from .segmentation_pairs import Pair, Pairs, find_pairs


class Unusable(BadImage):
    """A file of a pair that cannot be used."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, str(reason)


MOST_CLASSES = 64
IGNORE = -1
"""Label of pixels that are neither learned nor scored."""
Tick = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a trained network knows of images and masks."""

    dims: int
    in_chans: int
    masks: str
    """`classes` or `objects`, as in `SegmentData`."""
    values: tuple[int, ...]
    """Of the classes in masks, the background first; of objects: 0 and 1."""
    names: tuple[str, ...]

    def labels(self, mask: np.ndarray, ignore: int | None) -> np.ndarray:
        """Values of a mask as classes 0, 1, 2 ..., int16; objects are kept apart.

        Raises:
            BadImage: A value that is none of a class.
        """
        if self.masks == "objects":
            if mask.min(initial=0) < 0:
                raise BadImage(f"holds the negative value {mask.min()}; objects have numbers from 1, the rest is 0")
            return parted(mask).astype(np.int16)
        labels = np.full(mask.shape, IGNORE, np.int16)
        known = np.zeros(mask.shape, bool)
        for number, value in enumerate(self.values):
            here = mask == value
            labels[here] = number
            known |= here
        if ignore is not None:
            known |= mask == ignore
        if not known.all():
            odd = [int(value) for value in np.unique(mask[~known])]
            raise BadImage(
                f"holds the value {', '.join(map(str, odd[:5]))}{' ...' if len(odd) > 5 else ''}, and the classes are "
                f"{', '.join(map(str, self.values))} (data.values, data.ignore_value)"
            )
        return labels


@dataclass
class SegmentSet:
    """Images [C, *size], and their labels where there are masks."""

    pairs: list[Pair]
    meaning: Meaning
    images: list[Pixels]
    masks: list[np.ndarray]
    """As in the files, of images with masks."""
    labels: list[np.ndarray]
    """Classes from 0, `IGNORE` = not scored."""
    report: dict[str, Any] = field(default_factory=dict)
    rejected: list[dict[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def ids(self) -> list[str]:
        """Names of the images."""
        return [pair.id for pair in self.pairs]

    def spacing(self, index: int, given: Sequence[float] | None = None) -> tuple[float, ...]:
        """Length of a pixel of an image in each dimension."""
        return tuple(given) if given is not None else self.images[index].spacing

    def pixels(self, index: int) -> np.ndarray:
        """[C, *size] with as many channels as the network takes."""
        return with_channels(self.images[index].values, self.meaning.in_chans)


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Of a picture, grey repeated as colours, or colours as grey (ITU-R BT.601). Channels of a volume are no colours.

    Raises:
        BadImage: Other numbers, which nobody can convert.
    """
    given, picture = len(pixels), pixels.ndim == 3
    if given == channels:
        return pixels
    if picture and given == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=0)
    if picture and given == 3 and channels == 1:
        grey = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), pixels.astype(np.float32), 1)[None]
        return np.rint(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey
    raise BadImage(f"has {given} channel{'s' * (given > 1)}, and {channels} {'are' if channels > 1 else 'is'} needed")


def load_masked(data: MaskedImages, meaning: Meaning | None = None, tick: Tick | None = None) -> SegmentSet:
    """Find and read all images with their masks.

    Args:
        data: Where they are; of `SegmentData` what masks mean is obeyed too.
        meaning: That of a trained network. None: seen from the data.
        tick: Called with the number of images that are done.

    Raises:
        ValueError: Files that cannot be used, where such are not to be skipped; masks with nothing in them. One line.
    """
    with pillow():
        listed = find_pairs(data)
        kept, images, masks = [], [], []
        for pair in listed.found:
            if tick is not None:
                tick(1)
            try:
                image, mask = _read(pair)
            except Unusable as error:
                _refuse(listed, data, error)
                continue
            kept.append(pair)
            images.append(image)
            masks.append(mask)
        _some_left(kept, listed, data)
        _check_dims(kept, images, masks[0].ndim if meaning is None else meaning.dims)
        if meaning is None:
            meaning, doubts = _meaning(data, kept, images, masks)
            listed.notes += doubts
        found = SegmentSet(pairs=[], meaning=meaning, images=[], masks=[], labels=[], rejected=listed.rejected)
        for pair, image, mask in zip(kept, images, masks, strict=True):
            try:
                labels = _labels(pair, image, mask, meaning, data.ignore_value)
            except Unusable as error:
                _refuse(listed, data, error)
                continue
            found.pairs.append(pair)
            found.images.append(image)
            found.masks.append(mask)
            found.labels.append(labels)
    _some_left(found.pairs, listed, data)
    found.report = _report(found, listed)
    return found


def read_for(pair: Pair, meaning: Meaning) -> Pixels:
    """An image as a network takes it.

    Raises:
        Unusable: It cannot be read, or has other dimensions or channels.
    """
    try:
        image = read_pixels(pair.image)
        if image.values.ndim - 1 != meaning.dims:
            raise BadImage(f"has {image.values.ndim - 1} dimensions, and the model reads {meaning.dims}")
        return image._replace(values=with_channels(image.values, meaning.in_chans))
    except BadImage as error:
        raise Unusable(pair.image, error) from None


def _read(pair: Pair) -> tuple[Pixels, np.ndarray]:
    assert pair.mask is not None
    try:
        image = read_pixels(pair.image)
    except BadImage as error:
        raise Unusable(pair.image, error) from None
    try:
        mask = read_labels(pair.mask)
    except BadImage as error:
        raise Unusable(pair.mask, error) from None
    if mask.shape != image.values.shape[1:]:
        own, others = (" x ".join(map(str, shape)) for shape in (mask.shape, image.values.shape[1:]))
        turned = f" ({', '.join(image.notes)})" if image.notes else ""
        raise Unusable(pair.mask, f"has {own} pixels, its image {pair.image} has {others}{turned}")
    return image, mask


def _labels(pair: Pair, image: Pixels, mask: np.ndarray, meaning: Meaning, ignore: int | None) -> np.ndarray:
    assert pair.mask is not None
    try:
        with_channels(image.values[(slice(None), *(slice(1),) * meaning.dims)], meaning.in_chans)
    except BadImage as error:
        raise Unusable(pair.image, error) from None
    try:
        return meaning.labels(mask, ignore)
    except BadImage as error:
        raise Unusable(pair.mask, error) from None


def _refuse(listed: Pairs, data: SegmentSource, error: Unusable) -> None:
    """Stop at a file that cannot be used, or write it down."""
    if data.on_bad == "error":
        raise ValueError(f"{error}; mend it, or leave such files out with data.on_bad skip")
    listed.rejected.append({"path": str(error.path), "reason": error.reason})


def _some_left(kept: Sequence[Pair], listed: Pairs, data: SegmentSource) -> None:
    if not kept:
        first = f": {listed.rejected[0]['path']} {listed.rejected[0]['reason']}" if listed.rejected else ""
        raise ValueError(f"{data.path}: none of {len(listed.found):,} images can be used{first}")


def _meaning(
    data: MaskedImages, pairs: list[Pair], images: list[Pixels], masks: list[np.ndarray]
) -> tuple[Meaning, list[str]]:
    """What the values of masks mean, and how many channels images have; and notes on what is doubtful."""
    own = data if isinstance(data, SegmentData) else None
    dims = masks[0].ndim
    chans = (own.in_chans if own else None) or _channels(images, dims)
    if own is not None and own.masks == "objects":
        if not any(mask.any() for mask in masks):
            raise ValueError(f"{data.path}: all {len(masks):,} masks are empty; there is nothing to learn")
        return Meaning(dims=dims, in_chans=chans, masks="objects", values=(0, 1), names=("background", "object")), []
    told = own is not None and own.values is not None
    seen = [] if told else [{*np.unique(mask).tolist()} - {data.ignore_value} for mask in masks]
    values = list(own.values) if own and own.values else sorted(set().union(*seen))
    if len(values) > MOST_CLASSES:
        raise ValueError(
            f"{pairs[0].mask}, ...: {len(values):,} different values; if each is an object of its own: "
            "data.masks objects; if masks were saved as JPEG or resized smoothly, make them anew"
        )
    if len(values) < 2:
        only = f"the value {values[0]} only" if values else "no value of a class"
        raise ValueError(f"{data.path}: all {len(masks):,} masks hold {only}; there is nothing to learn")
    doubts = check_values(data.path, seen) + once(seen, [str(pair.mask) for pair in pairs]) if seen else []
    names = own.names if own and own.names else _names(values)
    if len(names) != len(values):
        raise ValueError(f"data.names has {len(names)} entries, the masks have the values {values}")
    return Meaning(dims=dims, in_chans=chans, masks="classes", values=tuple(values), names=tuple(names)), doubts


def _channels(images: list[Pixels], dims: int) -> int:
    """Of the network: colours where some pictures have them; else as most images have."""
    found = Counter(len(image.values) for image in images)
    return 3 if dims == 2 and {*found} == {1, 3} else found.most_common(1)[0][0]


def _names(values: list[int]) -> list[str]:
    if len(values) == 2 and values[0] == 0:
        return ["background", "object"]
    return [f"value {value}" for value in values] if values[0] != 0 else ["background", *map(str, values[1:])]


def _check_dims(pairs: list[Pair], images: list[Pixels], dims: int) -> None:
    for pair, image in zip(pairs, images, strict=True):
        if image.values.ndim - 1 != dims:
            raise ValueError(
                f"{pair.image} has {image.values.ndim - 1} dimensions, others have {dims}; keep pictures and "
                "volumes apart"
            )


def _report(found: SegmentSet, listed: Pairs) -> dict[str, Any]:
    """What people want to know of the data, JSON-able."""
    shares = np.zeros(len(found.meaning.names))
    for labels in found.labels:
        shares += np.bincount(labels[labels >= 0].reshape(-1), minlength=len(shares))
    unknown = sum(not (labels >= 0).any() for labels in found.labels)
    empty = sum(not (labels > 0).any() for labels in found.labels) - unknown
    sizes = Counter(image.values.shape[1:] for image in found.images)
    notes = [*listed.notes]
    notes += [
        f"{count:,} {'image' if count == 1 else 'images'}: {note}"
        for note, count in Counter(note for image in found.images for note in image.notes).most_common()
    ]
    notes += places(found.pairs, found.images)
    kinds = len({image.spacing for image in found.images})
    if kinds > 1:
        notes.append(f"voxels of {kinds:,} different sizes; images are not resampled to one of them")
    if empty:
        notes.append(f"{empty:,} of {len(found):,} masks are empty; they are learned from and scored as such")
    if unknown:
        notes.append(
            f"{unknown:,} of {len(found):,} masks hold data.ignore_value alone: nothing is learned or scored there"
        )
    if found.meaning.masks == "objects":
        notes += thin(found.masks, found.labels)
    return {
        "images": len(listed.found),
        "kept": len(found),
        "left_out": dict(Counter(row["reason"] for row in listed.rejected).most_common(10)),
        "dims": found.meaning.dims,
        "channels": found.meaning.in_chans,
        "sizes": [{"size": [*size], "images": count} for size, count in sizes.most_common(10)],
        "classes": [
            {"name": name, "value": value, "share": float(share)}
            for name, value, share in zip(
                found.meaning.names, found.meaning.values, shares / max(shares.sum(), 1), strict=True
            )
        ],
        "empty": empty,
        "notes": notes,
    }
