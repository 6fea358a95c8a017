"""What the comparison table says: the model, the baseline to beat, and a verdict that does not flatter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from .blocks import Tone
from .numbers import percent, significant
from .run import Run, numbers, quantile_columns
from .score_table import ScoreTable, rows_of_models

REFERENCE = "seasonal_naive"
"""The baseline skill is measured against, where the table has it."""

TITLES = {
    "xlstm": "xLSTM", "xlstm-ens": "xLSTM ensemble", "xlstm-time": "xLSTMTime", "p-slstm": "P-sLSTM",
    "xlstm-mixer": "xLSTM-Mixer", "nlinear": "NLinear", "dlinear": "DLinear", "patchtst": "PatchTST",
    "itransformer": "iTransformer", "seasonal_naive": "seasonal naive", "naive": "naive", "naive2": "Naive2",
    "auto_ets": "AutoETS", "autoets": "AutoETS",
    "mae": "MAE", "mse": "MSE", "rmse": "RMSE", "mase": "MASE", "wql": "WQL", "smape": "sMAPE", "owa": "OWA",
    "mape": "MAPE", "crps": "CRPS", "coverage": "coverage",
}  # fmt: skip

XLSTMS = ("xlstm", "xlstm-ens", "xlstm-time", "p-slstm", "xlstm-mixer")
"""Forecasters that are xLSTMs, among those of `head.model`."""

MEANINGS = {
    "mae": "mean absolute error, in the data's own unit; lower is better",
    "mse": "mean squared error; lower is better",
    "rmse": "root of the mean squared error, in the data's own unit; lower is better",
    "mase": "mean absolute error as a multiple of the seasonal naive's error on the training part; lower is better",
    "wql": "weighted quantile loss, the error of the whole distribution; lower is better",
    "smape": "symmetric mean absolute percentage error; lower is better",
    "owa": "mean of sMAPE and MASE, each as a share of Naive2's; below 1 is better than Naive2",
    "coverage": "share of the truth inside the outermost interval; the nearer to its nominal share the better",
}

_COVERAGE = re.compile(r"coverage(?:_(\d+(?:\.\d+)?))?")
_RAW = "_raw"
"""Ends the name of a column of the model's own quantiles, before conformal calibration."""

_SAME = 0.01
"""Relative difference below which two errors are called the same."""


def title(name: str) -> str:
    """A model's or metric's name as people write it."""
    if name.startswith("coverage_") and (found := _COVERAGE.fullmatch(name)):
        return f"{float(found[1]):g}\N{NO-BREAK SPACE}% coverage"
    return TITLES.get(name.lower(), name.replace("_", " "))


def is_coverage(metric: str) -> bool:
    """Whether a metric is the share of the truth inside an interval."""
    return _COVERAGE.fullmatch(metric) is not None


@dataclass(frozen=True)
class Scores(ScoreTable):
    """evaluation/comparison.csv of a forecast, read."""

    nominal: float | None
    """Share the outermost interval should cover."""

    @classmethod
    def read(cls, run: Run) -> Scores | None:
        """The comparison, or None while there is none. Ours is the `model` of run.json, else the first row."""
        frame = rows_of_models(run, "mae")
        if frame is None or frame.is_empty():
            return None
        ours = run.facts.get("model")
        return cls(frame, ours if ours in frame["model"] else frame["model"][0], nominal_coverage(run))

    @property
    def metrics(self) -> list[str]:
        """Columns that hold numbers, in the file's order; those from before calibration are not for comparing.

        The outermost interval's coverage is left out where its share has a column of its own.
        """
        names = [name for name in self.frame.columns if name != "model" and not name.endswith(_RAW)]
        names = [name for name in names if any(v is not None for v in self.values(name))]
        twice = {self.wanted(name) for name in names if name != "coverage"} - {None}
        return [name for name in names if name != "coverage" or self.nominal not in twice]

    def wanted(self, metric: str) -> float | None:
        """The share that a coverage should have; None for other metrics, and where it is not known."""
        found = _COVERAGE.fullmatch(metric)
        if found is None:
            return None
        share = self.nominal if found[1] is None else float(found[1]) / 100
        return share if share is not None and 0 < share < 1 else None

    @property
    def intervals(self) -> list[tuple[float, float, float | None]]:
        """(nominal share, coverage, coverage before calibration) of our model's intervals, the narrowest first."""
        found = []
        for metric in self.metrics:
            share, got = self.wanted(metric), self.value(self.ours, metric)
            if share is not None and got is not None:
                found.append((share, got, self.value(self.ours, metric + _RAW)))
        return sorted(found, key=lambda item: item[0])

    @cached_property
    def baselines(self) -> list[str]:
        return [name for name in self.models if name != self.ours]

    @property
    def reference(self) -> str | None:
        """The baseline that skill is measured against."""
        if REFERENCE in self.baselines:
            return REFERENCE
        return self.baselines[0] if self.baselines else None

    def skill(self, metric: str, model: str | None = None, reference: str | None = None) -> float | None:
        """Share of the reference's error that the model saves; negative when the model is worse."""
        return skill(self.value(model or self.ours, metric), self.value(reference or self.reference, metric))

    def best(self, metric: str) -> set[int]:
        """Rows that are best in a metric; none when only one row has a value."""
        values = self.values(metric)
        known = [v for v in values if v is not None]
        if len(known) < 2:
            return set()
        if is_coverage(metric):
            wanted = self.wanted(metric)
            if wanted is None:
                return set()
            distances = [None if v is None else round(abs(v - wanted), 9) for v in values]
        else:
            distances = values
        lowest = min(d for d in distances if d is not None)
        return {i for i, d in enumerate(distances) if d == lowest}

    def beaten_by(self) -> list[tuple[str, str]]:
        """Every (baseline, metric) in which a baseline is better than the model by more than a hair."""
        found = []
        for metric in ("mae", "mase", "wql"):
            for name in self.baselines:
                gain = self.skill(metric, reference=name)
                if gain is not None and gain < -_SAME:
                    found.append((name, metric))
        return found

    def verdict(self) -> tuple[str, Tone]:
        """One plain sentence with numbers, and whether it is good news."""
        mae = self.value(self.ours, "mae")
        if mae is None:
            return f"{title(self.ours)} has no error on the test part: its MAE is not a number", "bad"
        figure = f"MAE {significant(mae)}"
        reference, gain = self.reference, self.skill("mae")
        if reference is None or gain is None:
            return f"{figure}, with no baseline beside it to judge it by", "warning"
        tone: Tone = "good"
        if gain > _SAME:
            sentence = f"{figure}, {percent(gain)} below {title(reference)}"
        elif gain < -_SAME:
            sentence, tone = f"{figure}, {percent(-gain)} above {title(reference)}: the model loses", "bad"
        else:
            sentence, tone = (
                f"{figure}, no better than {title(reference)} ({significant(self.value(reference, 'mae'))})",
                "bad",
            )
        others = [(b, self.skill("mae", reference=b)) for b in self.baselines if b != reference]
        better = [(b, g) for b, g in others if g is not None and g < -_SAME]
        if tone == "good" and better:
            name, lost = min(better, key=lambda item: item[1])
            sentence, tone = f"{sentence}, but {percent(-lost)} above {title(name)}", "bad"
        return sentence, tone


def models_of(run: Run, frame: pl.DataFrame) -> tuple[list[str], str]:
    """The models of a long table in the order of the comparison, and which is ours."""
    here = frame["model"].unique(maintain_order=True).to_list()
    scores = Scores.read(run)
    if scores is None:
        named = run.facts.get("model")
        return here, named if named in here else here[0] if here else ""
    ordered = [m for m in scores.models if m in here] + [m for m in here if m not in scores.models]
    return ordered, scores.ours if scores.ours in here else ordered[0] if ordered else ""


def skill(ours: float | None, theirs: float | None) -> float | None:
    """1 - ours / theirs; None where that says nothing."""
    if ours is None or theirs is None or theirs <= 0 or theirs == float("inf"):
        return None
    return 1 - ours / theirs


def nominal_coverage(run: Run) -> float | None:
    """Share that the outermost quantile pair should cover: 0.8 for 0.1 and 0.9."""
    levels = []
    for name in ("predictions.csv", "evaluation/forecasts.csv"):
        if run.has(name) and (frame := run.table(name)) is not None:
            levels = [float(column) for column in quantile_columns(frame)]
            break
    else:
        if (
            run.has("evaluation/calibration.csv")
            and (frame := run.table("evaluation/calibration.csv", "quantile")) is not None
        ):
            levels = sorted(v for v in numbers(frame, "quantile") if v is not None)
    return round(levels[-1] - levels[0], 9) if len(levels) > 1 else None
