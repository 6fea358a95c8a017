"""The norm as torch has it, for the CPU and any other device."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.dispatch import full_precision


def feature_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, eps: float, centred: bool, dtype: torch.dtype
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.feature_norm`."""
    given = [t.dtype for t in (x, weight, bias) if t is not None]
    wide = functools.reduce(torch.promote_types, given, dtype)  # torch takes one type alone, and rounds to it
    x, weight, bias = x.to(wide), weight.to(wide), None if bias is None else bias.to(wide)
    with full_precision(x):
        if centred:
            return F.layer_norm(x, weight.shape, weight, bias, eps).to(dtype)
        y = F.rms_norm(x, weight.shape, weight, eps)
        return (y if bias is None else y + bias).to(dtype)
