"""Diagnostics of residuals: right statistics, true words, and a section whatever the file holds."""

import math
import re

import numpy as np
import polars as pl
import pytest

from xlstm_apps.report.diagnostics import Shape, autocorrelation, clock, spread
from xlstm_apps.report.residual_charts import round_step


def write(folder, name, frame) -> None:
    frame.write_csv(folder / "evaluation" / name)


def sample(residual, *, name="s", part="path", start="2024-01-01 00:00:00", every="1h", step=None) -> pl.DataFrame:
    """Rows of residuals.csv at successive stamps."""
    n = len(residual)
    begin = pl.Series([start]).str.to_datetime()[0]
    ds = pl.select(pl.datetime_range(begin, pl.lit(begin).dt.offset_by(f"{n}{every[1:]}"), every, closed="left"))
    return pl.DataFrame(
        {
            "unique_id": [name] * n,
            "cutoff": ds.to_series().dt.to_string("%Y-%m-%d %H:%M:%S+01:00")[:n],
            "ds": ds.to_series().dt.to_string("%Y-%m-%d %H:%M:%S+01:00")[:n],
            "row": np.arange(n),
            "step": [1] * n if step is None else step,
            "y": np.zeros(n),
            "residual": residual,
            "part": [part] * n,
        }
    )


def section(report) -> str:
    """The words between the headings of the residuals and of what follows."""
    return report.text.rpartition("Residuals What happened")[2].partition("Forecast beyond the data")[0]


def test_shape_of_a_normal_sample_and_of_none():
    shape = Shape.of(np.random.default_rng(0).normal(1.0, 2.0, 200_000))
    assert [shape.mean, shape.deviation, shape.skew, shape.kurtosis] == pytest.approx([1, 2, 0, 0], abs=0.05)
    assert shape.extreme == pytest.approx(0.0027, abs=0.0005) and shape.above == pytest.approx(0.6915, abs=0.005)
    still = Shape.of(np.zeros(5))
    assert still.deviation == 0 and still.above == 0.5 and math.isnan(still.skew)


def test_autocorrelation_of_a_process_with_gaps():
    rng = np.random.default_rng(1)
    values = rng.normal(size=20_000)
    for i in range(1, len(values)):
        values[i] += 0.7 * values[i - 1]
    seen = np.flatnonzero(rng.random(len(values)) < 0.8)
    found = autocorrelation(seen + 5, values[seen], 3)
    assert found == pytest.approx([0.7, 0.49, 0.343], abs=0.04)
    assert autocorrelation(np.arange(4), np.ones(4), 2) is None
    few = autocorrelation(np.array([0, 1, 100]), np.array([1.0, 2.0, 4.0]), 2)
    assert few is not None and np.isnan(few).all()


def test_spread_needs_enough_values():
    frame = pl.DataFrame({"g": [1] * 20 + [2] * 3 + [None], "z": [*range(20), 1, 2, 3, 4]})
    rows = spread(frame, "g", "z").rows()
    assert rows[0] == (1, 20, 2.0, 9.5, 17.0) and rows[1] == (2, 3, None, None, None)


def test_clock_reads_the_time_as_written():
    read = clock(pl.Series("ds", ["2024-03-31 02:30:00+02:00", "2024-03-31T04:00:00.5Z", "2024-03-31", "17", None]))
    assert [str(x) for x in read] == ["2024-03-31 02:30:00", "2024-03-31 04:00:00.500000", "2024-03-31 00:00:00"] + [
        "None"
    ] * 2


@pytest.mark.parametrize(("length", "step"), [(2.0, 2), (1.99, 1), (0.07, 0.05), (730, 500), (5, 5)])
def test_round_step(length, step):
    assert round_step(length) == step


def test_words_tell_bias_and_correlation(run, read):
    folder, rng = run(names=["s"], cutoffs=1), np.random.default_rng(0)
    walk = np.convolve(rng.normal(size=520), np.ones(20), "valid")
    write(folder, "residuals.csv", pl.concat([sample(rng.normal(2.0, 2.0, 500)), sample(walk, part="first")]))
    words = section(read(folder))
    assert "500 of the scored targets, from 1 series" in words
    assert re.search(r"and higher than it by (1\.[89]|2\.[01])\d on average", words)
    assert "Errors one step ahead are correlated (0.9" in words
    clean = rng.normal(size=500)
    write(folder, "residuals.csv", pl.concat([sample(clean), sample(clean, part="first")]))
    words = section(read(folder))
    assert "no bias to speak of. Knowing one error hardly tells the next." in words


def test_groups_are_those_that_the_steps_tell_apart(run, read):
    folder, rng = run(names=["s"], cutoffs=1), np.random.default_rng(0)
    summary = folder / "data_summary.json"
    text = summary.read_text()
    for every, wanted in {
        "1h": ["hour of the day", "day of the week"],
        "1d": ["day of the week", "month"],
        "1mo": ["month"],
    }.items():
        summary.write_text(text.replace('"freq": "1h"', f'"freq": "{every}"'))
        write(folder, "residuals.csv", sample(rng.normal(size=400), every=every))
        words = section(read(folder))
        assert [w for w in ("hour of the day", "day of the week", "month") if f"By {w}" in words] == wanted


def test_stamps_that_are_numbers_have_no_calendar(run, read):
    folder = run(names=["s"], cutoffs=1)
    frame = sample(np.random.default_rng(0).normal(size=400)).with_columns(ds=pl.arange(400), cutoff=pl.arange(400))
    write(folder, "residuals.csv", frame)
    words = section(read(folder))
    assert "Over the test part" in words and "By hour" not in words and "By day" not in words


@pytest.mark.parametrize("rows", [1, 29, 30, 31])
def test_few_residuals(run, read, rows):
    folder = run(names=["s"], cutoffs=1)
    write(folder, "residuals.csv", sample(np.linspace(-1, 1, rows)))
    assert ("residuals" in read(folder).sections) == (rows >= 30)


def test_a_forecast_without_error_has_no_distribution(run, read):
    folder = run(names=["s"], cutoffs=1)
    write(folder, "residuals.csv", pl.concat([sample(np.zeros(100)), sample(np.zeros(100), part="first")]))
    report = read(folder)
    assert "residuals" in report.sections and "normal distribution" not in section(report)


def test_series_on_other_scales_are_brought_to_one(run, read):
    rng = np.random.default_rng(0)
    folder = run(names=["s", "big", "still"], cutoffs=1)
    parts = [sample(rng.normal(size=200)), sample(1e6 * rng.normal(size=200), name="big")]
    write(folder, "residuals.csv", pl.concat([*parts, sample(np.zeros(50), name="still")]))
    (folder / "evaluation" / "series.csv").unlink()
    report = read(folder)
    assert "400 of the scored targets, from 2 series" in section(report)
    # On one scale both are normal; on their own, half of the residuals would be next to nothing and the rest far out.
    assert float(re.search(r"standard deviations: ([\d.]+) %", section(report))[1]) < 1.5


def test_calibration_before_and_after(run, read):
    folder = run()
    report = read(folder)
    assert "The 80 % interval held" in report.text and "before calibration" in report.text
    table = report.text.partition("Intervals and the truth inside them")[2].partition("Quantiles and the truth")[0]
    assert "95 % 82.1 % 94.2 %" in table and "80 % 64.0 % 75.6 %" in table
    names = [t["name"] for figure in report.data if "data" in figure for t in figure["data"] if t.get("name")]
    assert {"before", "calibrated"} <= {*names}
    (folder / "evaluation" / "calibration.csv").write_text(
        "quantile,empirical,empirical_raw\n0.1,0.1,0.1\n0.9,0.9,0.9\n"
    )
    assert "before" not in [t.get("name") for f in read(folder).data if "data" in f for t in f["data"]]
