"""Sequence models asked with strings in the place of ids: encoded, batched by length, answered in the order given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xlstm_apps.biosequence.tokenizer import Tokenizer

if TYPE_CHECKING:
    from xlstm_apps.biosequence.model import SequenceModel
    from xlstm_apps.biosequence.scoring import Context
    from xlstm_apps.core.state import xLSTMState

BATCH_SYMBOLS = 2**16
"""Most symbols, padding included, of a batch of several strings."""


def are_strings(given: Any) -> TypeGuard[str | Sequence[str]]:
    """Whether this is a string, or several."""
    return isinstance(given, str) or (isinstance(given, (list, tuple)) and any(isinstance(x, str) for x in given))


def encode(model: SequenceModel, texts: Sequence[str], *, empty: bool = False) -> list[Tensor]:
    """Ids of strings as files hold them, int64 [T] each: lower case as upper, U as T, ambiguity codes as the wildcard.

    Raises:
        ValueError: A string that is `empty` without leave, or a character that cannot be read; names string and place.
    """
    tokenizer = Tokenizer(model.alphabet)
    out = []
    for number, text in enumerate(texts, 1):
        which = f"string {number}: " if len(texts) > 1 else ""
        if not isinstance(text, str):
            raise ValueError(f"{which}expected a string, got {type(text).__name__}")
        if not text and not empty:
            raise ValueError(f"{which}empty; give at least one symbol")
        try:
            ids = tokenizer.fold_text(text)
        except ValueError as error:
            raise ValueError(f"{which}{error}") from None
        out.append(torch.from_numpy(ids.astype(np.int64)))
    return out


def by_length(lengths: Sequence[int], limit: int, rows: int | None = None) -> Iterator[list[int]]:
    """Indices in batches of similar length, the longest first: where that memory does not do, it shows at once.

    Args:
        lengths: Symbols of each.
        limit: Most symbols of a batch padded to its longest; one that is longer is a batch by itself.
        rows: Most indices in a batch; None: any number.
    """
    order, at = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)), 0
    while at < len(order):
        count = max(1, limit // max(1, lengths[order[at]]))
        count = count if rows is None else min(count, rows)
        yield order[at : at + count]
        at += count


def score(model: SequenceModel, texts: str | Sequence[str], context: Context | None, options: dict[str, Any]) -> Any:
    """See `SequenceModel.score`."""
    rows = encode(model, _several(texts))
    if context is not None and context.state.batch_size not in (1, len(rows)):
        raise ValueError(f"a context of {context.state.batch_size} rows for {len(rows)} strings; give one row, or each")
    out: list[Tensor] = [torch.empty(0)] * len(rows)
    for members, ids, lengths in _batches(rows, model):
        own = context
        if context is not None:
            own = context.select([0] * len(members) if context.state.batch_size == 1 else members)
        nll = model.score(ids, lengths=lengths, context=own, **options)
        for member, row, length in zip(members, nll, lengths, strict=True):
            out[member] = row[:length]
    return out[0] if isinstance(texts, str) else out


@torch.no_grad()
def embed(model: SequenceModel, texts: str | Sequence[str], layer: int, pooling: Any) -> Any:
    """See `SequenceModel.embed`."""
    rows = encode(model, _several(texts))
    out: list[Tensor] = [torch.empty(0)] * len(rows)
    for members, ids, lengths in _batches(rows, model):
        features = model.embed(ids, layer, pooling=pooling, lengths=lengths)
        for member, x, length in zip(members, features, lengths, strict=True):
            out[member] = x if pooling is not None else x[:length]
    if isinstance(texts, str):
        return out[0]
    return out if pooling is None else torch.stack(out)


def generate(model: SequenceModel, texts: str | Sequence[str], least: int, most: int, options: dict[str, Any]) -> Any:
    """See `SequenceModel.generate`."""
    tokenizer = Tokenizer(model.alphabet)
    out = [tokenizer.decode(row.cpu().numpy()) for row in generate_ids(model, _several(texts), least, most, options)]
    return out[0] if isinstance(texts, str) else out


def generate_ids(
    model: SequenceModel,
    texts: Sequence[str],
    least: int,
    most: int,
    options: dict[str, Any],
    before: xLSTMState | None = None,
) -> list[Tensor]:
    """The same as ids, a text that the model ended with its end; `before` is what was read before the begin token, such
    as homologs, with a row for each text."""
    begins = model.begins and options.get("state") is None
    options = options if before is None else {**options, "state": before}
    rows = encode(model, texts, empty=begins)
    if begins:  # read as a symbol before each prompt, so that a prompt may be empty
        begin = torch.tensor([model.alphabet.bos])
        rows = [torch.cat([begin, row]) for row in rows]
    made = model._continue(rows, least, most, options)
    return [row[1:] for row in made] if begins else made


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _batches(rows: list[Tensor], model: SequenceModel) -> Iterator[tuple[list[int], Tensor, list[int]]]:
    """Indices, padded ids [B, T] and lengths."""
    for members in by_length([len(row) for row in rows], BATCH_SYMBOLS):
        ids = pad_sequence([rows[i] for i in members], batch_first=True, padding_value=model.alphabet.pad)
        yield members, ids.to(model.embedding.weight.device), [len(rows[i]) for i in members]
