"""From folders to images and the mask of each, by their names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .finding import files_below
from .record import known_part
from .segmentation_config import MaskedImages, SegmentSource
from .segmentation_files import VOLUMES, ending, stem

IMAGES = ("images", "imagesTr", "image", "imgs", "img")
MASKS = ("masks", "labelsTr", "labels", "mask", "label", "annotations", "segmentations")
SUFFIXES = ("_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_L", "_annotation")
_CHANNEL, _SECOND = "_0000", "_0001"
"""What nnU-Net writes behind the name of an image, and of its second channel."""
_PICTURES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".webp", ".gif", ".ppm", ".pgm")
ENDINGS = (*VOLUMES, *_PICTURES)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its mask."""

    id: str
    """Path below its folder, without the ending."""
    image: Path
    mask: Path | None = None
    part: str | None = None


@dataclass
class Pairs:
    """What there is to read."""

    found: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)


def find_images(data: SegmentSource) -> Pairs:
    """All images of a path, without masks.

    Raises:
        ValueError: Nothing there.
    """
    pairs, path = Pairs(), _existing(data.path)
    if path.is_file():
        pairs.found.append(Pair(id=stem(path), image=path))
        return pairs
    folder = _inner(path, IMAGES) or path
    pairs.found = [Pair(id=name, image=file) for name, file in _unnumbered(_by_name(folder, pairs, data)).items()]
    if not pairs.found:
        raise ValueError(f"{folder}: no images there ({', '.join(ENDINGS[:6])} ...)")
    return pairs


def find_pairs(data: MaskedImages) -> Pairs:
    """All images of a path with their masks, and the parts they lie in.

    Raises:
        ValueError: Nothing there; an image without mask or a mask without image where such are not to be skipped.
    """
    pairs, path = Pairs(), _existing(data.path)
    if data.masks_path is not None:
        masks = _existing(data.masks_path, "data.masks_path")
        if path.is_file() and masks.is_file():
            pairs.found.append(Pair(id=stem(path), image=path, mask=masks))
            return pairs
        if path.is_file() or masks.is_file():
            raise ValueError(f"data.path {path} and data.masks_path {masks}: give two folders, or two files")
        _match(pairs, _inner(path, IMAGES) or path, masks, None, data)
    elif path.is_file():
        raise ValueError(f"{path}: where is its mask? Give data.masks_path")
    else:
        for folder, part in _parts(path):
            images, masks = _inner(folder, IMAGES), _inner(folder, MASKS)
            if images is None or masks is None:
                raise ValueError(
                    f"{folder}: no folders `images` and `masks` in it; give the folder of the masks as data.masks_path"
                )
            _match(pairs, images, masks, part, data)
    if not pairs.found:
        raise ValueError(f"{path}: no image with a mask there")
    return pairs


def _match(pairs: Pairs, folder: Path, masks_folder: Path, part: str | None, data: MaskedImages) -> None:
    images = _by_name(folder, pairs, data, leave=masks_folder)
    masks = _by_name(masks_folder, pairs, data, leave=folder)
    if not images or not masks:
        raise ValueError(f"{folder if not images else masks_folder}: no images there")
    mixed = masks_folder == folder
    suffix = _suffix(images, masks, mixed) if data.mask_suffix is None else data.mask_suffix
    if suffix and mixed:
        images = {name: file for name, file in images.items() if not name.endswith(suffix)}
    if not any(name.endswith(_CHANNEL) for name in masks):
        images = _unnumbered(images)
    plain = [] if mixed else [file for name, file in masks.items() if not name.endswith(suffix)]
    masks = {name.removesuffix(suffix): file for name, file in masks.items() if name.endswith(suffix)}
    others = ", as others do" if masks else ""
    lonely = [(file, f"is a mask whose name does not end in {suffix!r}{others}") for file in plain]
    lonely += [(images[name], f"has no mask of its name in {masks_folder}") for name in sorted({*images} - {*masks})]
    lonely += [(masks[name], f"is a mask without an image in {folder}") for name in sorted({*masks} - {*images})]
    if lonely and data.on_bad == "error":
        more = f" ({len(lonely) - 1:,} more like this)" if len(lonely) > 1 else ""
        if {name.removesuffix(_SECOND) + _CHANNEL for name in images if name.endswith(_SECOND)} & {*images} - {*masks}:
            raise ValueError(
                f"{folder}: channels in files of their own ({_CHANNEL}, {_SECOND} ...) are not read; put those of an "
                "image into one, such as .npy with the channels in front"
            )
        raise ValueError(
            f"{lonely[0][0]} {lonely[0][1]}{more}; names are the same but for the ending"
            f"{f' and {suffix!r}' if suffix else ''} (data.mask_suffix), or leave such out with data.on_bad skip"
        )
    pairs.rejected += [{"path": str(file), "reason": reason} for file, reason in lonely]
    where = "" if part is None else f"{part}/"
    pairs.found += [
        Pair(id=f"{where}{name}", image=images[name], mask=masks[name], part=part)
        for name in images
        if name in masks
    ]  # fmt: skip


def _unnumbered(images: dict[str, Path]) -> dict[str, Path]:
    """Names without the number of a channel, where all have it; masks have none."""
    if not all(name.endswith(_CHANNEL) for name in images):
        return images
    return {name.removesuffix(_CHANNEL): file for name, file in images.items()}


def _suffix(images: dict[str, Path], masks: dict[str, Path], mixed: bool) -> str:
    """The one of the usual suffixes that finds most masks an image; in a folder of both, masks must have one."""

    def fits(suffix: str) -> int:
        return sum(name.endswith(suffix) and name.removesuffix(suffix) in images for name in masks)

    return max(SUFFIXES if mixed else ("", *SUFFIXES), key=lambda suffix: (fits(suffix), -len(suffix)))


def _by_name(folder: Path, pairs: Pairs, data: SegmentSource, leave: Path | None = None) -> dict[str, Path]:
    """Pictures and volumes below a folder by path without ending; other files are counted."""
    found: dict[str, Path] = {}
    others = 0
    for file in files_below(folder):
        inner = file.relative_to(folder)
        if leave is not None and folder in leave.parents and leave in file.parents:
            continue
        if ending(file) not in ENDINGS:
            others += 1
            continue
        name = str(inner.parent / stem(file)) if inner.parent != Path() else stem(file)
        name = unicodedata.normalize("NFC", name)
        if name in found:
            raise ValueError(f"{found[name]} and {file} have one name but for the ending: which of them is it?")
        found[name] = file
    if others:
        pairs.notes.append(f"left out, in {folder} but neither pictures nor volumes by name: {others:,}")
    return found


def _parts(path: Path) -> Iterable[tuple[Path, str | None]]:
    """The folders train, val and test in a folder, or the folder itself."""
    if _inner(path, IMAGES) is None:
        parts = [(child, known_part(child.name)) for child in sorted(path.iterdir()) if child.is_dir()]
        known = [(child, part) for child, part in parts if part is not None]
        if any(part == "train" for _, part in known):
            return known
    return [(path, None)]


def _inner(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _existing(path: str, option: str = "data.path") -> Path:
    file = Path(path).expanduser()
    if not file.exists():
        raise ValueError(f"{option} {path}: no such file or folder")
    return file
