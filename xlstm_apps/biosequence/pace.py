"""How much a model reads at a time, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable

from xlstm_apps.biosequence.model import SequenceModel

Advance = Callable[[int], None]
"""Told how many are done since the last time."""
CPU_TOKENS, CUDA_TOKENS = 2**14, 2**18


def tokens_at_a_time(model: SequenceModel, asked: int | None) -> int:
    """Most tokens of a batch; what was asked for, else by the device of the model.

    Raises:
        ValueError: Less than one was asked for.
    """
    if asked is not None and asked < 1:
        raise ValueError(f"batch_symbols {asked} must be at least 1; leave it out to choose by device")
    return asked or (CUDA_TOKENS if model.embedding.weight.is_cuda else CPU_TOKENS)


def ignore(_done: int) -> None:
    """Tells nobody."""
