"""Rows that the benchmarks wrote, for tests of the pages that quote them."""

import csv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "results"


def results(name: str) -> list[dict[str, str]]:
    """Rows of a file by its name without ending."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return [*csv.DictReader(file)]
