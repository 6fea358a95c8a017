"""Training, validation and test parts of images with masks: as the data say, by group, or at random."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .record import PARTS, part_of
from .segmentation_config import SegmentData
from .segmentation_pairs import Pair
from .segmentation_set import SegmentSet


def split_masked(images: SegmentSet, data: SegmentData) -> tuple[dict[str, np.ndarray], str]:
    """Numbers of the images of every part, and in words how they were divided.

    Raises:
        ValueError: Parts that do not fit the images, or nothing to train on.
    """
    told, others = [pair.part for pair in images.pairs], set[str]()
    if data.split_path is not None:
        given = _split_file(Path(data.split_path))
        missing = [name for name in images.ids if name not in given]
        if missing:
            raise ValueError(
                f"{data.split_path}: no part for {missing[0]} ({len(missing):,} images are not listed; an id is the "
                "name of an image without its ending)"
            )
        told, others = [given[name] for name in images.ids], {*given} - {*images.ids}
    if any(part is not None for part in told):
        part = np.array([str(p) for p in told])
        rule = f"as {data.split_path or 'the folders'} say"
        if others:
            rule += f" ({len(others):,} of its ids without an image: {min(others)}{' ...' if len(others) > 1 else ''})"
        if data.split_path is None and data.val_fraction > 0 and not (part == "val").any():
            pool = np.flatnonzero(part == "train")
            part[pool] = _draw([images.pairs[n] for n in pool], images, pool, {"val": data.val_fraction}, data)
            rule += ", validation drawn from training"
    else:
        everything = np.arange(len(images))
        shares = {"val": data.val_fraction, "test": data.test_fraction}
        part = _draw(images.pairs, images, everything, shares, data)
        rule = "at random" if data.group is None else f"at random, whole groups of {data.group}"
    parts = {name: np.flatnonzero(part == name) for name in PARTS}
    if not len(parts["train"]):
        drawn = all(part is None for part in told)
        raise ValueError(
            f"nothing is left to train on: {len(images)} images; "
            + ("lower data.val_fraction and test_fraction" if drawn else f"{rule}, none of them is for training")
        )
    _check_classes(images, parts["train"])
    return {name: rows for name, rows in parts.items() if len(rows)}, rule


def _check_classes(images: SegmentSet, rows: np.ndarray) -> None:
    """Refuse a training part without some class, and say where it is.

    Raises:
        ValueError: A class that no training image has.
    """
    trained = {int(value) for row in rows for value in np.unique(images.labels[row])}
    for number, name in enumerate(images.meaning.names):
        if number in trained:
            continue
        value = images.meaning.values[number]
        having = [n for n, labels in enumerate(images.labels) if (labels == number).any()]
        if having:
            raise ValueError(
                f"no training image has class {name}, but {images.pairs[having[0]].mask} has; split in another way "
                f"(data.split_seed), or if it is no class: data.ignore_value {value}"
            )
        if images.meaning.masks == "objects":
            raise ValueError("of no object is anything left once those that touch are parted: all are too thin")
        raise ValueError(f"no mask has class {name} (value {value} of data.values)")


def _split_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"data.split_path {path}: no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is no UTF-8 text ({error.reason} at byte {error.start:,}); save it as UTF-8"
        ) from None
    with io.StringIO(text, newline="") as file:
        rows = csv.DictReader(file)
        if not {"id", "part"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: columns id and part are needed, it has {', '.join(rows.fieldnames or ['none'])}")
        found: dict[str, str] = {}
        for number, row in enumerate(rows, 2):
            name = unicodedata.normalize("NFC", row["id"])
            if name in found:
                raise ValueError(f"{path}, line {number}: {name} is there twice")
            found[name] = part_of(row["part"] or "", f"{path}, line {number}")
    return found


def _draw(
    pairs: Sequence[Pair], images: SegmentSet, rows: np.ndarray, shares: dict[str, float], data: SegmentData
) -> np.ndarray:
    """Parts at random, whole units at a time: groups, or images with the same pixels."""
    units = [_unit(pair, images.images[row].values, data.group) for pair, row in zip(pairs, rows, strict=True)]
    names, unit = np.unique(units, return_inverse=True)
    order = np.random.default_rng((data.split_seed, len(names))).permutation(len(names))
    sizes = np.bincount(unit)
    part = np.full(len(names), "train", dtype="<U5")
    taken = 0
    for name in ("test", "val"):  # the test first, so that it is the same whatever val_fraction
        goal, have = round(shares.get(name, 0.0) * len(pairs)), 0
        if shares.get(name, 0.0) > 0 and len(names) >= 3:
            goal = max(goal, 1)
        while have < goal and taken < len(names) - 1:
            part[order[taken]] = name
            have += sizes[order[taken]]
            taken += 1
    return part[unit]


def _unit(pair: Pair, pixels: np.ndarray, group: str | None) -> str:
    if group is None:
        return hashlib.sha1(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
    found = re.search(group, pair.id)
    if found is None:
        raise ValueError(f"data.group={group!r} finds nothing in the name {pair.id!r}")
    return found[1] if found.re.groups else found[0]
