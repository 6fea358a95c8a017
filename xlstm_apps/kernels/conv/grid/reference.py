"""The convolution as its definition says: every place beside those around it, summed in one go. Slow, for tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.state import state_dtype


def result_type(x: Tensor) -> torch.dtype:
    """That of x, or what autocast makes of it before a convolution."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return x.dtype


def depthwise_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor, *, grid: tuple[int, int], activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.depthwise_conv2d`."""
    size, dtype = weight.shape[-1], state_dtype(x, weight, bias)
    around = (0, 0, *(size // 2,) * 4)
    seen = F.pad(x.to(dtype).unflatten(1, grid), around).unfold(1, size, 1).unfold(2, size, 1)  # [N, h, w, E, k, k]
    y = ((seen * weight.to(dtype)[:, 0]).sum((-2, -1)) + bias.to(dtype)).flatten(1, 2)
    return (F.silu(y) if activation == "silu" else y).to(result_type(x))
