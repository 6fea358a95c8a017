"""Models of sets of molecules: how they begin from one of single molecules, what molecules shown first are worth."""

from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from xlstm_apps.biosequence import SequenceModel
from xlstm_apps.datasets.sequences import Corpus, Spans
from xlstm_apps.datasets.sequences.families import Families, HeldOutMembers
from xlstm_apps.estimators.sequence_families import Ladder, judged, ladder

_TRIES = 20


@torch.no_grad()
def begin_with(model: SequenceModel, start: SequenceModel) -> None:
    """Give a model the weights of another. Where it reads sets and the other one single molecules, the token between
    molecules begins as what it stands for: the begin of the next one where it is read, the end where it is foretold."""
    model.load_state_dict(start.state_dict())
    if model.sequence.sets and not start.sequence.sets:
        between = model.alphabet.bos
        model.embedding.weight[between] = start.embedding.weight[start.alphabet.bos]
        model.head.weight[between] = start.head.weight[start.alphabet.end]  # the one that counts, if they are tied


def unknown(corpus: Corpus, train: Spans, test: Spans) -> Spans:
    """The molecules of a held-out part that do not occur in training."""
    if not len(test):
        return test
    known = {corpus[record].tobytes() for record in np.unique(train.record).tolist()}
    return test[np.array([corpus[record].tobytes() not in known for record in test.record.tolist()], bool)]


class SetLadder(NamedTuple):
    """Held-out molecules, each with molecules of its own set to show before it, and of another set."""

    own: Ladder
    other: list[list[int]]
    """Numbers of spans of `own.pool`, too."""


def set_ladder(corpus: Corpus, train: Spans, test: Spans, length: int, most_symbols: int) -> SetLadder | None:
    """As `ladder`, with as many molecules of another set for each, one that is held out if there is any. None where
    there are none to show.

    Args:
        corpus: The ids.
        train: Molecules that may be shown.
        test: Held-out ones that do not occur in training; those of one set may be shown each other.
        length: Places of a row.
        most_symbols: Symbols to read in all, about.
    """
    found = ladder(corpus, train, test, length, most_symbols, all_families=True)
    if found is None:
        return None
    families, most = Families.of(corpus, found.pool), found.counts[-1]
    large = [n for n, members in enumerate(families.members) if len(members) >= most]
    held_out = np.isin(found.pool.record, test.record)
    apart = [n for n in large if held_out[families.members[n]].any()]
    where = {name: n for n, name in enumerate(families.names)}
    texts = [corpus[record].tobytes() for record in found.pool.record.tolist()]
    rows, kept = [], []
    for index, record in enumerate(found.targets.record.tolist()):
        rng, text, own = np.random.default_rng((index, 1)), corpus[record].tobytes(), where[str(corpus.groups[record])]
        others = [n for n in apart if n != own] or [n for n in large if n != own]
        room = length - int(found.targets.lengths[index]) - 1
        for other in rng.permutation(np.array(others, np.int64))[:_TRIES].tolist():
            same = [n for n in families.members[other].tolist() if texts[n] == text]
            row = families.draw(other, room, rng, same)[:most]
            if len(row) == most:
                rows.append(row)
                kept.append(index)
                break
    if not kept:
        return None
    shown = [found.shown[index] for index in kept]
    return SetLadder(found._replace(targets=found.targets[np.array(kept)], shown=shown), rows)


def set_rows(
    model: SequenceModel,
    corpus: Corpus,
    found: SetLadder,
    device: torch.device,
    symbols_at_once: int,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Bits per token of the same molecules by how many molecules stand before them: of their own set (`real`), and of
    another one (`other`), which are molecules too, but say nothing of what this set has in common."""
    model, rows = model.to(device), []
    steps = [(count, control) for count in found.own.counts for control in ("real", "other")]
    shows = console is not None and console.is_terminal
    for count, control in track(steps, "showing molecules", console=console, transient=True, disable=not shows):
        shown = [row[:count] for row in (found.own.shown if control == "real" else found.other)]
        members = HeldOutMembers(corpus, found.own.targets, shown, found.own.pool, model.alphabet.end, closed=False)
        rows.append({"molecules": count, "control": control, **judged(model, members, device, symbols_at_once)})
    return rows
