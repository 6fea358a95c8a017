"""Inputs of `causal_conv1d` to test a backend on, and its comparison with the float64 reference, gradients included."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from xlstm_apps.kernels.conv import reference

NAMES = ("y", "dx", "dweight", "dbias", "dwindow")


def positions(length: int) -> Tensor:
    """Steps since the beginning of documents of 1, 2, 3, 1, 2, 35 ... steps."""
    lengths = [1, 2, 3, 1, 2, 35, length]
    return torch.cat([torch.arange(n) for n in lengths])[:length]


def make(
    B: int, T: int, E: int, taps: int, *, window: bool = False, packed: bool = False, dtype=torch.float32,
    device: str = "cpu",
) -> tuple[list[Tensor | None], Tensor | None]:  # fmt: skip
    """x, as a view of something wider, weight, bias, window, and the position; values exact in `dtype`."""
    torch.manual_seed(0)
    x = torch.randn(B, T, 2 * E).to(device, dtype)[..., :E]
    others = [torch.randn(taps, E), torch.randn(E), torch.randn(B, taps - 1, E) if window else None]
    tensors = [x, *(None if t is None else t.to(device, dtype) for t in others)]
    return tensors, positions(T).to(device) if packed else None


def run(module, inputs: list[Tensor | None], position: Tensor | None, activation: str | None) -> list[Tensor]:
    """y and the gradients of a random sum of it, handed over as a view of something wider."""
    leaves = [None if x is None else x.detach().requires_grad_() for x in inputs]
    y = module.causal_conv1d(*leaves, position=position, activation=activation)
    B, T, E = y.shape
    dy = torch.randn(B, T, 2 * E, generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted = [x for x in leaves if x is not None and x.numel()]
    return [y.detach(), *torch.autograd.grad(y, wanted, dy.to(y.device, y.dtype)[..., E:])]


def difference(x: Tensor, y: Tensor) -> float:
    x, y = x.double(), y.double()
    return ((x - y).norm() / y.norm()).item()


def check(module, tolerance: float, *shape: int, activation: str | None = "silu", **case) -> None:
    inputs, position = make(*shape, **case)
    found = run(module, inputs, position, activation)
    expected = run(reference, [None if x is None else x.double() for x in inputs], position, activation)
    errors = {name: difference(*pair) for name, *pair in zip(NAMES, found, expected, strict=False)}
    bad = {name: error for name, error in errors.items() if not error <= tolerance}
    assert len(found) == len(expected) and not bad, f"{shape} {case}: relative errors {bad} above {tolerance}"


def check_packed_equals_separate(module, *shape: int, tolerance: float = 1e-6, **case) -> None:
    inputs, position = make(*shape, packed=True, **case)
    x, weight, bias, _ = inputs
    whole = run(module, inputs, position, "silu")
    starts = [*(position == 0).nonzero().flatten().tolist(), x.shape[1]]
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    documents = [
        module.causal_conv1d(leaves[0][:, a:b], *leaves[1:], None, position=None, activation="silu")
        for a, b in pairwise(starts)
    ]
    check_same(whole, torch.cat(documents, 1), leaves, tolerance)


def check_segments_equal_one_pass(module, *shape: int, tolerance: float = 1e-6, **case) -> None:
    inputs, _ = make(*shape, window=True, **case)
    whole = run(module, inputs, None, "silu")
    x, weight, bias, window = leaves = [t.detach().requires_grad_() for t in inputs]
    parts = []
    for a, b in pairwise([0, 1, 3, 3 + shape[1] // 2, shape[1]]):
        segment = x[:, a:b]
        parts.append(module.causal_conv1d(segment, weight, bias, window, position=None, activation="silu"))
        window = torch.cat([window, segment], 1)[:, b - a :]
    check_same(whole, torch.cat(parts, 1), leaves, tolerance)


def check_same(whole: list[Tensor], y: Tensor, leaves: list[Tensor], tolerance: float) -> None:
    B, T, E = y.shape
    dy = torch.randn(B, T, 2 * E, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = [y, *torch.autograd.grad(y, leaves, dy.to(y.device, y.dtype)[..., E:])]
    for name, a, b in zip(NAMES, found, whole, strict=False):
        assert difference(a, b) <= tolerance, name
