"""Inputs of `depthwise_conv2d` to test a backend on, and its comparison with the float64 reference, with gradients."""

from __future__ import annotations

import torch
from conv_cases import difference
from torch import Tensor

from xlstm_apps.kernels.conv.grid import reference

NAMES = ("y", "dx", "dweight", "dbias")


def make(
    N: int, h: int, w: int, E: int, size: int, *, dtype=torch.float32, wide: bool = True, device: str = "cpu"
) -> list[Tensor]:
    """x, `wide` as a view of something wider, weight and bias; values exact in `dtype`."""
    torch.manual_seed(0)
    x = torch.randn(N, h * w, 2 * E).to(device, dtype)[..., :E]
    others = [torch.randn(E, 1, size, size), torch.randn(E)]
    return [x if wide else x.contiguous(), *(t.to(device, dtype) for t in others)]


def run(module, inputs: list[Tensor], grid: tuple[int, int], activation: str | None) -> list[Tensor]:
    """y and the gradients of a random sum of it, handed over as a view of something wider."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = module.depthwise_conv2d(*leaves, grid=grid, activation=activation)
    N, S, E = y.shape
    dy = torch.randn(N, S, 2 * E, generator=torch.Generator().manual_seed(1)).bfloat16()
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.device, y.dtype)[..., E:])]


def check(
    module, tolerance: float, N: int, h: int, w: int, E: int, size: int, *, activation: str | None = "silu", **case
) -> None:
    inputs = make(N, h, w, E, size, **case)
    found = run(module, inputs, (h, w), activation)
    expected = run(reference, [x.double() for x in inputs], (h, w), activation)
    for name, x, y in zip(NAMES, found, expected, strict=True):
        assert x.dtype == inputs[0].dtype and x.shape == y.shape, name
    errors = {name: difference(*pair) for name, *pair in zip(NAMES, found, expected, strict=True)}
    bad = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not bad, f"{(N, h, w, E, size)} {case}: relative errors {bad} above {tolerance}"
