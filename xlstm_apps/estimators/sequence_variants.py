"""Variants of a genome judged by a sequence model: alleles checked, normalised, scored, with a status for every row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from xlstm_apps.biosequence.effects import Change, Strands, change_effects
from xlstm_apps.biosequence.heads import SequencePredictor, language_part
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance
from xlstm_apps.datasets.sequences import Corpus, Variant, check_variant
from xlstm_apps.datasets.sequences.variants import ids_of
from xlstm_apps.estimators.sequence_training import training_window

ContextLength = int | Literal["all"] | None
BLOCK = 20_000
"""Alleles that are scored before the first of them is given out."""
UNKNOWN_WINDOW = 1024
"""Training window of a model that does not say its own."""


@dataclass(frozen=True, kw_only=True)
class EffectOptions:
    """How the effects of changes are computed; the fields are those of `change_effects`."""

    strands: Strands | None = None
    context_length: int | None = 512
    """None: all there is."""
    downstream: int | None = None
    per_symbol: bool = False
    tokens: int | None = None


class VariantEffect(NamedTuple):
    """An allele and what it does."""

    given: Variant
    """As the file has it."""
    checked: Variant
    """Normalised, with its status."""
    score: float = math.nan
    """Mean over the strands that were read; NaN for an allele without a score."""
    forward: float = math.nan
    reverse: float = math.nan
    output: int = 0
    """Number of the output that this is of: the one that changes most."""
    changes: np.ndarray | None = None
    """Of every output, mean over strands: [outputs]."""


@dataclass
class VariantCounts:
    """What was found on the way; filled while the effects are read."""

    status: Counter[str] = field(default_factory=Counter)
    kind: Counter[str] = field(default_factory=Counter)
    """Of those with a score."""
    repeated: int = 0
    """Alleles that an earlier row has already, perhaps written another way."""
    swapped: int = 0
    """Among those whose REF is not what the genome holds, alleles whose ALT is."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first row of each status other than ok."""

    @property
    def total(self) -> int:
        """Alleles."""
        return self.status.total()


def variant_effects(
    model: SequenceModel | SequencePredictor,
    corpus: Corpus,
    variants: Iterable[Variant],
    options: EffectOptions,
    *,
    counts: VariantCounts | None = None,
    advance: Advance | None = None,
) -> Iterator[VariantEffect]:
    """Effects of alleles, in the order given. Memory holds a block of them, or all of them where the context is
    carried from the begin of each contig, so that no contig is read twice.

    Args:
        model: A language model of DNA, or a predictor on one.
        corpus: The genome.
        variants: As `read_variants` gives them.
        options: How to compute.
        counts: Filled on the way.
        advance: Called with the number of alleles that are done.

    Raises:
        ValueError: The model does not read DNA; options that do not go with it.
    """
    alphabet = language_part(model).alphabet
    if alphabet.name != "dna":
        raise ValueError(f"variants are of a genome, and this model reads {alphabet.name}; to change its symbols: scan")
    corpus.check(alphabet)
    counts = VariantCounts() if counts is None else counts
    seen: set[int] = set()
    stream = iter(variants)
    while block := list(stream if options.context_length is None else islice(stream, BLOCK)):
        checked = [check_variant(corpus, alphabet, variant) for variant in block]
        scored = [n for n, variant in enumerate(checked) if variant.status == "ok"]
        changes = [
            Change(corpus.find(v.contig), v.start, ids_of(alphabet, v.ref).tobytes(), ids_of(alphabet, v.alt).tobytes())
            for v in (checked[n] for n in scored)
        ]
        if advance is not None:
            advance(len(block) - len(scored))
        effects = change_effects(
            model,
            corpus,
            changes,
            strands=options.strands,
            context_length=options.context_length,
            downstream=options.downstream,
            per_symbol=options.per_symbol,
            tokens=options.tokens,
            advance=advance,
        )
        head = headlines(effects.delta)
        rows = zip(head.score.tolist(), *head.strands.T.tolist(), head.output.tolist(), head.changes, strict=True)
        for given, variant in zip(block, checked, strict=True):
            _count(counts, seen, corpus, alphabet.byte_table, given, variant)
            yield (
                VariantEffect(given, variant, *next(rows)) if variant.status == "ok" else VariantEffect(given, variant)
            )


def _count(
    counts: VariantCounts, seen: set[int], corpus: Corpus, table: np.ndarray, given: Variant, checked: Variant
) -> None:
    status = checked.status
    counts.status[status] += 1
    if status != "ok":
        place = f"{given.contig}:{given.start + 1} {given.ref[:20]}>{given.alt[:20]}"
        counts.examples.setdefault(status, f"line {given.line}: {place}" if given.line else place)
        if status == "ref_mismatch":
            here = corpus.fetch(corpus.find(given.contig), given.start, given.start + len(given.alt))
            counts.swapped += np.array_equal(here, table[np.frombuffer(given.alt.encode(), np.uint8)])
        return
    counts.kind[checked.kind] += 1
    key = hash((corpus.find(checked.contig), checked.start, checked.ref, checked.alt))
    counts.repeated += key in seen
    seen.add(key)


def effect_frames(
    effects: Iterable[VariantEffect], names: tuple[str, ...], size: int = BLOCK
) -> Iterator[pl.DataFrame]:
    """The effects as tables of at most `size` rows, at least one table: `chrom`, `pos` (from 1), `id`, `ref`, `alt` as
    given, `allele`, `line`, `status`, `kind`, the alleles normalised, and the scores.

    Args:
        effects: As `variant_effects` gives them.
        names: Of the outputs. Several: `score` is the one that changes most, `output` its name, and each has a column
            `change_...`.
        size: Most rows of a table.
    """
    stream, first = iter(effects), True
    while (block := list(islice(stream, size))) or first:
        first = False
        yield _frame(block, names)


def _frame(block: list[VariantEffect], names: tuple[str, ...]) -> pl.DataFrame:
    normal = [effect.checked if effect.checked.status in ("ok", "ambiguous") else None for effect in block]
    return pl.DataFrame(
        {
            "chrom": pl.Series([e.given.contig for e in block], dtype=pl.String),
            "pos": pl.Series([e.given.start + 1 for e in block], dtype=pl.Int64),
            "id": pl.Series([e.given.id or None for e in block], dtype=pl.String),
            "ref": pl.Series([e.given.ref for e in block], dtype=pl.String),
            "alt": pl.Series([e.given.alt for e in block], dtype=pl.String),
            "allele": pl.Series([e.given.allele for e in block], dtype=pl.Int64),
            "line": pl.Series([e.given.line for e in block], dtype=pl.Int64),
            "status": pl.Series([e.checked.status for e in block], dtype=pl.String),
            "kind": pl.Series([e.checked.kind for e in block], dtype=pl.String),
            "norm_pos": pl.Series([None if v is None else v.start + 1 for v in normal], dtype=pl.Int64),
            "norm_ref": pl.Series([None if v is None else v.ref for v in normal], dtype=pl.String),
            "norm_alt": pl.Series([None if v is None else v.alt for v in normal], dtype=pl.String),
            **_score_columns(block, names),
        }
    )


def _score_columns(block: list[VariantEffect], names: tuple[str, ...]) -> dict[str, pl.Series]:
    out = {
        "score": numbers([e.score for e in block]),
        "score_forward": numbers([e.forward for e in block]),
        "score_reverse": numbers([e.reverse for e in block]),
    }
    if len(names) > 1:
        told = [None if e.changes is None else names[e.output] for e in block]
        out["output"] = pl.Series(told, dtype=pl.String)
        for n, name in enumerate(names):
            out[f"change_{name}"] = numbers([math.nan if e.changes is None else e.changes[n] for e in block])
    return out


def numbers(values: Sequence[float] | np.ndarray) -> pl.Series:
    """A column of scores; NaN is empty."""
    return pl.Series(np.round(np.asarray(values, np.float64), 6), dtype=pl.Float64).fill_nan(None)


class Headlines(NamedTuple):
    """What is told of each change."""

    score: np.ndarray
    """Mean over strands of the output that changes most: [N]."""
    strands: np.ndarray
    """The same by strand: [N, 2]."""
    output: np.ndarray
    """Its number: [N]."""
    changes: np.ndarray
    """Mean over strands of all outputs: [N, outputs]."""


def headlines(delta: np.ndarray) -> Headlines:
    """From changes [N, 2 strands, outputs], NaN for what was not read."""
    known = ~np.isnan(delta)
    total, read = np.where(known, delta, 0).sum(1), known.sum(1)
    changes = np.where(read > 0, total / np.maximum(read, 1), np.nan)
    output = np.where(read > 0, np.abs(total), -1).argmax(1)
    rows = np.arange(len(delta))
    return Headlines(changes[rows, output], delta[rows, :, output], output, changes)


def context_for(path: str | Path, given: ContextLength) -> tuple[int | None, str]:
    """Symbols of context and, in words, why so many: half of a training window where none are given, since a reading
    then stays as long as those of the training."""
    if given == "all":
        return None, "all that stands before, as asked for"
    if given is not None:
        return int(given), "as asked for"
    window = training_window(path)
    if window is None:
        return UNKNOWN_WINDOW // 2, "the model does not say how long its training windows were"
    return max(1, window // 2), f"half of the training windows of {window:,}"
