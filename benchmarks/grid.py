"""Benchmarks of many cells: a row of a CSV each, learning rates chosen on validation, gone on with at any time."""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """A benchmark: which rows there are to be, and how one is made."""

    name: str
    """File of the rows, in the output folder; rows of the same file in `results` count as there."""
    fields: tuple[str, ...]
    key: tuple[str, ...]
    """Fields that say which cell a row is; `learning_rate` and `seed` among them."""
    group: tuple[str, ...]
    """Those of a group that shares its learning rate: the best of the grid at seed 0, by `judged`."""
    judged: str
    """Field to be low on validation."""
    run: Callable[[argparse.Namespace, Row], Row]
    told: Callable[[Row], str]
    """What is shown of a row."""

    def cell(self, row: Row) -> tuple[str, ...]:
        return tuple(_same(row.get(k, "")) for k in self.key)

    def rows(self, output: Path) -> list[Row]:
        """Rows of the output folder, and those of the results that it does not have."""
        rows = read(output / self.name)
        have = {self.cell(row) for row in rows}
        return rows + [row for row in read(RESULTS / self.name) if self.cell(row) not in have]

    def write(self, output: Path, rows: list[Row]) -> None:
        write(output / self.name, self.fields, rows)

    def rate(self, rows: list[Row], group: Row, rates: list[float]) -> float | None:
        """The learning rate chosen for a group; None until all of the grid are there."""
        wanted = {self.cell({**group, "learning_rate": rate, "seed": 0}): rate for rate in rates}
        found = {wanted[self.cell(row)]: float(row[self.judged]) for row in rows if self.cell(row) in wanted}
        return min(found, key=lambda rate: found[rate]) if len(found) == len(rates) else None

    def todo(self, rows: list[Row], groups: list[Row], rates: list[float], seeds: int, busy: set) -> list[Row]:
        """Cells that can be made now: the grid first, then the other seeds of what it chose."""
        cells = [{**group, "learning_rate": rate, "seed": 0} for group in groups for rate in rates]
        for group in groups:
            if (rate := self.rate(rows, group, rates)) is not None:
                cells += [{**group, "learning_rate": rate, "seed": seed} for seed in range(1, seeds)]
        done = {self.cell(row) for row in rows} | busy
        return [cell for cell in cells if self.cell(cell) not in done]

    def measure(self, options: argparse.Namespace, groups: list[Row]) -> int:
        """Make the rows that are missing as long as there is time; returns how many cells failed."""
        rows = self.rows(options.output)
        started, failures = time.monotonic(), set()
        running: dict[Future, tuple[Row, float]] = {}
        longest: dict[tuple[str, ...], float] = {}

        def kind(cell: Row) -> tuple[str, ...]:
            return tuple(str(cell[k]) for k in self.group)

        with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
            while True:
                now = time.monotonic() - started
                busy = {self.cell(cell) for cell, _ in running.values()} | failures
                for cell in self.todo(rows, groups, options.rates, options.seeds, busy):
                    fits = now + 1.1 * longest.get(kind(cell), 0.35 * options.seconds) < options.seconds
                    if len(running) < options.workers and fits:
                        running[pool.submit(_work, self.run, options, cell)] = (cell, now)
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell, since = running.pop(future)
                    took = time.monotonic() - started - since
                    longest[kind(cell)] = max(took, longest.get(kind(cell), 0))
                    label = f"{' '.join(kind(cell))} {cell['learning_rate']:g} seed {cell['seed']}"
                    row = future.result()
                    if isinstance(row, str):
                        failures.add(self.cell(cell))
                        print(f"FAILED {label}: {row}", flush=True)
                        continue
                    rows.append(row)
                    self.write(options.output, rows)
                    print(f"{time.monotonic() - started:4.0f} s  {label}: {self.told(row)} ({took:.0f} s)", flush=True)
        left = len(self.todo(rows, groups, options.rates, options.seeds, failures))
        print(f"at least {left} cells are left" if left else "nothing is left", flush=True)
        return len(failures)


def arguments(parser: argparse.ArgumentParser, rates: tuple[float, ...], seeds: int) -> None:
    """Options that all grids have."""
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the rows")
    parser.add_argument("--rates", nargs="+", type=float, default=list(rates), help="learning rates to choose among")
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds")
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; they share the device")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no cell that would end after this time")
    parser.add_argument("--summary", action="store_true", help="only show what the rows say")


def read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, fields: tuple[str, ...], rows: list[Row]) -> None:
    """The whole file or nothing."""
    path.parent.mkdir(exist_ok=True, parents=True)
    aside = path.with_suffix(".partial")
    with aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _short(k, v) for k, v in row.items()})
    aside.replace(path)


def _short(name: str, value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) and name != "learning_rate" else value


def _same(value: Any) -> str:
    """A cell as text that does not depend on whether it has been in a file."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return str(value)


def _work(run: Callable[[argparse.Namespace, Row], Row], options: argparse.Namespace, cell: Row) -> Row | str:
    import warnings

    import torch

    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # for every network alike
    try:
        return run(options, cell)
    except Exception as error:  # one cell that fails does not end the others; it is shown and counted
        return f"{type(error).__name__}: {str(error)[:300]}"
