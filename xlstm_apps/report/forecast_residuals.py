"""Section of the residuals: what the errors look like, and whether they hold something the model could have used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from xlstm_apps.enumeration import listed

from . import residual_charts as figures
from .blocks import Block, Chart, Row, Section
from .diagnostics import Shape, autocorrelation, clock, spread
from .forecast_data import Summary
from .numbers import MINUS, count, frequency, percent, significant, span
from .run import Run, number, numbers
from .scores import Scores

FILE = "evaluation/residuals.csv"
MIN_ROWS = 30
TIME_BINS = 40
MAX_LAGS = 192
MIN_SUCCESSIVE = 20
HEIGHT = 300
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def residuals(run: Run) -> Section | None:
    """Distribution, autocorrelation, and residuals over time, by hour, weekday or month and by step."""
    frame = run.table(FILE, "unique_id", "ds", "row", "step", "residual", "part")
    if frame is None:
        return None
    view = View(run, frame)
    if len(view.paths) < MIN_ROWS:
        run.absent[FILE] = f"has {count(len(view.paths), 'usable residual')}, too few to draw"
        return None
    shape = Shape.of(view.paths["z"].to_numpy())
    shown = [_distribution(view, shape), _correlation(view), *_calendar(view), _by_step(view), _over_time(view)]
    charts = [chart for chart in shown if chart is not None]
    blocks: list[Block] = []
    for first in range(0, len(charts), 2):
        pair: list[Block] = [*charts[first : first + 2]]
        blocks.append(Row(blocks=pair) if len(pair) > 1 else pair[0])
    return Section(id="residuals", title="Residuals", lead=_lead(view, shape), blocks=blocks)


@dataclass(frozen=True)
class View:
    """The sample of residuals, brought to one scale: `z` is the residual in `unit`."""

    run: Run
    frame: pl.DataFrame

    @cached_property
    def summary(self) -> Summary:
        return Summary.read(self.run)

    @cached_property
    def names(self) -> list[str]:
        return self.frame["unique_id"].unique(maintain_order=True).to_list()

    @cached_property
    def scaled(self) -> pl.DataFrame:
        """Rows with a finite `z`; series without a scale (those forecast without error) are left out."""
        frame = self.frame.filter(pl.col("residual").is_finite())
        if len(self.names) == 1:
            return frame.with_columns(z=pl.col("residual"))
        own = frame.group_by("unique_id").agg(own=pl.col("residual").pow(2).mean().sqrt())
        known = pl.DataFrame(
            {"unique_id": list(self._scales), "scale": list(self._scales.values())},
            schema={"unique_id": pl.String, "scale": pl.Float64},
        )
        frame = frame.join(own, on="unique_id", how="left", maintain_order="left")
        frame = frame.join(known, on="unique_id", how="left", maintain_order="left")
        return frame.with_columns(z=pl.col("residual") / pl.coalesce("scale", "own")).filter(pl.col("z").is_finite())

    @cached_property
    def paths(self) -> pl.DataFrame:
        frame = self.scaled.filter(pl.col("part") == "path")
        return frame.with_columns(clock(frame["ds"]).alias("clock"))

    @cached_property
    def by_baseline(self) -> bool:
        """Whether the scale is the baseline's error in training: short series have too few targets for their own."""
        windows, items = self.summary.windows.get("test"), self.summary.number("series")
        steps = number(self.run.option("head.prediction_length"))
        return bool(windows and items and steps and windows / items * steps < 50)

    @cached_property
    def _scales(self) -> dict[str, float]:
        """Of every series: its root mean squared error over all that was scored, or the unit of its MASE."""
        frame = self.run.table("evaluation/series.csv") if self.run.has("evaluation/series.csv") else None
        needed = {"unique_id", "model", "mae", "mase"} if self.by_baseline else {"unique_id", "model", "rmse"}
        scores = Scores.read(self.run)
        if frame is None or scores is None or not needed <= {*frame.columns}:
            return {}
        scale = pl.col("mae") / pl.col("mase") if self.by_baseline else pl.col("rmse")
        frame = frame.filter(pl.col("model") == scores.ours).with_columns(scale=scale)
        frame = frame.filter(pl.col("scale").is_finite() & (pl.col("scale") > 0)).unique("unique_id")
        return dict(zip(frame["unique_id"].to_list(), numbers(frame, "scale"), strict=True))  # type: ignore[arg-type]

    @cached_property
    def correlations(self) -> tuple[list[float], float, int, int] | None:
        """Mean autocorrelation by lag, its bound, over how many series, and the rows between two cutoffs."""
        firsts = self.scaled.filter((pl.col("part") == "first") & pl.col("row").is_finite())
        parts = [part.unique("row").sort("row") for part in firsts.partition_by("unique_id")]
        parts = [part for part in parts if len(part) >= MIN_SUCCESSIVE]
        if not parts:
            return None
        rows = [part["row"].cast(pl.Int64).to_numpy() for part in parts]
        stride = int(np.gcd.reduce(np.concatenate([np.diff(row) for row in rows])))
        if max(row[-1] - row[0] for row in rows) // stride > 1_000_000:
            return None  # no numbers of rows
        wanted = 2 * self.season // stride + 1 if self.season else 0
        lags = max(1, min(max(wanted, 24), MAX_LAGS, max(map(len, rows)) // 4))
        found = [
            autocorrelation((row - row[0]) // stride, part["z"].to_numpy(), lags)
            for row, part in zip(rows, parts, strict=True)
        ]
        known = np.array([one for one in found if one is not None])
        if not np.isfinite(known).any():
            return None
        total = np.isfinite(known).sum(axis=0)
        mean = np.divide(np.nansum(known, axis=0), total, out=np.full(lags, np.nan), where=total > 0)
        return mean.tolist(), 1.96 / math.sqrt(float(np.median([*map(len, rows)]))), len(known), stride

    @property
    def unit(self) -> str:
        """Title of an axis of residuals."""
        if len(self.names) == 1:
            return "residual"
        return "residual / seasonal naive's error" if self.by_baseline else "residual / RMSE of its series"

    @property
    def season(self) -> int | None:
        found = number(self.run.option("season"))
        return int(found) if found is not None and found > 1 else None


def _distribution(view: View, shape: Shape) -> Chart | None:
    if shape.deviation == 0:
        return None
    values = view.paths["z"].to_numpy()
    beyond = float((np.abs(values) > figures.REACH * shape.deviation).mean())
    caption = f"Beyond three standard deviations: {percent(shape.extreme, 1)}; of a normal distribution, 0.3\xa0%."
    if beyond:
        caption += f" Not drawn: {percent(beyond, 1)} further out."
    return Chart(
        figure=figures.histogram(values, shape, view.unit),
        alt=f"Distribution of the residuals. {caption}",
        caption=caption,
        height=HEIGHT,
    )


def _correlation(view: View) -> Chart | None:
    found = view.correlations
    if found is None:
        return None
    correlations, bound, series, stride = found
    season = view.season // stride if view.season and view.season % stride == 0 else None
    lasts = span(stride, view.summary.frequency)
    axis = f"lag, cutoffs ({lasts} apart)" if lasts else f"lag, cutoffs {count(stride, 'step')} apart"
    caption = "Of the errors one step ahead; those further ahead share steps, so they are related anyway."
    if series > 1:
        caption += f" Mean of {series} series; the bounds are those of one."
    return Chart(
        figure=figures.stems(correlations, bound, season if season and season > 1 else None, axis),
        alt=f"Autocorrelation of the residuals up to lag {len(correlations)}. {caption}",
        caption=caption,
        height=HEIGHT,
    )


def _calendar(view: View) -> list[Chart]:
    """By hour and weekday, or weekday and month: whatever the steps of the table tell apart."""
    stamps = view.paths["clock"].drop_nulls()
    if stamps.is_empty():
        return []
    _, unit = frequency(view.summary.frequency) or (0, "")
    days = float((stamps.max() - stamps.min()).total_seconds()) / 86400  # type: ignore[operator, union-attr]
    charts = []
    if stamps.dt.hour().n_unique() > 2 and unit not in ("day", "week", "month", "quarter", "year"):
        charts.append(_groups(view, pl.col("clock").dt.hour(), "hour of the day", [f"{h:02d}" for h in range(24)], 0))
    if unit not in ("week", "month", "quarter", "year") and stamps.dt.weekday().n_unique() > 2 and days >= 14:
        charts.append(_groups(view, pl.col("clock").dt.weekday(), "day of the week", _DAYS, 1))
    if len(charts) < 2 and stamps.dt.month().n_unique() > 2 and days >= 300:
        charts.append(_groups(view, pl.col("clock").dt.month(), "month", _MONTHS, 1))
    return [chart for chart in charts if chart is not None]


def _groups(view: View, key: pl.Expr, words: str, names: tuple[str, ...] | list[str], first: int) -> Chart | None:
    table = spread(view.paths.with_columns(key=key.cast(pl.Int64)), "key", "z").filter(pl.col("middle").is_not_null())
    if len(table) < 2:
        return None
    x = [names[key - first] for key in table["key"].to_list()]
    figure = figures.band(
        x, table, axis=words, unit=view.unit, points=True, type="category", **({"dtick": 3} if len(x) > 12 else {})
    )
    return Chart(
        figure=figure,
        alt=f"Residuals by {words}: median and middle 80 %.",
        caption=f"By {words}: median, and the range of the middle 80\xa0%.",
        height=HEIGHT,
    )


def _by_step(view: View) -> Chart | None:
    table = spread(view.paths, "step", "z").filter(pl.col("middle").is_not_null())
    if len(table) < 2:
        return None
    return Chart(
        figure=figures.band(numbers(table, "step"), table, axis="steps ahead", unit=view.unit),
        alt="Residuals by steps ahead: median and middle 80 %.",
        caption="By distance: a median away from zero is a bias that depends on the step.",
        height=HEIGHT,
    )


def _over_time(view: View) -> Chart | None:
    """Through the test part, in stretches of equal length."""
    frame = view.paths
    stamped = frame["clock"].is_not_null().all()
    time = pl.col("clock").cast(pl.Int64) if stamped else pl.col("ds").cast(pl.Int64, strict=False)
    frame = frame.with_columns(time=time).drop_nulls("time")
    if frame["time"].n_unique() < 3:
        return None
    low, high = frame["time"].min(), frame["time"].max()
    bins = min(TIME_BINS, max(3, len(frame) // 20))
    width = (high - low) / bins  # type: ignore[operator]
    key = ((pl.col("time") - low) / width).floor().clip(0, bins - 1).cast(pl.Int64)
    table = spread(frame.with_columns(key=key), "key", "z").filter(pl.col("middle").is_not_null())
    if len(table) < 3:
        return None
    middles = [int(low + (key + 0.5) * width) for key in table["key"].to_list()]  # type: ignore[operator]
    x = pl.Series(middles).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M").to_list() if stamped else middles
    return Chart(
        figure=figures.band(x, table, axis="" if stamped else "row", unit=view.unit),
        alt="Residuals over the test part: median and middle 80 %.",
        caption="Over the test part: a drift means that the data moved away from what was learned.",
        height=HEIGHT,
    )


def _lead(view: View, shape: Shape) -> str:
    series = count(view.paths["unique_id"].n_unique(), "series", "series")
    words = f"What happened minus the median forecast: {len(view.paths):,} of the scored targets, from {series}. "
    words += f"The truth was above the median forecast {percent(shape.above)} of the time"
    bias = shape.mean / shape.deviation if shape.deviation else 0.0
    if abs(shape.above - 0.5) <= 0.03 and abs(bias) <= 0.1:
        words += ": no bias to speak of."
    else:
        much = significant(abs(shape.mean)) if len(view.names) == 1 else f"{abs(bias):.2f} of a standard deviation"
        words += f" and {'higher' if bias > 0 else 'lower'} than it by {much} on average."
    return f"{words} {_correlation_words(view)}".strip()


def _correlation_words(view: View) -> str:
    found = view.correlations
    if found is None or not math.isfinite(found[0][0]):
        return ""
    correlations, bound, _, stride = found
    lags = {1: "from one cutoff to the next"}
    if view.season and view.season % stride == 0 and 1 < view.season // stride <= len(correlations):
        lags[view.season // stride] = "over one season"
    strong = [
        f"{correlations[lag - 1]:.2f} {words}".replace("-", MINUS)
        for lag, words in lags.items()
        if abs(correlations[lag - 1]) > max(bound, 0.1)
    ]
    if not strong:
        return "Knowing one error hardly tells the next."
    return f"Errors one step ahead are correlated ({listed(strong)}): part of them could still be forecast."
