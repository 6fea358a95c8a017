"""Forecasting accuracy on the usual tables, by the usual protocol without its leaks.

    python benchmarks/forecasting.py --data FOLDER [--datasets ETTh1 ...] [--models xlstm-ens ...] [--seeds 0 1 2]
    python benchmarks/forecasting.py --render

One row per (dataset, horizon, model, seed) goes to results/forecasting.csv; rows that are there are not made again, so
a stopped benchmark goes on. FOLDER holds the LTSF files under their usual names (ETTh1.csv, weather.csv or .zip, ...).

Protocol: ETT 12 / 4 / 4 months, the others 70 / 10 / 20 %; scaled by the training part; targets of every test window
scored, stride 1, none dropped; weights and look-back chosen on the validation part, the look-back with a linear
forecaster; every model at the same look-back, steps and loss. Errors are in deviations of the training part.
M4 Hourly: the last 48 values of each series, from all that came before.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "forecasting.csv"
PUBLISHED = HERE / "published_forecasts.csv"
PAGE = HERE.parent / "docs" / "forecasting-benchmark.md"
OURS = ("xlstm-ens", "xlstm-mixer", "xlstm-time", "p-slstm")
BASELINES = ("itransformer", "patchtst", "dlinear", "nlinear")
FIELDS = (
    "dataset", "horizon", "model", "seed", "members", "context", "mse", "mae", "mase", "smape", "owa", "coverage_80",
    "coverage_95", "coverage_80_raw", "best_epoch", "steps", "parameters", "fit_seconds", "evaluate_seconds", "device",
    "torch",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A table of the benchmark."""

    names: tuple[str, ...]
    """File names it is known by."""
    horizons: tuple[int, ...] = (96, 192, 336, 720)
    data: tuple[tuple[str, Any], ...] = ()
    """Further fields of `SeriesData`."""
    cost: int = 1
    """Roughly, how long it takes: the longest go first."""


HOURS, QUARTERS = [8640, 2880, 2880], [34560, 11520, 11520]
BY_ROWS = (("time_column", "none"), ("start", "2000-01-01"))
SOURCES = {
    "ETTh1": Source(("ETTh1.csv",), data=(("split_rows", HOURS),)),
    "ETTh2": Source(("ETTh2.csv",), data=(("split_rows", HOURS),)),
    "ETTm1": Source(("ETTm1.csv", "ETTm1.csv.gz"), data=(("split_rows", QUARTERS),), cost=4),
    "ETTm2": Source(("ETTm2.csv", "ETTm2.csv.gz"), data=(("split_rows", QUARTERS),), cost=4),
    # Its stamps jump and repeat where the logger was set; the protocol takes the rows as they come.
    "Weather": Source(("weather.csv", "weather.zip"), data=(*BY_ROWS, ("freq", "10m")), cost=5),
    "Electricity": Source(("electricity.csv",), cost=20),
    "Traffic": Source(("traffic.csv",), cost=30),
    "Exchange": Source(
        ("exchange_rate.csv", "exchange_rate.txt.gz"), data=(*BY_ROWS, ("freq", "1d"), ("header", False))
    ),
    "ILI": Source(("national_illness.csv",), horizons=(24, 36, 48, 60)),
    "M4 Hourly": Source(("Hourly-train.csv",), horizons=(48,), cost=2),
}


@dataclass(frozen=True)
class Cell:
    """One row of the results to be made."""

    dataset: str
    horizon: int
    model: str
    seed: int


def find(folder: Path, source: Source) -> Path | None:
    names = [name + end for name in source.names for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


@lru_cache(maxsize=2)
def table_of(folder: Path, dataset: str):
    """The table of a dataset and how it is split."""
    from xlstm_apps.datasets import SeriesData, load_table

    source = SOURCES[dataset]
    path = find(folder, source)
    if dataset == "M4 Hourly":
        data = SeriesData(
            path=str(path), layout="rows", freq="1h", start="2015-01-01", val_fraction=0.01, test_fraction=0.01
        )
        later = load_table(replace(data, path=str(path).replace("train", "test")))
        return joined(load_table(data), later), data
    data = SeriesData(path=str(path), **dict(source.data))
    return load_table(data), data


def joined(first, second):
    """Two tables of the same series, the rows of the second after those of the first."""
    import numpy as np

    assert first.item_ids == second.item_ids
    lengths = first.lengths + second.lengths
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.concatenate(
        [part for pair in zip(first.series, second.series, strict=True) for part in (pair[0].values, pair[1].values)]
    )
    stamps = [
        np.concatenate([s.timestamps, first.future_timestamps(i, len(t.values))])
        for i, (s, t) in enumerate(zip(first.series, second.series, strict=True))
    ]
    return replace(first, values=values, offsets=offsets, timestamps=np.concatenate(stamps))


def run(folder: Path, cell: Cell, accelerator: str, max_steps: int | None) -> list[dict[str, Any]]:
    """Train and score one cell; for the first seed of the first model the naive forecasts come with it."""
    import numpy as np
    import torch

    from xlstm_apps.core.size import count_weights
    from xlstm_apps.estimators.forecast_plan import plan_forecast
    from xlstm_apps.estimators.forecast_scores import Evaluator
    from xlstm_apps.forecasting import BACKBONE, ForecastConfig
    from xlstm_apps.training import FitConfig

    table, data = table_of(folder, cell.dataset)
    plan = plan_forecast(
        table,
        head=ForecastConfig(prediction_length=cell.horizon, model=cell.model),
        backbone=BACKBONE,
        fit=FitConfig(accelerator=accelerator, max_steps=max_steps),
        val_fraction=data.val_fraction,
        test_fraction=data.test_fraction,
        split_rows=data.split_rows,
    )
    model = plan.model(cell.seed)
    result = plan.train_model(model, cell.seed)
    started = time.monotonic()
    m4 = cell.dataset == "M4 Hourly"
    evaluator = Evaluator(
        table,
        plan.scaler,
        plan.split,
        season=plan.season.steps if not m4 else 24,
        context_length=plan.head.context_length,
        prediction_length=cell.horizon,
        levels=plan.head.levels,
        stride=1,
        units="data" if m4 else "scaled",
        baselines=["naive2"] if m4 else [],
        device=plan.device,
    )
    evaluation = evaluator.run({cell.model: model.to(plan.device)})
    seconds = time.monotonic() - started
    rows = []
    for row in evaluation.comparison():
        ours = row["model"] == cell.model
        if not ours and (cell.seed, cell.model) != (0, OURS[0]):
            continue
        facts = {
            "members": "+".join(model.members),
            "context": plan.head.context_length,
            "best_epoch": result.best_epoch,
            "steps": result.steps,
            "parameters": count_weights(model),
            "fit_seconds": round(result.seconds, 1),
            "evaluate_seconds": round(seconds, 1),
        }
        place = (
            torch.cuda.get_device_name() if plan.device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
        )
        row = {key: round(float(x), 5) if isinstance(x, float | np.floating) else x for key, x in row.items()}
        common = {"dataset": cell.dataset, "horizon": cell.horizon, "seed": cell.seed if ours else "", "device": place}
        rows.append({**row, **common, **(facts if ours else {}), "torch": torch.__version__})
    return rows


def cells(folder: Path, datasets: list[str], models: list[str], seeds: list[int]) -> Iterator[Cell]:
    """What is to be done: the default model's seeds, then the other models seed by seed; long tables first."""
    present = sorted((d for d in datasets if find(folder, SOURCES[d])), key=lambda d: -SOURCES[d].cost)
    order = sorted(itertools.product(seeds, models), key=lambda pair: (pair[1] != OURS[0], pair[0]))
    for seed, model in order:
        for dataset in present:
            for horizon in SOURCES[dataset].horizons:
                yield Cell(dataset, horizon, model, seed)


def work(arguments: tuple) -> tuple[Cell, list[dict[str, Any]] | str]:
    cell = arguments[1]
    try:
        return cell, run(*arguments)
    except Exception as error:  # one cell that fails does not end the others; it is shown and counted
        return cell, f"{type(error).__name__}: {error}"


def prepare(threads: int) -> None:
    import warnings

    import torch

    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")  # for every model alike; the transformers gain most


def measure(options: argparse.Namespace) -> int:
    """Make the rows that are missing; returns how many cells failed."""
    rows = read(options.output)
    done = {(r["dataset"], int(r["horizon"]), r["model"], str(r["seed"])) for r in rows}
    todo = [
        cell
        for cell in cells(options.data, options.datasets, options.models, options.seeds)
        if (cell.dataset, cell.horizon, cell.model, str(cell.seed)) not in done
    ]
    started, failed = time.monotonic(), 0
    jobs = ((options.data, cell, options.accelerator, options.max_steps) for cell in todo)
    with multiprocessing.get_context("spawn").Pool(options.workers, prepare, (options.threads,)) as pool:
        # One job per worker ahead: `jobs` is drawn from as results come, so that a deadline can end it.
        for cell, found in pool.imap_unordered(work, until(jobs, started + options.seconds), chunksize=1):
            label = f"{cell.dataset} {cell.horizon} {cell.model} seed {cell.seed}"
            if isinstance(found, str):
                failed += 1
                print(f"FAILED {label}: {found}", flush=True)
                continue
            rows += found
            write(options.output, rows)
            own = next(row for row in found if row["model"] == cell.model)
            print(
                f"{time.monotonic() - started:5.0f} s  {label}: MSE {own['mse']:.4f} MAE {own['mae']:.4f} "
                f"cover {own['coverage_80']:.1%} {own['coverage_95']:.1%} (fit {own['fit_seconds']} s)",
                flush=True,
            )
    return failed


def until(jobs: Iterator, end: float) -> Iterator:
    return itertools.takewhile(lambda _: time.monotonic() < end, jobs)


def read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    aside = path.with_suffix(".partial")
    with aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(
            sorted(
                rows, key=lambda r: (list(SOURCES).index(r["dataset"]), int(r["horizon"]), r["model"], str(r["seed"]))
            )
        )
    aside.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "timeseries")
    parser.add_argument("--datasets", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--models", nargs="+", default=[OURS[0], *BASELINES, *OURS[1:]], choices=[*OURS, *BASELINES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; they share the device")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no new cell after this time")
    parser.add_argument("--max_steps", type=int, help="for a trial")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="only write the page from the rows that are there")
    options = parser.parse_args()
    if options.render:
        from forecasting_page import render

        render(read(options.output), read(PUBLISHED), PAGE)
    elif failed := measure(options):
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
