"""The norm as its definition says, in one wide type. Slow, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.norm.reference import normalise
from xlstm_apps.kernels.state import state_dtype


def feature_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, eps: float, centred: bool, dtype: torch.dtype
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.feature_norm`."""
    wide = state_dtype(x, weight)
    y = normalise(x.to(wide), eps, centred) * weight.to(wide)
    return (y if bias is None else y + bias.to(wide)).to(dtype)
