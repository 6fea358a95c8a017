"""The norm and the gate as their definition says, in one wide type. Slow, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.state import state_dtype


def result_type(h: Tensor, gate: Tensor, a: Tensor | None) -> torch.dtype:
    """The widest type of what is joined."""
    dtype = torch.promote_types(h.dtype, gate.dtype)
    return dtype if a is None else torch.promote_types(dtype, a.dtype)


def normalise(x: Tensor, eps: float, centred: bool) -> Tensor:
    """Over the last dimension: by the deviation from the mean, or else by the root mean square."""
    if centred:
        x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def gated_norm(
    h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None,
    *, eps: float, activation: str,
) -> Tensor:  # fmt: skip
    """Shapes and options as in `xlstm_apps.kernels.gated_norm`."""
    dtype = state_dtype(h, gate, weight)
    y = normalise(h.to(dtype), eps, True).flatten(-2) * weight.to(dtype)
    if bias is not None:
        y = y + bias.to(dtype)
    if a is not None and skip is not None:
        y = y + skip.to(dtype) * a.to(dtype)
    opened = torch.sigmoid(gate.to(dtype))
    y = y * (opened if activation == "sigmoid" else opened * gate.to(dtype))
    return y.to(result_type(h, gate, a))
