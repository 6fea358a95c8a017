"""The convolution in plain torch, for the CPU and any other device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FEW = 4
"""Taps up to which they are summed one by one in training, too."""


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, *, position: Tensor | None, activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.causal_conv1d`."""
    if window is None:
        window = x.new_zeros(x.shape[0], weight.shape[0] - 1, x.shape[2])
    padded = torch.cat([window.to(x.dtype), x], dim=1)
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)  # float32 taps would widen all that follows
    if position is None and _in_one(x, weight):
        y = F.conv1d(padded.mT, weight.mT.unsqueeze(1), bias, groups=x.shape[2]).mT.contiguous()
    else:
        y = _tap_by_tap(padded, weight, bias, position)
    return F.silu(y) if activation == "silu" else y


def _in_one(x: Tensor, weight: Tensor) -> bool:
    """Whether torch's own convolution is the faster way: in training, where tap by tap every tap keeps a tensor; else
    the change of layout eats it up. It would round float32 under autocast, and on a GPU to TF32."""
    exact = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    native = x.dtype in (torch.float32, torch.float64)
    return exact and native and weight.shape[0] > FEW and x.shape[1] > 1 and torch.is_grad_enabled()


def _tap_by_tap(padded: Tensor, weight: Tensor, bias: Tensor, position: Tensor | None) -> Tensor:
    """In the layout [B, T, E]; in packed rows each tap is cut off where a document starts."""
    past = weight.shape[0] - 1
    length = padded.shape[1] - past
    y = torch.addcmul(bias, padded[:, past:], weight[past])
    for age in range(1, past + 1):
        tap = padded[:, past - age : past - age + length]
        if position is not None:
            tap = tap * (position >= age).unsqueeze(-1)
        y = torch.addcmul(y, tap, weight[past - age])
    return y
