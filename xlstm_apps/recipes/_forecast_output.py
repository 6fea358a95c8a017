"""Where the frames of a verb go: a file that is whole or absent, however many frames there are, or the terminal."""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich.console import Console

from xlstm_apps.recipes._forecast import csv_ready
from xlstm_apps.recipes._tables import write_parquet
from xlstm_apps.training import files


class Output:
    """Where frames go: a .csv or .parquet file, or CSV on the standard output. Memory holds one frame at a time.

    Raises:
        ValueError: Another kind of file, or a folder that does not exist; found before any work is done.
    """

    def __init__(self, output: str | None):
        self.path = Path(output) if output is not None and output != "-" else None
        if self.path is not None:
            if self.path.suffix not in (".csv", ".parquet"):
                raise ValueError(f"output {output}: write to a .csv or .parquet file")
            if not self.path.parent.is_dir():
                raise ValueError(f"output {output}: the folder {self.path.parent} does not exist")

    def write(self, frames: Iterator[pl.DataFrame]) -> None:
        """Write all frames; what was at the path before stays there until the last one is written."""
        if self.path is None:
            for number, frame in enumerate(frames):
                sys.stdout.write(csv_ready(frame).write_csv(include_header=number == 0))
            return
        write = write_parquet if self.path.suffix == ".parquet" else write_csv
        with files.replacing(self.path) as aside:
            rows = write(aside, frames)
        Console(stderr=True).print(f"wrote {rows:,} rows to {self.path}", highlight=False, soft_wrap=True)


def write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> int:
    """All frames as one CSV file; its number of rows."""
    rows = 0
    with path.open("wb") as file:
        for number, frame in enumerate(frames):
            csv_ready(frame).write_csv(file, include_header=number == 0)
            rows += len(frame)
    return rows
