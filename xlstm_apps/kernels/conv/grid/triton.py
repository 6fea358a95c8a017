"""GPU kernels of the convolution over a grid: the `triton` backend.

Two custom operators, `xlstm_apps::conv_grid_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see one
node each. The kernels are in `triton_kernels.py`; how a call is cut into programs is in `triton_launch.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.conv.grid import triton_launch as launch
from xlstm_apps.kernels.conv.grid.reference import result_type
from xlstm_apps.kernels.direct import differentiable
from xlstm_apps.kernels.dispatch import observed
from xlstm_apps.kernels.triton_plan import unsupported_type

MAX_KERNEL_SIZE = 7


def unsupported(x, weight, bias, **_: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    if weight.shape[-1] > MAX_KERNEL_SIZE:
        return f"kernel size {weight.shape[-1]}; the kernels go up to {MAX_KERNEL_SIZE}"
    return unsupported_type(x=x, weight=weight, bias=bias)


@torch.library.custom_op("xlstm_apps::conv_grid_triton_fwd", mutates_args=())
def _forward(
    x: Tensor, weight: Tensor, bias: Tensor, height: int, width: int, silu: bool, dtype: torch.dtype
) -> Tensor:
    return launch.forward(x, weight, bias, height, width, silu, dtype)


@_forward.register_fake
def _forward_fake(x, weight, bias, height, width, silu, dtype):
    return x.new_empty(x.shape, dtype=dtype)


@torch.library.custom_op("xlstm_apps::conv_grid_triton_bwd", mutates_args=())
def _backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, height: int, width: int, silu: bool
) -> tuple[Tensor, Tensor]:
    return launch.backward(dy, x, weight, bias, height, width, silu)


@_backward.register_fake
def _backward_fake(dy, x, weight, bias, height, width, silu):
    return x.new_empty(x.shape), x.new_empty((weight.shape[-1] ** 2 + 1, x.shape[2]), dtype=torch.float32)


def _setup_context(ctx, inputs, output) -> None:
    del output
    *tensors, ctx.height, ctx.width, ctx.silu, _ = inputs
    ctx.save_for_backward(*tensors)


def _vjp(ctx, dy):
    x, weight, bias = ctx.saved_tensors
    run = _backward if observed((dy, x)) else launch.backward
    dx, sums = run(dy, x, weight, bias, ctx.height, ctx.width, ctx.silu)
    dweight = sums[:-1].T.reshape(weight.shape).to(weight.dtype)
    return dx, dweight, sums[-1].to(bias.dtype), None, None, None, None


_call = differentiable(_forward, launch.forward, _vjp, _setup_context)


def depthwise_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor, *, grid: tuple[int, int], activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.depthwise_conv2d`."""
    return _call(x, weight, bias, *grid, activation == "silu", result_type(x))
