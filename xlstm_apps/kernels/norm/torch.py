"""The norm and the gate in plain torch, for the CPU and any other device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.dispatch import full_precision


def head_norm(h: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """LayerNorm of every head by itself: [B, T, H, D] -> [B, T, H * D], in the type of h."""
    with full_precision(h):  # autocast would widen what is kept for the gradient to float32
        y = F.layer_norm(h, h.shape[-1:], eps=eps).flatten(-2)
    y = y * weight.to(y.dtype)
    return y if bias is None else y + bias.to(y.dtype)


def gated_norm(
    h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None,
    *, eps: float, activation: str,
) -> Tensor:  # fmt: skip
    """Shapes and options as in `xlstm_apps.kernels.gated_norm`."""
    y = head_norm(h, weight, bias, eps)
    if a is not None and skip is not None:
        y = y + skip.to(a.dtype) * a
    return y * (F.silu(gate) if activation == "silu" else torch.sigmoid(gate))
