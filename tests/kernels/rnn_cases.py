"""Inputs of `rnn` to test a backend on, and its comparison with the float64 recurrence, gradients included."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.rnn import reference
from xlstm_apps.kernels.rnn.api import GATES
from xlstm_apps.kernels.state import STATES, RNNState

CELLS = tuple(GATES)


def make(
    cell: str, B: int, T: int, H: int, D: int, *, gates: str = "random", state: bool = True, dtype=torch.float32,
    device: str = "cpu", seed: int = 0,
) -> list[Tensor]:  # fmt: skip
    """gates, recurrent, bias and, with `state`, the fields of the cell's state; values exact in `dtype`."""
    torch.manual_seed(seed)
    count = GATES[cell]
    x = torch.randn(B, T, count, H, D)
    if gates == "extreme":
        x = 30 * torch.randn(B, T, count, H, D).sign()
    elif gates == "constant":
        x = torch.full((B, T, count, H, D), 0.7)
    elif gates in ("keep", "forget") and count > 1:
        # slstm, lstm: forget gate open and input gate shut, or the other way round; gru: update gate.
        x[:, :, 1] = 30.0 if gates == "keep" else -30.0
        x[:, :, 0] = -30.0 if gates == "keep" else 1.0
    x = x.to(dtype)
    recurrent = (torch.randn(count, H, D, D) * D**-0.5).to(dtype)
    bias = torch.randn(4 if cell == "gru" else count, H, D)
    inputs = [x, recurrent, bias]
    if state:
        fields = [torch.randn(B, H, D) for _ in STATES[cell]]
        if cell == "slstm":
            fields[2] = fields[2].abs() + 0.5
            fields[2][0] = 0.0  # an empty memory beside filled ones
        fields[0] = fields[0].tanh().to(dtype).float()
        inputs += fields
    return [t.to(device) for t in inputs]


def run(module, cell: str, inputs: list[Tensor], final: bool = True) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs (h, final state) and the gradients of a plain random sum of them, in the order of `inputs`."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    state = RNNState(*leaves[3:]) if len(leaves) > 3 else None
    h, last = module.rnn(*leaves[:3], state, cell=cell)
    outputs = [h, *(x for x in last if x is not None)]
    generator = torch.Generator().manual_seed(1)
    loss = torch.zeros((), dtype=torch.float64, device=h.device)
    for x in outputs if final else outputs[:1]:
        weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        if x is h:
            weight = weight.to(torch.bfloat16)  # so that the gradient handed to the backend is exact in any dtype
        loss = loss + (x.double() * weight.to(h.device)).sum()
    grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [x.detach() for x in outputs], list(grads)


def difference(x: Tensor, y: Tensor) -> float:
    """Norm of the difference over that of `y`, or over a floor: float64 has no digits of 1 - tanh(30)^2 itself."""
    x, y = x.double(), y.double()
    return (x - y).norm().item() / max(y.norm().item(), 1e-15)


def errors(module, cell: str, *shape: int, final: bool = True, **case) -> dict[str, float]:
    """Relative errors of outputs and gradients against the float64 recurrence."""
    inputs = make(cell, *shape, **case)
    outputs, grads = run(module, cell, inputs, final)
    expected, expected_grads = run(reference, cell, [x.double() for x in inputs], final)
    names = ["h", *STATES[cell], "d_gates", "d_recurrent", "d_bias", *(f"d_{name}" for name in STATES[cell])]
    pairs = zip([*outputs, *grads], [*expected, *expected_grads], strict=True)
    return {name: difference(x, y) for name, (x, y) in zip(names, pairs, strict=False)}


def check(module, tolerance: float, cell: str, *shape: int, **case) -> None:
    found = errors(module, cell, *shape, **case)
    bad = {name: value for name, value in found.items() if not value <= tolerance}
    assert not bad, f"{cell} {shape} {case}: relative errors {bad} above {tolerance}"
