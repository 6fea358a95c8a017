"""What a command writes must not be what it reads: found from its options, before any work is done."""

import dataclasses
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITTEN = ("output", "page", "per_base", "picture", "rejects")
"""Options of all verbs that name a file to write; folders to write have to be new."""


def check_own_files(arguments: dict[str, Any]) -> None:
    """Refuse to write over a file that the same command reads, or two results into one file.

    Args:
        arguments: What a recipe function is called with.

    Raises:
        ValueError: names both options and the file.
    """
    named = list(_texts(arguments))
    for option, text in named:
        if option not in WRITTEN or text == "-":
            continue
        target = Path(text).resolve()
        for other, value in named:
            if other == option:
                continue
            if other in WRITTEN and Path(value).resolve() == target:
                raise ValueError(f"--{option} and --{other} are one file, {text}; name another for one of them")
            read = other not in WRITTEN and target.is_file()
            if read and any(file.resolve() == target for file in _files(value, target)):
                raise ValueError(f"--{option} {text}: --{other} reads this file; name another, so that it stays whole")


def _texts(arguments: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every text among the options, and in their sections and lists, with the name of its option."""
    for name, value in arguments.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _texts(vars(value), f"{prefix}{name}.")
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, str) and item:
                yield prefix + name, item


def _files(value: str, target: Path) -> Iterator[Path]:
    """The files that a value may stand for: itself, those of a pattern, the weights in the folder of a model, and
    `target` in a folder of sequences."""
    place = os.path.expanduser(value)
    if os.path.isdir(place):  # never raises, as `Path.is_dir` does of a prompt too long for a name
        from xlstm_apps.datasets.sequences.loading import is_sequence_file

        if Path(place).resolve() == target.parent and is_sequence_file(target):
            yield target
        yield from (Path(place, name, "model.safetensors") for name in (".", "model"))
        return
    yield Path(place)
    if any(mark in value for mark in "*?["):
        yield from map(Path, glob.glob(place))
