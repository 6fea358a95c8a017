"""How probable a model finds sequences, symbol by symbol, at constant memory however long they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from xlstm_apps.biosequence.objective import default_weights, surprisal
from xlstm_apps.core.state import xLSTMState
from xlstm_apps.core.whole_file import whole_file

if TYPE_CHECKING:
    from xlstm_apps.biosequence.model import SequenceModel

CHUNK_LENGTH = 2**16
_SAVED = {"format": "xlstm-apps context"}


class Context(NamedTuple):
    """What a causal model knows after reading: its state, and what it expects next.

    One row per sequence. `select` repeats or picks rows, as for scoring many alternatives behind one flank.
    """

    state: xLSTMState
    logits: Tensor
    """[B, V]"""

    def select(self, rows: Sequence[int] | Tensor) -> Context:
        """The rows named by index; repeats allowed."""
        index = rows if isinstance(rows, Tensor) else torch.tensor(list(rows), dtype=torch.long)
        return Context(self.state.select(index), self.logits[index.to(self.logits.device)])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, whole or not at all. Its size does not depend on how much was read."""
        tensors = {**self.state.named_tensors(), "logits": self.logits}
        with whole_file(path) as aside:
            save_file({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, aside, metadata=_SAVED)

    @staticmethod
    def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Context:
        """Read what `save` wrote. It continues the model that read it and no other.

        Raises:
            ValueError: The file is not there, or is no saved context.
        """
        if not Path(path).is_file():
            raise ValueError(f"{os.fspath(path)}: no such file; a context is written by Context.save")
        try:
            tensors = load_file(path, device=str(device))
            logits = tensors.pop("logits")
            return Context(xLSTMState.from_tensors(tensors), logits)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)}: not a context written by Context.save") from error


@torch.no_grad()
def read(model: SequenceModel, ids: Tensor, context: Context | None = None) -> Context:
    """Read sequences [B, T] after `context`; None begins anew, with the begin token where the model has one.

    Raises:
        ValueError: A masked model, or nothing to read for a model without begin token.
    """
    _check_causal(model)
    with evaluating(model):
        if context is None:
            context = _beginning(model, len(ids))
        for chunk in ids.split(CHUNK_LENGTH, 1) if ids.shape[1] else ():
            context = advance_scores(model, chunk, context)[1]
    if context is None:
        raise ValueError("this model has no begin token: there must be something to read")
    return context


@torch.no_grad()
def score(
    model: SequenceModel,
    ids: Tensor,
    weights: Tensor | None = None,
    *,
    lengths: Sequence[int] | Tensor | None = None,
    context: Context | None = None,
    strands: Literal["own", "both"] | None = None,
    chunk_length: int = CHUNK_LENGTH,
    passes: int | None = None,
) -> Tensor:
    """-log p in nats of every symbol.

    A causal model reads in chunks and carries its state from one to the next: memory does not depend on T, apart from
    the ids and the result, which may stay on the CPU while the model is elsewhere. A masked model hides every k-th
    symbol, k times at other places (pseudo-log-likelihood, Salazar et al. 2020); the whole sequence is read each time.

    Args:
        model: Causal or masked.
        ids: [B, T], of any type of whole numbers.
        weights: [B, T]; symbols of weight 0 are read, but not scored. None: only definite symbols are scored.
        lengths: Lengths of the rows where they are padded.
        context: Causal: what was read before, from `read`; None begins anew.
        strands: "both" takes the mean of both strands, "own" the given one only. None: "both" for
            `symmetry="posthoc"`. A masked model that shares its strands reads both anyway.
        chunk_length: Causal: symbols at a time.
        passes: Masked: number k of readings; as many as symbols is exact. None: 1 / mask_rate.

    Returns:
        float32 [B, T] on the device of `ids`; NaN where there is no score: weight 0, padding, and the first symbol for
        a model without begin token.

    Raises:
        ValueError: Options that do not go with the model.
    """
    causal = model.sequence.objective == "causal"
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"expected ids of shape [batch, time >= 1], got {[*ids.shape]}")
    if causal and passes is not None:
        raise ValueError("passes is for masked models; a causal one reads once")
    if not causal and context is not None:
        raise ValueError("a masked model has no context to go on from; train with objective='causal'")
    if chunk_length < 1 or (passes is not None and passes < 1):
        raise ValueError("chunk_length and passes must be at least 1")
    weights = default_weights(ids, model.alphabet) if weights is None else weights.to(ids.device)
    if weights.shape != ids.shape:
        raise ValueError(f"weights {[*weights.shape]} and ids {[*ids.shape]} must have the same shape")
    scored = weights > 0
    if lengths is not None:
        lengths = torch.as_tensor(lengths, device=ids.device).long()
        scored &= torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    symmetry = model.sequence.symmetry
    both = strands == "both" or (strands is None and symmetry == "posthoc" and context is None)
    if both and (context is not None or model.complement is None):
        why = "a context is of one strand" if context is not None else f"{model.alphabet.name} has one strand"
        raise ValueError(f"strands='both' is not possible: {why}")
    with evaluating(model):
        if not causal:
            if strands == "own" and model.reads_both:
                raise ValueError(f"a masked model with symmetry={symmetry!r} reads both strands; leave strands out")
            nll = _masked(model, ids, scored, lengths, passes)
            both = both and not model.reads_both
        else:
            nll = _causal(model, ids, context, chunk_length)
        if both:
            assert model.complement is not None
            other = model.complement.to(ids.device)[_mirror(ids, lengths).long()]
            if causal:
                twin = _causal(model, other, None, chunk_length)
            else:
                twin = _masked(model, other, _mirror(scored, lengths), lengths, passes)
            nll = (nll + _mirror(twin, lengths)) / 2
    return nll.masked_fill(~scored, torch.nan)


@torch.no_grad()
def stream_scores(model: SequenceModel, chunks: Iterable[Tensor], context: Context | None = None) -> Iterator[Tensor]:
    """-log p in nats of every symbol [B, T], chunk after chunk [B, T] of a sequence of any length, at constant memory.

    Symbols of every kind are scored; for a model without begin token the very first is NaN.

    Args:
        model: Causal, in evaluation mode; reads the given strand only.
        chunks: Ids, read as they are asked for.
        context: What was read before; None begins anew.

    Raises:
        ValueError: A masked model.
    """
    _check_causal(model)
    for chunk in chunks:
        context = _beginning(model, len(chunk)) if context is None else context
        part, context = advance_scores(model, chunk, context)
        yield part


@torch.no_grad()
def stream_features(model: SequenceModel, chunks: Iterable[Tensor], layer: int = -1) -> Iterator[Tensor]:
    """Features of every symbol [B, T, E], chunk after chunk [B, T] of one sequence of any length, at constant memory.

    Args:
        model: Causal, in evaluation mode; reads the given strand only.
        chunks: Ids, read as they are asked for.
        layer: As in `SequenceModel.encode`.

    Raises:
        ValueError: A masked model.
    """
    _check_causal(model)
    state, until, device = None, None if layer == -1 else layer, model.embedding.weight.device
    for chunk in chunks:
        ids, skip = chunk.to(device).long(), 0
        if state is None and model.begins:
            ids, skip = torch.cat([ids.new_full((len(ids), 1), model.alphabet.bos), ids], 1), 1
        positions = model.count_positions(ids, state)
        given = {} if positions is None else {"positions": positions}
        x, state = model.backbone(model.embedding(ids), state, return_state=True, until=until, **given)
        yield x[:, skip:]


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _causal(model: SequenceModel, ids: Tensor, context: Context | None, chunk_length: int) -> Tensor:
    nll, start = torch.full(ids.shape, torch.nan, device=ids.device), 0
    for part in stream_scores(model, ids.split(chunk_length, 1), context):
        nll[:, start : start + part.shape[1]] = part.to(ids.device)
        start += part.shape[1]
    return nll


def _beginning(model: SequenceModel, batch_size: int) -> Context | None:
    if not model.begins:
        return None
    begin = torch.full((1, 1), model.alphabet.bos, device=model.embedding.weight.device)
    return advance_scores(model, begin, None)[1].select([0] * batch_size)


def advance_scores(model: SequenceModel, chunk: Tensor, context: Context | None) -> tuple[Tensor, Context]:
    """Scores [B, T] of a chunk behind a context, and the context behind it."""
    chunk = chunk.to(model.embedding.weight.device).long()
    logits, state = model(chunk, None if context is None else context.state, return_state=True)
    first = torch.full_like(logits[:, 0], torch.nan) if context is None else context.logits
    expected = torch.cat([first[:, None], logits[:, :-1]], 1)
    return surprisal(expected, chunk).float(), Context(state, logits[:, -1].clone())


def _masked(model: SequenceModel, ids: Tensor, scored: Tensor, lengths: Tensor | None, passes: int | None) -> Tensor:
    every = passes or max(1, round(1 / model.sequence.mask_rate))
    place = torch.arange(ids.shape[1], device=ids.device) % every
    nll = torch.full(ids.shape, torch.nan, device=ids.device)
    device = model.embedding.weight.device
    for turn in range(min(every, ids.shape[1])):
        hidden = scored & (place == turn)
        if not bool(hidden.any()):
            continue
        inputs = torch.where(hidden, model.alphabet.mask, ids.long()).to(device)
        logits = model(inputs, lengths=lengths)
        nll = torch.where(hidden, surprisal(logits, ids.to(device)).float().to(ids.device), nll)
    return nll


def _mirror(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Rows [B, T] turned around, padding staying where it is."""
    if lengths is None:
        return x.flip(1)
    place = torch.arange(x.shape[1], device=x.device).expand_as(x)
    return x.gather(1, torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place))


def _check_causal(model: SequenceModel) -> None:
    if model.sequence.objective != "causal":
        raise ValueError("a masked model reads whole sequences and keeps no context; train with objective='causal'")
