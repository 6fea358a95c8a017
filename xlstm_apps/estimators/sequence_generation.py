"""Sequences made up by a causal model, each with how probable the model finds it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from xlstm_apps.biosequence import strings
from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import Context
from xlstm_apps.biosequence.smiles_validity import ValidSmiles
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.core.state import xLSTMState

_MOST_DRAWS = 50
"""Draws of a molecule until it is taken for impossible."""
_WORTHWHILE = 0.25
"""Share of strings drawn anew that have to be molecules, for another turn of it: below, mending costs less."""


class Made(NamedTuple):
    """One sequence."""

    prompt: int
    """Number of its prompt."""
    text: str
    """Prompt and what was added."""
    added: int
    """Symbols that were added."""
    log_likelihood: float
    """log p in nats of the symbols added, as `score` gives it, whatever temperature they were drawn at."""
    scored: int
    """Symbols that is the sum over: all that were added, but for the first one of a model without begin token."""
    ended: bool
    """Whether the model ended it, rather than the greatest length."""

    @property
    def bits(self) -> float:
        """-log2 p per symbol added; NaN where there is none."""
        return -self.log_likelihood / self.scored / math.log(2) if self.scored else math.nan


def generate_sequences(
    model: SequenceModel,
    prompts: Sequence[str],
    *,
    per_prompt: int = 1,
    min_length: int = 0,
    max_length: int = 1000,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    batch_size: int = 64,
    seed: int = 0,
    family: FamilyContext | None = None,
    valid: bool = False,
) -> Iterator[list[Made]]:
    """Batches of sequences, in the order of the prompts.

    Args:
        model: Causal.
        prompts: What the sequences begin with; an empty one stands for nothing.
        per_prompt: Sequences for each.
        min_length: Fewest symbols to add.
        max_length: Most symbols to add.
        temperature: As in `SequenceModel.generate`.
        top_k: As there.
        top_p: As there.
        batch_size: Sequences at a time.
        seed: Of the draws; the same seed and batch size give the same sequences.
        family: Homologs, or molecules, that were read before; of several draws each sequence takes the next.
        valid: Molecules: what RDKit does not read is drawn anew as a whole, so that molecules are those of the model;
            where that seldom helps, it is taken back to where it went wrong, and drawn on from there.

    Raises:
        ValueError: Options that make no sense, a masked model, or a prompt that cannot be read.
    """
    if per_prompt < 1 or batch_size < 1 or max_length < 1:
        raise ValueError("num_sequences, batch_size and max_length must be at least 1")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"min_length {min_length} must lie between 0 and max_length {max_length}")
    if temperature == 0 and per_prompt > 1:
        raise ValueError(
            "temperature 0 always takes the most probable symbol, so all sequences of a prompt would be the same; "
            "leave num_sequences out, or give a temperature such as 1"
        )
    if valid and model.alphabet.name != "smiles":
        raise ValueError(f"valid is for molecules, and this model makes {model.alphabet.name}; leave it out")
    constraint = ValidSmiles() if valid else None
    device = model.embedding.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    order = [i for i in range(len(prompts)) for _ in range(per_prompt)]
    for begin in range(0, len(order), batch_size):
        members = order[begin : begin + batch_size]
        draws = [] if family is None else [n % len(family) for n in range(begin, begin + len(members))]
        texts = [prompts[i] for i in members]
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "generator": generator}
        before = None if family is None else family.state.select(draws)
        rows = strings.generate_ids(model, texts, min_length, max_length, options, before)
        if constraint is not None:
            rows = only_molecules(model, texts, rows, constraint, min_length, max_length, options, before)
        context = None if family is None else family.begin(model).select(draws)
        yield _judged(model, [prompts[i] for i in members], members, rows, context)


def only_molecules(
    model: SequenceModel,
    prompts: Sequence[str],
    rows: list[torch.Tensor],
    constraint: ValidSmiles,
    least: int,
    most: int,
    options: dict[str, Any],
    before: xLSTMState | None = None,
) -> list[torch.Tensor]:
    """The rows [T], with those that are no molecules drawn anew as a whole, as the model would draw molecules if it
    drew nothing else; where that seldom helps, they are mended, or, for models of other tokens than the constraint
    knows, drawn on.

    Args:
        model: A model of molecules.
        prompts: What the rows begin with.
        rows: Ids drawn freely.
        constraint: What tells molecules, and makes some.
        least: Fewest symbols to add.
        most: Most symbols to add.
        options: Those of the draws.
        before: What was read before the begin tokens, a row for each.

    Raises:
        ValueError: A prompt that no molecule begins with, or none after `_MOST_DRAWS` draws.
    """
    tokenizer, out = Tokenizer(model.alphabet), list(rows)
    mendable = model.sequence.vocabulary is None

    def no_molecules(of: Sequence[int]) -> list[int]:
        return [i for i in of if not constraint.is_molecule(tokenizer.decode(out[i].cpu().numpy()))]

    wrong = no_molecules(range(len(out)))
    for _ in range(_MOST_DRAWS):
        if not wrong:
            return out
        state = None if before is None else before.select(wrong)
        made = strings.generate_ids(model, [prompts[i] for i in wrong], least, most, options, state)
        for i, row in zip(wrong, made, strict=True):
            out[i] = row
        left = no_molecules(wrong)
        if mendable and len(wrong) - len(left) < _WORTHWHILE * len(wrong):
            break
        wrong = left
    if mendable:
        return mend(model, prompts, out, constraint, least, most, options, before)
    raise ValueError(
        f"{_MOST_DRAWS} draws behind {prompts[wrong[0]]!r} gave no molecule; give a lower temperature or a greater "
        "max_length, or leave valid out"
    )


def mend(
    model: SequenceModel,
    prompts: Sequence[str],
    rows: list[torch.Tensor],
    constraint: ValidSmiles,
    least: int,
    most: int,
    options: dict[str, Any],
    before: xLSTMState | None = None,
) -> list[torch.Tensor]:
    """The rows [T], with those that are no molecules drawn anew from where they went wrong: as if every token had been
    drawn under the constraint, but faster where most are molecules anyway.

    Args:
        model: A model of molecules that has a begin token.
        prompts: What the rows begin with.
        rows: Ids drawn freely.
        constraint: What makes molecules of them.
        least: Fewest symbols to add.
        most: Most symbols to add.
        options: Those of the draws.
        before: What was read before the begin tokens, a row for each.

    Raises:
        ValueError: A prompt that no molecule begins with.
    """
    tokenizer, device = Tokenizer(model.alphabet), rows[0].device
    wrong = [i for i, row in enumerate(rows) if not constraint.is_molecule(tokenizer.decode(row.cpu().numpy()))]
    if not wrong:
        return rows
    given = [len(ids) for ids in strings.encode(model, [prompts[i] for i in wrong], empty=True)]
    kept = constraint.resume([rows[i].cpu() for i in wrong], given, most)
    begin = torch.tensor([model.alphabet.bos], device=device)
    options = options if before is None else {**options, "state": before.select(wrong)}
    made = model._continue(
        [torch.cat([begin, row.to(device)]) for row in kept], least, most, {**options, "constraint": constraint}
    )
    out = list(rows)
    for i, row in zip(wrong, made, strict=True):
        out[i] = row[1:]
    return out


def _judged(
    model: SequenceModel, prompts: list[str], members: list[int], rows: list[torch.Tensor], context: Context | None
) -> list[Made]:
    """The rows with their likelihoods."""
    tokenizer, end = Tokenizer(model.alphabet), model.alphabet.end
    ended = [bool(len(row)) and int(row[-1]) == end for row in rows]
    rows = [row[:-1] if end else row for row, end in zip(rows, ended, strict=True)]
    before = [len(ids) for ids in strings.encode(model, prompts, empty=True)]
    nlls: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    full = [i for i in range(len(rows)) if len(rows[i])]
    for batch in strings.by_length([len(rows[i]) for i in full], strings.BATCH_SYMBOLS):
        chosen = [full[i] for i in batch]
        ids = pad_sequence([rows[i] for i in chosen], batch_first=True, padding_value=model.alphabet.pad)
        lengths = [len(rows[i]) for i in chosen]
        behind = None if context is None else context.select(chosen)
        nll = model.score(ids, torch.ones(ids.shape), lengths=lengths, context=behind, strands="own")
        for i, row, length in zip(chosen, nll, lengths, strict=True):
            nlls[i] = row[:length].double().cpu()
    out = []
    for i, row in enumerate(rows):
        added = nlls[i][before[i] :]
        text = tokenizer.decode(row.cpu().numpy())
        total = -float(added.nansum())
        out.append(Made(members[i], text, len(row) - before[i], total, int(added.isfinite().sum()), ended[i]))
    return out
