"""Writes a run folder as a forecasting run leaves it: plausible numbers, the format of the real one, no model."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from xlstm_apps.report import ResidualSample

START = datetime(2013, 1, 1)
ROWS = 8_730
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
WEATHER = ("EWR/temp", "EWR/humid", "JFK/temp", "JFK/humid", "LGA/temp", "LGA/humid", "LGA/wind_speed")
CONFIG = """\
data:
  path: {path}
  val_fraction: 0.1
  test_fraction: 0.2
head:
  context_length: 168
  prediction_length: {horizon}
  quantiles: [0.1, 0.25, 0.5, 0.75, 0.9]
backbone:
  embedding_dim: 64
  num_blocks: 2
  num_heads: 4
fit:
  max_epochs: 12
  learning_rate: 0.001
seed: 0
"""


def fake_run(
    folder: Path,
    *,
    names: Sequence[str] = WEATHER,
    horizon: int = 48,
    history: int = 144,
    cutoffs: int = 3,
    plotted: int = 7,
    windows: int = 60,
    skill: float = 0.24,
    status: str = "finished",
    path: str = "sample:nyc-weather",
    seed: int = 0,
) -> Path:
    """Write every file of the format into `folder`.

    Args:
        names: unique_id of each series.
        plotted: how many of them have forecasts to plot, `cutoffs` each.
        windows: how many of each series were scored for the residuals.
        skill: share of the seasonal naive's error that the model saves; negative for a model that loses.
    """
    rng = np.random.default_rng(seed)
    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG.format(path=json.dumps(path), horizon=horizon), encoding="utf-8")
    _json(folder / "run.json", _facts(status))
    _json(folder / "data_summary.json", _summary(names))
    _csv(folder / "metrics.csv", ["epoch", "step", "train_loss", "val_loss", "learning_rate"], _losses(rng))

    models = {"xlstm": 1 - skill, "seasonal_naive": 1.0, "nlinear": 0.9}
    header = ["model", "mae", "rmse", "mase", "wql", "coverage_80", "coverage_95", "coverage_80_raw", "coverage_95_raw"]
    covered = {"xlstm": (0.7951, 0.9423, 0.6712, 0.8208), "nlinear": (0.742, 0.91, "", "")}
    rows = [[m, 3.04 * f, 4.1 * f, 1.21 * f, 0.083 * f, *covered.get(m, [""] * 4)] for m, f in models.items()]
    _csv(evaluation / "comparison.csv", header, rows)
    grow = [0.35 + 0.65 * math.sqrt((s + 1) / horizon) for s in range(horizon)]
    _csv(
        evaluation / "horizon.csv",
        ["model", "step", "mae", "rmse"],
        (
            [m, s + 1, 3.6 * f * (grow[s] if m != "seasonal_naive" else 0.9 + 0.1 * (s >= 24)), 4.9 * f * grow[s]]
            for m, f in models.items()
            for s in range(horizon)
        ),
    )
    scale = np.exp(rng.normal(1.0, 0.8, len(names)))
    own = {m: scale * f * np.exp(rng.normal(0, 0.12, len(names))) for m, f in models.items()}
    _csv(
        evaluation / "series.csv",
        ["unique_id", "model", "mae", "rmse", "mase"],
        ([n, m, own[m][i], 1.3 * own[m][i], 1.2 * own[m][i] / scale[i]] for i, n in enumerate(names) for m in models),
    )
    empirical = [q + 0.03 * math.sin(5 * q) for q in QUANTILES]
    raw = [0.5 + 0.8 * (q - 0.5) for q in QUANTILES]
    header = ["quantile", "empirical", "empirical_raw"]
    _csv(evaluation / "calibration.csv", header, zip(QUANTILES, empirical, raw, strict=True))
    _residuals(rng, names, windows, horizon, scale).write_csv(evaluation / "residuals.csv")
    quantile_names = [str(q) for q in QUANTILES]
    _csv(
        evaluation / "forecasts.csv",
        ["unique_id", "cutoff", "ds", "y", *quantile_names, "seasonal_naive"],
        _forecasts(rng, names[:plotted], cutoffs, history, horizon, scale),
    )
    _csv(folder / "predictions.csv", ["unique_id", "ds", *quantile_names], _predictions(rng, names, horizon, scale))
    return folder


def _facts(status: str) -> dict[str, Any]:
    return {
        "task": "forecast",
        "status": status,
        "seed": 0,
        "seconds": {"load": 0.6, "fit": 48.2, "evaluate": 9.7},
        "versions": {"python": "3.11.9", "xlstm-apps": "0.1.0", "torch": "2.13.0"},
        "device": "cpu",
        "parameters": 184_325,
        "best_epoch": 8,
        "command": "xlstm-apps forecast train --data.path sample:nyc-weather --seed 0",
    }


def _summary(names: Sequence[str]) -> dict[str, Any]:
    """The report of a `SeriesTable`, with splits and windows."""
    items = sorted({name.partition("/")[0] for name in names})
    channels = sorted({name.partition("/")[2] or "value" for name in names})
    shares = {channel: (0.107, 0.003, 0.0)[min(i, 2)] for i, channel in enumerate(channels)}
    return {
        "source": "sample:nyc-weather",
        "layout": "long",
        "rows": (ROWS - 25) * len(items),
        "time_column": "time_hour",
        "id_column": "origin",
        "time_zone": None,
        "left_out": {"dewp": "not in target_columns"},
        "duplicates": {"rows": 0, "policy": "error"},
        "off_grid": {"rows": 0, "policy": "error"},
        "freq": "1h",
        "freq_inferred": True,
        "gaps": {"rows": 75, "runs": 45, "longest": 5, "first": None},
        "series": len(items),
        "channels": channels,
        "start": str(START),
        "end": str(START + timedelta(hours=ROWS - 1)),
        "lengths": {"min": ROWS, "median": ROWS, "max": ROWS},
        "columns": {c: {"missing_share": s, "min": -9.94, "mean": 41.44, "max": 1042.1} for c, s in shares.items()},
        "notes": ["rows were not in order of time; they were sorted"],
        "splits": [{"series": item, "rows": ROWS, "train_end": 6111, "val_end": 6984} for item in items],
        "windows": {"train": 17_700, "val": 2_481, "test": 1_741},
    }


def _losses(rng: np.random.Generator) -> Iterable[list[Any]]:
    for epoch in range(1, 13):
        train = 0.21 + 0.5 * math.exp(-epoch / 2) + rng.normal(0, 0.004)
        yield [epoch, epoch * 90, train, 0.27 + 0.35 * math.exp(-epoch / 2) + 0.002 * (epoch - 8) ** 2, 0.001]


def _wave(hours: np.ndarray, level: float) -> np.ndarray:
    return 12 * level + level * (4 * np.sin(2 * np.pi * hours / 24) + 3 * np.sin(2 * np.pi * hours / 171))


def _forecasts(rng, names, cutoffs, history, horizon, scale) -> Iterable[list[Any]]:
    for i, name in enumerate(names):
        for k in range(cutoffs):
            first = ROWS - horizon - 450 * (cutoffs - 1 - k)
            hours = np.arange(first - history, first + horizon)
            truth = _wave(hours, scale[i]) + scale[i] * np.cumsum(rng.normal(0, 0.35, len(hours)))
            median = _wave(hours[history:], scale[i]) + (
                truth[history] - _wave(hours[history : history + 1], scale[i])[0]
            )
            spread = scale[i] * (0.4 + 0.35 * np.sqrt(np.arange(1, horizon + 1)))
            cutoff = START + timedelta(hours=first - 1)
            for j, hour in enumerate(hours):
                y = "" if j % 97 == 40 else round(float(truth[j]), 3)
                ds = START + timedelta(hours=int(hour))
                if j < history:
                    yield [name, cutoff, ds, y, *[""] * len(QUANTILES), ""]
                else:
                    s = j - history
                    values = [median[s] + spread[s] * 1.9 * (q - 0.5) for q in QUANTILES]
                    naive = truth[j - 24 * (s // 24 + 1)] if j - 24 * (s // 24 + 1) >= 0 else ""
                    yield [name, cutoff, ds, y, *values, naive]


def _residuals(rng, names, windows, horizon, scale) -> pl.DataFrame:
    """Errors that grow with the step and hang on the hour, and of which each tells something of the next."""
    first = ROWS - horizon - windows + 1
    series, cutoff = np.repeat(np.arange(len(names)), windows), np.tile(first + np.arange(windows), len(names))
    sample = ResidualSample(series, cutoff, channels=1, horizon=horizon)
    noise = rng.normal(0, 1, (len(names), ROWS + 1))
    noise[:, 1:] += 0.6 * noise[:, :-1]
    rows = cutoff[:, None] + np.arange(horizon)
    error = scale[series, None] * noise[series[:, None], rows] * np.sqrt(1 + np.arange(horizon) / 4)
    error += scale[series, None] * 0.5 * (rows % 24 == 17)
    at = sample.inside(0, len(series))
    sample.add(rows[at[:2]] * 1.0, error[at[:2]], np.ones(len(at[0]), bool))
    return sample.frame(list(names), lambda _, row: pl.Series([str(START + timedelta(hours=int(r))) for r in row]))


def _predictions(rng, names, horizon, scale) -> Iterable[list[Any]]:
    for i, name in enumerate(names):
        hours = np.arange(ROWS, ROWS + horizon)
        median = _wave(hours, scale[i])
        spread = scale[i] * (0.4 + 0.35 * np.sqrt(np.arange(1, horizon + 1)))
        for s, hour in enumerate(hours):
            yield [
                name,
                START + timedelta(hours=int(hour)),
                *(median[s] + spread[s] * 1.9 * (q - 0.5) for q in QUANTILES),
            ]


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
