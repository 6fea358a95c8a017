"""The steps of `sequence infill`: proteins with gaps in, whole ones out, as FASTA or a table."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from rich.console import Console

from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.gaps import Pattern, check_gap_model, fill_gaps, filled_texts, parse_pattern
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.core.sampling import check_sampling
from xlstm_apps.datasets.sequences.fasta import read_fasta
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.recipes._sequence_generate import FASTA, LINE, TABLES
from xlstm_apps.recipes._sequence_protein import behind, family_context
from xlstm_apps.recipes._tables import TableOutput, check_target
from xlstm_apps.recipes._terminal import showing, tell
from xlstm_apps.report.numbers import count
from xlstm_apps.training import files


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How gaps are filled."""

    num_sequences: int
    max_gap: int
    temperature: float
    top_k: int | None
    top_p: float | None
    batch_size: int
    seed: int


class Row(NamedTuple):
    """One protein."""

    pattern: str
    """Name of its pattern."""
    sequence: str
    fillings: list[str]
    log_likelihood: float

    @property
    def added(self) -> int:
        """Residues that were put in."""
        return sum(len(filling) for filling in self.fillings)

    @property
    def bits(self) -> float:
        """-log2 p per residue put in; NaN where there is none."""
        return -self.log_likelihood / self.added / math.log(2) if self.added else math.nan


def run(
    model_path: str,
    pattern: str | None,
    patterns_path: str | None,
    output: str | None,
    context: str | None,
    filling: Filling,
    device: str,
) -> None:
    """Fill the gaps of patterns; see `recipes.sequence_family.infill`."""
    console = Console(stderr=True)
    path = None if output in (None, "-") else Path(str(output))
    if path is not None:
        check_target(path, (*FASTA, *TABLES), "output")
    if filling.num_sequences < 1 or filling.batch_size < 1:
        raise ValueError("num_sequences and batch_size must be at least 1")
    check_sampling(filling.temperature, filling.top_k, filling.top_p)
    patterns = read_patterns(pattern, patterns_path, filling.max_gap)
    if filling.temperature == 0 and filling.num_sequences > 1 and any(one.exact for _, one in patterns):
        raise ValueError(
            "temperature 0 always takes the most probable residue, so all fillings of gaps of one length would be the "
            "same; leave num_sequences out, or give a temperature such as 1"
        )
    model = language_model(model_path, device, verb="fill gaps")
    if model.alphabet.name != "protein":
        raise ValueError(f"{model_path}: gaps are filled in proteins, and this model reads {model.alphabet.name}")
    try:
        check_gap_model(model)
    except ValueError as error:
        raise ValueError(f"{model_path}: {error}") from None
    family = family_context(context, model)
    with showing(console, "filling", filling.num_sequences * len(patterns)) as step:
        rows = []
        for row in filled(model, patterns, filling, family):
            rows.append(row)
            step.advance(1)
    write(rows, path, output)
    show(console, rows, path)
    tell(console, behind(context))


def read_patterns(given: str | None, path: str | None, max_gap: int) -> list[tuple[str, Pattern]]:
    """Patterns and what to call them.

    Raises:
        ValueError: None, or both ways at once; one that cannot be read, names it.
    """
    if (given is None) == (path is None):
        raise ValueError("give a pattern such as 'MKT[5-12]GG[*]', or a FASTA file of them with --patterns_path")
    if given is not None:
        return [(given, _parsed(given, max_gap, "pattern"))]
    assert path is not None
    records = [*read_fasta(path)]
    return [(record.id, _parsed(record.sequence.decode("latin-1"), max_gap, record.where())) for record in records]


def _parsed(text: str, max_gap: int, where: str) -> Pattern:
    try:
        return parse_pattern(text, max_gap)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def filled(
    model: SequenceModel, patterns: list[tuple[str, Pattern]], filling: Filling, family: FamilyContext | None
) -> Iterator[Row]:
    """The proteins, pattern after pattern; behind several contexts they take turns."""
    generator = torch.Generator(model.embedding.weight.device).manual_seed(filling.seed)
    for name, pattern in patterns:
        for begin in range(0, filling.num_sequences, filling.batch_size):
            members = range(begin, min(begin + filling.batch_size, filling.num_sequences))
            state = None if family is None else family.state.select([n % len(family) for n in members])
            made = fill_gaps(
                model, pattern, len(members), state=state, temperature=filling.temperature, top_k=filling.top_k,
                top_p=filling.top_p, generator=generator,
            )  # fmt: skip
            for one, (sequence, fillings) in zip(made, filled_texts(made), strict=True):
                yield Row(name, sequence, fillings, one.log_likelihood)


def write(rows: list[Row], path: Path | None, output: str | None) -> None:
    """As FASTA, or as a table."""
    if path is not None and path.suffix in TABLES:
        TableOutput(output).write([frame(rows)])
    elif path is None:
        sys.stdout.write(fasta(rows))
    else:
        files.write_text(path, fasta(rows))


def fasta(rows: list[Row]) -> str:
    """Records, with what is known about them in the header."""
    parts = []
    for number, row in enumerate(rows, 1):
        about = f"pattern={row.pattern.replace(' ', '')} fillings={','.join(row.fillings)} "
        about += f"log_likelihood={row.log_likelihood:.4f} bits_per_token={row.bits:.4f}"
        parts.append("\n".join([f">filled_{number} {about}", *textwrap.wrap(row.sequence, LINE), ""]))
    return "".join(parts)


def frame(rows: list[Row]) -> pl.DataFrame:
    """The same as rows."""
    return pl.DataFrame(
        {
            "id": [f"filled_{number}" for number in range(1, len(rows) + 1)],
            "pattern": [row.pattern for row in rows],
            "sequence": [row.sequence for row in rows],
            "fillings": [",".join(row.fillings) for row in rows],
            "added": [row.added for row in rows],
            "log_likelihood": [round(row.log_likelihood, 6) for row in rows],
            "bits_per_token": [round(row.bits, 6) for row in rows],
        }
    ).with_columns(pl.col("bits_per_token").fill_nan(None))


def show(console: Console, rows: list[Row], path: Path | None) -> None:
    """What came out, in two lines."""
    added, distinct = np.array([row.added for row in rows]), len({row.sequence for row in rows})
    bits = -sum(row.log_likelihood for row in rows) / max(int(added.sum()), 1) / math.log(2)
    span = f"{added.min():,}" + (f" to {added.max():,}" if added.min() < added.max() else "")
    best = min(range(len(rows)), key=lambda n: rows[n].bits if rows[n].added else math.inf)
    tell(
        console,
        [
            f"{count(len(rows), 'protein')}, {distinct:,} different, {span} residues put in, {bits:.4f} bits each",
            f"most expected: filled_{best + 1}, {rows[best].bits:.4f} bits per residue put in",
            *([] if path is None else [f"proteins in {path}"]),
        ],
    )
