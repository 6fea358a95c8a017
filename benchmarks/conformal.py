"""Coverage on the test part of many tables: the model's own intervals, calibrated once, and calibrated as time goes on.

python benchmarks/conformal.py [--data ../shared/data/timeseries] [--model nlinear] [--only NAME ...] [--output FILE]

Writes benchmarks/results/conformal.csv, one row per table and horizon; rows already there are kept. Models are trained
for a few seconds only: intervals have to hold around a poor forecast too. What the columns mean, and what follows, is
in docs/decisions/0004-conformal-intervals.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from xlstm_apps.datasets import SeriesData, SeriesTable, load_table, table_from_frame
from xlstm_apps.estimators.forecast_calibration import Calibrator
from xlstm_apps.estimators.forecast_frames import scaled_forecast, unscale
from xlstm_apps.estimators.forecast_plan import plan_forecast
from xlstm_apps.estimators.forecast_scores import Evaluator
from xlstm_apps.forecasting import BACKBONE, COVERED, ForecastConfig, Policy, Scores
from xlstm_apps.training import FitConfig

RESULTS = Path(__file__).parent / "results" / "conformal.csv"
CASES = {
    "nyc-weather": [24, 48, 168],
    "ETTh1": [24, 96, 336, 720],
    "ETTm1": [96, 336],
    "exchange": [7, 30, 96, 336, 720],
    "illness": [8, 24, 60],
    "electricity": [48, 336],
    "weather": [96, 336],
    "m4-hourly": [48],
    "sales (made)": [7, 28],
    "short monthly (made)": [6, 12],
    "one walk, jumps (made)": [10, 50],
    "one walk, wild (made)": [10, 50],
    # Looked at once, after everything was chosen: tables that come with statsmodels (extra `baselines`).
    "co2 (fresh)": [13, 52],
    "sunspots (fresh)": [5, 11],
    "elnino (fresh)": [6, 12],
    "macrodata (fresh)": [2, 4],
}
COLUMNS = ["data", "horizon", "model", "windows", "rows", "raw_80", "fixed_80", "fixed_95", "calibrated_80"]
COLUMNS += ["calibrated_95", "wql_raw", "wql", "seconds", "one_side_80", "one_side_95", "wql_one_side"]


def read(name: str, folder: Path) -> SeriesTable:
    """A table by its name in `CASES`."""
    files = {
        "nyc-weather": SeriesData(path="sample:nyc-weather"),
        "ETTh1": SeriesData(path=str(folder / "ETTh1.csv")),
        "ETTm1": SeriesData(path=str(folder / "ETTm1.csv.gz")),
        "exchange": SeriesData(path=str(folder / "exchange_rate.txt.gz"), time_column="none", header=False),
        "illness": SeriesData(path=str(folder / "national_illness.csv")),
        "electricity": SeriesData(path=str(folder / "vic_electricity.csv"), target_columns=["Demand", "Temperature"]),
        "weather": SeriesData(path=str(folder / "weather.zip"), duplicates="mean", missing_values=[-9999.0]),
        "m4-hourly": SeriesData(path=str(folder / "Hourly-train.csv"), layout="rows"),
    }
    if name in files:
        return load_table(files[name])
    rng = np.random.default_rng(0)
    if name.startswith("sales"):  # counts, mostly small, with a week, a trend per shop, and a slump in the last year
        days, shops = 900, 200
        level = rng.lognormal(0.5, 1.2, shops) * np.exp(rng.normal(0, 0.02, (days, shops)).cumsum(0) * 0.5)
        level *= 1 + 0.4 * np.sin(2 * np.pi * np.arange(days) / 7)[:, None]
        level[700:] *= 0.6
        return _long(rng.poisson(level).T.astype(float), "1d")
    if name.startswith("short"):
        months = np.arange(72)
        walk = rng.normal(0, 1, (1500, 72)).cumsum(1) * rng.lognormal(0, 1, (1500, 1))
        season = 3 * rng.normal(0, 1, (1500, 1)) * np.sin(2 * np.pi * months / 12 + rng.uniform(0, 6, (1500, 1)))
        return _long(100 + walk + season, "1mo")
    if name.endswith("(fresh)"):
        return _statsmodels(name.removesuffix(" (fresh)"))
    wander = 0.06 if "wild" in name else 0.03
    scale = np.exp(rng.normal(0, wander, 3000).cumsum())  # one series whose noise waxes and wanes, with jumps
    return _long((scale * rng.standard_t(4, 3000)).cumsum()[None], "1d")


def _statsmodels(name: str) -> SeriesTable:
    from statsmodels import datasets

    frame = getattr(datasets, name).load_pandas().data
    if name == "co2":
        values, freq = frame["co2"].to_numpy()[:, None], "1w"
    elif name == "elnino":  # a row per year, a column per month
        values, freq = frame.drop(columns="YEAR").to_numpy().reshape(-1, 1), "1mo"
    elif name == "sunspots":
        values, freq = frame["SUNACTIVITY"].to_numpy()[:, None], "1y"
    else:
        values, freq = frame.drop(columns=["year", "quarter"]).to_numpy(), "1q"
    unit = {"1w": "W", "1mo": "M", "1q": "M", "1y": "Y"}[freq]
    steps = np.arange(len(values)) * (3 if freq == "1q" else 1)
    stamps = (np.datetime64("1760-01-01").astype(f"datetime64[{unit}]") + steps).astype("datetime64[D]")
    columns = {f"y{i}": column for i, column in enumerate(values.T.astype(float))}
    return table_from_frame(pl.DataFrame({"ds": stamps, **columns}), time_column="ds", freq=freq)


def _long(values: np.ndarray, freq: str) -> SeriesTable:
    series, rows = values.shape
    days = np.datetime64("2015-01-01") + np.arange(rows) * np.timedelta64(1, "D")
    months = (np.datetime64("2015-01", "M") + np.arange(rows)).astype("datetime64[D]")
    stamps = days if freq == "1d" else months
    ids = np.repeat([f"s{i}" for i in range(series)], rows)
    frame = pl.DataFrame({"unique_id": ids, "ds": np.tile(stamps, series), "y": values.ravel()})
    return table_from_frame(frame, freq=freq)


def row_of(name: str, table: SeriesTable, horizon: int, model_name: str) -> dict[str, object]:
    """Train, calibrate, score."""
    started = time.monotonic()
    head = ForecastConfig(prediction_length=horizon, model=model_name)
    fit = FitConfig(learning_rate=3e-3, max_steps=200, accelerator="cpu")
    plan = plan_forecast(table, head=head, backbone=BACKBONE, fit=fit, val_fraction=0.1, test_fraction=0.2)
    model = plan.model(0)
    plan.train_model(model, 0)
    windows = sum(max(0, int(n) - end - horizon + 1) for n, (_, end) in zip(table.lengths, plan.split, strict=True))
    evaluator = Evaluator(
        table,
        plan.scaler,
        plan.split,
        season=plan.season.steps,
        context_length=plan.head.context_length,
        prediction_length=horizon,
        levels=plan.head.levels,
        stride=max(1, windows * len(table.channels) * horizon // 3_000_000),
    )
    sliding = evaluator.run({"xlstm": model})
    found, own = sliding.scores["xlstm"].summary(), sliding.raw["xlstm"].summary()
    calibrator = sliding.calibrators["xlstm"]
    # What split conformal prediction does: the validation part alone, once and for all.
    calibrator.clock.known_blocks = lambda series, cutoff: torch.full_like(series, calibrator.clock.test_begin)
    # Errors counted on the side where they fell alone, however few.
    one_side = Calibrator(model, table, plan.scaler, plan.split, Policy(mirror=0))
    levels = sorted({*COVERED, *evaluator.levels})
    fixed, sided = (Scores(levels, horizon, evaluator.scale, evaluator.levels) for _ in range(2))
    for begin in range(0, len(evaluator.windows), 256):
        batch = evaluator.windows.__getitems__(range(begin, min(begin + 256, len(evaluator.windows))))
        forecast, truth = scaled_forecast(model, batch), unscale(batch["target"][..., None], batch)[..., 0]
        for scores, by in ((fixed, calibrator), (sided, one_side)):
            found_levels = unscale(by.quantiles(batch, forecast, levels), batch)
            scores.update(found_levels, truth, batch["target_mask"], batch["series"])
    fixed, sided = fixed.summary(), sided.summary()
    return {
        "data": name,
        "horizon": horizon,
        "model": model_name,
        "windows": len(evaluator.windows),
        "rows": int(table.lengths.max()),
        "raw_80": own["coverage_80"],
        "fixed_80": fixed["coverage_80"],
        "fixed_95": fixed["coverage_95"],
        "calibrated_80": found["coverage_80"],
        "calibrated_95": found["coverage_95"],
        "wql_raw": own["wql"],
        "wql": found["wql"],
        "seconds": time.monotonic() - started,
        "one_side_80": sided["coverage_80"],
        "one_side_95": sided["coverage_95"],
        "wql_one_side": sided["wql"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "timeseries")
    parser.add_argument("--model", default="nlinear")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = list(csv.DictReader(options.output.open())) if options.output.is_file() else []
    done = {(row["data"], row["horizon"], row["model"]) for row in rows}
    for name in options.only:
        table = None
        for horizon in CASES[name]:
            if (name, str(horizon), options.model) in done:
                continue
            table = read(name, options.data) if table is None else table
            row = row_of(name, table, horizon, options.model)
            rows.append({key: f"{x:.4g}" if isinstance(x, float) else x for key, x in row.items()})
            print("  ".join(f"{key} {rows[-1][key]}" for key in COLUMNS), flush=True)
            with options.output.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
