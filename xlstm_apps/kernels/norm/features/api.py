"""`feature_norm`: what callers use. Arguments are checked here and nowhere else."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.checks import check_floats
from xlstm_apps.kernels.dispatch import choose


def feature_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    eps: float,
    centred: bool,
    dtype: torch.dtype | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last dimension.

        y = weight * (x - mean(x)) / sqrt(var(x) + eps) + bias    centred: LayerNorm
        y = weight * x / sqrt(mean(x ** 2) + eps) + bias          otherwise: RMSNorm

    In float32 at least, whatever the types, autocast included. Gradients are those of every tensor, in its own type.

    Args:
        x: Features, [..., E].
        weight: Scale, [E].
        bias: Shift, [E]; None is zero.
        eps: What is added to the variance, or to the mean square.
        centred: Whether the mean is subtracted.
        dtype: Floating-point type of the result; None: that of x.
        backend: `auto`, `reference`, `torch` or `triton`; the environment variable XLSTM_APPS_BACKEND overrides it.

    Returns:
        y [..., E].

    Raises:
        ValueError: Shapes, types or devices do not fit together, or the backend cannot take the call.
    """
    dtype = x.dtype if dtype is None else dtype
    _check(x, weight, bias, dtype)
    args = (x, weight, bias)
    options = {"eps": eps, "centred": centred, "dtype": dtype}
    return choose("norm.features", backend, args, options).feature_norm(*args, **options)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
    if x.dim() == 0 or x.numel() == 0:
        raise ValueError(f"x must have shape [..., E] without a size of 0, not {list(x.shape)}")
    given = {"x": x}
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is None:
            continue
        if tensor.shape != x.shape[-1:]:
            raise ValueError(f"{name} must have shape {list(x.shape[-1:])}, not {list(tensor.shape)}")
        given[name] = tensor
    check_floats(given)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be of a floating-point type, not {dtype}")
