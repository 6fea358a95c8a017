"""Host side of the Triton convolution over a grid: blocks of features, strips of rows, buffers and launches."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.conv.grid.triton_kernels import backward_kernel, forward_kernel
from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.triton_plan import Plan, aligned, power_of_2, processors, tiles, unit_stride

WARPS = 16
"""Programs, of one warp each, that a processor should have: as many as have room in its registers at once."""
ROWS = 2
"""Of a strip. The more, the fewer rows are read by two programs."""
COLUMNS = 3
"""Read together, up to 9 taps; the more taps, the fewer, which bounds the compiled code."""
SHORTEST = 8
"""Columns of a strip at least, where the grid has them: those beside it are read by two programs."""


class Tiling:
    """How a call is cut into programs.

    Args:
        x: [N, S, E].
        size: Of the kernel.
        grid: Height and width.
        room: Features of a thread times taps, as its registers allow.
        most: Features of a thread at most.
    """

    def __init__(self, x: Tensor, size: int, grid: tuple[int, int], room: int, most: int) -> None:
        (images, _, features), (height, width) = x.shape, grid
        each = max(1, min(most, room // size**2))
        block = min(32 << (each.bit_length() - 1), power_of_2(features))
        columns = max(1, COLUMNS * 9 // max(9, size**2))
        blocks, high = tiles(features, block), tiles(height, ROWS)
        wanted = processors(x.device) * WARPS
        wide = max(1, min(wanted // (images * high * blocks), width // SHORTEST))
        chunk = tiles(tiles(width, wide), columns) * columns
        wide = tiles(width, chunk)
        self.blocks, self.strips = blocks, images * high * wide
        self.each = tiles(self.strips * blocks, wanted)
        """Strips of a program that keeps sums."""
        self.parts = tiles(self.strips, self.each)
        self.sizes = (high, wide, chunk, height, width)
        self.meta = {"E": features, "SIZE": size, "BLOCK": block, "ROWS": ROWS, "COLUMNS": columns}


_forward: Kinds[Plan] = Kinds()
_backward: Kinds[tuple[Plan, int]] = Kinds()


def forward(x: Tensor, weight: Tensor, bias: Tensor, height: int, width: int, silu: bool, dtype: torch.dtype) -> Tensor:
    """y, contiguous."""
    return _convolve(unit_stride(x), _by_taps(weight), bias.contiguous(), (height, width), silu, dtype, None)


def backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, height: int, width: int, silu: bool
) -> tuple[Tensor, Tensor]:
    """dx, contiguous; those of taps and bias [k * k + 1, E] in float32."""
    dy, x, weight, grid = unit_stride(dy), unit_stride(x), _by_taps(weight), (height, width)
    dz = _convolve(x, weight, bias.contiguous(), grid, True, dy.dtype, dy) if silu else dy
    key = (x.shape, grid, weight.shape, x.device, *((t.dtype, t.stride()) for t in (dz, x)), weight.dtype)
    found = _backward.get(key)
    if found is None:
        plan, tiling = Plan(x.device), Tiling(x, _size(weight), grid, room=18, most=4)
        operands = [plan.tensor(t) for t in (dz.dtype, x.dtype, weight.dtype, x.dtype, torch.float32)]
        strides = (*x.stride()[:2], *dz.stride()[:2])
        plan.launch(
            backward_kernel, tiling.parts * tiling.blocks,
            *operands, tiling.strips, tiling.each, *tiling.sizes, *strides,
            **tiling.meta, ALIGNED=aligned(strides), num_warps=1,
        )  # fmt: skip
        found = _backward[key] = plan, tiling.parts
    plan, parts = found
    dx = x.new_empty(x.shape)
    sums = x.new_empty((parts, weight.shape[0] + 1, x.shape[2]), dtype=torch.float32)
    plan.run((dz, x, weight, dx, sums))
    return dx, sums.sum(0)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor, grid: tuple[int, int], silu: bool, dtype: torch.dtype, dy: Tensor | None
) -> Tensor:
    """y, or dz where dy is given."""
    y = x.new_empty(x.shape, dtype=dtype)
    strides = (*x.stride()[:2], *((0, 0) if dy is None else dy.stride()[:2]))
    types = (x.dtype, weight.dtype, bias.dtype, dtype)
    key = (x.shape, grid, strides, weight.shape, types, x.device, silu, dy is None)
    plan = _forward.get(key)
    if plan is None:
        plan, tiling = Plan(x.device), Tiling(x, _size(weight), grid, room=50, most=8)
        operands = [plan.tensor(t) for t in types]
        plan.launch(
            forward_kernel, tiling.strips * tiling.blocks,
            *operands, *plan.optional(operands[0], dy), *tiling.sizes, *strides,
            **tiling.meta, ALIGNED=aligned(strides), SILU=silu, GRADIENT=dy is not None, num_warps=1,
        )  # fmt: skip
        _forward[key] = plan
    plan.run((x, weight, bias, y) if dy is None else (x, weight, bias, y, dy))
    return y


def _by_taps(weight: Tensor) -> Tensor:
    """[E, 1, k, k] -> [k * k, E]: neighbouring threads have neighbouring features."""
    return weight.flatten(1).T.contiguous()


def _size(weight: Tensor) -> int:
    return round(weight.shape[0] ** 0.5)
