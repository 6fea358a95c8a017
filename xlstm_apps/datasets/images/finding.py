"""From paths to a list of images with their classes and parts: folders, files, tables, IDX files, the digits."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from . import idx, tables
from .config import SAMPLE, ImageSource
from .record import ImageRecord, as_text, expanded, known_part

_HIDDEN = (".", "__MACOSX", "@eaDir")
_JUNK = ("thumbs.db", "desktop.ini")
_OTHER = (
    ".txt", ".md", ".json", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".html", ".py", ".log", ".db", ".ini", ".pdf",
    ".zip", ".mp4", ".mov", ".avi", ".svg", ".npy", ".npz",
)  # fmt: skip


@dataclass
class Listing:
    """What there is to read."""

    records: list[ImageRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_images(data: ImageSource, *, labelled: bool) -> Listing:
    """All images of the paths, in a fixed order.

    Args:
        data: The paths.
        labelled: Whether every image needs a class.

    Raises:
        ValueError: A path that does not exist or holds no images, or images without classes.
    """
    listing = Listing()
    _check_columns(data)
    for path in data.path:
        if path == SAMPLE:
            listing.records += digits()
            continue
        if path.startswith("sample:"):
            raise ValueError(f"data.path: there is no {path}; there is {SAMPLE}")
        for file in _matches(path):
            _add(listing, file, data, labelled)
    if not listing.records:
        raise ValueError(f"{', '.join(data.path[:3])}: no images there")
    listing.records = _told_apart(listing.records)
    return listing


def _told_apart(records: list[ImageRecord]) -> list[ImageRecord]:
    """Files of several folders whose names below these are the same, by their whole path."""
    places: dict[str, set[Path | None]] = {}
    for record in records:
        places.setdefault(record.id, set()).add(record.path)
    if len(places) == len(records):
        return records
    return [replace(r, id=r.file) if r.path and len(places[r.id]) > 1 else r for r in records]


def _check_columns(data: ImageSource) -> None:
    """Columns are those of tables."""
    if any(Path(path).suffix.lower() in tables.TABLES for path in data.path):
        return
    for name in ("path_column", "label_column", "part_column", "group_column"):
        if getattr(data, name, None) is not None:
            raise ValueError(f"data.{name} names a column of a table, and there is none among data.path")


def digits() -> list[ImageRecord]:
    """The 1,797 handwritten digits of scikit-learn, 8 x 8 pixels of 17 shades."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return [
        ImageRecord(id=f"digit {n}", path=None, label=str(label), pixels=picture)
        for n, (picture, label) in enumerate(zip(pixels, labels.tolist(), strict=True))
    ]


def _matches(path: str) -> list[Path]:
    file = expanded(path)
    if os.path.exists(file):
        return [file]
    found = sorted(glob.glob(str(file), recursive=True)) if glob.has_magic(path) else []
    if not found:
        raise ValueError(f"data.path {path}: no such file or folder")
    return [Path(name) for name in found]


def _add(listing: Listing, file: Path, data: ImageSource, labelled: bool) -> None:
    if file.is_dir():
        packed = sorted(child for child in file.iterdir() if idx.is_images(child) and not _hidden(child))
        if packed:
            twice = [child for child in packed if child.suffix == ".gz" and child.with_suffix("") in packed]
            if twice:
                listing.notes.append(f"left out, as they are there unpacked too: {_some(twice)}")
            for child in packed:
                if child not in twice:
                    listing.records += idx.read_images(child, labelled)
        else:
            _add_folder(listing, file, labelled)
    elif idx.is_images(file):
        listing.records += idx.read_images(file, labelled)
    elif file.suffix.lower() in tables.TABLES:
        listing.records += tables.read_table(file, data, labelled)
    elif labelled:
        raise ValueError(
            f"{file}: a single image has no class; give a folder with one sub-folder per class, or a table"
        )
    else:
        listing.records.append(ImageRecord(id=as_text(file), path=file))


def _add_folder(listing: Listing, folder: Path, labelled: bool) -> None:
    """Images below a folder; its sub-folders, or those of its parts, are the classes."""
    children = _folders(folder)
    parts = [child for child in children if known_part(child.name)]
    others = [child for child in children if child not in parts]
    # One folder called test could be a class; several such, or one alone, are parts where there are classes in them.
    if labelled and (len(parts) > 1 or (parts and not others)) and any(_folders(child) for child in parts):
        for child in others:
            if any(not _other(file) for file in files_below(child)):
                raise ValueError(
                    f"{folder}: {', '.join(part.name for part in parts)} look like parts of the data, and "
                    f"{child.name} beside them holds files that may be images: move it elsewhere"
                )
            listing.notes.append(f"left out, beside the parts and without images: {child.name}")
        for child in parts:
            _add_classes(listing, child, folder, known_part(child.name))
    elif labelled:
        _add_classes(listing, folder, folder, None)
    else:
        files = _files(folder, listing)
        listing.records += [ImageRecord(id=as_text(file.relative_to(folder)), path=file) for file in files]


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not _hidden(child) and not _lost(child))


def _hidden(child: Path) -> bool:
    return child.name.startswith(_HIDDEN)


def _lost(child: Path) -> bool:
    """Whether it is a link that leads nowhere, or to a folder that holds it."""
    if not child.is_symlink():
        return False
    return not child.exists() or child.parent.resolve().is_relative_to(child.resolve())


def _add_classes(listing: Listing, folder: Path, root: Path, part: str | None) -> None:
    children = sorted(child for child in folder.iterdir() if not _hidden(child))
    lost = [child for child in children if _lost(child)]
    classes = [child for child in children if child.is_dir() and child not in lost]
    loose = [child for child in children if child.is_file() and child.name.lower() not in _JUNK]
    if not classes:
        hint = f"; it holds {len(loose):,} files, make a sub-folder of each class" if loose else ""
        raise ValueError(f"{folder}: no sub-folders, whose names would be the classes{hint}, or give a table")
    if loose:
        listing.notes.append(f"left out, in {folder} but in no class folder: {len(loose):,} ({_some(loose)})")
    if lost:
        listing.notes.append(f"left out, links that lead nowhere or to a folder around them: {_some(lost)}")
    for child in classes:
        files = _files(child, listing)
        if not files:
            listing.notes.append(f"the class folder {as_text(child.relative_to(root))} holds no images: no such class")
        label = unicodedata.normalize("NFC", as_text(Path(child.name)))
        for file in files:
            listing.records.append(ImageRecord(id=as_text(file.relative_to(root)), path=file, label=label, part=part))


def _files(folder: Path, listing: Listing) -> list[Path]:
    """Files below a folder that may be pictures, by name; the others are counted. What is in them is seen later."""
    found, others = [], []
    for file in files_below(folder):
        if file.name.lower() in _JUNK:
            continue
        (others if _other(file) else found).append(file)
    if others:
        kinds = Counter(file.suffix.lower() for file in others).most_common()
        listing.notes.append(
            f"left out, in {as_text(folder)} but no images by name: "
            + ", ".join(f"{count:,} {kind}" for kind, count in kinds[:5])
        )
    return found


def files_below(folder: Path) -> list[Path]:
    """Files in a folder and its sub-folders but hidden ones, sorted; linked folders too, each once, so that links in a
    circle come to an end. A link to a folder around this one is not followed: its files belong elsewhere."""
    found, seen, top = [], set(), os.path.realpath(folder)

    def refused(error: OSError) -> None:
        raise ValueError(f"{error.filename}: the folder cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=refused, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or (real != top and Path(top).is_relative_to(real)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        found += [Path(place, name) for name in names if not name.startswith(_HIDDEN)]
    return sorted(found)


def _other(file: Path) -> bool:
    return file.suffix.lower() in _OTHER or file.name.lower() in _JUNK


def _some(files: list[Path]) -> str:
    return ", ".join(as_text(Path(file.name)) for file in files[:3]) + (" ..." if len(files) > 3 else "")
