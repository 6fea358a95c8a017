"""`depthwise_conv2d`: what callers use. Arguments are checked here and nowhere else."""

from __future__ import annotations

from torch import Tensor

from xlstm_apps.kernels.checks import check_floats
from xlstm_apps.kernels.conv.api import Activation
from xlstm_apps.kernels.dispatch import choose


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    grid: tuple[int, int],
    *,
    activation: Activation | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Depthwise convolution over a grid with zeros around it, of tokens that fill the grid by rows.

        z_{i, j} = bias + sum_{a, b < k} weight[a, b] * x_{i + a - k // 2, j + b - k // 2},    y = z or silu(z)

    with x_{i, j} the token i * width + j. Gradients are those of x, weight and bias.

    Args:
        x: [N, height * width, E]. Any strides: the layout a projection leaves needs no copy.
        weight: [E, 1, k, k] with an odd k, as `torch.nn.Conv2d` has it.
        bias: [E].
        grid: Height and width.
        activation: `silu`, or None for none.
        backend: `auto`, `reference`, `torch` or `triton`; the environment variable XLSTM_APPS_BACKEND overrides it.

    Returns:
        y [N, height * width, E] in the type of x; under autocast in autocast's, as from torch's own convolution.

    Raises:
        ValueError: Shapes, types or devices do not fit together, or the backend cannot take the call.
    """
    _check(x, weight, bias, grid, activation)
    args, options = (x, weight, bias), {"grid": grid, "activation": activation}
    return choose("conv.grid", backend, args, options).depthwise_conv2d(*args, **options)


def _check(x: Tensor, weight: Tensor, bias: Tensor, grid: tuple[int, int], activation: str | None) -> None:
    if x.dim() != 3:
        raise ValueError(f"x must have shape [N, height * width, E], not {list(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"x {list(x.shape)} must not have a size of 0")
    _, places, width = x.shape
    if len(grid) != 2 or min(grid) < 1 or grid[0] * grid[1] != places:
        raise ValueError(f"grid must be a height and a width whose product is {places}, as x has places, not {grid}")
    size = weight.shape[-1] if weight.dim() else 0
    if size % 2 == 0 or tuple(weight.shape) != (width, 1, size, size):
        raise ValueError(f"weight must have shape [E = {width}, 1, k, k] with an odd k, not {list(weight.shape)}")
    if tuple(bias.shape) != (width,):
        raise ValueError(f"bias must have shape {[width]}, not {list(bias.shape)}")
    check_floats({"x": x, "weight": weight, "bias": bias})
    if activation not in (None, "silu"):
        raise ValueError(f"activation must be 'silu' or None, not {activation!r}")
