"""The convolution as its definition says: every step beside those before it, summed in one go. Slow, for tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.state import state_dtype


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, *, position: Tensor | None, activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.causal_conv1d`."""
    taps, dtype = weight.shape[0], state_dtype(x, weight, bias)
    if window is None:
        window = x.new_zeros(x.shape[0], taps - 1, x.shape[2])
    seen = torch.cat([window.to(dtype), x.to(dtype)], dim=1).unfold(1, taps, 1)  # [B, T, E, taps]
    if position is not None:
        age = torch.arange(taps - 1, -1, -1, device=x.device)
        seen = torch.where((position[:, None] >= age)[:, None], seen, 0.0)
    y = (seen * weight.to(dtype).T).sum(-1) + bias.to(dtype)
    return (F.silu(y) if activation == "silu" else y).to(x.dtype)
