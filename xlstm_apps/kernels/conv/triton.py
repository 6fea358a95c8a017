"""GPU kernels of the convolution: the `triton` backend.

Two custom operators, `xlstm_apps::conv_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see one node
each. The kernels are in `triton_kernels.py`; how a call is cut into programs is in `triton_launch.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.conv import triton_launch as launch
from xlstm_apps.kernels.direct import differentiable
from xlstm_apps.kernels.dispatch import observed
from xlstm_apps.kernels.triton_plan import unsupported_type

MAX_KERNEL_SIZE = 32


def unsupported(x, weight, bias, window, **_: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    if weight.shape[0] > MAX_KERNEL_SIZE:
        return f"kernel size {weight.shape[0]}; the kernels go up to {MAX_KERNEL_SIZE}"
    return unsupported_type(x=x, weight=weight, bias=bias, window=window)


@torch.library.custom_op("xlstm_apps::conv_triton_fwd", mutates_args=())
def _forward(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, position: Tensor | None, silu: bool
) -> Tensor:
    return launch.forward(x, weight, bias, window, position, silu)


@_forward.register_fake
def _forward_fake(x, weight, bias, window, position, silu):
    return x.new_empty(x.shape)


@torch.library.custom_op("xlstm_apps::conv_triton_bwd", mutates_args=())
def _backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, position: Tensor | None, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return launch.backward(dy, x, weight, bias, window, position, silu)


@_backward.register_fake
def _backward_fake(dy, x, weight, bias, window, position, silu):
    sums = x.new_empty((weight.shape[0] + 1, x.shape[2]), dtype=torch.float32)
    dwindow = x.new_empty(0) if window is None else window.new_empty(window.shape)
    return x.new_empty(x.shape), sums, dwindow


def _setup_context(ctx, inputs, output) -> None:
    del output
    *tensors, silu = inputs
    ctx.save_for_backward(*tensors)
    ctx.silu = silu


def _vjp(ctx, dy):
    x, weight, bias, window, position = ctx.saved_tensors
    run = _backward if observed((dy, x)) else launch.backward
    dx, sums, dwindow = run(dy, x, weight, bias, window, position, ctx.silu)
    dweight, dbias = sums[:-1].to(weight.dtype), sums[-1].to(bias.dtype)
    return dx, dweight, dbias, None if window is None else dwindow, None, None


_call = differentiable(_forward, launch.forward, _vjp, _setup_context)


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, *, position: Tensor | None, activation: str | None
) -> Tensor:
    """Shapes and options as in `xlstm_apps.kernels.causal_conv1d`."""
    if window is not None and window.shape[1] == 0:
        window = None
    return _call(x, weight, bias, window, position, activation == "silu")
