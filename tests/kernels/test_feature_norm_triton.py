"""Triton kernels of LayerNorm and RMSNorm against the float64 reference: on a GPU, and a small part through the
interpreter.

Tests marked `gpu` need a CUDA device.
"""

from collections.abc import Callable

import feature_norm_cases as cases
import pytest
import torch
from on_a_gpu import need_memory

OPERATION = "norm.features"
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 6e-3}
INTERPRETED_SCRIPT = """
import torch
import feature_norm_cases as cases
import interpreter_bfloat16
from xlstm_apps.kernels import feature_norm
from xlstm_apps.kernels.norm.features import triton
interpreter_bfloat16.apply()
for centred in (True, False):
    cases.check(triton, 1e-5, 1, 2, centred=centred)
    cases.check(triton, 1e-5, 7, 3, centred=centred, bias=False)
    cases.check(triton, 1e-5, 100, 96, centred=centred)
    cases.check(triton, 1e-5, 50, 192, centred=centred, bias=False)
    cases.check(triton, 1e-5, 9, 200, centred=centred)
    cases.check(triton, 1e-5, 7, 384, centred=centred)
    cases.check(triton, 1e-5, 3, 1000, centred=centred)
    cases.check(triton, 1e-5, 3, 4096, centred=centred, bias=False)
    cases.check(triton, 1e-5, 2, 8192, centred=centred)
    cases.check(triton, 6e-3, 33, 16, centred=centred, dtype=torch.float16)
    cases.check(triton, 6e-3, 33, 192, centred=centred, dtype=torch.bfloat16)
    cases.check(triton, 6e-3, 33, 192, centred=centred, weight_dtype=torch.float32, result=torch.bfloat16)
    cases.check(triton, 6e-3, 7, 96, centred=centred, dtype=torch.bfloat16, weight_dtype=torch.float32,
                result=torch.float32)
cases.check(triton, 1e-5, 1000, 192)
cases.check(triton, 1e-5, 7, 1, centred=False)

inputs = cases.make(6, 8)
options = {"eps": 1e-5, "centred": True, "dtype": torch.float32}
assert triton.unsupported(*inputs, **options) is None
assert "x is torch.float64; the kernels take float32" in triton.unsupported(inputs[0].double(), *inputs[1:], **options)
assert "result is to be torch.float64" in triton.unsupported(*inputs, **options | {"dtype": torch.float64})
assert "one feature" in triton.unsupported(inputs[0][:, :1], *inputs[1:], **options)
assert "kernels go up to 8192" in triton.unsupported(torch.zeros(1, 8193), *inputs[1:], **options)
leaves = [x.requires_grad_() for x in inputs]
torch.library.opcheck(torch.ops.xlstm_apps.feature_norm_triton_fwd, (*leaves, 1e-5, True, torch.bfloat16))
torch.library.opcheck(torch.ops.xlstm_apps.feature_norm_triton_fwd, (leaves[0], leaves[1], None, 1e-5, False,
                                                                     torch.float32))

def norm(*x):
    return feature_norm(*x, eps=1e-5, centred=True, dtype=torch.float16, backend="triton")

compiled = torch.compile(norm, fullgraph=True, backend="aot_eager")
y, expected = compiled(*leaves), norm(*leaves)
assert torch.equal(y, expected)
for a, b in zip(torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(expected.sum(), leaves)):
    assert torch.equal(a, b)
deep = inputs[0].detach().reshape(1, 2, 3, 8)
assert torch.equal(norm(deep, *inputs[1:]), norm(*inputs).reshape(1, 2, 3, 8))
assert torch.equal(norm(deep[0, 0, 0], *inputs[1:]), norm(*inputs)[0])
turned = deep.transpose(1, 2)
assert torch.equal(norm(turned, *inputs[1:]), norm(deep, *inputs[1:]).transpose(1, 2))

class Norm(torch.nn.Module):
    def forward(self, *x):
        return norm(*x)

plain = tuple(x.detach() for x in inputs)
rows = ({0: torch.export.Dim("rows", min=2)}, None, None)
program = torch.export.export(Norm(), plain, dynamic_shapes=(rows,))
assert torch.equal(program.module()(*cases.make(11, 8)), norm(*cases.make(11, 8)))
"""


def test_kernels_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(INTERPRETED_SCRIPT)


WIDTHS = [2, 3, 96, 192, 200, 384, 768, 1000, 2048, 4096, 8192]
MIXED = [
    {"weight_dtype": torch.float32, "result": torch.bfloat16},
    {"dtype": torch.bfloat16, "weight_dtype": torch.float32, "result": torch.float32},
    {"dtype": torch.float16, "weight_dtype": torch.float32, "result": torch.bfloat16, "bias": False},
]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", [{}, {"bias": False}, {"centred": False}], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("width", WIDTHS)
def test_values_and_gradients(kernels, width, rows, case, dtype) -> None:
    cases.check(kernels, TOLERANCE[dtype], rows, width, dtype=dtype, device="cuda", **case)


@pytest.mark.gpu
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("case", MIXED, ids=str)
@pytest.mark.parametrize("width", [2, 192, 1000])
def test_types_may_differ(kernels, width, case, centred) -> None:
    cases.check(kernels, 6e-3, 1000, width, centred=centred, device="cuda", **case)


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [1, 1000])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_one_feature(kernels, rows, dtype) -> None:
    cases.check(kernels, TOLERANCE[dtype], rows, 1, dtype=dtype, device="cuda", centred=False)


@pytest.mark.gpu
@pytest.mark.parametrize("width", [192, 1000, 4096])
def test_bitwise_repeatable(kernels, width) -> None:
    inputs = cases.make(32_732, width, device="cuda")
    first, second = (cases.run(kernels, inputs, dtype=torch.bfloat16) for _ in range(2))
    for name, x in first.items():
        assert torch.equal(x, second[name]), name


@pytest.mark.gpu
def test_more_elements_than_32_bits_can_count(kernels) -> None:
    rows = (1 << 21) + 5
    need_memory(24)
    x = torch.randn(rows, 1024, device="cuda", dtype=torch.bfloat16).requires_grad_()
    weight, options = torch.ones(1024, device="cuda"), {"eps": 1e-5, "centred": True, "dtype": torch.bfloat16}
    y = kernels.feature_norm(x, weight, None, **options)
    (dx,) = torch.autograd.grad(y, x, x.detach())
    last = x[-9:].detach().requires_grad_()
    short = kernels.feature_norm(last, weight, None, **options)
    assert torch.equal(y[-9:], short)
    assert torch.equal(dx[-9:], torch.autograd.grad(short, last, last.detach())[0])
