"""GPU kernels of the norm and the gate: the `triton` backend.

Two custom operators, `xlstm_apps::norm_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see one node
each. The kernels are in `triton_kernels.py`; how a call is cut into programs is in `triton_launch.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.direct import differentiable
from xlstm_apps.kernels.dispatch import observed
from xlstm_apps.kernels.norm import triton_launch as launch
from xlstm_apps.kernels.norm.reference import result_type
from xlstm_apps.kernels.triton_plan import unsupported_type

MAX_HEAD_DIM = 4096


def unsupported(h, gate, weight, bias, a, skip, **_: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    if h.shape[-1] > MAX_HEAD_DIM:
        return f"head dimension {h.shape[-1]}; the kernels go up to {MAX_HEAD_DIM}"
    return unsupported_type(h=h, gate=gate, weight=weight, bias=bias, a=a, skip=skip)


@torch.library.custom_op("xlstm_apps::norm_triton_fwd", mutates_args=())
def _forward(
    h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None, eps: float,
    silu: bool,
) -> Tensor:  # fmt: skip
    return launch.forward(h, gate, weight, bias, a, skip, eps, silu)


@_forward.register_fake
def _forward_fake(h, gate, weight, bias, a, skip, eps, silu):
    return gate.new_empty(gate.shape, dtype=result_type(h, gate, a))


@torch.library.custom_op("xlstm_apps::norm_triton_bwd", mutates_args=())
def _backward(
    dy: Tensor, h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None,
    eps: float, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return launch.backward(dy, h, gate, weight, bias, a, skip, eps, silu)


@_backward.register_fake
def _backward_fake(dy, h, gate, weight, bias, a, skip, eps, silu):
    da = h.new_empty(0) if a is None else a.new_empty(a.shape)
    sums = h.new_empty((3, gate.shape[-1]), dtype=torch.float32)
    return h.new_empty(h.shape), gate.new_empty(gate.shape), da, sums


def _setup_context(ctx, inputs, output) -> None:
    del output
    *tensors, ctx.eps, ctx.silu = inputs
    ctx.save_for_backward(*tensors)


def _vjp(ctx, dy):
    h, gate, weight, bias, a, skip = ctx.saved_tensors
    run = _backward if observed((dy, h)) else launch.backward
    dh, dgate, da, (dweight, dbias, dskip) = run(dy, h, gate, weight, bias, a, skip, ctx.eps, ctx.silu)
    return (
        dh, dgate, dweight.to(weight.dtype), None if bias is None else dbias.to(bias.dtype),
        None if a is None else da, None if skip is None else dskip.to(skip.dtype), None, None,
    )  # fmt: skip


_call = differentiable(_forward, launch.forward, _vjp, _setup_context)


def gated_norm(
    h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None,
    *, eps: float, activation: str,
) -> Tensor:  # fmt: skip
    """Shapes and options as in `xlstm_apps.kernels.gated_norm`."""
    return _call(h, gate, weight, bias, a, skip, eps, activation == "silu")
