"""Benchmarks of many cells: a row of a CSV each, learning rates chosen on validation, gone on with at any time."""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


class Late(Exception):  # noqa: N818
    """Time was up in the middle of a cell; what it has is kept, and the same command goes on from there."""


@dataclass(frozen=True)
class Before:
    """What some groups wait for while others are worked on."""

    work: Callable[[argparse.Namespace], None]
    waits: Callable[[Row], bool]


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
    """Makes the row of a cell. `options.folder` is the cell's own, for what it may go on from (`grid_fit.py`)."""
    told: Callable[[Row], str]
    """What is shown of a row."""
    test: Callable[[argparse.Namespace, Row], Row] | None = None
    """Rest of a row, which is made of the chosen learning rate only, from what `run` left in the cell's folder."""
    tested: str = ""
    """A field of that rest."""

    def cell(self, row: Row) -> tuple[str, ...]:
        return cell_of(row, self.key)

    def rows(self, output: Path) -> list[Row]:
        return known_rows(output, self.name, self.key)

    def write(self, output: Path, rows: list[Row]) -> None:
        write(output / self.name, self.fields, rows)

    def rate(self, rows: list[Row], group: Row, rates: list[float]) -> float | None:
        """The learning rate chosen for a group; None until it is lower than its neighbours in the grid."""
        rate, missing = self._climb(rows, group, rates)
        return None if missing else rate

    def _climb(self, rows: list[Row], group: Row, rates: list[float]) -> tuple[float, list[float]]:
        """The best rate so far, and those to be tried before it is chosen: from the middle of the grid to its side
        where validation is lower, as far as it goes down."""
        ordered = sorted(rates)
        wanted = {self.cell({**group, "learning_rate": rate, "seed": 0}): rate for rate in ordered}
        found = {wanted[self.cell(row)]: float(row[self.judged]) for row in rows if self.cell(row) in wanted}
        middle = ordered[len(ordered) // 2]
        best = min(found, key=lambda rate: found[rate]) if middle in found else middle
        at = ordered.index(best)
        return best, [rate for rate in (best, *ordered[at + 1 : at + 2], *ordered[:at][-1:]) if rate not in found]

    def todo(
        self,
        rows: list[Row],
        groups: list[Row],
        rates: list[float],
        seeds: int,
        busy: set,
        running: frozenset | set = frozenset(),
    ) -> list[Row]:
        """Cells that can be worked on now, the most useful first: what was chosen and not tested yet, then the grid of
        all groups in turn, then the other seeds. Cells that are only to be tested are their rows. What is `running`
        may be the best of its group."""
        known = {self.cell(row): row for row in rows}
        tests, searches, others = [], [], []
        for group in groups:
            best, missing = self._climb(rows, group, rates)
            tried = {self.cell({**group, "learning_rate": rate, "seed": 0}) for rate in rates}
            if missing or tried & running - known.keys():
                searches.append([{**group, "learning_rate": rate, "seed": 0} for rate in missing])
                continue
            cells = [{**group, "learning_rate": best, "seed": seed} for seed in range(seeds)]
            rest = [{**known[self.cell(cell)], **cell} for cell in cells if self.cell(cell) in known]
            tests += [row for row in rest if self.test is not None and row.get(self.tested) in (None, "")]
            others.append([cell for cell in cells if self.cell(cell) not in known])
        cells = tests + [cell for turns in (searches, others) for turn in zip_longest(*turns) for cell in turn if cell]
        return [cell for cell in cells if self.cell(cell) not in busy | running]

    def folder(self, options: argparse.Namespace, cell: Row) -> Path:
        """Where a cell keeps what it may go on from."""
        kept = getattr(options, "kept", None) or options.output / "cells"
        return kept / "_".join([self.name.removesuffix(".csv"), *(part for part in self.cell(cell) if part)])

    def measure(self, options: argparse.Namespace, groups: list[Row], before: Before | None = None) -> int:
        """Make the rows that are missing as long as there is time; returns how many cells failed."""
        rows = self.rows(options.output)
        options.precision = precision(options)
        started, failures, late = time.monotonic(), set(), set()
        options.until = time.time() + options.seconds  # by a clock that all processes share
        running: dict[Future, tuple[Row, float]] = {}
        longest: dict[tuple[str, ...], float] = {}

        def kind(cell: Row) -> tuple[str, ...]:
            return tuple(str(cell[k]) for k in self.group)

        def expected(cell: Row) -> float:
            """Seconds of a cell by those before; none is known of the first ones, which stop when time is up."""
            if self.judged in cell:
                return 0.0  # only to be tested
            return 1.1 * longest.get(kind(cell), max(longest.values(), default=0.0))

        with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
            first = None if before is None else pool.submit(before.work, options)
            while True:
                now = time.monotonic() - started
                now_running = {self.cell(cell) for cell, _ in running.values()}
                ready = [group for group in groups if first is None or before is None or not before.waits(group)]
                for cell in self.todo(rows, ready, options.rates, options.seeds, failures | late, now_running):
                    free = options.workers - len(running) - (first is not None)
                    if free > 0 and now + expected(cell) < options.seconds:
                        chosen = self.rate(rows, cell, options.rates)
                        test = chosen is not None and _same(chosen) == _same(cell["learning_rate"])
                        own = argparse.Namespace(**{**vars(options), "folder": self.folder(options, cell)})
                        job = pool.submit(_work, self.run, self.test if test else None, own, cell, self.judged)
                        running[job] = (cell, now)
                if not running and first is None:
                    break
                for future in wait([*running, *([first] if first else [])], return_when=FIRST_COMPLETED).done:
                    if future is first:
                        first = None
                        if (error := future.exception()) is not None:
                            print(f"FAILED what cells wait for: {type(error).__name__}: {error}", flush=True)
                            failures.add(("before",))
                            groups = ready  # those that wait are not made
                        continue
                    cell, since = running.pop(future)
                    took = time.monotonic() - started - since
                    label = f"{' '.join(kind(cell))} {float(cell['learning_rate']):g} seed {cell['seed']}"
                    row = future.result()
                    if isinstance(row, Late):
                        late.add(self.cell(cell))
                        print(f"{time.monotonic() - started:4.0f} s  {label}: {row}", flush=True)
                        continue
                    if isinstance(row, str):
                        failures.add(self.cell(cell))
                        print(f"FAILED {label}: {row}", flush=True)
                        continue
                    if self.judged not in cell:
                        longest[kind(cell)] = max(took, longest.get(kind(cell), 0))
                    rows = [other for other in rows if self.cell(other) != self.cell(cell)] + [row]
                    self.write(options.output, rows)
                    self._tidy(options, rows, groups)
                    print(f"{time.monotonic() - started:4.0f} s  {label}: {self.told(row)} ({took:.0f} s)", flush=True)
        left = len(self.todo(rows, groups, options.rates, options.seeds, failures))
        print(f"at least {left} cells are left" if left else "nothing is left", flush=True)
        return len(failures)

    def _tidy(self, options: argparse.Namespace, rows: list[Row], groups: list[Row]) -> None:
        """Delete what nothing will go on from: weights of rows that are whole, or whose rate was not chosen."""
        for group in groups:
            own = [row for row in rows if all(_same(row.get(k, "")) == _same(group[k]) for k in self.group)]
            rate = self.rate(rows, group, options.rates)
            for row in own:
                untested = self.test is not None and row.get(self.tested) in (None, "")
                if not untested or (rate is not None and _same(rate) != _same(row["learning_rate"])):
                    shutil.rmtree(self.folder(options, row), ignore_errors=True)

    def chosen(self, rows: list[Row], group: Row, rates: list[float], seeds: int) -> tuple[float | None, list[Row]]:
        """The rate of a group, and its rows."""
        rate = self.rate(rows, group, rates)
        wanted = {self.cell({**group, "learning_rate": rate, "seed": seed}) for seed in range(seeds)}
        return rate, [row for row in rows if self.cell(row) in wanted]


def arguments(parser: argparse.ArgumentParser, rates: tuple[float, ...], seeds: int) -> None:
    """Options that all grids have."""
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the rows")
    parser.add_argument("--rates", nargs="+", type=float, default=list(rates), help="learning rates to choose among")
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds")
    devices(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; they share the device")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no cell that would end after this time")
    parser.add_argument("--kept", type=Path, help="folder of unfinished cells; `cells` in that of the rows if left out")
    parser.add_argument("--summary", action="store_true", help="only show what the rows say")


def devices(parser: argparse.ArgumentParser) -> None:
    """Options of what is computed where."""
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "cuda"])
    formats = ["auto", "32-true", "bf16-mixed", "16-mixed"]
    parser.add_argument("--precision", default="auto", choices=formats, help="of training; auto: bf16-mixed on a GPU")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each process")


def precision(options: argparse.Namespace) -> str:
    """The number format asked for, or the usual one of the device."""
    import torch

    if options.precision != "auto":
        return options.precision
    return "bf16-mixed" if options.accelerator != "cpu" and torch.cuda.is_available() else "32-true"


def finish(parser: argparse.ArgumentParser, summary: Callable[..., None], measure: Callable[..., int]) -> None:
    """What a script does with its arguments in the end."""
    options = parser.parse_args()
    if options.summary:
        summary(options)
    elif failed := measure(options):
        raise SystemExit(f"{failed} cells failed")


def show(lines: list[tuple[str, float | None, list[Row]]], shown: tuple[str, ...], digits: int = 4) -> None:
    """A table of means over seeds, with deviations: what is shown, its learning rate, its rows. Empty ones are not."""
    width = max(len(label) for label, *_ in lines)
    titles = [name.replace("_", " ") for name in shown]
    print(f"{'':{width}s} {'weights':>9s} {'rate':>7s} n " + " ".join(f"{title:>18s}" for title in titles))
    for label, rate, rows in lines:
        if rows:
            head = f"{label:{width}s} {rows[0].get('parameters') or '-':>9} {rate or '-':>7} {len(rows)} "
            print(head + " ".join(f"{cell:>18s}" for cell in spread(rows, shown, digits)))


def spread(rows: list[Row], names: tuple[str, ...], digits: int) -> list[str]:
    """Mean of each field, and the deviation where there are several values."""
    cells = []
    for name in names:
        found = [float(row[name]) for row in rows if row.get(name) not in (None, "")]
        more = f" ±{statistics.stdev(found):.{digits}f}" if len(found) > 1 else ""
        cells.append(f"{statistics.mean(found):.{digits}f}{more}" if found else "-")
    return cells


def cell_of(row: Row, key: tuple[str, ...]) -> tuple[str, ...]:
    """Which cell a row is, whether it has been in a file or not."""
    return tuple(_same(row.get(k, "")) for k in key)


def known_rows(output: Path, name: str, key: tuple[str, ...]) -> list[Row]:
    """Rows of a file in the output folder, and those of the results that it does not have."""
    rows = read(output / name)
    have = {cell_of(row, key) for row in rows}
    return rows + [row for row in read(RESULTS / name) if cell_of(row, key) not in have]


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


def _work(
    run: Callable[[argparse.Namespace, Row], Row],
    test: Callable[[argparse.Namespace, Row], Row] | None,
    options: argparse.Namespace,
    cell: Row,
    judged: str,
) -> Row | str | Late:
    import warnings

    import torch

    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # for every network alike
    try:
        row = cell if judged in cell and options.folder.is_dir() else {**cell, **run(options, cell)}
        # A row without its test is one, too; the test comes when there is time.
        return row if test is None or time.time() > options.until else {**row, **test(options, row)}
    except Late as late:
        return late
    except Exception as error:  # one cell that fails does not end the others; it is shown and counted
        return f"{type(error).__name__}: {str(error)[:300]}"
