"""Deep mutational scans of proteins, behind homologs or not: every residue replaced by every other one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.fitness import forward_scores, site_scores
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance
from xlstm_apps.biosequence.scoring import Context
from xlstm_apps.datasets.sequences import Corpus, Spans
from xlstm_apps.estimators.sequence_fitness import Method, choose_method
from xlstm_apps.estimators.sequence_scan import Scan, replacements


def scan_proteins(
    model: SequenceModel,
    corpus: Corpus,
    spans: Spans,
    names: Sequence[str],
    *,
    family: FamilyContext | None = None,
    method: Method = "auto",
    tokens: int | None = None,
    advance: Advance | None = None,
) -> Iterator[Scan]:
    """Scans of stretches, each in the whole of its protein; scores are those of `fitness_scores`.

    Args:
        model: A language model of proteins.
        corpus: The proteins.
        spans: The stretches.
        names: Of the stretches.
        family: Homologs that were read before; of several draws the mean. None: none.
        method: As `fitness_scores`.
        tokens: Most symbols in a batch; None: by device.
        advance: Called with the number of replacements that are done.

    Raises:
        ValueError: A model of another alphabet, or one that cannot be asked this way.
    """
    if model.alphabet.name != "protein":
        raise ValueError(f"context and method are for proteins, and this model reads {model.alphabet.name}")
    corpus.check(model.alphabet)
    chosen = choose_method(model, method)
    symbols = replacements(model.alphabet, deletions=False)
    contexts: list[Context | None] = [None]
    if family is not None:
        contexts = [family.begin(model, draw) for draw in range(len(family))]
    for n in range(len(spans)):
        record, start, stop = int(spans.record[n]), int(spans.start[n]), int(spans.stop[n])
        wild = np.array(corpus[record])
        sites = [site for site in range(start, stop) if wild[site] in model.alphabet.definite]
        delta = np.full((stop - start, len(symbols), 2, 1), np.nan)
        if sites:
            found = []
            for context in contexts:
                if chosen == "infill":
                    shown = family is not None
                    found.append(site_scores(model, wild, sites, context, show_wild_type=shown, tokens=tokens))
                else:
                    found.append(_forward(model, wild, sites, context, tokens))
            order = [model.alphabet.definite.index(model.alphabet.symbols[symbol]) for symbol in symbols]
            delta[np.array(sites) - start, :, 0, 0] = np.mean(found, 0)[:, order]
        own = np.array([[symbol == model.alphabet.tokens[i] for symbol in symbols] for i in wild[start:stop]])
        delta[own] = np.nan
        if advance is not None:
            advance((stop - start) * (len(symbols) - 1))
        yield Scan(
            name=names[n],
            record=corpus.ids[record],
            positions=int(corpus.starts[record]) + np.arange(start, stop) + 1,
            strand="+",
            ref="".join(model.alphabet.tokens[i] for i in wild[start:stop].tolist()),
            symbols=symbols,
            names=("",),
            delta=delta,
        )


def _forward(
    model: SequenceModel, wild: np.ndarray, sites: list[int], context: Context | None, tokens: int | None
) -> np.ndarray:
    """Scores of all replacements at sites, whole sequences read: float64 [sites, residues]."""
    definite = list(model.alphabet.definite)
    mutants = []
    for site in sites:
        for residue in definite:
            mutant = wild.copy()
            mutant[site] = residue
            mutants.append(mutant)
    return forward_scores(model, wild, mutants, context, tokens=tokens).reshape(len(sites), len(definite))
