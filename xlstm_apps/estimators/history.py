"""The end of a table, which is what a saved forecaster keeps of it: as much as its model can see."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xlstm_apps.datasets import Columns, Covariates, SeriesTable
from xlstm_apps.training import files

NAMES = ("item_ids", "channels", "freq", "time_zone", "layout", "time_kind", "month_ends")


def tail_of(table: SeriesTable, length: int) -> SeriesTable:
    """The last `length` rows of every series, and what is known ahead of them."""
    kept = np.minimum(table.lengths, length)
    rows, offsets = last_rows(table.offsets, kept)
    covariates = table.covariates
    if covariates is not None:
        ahead = covariates.known_lengths - table.lengths
        known_rows, known_offsets = last_rows(covariates.known_offsets, kept + ahead)
        covariates = replace(
            covariates,
            past=replace(covariates.past, values=covariates.past.values[rows]),
            known=replace(covariates.known, values=covariates.known.values[known_rows]),
            known_offsets=known_offsets,
        )
    return replace(
        table,
        values=table.values[rows],
        timestamps=table.timestamps[rows],
        offsets=offsets,
        covariates=covariates,
        report={name: table.report.get(name) for name in ("time_column", "id_column", "time_written")},
    )


def last_rows(offsets: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the last `kept[i]` rows of every series, and the offsets of a table of them."""
    new = np.concatenate([[0], np.cumsum(kept)])
    owner = np.repeat(np.arange(len(kept)), kept)
    return offsets[1:][owner] - kept[owner] + (np.arange(len(owner)) - new[:-1][owner]), new


def save_history(table: SeriesTable, folder: Path) -> None:
    """Write `history.npz` and `history.json`."""
    arrays = {"values": table.values, "timestamps": table.timestamps.astype("int64"), "offsets": table.offsets}
    facts: dict[str, Any] = {name: getattr(table, name) for name in NAMES} | {"report": table.report}
    if table.covariates is not None:
        beside = table.covariates
        arrays["known_offsets"] = beside.known_offsets
        facts["covariates"] = {"calendar": beside.calendar, "holidays": beside.holidays}
        for role in ("past", "known", "static"):
            columns: Columns = getattr(beside, role)
            arrays[role] = columns.values
            facts["covariates"][role] = {"names": columns.names, "levels": columns.levels}
    np.savez(folder / "history.npz", **arrays)
    files.write_json(folder / "history.json", facts)


def load_history(folder: Path) -> SeriesTable:
    """Read what `save_history` wrote."""
    facts = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    beside = facts.pop("covariates", None)
    with np.load(folder / "history.npz", allow_pickle=False) as arrays:
        if beside is not None:
            columns = {r: Columns(values=arrays[r], **beside[r]) for r in ("past", "known", "static")}
            facts["covariates"] = Covariates(
                **columns,
                known_offsets=arrays["known_offsets"],
                calendar=beside["calendar"],
                holidays=beside["holidays"],
            )
        return SeriesTable(
            values=arrays["values"],
            timestamps=arrays["timestamps"].astype("datetime64[us]"),
            offsets=arrays["offsets"],
            **facts,
        )
