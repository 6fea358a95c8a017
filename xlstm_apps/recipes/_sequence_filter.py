"""The steps of `sequence filter`: molecules in, those that pass out, and a funnel that says where the others went."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console
from rich.table import Table

from xlstm_apps import report
from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
from xlstm_apps.datasets.molecules.config import MoleculeSource
from xlstm_apps.datasets.molecules.curation import Curator, Reject
from xlstm_apps.datasets.molecules.drawing import grid
from xlstm_apps.datasets.molecules.filters import FilterConfig, MoleculeFilter
from xlstm_apps.datasets.molecules.properties import PROPERTIES, calculator
from xlstm_apps.datasets.molecules.selfies_notation import LISTS, list_line, no_words, to_selfies
from xlstm_apps.datasets.sequences.loading import read_source
from xlstm_apps.datasets.sequences.quality import QualityReport
from xlstm_apps.recipes._molecule_mends import OF_DATA, OF_FILES, mending
from xlstm_apps.recipes._tables import SEPARATORS, TableOutput, check_target
from xlstm_apps.recipes._terminal import table_console, tell
from xlstm_apps.training import files

Wanted = FilterConfig
KNOWN = "known already"


class Kept(NamedTuple):
    """A molecule that passed."""

    id: str
    smiles: str
    mol: Any


@dataclass
class Funnel:
    """How many molecules each stage took."""

    read: int
    stages: list[str]
    taken: Counter[str]
    notes: list[str]
    """What was done to the molecules on the way."""

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """Stage, how many it took, how many were left."""
        left = self.read
        for stage in self.stages:
            left -= self.taken[stage]
            yield stage, self.taken[stage], left


def run(
    data: MoleculeSource,
    output: str | None,
    rejects: str | None,
    picture: str | None,
    wanted: FilterConfig,
    exclude: Sequence[str],
    properties: Sequence[str] | None,
    page: str | None = None,
) -> None:
    """Filter, write, and show the funnel."""
    as_list = output is not None and output.endswith(LISTS)
    if as_list:
        check_target(Path(str(output)), LISTS, "output")
        if Path(str(output)).suffix == ".selfies":
            to_selfies("C")  # now, and not after the work, is told that the package is missing
    elif output not in (None, "-"):
        check_target(Path(str(output)), (*LISTS, *SEPARATORS, ".parquet"), "output")
    check_picture(picture)
    check_page(page)
    rejected = None if rejects is None else TableOutput(rejects, "rejects")
    judge = MoleculeFilter(wanted)
    names = columns(judge, properties)
    if as_list and properties:
        raise ValueError("a list has no room for properties; write to .tsv, .csv or .parquet, or leave them out")
    console = Console(stderr=True)
    with quiet(), console.status("filtering"):
        kept, left_out, funnel = sift(data, judge, known_molecules(exclude, data))
        frame = table(kept, names)
    if as_list:
        rows = [list_line(row.smiles, row.id, Path(str(output)).suffix) for row in kept]
        files.write_text(str(output), "".join(filter(None, rows)))
    else:
        TableOutput(output).write([frame])
    if picture is not None:
        draw(picture, [row.mol for row in kept], [row.id for row in kept])
    if rejected is not None:
        rejected.write([pl.DataFrame(left_out, schema=Reject._fields, orient="row")])
    if page is not None:
        report.write_funnel(
            page, subject=f"filter · {Path(data.path[0]).name}", read=funnel.read, stages=list(funnel.rows()),
            kept=[row.smiles for row in kept], names=[row.id for row in kept],
            rejected=[row.smiles for row in left_out if row.reason != "repeated"],
        )  # fmt: skip
    table_console(stderr=True).print(funnel_table(funnel))
    lines = [f"{len(kept):,} of {funnel.read:,} molecules pass", *funnel.notes]
    lines += no_words(rows.count(None)) if as_list else []
    lines += [] if output in (None, "-") else [f"molecules in {output}"]
    lines += [] if page is None else [f"page in {page}"]
    tell(console, lines + ([] if rejects is None else [f"what did not pass, and why, in {rejects}"]))


def check_picture(picture: str | None) -> None:
    """Find out before any work whether a picture can be written.

    Raises:
        ValueError: Another ending, or a folder that does not exist.
    """
    if picture is not None:
        check_target(Path(picture), (".svg",), "picture")


def check_page(page: str | None) -> None:
    """Find out before any work whether a page can be written.

    Raises:
        ValueError: Another ending, or a folder that does not exist.
    """
    if page is not None:
        check_target(Path(page), (".html",), "page")


def draw(picture: str, molecules: Sequence[Any], legends: Sequence[str]) -> None:
    """Write the structures of the first molecules."""
    files.write_text(picture, grid(molecules, legends))


def columns(judge: MoleculeFilter, properties: Sequence[str] | None) -> list[str]:
    """Properties to write.

    Raises:
        ValueError: There is no such property.
    """
    if properties is None:
        return list(judge.properties)
    names = list(PROPERTIES) if list(properties) == ["all"] else list(dict.fromkeys(properties))
    for name in names:
        calculator(name)
    return names


def known_molecules(paths: Sequence[str], data: MoleculeSource) -> set[str]:
    """Canonical SMILES of files, salts and stereochemistry as in `data`; what is no molecule there is left out."""
    if not paths:
        return set()
    source = MoleculeSource(path=list(paths), salts=data.salts, stereo=data.stereo)
    with mending(OF_FILES):
        records = read_source(source.as_sequences, "smiles")
        return {record.sequence.decode() for record in Curator(source, "skip")(records, QualityReport())}


def sift(data: MoleculeSource, judge: MoleculeFilter, known: set[str]) -> tuple[list[Kept], list[Reject], Funnel]:
    """What passes, what does not, and how many each stage took.

    Raises:
        ValueError: There is no record in the files, or one cannot be read.
    """
    curator, report = Curator(data, "skip", data.repeats), QualityReport()
    kept: list[Kept] = []
    later: list[Reject] = []
    read = 0
    with mending(OF_DATA):
        for record in curator(read_source(data.as_sequences, "smiles"), report):
            read += 1
            smiles = record.sequence.decode()
            mol = molecule(smiles)
            found = (KNOWN, smiles) if smiles in known else judge(mol)
            if found is None:
                kept.append(Kept(record.id, smiles, mol))
            else:
                later.append(Reject(record.id, record.line, smiles, *found))
    read += len(curator.rejects)
    if read == 0:
        raise ValueError(f"{', '.join(data.path)}: there is no record in it")
    taken = Counter(reject.reason for reject in (*curator.rejects, *later))
    early = list(dict.fromkeys(reject.reason for reject in curator.rejects))
    early.sort(key=lambda reason: (reason == "repeated", -taken[reason]))
    stages = [*early, *([KNOWN] if known else []), *judge.stages]
    return kept, [*curator.rejects, *later], Funnel(read, stages, taken, report.notes)


def table(kept: Sequence[Kept], names: Sequence[str]) -> pl.DataFrame:
    """Molecules as rows, with properties."""
    content: dict[str, Any] = {
        "id": pl.Series([row.id for row in kept], dtype=pl.String),
        "smiles": pl.Series([row.smiles for row in kept], dtype=pl.String),
    }
    for name in names:
        value_of = calculator(name)
        content[name] = pl.Series([round(float(value_of(row.mol)), 4) for row in kept], dtype=pl.Float64)
    return pl.DataFrame(content)


def funnel_table(funnel: Funnel) -> Table:
    """The funnel for the terminal."""
    shown = Table(header_style="bold", min_width=50)
    shown.add_column("filter")
    for heading in ("taken out", "left", "of all"):
        shown.add_column(heading, justify="right")
    shown.add_row("read", "", f"{funnel.read:,}", "100.0%")
    for stage, taken, left in funnel.rows():
        shown.add_row(stage.replace("[", "\\["), f"{taken:,}", f"{left:,}", f"{left / funnel.read:.1%}")
    return shown
