"""Placed series to a table with its report."""

from typing import Any

import numpy as np

from .cycles import feature_names
from .numbers import statistics
from .place import Placed, place
from .reading import Block, Reading
from .report import notes
from .table import SeriesTable


def one_table(block: Block, reading: Reading, item_ids: list[str] | None, rows: int) -> SeriesTable:
    """The table of all rows in a block.

    Args:
        rows: in the file.
    """
    report = first_report(reading, rows)
    placed = place(block, reading, item_ids, report)
    describe(report, placed.values, placed, reading)
    return finish(placed, reading, item_ids, report)


def first_report(reading: Reading, rows: int) -> dict[str, Any]:
    """What is known before the rows are placed."""
    origin, data, roles = reading.origin, reading.data, reading.roles
    origin.facts["offsets"] = reading.stamps.offsets
    return {
        "source": data.path if origin.from_file else origin.name,
        "layout": roles.layout,
        "rows": rows,
        "time_column": "+".join(roles.time) or None,
        "id_column": "+".join(roles.ids) or None,
        "time_written": reading.stamps.written,
        "time_zone": None,
        "encoding": origin.facts.get("encoding"),
        "separator": origin.facts.get("separator"),
        "decimal": reading.how.decimal,
        "grouped_thousands": reading.how.grouped,
        "header": origin.facts.get("header", data.header),
        "comments": origin.facts.get("comments", 0),
        "left_out": roles.left_out,
        "suspicious": {},
    }


def describe(report: dict[str, Any], values: np.ndarray, placed: Placed, reading: Reading) -> None:
    """Counts and statistics of placed series, into the report."""
    lengths = np.diff(placed.offsets)
    seen = np.concatenate([[0], np.cumsum(~np.isnan(values).all(axis=1))])[placed.offsets]
    report |= {
        "time_zone": placed.zone,
        "series": len(lengths),
        "grid_rows": len(values),
        "lengths": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "columns": statistics(values, reading.targets),
        "empty_series": int((np.diff(seen) == 0).sum()),
    }
    beside = placed.covariates
    if beside is not None:
        numeric: dict[str, Any] = {}
        for columns in (beside.past, beside.known, beside.static):
            numeric |= statistics(columns.values[:, : len(columns.numbers)], columns.numbers)
        report["covariate_columns"] = numeric


def finish(placed: Placed, reading: Reading, item_ids: list[str] | None, report: dict[str, Any]) -> SeriesTable:
    """The table, its report completed."""
    kind = reading.stamps.kind
    if kind == "date" and not placed.freq.by_wall_clock:
        kind = "datetime"  # dates alone, on a grid of hours
    table = SeriesTable(
        values=placed.values,
        timestamps=placed.timestamps,
        offsets=placed.offsets,
        item_ids=item_ids,
        channels=reading.targets,
        freq=str(placed.freq),
        time_zone=placed.zone,
        layout=reading.roles.layout,
        time_kind=kind,
        month_ends=placed.month_ends,
        covariates=placed.covariates,
        report=report,
    )
    if reading.data.calendar and kind == "integer":
        raise ValueError(
            f"{reading.origin.name}: the stamps are {reading.stamps.written}, so there is no calendar to add; set "
            f"{reading.origin.option('calendar', False)}, or say when the rows begin with "
            f"{reading.origin.option('start', '2020-01-01')} and freq"
        )
    if reading.data.calendar and not feature_names(table.freq):
        raise ValueError(
            f"{reading.origin.name}: to steps of {table.freq} the calendar has nothing to add; set "
            f"{reading.origin.option('calendar', False)}"
        )
    asked = reading.data.split_rows
    if asked is not None and table.lengths.max() < sum(asked):
        raise ValueError(
            f"{reading.origin.name}: split_rows {asked} asks for {sum(asked):,} rows, and the longest series has "
            f"{int(table.lengths.max()):,}; lower them, or give val_fraction and test_fraction instead"
        )
    firsts, lasts = placed.timestamps[placed.offsets[:-1]], placed.timestamps[placed.offsets[1:] - 1]
    first, last = table.ds(np.array([firsts.min(), lasts.max()]))
    report |= {
        "channels": reading.targets,
        "start": str(first),
        "end": str(last),
        "suspicious": {n: {"value": v, "count": c} for n, (v, c) in reading.suspicious.items()},
    }
    if placed.covariates is not None:
        report["covariates"] = _covariates(placed, reading, len(table))
    report["notes"] = notes(report, reading.origin.option)
    return table


def _covariates(placed: Placed, reading: Reading, series: int) -> dict[str, Any]:
    beside = placed.covariates
    assert beside is not None
    roles = {"past": beside.past, "known": beside.known, "static": beside.static}
    return {
        **{role: columns.names for role, columns in roles.items()},
        "categories": {name: len(v) - ("" in v) for c in roles.values() for name, v in c.levels.items()},
        "calendar": beside.calendar,
        "holidays": beside.holidays,
        "one_per_series": [n for n, v in beside.static.levels.items() if series > 1 and len(v) - ("" in v) == series],
    }
