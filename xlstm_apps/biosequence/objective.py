"""What a language model of sequences is asked: inputs, targets, and how much each target counts.

Targets that do not count have weight 0. No id stands for "ignored", so padding can never be taken for a symbol or a
symbol for padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.infilling import Line
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
