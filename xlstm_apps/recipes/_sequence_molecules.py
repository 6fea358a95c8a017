"""A file of molecules as the set that a model reads first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from xlstm_apps.biosequence.alphabets import SMILES
from xlstm_apps.biosequence.family import SUFFIX, FamilyContext, check_family_model
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.datasets.sequences.loading import open_corpus
from xlstm_apps.estimators.molecule_context import DRAWS, read_set
from xlstm_apps.estimators.sequence_context import UNKNOWN_ROOM, DrawOptions, source_facts
from xlstm_apps.estimators.sequence_training import training_data, training_window
from xlstm_apps.recipes._molecule_mends import NAME_COLUMN, SKIP_BAD
from xlstm_apps.recipes._tables import check_target
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.training import files

_LISTS = (".txt", "")
"""Endings of what is taken for a list of SMILES, beside those that say so."""


def context_of_file(
    path: str,
    model: SequenceModel,
    model_path: str,
    *,
    draws: int = DRAWS,
    num_molecules: int | None = None,
    max_symbols: int | None = None,
    on_bad: Literal["error", "skip"] = "error",
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> tuple[FamilyContext, list[str]]:
    """Let a model read the molecules of a file, each once, written as in its training; and what to say about them.

    Args:
        path: List of SMILES, SDF, table or FASTA.
        model: One that was trained on sets.
        model_path: Where it lies: its run says how molecules are written, and how long its windows were.
        draws: As in `read_set`.
        num_molecules: As there.
        max_symbols: As there. None: so many that they and one more fit into a training window.
        on_bad: What to do with what is no molecule.
        seed: As in `read_set`.
        advance: As there.

    Raises:
        ValueError: As `read_set`; a file that cannot be read, or with what is no molecule.
    """
    check_family_model(model)
    given: Any = written_as(model_path)
    kind: Any = "smi" if Path(path).suffix.lower() in _LISTS else None
    data = SequenceSource(path=[path], format=kind, on_bad=on_bad, duplicates="suffix", **given)
    tokenizer, found, notes = Tokenizer(SMILES), {}, []
    try:
        with open_corpus(data, SMILES, encode=tokenizer.encode_bytes) as corpus:
            for n, name in enumerate(corpus.ids):
                found.setdefault(tokenizer.decode(corpus[n]), name)
            notes += [f"{count:,} left out ({reason})" for reason, count in corpus.report["left_out"].items()]
            notes += [f"{len(corpus) - len(found):,} come again"] if len(found) < len(corpus) else []
    except ValueError as error:
        mend = "take it out, or leave it out with: xlstm-apps sequence context --on_bad skip"
        said = str(error).replace(SKIP_BAD, mend).replace(NAME_COLUMN, "call the one that holds them smiles")
        raise ValueError(f"context: {said}") from None
    room = max_symbols
    if room is None:
        longest = max(len(tokenizer.encode(text)) for text in found) + 1
        window = training_window(model_path) or UNKNOWN_ROOM
        room = max(window - longest, longest)
    about = source_facts(model_path, path)
    context = read_set(
        model, [*found], names=[*found.values()], draws=draws, num_molecules=num_molecules, max_symbols=room, seed=seed,
        about=about, advance=advance,
    )  # fmt: skip
    shown = [len(fact["molecules"]) for fact in context.about["contexts"]]
    if min(shown) < len(found) and num_molecules is None:
        notes.append(f"{np.mean(shown):.0f} of {len(found):,} at a time: more do not fit into {room:,} tokens")
    return context, [f"molecules of {path}: {text}" for text in notes]


def written_as(model_path: str) -> dict[str, Any]:
    """How the run that left a model wrote molecules: standardise, salts, stereo; nothing where there is no run."""
    data = training_data(model_path) or {}
    return {name: data[name] for name in ("standardise", "salts", "stereo") if name in data}


def save_context(
    console: Console,
    model: SequenceModel,
    model_path: str,
    path: str,
    output: str,
    options: DrawOptions,
    on_bad: Literal["error", "skip"],
) -> None:
    """The step of `sequence context` for molecules.

    Raises:
        ValueError: As `context_of_file`, or an option that is about proteins.
    """
    for name in ("max_identity", "min_identity"):
        if getattr(options, name) is not None:
            raise ValueError(f"{name} is for proteins; leave it out")
    if options.with_query:
        raise ValueError("with_query is for proteins; leave it out")
    target = Path(output)
    check_target(target, (SUFFIX,), "output")
    with showing(console, "reading molecules", options.draws) as step:
        context, notes = context_of_file(
            path, model, model_path, draws=options.draws, num_molecules=options.num_homologs,
            max_symbols=options.max_symbols, on_bad=on_bad, seed=options.seed, advance=lambda _: step.advance(1),
        )  # fmt: skip
    with files.replacing(target) as aside:
        context.save(aside)
    counts = [len(fact["molecules"]) for fact in context.about["contexts"]]
    span = f"{min(counts):,}" + (f" to {max(counts):,}" if min(counts) < max(counts) else "")
    note(console, notes)
    what = "context" if len(context) == 1 else "contexts"
    tell(console, [f"{len(context):,} {what}, molecules in each: {span}, in {target}; it goes with this model alone"])
