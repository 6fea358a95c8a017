"""How long forecasting takes, and in how much memory.

    python benchmarks/forecast_speed.py [--only etth1 many stream] [--data FOLDER] [--output FILE.csv]
    python benchmarks/forecast_speed.py --only etth1 --max_steps 700    # less than the budget of a CPU

etth1   train the default model on ETTh1, 96 hours ahead, with the budget that this device has by default
many    10,000 short monthly series in one table (made: trend, season, noise): read, train, forecast
stream  forecast 100,000 series of a Parquet file of 24 million rows in pieces, with the model of `many`

One row each, in the place of the one of the same job, budget and device; `cpu_seconds` is the processor time of this
process over all threads, which other work on the machine does not lengthen much.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from grid import cell_of, read, write

from xlstm_apps import XLSTMForecaster
from xlstm_apps.datasets import SeriesData, load_table
from xlstm_apps.estimators.forecast_plan import plan_forecast
from xlstm_apps.forecasting import BACKBONE, ForecastConfig
from xlstm_apps.training import FitConfig

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "forecast_speed.csv"
JOBS = ("etth1", "many", "stream")
FIELDS = ("job", "what", "seconds", "cpu_seconds", "memory_start_mib", "memory_peak_mib", "detail", "device", "torch")
KEY = ("job", "what", "detail", "device")


def made_series(count: int, length: int, seed: int = 0) -> pl.DataFrame:
    """Monthly series in long form: level, trend, a season of their own, noise."""
    random = np.random.default_rng(seed)
    month = np.arange(length)
    season = random.normal(0, 1, (count, 12))[:, month % 12]
    values = 50 + 10 * random.normal(size=(count, 1)) + random.normal(0, 0.1, (count, 1)) * month + 5 * season
    values += random.normal(0, 1, values.shape)
    stamps = pl.datetime_range(
        pl.datetime(2010, 1, 1), pl.datetime(2010, 1, 1).dt.offset_by(f"{length - 1}mo"), "1mo", eager=True
    )
    return pl.DataFrame(
        {
            "unique_id": np.repeat([f"s{i:06d}" for i in range(count)], length),
            "ds": pl.concat([stamps] * count),
            "y": values.ravel().astype(np.float32),
        }
    )


def resident() -> float:
    """Memory of this process now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Watch:
    """Rows of the result, each with the time and memory of one job."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"
        self.common = {"device": place, "torch": torch.__version__}

    def run(self, job: str, what: str, action: Callable[[], tuple[Any, str]]) -> Any:
        before, started, used = resident(), time.perf_counter(), time.process_time()
        result, detail = action()
        row = {
            "job": job,
            "what": what,
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - used, 1),
            "memory_start_mib": round(before),
            "memory_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "detail": detail,
            **self.common,
        }
        self.rows.append(row)
        print({k: v for k, v in row.items() if k not in self.common}, flush=True)
        return result


def etth1(watch: Watch, data: Path, max_steps: int | None) -> None:
    table = load_table(SeriesData(path=str(data / "ETTh1.csv"), split_rows=[8640, 2880, 2880]))

    def train():
        plan = plan_forecast(
            table,
            head=ForecastConfig(prediction_length=96),
            backbone=BACKBONE,
            fit=FitConfig(max_steps=max_steps),
            val_fraction=0.2,
            test_fraction=0.2,
            split_rows=[8640, 2880, 2880],
        )
        result = plan.train_model(plan.model(0), 0)
        fit = plan.fit
        return None, f"{result.steps} steps of {fit.batch_size} windows, look-back {plan.head.context_length}"

    watch.run("etth1", "choose the look-back and train", train)


def many(watch: Watch, folder: Path) -> XLSTMForecaster:
    frame = made_series(10_000, 60)
    forecaster = XLSTMForecaster(prediction_length=12)
    watch.run(
        "many", "fit 10,000 series of 60 months", lambda: (forecaster.fit(frame), f"{len(forecaster.history_)} epochs")
    )
    watch.run("many", "forecast them", lambda: (None, f"{len(forecaster.predict()):,} rows"))
    return forecaster


def stream(watch: Watch, folder: Path, forecaster: XLSTMForecaster) -> None:
    from xlstm_apps.datasets.config import TableToForecast
    from xlstm_apps.recipes import forecast

    table, model, out = folder / "many.parquet", folder / "model", folder / "out.parquet"
    for part in range(10):  # more rows than are held in memory, written in parts for the same reason
        made_series(10_000, 240, seed=part).with_columns(pl.col("unique_id") + f"-{part}").write_parquet(
            folder / f"{part}.parquet"
        )
    pl.scan_parquet(folder / "[0-9].parquet").sink_parquet(table)
    forecaster.save(model)

    def predict():
        forecast.predict(str(model), TableToForecast(path=str(table)), str(out))
        return (
            None,
            f"{pl.scan_parquet(out).select(pl.len()).collect().item():,} rows of {table.stat().st_size >> 20} MiB",
        )

    watch.run("stream", "forecast 100,000 series of 240 months, in pieces", predict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "timeseries")
    parser.add_argument("--max_steps", type=int, help="of `etth1`; what the device has by default if left out")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "etth1" in options.only:
            etth1(watch, options.data, options.max_steps)
        if "many" in options.only or "stream" in options.only:
            forecaster = many(watch, folder)
            if "stream" in options.only:
                stream(watch, folder, forecaster)
    made = {cell_of(row, KEY) for row in watch.rows}
    rows = [row for row in read(options.output) if cell_of(row, KEY) not in made] + watch.rows
    write(options.output, FIELDS, sorted(rows, key=lambda row: JOBS.index(row["job"])))


if __name__ == "__main__":
    main()
