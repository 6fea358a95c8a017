"""Inputs of `feature_norm` to test a backend on, and its comparison with the float64 reference, gradients included."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.norm.features import reference

NAMES = ("x", "weight", "bias")


def make(
    rows: int, width: int, *, bias: bool = True, dtype=torch.float32, weight_dtype=None, device: str = "cpu"
) -> list[Tensor | None]:
    """x (as a view of something wider), weight, bias; values exact in their types."""
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(rows, 2 * width)).to(device, dtype)[:, width:]
    weight, shift = (1 + torch.randn(2, width)).to(device, weight_dtype or dtype)
    return [x, weight, shift if bias else None]


def run(module, inputs: list[Tensor | None], *, dtype: torch.dtype, centred: bool = True) -> dict[str, Tensor]:
    """y and the gradients of a random sum of it, handed over as a view of something wider."""
    leaves = [None if x is None else x.detach().requires_grad_() for x in inputs]
    y = module.feature_norm(*leaves, eps=1e-5, centred=centred, dtype=dtype)
    dy = torch.randn(y.shape[0], 2 * y.shape[1], generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted = {name: x for name, x in zip(NAMES, leaves, strict=True) if x is not None}
    grads = torch.autograd.grad(y, list(wanted.values()), dy.to(y.device, y.dtype)[:, y.shape[1] :])
    return {"y": y.detach(), **dict(zip(wanted, grads, strict=True))}


def check(module, tolerance: float, *shape: int, centred: bool = True, result=None, **case) -> None:
    """`result`: type of y, that of x unless given; gradients have the types of what they belong to."""
    inputs = make(*shape, **case)
    found = run(module, inputs, dtype=result or inputs[0].dtype, centred=centred)
    wide = [None if x is None else x.double() for x in inputs]
    expected = run(reference, wide, dtype=torch.float64, centred=centred)
    own = {name: x.dtype for name, x in zip(NAMES, inputs, strict=True) if x is not None}
    assert {name: x.dtype for name, x in found.items()} == {"y": result or inputs[0].dtype, **own}
    assert all(x.shape == expected[name].shape for name, x in found.items())
    errors = {name: error(x, expected[name]) for name, x in found.items()}
    bad = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not bad, f"{shape} {case}: relative errors {bad} above {tolerance}"


def error(x: Tensor, expected: Tensor) -> float:
    """Relative, but to no less than 0.1 a number: of rows of one number little or nothing is left."""
    return ((x.double() - expected).norm() / max(expected.norm().item(), 0.1 * expected.numel() ** 0.5)).item()
