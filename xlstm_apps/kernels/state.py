"""What a recurrence hands from one segment to the next."""

from __future__ import annotations

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


def state_dtype(*tensors: Tensor) -> torch.dtype:
    """Type of states and of the arithmetic on gates: float64 if any of `tensors` is, else float32."""
    return torch.float64 if any(x.dtype == torch.float64 for x in tensors) else torch.float32
