"""The forecasting numbers of the README: the demo as anyone runs it, its comparison kept.

python benchmarks/forecast_demo.py    # two minutes; writes benchmarks/results/forecast_demo.csv
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from xlstm_apps import cli

RESULTS = Path(__file__).parent / "results" / "forecast_demo.csv"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "demo"
        cli.run(["demo", "--run_dir", str(run)])
        shutil.copyfile(run / "evaluation" / "comparison.csv", RESULTS)
        seconds = json.loads((run / "run.json").read_text())["seconds"]
    print(f"written to {RESULTS}; {sum(seconds.values()):.0f} s of work: {seconds}")


if __name__ == "__main__":
    main()
