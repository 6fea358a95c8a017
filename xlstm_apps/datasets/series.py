"""A user's table in, `SeriesTable` out."""

from typing import TYPE_CHECKING, Any

from .config import SeriesData
from .table import SeriesTable

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def load_table(data: SeriesData) -> SeriesTable:
    """Read `data.path` as the section says, put it on a regular grid, and report what was found.

    Raises:
        ValueError: one line that names the file, the line and the mend.
    """
    raise NotImplementedError


def table_from_frame(
    df: "pd.DataFrame | pl.DataFrame",
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    target_columns: list[str] | None = None,
    freq: str | None = None,
    **options: Any,
) -> SeriesTable:
    """The same from a pandas or polars frame, wide or long; the frame is not changed.

    Args:
        options: further fields of `SeriesData`, such as `duplicates` or `missing_values`.
    """
    raise NotImplementedError
