"""Reads a run folder, each file optional, and remembers what was asked for and not there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import yaml

TEXT_COLUMNS = frozenset({"unique_id", "ds", "cutoff", "model", "part"})
"""Columns that stay text: a series named 007 is not the number 7, and time stamps are shown as they were written."""


class Run:
    """The files of one run folder, read on demand and once.

    A file that is missing or cannot be read is no error: reading gives None, and `absent` says why. A half-finished run
    therefore has a report too, which names what it does not show.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is not a run folder: give the folder that a train command wrote")
        self.absent: dict[str, str] = {}
        self._cache: dict[tuple[str, str], Any] = {}

    def text(self, name: str) -> str | None:
        """A text file's content."""
        return self._once(name, lambda path: path.read_text(encoding="utf-8"))

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object; empty when there is none."""
        return self._once(name, _read_object) or {}

    def table(self, name: str, *needed: str, text: Collection[str] = ()) -> pl.DataFrame | None:
        """A CSV file as a frame, numbers as Float64 (null for what is none); None without rows or `needed` columns.

        Args:
            text: Columns of this file that stay text, beside `TEXT_COLUMNS`.
        """
        frame = self._once(name, partial(_read_csv, text=frozenset(text)), kind=",".join(sorted(text)))
        if frame is None:
            return None
        lacking = [column for column in needed if column not in frame.columns]
        if lacking:
            self.absent[name] = f"has no column {', '.join(lacking)}"
            return None
        return frame

    def has(self, name: str) -> bool:
        """Whether a file is there; asking is not counted as missing it."""
        return (self.path / name).is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """run.json: task, status, seed, seconds, versions, device, parameters, best_epoch, command."""
        return self.json("run.json")

    @property
    def task(self) -> str:
        """By run.json; a folder without one is known by its configuration. Empty when it is not known."""
        named = self.facts.get("task")
        if named is None and self.option("head.prediction_length") is not None:
            return "forecast"
        return "" if named is None else str(named)

    @property
    def finished(self) -> bool:
        return self.facts.get("status") == "finished"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def option(self, name: str) -> Any:
        """A setting by its dotted name, such as `head.context_length`: as resolved by the run, else as configured."""
        for value in (self.facts.get("resolved"), self._once("config.yaml", _read_yaml, kind="yaml")):
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None:
                return value
        return None

    def _once(self, name: str, read: Callable[[Path], Any], kind: str = "") -> Any:
        key = (name, kind)
        if key not in self._cache:
            self._cache[key] = None
            try:
                self._cache[key] = read(self.path / name)
            except FileNotFoundError:
                self.absent[name] = "not written"
            except pl.exceptions.NoDataError:
                self.absent[name] = "empty"
            except (OSError, ValueError, yaml.YAMLError, pl.exceptions.PolarsError) as error:
                self.absent[name] = f"cannot be read ({type(error).__name__})"
        return self._cache[key]


def number(value: Any) -> float | None:
    """A finite number out of a JSON or YAML file, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer too large for any number meant here
        return None


def numbers(frame: pl.DataFrame, column: str) -> list[float | None]:
    """A numeric column as a list, None where there is no number; infinity is one."""
    return [None if value is None or math.isnan(value) else value for value in frame[column].to_list()]


def quantile_columns(frame: pl.DataFrame) -> list[str]:
    """Names of the quantile columns (those that are numbers between 0 and 1), in rising order."""
    levels = {}
    for name in frame.columns:
        try:
            level = float(name)
        except ValueError:
            continue
        if 0 < level < 1:
            levels[name] = level
    return sorted(levels, key=levels.__getitem__)


def _read_object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _read_yaml(path: Path) -> dict[str, Any]:
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a YAML mapping")
    return value


def _read_csv(path: Path, text: frozenset[str] = frozenset()) -> pl.DataFrame:
    frame = pl.read_csv(path, infer_schema=False)
    if frame.is_empty():
        raise pl.exceptions.NoDataError(str(path))
    words = (TEXT_COLUMNS | text) & {*frame.columns}
    numeric = [name for name in frame.columns if name not in words]
    if "unique_id" in frame.columns:
        frame = frame.with_columns(pl.col("unique_id").fill_null(""))  # an empty name is a name
    return frame.with_columns(pl.col(numeric).cast(pl.Float64, strict=False), pl.col(words))
