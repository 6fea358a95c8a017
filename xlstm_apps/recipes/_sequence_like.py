"""The steps of `sequence like`: molecules in, new ones like them out, with what the model makes without them beside."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from xlstm_apps import report as pages
from xlstm_apps.biosequence.family import check_family_model
from xlstm_apps.datasets.molecules.chemistry import molecule, quiet
from xlstm_apps.datasets.molecules.config import MoleculeSource
from xlstm_apps.datasets.molecules.curation import Curator
from xlstm_apps.datasets.molecules.filters import FilterConfig, MoleculeFilter
from xlstm_apps.datasets.molecules.properties import calculator
from xlstm_apps.datasets.sequences.loading import read_source
from xlstm_apps.datasets.sequences.quality import QualityReport
from xlstm_apps.estimators.molecule_context import read_set
from xlstm_apps.estimators.molecule_likeness import Candidate, Drawn, Turning, draw_new, turn
from xlstm_apps.estimators.sequence_context import UNKNOWN_ROOM
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.estimators.sequence_training import training_window
from xlstm_apps.recipes._molecule_mends import OF_DATA, mending
from xlstm_apps.recipes._sequence_evaluate import parts_of_run
from xlstm_apps.recipes._sequence_filter import check_page, check_picture, draw, known_molecules
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import note, table_console, tell

SHOWN = 5
LIKE, BEFORE = "like these", "of the model as it was"


def run(
    model_path: str,
    data: MoleculeSource,
    output: str | None,
    picture: str | None,
    num_candidates: int,
    exclude: Sequence[str],
    filters: FilterConfig,
    rank_by: str,
    turning: Turning,
    device: str,
    method: str = "auto",
    page: str | None = None,
) -> None:
    """Turn the model, or let it read, draw, filter, rank and write."""
    if num_candidates < 1:
        raise ValueError(f"num_candidates must be at least 1, not {num_candidates}")
    check_picture(picture)
    check_page(page)
    target, judge = TableOutput(output), MoleculeFilter(filters)
    model = language_model(model_path, device, verb="make up molecules")
    if model.alphabet.name != "smiles" or not model.begins:
        raise ValueError(f"{model_path}: like needs a causal model of molecules, this one is of {model.alphabet.name}")
    shows = model.sequence.sets if method == "auto" else method == "context"
    if shows:
        check_family_model(model)
        for name in ("passes", "learning_rate"):
            if getattr(turning, name) != getattr(Turning, name):
                raise ValueError(f"{name} is for method train, and this model is shown the molecules (method context)")
    console = Console(stderr=True)
    with quiet():
        with mending(OF_DATA):
            records = read_source(data.as_sequences, "smiles")
            given = list(Curator(data, "error", data.repeats)(records, report := QualityReport()))
        known = excluded(exclude, data)
    if not given:
        raise ValueError(f"{', '.join(data.path)}: there is no molecule in it")
    smiles = [record.sequence.decode() for record in given]
    with console.status("drawing without the molecules given"):
        before = draw_new(model, smiles, turning, known)
    if shows:
        with console.status(f"reading {len(smiles):,} molecules, and drawing"):
            window, longest = training_window(model_path) or UNKNOWN_ROOM, max(map(len, smiles)) + 1
            context = read_set(model, smiles, max_symbols=max(window - longest, longest), seed=turning.seed)
            after = draw_new(model, smiles, turning, known, context=context)
        read = np.mean([len(fact["molecules"]) for fact in context.about["contexts"]])
        tell(console, [f"shown to the model, {read:.0f} of {len(smiles):,} at a time, in {len(context)} orders"])
    else:
        with console.status(f"learning from {len(smiles):,} molecules, and drawing"):
            after = draw_new(turn(model, smiles, turning), smiles, turning, known)
    kept, taken = passed(after.candidates, judge)
    if rank_by == "perplexity":
        kept.sort(key=lambda candidate: (candidate.perplexity, candidate.smiles))
    written = kept[:num_candidates]
    target.write([frame(written, [record.id for record in given])])
    if picture is not None:
        legends = [f"{candidate.similarity:.2f} to {given[candidate.nearest].id}" for candidate in written]
        draw(picture, [molecule(candidate.smiles) for candidate in written], legends)
    if page is not None:
        names = [record.id for record in given]
        found = pages.Candidates(
            subject=f"like · {Path(data.path[0]).name}", given=smiles, smiles=[one.smiles for one in written],
            legends=[f"{one.similarity:.2f} to {names[one.nearest]}" for one in written],
            draws=[similar(name, drawn) for name, drawn in ((LIKE, after), (BEFORE, before))],
            notes=[f"{count:,} candidates taken out by {stage}" for stage, count in taken.items()],
        )  # fmt: skip
        pages.write_candidates(page, found)
    table_console(stderr=True).print(comparison(before, after))
    left_out = [f"{count:,} given molecules left out ({reason})" for reason, count in report.left_out.items()]
    note(console, left_out + report.notes)
    note(console, [f"{count:,} candidates taken out by {stage}" for stage, count in taken.items()])
    if len(smiles) < SHOWN:
        note(console, [f"{len(smiles)} molecules say little of what they have in common"])
    lines = [f"{len(written):,} of {len(kept):,} new molecules written" + (f" to {output}" if target.path else "")]
    lines += [] if page is None else [f"page in {page}"]
    tell(console, lines)


def excluded(paths: Sequence[str], data: MoleculeSource) -> set[str]:
    """Canonical SMILES that are known already: of files, and of the training parts of runs."""
    runs = [path for path in paths if (Path(path) / "run.json").is_file()]
    known = known_molecules([path for path in paths if path not in runs], data)
    for path in runs:
        known.update(parts_of_run(Path(path))[0])
    return known


def passed(candidates: Sequence[Candidate], judge: MoleculeFilter) -> tuple[list[Candidate], Counter[str]]:
    """Those that pass the filters, and how many each stage took."""
    kept, taken = [], Counter()
    with quiet():
        for candidate in candidates:
            found = judge(molecule(candidate.smiles))
            if found is None:
                kept.append(candidate)
            else:
                taken[found[0]] += 1
    return kept, taken


def frame(candidates: Sequence[Candidate], names: Sequence[str]) -> pl.DataFrame:
    """Candidates as rows."""
    with quiet():
        mols = [molecule(candidate.smiles) for candidate in candidates]
        properties = {
            name: [round(float(calculator(name)(mol)), 4) for mol in mols] for name in ("mw", "logp", "qed", "sa")
        }
    content = {
        "rank": list(range(1, len(candidates) + 1)),
        "smiles": [candidate.smiles for candidate in candidates],
        "similarity": [round(candidate.similarity, 4) for candidate in candidates],
        "nearest": [names[candidate.nearest] for candidate in candidates],
        "perplexity": [round(candidate.perplexity, 4) for candidate in candidates],
        "drawn": [candidate.drawn for candidate in candidates],
        "new_scaffold": [candidate.new_scaffold for candidate in candidates],
        **properties,
    }
    kinds = {"rank": pl.Int64, "smiles": pl.String, "nearest": pl.String, "drawn": pl.Int64, "new_scaffold": pl.Boolean}
    return pl.DataFrame(content, schema={name: kinds.get(name, pl.Float64) for name in content})


def similar(name: str, drawn: Drawn) -> "pages.Similar":
    """What the page says of draws."""
    return pages.Similar(
        name=name, similarity=[candidate.similarity for candidate in drawn.candidates], draws=drawn.draws,
        known=drawn.known, repeated=drawn.repeated,
    )  # fmt: skip


def comparison(before: Drawn, after: Drawn) -> Table:
    """What the model makes with the molecules given and without, for the terminal."""
    shown = Table(header_style="bold", min_width=70)
    shown.add_column("draws")
    for heading in ("similarity to the nearest given", "new molecules", "given or excluded", "repeated"):
        shown.add_column(heading, justify="right")
    for name, drawn in ((LIKE, after), (BEFORE, before)):
        similarity = f"{drawn.similarity:.4f}" if drawn.candidates else "-"
        counts = (len(drawn.candidates), drawn.known, drawn.repeated)
        shown.add_row(name, similarity, *(f"{count:,} ({count / drawn.draws:.0%})" for count in counts))
    return shown
