"""GPU kernels of the norm: the `triton` backend.

Two custom operators, `xlstm_apps::feature_norm_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see
one node each. The kernels are in `triton_kernels.py`; how a call is cut into programs is in `triton_launch.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.direct import differentiable
from xlstm_apps.kernels.dispatch import observed
from xlstm_apps.kernels.norm.features import triton_launch as launch
from xlstm_apps.kernels.triton_plan import DTYPES, unsupported_type

MAX_FEATURES = 8192


def unsupported(x, weight, bias=None, *, dtype: torch.dtype, centred: bool, **_: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    if centred and x.shape[-1] == 1:
        return "one feature less its mean is 0, and so is its gradient, of which the kernels would magnify the rounding"
    if x.shape[-1] > MAX_FEATURES:
        return f"{x.shape[-1]} features; the kernels go up to {MAX_FEATURES}"
    if dtype not in DTYPES:
        return f"the result is to be {dtype}; the kernels give float32, bfloat16 and float16"
    return unsupported_type(x=x, weight=weight, bias=bias)


@torch.library.custom_op("xlstm_apps::feature_norm_triton_fwd", mutates_args=())
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, centred: bool, dtype: torch.dtype) -> Tensor:
    return launch.forward(x, weight, bias, eps, centred, dtype)


@_forward.register_fake
def _forward_fake(x, weight, bias, eps, centred, dtype):
    return x.new_empty(x.shape, dtype=dtype)


@torch.library.custom_op("xlstm_apps::feature_norm_triton_bwd", mutates_args=())
def _backward(dy: Tensor, x: Tensor, weight: Tensor, eps: float, centred: bool) -> tuple[Tensor, Tensor]:
    return launch.backward(dy, x, weight, eps, centred)


@_backward.register_fake
def _backward_fake(dy, x, weight, eps, centred):
    return x.new_empty(x.shape), x.new_empty((2, x.shape[-1]), dtype=torch.float32)


def _setup_context(ctx, inputs, output) -> None:
    del output
    x, weight, bias, ctx.eps, ctx.centred, _ = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(x, weight)


def _vjp(ctx, dy):
    x, weight = ctx.saved_tensors
    run = _backward if observed((dy, x)) else launch.backward
    dx, (dweight, dbias) = run(dy, x, weight, ctx.eps, ctx.centred)
    return dx, dweight.to(weight.dtype), None if ctx.bias_dtype is None else dbias.to(ctx.bias_dtype), None, None, None


_call = differentiable(_forward, launch.forward, _vjp, _setup_context)


def feature_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, eps: float, centred: bool, dtype: torch.dtype
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.feature_norm`."""
    return _call(x, weight, bias, eps, centred, dtype)
