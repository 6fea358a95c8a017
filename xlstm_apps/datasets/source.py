"""From a path to a frame of columns, delimited text still as text."""

from pathlib import Path

import polars as pl

from .config import SeriesData
from .delimited import Origin, read_text
from .files import decode, read_bytes, resolve
from .frames import plain


def read_frame(data: SeriesData) -> tuple[pl.DataFrame, Origin]:
    """The columns of a file, those of delimited text as text.

    Raises:
        ValueError: one line that names the file, the line and the mend.
    """
    file = resolve(data.path)
    if file.suffix.lower() in (".parquet", ".pq"):
        frame, origin = read_parquet(file), Origin(file.name)
    else:
        content, _ = read_bytes(file)
        text, encoding = decode(content, file, data.encoding)
        frame, origin = read_text(text, file.name, data.separator, data.header)
        origin.facts["encoding"] = encoding
    return frame, origin


def read_parquet(file: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as e:
        raise ValueError(f"{file}: not a readable Parquet file ({str(e).splitlines()[0]})") from None
    if frame.height == 0:
        raise ValueError(f"{file}: the table has no rows")
    return plain(frame)
