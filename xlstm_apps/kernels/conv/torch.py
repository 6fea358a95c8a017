"""The convolution in plain torch, for the CPU and any other device.

Summed tap by tap in the layout [B, T, E]: no transposition, and in packed rows each tap can be cut off where a document
starts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.conv.reference import unsupported

__all__ = ["causal_conv1d", "unsupported"]


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, *, position: Tensor | None, activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.causal_conv1d`."""
    past, length = weight.shape[0] - 1, x.shape[1]
    if window is None:
        window = x.new_zeros(x.shape[0], past, x.shape[2])
    padded = torch.cat([window.to(x.dtype), x], dim=1)
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)  # float32 taps would widen all that follows
    y = torch.addcmul(bias, x, weight[past])
    for age in range(1, past + 1):
        tap = padded[:, past - age : past - age + length]
        if position is not None:
            tap = tap * (position >= age).unsqueeze(-1)
        y = torch.addcmul(y, tap, weight[past - age])
    return F.silu(y) if activation == "silu" else y
