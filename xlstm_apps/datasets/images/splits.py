"""Training, validation and test parts of images: as the data say, by group, or at random of every class alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .collection import ImageSet
from .config import ImageData
from .record import PARTS

Parts = dict[str, np.ndarray]


def split_images(images: ImageSet, data: ImageData) -> tuple[Parts, str]:
    """Numbers of the images of every part, and how they were divided in words.

    Raises:
        ValueError: Parts for some images only, a class without a training image, or one class only.
    """
    told = np.array([record.part or "" for record in images.records])
    if (told == "").any() and (told != "").any():
        missing = images.records[int(np.flatnonzero(told == "")[0])].id
        raise ValueError(f"the data say of some images which part they belong to, but not of {missing}")
    if (told != "").all():
        part, rule = told.copy(), "as the data say"
        left = {name: share for name, share in _shares(data).items() if not (part == name).any() and share > 0}
    else:
        part, rule, left = np.full(len(images), "train"), "", _shares(data)
    pool = np.flatnonzero(part == "train")
    if left and len(pool):
        drawn, how = _draw(images, pool, left, data.split_seed)
        part[pool] = drawn
        rule = f"{rule}, {' and '.join(left)} drawn from train {how}" if rule else how
    parts = {name: np.flatnonzero(part == name) for name in PARTS}
    _check(images, parts)
    return {name: rows for name, rows in parts.items() if len(rows)}, rule


def leaks(images: ImageSet, parts: Parts) -> int:
    """How many images of the test part have the very pixels of one in training."""
    known = {images.digests[n] for n in parts["train"]}
    return sum(images.digests[n] in known for n in parts.get("test", ()))


def _shares(data: ImageData) -> dict[str, float]:
    return {"val": data.val_fraction, "test": data.test_fraction}


def _draw(images: ImageSet, pool: np.ndarray, shares: dict[str, float], seed: int) -> tuple[np.ndarray, str]:
    """Parts of the images of the pool, whole units at a time: groups, or images that are alike."""
    generator = np.random.default_rng((seed, len(pool)))
    groups = [images.records[n].group for n in pool]
    grouped = any(group is not None for group in groups)
    names = [
        f"g {group}" if group is not None else f"i {images.digests[n]}" for group, n in zip(groups, pool, strict=True)
    ]
    _, unit = np.unique(names, return_inverse=True)
    first = np.unique(unit, return_index=True)[1]
    strata = np.zeros(len(first), int) if grouped else images.labels[pool[first]]
    sizes = np.bincount(unit)
    part = np.full(len(first), "train", dtype="<U5")
    for stratum in np.unique(strata):
        members = generator.permutation(np.flatnonzero(strata == stratum))
        total, taken = sizes[members].sum(), 0
        for name, share in reversed(shares.items()):  # the test first, so that it is the same whatever val_fraction
            goal = round(share * total)
            start, have = taken, 0
            while have < goal and taken < len(members) - 1:
                have += sizes[members[taken]]
                taken += 1
            part[members[start:taken]] = name
    return part[unit], "whole groups at random" if grouped else "at random, of every class alike"


def _check(images: ImageSet, parts: Parts) -> None:
    if not len(parts["train"]):
        raise ValueError("nothing is left to train on")
    counts = images.counts(parts["train"])
    if len(counts) < 2:
        name = next(iter(counts), "none")
        places = [Path(record.id).parts for record in images.records if record.path is not None]
        inner = sorted({place[1] for place in places if len(place) > 2 and place[0] == name})
        hint = f"; if {', '.join(inner[:4])} are the classes, give the folder {name} itself" if len(inner) > 1 else ""
        raise ValueError(
            f"there is one class only, {name}; a classifier needs two or more, each in its own folder{hint}"
        )
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        drawn = any(record.part is None for record in images.records)
        why = "all of them went to another part with their groups or copies; try another data.split_seed, or add images"
        rule = why if drawn else "a part cannot have classes of its own"
        raise ValueError(f"no training image of class {', '.join(empty[:5])}; {rule}")
