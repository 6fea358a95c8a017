"""The steps of `sequence fitness`: a table of mutants in, the same table with scores out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from xlstm_apps.datasets.sequences.mutant_table import MutantColumns, MutantTable, read_mutants
from xlstm_apps.estimators.sequence_fitness import LENGTH, Fitness, Method, agreement, fitness_scores, work
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.recipes._sequence_protein import family_context, residues
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import note, showing, tell

WHY = {
    "stop": "a stop codon: the protein ends there, of which the model says nothing",
    "ambiguous": "X, B, Z, J, U or O among what changes",
    "mismatch": "the wild type has another residue there",
    "beyond": "the wild type has no such position",
    "unreadable": "no mutation such as A10G",
    "disagrees": "mutations and sequence do not say the same",
    LENGTH: "insertions and deletions have no site to compare; use --method forward",
}
KINDS = {"1 mutation": (1, 1), "2 mutations": (2, 2), "3 and more": (3, math.inf), "other length": (-1, -1)}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How mutants are scored."""

    method: Method
    show_wild_type: bool | None
    batch_symbols: int | None


def run(
    model_path: str,
    mutants: str,
    output: str | None,
    wild_type: str | None,
    context: str | None,
    offset: int,
    columns: MutantColumns,
    column: str,
    on_bad: Literal["error", "skip"],
    asked: Asked,
    device: str,
) -> None:
    """Score the mutants of a table; see `recipes.sequence_family.fitness`."""
    console = Console(stderr=True)
    target = TableOutput(output)
    wild = None if wild_type is None else residues(wild_type, "wild_type")
    table = read_mutants(mutants, wild, offset=offset, columns=columns, on_bad=on_bad)
    added = [column, f"{column}_sd", f"{column}_status"]
    taken = next((name for name in added if name in table.frame.columns), None)
    if taken is not None:
        raise ValueError(
            f"{mutants}: there is a column {taken!r} already; give the new ones another name with --column"
        )
    model = language_model(model_path, device, verb="score mutants")
    if model.alphabet.name != "protein":
        raise ValueError(
            f"{model_path}: this model reads {model.alphabet.name}; mutants of proteins need one of proteins"
        )
    family = family_context(context, model)
    note(console, table.notes)
    began = time.perf_counter()
    with showing(console, "scoring", work(model, table, family, asked.method)) as step:
        fitness = fitness_scores(
            model, table, family, method=asked.method, show_wild_type=asked.show_wild_type,
            tokens=asked.batch_symbols, advance=step.advance,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    target.write([with_scores(table, fitness, added)])
    show(console, table, fitness)
    report(console, table, fitness, None if context is None else Path(context).name, seconds)
    tell(console, [f"scores in the column {column} of {target.name}"])


def with_scores(table: MutantTable, fitness: Fitness, names: list[str]) -> pl.DataFrame:
    """The table as it was, with the scores behind it."""
    score, spread, status = names
    columns = {score: pl.Series(fitness.score).fill_nan(None).round(6)}
    if fitness.spread is not None:
        columns[spread] = pl.Series(fitness.spread).fill_nan(None).round(6)
    columns[status] = pl.Series(fitness.status, dtype=pl.String)
    return table.frame.with_columns(**columns)


def show(console: Console, table: MutantTable, fitness: Fitness) -> None:
    """Scores, and how they agree with what was measured, by number of mutations."""
    shown = Table(title="Mutants", title_justify="left")
    headings = ["", "mutants", "scored", "median score", "below 0"]
    for name in [*headings, *(["Spearman", "measured"] if table.measured is not None else [])]:
        shown.add_column(name, justify="left" if name == "" else "right")

    def row(name: str, chosen: np.ndarray) -> None:
        known = fitness.score[chosen & np.isfinite(fitness.score)]
        cells = [name, f"{int(chosen.sum()):,}", f"{len(known):,}"]
        cells += [f"{np.median(known):+.3f}", f"{(known < 0).mean():.0%}"] if len(known) else ["", ""]
        if table.measured is not None:
            count, rho = agreement(fitness.score, table.measured, chosen)
            cells += ["" if math.isnan(rho) else f"{rho:+.4f}", f"{count:,}"]
        shown.add_row(*cells)

    row("all", np.ones(len(fitness.status), bool))
    kinds = {name: (fitness.differ >= least) & (fitness.differ <= most) for name, (least, most) in KINDS.items()}
    kinds = {name: chosen & np.isfinite(fitness.score) for name, chosen in kinds.items()}
    if sum(bool(chosen.any()) for chosen in kinds.values()) > 1:
        for name, chosen in kinds.items():
            if chosen.any():
                row(name, chosen)
    console.print(shown)


def report(console: Console, table: MutantTable, fitness: Fitness, context: str | None, seconds: float) -> None:
    """How it was done, and what has no score."""
    counts: dict[str, Any] = {}
    for status in fitness.status:
        counts[status] = counts.get(status, 0) + 1
    note(
        console,
        [f"{counts[status]:,} without a score, {status}: {why}" for status, why in WHY.items() if status in counts],
    )
    how = "whole sequences, read forward" if fitness.method == "forward" else "each site hidden, both sides known"
    if context is None:
        behind = "no homologs shown"
    else:
        behind = f"behind {context}, " + (
            "one context" if fitness.contexts == 1 else f"mean of {fitness.contexts} contexts"
        )
    speed = f"; {len(fitness.status) / seconds:,.0f} mutants per second" if seconds >= 1 else ""
    tell(console, [f"log p(mutant) - log p(wild type) in nats: {how}; {behind}{speed}"])
