"""evaluation/comparison.csv: a row for each model, and what every metric says of it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from . import charts
from .blocks import Cell
from .run import Run, numbers


@dataclass(frozen=True)
class ScoreTable:
    """The table, read."""

    frame: pl.DataFrame
    ours: str

    @property
    def models(self) -> list[str]:
        return self.frame["model"].to_list()

    def values(self, metric: str) -> list[float | None]:
        """Those of all models; None for what is no number."""
        return numbers(self.frame, metric) if self.frame.schema[metric] == pl.Float64 else [None] * len(self.frame)

    def value(self, model: str | None, metric: str) -> float | None:
        if model is None or metric not in self.frame.columns:
            return None
        return dict(zip(self.models, self.values(metric), strict=True)).get(model)


def rows_of_models(run: Run, *metrics: str) -> pl.DataFrame | None:
    """The rows, the first of each model, or None where the file or one of the metrics is missing."""
    frame = run.table("evaluation/comparison.csv", "model", *metrics)
    if frame is None:
        return None
    return frame.filter(pl.col("model").is_not_null()).unique("model", keep="first", maintain_order=True)


def model_cell(scores: ScoreTable, name: str, title: str) -> Cell:
    """A model in a table, with the colour it has in the charts."""
    color, _ = charts.model_looks(scores.models, scores.ours)[name]
    return Cell(text=charts.shorten(title, 60), sort=name, mark=color)
