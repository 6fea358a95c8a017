"""Covariate columns of a frame: numbers, true / false, or categories; every mistake is named with its cell."""

import numpy as np
import polars as pl

from .config import SeriesData
from .delimited import Origin, suggest
from .layout import bad_number
from .numbers import NumberFormat, missing_cells, understand

_TRUE = ("true", "t", "yes")


class CovariateReader:
    """Reads the covariate columns of one frame after another. What a column holds is decided by the first frame; its
    categories are numbered as they appear.
    """

    def __init__(self, data: SeriesData, frame: pl.DataFrame, how: NumberFormat, origin: Origin, whole: bool = True):
        """
        Args:
            frame: the first frame.
            whole: whether there is no further one.

        Raises:
            ValueError: a column does not exist, is empty or holds dates.
        """
        self.how, self.holidays = how, data.holidays_column
        holidays = [] if data.holidays_column is None else [data.holidays_column]
        self.roles = {
            "past": list(data.past_covariates),
            "known": [*data.known_covariates, *holidays],
            "static": list(data.static_covariates),
        }
        for option in ("past_covariates", "known_covariates", "static_covariates", "holidays_column"):
            named = getattr(data, option)
            for name in named if isinstance(named, list) else [named] if named else []:
                if name not in frame.columns:
                    value = [name] if isinstance(named, list) else name
                    raise ValueError(
                        f"{origin.name}: {origin.option(option, value)}: no such column; {suggest(name, frame.columns)}"
                    )
        self.levels: dict[str, dict[str, int]] = {}
        """Number of each value of each category."""
        self.kinds: dict[str, str] = {}
        for name in self.names:
            kind = understand(frame[name], how).kind
            if kind == "empty" and name not in self.roles["static"] and whole:
                raise ValueError(f"{origin.column(name)}: the covariate is empty; fill it in or leave it out")
            if kind == "stamp":
                raise ValueError(
                    f"{origin.column(name)}: it holds dates, which are no covariate; "
                    f"{origin.option('calendar', True)} adds what the calendar says of each row"
                )
            self.kinds[name] = "number" if kind == "empty" else kind
            if name == data.holidays_column or kind == "text" or name in data.categorical_covariates:
                self.levels[name] = {}
        # Numbers first in every role, so that their scales can be taken from a view.
        for role, names in self.roles.items():
            self.roles[role] = sorted(names, key=lambda n: n in self.levels)

    @property
    def names(self) -> list[str]:
        return [name for names in self.roles.values() for name in names]

    def read(self, frame: pl.DataFrame, role: str, origin: Origin) -> np.ndarray:
        """The columns of one role: float64 [N, K], categories by number, NaN where a number is missing.

        Raises:
            ValueError: a cell is no number in a column of numbers.
        """
        columns = [self._one(frame[name], origin) for name in self.roles[role]]
        return np.column_stack(columns) if columns else np.empty((frame.height, 0))

    def levels_of(self, role: str) -> dict[str, list[str]]:
        """The values of each category of a role, by number."""
        return {name: list(self.levels[name]) for name in self.roles[role] if name in self.levels}

    def check_levels(self, rows: int, origin: Origin) -> None:
        """Raises ValueError for a category that names the rows one by one."""
        for name in (*self.roles["past"], *self.roles["known"]):
            count = len(self.levels.get(name, ()))
            if rows > 10 and count * 2 > rows:
                raise ValueError(
                    f"{origin.column(name)}: {count:,} different values in {rows:,} rows tell a model nothing as "
                    "categories; leave the column out, or write numbers if it holds amounts"
                )

    def _one(self, column: pl.Series, origin: Origin) -> np.ndarray:
        name, kind = column.name, self.kinds[column.name]
        if name in self.levels:
            return self._numbered(name, self._texts(column, kind, origin))
        if kind == "flag":
            return self._flags(column, origin).cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return amounts(column, self.how, origin)

    def _flags(self, column: pl.Series, origin: Origin) -> pl.Series:
        if column.dtype == pl.Boolean:
            return column
        cells = column.cast(pl.String).str.strip_chars()
        low = cells.str.to_lowercase()
        missing = missing_cells(cells, self.how.missing_text)
        known = low.is_in([*_TRUE, "false", "f", "no"])
        if not (known | missing).all():
            row = int((~(known | missing)).arg_true()[0])
            raise ValueError(
                f"{origin.cell(row, column.name)}: {cells[row]!r} is neither true nor false; mend the cell"
            )
        return low.is_in(_TRUE).set(missing, None)

    def _texts(self, column: pl.Series, kind: str, origin: Origin) -> pl.Series:
        """Values of a category as text, "" where missing."""
        if kind == "flag":
            flags = self._flags(column, origin)
            if column.name == self.holidays:
                return pl.select(pl.when(flags).then(pl.lit("holiday")).otherwise(pl.lit(""))).to_series()
            return flags.cast(pl.String).fill_null("")
        if kind == "number":
            values = pl.Series(amounts(column, self.how, origin)).fill_nan(None)
            whole = (values == values.round()).all() and bool((values.abs() < 2**53).all())
            texts = (values.cast(pl.Int64) if whole else values).cast(pl.String).fill_null("")
            return texts.replace({"0": "", "0.0": ""}) if column.name == self.holidays else texts
        cells = column.cast(pl.String).str.strip_chars()
        return cells.set(missing_cells(cells, self.how.missing_text), "").fill_null("")

    def _numbered(self, name: str, texts: pl.Series) -> np.ndarray:
        levels = self.levels[name]
        distinct = texts.unique(maintain_order=True)
        for value in distinct:
            levels.setdefault(value, len(levels))
        number = texts.replace_strict(distinct, [levels[v] for v in distinct], return_dtype=pl.Float64)
        return number.to_numpy()


def amounts(column: pl.Series, how: NumberFormat, origin: Origin) -> np.ndarray:
    """A column that must hold numbers: float64 [N], NaN where missing.

    Raises:
        ValueError: a cell is no number.
    """
    understood = understand(column, how)
    if understood.kind == "empty":
        return np.full(len(column), np.nan)
    if understood.kind != "number":
        cells = column.cast(pl.String).str.strip_chars()
        understood.bad = (~missing_cells(cells, how.missing_text)).arg_true().to_numpy()
        understood.bad_text = str(cells[int(understood.bad[0])])
    if understood.bad is not None and len(understood.bad):
        raise bad_number(understood, origin)
    assert understood.values is not None
    return understood.values


def constant_per_series(
    values: np.ndarray,
    codes: np.ndarray,
    series: int,
    reader: CovariateReader,
    item_ids: list[str] | None,
    source: np.ndarray,
    origin: Origin,
) -> np.ndarray:
    """Static covariates: float32 [S, G] from rows [N, G], empty cells left out.

    Raises:
        ValueError: the table is wide, or a column varies within a series; names both cells.
    """
    out = np.full((series, values.shape[1]), np.nan, dtype=np.float32)
    for g, name in enumerate(reader.roles["static"]):
        if item_ids is None:
            raise ValueError(
                f"{origin.column(name)}: a static covariate tells series apart, and a wide table is one series; "
                "leave it out, or give the table in long form"
            )
        x = values[:, g]
        empty = reader.levels.get(name, {}).get("")
        seen = np.flatnonzero(~np.isnan(x) if empty is None else x != empty)
        of, first = np.unique(codes[seen], return_index=True)
        first = seen[first]
        usual = np.full(series, np.nan)
        usual[of] = x[first]
        differs = seen[x[seen] != usual[codes[seen]]]
        if len(differs):
            row = int(differs[0])
            before = int(first[np.searchsorted(of, codes[row])])
            shown = list(reader.levels[name]) if name in reader.levels else None
            here, there = (shown[int(x[r])] if shown else f"{x[r]:g}" for r in (row, before))
            earlier = origin.where(int(source[before])).removeprefix(f"{origin.name} ")
            raise ValueError(
                f"{origin.cell(int(source[row]), name)}: {here!r}, but series {item_ids[codes[row]]!r} has {there!r} "
                f"in {earlier}; a static covariate has one value per series: mend the cell, or name the column in "
                "known_covariates or past_covariates"
            )
        out[:, g] = usual
        if empty is not None:
            out[np.isnan(out[:, g]), g] = empty
    return out
