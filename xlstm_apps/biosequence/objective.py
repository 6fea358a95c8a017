"""What a language model of sequences is asked: inputs, targets, and how much each target counts.

Targets that do not count have weight 0. No id stands for "ignored", so padding can never be taken for a symbol or a
symbol for padding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.infilling import Line, draw_spans, lay_out
from xlstm_apps.biosequence.packing import shift_right


class Question(NamedTuple):
    """Inputs and targets [B, T], token ids, and weights [B, T] >= 0."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor


def default_weights(ids: Tensor, alphabet: Alphabet) -> Tensor:
    """1 where a symbol says one thing, 0 for specials, padding and wildcards such as N: [B, T]."""
    table = torch.zeros(len(alphabet), device=ids.device)
    table[list(alphabet.definite)] = 1.0
    return table[ids.long()]


def ask(
    config: SequenceConfig,
    alphabet: Alphabet,
    ids: Tensor,
    weights: Tensor,
    cu_seqlens: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Question:
    """The question of `config.objective` about sequences.

    Args:
        config: Objective and its shares.
        alphabet: Ids of specials and symbols.
        ids: [B, T].
        weights: [B, T]; 0 = not to be predicted.
        cu_seqlens: Borders of the documents where they are packed (B = 1).
        generator: Source of randomness, on the CPU; None draws from the default one of the device.
    """
    if config.objective == "masked":
        return hide_symbols(config, alphabet, ids, weights, generator)
    if config.begin_token:
        return Question(shift_right(ids, alphabet.bos, cu_seqlens), ids, weights)
    # Without a begin token nothing says what comes first.
    known = weights.clone()
    known[:, 0 if cu_seqlens is None else cu_seqlens[:-1].to(ids.device).long()] = 0
    return Question(ids, ids.roll(-1, 1), known.roll(-1, 1))


def ask_line(line: Line, alphabet: Alphabet, *, only_spans: bool = False) -> tuple[Question, Tensor]:
    """The causal question about homologs with spans taken out, [1, S - 1], and the positions of its inputs.

    Every token is asked for, those too that say where gaps are and where a sequence ends; wildcards are not.

    Args:
        line: As `infilling.lay_out_family` makes it, of at least two tokens.
        alphabet: What its ids are of.
        only_spans: Ask for what fills the gaps alone.
    """
    ids, positions, in_span = (torch.from_numpy(column)[None] for column in line)
    asked = default_weights(ids, alphabet)
    if only_spans:
        asked = asked * in_span
    else:
        special = torch.tensor([i for i in alphabet.specials if i not in (alphabet.pad, alphabet.unk)])
        asked = torch.where(torch.isin(ids, special), 1.0, asked)
    return Question(ids[:, :-1], ids[:, 1:], asked[:, 1:]), positions[:, :-1]


class GapQuestion(NamedTuple):
    """A question about documents in one row, [1, S], where its inputs stand, and the borders of the documents."""

    question: Question
    positions: Tensor
    cu_seqlens: Tensor


def ask_gaps(
    config: SequenceConfig,
    alphabet: Alphabet,
    ids: Tensor,
    weights: Tensor,
    cu_seqlens: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> GapQuestion:
    """The causal question about sequences with spans drawn anew, taken out and put behind them (`infilling`).

    Args:
        config: Mean number of spans and their bounds.
        alphabet: Of proteins.
        ids: Documents [B, T], the first begin token left out; one begin token between homologs, and behind the last one
            where it is complete.
        weights: [B, T]; what tells of a gap counts as much as the symbol of its sequence that counts most.
        cu_seqlens: Borders of the documents where they are packed (B = 1).
        generator: Source of randomness, on the CPU; None draws from the default one.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    rows, counts = ids.cpu().numpy(), weights.cpu().numpy()
    if cu_seqlens is None:
        documents = [*zip(rows, counts, strict=True)]
    else:
        borders = cu_seqlens[1:-1].tolist()
        documents = [*zip(np.split(rows[0], borders), np.split(counts[0], borders), strict=True)]
    lines = [_gapped(config, alphabet, row, count, rng) for row, count in documents]

    def packed(column: int, part: slice) -> Tensor:
        return torch.from_numpy(np.concatenate([line[column][part] for line in lines]))[None].to(ids.device)

    before, after = slice(None, -1), slice(1, None)
    question = Question(packed(0, before), packed(0, after), packed(1, after).to(weights.dtype))
    lengths = torch.tensor([0, *(len(line[0]) - 1 for line in lines)], dtype=torch.int32, device=ids.device)
    return GapQuestion(question, packed(2, before), lengths.cumsum(0, dtype=torch.int32))


def _gapped(
    config: SequenceConfig, alphabet: Alphabet, ids: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A document with its begin token and gaps: tokens, weights and positions [S]."""
    begins = np.flatnonzero(ids == alphabet.bos)
    parts, first = [], 0.0
    for symbols, counts in zip(np.split(ids, begins), np.split(weights, begins), strict=True):
        if parts:  # the begin token that parts it from the one before
            symbols, first, counts = symbols[1:], float(counts[0]), counts[1:]
        spans = draw_spans(
            len(symbols), rng, mean=config.infill_spans, most=config.infill_most, share=config.infill_share
        )
        line = lay_out(symbols, spans, alphabet)
        special = np.isin(line.ids, alphabet.specials)
        own = np.where(special, counts.max(initial=0), np.append(counts, 0)[line.positions - 1])
        own[0] = first
        parts.append((line.ids, own, line.positions))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def hide_symbols(
    config: SequenceConfig, alphabet: Alphabet, ids: Tensor, weights: Tensor, generator: torch.Generator | None = None
) -> Question:
    """Choose `mask_rate` of what counts; mask most of it, replace some by random symbols, leave the rest (Devlin et al.
    2019, "BERT"). Specials are neither hidden nor drawn."""
    device = ids.device if generator is None else torch.device("cpu")

    def uniform() -> Tensor:
        return torch.rand(ids.shape, generator=generator, device=device).to(ids.device)

    special = torch.zeros(len(alphabet), dtype=torch.bool, device=ids.device)
    special[list(alphabet.specials)] = True
    chosen, fate = (uniform() < config.mask_rate) & (weights > 0) & ~special[ids.long()], uniform()
    symbols = torch.tensor(alphabet.definite, device=ids.device, dtype=ids.dtype)
    random = symbols[(uniform() * len(symbols)).long().clamp(max=len(symbols) - 1)]
    masked, replaced = config.mask_token_share, config.mask_token_share + config.mask_random_share
    inputs = torch.where(chosen & (fate < replaced), random, ids)
    inputs = torch.where(chosen & (fate < masked), alphabet.mask, inputs)
    return Question(inputs, ids, weights * chosen)


def surprisal(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of every target in nats: logits [..., V], targets [...]."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(logits.flatten(0, -2), targets.long().flatten(), reduction="none").view(targets.shape)


def loss_sums(logits: Tensor, question: Question) -> tuple[Tensor, Tensor]:
    """Weighted sum of the surprisals and sum of the weights, so that means can be taken over any number of batches."""
    losses = surprisal(logits, question.targets)
    return torch.where(question.weights > 0, losses * question.weights, 0.0).sum(), question.weights.sum()
