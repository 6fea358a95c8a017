"""Tables with one series per line, as in the M4 competition: a name, then the values in order."""

import numpy as np
import polars as pl

from .config import SeriesData
from .delimited import Origin, suggest
from .layout import bad_number
from .numbers import NumberFormat, understand


def read_rows(
    frame: pl.DataFrame, data: SeriesData, how: NumberFormat, origin: Origin
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Names [S], and per value its series, its position in the series, the value and its line: flat, each [N].

    Empty cells after a series' last value are its end, not gaps.

    Raises:
        ValueError: a cell is no number, or a line has no value.
    """
    if data.target_columns is not None or data.time_column not in (None, "none"):
        raise ValueError(
            "data.layout rows takes neither target_columns nor time_column: the cells of a line are the series"
        )
    name = data.id_column
    if name is not None and name not in frame.columns:
        raise ValueError(
            f"{origin.name}: {origin.option('id_column', name)}: no such column; {suggest(name, frame.columns)}"
        )
    if name is None and understand(frame[:, 0], how).kind == "text":
        name = frame.columns[0]
    ids = [str(i) for i in (frame[name].str.strip_chars() if name is not None else range(frame.height))]
    for i, n in enumerate(ids):
        if n in ("", "None"):
            raise ValueError(f"{origin.cell(i, name)}: the name of the series is missing; fill it in")
    if len(set(ids)) < len(ids):
        twice = next(i for i, n in enumerate(ids) if n in ids[:i])
        raise ValueError(f"{origin.where(twice)}: the series {ids[twice]!r} is there twice; rename one of them")
    columns = [understand(frame[c], how) for c in frame.columns if c != name]
    for column in columns:
        if column.kind not in ("number", "empty"):
            column.bad = frame[column.name].is_not_null().arg_true().to_numpy()
            column.bad_text = str(frame[column.name][int(column.bad[0])])
        if column.bad is not None and len(column.bad):
            raise bad_number(column, origin)
    empty = np.full(frame.height, np.nan)
    values = np.column_stack([empty if c.values is None else c.values for c in columns])
    seen = ~np.isnan(values)
    lengths = np.where(seen.any(axis=1), values.shape[1] - seen[:, ::-1].argmax(axis=1), 0)
    if (lengths == 0).any():
        raise ValueError(
            f"{origin.where(int(np.flatnonzero(lengths == 0)[0]))}: a series without a value; remove the line"
        )
    inside = np.arange(values.shape[1]) < lengths[:, None]
    codes, position = np.nonzero(inside)
    return ids, codes, position, values[inside], codes
