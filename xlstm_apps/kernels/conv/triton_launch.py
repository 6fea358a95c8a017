"""Host side of the Triton convolution: blocks of features, chunks of steps, buffers and launches."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.conv.triton_kernels import backward_kernel, forward_kernel
from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.triton_plan import Plan, aligned, power_of_2, processors, tiles, unit_stride

WARPS = 14
"""Programs, of one warp each, that a processor should have: as many as have room in its registers at once."""
SHORTEST, LONGEST = 32, 512
"""Bounds of a chunk, in steps: those around it are read twice, and its sums of gradients written once."""


class Tiling:
    """How a call is cut into programs.

    Args:
        x: [B, T, E].
        weight: [kernel_size, E].
        room: Features of a thread times taps, as its registers allow, and times steps loaded together.
        most: Features of a thread at most.
    """

    def __init__(self, x: Tensor, weight: Tensor, room: int, most: int) -> None:
        batch, length, width = x.shape
        taps = power_of_2(weight.shape[0])
        features = max(1, min(most, room // taps))
        rows = min(8, room // features, max(1, 128 // taps))  # the last bounds the compiled code
        block = min(32 * features, power_of_2(width))
        blocks = tiles(width, block)
        chunk = tiles(batch * length * blocks, processors(x.device) * WARPS)
        chunk = min(max(chunk, SHORTEST), LONGEST, length)
        chunk = tiles(tiles(length, tiles(length, chunk)), rows) * rows  # as many, alike
        chunks = tiles(length, chunk)
        self.parts = batch * chunks
        self.programs = self.parts * blocks
        self.sizes = (length, chunks, chunk)
        self.meta = {"E": width, "TAPS": weight.shape[0], "BLOCK": block, "ROWS": rows, "num_warps": 1}


_plans: Kinds[tuple[Plan, Tiling]] = Kinds()


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, position: Tensor | None, silu: bool
) -> Tensor:
    """y, contiguous."""
    x, weight, bias = unit_stride(x), weight.contiguous(), bias.contiguous()
    given = _given(window, position)
    y = x.new_empty(x.shape)
    key = _key(x, weight, bias, window, position, silu)
    found = _plans.get(key)
    if found is None:
        plan, tiling = Plan(x.device), Tiling(x, weight, room=32, most=8)
        inputs = [plan.tensor(t.dtype) for t in (x, weight, bias, y)]
        plan.launch(
            forward_kernel, tiling.programs,
            *inputs, *plan.optional(inputs[0], window, position), *tiling.sizes, *x.stride()[:2],
            **tiling.meta, **_options(x.stride()[:2], window, position, silu),
        )  # fmt: skip
        found = _plans[key] = plan, tiling
    found[0].run((x, weight, bias, y, *given))
    return y


def backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, position: Tensor | None, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, contiguous; those of taps and bias [kernel_size + 1, E] in float32; dwindow, empty without a window."""
    dy, x, weight, bias = unit_stride(dy), unit_stride(x), weight.contiguous(), bias.contiguous()
    given = _given(window, position)
    key = (dy.stride(), *_key(x, weight, bias, window, position, silu))
    found = _plans.get(key)
    if found is None:
        plan, tiling = Plan(x.device), Tiling(x, weight, room=16, most=4)
        inputs = [plan.tensor(t) for t in (dy.dtype, x.dtype, weight.dtype, bias.dtype, x.dtype, torch.float32)]
        dwindow = plan.optional(inputs[0], window)
        plan.launch(
            backward_kernel, tiling.programs,
            *inputs, *dwindow, *plan.optional(inputs[0], window, position), *tiling.sizes, *x.stride()[:2],
            *dy.stride()[:2], **tiling.meta, **_options((*x.stride()[:2], *dy.stride()[:2]), window, position, silu),
        )  # fmt: skip
        found = _plans[key] = plan, tiling
    plan, tiling = found
    dx = x.new_empty(x.shape)
    sums = x.new_empty((tiling.parts, weight.shape[0] + 1, x.shape[2]), dtype=torch.float32)
    dwindow = x.new_empty(0) if window is None else torch.empty_like(given[0])
    plan.run((dy, x, weight, bias, dx, sums, *(() if window is None else (dwindow,)), *given))
    return dx, sums.sum(0), dwindow


def _given(window: Tensor | None, position: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in (window, position) if x is not None)


def _key(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, position: Tensor | None, silu: bool
) -> tuple[object, ...]:
    types = (x.dtype, weight.dtype, bias.dtype, *(t if t is None else t.dtype for t in (window, position)))
    return (x.shape, x.stride(), weight.shape[0], types, x.device, silu)


def _options(strides: tuple[int, ...], window: Tensor | None, position: Tensor | None, silu: bool) -> dict[str, object]:
    return {"ALIGNED": aligned(strides), "SILU": silu, "HAS_WINDOW": window is not None, "PACKED": position is not None}
