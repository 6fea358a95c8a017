"""Initial values of the published models (Beck et al. 2024, 2025)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def small_init_(weight: Tensor, dim: int) -> None:
    """Normal with variance 2 / (5 dim) (Nguyen & Salazar 2019), for weights that read the residual stream."""
    nn.init.normal_(weight, std=math.sqrt(2 / (5 * dim)))


def wang_init_(weight: Tensor, dim: int, num_blocks: int) -> None:
    """Normal with deviation 2 / (num_blocks sqrt(dim)), for weights that write to the residual stream."""
    nn.init.normal_(weight, std=2 / num_blocks / math.sqrt(dim))


def forget_bias_linspace_(bias: Tensor) -> None:
    """From 3 (forgets within tens of steps) in the first head to 6 (hundreds of steps) in the last."""
    with torch.no_grad():
        bias.copy_(torch.linspace(3.0, 6.0, bias.numel()).view_as(bias))


def forget_bias_powerlaw(head_dim: int, block: int, num_blocks: int) -> Tensor:
    """Forget bias of an sLSTM, shape [head_dim]: from 5 down to -7, falling later in deeper blocks."""
    depth = block / (num_blocks - 1) if num_blocks > 1 else 0.0
    position = torch.arange(head_dim) / max(head_dim - 1, 1)  # one unit per head would divide by zero
    return 5.0 - 12.0 * position ** (0.3 + 1.3 * depth)
