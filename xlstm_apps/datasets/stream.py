"""Tables larger than memory: series in arrays on disk, or some series at a time."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from .assemble import describe, finish, first_report
from .config import SeriesData
from .disk import nameless
from .future import FutureRows
from .place import Placed, place
from .reading import Block, Reading
from .spill import Spill
from .table import SeriesTable


def load_streamed(data: SeriesData) -> SeriesTable:
    """The table of `load_table`, its arrays on disk: only what is touched is in memory.

    The files have no names: the disk is free again when the table is, even after a kill. Each series by itself must fit
    into memory.
    """
    with closing(Spill(data)) as spill, closing(_Store(data)) as store:
        reading, ids, rows = spill.reading, spill.item_ids, spill.rows
        merged, static, lengths, known_lengths = _Merged(), [], [], []
        for first, block in spill.pieces():
            placed, part = _place(block, reading, _names(ids, first, block))
            merged.parts.append(part)
            store.add("values", placed.values)
            store.add("timestamps", placed.timestamps)
            lengths.append(np.diff(placed.offsets))
            raw = placed.covariates
            if raw is not None:
                store.add("past", raw.past.values)
                store.add("known", raw.known.values)
                static.append(raw.static.values)
                known_lengths.append(raw.known_lengths)
        if raw is not None:
            raw = replace(
                raw,
                past=replace(raw.past, values=store.map("past")),
                known=replace(raw.known, values=store.map("known")),
                known_offsets=_offsets(known_lengths),
                static=replace(raw.static, values=np.concatenate(static)),
            )
        whole = replace(
            placed,
            values=store.map("values"),
            timestamps=store.map("timestamps"),
            offsets=_offsets(lengths),
            covariates=raw,
        )
    report = first_report(reading, rows) | merged.report(whole.offsets) | {"streamed": True}
    return finish(whole, reading, ids, report)


def iter_tables(data: SeriesData, series_per_table: int = 1000) -> Iterator[SeriesTable]:
    """The series of a long table in order, some at a time, each table complete for its series: memory stays flat.

    The file may be in any order of rows. It is read once, onto disk, before the first table comes; `future_path` is
    held in memory. A wide table comes as one.

    Args:
        series_per_table: at most; fewer where series are long.

    Raises:
        ValueError: as `load_table`.
    """
    if series_per_table < 1:
        raise ValueError(f"series_per_table is 1 or more, not {series_per_table}")
    with closing(Spill(data)) as spill:
        reading, ids, future = spill.reading, spill.item_ids, None
        for first, block in spill.pieces(series_per_table):
            names = _names(ids, first, block)
            placed, part = _place(block, reading, names)
            table = finish(placed, reading, names, first_report(reading, len(block.codes)) | part)
            if data.future_path is not None:
                future = future or FutureRows(data.future_path, table, data)
                table = future.onto(table)
            yield table


def _names(ids: list[str] | None, first: int, block: Block) -> list[str] | None:
    return None if ids is None else ids[first : first + int(block.codes.max()) + 1]


def _place(block: Block, reading: Reading, ids: list[str] | None) -> tuple[Placed, dict[str, Any]]:
    report: dict[str, Any] = {}
    placed = place(block, reading, ids, report)
    describe(report, placed.values, placed, reading)
    return placed, report


def _offsets(lengths: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.concatenate(lengths))])


class _Store:
    """Arrays that grow row by row in temporary files without names."""

    def __init__(self, data: SeriesData) -> None:
        self.folder = data.cache_dir
        self.files: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, np.dtype] = {}

    def add(self, name: str, rows: np.ndarray) -> None:
        if name not in self.files:
            self.files[name] = nameless(self.folder)
            self.types[name] = rows.dtype
        before = self.shapes.get(name, (0,))[0]
        self.shapes[name] = (before + len(rows), *rows.shape[1:])
        self.files[name].write(rows.tobytes())

    def close(self) -> None:
        """What is mapped stays."""
        for file in self.files.values():
            file.close()

    def map(self, name: str) -> np.ndarray:
        """The array, to be read as if it were in memory; what is written to it stays private and off the disk."""
        if 0 in self.shapes[name]:
            return np.empty(self.shapes[name], dtype=self.types[name])
        self.files[name].flush()
        # Plain ndarray: a memmap hands its class on to every result.
        return np.memmap(self.files[name], dtype=self.types[name], mode="c", shape=self.shapes[name]).view(np.ndarray)


class _Merged:
    """One report from those of the parts."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []

    def report(self, offsets: np.ndarray) -> dict[str, Any]:
        first, lengths = self.parts[0], np.diff(offsets)
        out = dict(first)
        for name in (
            "coarser_series",
            "empty_series",
            "grid_rows",
            "future_rows",
            "unused_rows",
            "partial_steps",
        ):
            if name in first:
                out[name] = sum(p[name] for p in self.parts)
        out["sorted"] = all(p["sorted"] for p in self.parts)
        for name in ("duplicates", "off_grid"):
            out[name] = {**first[name], "rows": sum(p[name]["rows"] for p in self.parts)}
        gaps = [p["gaps"] for p in self.parts]
        out["gaps"] = {
            "rows": sum(g["rows"] for g in gaps),
            "runs": sum(g["runs"] for g in gaps),
            "longest": max(g["longest"] for g in gaps),
            "first": next((g["first"] for g in gaps if g["first"]), None),
        }
        out["series"] = len(lengths)
        out["lengths"] = {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())}
        for name in ("columns", "covariate_columns"):
            if name in first:
                out[name] = {column: self._column(name, column) for column in first[name]}
        return out

    def _column(self, name: str, column: str) -> dict[str, Any]:
        parts = [p[name][column] for p in self.parts]
        full = [p for p in parts if p["min"] is not None]
        total = sum(p["count"] for p in parts)
        missing = sum(p["missing"] for p in parts)
        low, high = (pick((p[k] for p in full), default=None) for pick, k in ((min, "min"), (max, "max")))
        weight = sum(p["count"] - p["missing"] for p in full)
        return {
            "count": total,
            "missing": missing,
            "missing_share": missing / total if total else 0.0,
            "min": low,
            "max": high,
            "mean": sum(p["mean"] * (p["count"] - p["missing"]) for p in full) / weight if full else None,
            "constant": bool(full) and low == high,
        }
