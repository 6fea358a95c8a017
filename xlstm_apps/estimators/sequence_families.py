"""Training on families of proteins, or sets of molecules: the windows of each part, and what homologs are worth to a
trained model."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.biosequence.objective import surprisal
from xlstm_apps.biosequence.scoring import evaluating
from xlstm_apps.datasets.sequences import Corpus, SequenceData, Spans, windows
from xlstm_apps.datasets.sequences.families import Families, FamilyWindows, HeldOutMembers, Respell, homologs_of
from xlstm_apps.estimators.sequence_evaluation import causal_logits
from xlstm_apps.thinning import evenly

ALONE = 0.1
"""Share of the windows with one sequence where nobody says."""
_LEAST_TARGETS, _MOST_TARGETS = 20, 2000
_LN2 = math.log(2)


def can_read_sets(sequence: SequenceConfig) -> bool:
    """Whether a model of this kind can read sets of molecules."""
    return sequence.alphabet == "smiles" and sequence.ends and sequence.begin_token


def check_families(data: SequenceData, sequence: SequenceConfig, corpus: Corpus) -> None:
    """Find out whether a model of this kind can read families, and whether there are any.

    Raises:
        ValueError: It cannot, or there are none; says what to change.
    """
    if sequence.alphabet not in ("protein", "smiles") or not sequence.ends or not sequence.begin_token:
        raise ValueError(
            "data.families is for causal models of proteins or molecules with begin and end token; set "
            "sequence.alphabet to protein or smiles, or leave data.families out"
        )
    if all(group is None for group in corpus.groups):
        raise ValueError(
            "data.families: group needs records with groups (data.group_column, or group=... in FASTA headers); for "
            "files that hold a family each set data.families to file"
        )


class FamilyParts(NamedTuple):
    """Training and validation windows of families."""

    train: FamilyWindows
    valid: HeldOutMembers | None
    note: str


def family_parts(
    corpus: Corpus,
    data: SequenceData,
    end: int,
    train: Spans,
    val: Spans | None,
    length: int,
    respell: Respell | None = None,
) -> FamilyParts:
    """Windows of up to `length` places, ends included; spans are no longer than `length` - 1."""
    alone = ALONE if data.alone is None else data.alone
    families = Families.of(corpus, train)
    weight = {"softmask_weight": data.softmask_weight}
    windows_of_train = FamilyWindows(corpus, families, length, end, alone=alone, respell=respell, **weight)
    sizes = sorted(len(np.unique(train.record[members])) for members in families.members)
    molecules = corpus.alphabet["name"] == "smiles"
    one, several, what = ("set", "sets", "molecules") if molecules else ("family", "families", "sequences")
    many = (
        f"{len(families):,} {several} of {sizes[0]:,} to {sizes[-1]:,}"
        if len(sizes) > 1
        else f"one {one} of {sizes[0]:,}"
    )
    note = f"{many} training {what}, windows of {length:,}"
    if val is None:
        return FamilyParts(windows_of_train, None, note)
    pool = Families.around(corpus, val, Spans.join([train, val]))
    shown = homologs_of(corpus, val, pool, length)
    lonely = np.random.default_rng(0).random(len(shown)) < alone
    shown = [[] if single else row for row, single in zip(shown, lonely.tolist(), strict=True)]
    return FamilyParts(windows_of_train, HeldOutMembers(corpus, val, shown, pool.spans, end, **weight), note)


class Ladder(NamedTuple):
    """Held-out proteins with homologs to show before them, as many for each."""

    targets: Spans
    shown: list[list[int]]
    pool: Spans
    counts: list[int]
    """How many are shown: 0, 1, 2, 4, ..."""


def ladder(
    corpus: Corpus, train: Spans, test: Spans, length: int, most_symbols: int, *, all_families: bool = False
) -> Ladder | None:
    """The longest ladder of counts that at least half of the proteins of a test can climb that have any relatives; the
    others are left out, so that every count is of the same proteins. None where there are no relatives.

    Args:
        corpus: The ids.
        train: Spans that may be shown.
        test: Held-out records; members of one family may be shown each other.
        length: Places of a row, protein and homologs.
        most_symbols: Symbols to read in all, about.
        all_families: Number in `pool` the members of all families, not only of those with a target.
    """
    whole = test[(test.lengths == corpus.lengths[test.record]) & (test.lengths <= length // 2)]
    if not len(whole):
        return None
    whole = whole[evenly(len(whole), _MOST_TARGETS)]
    spans = Spans.join([windows(train, length - 1), whole])
    pool = Families.of(corpus, spans) if all_families else Families.around(corpus, whole, spans)
    shown = homologs_of(corpus, whole, pool, length)
    sizes = np.array([len(row) for row in shown])
    if not (sizes > 0).any():
        return None
    most = int(np.median(sizes[sizes > 0]))
    counts = [0, *(2**k for k in range(most.bit_length()))]
    chosen = np.flatnonzero(sizes >= counts[-1])
    cost = 2 * float(whole.lengths[chosen].mean()) * (sum(counts) + len(counts))
    room = max(_LEAST_TARGETS, int(most_symbols / cost))
    chosen = chosen[evenly(len(chosen), room)]
    return Ladder(whole[chosen], [shown[i] for i in chosen.tolist()], pool.spans, counts)


@torch.no_grad()
def homolog_rows(
    model: SequenceModel,
    corpus: Corpus,
    found: Ladder,
    device: torch.device,
    symbols_at_once: int,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Bits per residue of the same proteins by how many homologs stand before them, as they are (`real`) and with their
    residues in random order (`shuffled`), which have composition and lengths, but no motif."""
    model, rows = model.to(device), []
    steps = [(count, shuffled) for count in found.counts for shuffled in (False, True)]
    shows = console is not None and console.is_terminal
    for count, shuffled in track(steps, "showing homologs", console=console, transient=True, disable=not shows):
        shown = [row[:count] for row in found.shown]
        members = HeldOutMembers(
            corpus, found.targets, shown, found.pool, model.alphabet.end, closed=False, shuffled=shuffled
        )
        control = "shuffled" if shuffled else "real"
        rows.append({"homologs": count, "control": control, **judged(model, members, device, symbols_at_once)})
    return rows


@torch.no_grad()
def judged(model: SequenceModel, members: HeldOutMembers, device: torch.device, symbols_at_once: int) -> dict[str, Any]:
    """How well a model expects members behind what is shown before them: targets, symbols, bits, perplexity."""
    nats, weight, scored = 0.0, 0.0, 0
    at_once = max(1, symbols_at_once // int(members.sizes.max()))
    with evaluating(model):
        for first in range(0, len(members), at_once):
            batch = members.__getitems__(range(first, min(first + at_once, len(members))))
            ids, weights, lengths = batch["ids"].to(device), batch["weights"].to(device), batch["lengths"]
            even = bool((lengths == ids.shape[1]).all())
            losses = surprisal(causal_logits(model, ids, None if even else lengths), ids).double()
            nats += float(torch.where(weights > 0, losses * weights, 0.0).sum())
            weight += float(weights.sum())
            scored += int((weights > 0).sum())
    bits = nats / weight / _LN2 if weight else math.nan
    return {"targets": len(members), "symbols": scored, "bits": bits, "perplexity": 2**bits}
