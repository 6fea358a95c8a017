"""The steps of `sequence designs`: designs and a family in, a page and a table out."""

import re
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from xlstm_apps import report
from xlstm_apps.biosequence.alphabets import PROTEIN
from xlstm_apps.biosequence.family import family_facts
from xlstm_apps.biosequence.tokenizer import Tokenizer, get_tokenizer
from xlstm_apps.datasets.sequences import read_records
from xlstm_apps.datasets.sequences.designs import MOST_NATURAL, Designs, Proteins, judge_designs
from xlstm_apps.datasets.sequences.mutations import clean_protein
from xlstm_apps.datasets.sequences.reading import sniff
from xlstm_apps.datasets.sequences.tabular import read_frame
from xlstm_apps.recipes._sequence_origin import run_among, split_of_run
from xlstm_apps.recipes._tables import TableOutput, check_target
from xlstm_apps.recipes._terminal import note, showing, tell

_BITS = "bits_per_token"
_TOLD = re.compile(rf"\b{_BITS}=([-+.\de]+)")


def run(
    made_path: str,
    family_path: str,
    page_path: str,
    output: str | None,
    context_path: str | None,
    training_paths: list[str],
    seed: int,
) -> None:
    """Compare, and write; see `recipes.sequence_designs.designs`."""
    console = Console(stderr=True)
    page = Path(page_path)
    check_target(page, (".html",), "page")
    target = None if output is None else TableOutput(output)
    made, perplexity, notes = read_designs(made_path)
    family = read_proteins(family_path)
    context = None if context_path is None else in_context(context_path, family, family_path)
    if context_path is not None and context is None:
        notes.append(f"{context_path} holds no homolog, so there is none to compare with")
    known = training_of(training_paths) if training_paths else None
    total = len(made) * (1 + (context is not None) + (known is not None)) + min(len(family), MOST_NATURAL)
    with showing(console, "comparing", total) as step:
        found = judge_designs(
            made, family, perplexity=perplexity, context=context, training=known, seed=seed, advance=step.advance
        )
    subject = f"{Path(made_path).name} beside {Path(family_path).name}"
    report.write_designs(page, found, subject=subject)
    if target is not None:
        target.write([found.table])
    note(console, notes)
    tell(console, [*summary(found), f"page in {page}" + (f", table in {target.name}" if target else "")])


def read_designs(path: str) -> tuple[Proteins, list[float | None] | None, list[str]]:
    """Designs, the perplexities told beside them, and notes; empty ones are left out and counted.

    Raises:
        ValueError: No design, or one that is no protein.
    """
    ids, sequences, bits, empty = [], [], [], 0
    column = told_bits(path)
    for number, record in enumerate(read_records(path)):
        text = clean_protein(record.sequence.decode("latin-1"))
        if not text:
            empty += 1
            continue
        ids.append(record.id)
        sequences.append(checked(text, f"{path}: {record.id}"))
        if column is not None:
            bits.append(column[number])
        else:
            said = _TOLD.search(record.description or "")
            bits.append(float(said[1]) if said else None)
    if not ids:
        raise ValueError(f"{path}: holds no protein")
    perplexity = [None if b is None else 2.0**b for b in bits] if any(b is not None for b in bits) else None
    notes = [f"{path}: {empty:,} without a residue left out"] if empty else []
    return Proteins(ids, sequences), perplexity, notes


def told_bits(path: str) -> list[float | None] | None:
    """The column of bits of a table; None where there is none."""
    if sniff(path) != "table":
        return None
    frame = read_frame(path)
    if _BITS not in frame.columns:
        return None
    return frame[_BITS].cast(pl.Float64, strict=False).to_list()


def read_proteins(path: str) -> Proteins:
    """The proteins of a file, without gaps, each sequence once.

    Raises:
        ValueError: None, or one that is no protein.
    """
    found: dict[bytes, str] = {}
    for record in read_records(path):
        text = clean_protein(record.sequence.decode("latin-1"))
        if text:
            found.setdefault(checked(text, f"{path}: {record.id}"), record.id)
    if not found:
        raise ValueError(f"{path}: holds no protein")
    return Proteins([*found.values()], [*found])


def checked(text: str, where: str) -> bytes:
    """Residues as bytes.

    Raises:
        ValueError: A character that no protein holds.
    """
    try:
        get_tokenizer("protein").fold_text(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return text.encode("latin-1")


def in_context(path: str, family: Proteins, family_path: str) -> Proteins | None:
    """The members that a saved context was made of; None where it is an empty one.

    Raises:
        ValueError: None of them is in the family.
    """
    names = {name for draw in family_facts(path).get("contexts", []) for name in draw.get("homologs", [])}
    if not names:
        return None
    found = family.named(names)
    if not len(found):
        raise ValueError(f"{path}: none of its {len(names):,} homologs is in {family_path}; give the family it is of")
    return found


def training_of(paths: list[str]) -> Proteins:
    """What a model was trained on: the training part of a run as the run split it, or files.

    Raises:
        ValueError: A run among files, or of another alphabet.
    """
    run = run_among(paths)
    if run is None:
        parts = [read_proteins(path) for path in paths]
        return Proteins([i for p in parts for i in p.ids], [s for p in parts for s in p.sequences])
    corpus, split = split_of_run(run, "protein", "proteins")
    decode = Tokenizer(PROTEIN).decode
    rows = [(corpus.ids[i], decode(corpus[i]).encode()) for i in np.unique(split.train.record)]
    return Proteins([name for name, text in rows if text], [text for _, text in rows if text])


def summary(found: Designs) -> list[str]:
    """What came out, in words."""
    table = found.table
    lines = [
        f"{len(found.made):,} designs beside {len(found.family):,} members: half have {table['identity'].median():.0%} "
        f"and more in common with the nearest, members {np.median(found.natural):.0%} with one another"
        if len(found.natural)
        else f"{len(found.made):,} designs beside {len(found.family):,} member"
    ]
    if "identity_training" in table.columns:
        lines.append(f"nearest in training: median {table['identity_training'].median():.0%}")
    if repeated := int(table["repeated"].sum()):
        lines.append(f"{repeated:,} are the same as an earlier one")
    return lines
