"""From pictures to patches, and where these were: one, two or three dimensions, any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, pad

from xlstm_apps.vision.config import VisionConfig
from xlstm_apps.vision.convolution import CONVOLUTIONS
from xlstm_apps.vision.paths import Grid

EXTENT = 16
"""Of a dimension, in units of the sinusoidal positions."""
INTERPOLATIONS = {1: "linear", 2: "bicubic", 3: "trilinear"}


class PatchEmbed(nn.Module):
    """A linear map of every patch. The weight is [E, C, *patch], that of a convolution."""

    def __init__(self, vision: VisionConfig, dim: int) -> None:
        super().__init__()
        self.vision = vision
        self.weight = nn.Parameter(torch.empty(dim, vision.in_chans, *vision.patch_size))
        self.bias = nn.Parameter(torch.zeros(dim))
        bound = math.sqrt(6 / (dim + self.weight[0].numel()))  # Xavier's, of the matrix that it is
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Grid]:
        """Images [B, C, *size] -> tokens [B, S, E] by rows, and the grid they fill.

        What does not fill a patch at the far ends is filled up with zeros.

        Raises:
            ValueError: Another number of dimensions or channels, or whole numbers.
        """
        vision, dims = self.vision, len(self.vision.patch_size)
        if x.dim() != dims + 2 or x.shape[1] != vision.in_chans or 0 in x.shape:
            sizes = ("width", "height, width", "depth, height, width")[dims - 1]
            raise ValueError(f"expected images of shape [batch, {vision.in_chans}, {sizes}], got {[*x.shape]}")
        if not x.is_floating_point():
            raise ValueError(f"images are {x.dtype}: scale and normalise them to floating point first")
        size, patch, stride = tuple(x.shape[2:]), vision.patch_size, vision.stride
        grid = vision.grid_of(size)
        full = [(n - 1) * s + p for n, s, p in zip(grid, stride, patch, strict=True)]
        if full != [*size]:
            missing = [(0, whole - n) for whole, n in zip(full, size, strict=True)]
            x = pad(x, [n for pair in reversed(missing) for n in pair])
        if stride != patch:
            y = CONVOLUTIONS[dims](x, self.weight, self.bias, stride=stride)
            return y.flatten(2).mT.contiguous(), grid
        split = [n for pair in zip(grid, patch, strict=True) for n in pair]
        x = x.unflatten(2, split[:2]) if dims == 1 else x.reshape(*x.shape[:2], *split)
        x = x.permute(0, *range(2, 2 + 2 * dims, 2), 1, *range(3, 3 + 2 * dims, 2))
        return linear(x.reshape(x.shape[0], math.prod(grid), -1), self.weight.flatten(1), self.bias), grid


class GridPositions(nn.Module):
    """Learned positions [1, *grid, E], stretched to any other grid: bicubic in two dimensions, linear in others."""

    def __init__(self, grid: Grid, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, *grid, dim), std=0.02))

    def forward(self, grid: Grid) -> Tensor:
        """[1, S, E] for a grid."""
        return stretch(self.embedding, grid).flatten(1, -2)

    @torch.no_grad()
    def resize(self, grid: Grid) -> None:
        """Store the positions of another grid."""
        self.embedding = nn.Parameter(stretch(self.embedding, grid).clone(), self.embedding.requires_grad)


class SinCosPositions(nn.Module):
    """Sines and cosines of the coordinates, a part of the features for each dimension (Vaswani et al. 2017).

    Coordinates run from 0 to `EXTENT` across an image whatever its size, so that a finer grid is interpolated as
    learned positions are.
    """

    like: Tensor

    def __init__(self, dims: int, dim: int) -> None:
        super().__init__()
        self.count = dim // (2 * dims)
        self.register_buffer("like", torch.empty(0), persistent=False)  # tells device and type

    def forward(self, grid: Grid) -> Tensor:
        """[1, S, E] for a grid."""
        steps = torch.arange(max(self.count, *grid), device=self.like.device)
        frequencies = 10_000.0 ** -(steps[: self.count] / self.count)
        parts = []
        for axis, number in enumerate(grid):
            angle = ((steps[:number] + 0.5) * (EXTENT / number))[:, None] * frequencies
            wave = torch.cat([angle.sin(), angle.cos()], dim=-1)
            shape = [1] * len(grid) + [-1]
            shape[axis] = number
            parts.append(wave.view(shape).expand(*grid, -1))
        return torch.cat(parts, dim=-1).flatten(0, -2).unsqueeze(0).to(self.like.dtype)


def stretch(embedding: Tensor, grid: Grid) -> Tensor:
    """Positions [1, *old, E] on another grid [1, *grid, E]; shrinking ones are smoothed first where torch can."""
    old = tuple(embedding.shape[1:-1])
    if old == grid:
        return embedding
    shrinks = len(grid) == 2 and any(new < was for new, was in zip(grid, old, strict=True))
    x = embedding.movedim(-1, 1).to(torch.promote_types(embedding.dtype, torch.float32))
    x = interpolate(x, size=grid, mode=INTERPOLATIONS[len(grid)], align_corners=False, antialias=shrinks)
    return x.movedim(1, -1).to(embedding.dtype)
