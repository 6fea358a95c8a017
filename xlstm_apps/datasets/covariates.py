"""What is known beside the targets: past, known and static covariates as they were read, before any scaling."""

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Columns:
    """Columns of one role: first those of numbers, then those of categories."""

    names: list[str] = field(default_factory=list)
    """[K]"""
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """float32 [N, K]; a category by its place in `levels`; NaN where missing."""
    levels: dict[str, list[str]] = field(default_factory=dict)
    """The values of the columns that hold categories; an empty cell is the level ""."""

    @property
    def numbers(self) -> list[str]:
        """Names of the columns of numbers."""
        return [name for name in self.names if name not in self.levels]


@dataclass(frozen=True)
class Covariates:
    """Covariates of a `SeriesTable`, in flat arrays as its values are; raw: `CovariateEncoding` scales and codes them.

    Known covariates have an axis of their own, since it reaches further: rows `known_offsets[i]:known_offsets[i + 1]`
    belong to series i and begin with its first row.
    """

    past: Columns
    """Rows as in the table: [N, P]."""
    known: Columns
    """[M, F], M >= N."""
    known_offsets: np.ndarray
    """int64 [S + 1]; no series has fewer rows here than in the table."""
    static: Columns
    """One row per series: [S, G]."""
    calendar: bool = False
    """Whether features of the stamps belong to the known covariates; they are computed when windows are cut."""
    holidays: str | None = None
    """The known covariate that marks holidays; its empty cells mean "none"."""

    @property
    def known_lengths(self) -> np.ndarray:
        """Rows of each series with its future rows: int64 [S]."""
        return np.diff(self.known_offsets)

    def until(self, keep: np.ndarray) -> "Covariates":
        """Only those rows (bool [N]) of the past; what was known ahead stays known."""
        return replace(self, past=replace(self.past, values=self.past.values[keep]))
