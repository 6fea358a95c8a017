"""The steps of `sequence evaluate`: generated SMILES against training and held-out molecules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from xlstm_apps import report
from xlstm_apps.datasets.molecules.chemistry import quiet
from xlstm_apps.datasets.molecules.config import MoleculeSource
from xlstm_apps.datasets.molecules.curation import Curator
from xlstm_apps.datasets.molecules.metrics import Reference, Valid, Value, compare_sets, few_molecules, read_valid
from xlstm_apps.datasets.sequences.loading import read_source
from xlstm_apps.datasets.sequences.quality import QualityReport
from xlstm_apps.recipes._molecule_mends import OF_FILES, OF_GENERATED, mending
from xlstm_apps.recipes._sequence_filter import check_page
from xlstm_apps.recipes._sequence_origin import run_among, split_of_run
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import note, table_console


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What generated molecules are compared with."""

    training: list[str]
    reference: list[str]
    max_reference: int | None
    fcd: bool
    baseline: bool
    seed: int

    def __post_init__(self) -> None:
        if self.max_reference is not None and self.max_reference < 1:
            raise ValueError(f"max_reference {self.max_reference} is a number of molecules, 1 or more")


def run(
    generated: str,
    compared: Compared,
    output: str | None,
    format: Any,
    smiles_column: str | None,
    page: str | None = None,
) -> None:
    """Compute all metrics, show them, and write them where asked to."""
    check_page(page)
    target = None if output is None else TableOutput(output)
    console = Console(stderr=True)
    with quiet(), console.status("reading the molecules"):
        source = MoleculeSource(path=[generated], format=format, smiles_column=smiles_column)
        with mending(OF_GENERATED):
            records = read_source(source.as_sequences, "smiles")
            texts = [record.sequence.decode("utf-8", "replace") for record in records]
        if not texts:
            raise ValueError(f"{generated}: there is no molecule in it")
        training, held_out = known(compared)
    if held_out is None and (compared.fcd or compared.max_reference is not None):
        raise ValueError("fcd and max_reference are about held-out molecules: give reference, or a run as training")
    rng = np.random.default_rng(compared.seed)
    with quiet(), console.status("comparing"):
        if held_out is not None and compared.max_reference is not None:
            held_out = draw(held_out, compared.max_reference, rng)
        valid = read_valid(texts)
        against = None if held_out is None else Reference.of(read_valid(held_out))
        values = compare_sets(
            valid, training=None if training is None else set(training), reference=against, fcd=compared.fcd
        )
        beside: list[Value] = []
        if compared.baseline and training and against is not None and valid.smiles:
            sample = read_valid(draw(training, len(valid.smiles), rng))
            beside = compare_sets(sample, training=set(training), reference=against, fcd=compared.fcd)
    rows = frame(values, beside)
    table_console().print(metric_table(values, beside))
    said = remarks(valid, values, training, held_out)
    note(console, said)
    if target is not None:
        target.write([rows])
        note(console, [f"metrics in {target.name}"])
    if page is not None:
        report.write_evaluation(
            page, subject=f"evaluate · {Path(generated).name}", smiles=valid.smiles, values=values, beside=beside,
            training=training, held_out=held_out, remarks=said,
        )  # fmt: skip
        note(console, [f"page in {page}"])


def known(compared: Compared) -> tuple[list[str] | None, list[str] | None]:
    """Training and held-out molecules, canonical, each once; None where they are not given.

    Raises:
        ValueError: A run among files, or files that cannot be read.
    """
    training: list[str] | None = None
    held_out: list[str] | None = None
    run = run_among(compared.training)
    if run is not None:
        training, held_out = parts_of_run(run)
    elif compared.training:
        training = canonical(compared.training)
    if compared.reference:
        held_out = canonical(compared.reference)
    return training, held_out


def parts_of_run(path: Path) -> tuple[list[str], list[str] | None]:
    """Molecules of the training and the test part of a run, as the run split them.

    Raises:
        ValueError: The run is of another alphabet, or has no corpus.
    """
    corpus, split = split_of_run(path, "smiles", "molecules")
    tokens = corpus.alphabet["tokens"]
    train, test = (
        ["".join([tokens[i] for i in corpus[n].tolist()]) for n in np.unique(part.record)]
        for part in (split.train, split.test)
    )
    if not corpus.manifest["policy"].get("standardise"):
        train, test = read_valid(train).smiles, read_valid(test).smiles
    return train, test or None


def canonical(paths: Sequence[str]) -> list[str]:
    """Canonical SMILES of files, each once; what is no molecule is left out.

    Raises:
        ValueError: No molecule is in them.
    """
    source = MoleculeSource(path=list(paths))
    with mending(OF_FILES):
        found = Curator(source, "skip")(read_source(source.as_sequences, "smiles"), QualityReport())
        smiles = [record.sequence.decode() for record in found]
    if not smiles:
        raise ValueError(f"{', '.join(paths)}: there is no molecule in it")
    return smiles


def draw(smiles: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """So many at random, or all where there are no more."""
    if count >= len(smiles):
        return smiles
    return [smiles[i] for i in np.sort(rng.choice(len(smiles), count, replace=False))]


def frame(values: list[Value], beside: list[Value]) -> pl.DataFrame:
    """The metrics as rows."""
    other = {value.metric: value.value for value in beside}
    rows = [(v.metric, v.value, v.n, other.get(v.metric), v.about) for v in values]
    schema = {
        "metric": pl.String,
        "value": pl.Float64,
        "n": pl.Int64,
        "training_sample": pl.Float64,
        "about": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("value").fill_nan(None))


def metric_table(values: list[Value], beside: list[Value]) -> Table:
    """The metrics for the terminal."""
    other = {value.metric: value.value for value in beside}
    shown = Table(header_style="bold", caption="n: how many molecules a number is about" if values else None)
    shown.add_column("metric")
    for heading in ("value", *(("drawn from training",) if beside else ()), "n"):
        shown.add_column(heading, justify="right")
    shown.add_column("")
    for value in values:
        cells = [number(value.value), *([number(other.get(value.metric, math.nan))] if beside else [])]
        shown.add_row(value.metric, *cells, f"{value.n:,}", value.about)
    return shown


def number(value: float) -> str:
    """Four digits, or a dash for what cannot be told."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def remarks(valid: Valid, values: list[Value], training: list[str] | None, held_out: list[str] | None) -> list[str]:
    """What a reader should know."""
    lines = []
    if training is None:
        lines.append("novelty is against the training set: give training to have it")
    if held_out is None:
        lines.append("snn, frag, scaf and distances are against held-out molecules: give reference")
    else:
        lines.append(f"compared with {len(held_out):,} held-out molecules")
    few = few_molecules(values)
    return lines if few is None else [*lines, few]
