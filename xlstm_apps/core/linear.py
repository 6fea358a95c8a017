"""Linear maps whose bias gradient does not cost more than the maps.

The gradient of a bias is a sum over all rows. torch computes it on CUDA with few threads, at a fifth of the memory's
speed: for narrow maps in half precision that takes longer than the products of the map itself. A product with ones
does not.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_ROWS = 4096
"""Rows from which a product takes less time than a sum on a GPU."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear`: x [..., I], weight [O, I], bias [O] -> [..., O]."""
    if bias is None or not bias.requires_grad or torch.compiler.is_compiling() or not _sums_slowly(x):
        return F.linear(x, weight, bias)
    return _BiasGradient.apply(F.linear(x, weight, bias.detach()), bias)


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class _BiasGradient(torch.autograd.Function):
    """Hands y [..., O] on; the gradient that reaches it is that of the bias [O] too, summed."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = bias.dtype
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows = dy.flatten(0, -2)
        return dy, (rows.new_ones(1, len(rows)) @ rows)[0].to(ctx.dtype)


def _sums_slowly(x: Tensor) -> bool:
    """In full precision the product might be rounded to fewer digits than the sum has."""
    half = x.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled("cuda")
    return x.is_cuda and half and torch.is_grad_enabled() and x.numel() >= LEAST_ROWS * x.shape[-1]
