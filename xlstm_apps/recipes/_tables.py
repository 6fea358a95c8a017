"""Frames as a file that is whole or absent, however many there are: CSV, TSV or Parquet, or text on the terminal."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

import polars as pl

from xlstm_apps.training import files

SEPARATORS = {".csv": ",", ".tsv": "\t"}


class TableOutput:
    """Where the rows of a verb go. Memory holds one frame at a time.

    Args:
        output: A .tsv, .csv or .parquet file; None or `-`: the standard output.
        option: Name of the option, for messages.
        separator: Of cells on the standard output.
        as_text: What is done to a frame before it is written as text.

    Raises:
        ValueError: Another kind of file, or a folder that does not exist; found before any work is done.
    """

    def __init__(
        self,
        output: str | None,
        option: str = "output",
        *,
        separator: str = "\t",
        as_text: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame,
    ):
        self.path = None if output in (None, "-") else Path(str(output))
        self.separator, self.as_text = separator, as_text
        if self.path is not None:
            check_target(self.path, (*SEPARATORS, ".parquet"), option)

    def write(self, frames: Iterable[pl.DataFrame]) -> int:
        """Write all frames and return the number of rows; what was at the path before stays until the last is there."""
        if self.path is None:
            return _write_text(sys.stdout, map(self.as_text, frames), self.separator)
        with files.replacing(self.path) as aside:
            if self.path.suffix == ".parquet":
                return write_parquet(aside, frames)
            with aside.open("w", encoding="utf-8", newline="") as file:
                return _write_text(file, map(self.as_text, frames), SEPARATORS[self.path.suffix])

    @property
    def name(self) -> str:
        """The place in words."""
        return "the standard output" if self.path is None else str(self.path)


def check_target(path: Path, endings: tuple[str, ...], option: str) -> None:
    """Find out before any work whether a file can be written.

    Raises:
        ValueError: Another ending, or a folder that does not exist or may not be written to.
    """
    if not path.name.endswith(endings):
        *first, last = endings
        raise ValueError(f"{option} {path}: write to a {', '.join(first)}{' or ' if first else ''}{last} file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option} {path}: the folder {path.parent} may not be written to; name another")
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; name a file in it")


def write_parquet(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    """All frames as one Parquet file; its number of rows. They are parts on disk first, then streamed together."""
    rows, parts = 0, Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{path.stem}-parts-"))
    try:
        for number, frame in enumerate(frames):
            frame.write_parquet(parts / f"{number:06}.parquet")
            rows += len(frame)
        pl.scan_parquet(sorted(parts.iterdir())).sink_parquet(path)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return rows


def _write_text(file: TextIO, frames: Iterable[pl.DataFrame], separator: str) -> int:
    rows = 0
    for number, frame in enumerate(frames):
        file.write(frame.write_csv(include_header=number == 0, separator=separator))
        rows += len(frame)
    file.flush()
    return rows
