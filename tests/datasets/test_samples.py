"""The shipped table, and real files nobody adapted."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xlstm_apps import datasets
from xlstm_apps.datasets import SeriesData, load_table, report_text

SAMPLES = Path(datasets.__file__).parent / "samples"


def test_nyc_weather():
    table = load_table(SeriesData(path="sample:nyc-weather"))
    assert table.item_ids == ["EWR", "JFK", "LGA"] and table.freq == "1h" and table.time_zone == "UTC"
    assert table.channels == ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
    assert table.lengths.tolist() == [8730] * 3 and table.report["rows"] == 26_115
    assert table.report["gaps"] == {"rows": 75, "runs": 45, "longest": 5, "first": table.report["gaps"]["first"]}
    assert table.report["notes"] == [] and not table.report["suspicious"]
    missing = {name: column["missing"] - 75 for name, column in table.report["columns"].items()}
    assert missing == {"temp": 1, "dewp": 1, "humid": 1, "wind_speed": 5, "precip": 0, "pressure": 2729, "visib": 0}
    here = load_table(SeriesData(path="sample:nyc-weather", time_zone="America/New_York"))
    assert str(here.ds(here.timestamps)[0]) == "2013-01-01 01:00:00-05:00"
    np.testing.assert_array_equal(here.values, table.values)


def test_the_sample_is_the_file_described():
    digest = hashlib.sha256((SAMPLES / "nyc_weather.csv.gz").read_bytes()).hexdigest()
    assert digest in (SAMPLES / "DATA.md").read_text() and "CC0" in (SAMPLES / "DATA.md").read_text()


FILES = {
    "ETTh1.csv": ({}, "1h", 1, 7, 17420),
    "ETTm1.csv.gz": ({}, "15m", 1, 7, 69680),
    "national_illness.csv": ({}, "1w", 1, 7, 966),
    "weather.zip": ({"duplicates": "first", "missing_values": [-9999.0]}, "10m", 1, 21, 52704),
    "exchange_rate.txt.gz": ({"time_column": "none", "start": "1990-01-01", "freq": "1d"}, "1d", 1, 8, 7588),
    "Hourly-train.csv": ({"layout": "rows"}, "1i", 414, 1, 960),
    "vic_electricity.csv": ({"time_zone": "Australia/Melbourne"}, "30m", 1, 2, 52608),
}


@pytest.mark.parametrize("name", FILES)
def test_real_files(shared_data, name):
    options, freq, series, channels, longest = FILES[name]
    table = load_table(SeriesData(path=str(shared_data(f"timeseries/{name}")), **options))
    assert (table.freq, len(table), len(table.channels), int(table.lengths.max())) == (freq, series, channels, longest)
    assert report_text(table.report)
    if name == "weather.zip":
        # one stamp twice, nine stamps missing, 81 cells of -9999
        assert table.report["gaps"]["rows"] == 9 and table.report["duplicates"]["rows"] == 1
        assert sum(c["missing"] for c in table.report["columns"].values()) == 81 + 9 * 21


@pytest.mark.parametrize(
    "name, mend",
    [
        ("weather.zip", "--data.duplicates mean"),
        ("exchange_rate.txt.gz", "--data.time_column none"),
        ("Hourly-train.csv", "--data.layout rows"),
    ],
)
def test_real_files_that_need_a_word(shared_data, name, mend):
    with pytest.raises(ValueError, match=mend):
        load_table(SeriesData(path=str(shared_data(f"timeseries/{name}"))))


def test_weather_tells_of_its_sentinels(shared_data):
    table = load_table(SeriesData(path=str(shared_data("timeseries/weather.zip")), duplicates="first"))
    assert {v["value"] for v in table.report["suspicious"].values()} == {-9999.0} and "OT" in table.report["suspicious"]


def test_settings_and_tables_import_no_torch():
    code = "import sys, xlstm_apps.datasets.config, xlstm_apps.datasets.series; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, xlstm_apps.datasets.config; sys.exit('polars' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "options, part",
    [
        ({"decimal": ";"}, "data.decimal is"),
        ({"separator": "ab"}, "data.separator is one character"),
        ({"resample": "mean"}, "data.resample needs data.freq"),
        ({"start": "2024-01-01"}, "data.start needs data.freq"),
        ({"val_fraction": 1.0}, "data.val_fraction is a share"),
        ({"test_fraction": -0.1}, "data.test_fraction is a share"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "leave no rows to train on"),
    ],
)
def test_settings_are_checked(options, part):
    with pytest.raises(ValueError, match=part):
        SeriesData(path="a.csv", **options)
