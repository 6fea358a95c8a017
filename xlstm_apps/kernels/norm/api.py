"""`gated_norm`: what callers use. Arguments are checked here and nowhere else."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from xlstm_apps.kernels.checks import check_floats
from xlstm_apps.kernels.dispatch import choose

Activation = Literal["silu", "sigmoid"]


def gated_norm(
    h: Tensor,
    gate: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    a: Tensor | None = None,
    skip: Tensor | None = None,
    *,
    eps: float,
    activation: Activation,
    backend: str = "auto",
) -> Tensor:
    r"""What stands between the cell of an mLSTM layer and its down-projection (Beck et al. 2024, figure 11).

        n = (h - mean(h)) / sqrt(var(h) + eps)    of every head by itself
        y = (weight * n + bias + skip * a) * f(gate)    with f = silu or sigmoid

    Gradients are those of every tensor.

    Args:
        h: What the cell gave, [B, T, H, D].
        gate: The output gate before its activation, [B, T, H * D].
        weight: Scale of the norm, [H * D].
        bias: Shift of the norm, [H * D]; None is zero.
        a: Features that bypass the cell, [B, T, H * D]; None with `skip`.
        skip: How much of each of them, [H * D].
        eps: What is added to the variance.
        activation: f.
        backend: `auto`, `reference`, `torch` or `triton`; the environment variable XLSTM_APPS_BACKEND overrides it.

    Returns:
        y [B, T, H * D], in the widest type of h, gate and a.

    Raises:
        ValueError: Shapes, types or devices do not fit together, or the backend cannot take the call.
    """
    _check(h, gate, weight, bias, a, skip, activation)
    args = (h, gate, weight, bias, a, skip)
    options = {"eps": eps, "activation": activation}
    return choose("norm", backend, args, options).gated_norm(*args, **options)


def _check(
    h: Tensor, gate: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, skip: Tensor | None, activation: str
) -> None:
    if h.dim() != 4:
        raise ValueError(f"h must have shape [B, T, H, D], not {list(h.shape)}")
    if h.numel() == 0:
        raise ValueError(f"h {list(h.shape)} must not have a size of 0")
    if (a is None) != (skip is None):
        raise ValueError("a and skip belong together: give both or neither")
    width = h.shape[2] * h.shape[3]
    wide, features = (*h.shape[:2], width), (width,)
    given = {"h": h}
    for name, tensor, shape in (
        ("gate", gate, wide), ("a", a, wide), ("weight", weight, features), ("bias", bias, features),
        ("skip", skip, features),
    ):  # fmt: skip
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {list(shape)}, not {list(tensor.shape)}")
        given[name] = tensor
    check_floats(given)
    if activation not in ("silu", "sigmoid"):
        raise ValueError(f"activation must be 'silu' or 'sigmoid', not {activation!r}")
