"""What a recurrence hands from one segment to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class MLSTMState(NamedTuple):
    """Memory of an mLSTM between two segments; float32, or float64 where the inputs are float64.

    The memory proper is `exp(m) * c` and `exp(m) * n`: `m` is a logarithmic scale that keeps `c` and `n` in range.
    The empty memory is all zeros.
    """

    c: Tensor
    """Matrix memory, [B, H, K, V]."""
    n: Tensor
    """Normaliser, [B, H, K]."""
    m: Tensor
    """Logarithmic scale, [B, H]; unused and passed through with sigmoid input gates."""


class RNNState(NamedTuple):
    """Memory of an `rnn` between two segments; float32, or float64 where the gates are float64.

    Every field has shape [B, H, D]; fields a cell does not have are None. The empty memory is all zeros.
    """

    h: Tensor
    """Hidden state, the last output."""
    c: Tensor | None = None
    """Cell state of `lstm` and `slstm`. The sLSTM returns it already divided by `n`."""
    n: Tensor | None = None
    """Normaliser of `slstm`; 1 in what is returned, 0 for an empty memory."""
    m: Tensor | None = None
    """Logarithm of the normaliser of `slstm`: its memory proper is `exp(m) * c` and `exp(m) * n`."""


STATES = {"slstm": ("h", "c", "n", "m"), "lstm": ("h", "c"), "gru": ("h",), "elman": ("h",)}
"""Fields of `RNNState` that each cell has."""


def state_dtype(*tensors: Tensor) -> torch.dtype:
    """Type of states and of the arithmetic on gates: float64 if any of `tensors` is, else float32."""
    return torch.float64 if any(x.dtype == torch.float64 for x in tensors) else torch.float32


def memory_shapes(q: Tensor, v: Tensor, rows: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the fields of `rows` memories of queries [..., H, K] and values [..., H, V]."""
    heads, key_dim, value_dim = q.shape[-2], q.shape[-1], v.shape[-1]
    return {"c": (rows, heads, key_dim, value_dim), "n": (rows, heads, key_dim), "m": (rows, heads)}


def allocate_memory(q: Tensor, v: Tensor, rows: int, dtype: torch.dtype) -> MLSTMState:
    """Room for `rows` memories of queries [..., H, K] and values [..., H, V]; what is in it is left to chance."""
    return MLSTMState(**{name: q.new_empty(shape, dtype=dtype) for name, shape in memory_shapes(q, v, rows).items()})


def check_overwritable(state: MLSTMState | RNNState | None, dtype: torch.dtype, inputs: Sequence[Tensor]) -> None:
    """Refuse a state that a step on `inputs` cannot overwrite, with a ValueError."""
    if state is None:
        raise ValueError("inplace=True needs a state to overwrite; for the empty one give zeros")
    tensors = [x for x in state if x is not None]
    for name, x in state._asdict().items():
        if x is not None and (x.dtype != dtype or not x.is_contiguous()):
            layout = "" if x.is_contiguous() else ", not contiguous"
            raise ValueError(f"inplace=True needs a contiguous state of {dtype}; state.{name} is {x.dtype}{layout}")
    if torch.is_grad_enabled() and any(x.requires_grad for x in (*inputs, *tensors)):
        raise ValueError("inplace=True overwrites what gradients need; call it under torch.no_grad()")


def overwrite(state: MLSTMState | RNNState, new: MLSTMState | RNNState) -> None:
    """Copy one state into the tensors of another."""
    for old, x in zip(state, new, strict=True):
        if old is not None and x is not None:
            old.copy_(x)
