"""Host side of the Triton norm: rows and heads as programs, buffers and launches."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.norm.reference import result_type
from xlstm_apps.kernels.norm.triton_kernels import backward_kernel, forward_kernel
from xlstm_apps.kernels.triton_plan import Plan, aligned, power_of_2, processors, tiles, unit_stride

FORWARD, BACKWARD = 2048, 1024
"""Numbers of a tile: 16 and 8 for each thread of four warps. The backward holds eleven such tiles."""
PROGRAMS = 8
"""Of the backward, for each processor: each writes sums of gradients once."""

_forward: Kinds[Plan] = Kinds()
_backward: Kinds[tuple[Plan, int]] = Kinds()


def forward(
    h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None, eps: float,
    silu: bool,
) -> Tensor:  # fmt: skip
    """y, contiguous."""
    wide, features = _rows(h, gate, a), _features(weight, bias, skip)
    y = torch.empty(gate.shape, dtype=result_type(h, gate, a), device=h.device)
    key = (_key(h, wide, features), eps, silu)
    plan = _forward.get(key)
    if plan is None:
        plan, (heads, dim), rows = Plan(h.device), h.shape[2:], wide[0].shape[0]
        block = power_of_2(dim)
        together = max(1, FORWARD // block)
        operands = [plan.tensor(x.dtype) for x in (wide[0], wide[1], features[0], y)]
        plan.launch(
            forward_kernel, heads * tiles(rows, together),
            *operands, *plan.optional(operands[0], bias, a, skip), rows, *_strides(wide), eps,
            H=heads, D=dim, ROWS=together, BLOCK=block, **_options(_strides(wide), silu, bias, skip), num_warps=4,
        )  # fmt: skip
        _forward[key] = plan
    plan.run((wide[0], wide[1], features[0], y, *_given(features[1], wide[2], features[2])))
    return y


def backward(
    dy: Tensor, h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None,
    eps: float, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """dh, dgate, da (empty without a), contiguous; those of weight, bias and skip [3, H * D] in float32."""
    wide, features = _rows(h, gate, a), _features(weight, bias, skip)
    dy = unit_stride(dy.reshape(-1, dy.shape[-1]))
    (heads, dim), rows = h.shape[2:], wide[0].shape[0]
    key = (dy.dtype, dy.stride(), _key(h, wide, features), eps, silu)
    found = _backward.get(key)
    dh = torch.empty(h.shape, dtype=h.dtype, device=h.device)
    dgate = torch.empty(gate.shape, dtype=gate.dtype, device=h.device)
    da = h.new_empty(0) if a is None else torch.empty(a.shape, dtype=a.dtype, device=h.device)
    if found is None:
        plan, block = Plan(h.device), power_of_2(dim)
        together = max(1, BACKWARD // block)
        each = tiles(tiles(rows * heads, processors(h.device) * PROGRAMS), together) * together
        parts = tiles(rows, each)
        operands = [plan.tensor(x.dtype) for x in (dy, wide[0], wide[1], features[0], dh, dgate, da)]
        sums = plan.tensor(torch.float32)
        strides = (dy.stride(0), *_strides(wide))
        plan.launch(
            backward_kernel, heads * parts,
            *operands, sums, *plan.optional(operands[0], bias, a, skip), rows, each, *strides, eps,
            H=heads, D=dim, ROWS=together, BLOCK=block, **_options(strides, silu, bias, skip), num_warps=4,
        )  # fmt: skip
        found = _backward[key] = plan, parts
    plan, parts = found
    sums = torch.empty((parts, heads, 3, dim), dtype=torch.float32, device=h.device)
    plan.run((dy, wide[0], wide[1], features[0], dh, dgate, da, sums, *_given(features[1], wide[2], features[2])))
    return dh, dgate, da, sums.sum(0).transpose(0, 1).flatten(1)


def _rows(h: Tensor, gate: Tensor, a: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """As [B * T, H * D], without a copy where strides allow."""
    width = gate.shape[-1]
    h, gate = (unit_stride(x.reshape(-1, width)) for x in (h, gate))
    return h, gate, None if a is None else unit_stride(a.reshape(-1, width))


def _features(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if x is None else x.contiguous() for x in tensors]


def _given(*tensors: Tensor | None) -> list[Tensor]:
    return [x for x in tensors if x is not None]


def _key(h: Tensor, wide: tuple[Tensor | None, ...], features: list[Tensor | None]) -> tuple[object, ...]:
    given = tuple(None if x is None else (x.dtype, x.stride(0)) for x in (*wide, *features))
    return (h.shape, given, h.device)


def _strides(wide: tuple[Tensor, Tensor, Tensor | None]) -> tuple[int, int, int]:
    h, gate, a = wide
    return h.stride(0), gate.stride(0), 0 if a is None else a.stride(0)


def _options(strides: tuple[int, ...], silu: bool, bias: Tensor | None, skip: Tensor | None) -> dict[str, object]:
    return {"ALIGNED": aligned(strides), "SILU": silu, "HAS_BIAS": bias is not None, "HAS_SKIP": skip is not None}
