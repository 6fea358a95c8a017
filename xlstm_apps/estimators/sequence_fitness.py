"""Scores of the mutants of a table, behind one or several contexts, and how they agree with what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import rankdata

from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.fitness import check_infilling, forward_scores, site_scores
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import Context
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.sequences.mutant_table import MutantTable

Method = Literal["auto", "forward", "infill"]
SCORED = ("ok", "synonymous")
LENGTH = "length"
"""Status of mutants with insertions or deletions where sites are compared."""


@dataclass(frozen=True, kw_only=True)
class Fitness:
    """Scores, one for each mutant of a table."""

    score: np.ndarray
    """log p(mutant) - log p(wild type) in nats, mean over the contexts; NaN where there is none: float64 [N]."""
    spread: np.ndarray | None
    """Standard deviation over the contexts; None where there is one."""
    status: list[str]
    """As of the mutants; `length` beside them."""
    differ: np.ndarray
    """Residues in which each differs from the wild type, -1 where lengths differ: int64 [N]."""
    method: Literal["forward", "infill"]
    contexts: int
    """How many contexts of homologs; 0: none."""


def choose_method(model: SequenceModel, method: Method) -> Literal["forward", "infill"]:
    """How the model is asked: filling gaps where it was taught to, since it then knows both sides.

    Raises:
        ValueError: A method that the model cannot follow.
    """
    masked = model.sequence.objective == "masked"
    if method == "auto":
        return "infill" if masked or model.sequence.infills else "forward"
    if method == "forward" and masked:
        raise ValueError("a masked model cannot read forward; leave the method out, or choose infill")
    if method == "infill":
        check_infilling(model)
    return method


def fitness_scores(
    model: SequenceModel,
    table: MutantTable,
    family: FamilyContext | None = None,
    *,
    method: Method = "auto",
    show_wild_type: bool | None = None,
    tokens: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Fitness:
    """Scores of all mutants; those of several mutations are sums over their sites where gaps are filled.

    Args:
        model: A language model of proteins.
        table: The mutants.
        family: Homologs that were read before. None: none.
        method: `forward`: whole sequences; `infill`: what the model puts in the place of each residue.
        show_wild_type: Let the model read the wild type before each question. None: behind homologs, where gaps are
            filled (as Prot-xLSTM is asked).
        tokens: Most symbols in a batch; None: by device.
        advance: Called with a number of mutants or sites that are done.

    Raises:
        ValueError: Options that do not go with the model.
    """
    chosen = choose_method(model, method)
    causal = model.sequence.objective == "causal"
    if show_wild_type and not (causal and model.begins):
        raise ValueError("show_wild_type needs a causal model with a begin token: another cannot read two sequences")
    shown = (family is not None and chosen == "infill") if show_wild_type is None else show_wild_type
    wild = _ids(model, table.wild_type)
    status = [str(mutant.status) for mutant in table.mutants]
    if chosen == "infill":
        longer = [mutant.status == "ok" and len(mutant.sequence) != len(wild) for mutant in table.mutants]
        status = [LENGTH if other else given for given, other in zip(status, longer, strict=True)]
    rows = [n for n, given in enumerate(status) if given in SCORED]
    sequences = [_ids(model, table.mutants[n].sequence) for n in rows]
    contexts: list[Context | None] = [None]
    if family is not None:
        contexts = [family.begin(model, draw) for draw in range(len(family))]
    found = []
    for context in contexts:
        if chosen == "forward":
            if shown:
                context = _behind(model, wild, context)
            found.append(forward_scores(model, wild, sequences, context, tokens=tokens, advance=advance))
        else:
            found.append(_summed(model, wild, sequences, context, shown, tokens, advance))
    score, each = np.full(len(status), np.nan), np.array(found).reshape(len(contexts), len(rows))
    score[rows] = each.mean(0)
    spread = None
    if len(contexts) > 1:
        spread = np.full(len(status), np.nan)
        spread[rows] = each.std(0, ddof=1)
    differ = [
        sum(a != b for a, b in zip(mutant.sequence, table.wild_type, strict=True))
        if len(mutant.sequence) == len(table.wild_type)
        else -1
        for mutant in table.mutants
    ]
    return Fitness(
        score=score, spread=spread, status=status, differ=np.array(differ), method=chosen,
        contexts=0 if family is None else len(family),
    )  # fmt: skip


def work(model: SequenceModel, table: MutantTable, family: FamilyContext | None, method: Method) -> int:
    """How many mutants or sites `fitness_scores` tells of, for a bar."""
    draws = 1 if family is None else len(family)
    usable = [mutant.sequence for mutant in table.mutants if mutant.status in SCORED]
    if choose_method(model, method) == "forward":
        return draws * len(usable)
    alike = [sequence for sequence in usable if len(sequence) == len(table.wild_type)]
    return draws * len({n for sequence in alike for n in _sites(sequence, table.wild_type)})


def _sites(sequence: Sequence, wild_type: Sequence) -> list[int]:
    return [n for n, (a, b) in enumerate(zip(sequence, wild_type, strict=True)) if a != b]


def _summed(
    model: SequenceModel,
    wild: np.ndarray,
    sequences: list[np.ndarray],
    context: Context | None,
    shown: bool,
    tokens: int | None,
    advance: Callable[[int], None] | None,
) -> np.ndarray:
    """Sums over the sites in which each sequence differs."""
    differ = [np.flatnonzero(sequence != wild) for sequence in sequences]
    sites = sorted({int(site) for places in differ for site in places})
    scores = np.zeros((len(wild), len(model.alphabet)))
    if sites:
        scores[np.ix_(sites, list(model.alphabet.definite))] = site_scores(
            model, wild, sites, context, show_wild_type=shown, tokens=tokens, advance=advance
        )
    return np.array([scores[at, sequence[at]].sum() for sequence, at in zip(sequences, differ, strict=True)])


def _behind(model: SequenceModel, wild: np.ndarray, context: Context | None) -> Context:
    import torch

    ids = torch.tensor([[*wild.tolist(), model.alphabet.bos]])
    return model.read(ids, context)


def _ids(model: SequenceModel, text: str) -> np.ndarray:
    return Tokenizer(model.alphabet).fold(np.frombuffer(text.encode(), np.uint8))


class Agreement(NamedTuple):
    """How scores and measurements agree."""

    both: int
    """Mutants with both."""
    spearman: float
    """Rank correlation; NaN where it says nothing: fewer than three, or all alike."""


def agreement(score: np.ndarray, measured: np.ndarray, chosen: np.ndarray | None = None) -> Agreement:
    """Spearman's rank correlation over mutants that have a score and a measurement, of those `chosen`."""
    both = np.isfinite(score) & np.isfinite(measured)
    both = both if chosen is None else both & chosen
    a, b = rankdata(score[both]), rankdata(measured[both])
    count = int(both.sum())
    if count < 3 or a.std() == 0 or b.std() == 0:
        return Agreement(count, math.nan)
    return Agreement(count, float(np.corrcoef(a, b)[0, 1]))
