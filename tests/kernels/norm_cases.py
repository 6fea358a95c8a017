"""Inputs of `gated_norm` to test a backend on, and its comparison with the float64 reference, gradients included."""

from __future__ import annotations

import torch
from conv_cases import difference
from torch import Tensor

from xlstm_apps.kernels.norm import reference

NAMES = ("h", "gate", "weight", "bias", "a", "skip")


def make(
    B: int, T: int, H: int, D: int, *, bias: bool = True, skip: bool = True, dtype=torch.float32, device: str = "cpu"
) -> list[Tensor | None]:
    """h, gate (as a view of something wider), weight, bias, a, skip; values exact in `dtype`."""
    torch.manual_seed(0)
    h, gate, a = 1 + 2 * torch.randn(B, T, H, D), torch.randn(B, T, 2 * H * D), torch.randn(B, T, H * D)
    weight, shift, share = 1 + torch.randn(3, H * D)
    tensors = [h, gate, weight, shift if bias else None, *((a, share) if skip else (None, None))]
    tensors = [None if x is None else x.to(device, dtype) for x in tensors]
    return [tensors[0], tensors[1][..., H * D :], *tensors[2:]]


def run(module, inputs: list[Tensor | None], activation: str, eps: float = 1e-5) -> dict[str, Tensor]:
    """y and the gradients of a random sum of it, handed over as a view of something wider."""
    leaves = [None if x is None else x.detach().requires_grad_() for x in inputs]
    y = module.gated_norm(*leaves, eps=eps, activation=activation)
    dy = torch.randn(*y.shape[:2], 2 * y.shape[2], generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted = {name: x for name, x in zip(NAMES, leaves, strict=True) if x is not None}
    grads = torch.autograd.grad(y, list(wanted.values()), dy.to(y.device, y.dtype)[..., y.shape[2] :])
    return {"y": y.detach(), **dict(zip(wanted, grads, strict=True))}


def check(module, tolerance: float, *shape: int, activation: str = "silu", **case) -> None:
    inputs = make(*shape, **case)
    found = run(module, inputs, activation)
    expected = run(reference, [None if x is None else x.double() for x in inputs], activation)
    assert found.keys() == expected.keys()
    for name, x in found.items():
        assert x.dtype == inputs[0].dtype and x.shape == expected[name].shape, name
    errors = {name: difference(x, expected[name]) for name, x in found.items()}
    bad = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not bad, f"{shape} {case}: relative errors {bad} above {tolerance}"
