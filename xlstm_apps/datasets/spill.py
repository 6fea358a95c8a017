"""Rows of a large file on disk, put together by series: what streaming and predicting in parts are built on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import IO

import numpy as np
import polars as pl

from .blocks import blocks
from .config import SeriesData
from .covariate_columns import amounts
from .delimited import Origin
from .disk import nameless
from .files import resolve
from .layout import number_series, stamps_of
from .numbers import missing_cells
from .reading import Block, Reading, begin
from .timestamps import DAY_FIRST, Stamps

ROWS = 1 << 19  # of a piece, unless one series has more


class Spill:
    """The rows of a file, as numbers in a temporary file without a name, which vanishes with this object.

    Raises:
        ValueError: as `load_table`.
    """

    def __init__(self, data: SeriesData) -> None:
        if data.layout == "rows":
            raise ValueError(
                "data.stream does not go with layout rows, where a line holds a whole series; leave it out"
            )
        if data.time_column == "none":
            raise ValueError("data.stream needs stamps: name data.time_column")
        self.rows, self.ordered = 0, True
        self.numbers: dict[str, int] = {}
        """Number of every series, by first appearance; empty for a wide table."""
        self._file: IO[bytes] = nameless(data.cache_dir)
        try:
            self._fill(data)
        except BaseException:
            self.close()
            raise

    def _fill(self, data: SeriesData) -> None:
        counts, last, reading = np.zeros(0, dtype=np.int64), -1, None
        for frame, origin in blocks(resolve(data.path), data):
            if reading is None:
                reading, roles = begin(frame, data, origin, whole=False)
                targets, stamps = np.column_stack([c.values for c in roles.targets]), roles.stamps
                reading.origin = replace(origin, lines=None, numbered=origin.unit)
                empty = [name for name, why in roles.left_out.items() if why == "empty"]
                self.kind = _record(len(reading.targets) + len(reading.carried), len(data.static_covariates))
            else:
                targets = np.column_stack([amounts(frame[name], reading.how, origin) for name in reading.targets])
                stamps = _alike(frame, reading, origin)
                _still_empty(frame, empty, reading, origin)
            values, static = reading.block(frame, origin, targets)
            records = np.empty(frame.height, dtype=self.kind)
            codes = records["code"] = self._codes(frame, reading, origin)
            records["us"], records["source"] = stamps.us.view(np.int64), origin.lines
            records["values"], records["static"] = values, static
            self._file.write(records.data)
            self.rows += frame.height
            counts = np.pad(counts, (0, max(0, int(codes.max()) + 1 - len(counts))))
            counts += np.bincount(codes, minlength=len(counts))
            self.ordered &= bool((np.diff(codes) >= 0).all()) and int(codes[0]) >= last
            last = int(codes[-1])
        assert reading is not None
        self.reading, self.counts = reading, counts
        if reading.covariates is not None:
            reading.covariates.check_levels(self.rows, reading.origin)

    @property
    def item_ids(self) -> list[str] | None:
        return list(self.numbers) if self.reading.roles.ids else None

    def pieces(self, most_series: int | None = None) -> Iterator[tuple[int, Block]]:
        """Whole series, some at a time, in order: the number of the first and their rows, counted from it."""
        borders = self._borders(most_series)
        begins = np.concatenate([[0], np.cumsum(self.counts)])[borders]
        if not self.ordered:
            self._gather(borders, begins)
        size = self.kind.itemsize
        for first, start, stop in zip(borders[:-1], begins[:-1], begins[1:], strict=True):
            self._file.seek(int(start) * size)
            records = np.frombuffer(self._file.read(int(stop - start) * size), dtype=self.kind)
            yield (
                int(first),
                Block(
                    records["code"].astype(np.int64) - first,
                    records["us"].astype("datetime64[us]"),
                    np.ascontiguousarray(records["values"]),
                    records["static"].astype(np.float64),
                    records["source"].astype(np.int64),
                ),
            )

    def close(self) -> None:
        """Free the disk."""
        self._file.close()

    def _borders(self, most_series: int | None) -> np.ndarray:
        """Numbers of the first series of each piece, and the number of series: int64 [P + 1]."""
        ends, borders = np.cumsum(self.counts), [0]
        while borders[-1] < len(self.counts):
            a = borders[-1]
            full = int(np.searchsorted(ends, (ends[a - 1] if a else 0) + ROWS, side="right"))
            borders.append(min(max(full, a + 1), len(self.counts), a + (most_series or len(self.counts))))
        return np.asarray(borders, dtype=np.int64)

    def _gather(self, borders: np.ndarray, begins: np.ndarray) -> None:
        """Write the rows anew, those of each piece together, in the order of the file."""
        target: IO[bytes] = nameless(self.reading.data.cache_dir)
        size, cursor = self.kind.itemsize, begins.copy()
        self._file.seek(0)
        while chunk := self._file.read(ROWS * size):
            records = np.frombuffer(chunk, dtype=self.kind)
            piece = np.searchsorted(borders, records["code"], side="right") - 1
            order = np.argsort(piece, kind="stable")
            counts = np.bincount(piece, minlength=len(begins))
            bounds = np.concatenate([[0], np.cumsum(counts)])
            records = records[order]
            for p in np.flatnonzero(counts):
                target.seek(int(cursor[p]) * size)
                target.write(records[bounds[p] : bounds[p + 1]].data)
            cursor += counts
        self._file.close()
        self._file, self.ordered = target, True

    def _codes(self, frame: pl.DataFrame, reading: Reading, origin: Origin) -> np.ndarray:
        own, names = number_series(frame, reading.roles.ids, origin)
        if names is None:
            return own
        numbers = self.numbers
        return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)[own]


def _record(values: int, static: int) -> np.dtype:
    return np.dtype(
        [("code", "i4"), ("us", "i8"), ("source", "i8"), ("values", "f8", (values,)), ("static", "f4", (static,))]
    )


def _alike(frame: pl.DataFrame, reading: Reading, origin: Origin) -> Stamps:
    """Stamps of a later frame, written as those of the first."""
    first = reading.stamps
    day_first = DAY_FIRST.get(first.written)
    stamps = stamps_of(frame, reading.roles.time, origin, reading.data.time_format, day_first)
    if (stamps.written, stamps.aware, stamps.kind) != (first.written, first.aware, first.kind):
        raise ValueError(
            f"{origin.where(0)}, column {'+'.join(reading.roles.time)!r}: from here on stamps are read as "
            f"{stamps.written}, before as {first.written}; write them alike, or say how with "
            f"{origin.option('time_format', '%Y-%m-%d %H:%M')}"
        )
    first.offsets += [o for o in stamps.offsets if o not in first.offsets]
    return stamps


def _still_empty(frame: pl.DataFrame, empty: list[str], reading: Reading, origin: Origin) -> None:
    for name in empty:
        filled = ~missing_cells(frame[name].cast(pl.String).str.strip_chars(), reading.how.missing_text)
        if filled.any():
            raise ValueError(
                f"{origin.cell(int(filled.arg_true()[0]), name)}: the first rows of this column are empty, so it was "
                f"left out; say what it is, for example {origin.option('target_columns', [*reading.targets, name])}"
            )
