"""`causal_conv1d`: what callers use. Arguments are checked here and nowhere else."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from xlstm_apps.kernels.checks import check_floats
from xlstm_apps.kernels.dispatch import choose

Activation = Literal["silu"]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    window: Tensor | None = None,
    *,
    position: Tensor | None = None,
    activation: Activation | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Depthwise convolution over time that sees the present and the `kernel_size` - 1 steps before it.

        z_t = bias + sum_{a < kernel_size} weight[kernel_size - 1 - a] * x_{t - a},    y_t = z_t or silu(z_t)

    Gradients are those of every tensor, the window included.

    Args:
        x: [B, T, E]. Any strides: the layout a projection leaves needs no copy.
        weight: Taps, the oldest first, [kernel_size, E].
        bias: [E].
        window: The `kernel_size` - 1 inputs before the first, [B, kernel_size - 1, E]; None are zeros.
        position: Packs documents into a row: steps since the beginning of the document, [T] whole numbers. Taps do not
            reach across a beginning. Excludes a window.
        activation: `silu`, or None for none.
        backend: `auto`, `reference`, `torch` or `triton`; the environment variable XLSTM_APPS_BACKEND overrides it.

    Returns:
        y [B, T, E] in the type of x.

    Raises:
        ValueError: Shapes, types or devices do not fit together, or the backend cannot take the call.
    """
    _check(x, weight, bias, window, position, activation)
    args = (x, weight, bias, window)
    options = {"position": position, "activation": activation}
    return choose("conv", backend, args, options).causal_conv1d(*args, **options)


def _check(
    x: Tensor, weight: Tensor, bias: Tensor, window: Tensor | None, position: Tensor | None, activation: str | None
) -> None:
    if x.dim() != 3:
        raise ValueError(f"x must have shape [B, T, E], not {list(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"x {list(x.shape)} must not have a size of 0")
    batch, length, width = x.shape
    if weight.dim() != 2 or weight.shape[0] < 1 or weight.shape[1] != width:
        raise ValueError(f"weight must have shape [kernel_size, E = {width}], not {list(weight.shape)}")
    if tuple(bias.shape) != (width,):
        raise ValueError(f"bias must have shape {[width]}, not {list(bias.shape)}")
    tensors = {"x": x, "weight": weight, "bias": bias}
    if window is not None:
        shape = (batch, weight.shape[0] - 1, width)
        if tuple(window.shape) != shape:
            raise ValueError(f"window must have shape {list(shape)}, not {list(window.shape)}")
        tensors["window"] = window
    check_floats(tensors)
    if position is not None:
        if window is not None:
            raise ValueError("packed documents begin anew: leave out the window or the position")
        if tuple(position.shape) != (length,) or position.is_floating_point():
            raise ValueError(
                f"position must be whole numbers of shape {[length]}, not {position.dtype} of {list(position.shape)}"
            )
        if position.device != x.device:
            raise ValueError(f"position is on {position.device} but x is on {x.device}: move them to one device")
    if activation not in (None, "silu"):
        raise ValueError(f"activation must be 'silu' or None, not {activation!r}")
