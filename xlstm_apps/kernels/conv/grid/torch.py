"""The convolution by torch's own, for the CPU and any other device."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def depthwise_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor, *, grid: tuple[int, int], activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.depthwise_conv2d`."""
    x = x.unflatten(1, grid).movedim(-1, 1)  # channels last in memory, and it stays so
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    y = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=x.shape[1])
    y = y.movedim(1, -1).flatten(1, 2)
    return F.silu(y) if activation == "silu" else y
