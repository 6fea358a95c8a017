"""Host side of the Triton norm: rows as programs, buffers and launches."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.norm.features.triton_kernels import backward_kernel, forward_kernel
from xlstm_apps.kernels.triton_plan import Plan, aligned, power_of_2, processors, tiles, unit_stride

FORWARD, BACKWARD = 1024, 512
"""Numbers of a tile for each warp: 32 and 16 for each thread. The backward holds seven such tiles."""
WARPS = 16
"""Of the backward, for each processor, in few programs: each of them writes sums of gradients once."""

_forward: Kinds[Plan] = Kinds()
_backward: Kinds[tuple[Plan, int]] = Kinds()


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, centred: bool, dtype: torch.dtype) -> Tensor:
    """y, contiguous."""
    wide, weight, bias = _rows(x), weight.contiguous(), None if bias is None else bias.contiguous()
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    key = (_key(wide, weight), None if bias is None else bias.dtype, eps, centred, dtype)
    plan = _forward.get(key)
    if plan is None:
        plan, (rows, dim) = Plan(x.device), wide.shape
        block = power_of_2(dim)
        warps = max(1, block // FORWARD)
        together = max(1, warps * FORWARD // block)
        operands = [plan.tensor(t.dtype) for t in (wide, weight, y)]
        plan.launch(
            forward_kernel, tiles(rows, together),
            *operands, *plan.optional(operands[0], bias), rows, wide.stride(0), eps,
            D=dim, ROWS=together, BLOCK=block, ALIGNED=aligned(wide.stride()[:1]), CENTRED=centred,
            HAS_BIAS=bias is not None, num_warps=warps,
        )  # fmt: skip
        _forward[key] = plan
    plan.run((wide, weight, y) if bias is None else (wide, weight, y, bias))
    return y


def backward(dy: Tensor, x: Tensor, weight: Tensor, eps: float, centred: bool) -> tuple[Tensor, Tensor]:
    """dx, contiguous; the gradients of weight and bias [2, E] in float32."""
    dy, wide, weight = _rows(dy), _rows(x), weight.contiguous()
    rows, dim = wide.shape
    key = (dy.dtype, dy.stride(), _key(wide, weight), eps, centred)
    found = _backward.get(key)
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if found is None:
        plan, block = Plan(x.device), power_of_2(dim)
        warps = max(4, block // BACKWARD)
        together = max(1, warps * BACKWARD // block)
        each = tiles(tiles(rows, processors(x.device) * (WARPS // warps)), together) * together
        parts = tiles(rows, each)
        operands = [plan.tensor(t.dtype) for t in (dy, wide, weight, dx)]
        strides = dy.stride(0), wide.stride(0)
        # Both are loaded by as many numbers at once, or threads would exchange what they hold through shared memory.
        once = 16 // max(dy.itemsize, wide.itemsize)
        plan.launch(
            backward_kernel, parts,
            *operands, plan.tensor(torch.float32), rows, each, *strides, eps,
            D=dim, ROWS=together, BLOCK=block, ALIGNED=aligned((*strides, once)), CENTRED=centred, num_warps=warps,
        )  # fmt: skip
        found = _backward[key] = plan, parts
    plan, parts = found
    sums = torch.empty((parts, 2, dim), dtype=torch.float32, device=x.device)
    plan.run((dy, wide, weight, dx, sums))
    return dx, sums.sum(0)


def _rows(x: Tensor) -> Tensor:
    """As [rows, E], without a copy where strides allow."""
    return unit_stride(x.reshape(-1, x.shape[-1]))


def _key(wide: Tensor, weight: Tensor) -> tuple[object, ...]:
    return wide.shape, wide.stride(), wide.dtype, weight.dtype, wide.device
