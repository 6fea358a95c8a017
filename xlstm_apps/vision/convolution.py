"""Convolution over a grid of one, two or three dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, silu

from xlstm_apps.kernels import depthwise_conv2d
from xlstm_apps.kernels.conv.api import Activation
from xlstm_apps.vision.paths import Grid

CONVOLUTIONS = {1: conv1d, 2: conv2d, 3: conv3d}


class GridConv(nn.Module):
    """Depthwise convolution over the grid, zeros around it. The weight is [E, 1, k, ...], as torch has it.

    Args:
        dim: Number of features E.
        kernel_size: k, odd.
        dims: Dimensions of the grid, 1 to 3.
        activation: What follows the convolution.
        backend: Of the kernels; there are some for two dimensions.
    """

    def __init__(
        self, dim: int, kernel_size: int, dims: int, activation: Activation | None = None, backend: str = "auto"
    ) -> None:
        super().__init__()
        bound = kernel_size ** (-dims / 2)
        self.weight = nn.Parameter(torch.empty(dim, 1, *(kernel_size,) * dims).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))
        self.activation, self.backend = activation, backend

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """[N, S, E] by rows of the grid -> [N, S, E]."""
        if len(grid) == 2:
            return depthwise_conv2d(x, self.weight, self.bias, grid, activation=self.activation, backend=self.backend)
        x = x.unflatten(1, grid).movedim(-1, 1)  # channels last in memory, and it stays so
        y = CONVOLUTIONS[len(grid)](
            x, self.weight, self.bias, padding=self.weight.shape[-1] // 2, groups=len(self.bias)
        )
        y = y.movedim(1, -1).flatten(1, -2)
        return silu(y) if self.activation == "silu" else y
