"""The benchmark on tables not seen before: what is not installed is skipped and said, the page shows the rows."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import forecast_unseen as unseen

from xlstm_apps.datasets import SeriesData, load_table
from xlstm_apps.forecasting import PRESETS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "forecasting.md"


def row(**changes):
    values = {"table": "t", "series": "2", "columns": "3", "rows": "2000", "step": "1h", "horizon": "24"}
    values |= {"mae": "1.0", "mae_seasonal_naive": "2.0", "mae_nlinear": "1.1", "mae_naive": "0.9"}
    values |= {"members": "+".join(PRESETS["xlstm-ens"].members)}
    return values | {"coverage_80": "0.81", "coverage_95": "0.95"} | changes


def test_what_is_missed_is_bold():
    assert unseen.markdown([row()]).splitlines()[2] == "| t | 6, 1,000, 1h | 24 | 0.50 | 0.91 | 1.11 | 81.0 / 95.0 |"
    missed = unseen.markdown([row(mae_nlinear="0.8", coverage_80="0.86")]).splitlines()[2]
    assert "| **1.25** |" in missed and "| **86.0** / 95.0 |" in missed
    assert "| t * |" in unseen.markdown([row(members="naive+ridge+nlinear+mixer+patch")])


def test_a_package_that_is_not_installed_is_skipped_with_a_line(tmp_path, monkeypatch, capsys):
    table = unseen.Table("no-such-package-anywhere==1.0", "nowhere/t.csv", 3)
    monkeypatch.setattr(unseen, "TABLES", {"t": table})
    monkeypatch.setattr(unseen, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["forecast_unseen.py"])
    unseen.main()
    assert "t: skipped, no-such-package-anywhere==1.0 is not installed" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_another_version_counts_as_not_installed():
    assert unseen.Table("pytest==0.0", "pytest/__init__.py", 3).file() is None
    assert unseen.Table(f"pytest=={pytest.__version__}", "pytest/__init__.py", 3).file().is_file()


def test_the_page_shows_the_rows():
    assert unseen.markdown(unseen.rows(unseen.RESULTS / "forecast_unseen.csv")) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", unseen.MADE)
def test_a_table_that_is_made_reads_as_it_says(tmp_path, name):
    table = unseen.made(name)
    assert table.file() is not None
    table.prepare(None, tmp_path / "t.csv")
    kind, found = unseen.MADE[name], load_table(SeriesData(path=str(tmp_path / "t.csv")))
    assert found.values.size >= kind.series * kind.rows and len(found) * len(found.channels) == kind.series
    assert found.freq == {"15min": "15m", "5min": "5m", "mo": "1mo", "q": "1q", "y": "1y", "b": "1b"}.get(
        kind.step, kind.step
    )
    again = tmp_path / "again.csv"
    table.prepare(None, again)
    assert again.read_bytes() == (tmp_path / "t.csv").read_bytes()
