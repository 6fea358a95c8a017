"""The shipped recipe on the digits, several times: another split and other weights with every seed.

    python benchmarks/vision_digits.py [--seeds 5] [--runs FOLDER]

One row per (seed, model) goes to vision_digits.csv: on the test part, looked at once, at the epoch that was best on
validation. Runs that are in the folder already are not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
from pathlib import Path

from grid import RESULTS, Row, write

FIELDS = ("seed", "model", "n", "accuracy", "mcc", "log_loss", "parameters", "val_loss", "best_epoch", "fit_seconds",
          "device", "torch")  # fmt: skip


def rows_of(run: Path, seed: int) -> list[Row]:
    """What a run says of every model."""
    facts = json.loads((run / "run.json").read_text())
    with (run / "evaluation" / "comparison.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    about = {"seed": seed, "device": facts["device"], "torch": facts["versions"]["torch"]}
    ours = {"val_loss": facts["best_val_loss"], "best_epoch": facts["best_epoch"]}
    rows = []
    for row in found:
        shown = {key: float(row[key]) for key in ("accuracy", "mcc", "log_loss")}
        rows.append({**about, "model": row["model"], "n": row["n"], "parameters": row["parameters"], **shown,
                     "fit_seconds": row["seconds"], **(ours if row["model"] == "xlstm" else {})})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=None, help="folder of the runs. None: a temporary one")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    from xlstm_apps import cli

    with tempfile.TemporaryDirectory() as temporary:
        rows: list[Row] = []
        for seed in range(options.seeds):
            run = (options.runs or Path(temporary)) / f"seed{seed}"
            if not (run / "report.html").is_file():
                cli.run(["vision", "train", "--config", "digits", "--seed", str(seed), "--data.split_seed", str(seed),
                         "--run_dir", str(run)])  # fmt: skip
            rows += rows_of(run, seed)
            write(options.output / "vision_digits.csv", FIELDS, rows)
    for model in dict.fromkeys(row["model"] for row in rows):
        found = [row["accuracy"] for row in rows if row["model"] == model]
        print(f"{model:12s} mean {statistics.mean(found):.4f}, {min(found):.4f} to {max(found):.4f} of {len(found)}")


if __name__ == "__main__":
    main()
