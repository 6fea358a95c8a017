"""The steps of `sequence context`: homologs, or molecules, in, the state of a model that has read them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from xlstm_apps.biosequence.family import SUFFIX, FamilyContext, check_family_model
from xlstm_apps.datasets.sequences.family_file import read_family
from xlstm_apps.estimators.sequence_context import UNKNOWN_ROOM, DrawOptions, build_context, source_facts
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.estimators.sequence_training import training_data, training_window
from xlstm_apps.recipes._sequence_molecules import save_context
from xlstm_apps.recipes._sequence_protein import residues
from xlstm_apps.recipes._tables import check_target
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.training import files


def run(
    model_path: str,
    family_path: str,
    output: str,
    query: str | None,
    aligned: bool | None,
    on_bad: Literal["error", "skip"],
    options: DrawOptions,
    device: str,
) -> None:
    """Make the context of a family; see `recipes.sequence_family.context`."""
    console = Console(stderr=True)
    target = Path(output)
    check_target(target, (SUFFIX,), "output")
    model = language_model(model_path, device, verb="read a family")
    check_family_model(model)
    if model.alphabet.name == "smiles":
        for name, value in (("query", query), ("aligned", aligned)):
            if value is not None:
                raise ValueError(f"{name} is for proteins; leave it out")
        save_context(console, model, model_path, family_path, output, options, on_bad)
        return
    family = read_family(family_path, None if query is None else residues(query, "query"), aligned=aligned)
    options, why = with_room(options, model_path)
    about = source_facts(model_path, family_path)
    most = len(family) if options.num_homologs is None else min(options.num_homologs, len(family))
    with showing(console, "reading homologs", options.draws * most) as step:
        context, notes = build_context(model, family, options, on_bad=on_bad, about=about, advance=step.advance)
    with files.replacing(target) as aside:
        context.save(aside)
    show(console, context)
    learned = training_data(model_path)
    if learned is not None and learned.get("families", "none") == "none":
        notes.append("this model learned from single proteins (data.families none), so homologs may not help it")
    note(console, [*notes, *([why] if why else [])])
    size = target.stat().st_size
    shown = f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
    tell(console, [f"context in {target}, {shown} however many homologs; goes with this model alone"])


def with_room(options: DrawOptions, model_path: str) -> tuple[DrawOptions, str]:
    """The options with as many symbols as the model was trained to read, where nobody said how many; and why."""
    if options.max_symbols is not None:
        return options, ""
    window = training_window(model_path)
    why = f"max_symbols {window:,}: the training windows of this model" if window is not None else (
        f"max_symbols {UNKNOWN_ROOM:,}: the model does not say how long its training windows were"
    )  # fmt: skip
    return replace(options, max_symbols=UNKNOWN_ROOM if window is None else window), why


def show(console: Console, context: FamilyContext) -> None:
    """What was drawn, a line for each context."""
    about: Any = context.about
    table = Table(title=f"Homologs of {about['family']}", title_justify="left")
    for name in ("draw", "homologs", "symbols", "identity to the query"):
        table.add_column(name, justify="right")
    for number, fact in enumerate(about["contexts"], 1):
        identity = fact["identity"]
        span = f"{min(identity):.0%} to {max(identity):.0%}" if identity else "not known"
        table.add_row(str(number), f"{len(fact['homologs']):,}", f"{fact['symbols']:,}", span)
    console.print(table)
    tell(console, [f"drawn from {about['sequences']:,} sequences, worth {about['effective']:,.1f} by their likeness"])
