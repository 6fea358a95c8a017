"""One image before it is read: where it is, and what is known about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PARTS = ("train", "val", "test")
_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """An image to read, or already read."""

    id: str
    """Path below the folder or as the table has it, or its number."""
    path: Path | None
    label: str | None = None
    part: str | None = None
    """train, val or test, where the data say so."""
    group: str | None = None
    pixels: np.ndarray | None = None
    """[H, W, C], where there is no file."""

    @property
    def file(self) -> str:
        """The path in words, for tables and messages."""
        return self.id if self.path is None else as_text(self.path)


def as_text(path: Path) -> str:
    """A path as text that can be written as UTF-8: bytes that are none, as in names from old systems, become \\xe9."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def expanded(path: str) -> Path:
    """A path with `~` for the home folder, where a user of that name is known; `~$draft.jpg` is a file."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def part_of(name: str, where: str) -> str:
    """train, val or test, as people write them.

    Raises:
        ValueError: Something else; `where` begins the message.
    """
    part = known_part(name)
    if part is None:
        raise ValueError(f"{where}: a part is train, val or test, not {name!r}")
    return part


def known_part(name: str) -> str | None:
    """The part that a word means, or None."""
    return _NAMES.get(name.strip().lower())
