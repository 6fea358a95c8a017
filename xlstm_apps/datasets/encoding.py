"""Covariates as numbers for a model: scales and vocabularies, from the training part alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .covariates import Columns, Covariates
from .cycles import feature_names
from .moments import moments, pieces
from .table import SeriesTable


@dataclass(frozen=True)
class Scale:
    """(x - mean) / std per series, for the numeric columns of one role."""

    names: list[str]
    """[K]"""
    flags: list[bool]
    """[K]; columns of 0 and 1 in training, which stay as they are."""
    typical: np.ndarray
    """float32 [K]: the median deviation of the series whose values vary. A constant series is divided by it."""
    mean: np.ndarray
    """float32 [S, K]"""
    std: np.ndarray
    """float32 [S, K], above 0."""

    @classmethod
    def fit(cls, columns: Columns, offsets: np.ndarray, ends: np.ndarray, like: "Scale | None" = None) -> "Scale":
        """Statistics of the first `ends[i]` rows of every series; `like` says what flags are and is typical."""
        names = columns.numbers if like is None else like.names
        if not names:
            none = np.empty((len(ends), 0), dtype=np.float32)
            return cls([], [], none[0], none, none)
        places = [columns.names.index(name) for name in names]
        # The usual order is a view; a copy would not do where the rows lie on disk.
        ordered = places == list(range(len(places)))
        values = columns.values[:, : len(places)] if ordered else columns.values[:, places]
        count, mean, deviation = moments(values, offsets, ends)
        flags = like.flags if like is not None else _flags(values, offsets, ends)
        varies = deviation > 1e-6 * np.abs(mean)
        if like is not None:
            typical = like.typical.astype(np.float64)
        else:
            level = np.maximum(np.abs(mean).max(axis=0, initial=0.0), 1.0)
            typical = np.array(
                [np.median(d[v]) if v.any() else top for d, v, top in zip(deviation.T, varies.T, level, strict=True)]
            )
        # A series that hardly varies in training must not be blown up when it does later.
        std = np.maximum(np.where(varies, deviation, typical), 0.01 * typical)
        plain = np.array(flags, dtype=bool)
        mean, std = np.where(plain | (count == 0), 0.0, mean), np.where(plain, 1.0, std)
        return cls(names, flags, typical.astype(np.float32), mean.astype(np.float32), std.astype(np.float32))

    def take(self, rows: np.ndarray, own: "Scale") -> "Scale":
        """In the order of another table; its series that are not known here (row -1) keep their own statistics."""
        seen = (rows >= 0)[:, None]
        return replace(
            self, mean=np.where(seen, self.mean[rows], own.mean), std=np.where(seen, self.std[rows], own.std)
        )

    def to_dict(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("typical", "mean", "std")}
        return {"names": self.names, "flags": self.flags, **arrays}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Scale":
        k = len(data["names"])
        typical, mean, std = (np.asarray(data[name], dtype=np.float32) for name in ("typical", "mean", "std"))
        shape = (len(data["mean"]), k)  # k may be 0
        return cls(data["names"], data["flags"], typical.reshape(k), mean.reshape(shape), std.reshape(shape))


@dataclass(frozen=True)
class CovariateEncoding:
    """How covariates become the `past`, `known`, `static` numbers and codes of a batch. Part of a `Scaler`.

    Code 0 stands for a value that is missing or that training did not see. Categories among the past covariates become
    one column of 0 and 1 per value.
    """

    past: Scale
    known: Scale
    static: Scale
    """One row, S = 1: over all series."""
    past_levels: dict[str, list[str]]
    known_levels: dict[str, list[str]]
    """Values of each category in training, in order: code i + 1."""
    static_levels: dict[str, list[str]]
    calendar: list[str]
    """Names of the calendar features, after the named ones in `known`."""
    holidays: str | None = None

    @classmethod
    def fit(
        cls, table: SeriesTable, train_ends: Sequence[int] | np.ndarray, like: "CovariateEncoding | None" = None
    ) -> "CovariateEncoding | None":
        """From the first `train_ends[i]` rows of every series; None where the table has no covariates.

        Args:
            like: an encoding whose flags and typical deviations to take over, for series it has not seen.
        """
        raw = table.covariates
        if raw is None:
            return None
        ends = np.asarray(train_ends, dtype=np.int64)
        one, trained = np.array([0, len(table)]), np.array([len(table)])
        return cls(
            past=Scale.fit(raw.past, table.offsets, ends, like and like.past),
            known=Scale.fit(raw.known, raw.known_offsets, ends, like and like.known),
            static=Scale.fit(raw.static, one, trained, like and like.static),
            past_levels=_vocabulary(raw.past, table.offsets, ends),
            known_levels=_vocabulary(raw.known, raw.known_offsets, ends, raw.holidays),
            static_levels=_vocabulary(raw.static, one, trained),
            calendar=feature_names(table.freq) if raw.calendar else [],
            holidays=raw.holidays,
        )

    @property
    def sizes(self) -> dict[str, Any]:
        """Widths of the batch's tensors, and how many codes each category has, code 0 among them."""
        return {
            "past": len(self.names["past"]),
            "known": len(self.names["known"]),
            "known_codes": [1 + len(levels) for levels in self.known_levels.values()],
            "static": len(self.names["static"]),
            "static_codes": [1 + len(levels) for levels in self.static_levels.values()],
        }

    @property
    def names(self) -> dict[str, list[str]]:
        """What the last axis of each of the batch's tensors holds."""
        return {
            "past": [*self.past.names, *(f"{n}={v}" for n, levels in self.past_levels.items() for v in levels)],
            "known": [*self.known.names, *self.calendar],
            "known_codes": list(self.known_levels),
            "static": list(self.static.names),
            "static_codes": list(self.static_levels),
        }

    @property
    def options(self) -> dict[str, Any]:
        """The fields of `SeriesData` that read a new table with the covariates of this one."""
        roles = {
            "past_covariates": [*self.past.names, *self.past_levels],
            "known_covariates": [n for n in (*self.known.names, *self.known_levels) if n != self.holidays],
            "static_covariates": [*self.static.names, *self.static_levels],
        }
        codes = [n for n in (*self.past_levels, *self.known_levels, *self.static_levels) if n != self.holidays]
        return {
            **roles,
            "categorical_covariates": codes,
            "holidays_column": self.holidays,
            "calendar": bool(self.calendar),
        }

    def for_table(self, table: SeriesTable, rows: np.ndarray) -> "CovariateEncoding":
        """The same in the order of another table.

        Args:
            rows: int64 [S], where each series of that table is here; -1: unknown, it is scaled by its own rows.

        Raises:
            ValueError: the table has other covariates.
        """
        self.check(table)
        own = CovariateEncoding.fit(table, table.lengths, self)
        assert own is not None
        return replace(self, past=self.past.take(rows, own.past), known=self.known.take(rows, own.known))

    def check(self, table: SeriesTable) -> None:
        """Raises ValueError unless the table has these covariates, each of the same kind."""
        raw = table.covariates or Covariates(Columns(), Columns(), table.offsets, Columns())
        for role, scale, levels in (
            ("past", self.past, self.past_levels),
            ("known", self.known, self.known_levels),
            ("static", self.static, self.static_levels),
        ):
            columns: Columns = getattr(raw, role)
            wanted, found = [*scale.names, *levels], columns.names
            if set(wanted) != set(found):
                raise ValueError(
                    f"the table has the {role} covariates {found}, but the model was trained with {wanted}; name the "
                    "same columns"
                )
            for name in wanted:
                if (name in levels) != (name in columns.levels):
                    kinds = ("categories", "numbers") if name in levels else ("numbers", "categories")
                    advice = (
                        f"read it with categorical_covariates [{name}]" if name in levels else "mend its text cells"
                    )
                    raise ValueError(
                        f"column {name!r} held {kinds[0]} in training and holds {kinds[1]} in this table; {advice}"
                    )
        if bool(self.calendar) != raw.calendar:
            raise ValueError(f"the model was trained with calendar {bool(self.calendar)}; read the table with the same")

    def unseen(self, table: SeriesTable) -> dict[str, list[str]]:
        """Values of categories that training did not see, by column: they count as unknown."""
        raw, out = table.covariates, {}
        for role in ("past", "known", "static") if raw is not None else ():
            for name, levels in getattr(self, f"{role}_levels").items():
                new = [v for v in getattr(raw, role).levels.get(name, []) if v != "" and v not in levels]
                out |= {name: new} if new else {}
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; floats keep their float32 value exactly."""
        scales = {role: getattr(self, role).to_dict() for role in ("past", "known", "static")}
        return {
            **scales,
            "past_levels": self.past_levels,
            "known_levels": self.known_levels,
            "static_levels": self.static_levels,
            "calendar": self.calendar,
            "holidays": self.holidays,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CovariateEncoding":
        scales = {role: Scale.from_dict(data[role]) for role in ("past", "known", "static")}
        return cls(**{**data, **scales})


def _flags(values: np.ndarray, offsets: np.ndarray, ends: np.ndarray) -> list[bool]:
    plain = np.ones(values.shape[1], dtype=bool)
    for rows, _, inside in pieces(offsets, ends):
        x = values[rows][inside]
        plain &= ((x == 0) | (x == 1) | np.isnan(x)).all(axis=0)
    return plain.tolist()


def _vocabulary(
    columns: Columns, offsets: np.ndarray, ends: np.ndarray, holidays: str | None = None
) -> dict[str, list[str]]:
    """The values seen in training, sorted, so that nothing about later rows shows in their order."""
    out = {}
    for name, levels in columns.levels.items():
        place = columns.names.index(name)
        seen = np.zeros(len(levels), dtype=bool)
        for rows, _, inside in pieces(offsets, ends):
            x = columns.values[rows, place][inside]
            seen[x[~np.isnan(x)].astype(np.int64)] = True
        # An empty cell is a missing value, but on a holidays column it says that there is none.
        out[name] = sorted(v for v, s in zip(levels, seen, strict=True) if s and (v != "" or name == holidays))
    return out
