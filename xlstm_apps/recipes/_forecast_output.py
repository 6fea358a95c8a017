"""Where the frames of a forecast go: a file, or CSV on the terminal."""

from collections.abc import Iterable

import polars as pl
from rich.console import Console

from xlstm_apps.recipes._forecast import csv_ready
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import tell


class Output(TableOutput):
    """A .csv, .tsv or .parquet file, or CSV on the standard output; stamps as people write them where it is text.

    Raises:
        ValueError: Another kind of file, or a folder that does not exist; found before any work is done.
    """

    def __init__(self, output: str | None):
        super().__init__(output, separator=",", as_text=csv_ready)

    def write(self, frames: Iterable[pl.DataFrame]) -> int:
        """Write all frames, and say how many rows a file got."""
        rows = super().write(frames)
        if self.path is not None:
            tell(Console(stderr=True), [f"wrote {rows:,} rows to {self.path}"])
        return rows
