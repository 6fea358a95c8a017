"""The steps of `sequence generate`: prompts in, sequences out as FASTA or a table."""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from xlstm_apps import report
from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.strings import encode
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.molecules.chemistry import chemistry, quiet
from xlstm_apps.datasets.molecules.metrics import compare_sets, read_valid
from xlstm_apps.datasets.molecules.selfies_notation import LISTS, list_line, no_words, to_selfies
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.estimators.molecule_decoration import decorate
from xlstm_apps.estimators.sequence_generation import Made, generate_sequences
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.estimators.sequence_stretches import open_stretches
from xlstm_apps.recipes._sequence_evaluate import parts_of_run
from xlstm_apps.recipes._sequence_filter import check_page
from xlstm_apps.recipes._sequence_protein import behind, family_context
from xlstm_apps.recipes._tables import SEPARATORS, TableOutput, check_target
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.training import files

FASTA = (".fa", ".fasta", ".fna", ".faa")
TABLES = (*SEPARATORS, ".parquet")
LINE = 80
MOST = 1000
MOST_OF_A_MOLECULE = 200
"""Symbols. Rings that are open may be closed late only, so that a poor model under `valid` would go on for long."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How symbols are drawn."""

    num_sequences: int
    min_length: int
    max_length: int | None
    temperature: float
    top_k: int | None
    top_p: float | None
    batch_size: int
    seed: int
    valid: bool = False


def generate(
    model_path: str,
    prompt: str | None,
    prompts_path: str | None,
    output: str | None,
    drawing: Drawing,
    device: str,
    context: str | None = None,
    page: str | None = None,
    scaffold: str | None = None,
) -> None:
    """Make up sequences, write them, and say what they are."""
    console = Console(stderr=True)
    check_page(page)
    path = None if output in (None, "-") else Path(str(output))
    if path is not None:
        check_target(path, (*FASTA, *TABLES, *LISTS), "output")
    if sum(given is not None for given in (prompt, prompts_path, scaffold)) > 1:
        raise ValueError("prompt, prompts_path and scaffold exclude each other")
    model = language_model(model_path, device, verb="generate")
    if model.sequence.objective != "causal":
        raise ValueError(f"{model_path}: a masked model cannot generate; train with sequence.objective causal")
    if page is not None:
        chemistry()
    if page is not None and model.alphabet.name != "smiles":
        raise ValueError(f"page is for molecules, and this model makes {model.alphabet.name}; leave it out")
    if scaffold is not None and model.alphabet.name != "smiles":
        raise ValueError(f"scaffold is for molecules, and this model makes {model.alphabet.name}; leave it out")
    drawing = replace(drawing, valid=drawing.valid or scaffold is not None)
    listed = path is not None and path.suffix in LISTS
    if listed and model.alphabet.name != "smiles":
        raise ValueError(f"output {path}: a list is of molecules, and this model makes {model.alphabet.name}; give .fa")
    if path is not None and path.suffix == ".selfies":
        to_selfies("C")  # now, and not after the work, is told that the package is missing
        if not drawing.valid:
            raise ValueError(f"output {path}: SELFIES are of molecules only; draw them with --valid")
    if drawing.max_length is None:
        drawing = replace(drawing, max_length=MOST_OF_A_MOLECULE if model.alphabet.name == "smiles" else MOST)
    as_table = path is not None and path.suffix in TABLES
    if not as_table and model.alphabet.name == "text":
        raise ValueError(
            "made-up text may hold line ends, which FASTA cannot: give output as a .tsv, .csv or .parquet file"
        )
    names, texts = (["scaffold"], []) if scaffold is not None else prompts(model, prompt, prompts_path)
    made: list[Made] = []
    notes: list[str] = []
    unwritten = 0
    family = family_context(context, model, model_path, drawing.seed, notes)
    strings: list[str] = []
    drawn = draws(model, texts, drawing, family) if scaffold is None else decorated(model, scaffold, drawing, family)
    count = drawing.num_sequences * max(1, len(texts))
    batches = told(drawn, count, made, console, None if page is None else strings)
    if as_table:
        TableOutput(output).write(frame(batch, names, first) for first, batch in batches)
    else:
        wrap = model.alphabet.name in ("dna", "protein")

        def as_rows(batch: list[Made], first: int) -> list[str | None]:
            if path is not None and listed:
                return [list_line(m.text, f"generated_{n}", path.suffix) for n, m in enumerate(batch, first)]
            return [fasta(batch, names, first, wrap)]

        with nullcontext(None) if path is None else files.replacing(path) as aside:
            if aside is None:
                for first, batch in batches:
                    sys.stdout.writelines(filter(None, as_rows(batch, first)))
            else:
                with aside.open("w", encoding="utf-8", newline="\n") as file:
                    for first, batch in batches:
                        rows = as_rows(batch, first)
                        unwritten += rows.count(None)
                        file.writelines(filter(None, rows))
    if page is not None:
        molecule_page(page, strings, model_path)
    show(console, made, path)
    note(console, notes)
    tell(console, [*no_words(unwritten), *behind(context), *([] if page is None else [f"page in {page}"])])


def molecule_page(page: str, strings: list[str], model_path: str) -> None:
    """What was made up as a page, beside the training part where the model is a run."""
    with quiet():
        valid = read_valid(strings)
        training = parts_of_run(Path(model_path))[0] if (Path(model_path) / "run.json").is_file() else None
        values = compare_sets(valid, training=None if training is None else set(training))
    subject = f"generate · {Path(model_path).name}"
    report.write_evaluation(page, subject=subject, smiles=valid.smiles, values=values, training=training)


def prompts(model: SequenceModel, given: str | None, path: str | None) -> tuple[list[str], list[str]]:
    """Names and texts of the prompts; one that is empty where none are given.

    Raises:
        ValueError: No prompt for a model without begin token, or one that cannot be read.
    """
    if path is not None:
        tokenizer = Tokenizer(model.alphabet)
        # The beginning of a molecule is none yet.
        data = SequenceSource(path=[path], standardise=model.alphabet.name != "smiles")
        with open_stretches(data, model.alphabet) as read:
            texts = [tokenizer.decode(read.corpus[i]) for i in range(len(read))]
            return list(read.corpus.ids), texts
    if given is not None:
        if not given:
            raise ValueError("prompt is empty; leave it out to make sequences up from nothing")
        try:
            encode(model, [given])
        except ValueError as error:
            raise ValueError(f"prompt: {error}") from None
        return ["given"], [given]
    if not model.begins:
        raise ValueError("this model has no begin token, so it needs something to begin with: give --prompt ACGT")
    return [""], [""]


def draws(
    model: SequenceModel, texts: list[str], drawing: Drawing, family: FamilyContext | None
) -> Iterator[list[Made]]:
    """Batches of what goes on behind prompts."""
    return generate_sequences(
        model, texts, per_prompt=drawing.num_sequences, valid=drawing.valid, family=family, **_how(drawing)
    )


def decorated(
    model: SequenceModel, scaffold: str, drawing: Drawing, family: FamilyContext | None
) -> Iterator[list[Made]]:
    """Batches of molecules with a scaffold."""
    return decorate(model, scaffold, num_molecules=drawing.num_sequences, family=family, **_how(drawing))


def _how(drawing: Drawing) -> dict[str, Any]:
    """What all ways of drawing are told."""
    assert drawing.max_length is not None
    names = ("min_length", "max_length", "temperature", "top_k", "top_p", "batch_size", "seed")
    return {name: getattr(drawing, name) for name in names}


def told(
    batches: Iterator[list[Made]], count: int, made: list[Made], console: Console, strings: list[str] | None = None
) -> Iterator[tuple[int, list[Made]]]:
    """Batches and the number of their first sequence, with a bar; `made` takes them up, texts left out, and
    `strings` the texts."""
    with showing(console, "generating", count) as step:
        for batch in batches:
            yield len(made) + 1, batch
            made += [m._replace(text="") for m in batch]
            if strings is not None:
                strings += [m.text for m in batch]
            step.advance(len(batch))


def fasta(batch: list[Made], names: list[str], first: int, wrap: bool) -> str:
    """Records, with what is known about them in the header."""
    parts = []
    for number, made in enumerate(batch, first):
        about = f"prompt={names[made.prompt]} " if names[made.prompt] else ""
        about += f"added={made.added} log_likelihood={made.log_likelihood:.4f} bits_per_token={made.bits:.4f}"
        text = "\n".join(textwrap.wrap(made.text, LINE)) if wrap else made.text
        parts.append(f">generated_{number} {about} ended={'yes' if made.ended else 'no'}\n{text}\n")
    return "".join(parts)


def frame(batch: list[Made], names: list[str], first: int) -> pl.DataFrame:
    """The same as rows."""
    return pl.DataFrame(
        {
            "id": [f"generated_{number}" for number in range(first, first + len(batch))],
            "prompt": [names[made.prompt] for made in batch],
            "sequence": [made.text for made in batch],
            "added": [made.added for made in batch],
            "log_likelihood": [round(made.log_likelihood, 6) for made in batch],
            "bits_per_token": [round(made.bits, 6) for made in batch],
            "ended": [made.ended for made in batch],
        }
    ).with_columns(pl.col("bits_per_token").fill_nan(None))


def show(console: Console, made: list[Made], path: Path | None) -> None:
    """What came out, in two lines."""
    lengths, scored = np.array([m.added for m in made]), sum(m.scored for m in made)
    span = f"{lengths.min():,}" + (f" to {lengths.max():,}" if lengths.min() < lengths.max() else "")
    bits = f", {-sum(m.log_likelihood for m in made) / scored / np.log(2):.4f} bits per symbol" if scored else ""
    ended = sum(m.ended for m in made)
    tell(
        console,
        [
            f"{len(made):,} sequences, {span} symbols added{bits}",
            f"{ended:,} ended by the model, the others by max_length",
            *([] if path is None else [f"sequences in {path}"]),
        ],
    )
