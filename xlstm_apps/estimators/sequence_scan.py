"""Saturation mutagenesis in silico: every symbol of a stretch replaced by every other one, and what that does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.effects import Change, change_effects, effect_names
from xlstm_apps.biosequence.heads import SequencePredictor, language_part
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance
from xlstm_apps.datasets.sequences import Corpus, Spans
from xlstm_apps.estimators.sequence_variants import EffectOptions, numbers

DELETION = "-"
MOST_SYMBOLS = 40
_RESIDUES = "GAVLIMPFYWSTCNQHKRDE"  # alike beside alike: small, greasy, ring, polar, charged


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Effects of all replacements in one stretch, in the direction in which it is read."""

    name: str
    """Of the stretch."""
    record: str
    positions: np.ndarray
    """Of its symbols in the record, or in what that was cut from, counted from 1: int64 [L]."""
    strand: str
    """`+` or `-`."""
    ref: str
    """The symbols that stand there [L]."""
    symbols: str
    """What they are replaced by [A]; `-` is a deletion."""
    names: tuple[str, ...]
    """Of the outputs; one without a name for a language model."""
    delta: np.ndarray
    """float64 [L, A, 2 strands, outputs], the first strand being that of the stretch; NaN where REF stands or is not
    known, and for a strand that was not read."""

    @property
    def mean(self) -> np.ndarray:
        """Over the strands that were read: [L, A, outputs]."""
        known = ~np.isnan(self.delta)
        read = known.sum(2)
        total = np.where(known, self.delta, 0).sum(2)
        return np.where(read > 0, total / np.maximum(read, 1), np.nan)

    def frame(self) -> pl.DataFrame:
        """A row per replacement: `region`, `record`, `position`, `strand`, `ref`, `alt`, and the scores."""
        place, symbol = np.nonzero(~np.isnan(self.delta).all((2, 3)))
        mean, ref = self.mean[place, symbol], np.array(list(self.ref), dtype="U1")
        columns = {
            "region": pl.Series([self.name] * len(place), dtype=pl.String),
            "record": pl.Series([self.record] * len(place), dtype=pl.String),
            "position": pl.Series(self.positions[place], dtype=pl.Int64),
            "strand": pl.Series([self.strand] * len(place), dtype=pl.String),
            "ref": pl.Series(ref[place].tolist(), dtype=pl.String),
            "alt": pl.Series(np.array(list(self.symbols), dtype="U1")[symbol].tolist(), dtype=pl.String),
        }
        if len(self.names) == 1:
            forward, reverse = self.delta[place, symbol, :, 0].T
            own, other = (forward, reverse) if self.strand == "+" else (reverse, forward)
            columns |= {"score": numbers(mean[:, 0]), "score_forward": numbers(own), "score_reverse": numbers(other)}
        else:
            columns |= {f"change_{name}": numbers(mean[:, n]) for n, name in enumerate(self.names)}
        return pl.DataFrame(columns)


def replacements(alphabet: Alphabet, *, deletions: bool) -> str:
    """The symbols that others are replaced by; residues in an order that puts alike ones side by side.

    Raises:
        ValueError: An alphabet whose symbols are not single bytes, or which has too many to try each.
    """
    if not alphabet.bytewise or len(alphabet.definite) > MOST_SYMBOLS:
        raise ValueError(
            f"a scan replaces each symbol by every other one, which makes no sense in {alphabet.name}; it is for DNA "
            "and proteins"
        )
    symbols = _RESIDUES if alphabet.name == "protein" else "".join(alphabet.tokens[i] for i in alphabet.definite)
    return symbols + (DELETION if deletions else "")


def scan_stretches(
    model: SequenceModel | SequencePredictor,
    corpus: Corpus,
    spans: Spans,
    names: Sequence[str],
    options: EffectOptions,
    *,
    deletions: bool = False,
    advance: Advance | None = None,
) -> Iterator[Scan]:
    """Scans of stretches, one after another.

    Args:
        model: A language model, or a predictor on one.
        corpus: The sequences, with what stands beside the stretches.
        spans: The stretches.
        names: Of the stretches.
        options: How to compute.
        deletions: Also take out each symbol.
        advance: Called with the number of replacements that are done.

    Raises:
        ValueError: See `replacements`; options that do not go with the model.
    """
    alphabet = language_part(model).alphabet
    corpus.check(alphabet)
    symbols = replacements(alphabet, deletions=deletions)
    outputs = effect_names(model)
    # A predictor answers for the strand it is given: that of the stretch.
    by_stretch = options.strands is None and isinstance(model, SequencePredictor)
    for n in range(len(spans)):
        record, start, stop = int(spans.record[n]), int(spans.start[n]), int(spans.stop[n])
        turned = int(spans.strand[n]) < 0
        ids = corpus.fetch(record, start, stop)
        changes, cells = [], []
        for place in np.flatnonzero(np.isin(ids, alphabet.definite)).tolist():
            for column, symbol in enumerate(symbols):
                alt = b"" if symbol == DELETION else bytes([alphabet.symbols[symbol]])
                ref = bytes([int(ids[place])])
                if alt != ref:
                    changes.append(Change(record, start + place, ref, alt))
                    cells.append((place, column))
        effects = change_effects(
            model,
            corpus,
            changes,
            strands=("reverse" if turned else "forward") if by_stretch else options.strands,
            context_length=options.context_length,
            downstream=options.downstream,
            per_symbol=options.per_symbol,
            tokens=options.tokens,
            advance=advance,
        )
        delta = np.full((len(ids), len(symbols), 2, len(outputs)), np.nan)
        if cells:
            delta[tuple(np.array(cells).T)] = effects.delta
        inside = np.arange(start, stop)
        if corpus.strands[record] < 0:  # the record was itself cut from the other strand of something longer
            inside = int(corpus.lengths[record]) - 1 - inside
        positions = int(corpus.starts[record]) + inside + 1
        shown = ids
        if turned:
            # As the other strand reads it: from its end, symbols paired, and the strands exchanged.
            assert corpus.complement is not None
            shown, positions = corpus.complement[ids[::-1]], positions[::-1]
            paired = [_paired(alphabet, corpus.complement, symbol) for symbol in symbols]
            delta = delta[::-1][:, [symbols.index(symbol) for symbol in paired]][:, :, ::-1]
        yield Scan(
            name=names[n],
            record=corpus.ids[record],
            positions=positions,
            strand="-" if turned else "+",
            ref="".join(alphabet.tokens[i] for i in shown.tolist()),
            symbols=symbols,
            names=outputs,
            delta=delta,
        )


def _paired(alphabet: Alphabet, complement: np.ndarray, symbol: str) -> str:
    return symbol if symbol == DELETION else alphabet.tokens[int(complement[alphabet.symbols[symbol]])]
