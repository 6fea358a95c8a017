"""How mutants of a protein compare with the wild type, in log p: the prefix of the wild type is read once for all.

The wild type is read in blocks. What differs from it for the first time within a block goes on from the state at the
block's begin, in one batch; so does every question about a site there. Below 0: less probable than the wild type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.infilling import span_tokens
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance, ignore, tokens_at_a_time
from xlstm_apps.biosequence.scoring import Context, evaluating
from xlstm_apps.biosequence.strings import by_length

STRIDE = 32
"""Symbols of a block. Shorter ones leave smaller batches, longer ones read more of the wild type again."""


@torch.no_grad()
def forward_scores(
    model: SequenceModel,
    wild_type: np.ndarray,
    mutants: Sequence[np.ndarray],
    context: Context | None = None,
    *,
    tokens: int | None = None,
    advance: Advance | None = None,
) -> np.ndarray:
    """log p(mutant) - log p(wild type) of whole sequences in nats, end included where the model was taught it.

    Residues that are not known, such as X, are read but not counted.

    Args:
        model: Causal.
        wild_type: Ids [T].
        mutants: Ids of each, of any length.
        context: What was read before, up to the begin token: one row. None begins anew.
        tokens: Most symbols in a batch; None: by device.
        advance: Called with a number of mutants that are done.

    Returns:
        float64 [N].
    """
    told, tokens = advance or ignore, tokens_at_a_time(model, tokens)
    distinct = {mutant.tobytes(): n for n, mutant in reversed([*enumerate(mutants)])}
    first = {n: _common(wild_type, mutants[n]) // STRIDE * STRIDE for n in distinct.values()}
    blocks: dict[int, list[int]] = defaultdict(list)
    for n, begin in sorted(first.items()):
        blocks[begin].append(n)
    found: dict[int, float] = {}
    with evaluating(model):
        for begin, here in _walk(model, wild_type, context, sorted(blocks)):
            members = blocks[begin]
            rows = [wild_type[begin:], *(mutants[n][begin:] for n in members)]
            total = _log_likelihoods(model, rows, here, tokens)
            found |= {n: total[place] - total[0] for place, n in enumerate(members, 1)}
            told(len(members))
    told(len(mutants) - len(distinct))
    return np.array([found[distinct[mutant.tobytes()]] for mutant in mutants])


@torch.no_grad()
def site_scores(
    model: SequenceModel,
    wild_type: np.ndarray,
    sites: Sequence[int],
    context: Context | None = None,
    *,
    show_wild_type: bool = False,
    tokens: int | None = None,
    advance: Advance | None = None,
) -> np.ndarray:
    """log p of every residue at sites that are hidden, knowing both sides, less that of the wild type, in nats.

    A causal model that was taught to fill gaps sees the site as a gap of one, behind everything else (as Prot-xLSTM is
    asked); a masked one sees it hidden in its place. Probabilities are those among the definite residues.

    Args:
        model: One of the two.
        wild_type: Ids [T].
        sites: Places from 0.
        context: Causal: what was read before, up to the begin token: one row. None begins anew.
        show_wild_type: Causal: let the model read the wild type first, as one more homolog.
        tokens: Most symbols in a batch; None: by device.
        advance: Called with a number of sites that are done.

    Returns:
        float64 [sites, residues], the residues in the order of `alphabet.definite`; NaN where the wild type is none.

    Raises:
        ValueError: A causal model that was not taught to fill gaps.
    """
    told, tokens = advance or ignore, tokens_at_a_time(model, tokens)
    definite = list(model.alphabet.definite)
    out = np.full((len(sites), len(definite)), np.nan)
    place = {site: n for n, site in enumerate(sites)}
    with evaluating(model):
        for group, logits in _asked(model, wild_type, sorted(place), context, show_wild_type, tokens):
            chances = logits.double()[:, definite].log_softmax(-1).cpu().numpy()
            for site, row in zip(group, chances, strict=True):
                if wild_type[site] in definite:
                    out[place[site]] = row - row[definite.index(int(wild_type[site]))]
            told(len(group))
    return out


def check_infilling(model: SequenceModel) -> None:
    """See that a model can be asked about what stands in a gap.

    Raises:
        ValueError: A causal model that was not taught it.
    """
    if model.sequence.objective == "causal" and not model.sequence.infills:
        raise ValueError(
            "this model was trained without gaps to fill, so it knows one side only; train with "
            "--sequence.infill_spans 1, or ask for what it can do: `fitness --method forward`, `generate`"
        )


def _asked(
    model: SequenceModel,
    wild_type: np.ndarray,
    sites: list[int],
    context: Context | None,
    show_wild_type: bool,
    tokens: int,
) -> Iterator[tuple[list[int], Tensor]]:
    """Groups of sites, in order, and logits [sites, V] of what stands there."""
    check_infilling(model)
    device, alphabet = model.embedding.weight.device, model.alphabet
    ids = torch.from_numpy(wild_type.astype(np.int64)).to(device)
    if model.sequence.objective == "masked":
        for group in _groups(sites, max(1, tokens // len(ids))):
            rows = ids.repeat(len(group), 1)
            at = torch.tensor(group, device=device)
            rows[torch.arange(len(group)), at] = alphabet.mask
            yield group, model(rows)[torch.arange(len(group)), at]
        return
    if show_wild_type:
        context = model.read(torch.cat([ids, ids.new_tensor([alphabet.bos])])[None], context)
    gap, blocks = span_tokens(alphabet)[0], defaultdict(list)
    for site in sites:
        blocks[site // STRIDE * STRIDE].append(site)
    for begin, here in _walk(model, wild_type, context, sorted(blocks)):
        assert here is not None  # a model that fills gaps has a begin token
        length = len(ids) - begin
        for group in _groups(blocks[begin], max(1, tokens // (length + 3))):
            rows = torch.cat([ids[begin:], ids.new_tensor([alphabet.eos, 0])]).repeat(len(group), 1)
            places = torch.arange(begin + 1, len(ids) + 3, device=device).repeat(len(group), 1)
            at = torch.tensor(group, device=device)
            rows[torch.arange(len(group)), at - begin] = gap
            rows[:, -1], places[:, -2], places[:, -1] = gap, 0, at + 1
            state = here.select([0] * len(group)).state
            given = {} if model.config.rotary_base is None else {"positions": places}
            logits, _ = model(rows, state, return_state=True, **given)
            yield group, logits[:, -1]


def _walk(
    model: SequenceModel, wild_type: np.ndarray, context: Context | None, begins: Sequence[int]
) -> Iterator[tuple[int, Context | None]]:
    """The wild type read up to each begin of a block, one row; None where there was nothing to read yet."""
    if context is None and model.begins:
        context = model.read(torch.zeros(1, 0, dtype=torch.long))
    at = 0
    for begin in begins:
        if begin > at:
            context = model.read(torch.from_numpy(wild_type[at:begin].astype(np.int64))[None], context)
            at = begin
        yield begin, context


def _log_likelihoods(model: SequenceModel, rows: list[np.ndarray], context: Context | None, tokens: int) -> np.ndarray:
    """log p of each row behind the context, of what is definite, and of the end: float64 [N]."""
    alphabet = model.alphabet
    closing = [alphabet.end] if model.sequence.ends else []
    closed = [np.concatenate([row, np.array(closing, row.dtype)]) for row in rows]
    out = np.zeros(len(rows))
    filled = [n for n, row in enumerate(closed) if len(row)]
    for batch in by_length([len(closed[n]) for n in filled], tokens):
        members = [filled[n] for n in batch]
        lengths = [len(closed[n]) for n in members]
        ids = np.full((len(members), max(lengths)), alphabet.pad, np.int64)
        for row, n in zip(ids, members, strict=True):
            row[: len(closed[n])] = closed[n]
        counts = torch.from_numpy(np.isin(ids, [*alphabet.definite, *closing]).astype(np.float32))
        behind = None if context is None else context.select([0] * len(members))
        given = torch.from_numpy(ids)
        nll = model.score(given, counts, lengths=lengths, context=behind, strands="own")
        out[members] = -nll.double().nansum(1).cpu().numpy()
    return out


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """Symbols that two sequences have in common from the begin on."""
    size = min(len(a), len(b))
    differ = np.flatnonzero(a[:size] != b[:size])
    return int(differ[0]) if len(differ) else size


def _groups(sites: list[int], size: int) -> Iterator[list[int]]:
    for begin in range(0, len(sites), size):
        yield sites[begin : begin + size]
