"""Triton kernels of the gated norm against the float64 reference: on a GPU, and a small part through the interpreter.

Tests marked `gpu` need a CUDA device.
"""

from collections.abc import Callable

import norm_cases as cases
import pytest
import torch
from on_a_gpu import need_memory

OPERATION = "norm"
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 6e-3}
INTERPRETED_SCRIPT = """
import torch
import norm_cases as cases
import interpreter_bfloat16
from xlstm_apps.kernels import gated_norm
from xlstm_apps.kernels.norm import triton
interpreter_bfloat16.apply()
cases.check(triton, 1e-5, 1, 1, 1, 3)
cases.check(triton, 1e-5, 2, 50, 2, 96)
cases.check(triton, 1e-5, 3, 7, 3, 5, bias=False, activation="sigmoid")
cases.check(triton, 1e-5, 1, 40, 2, 64, skip=False)
cases.check(triton, 1e-5, 1, 3, 1, 2100, bias=False, skip=False, activation="sigmoid")
cases.check(triton, 6e-3, 1, 33, 4, 16, dtype=torch.float16)
cases.check(triton, 6e-3, 1, 33, 4, 16, dtype=torch.bfloat16, activation="sigmoid")

inputs = cases.make(1, 3, 2, 8)
assert triton.unsupported(*inputs, eps=1e-5) is None
assert "kernels take float32" in triton.unsupported(inputs[0].double(), *inputs[1:])
assert "kernels go up to 4096" in triton.unsupported(torch.zeros(1, 1, 1, 5000), *inputs[1:])
leaves = [x.requires_grad_() for x in inputs]
torch.library.opcheck(torch.ops.xlstm_apps.norm_triton_fwd, (*leaves, 1e-5, True))
compiled = torch.compile(lambda *x: gated_norm(*x, eps=1e-5, activation="silu", backend="triton"), fullgraph=True,
                         backend="aot_eager")
y = compiled(*leaves)
expected = triton.gated_norm(*leaves, eps=1e-5, activation="silu")
assert torch.equal(y, expected)
for a, b in zip(torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(expected.sum(), leaves)):
    assert torch.equal(a, b)
mixed = triton.gated_norm(inputs[0].half(), *inputs[1:], eps=1e-5, activation="silu")
assert mixed.dtype == torch.float32
"""


def test_kernels_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(INTERPRETED_SCRIPT)


SHAPES = [(1, 1, 1, 3), (3, 7, 3, 5), (2, 500, 4, 96), (8, 1, 4, 256), (1, 3000, 2, 64), (2, 65, 1, 2100)]  # B, T, H, D
CASES = [{}, {"bias": False, "activation": "sigmoid"}, {"skip": False}]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(kernels, shape, case, dtype) -> None:
    cases.check(kernels, TOLERANCE[dtype], *shape, dtype=dtype, device="cuda", **case)


@pytest.mark.gpu
def test_bitwise_repeatable(kernels) -> None:
    inputs = cases.make(5, 3000, 4, 96, dtype=torch.bfloat16, device="cuda")
    first, second = (cases.run(kernels, inputs, "silu") for _ in range(2))
    for name, x in first.items():
        assert torch.equal(x, second[name]), name


@pytest.mark.gpu
def test_more_elements_than_32_bits_can_count(kernels) -> None:
    T = (1 << 21) + 5
    need_memory(24)
    h = torch.randn(1, T, 4, 256, device="cuda", dtype=torch.bfloat16)
    gate, weight = torch.randn(1, T, 1024, device="cuda", dtype=torch.bfloat16), torch.ones(1024, device="cuda")
    y = kernels.gated_norm(h, gate, weight, None, None, None, eps=1e-5, activation="silu")
    last = kernels.gated_norm(h[:, -9:], gate[:, -9:], weight, None, None, None, eps=1e-5, activation="silu")
    assert torch.equal(y[:, -9:], last)
