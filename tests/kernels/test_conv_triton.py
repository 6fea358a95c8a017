"""Triton kernels of the convolution against the float64 reference: on a GPU, and a small part through the interpreter.

Tests marked `gpu` need a CUDA device.
"""

from collections.abc import Callable

import conv_cases as cases
import pytest
import torch
from on_a_gpu import need_memory, variants

from xlstm_apps.core.layers import CausalConv1d
from xlstm_apps.kernels import causal_conv1d

OPERATION = "conv"
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 6e-3}
INTERPRETED_SCRIPT = """
import torch
import conv_cases as cases
import interpreter_bfloat16
from xlstm_apps.kernels import causal_conv1d
from xlstm_apps.kernels.conv import triton
interpreter_bfloat16.apply()
cases.check(triton, 1e-5, 2, 1, 16, 1)
cases.check(triton, 1e-5, 2, 1, 24, 4, window=True)
cases.check(triton, 6e-3, 1, 3, 300, 2, window=True, dtype=torch.bfloat16)
cases.check(triton, 1e-5, 1, 3, 24, 16, window=True)
cases.check(triton, 1e-5, 1, 40, 16, 16, packed=True, activation=None)
cases.check(triton, 1e-5, 1, 63, 16, 4, packed=True)
cases.check(triton, 6e-3, 1, 64, 60, 4, dtype=torch.float16)
cases.check(triton, 6e-3, 1, 65, 24, 4, packed=True, dtype=torch.bfloat16)
cases.check(triton, 1e-5, 1, 200, 24, 2, activation=None)
cases.check_packed_equals_separate(triton, 1, 20, 16, 4)
cases.check_segments_equal_one_pass(triton, 1, 9, 16, 4)

inputs, position = cases.make(1, 3, 16, 2, window=True)
assert triton.unsupported(*inputs, position=None) is None
assert "kernels take float32" in triton.unsupported(inputs[0].double(), *inputs[1:])
assert "kernels go up to 32" in triton.unsupported(inputs[0], torch.zeros(33, 16), inputs[2], None)
leaves = [x.requires_grad_() for x in inputs]
torch.library.opcheck(torch.ops.xlstm_apps.conv_triton_fwd, (*leaves, None, True))
compiled = torch.compile(lambda *x: causal_conv1d(*x, activation="silu", backend="triton"), fullgraph=True,
                         backend="aot_eager")
y = compiled(*leaves)
expected = triton.causal_conv1d(*leaves, position=None, activation="silu")
assert torch.equal(y, expected)
for a, b in zip(torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(expected.sum(), leaves)):
    assert torch.equal(a, b)
"""


def test_kernels_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(INTERPRETED_SCRIPT)


half = {"dtype": torch.bfloat16}
MATRIX = [  # B, T, E, kernel size; few pairs of the last two, each of which is compiled
    *[((3, T, 60, 4), case) for T in (1, 3, 63, 64, 65, 200) for case in ({}, {"window": True}, {"packed": True})],
    *[((2, 65, E, n), {"window": True, **d}) for E, n in ((16, 2), (24, 16), (128, 1), (300, 4)) for d in ({}, half)],
    *[((2, 2500, E, n), {"packed": True, **d}) for E, n in ((128, 4), (300, 2)) for d in ({}, half)],
    ((2, 65, 128, 4), {"dtype": torch.float16}),
    ((5000, 3, 24, 2), half),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("shape", "case"), MATRIX, ids=str)
def test_values_and_gradients(kernels, shape, case) -> None:
    cases.check(kernels, TOLERANCE[case.get("dtype", torch.float32)], *shape, device="cuda", **case)


@pytest.mark.gpu
def test_documents_and_segments(kernels) -> None:
    cases.check_packed_equals_separate(kernels, 2, 500, 60, 4, device="cuda")
    cases.check_segments_equal_one_pass(kernels, 2, 500, 60, 4, device="cuda")
    cases.check(kernels, 1e-5, 2, 65, 60, 4, activation=None, device="cuda")


@pytest.mark.gpu
def test_bitwise_repeatable(kernels) -> None:
    inputs, _ = cases.make(5, 3000, 128, 4, dtype=torch.bfloat16, device="cuda")
    first, second = (cases.run(kernels, inputs, None, "silu") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
def test_more_elements_than_32_bits_can_count(kernels) -> None:
    B, T, E = 2, (1 << 20) + 5, 1024
    need_memory(24)
    x = torch.randn(B, T, E, device="cuda", dtype=torch.bfloat16).requires_grad_()
    weight, bias = torch.randn(4, E, device="cuda"), torch.randn(E, device="cuda")
    y = kernels.causal_conv1d(x, weight, bias, None, position=None, activation="silu")
    (dx,) = torch.autograd.grad(y, x, x.detach())
    end = x.detach()[:, -100:].clone().requires_grad_()
    window = x.detach()[:, -103:-100]
    y_end = kernels.causal_conv1d(end, weight, bias, window, position=None, activation="silu")
    (dx_end,) = torch.autograd.grad(y_end, end, end.detach())
    # Compiled for a window they may round otherwise.
    assert cases.difference(y_end, y[:, -100:]) < 1e-3 and cases.difference(dx_end, dx[:, -100:]) < 1e-3


@pytest.mark.gpu
def test_no_recompilation_over_batch_and_length(kernels) -> None:
    from xlstm_apps.kernels.conv import triton_kernels

    both = triton_kernels.forward_kernel, triton_kernels.backward_kernel

    def call(B: int, T: int) -> None:
        inputs, _ = cases.make(B, T, 24, 2, dtype=torch.bfloat16, device="cuda")
        cases.run(kernels, inputs, None, "silu")

    call(2, 7)
    before = variants(*both)
    for B, T in ((1, 1), (1, 16), (3, 16), (16, 33), (17, 640)):
        call(B, T)
    assert variants(*both) == before


@pytest.mark.gpu
def test_registration(kernels) -> None:
    del kernels
    inputs, _ = cases.make(2, 5, 16, 2, window=True, device="cuda")
    leaves = [x.requires_grad_() for x in inputs]
    torch.library.opcheck(torch.ops.xlstm_apps.conv_triton_fwd, (*leaves, None, True))
    packed = (*leaves[:3], None, cases.positions(5).cuda(), False)
    torch.library.opcheck(torch.ops.xlstm_apps.conv_triton_fwd, packed)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_compile_autocast_and_checkpointing(kernels) -> None:
    del kernels
    projection = torch.nn.Linear(32, 64).cuda()
    weight, bias = (torch.nn.Parameter(torch.randn(*n, 32, device="cuda")) for n in ((2,), ()))
    x = torch.randn(3, 20, 32, device="cuda")

    def model(x):
        return causal_conv1d(projection(x).chunk(2, -1)[0], weight, bias, activation="silu", backend="triton")

    def gradients(call) -> list[torch.Tensor]:
        return torch.autograd.grad(call(x).float().square().mean(), [*projection.parameters(), weight, bias])

    with torch.autocast("cuda", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        eager = gradients(model)
        compiled = gradients(torch.compile(model, fullgraph=True))
        checkpointed = gradients(lambda x: torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False))
    for a, b, c in zip(eager, compiled, checkpointed, strict=True):
        assert cases.difference(b, a) < 1e-2
        assert torch.equal(c, a)


@pytest.mark.gpu
def test_the_layer_takes_the_kernels_and_hands_on_its_window(kernels) -> None:
    layer = CausalConv1d(60, 4).cuda()
    x = torch.randn(2, 50, 60, device="cuda")
    y, last = layer(x, None, None)
    assert torch.equal(y, kernels.causal_conv1d(x, layer.weight, layer.bias, None, position=None, activation="silu"))
    parts, window = [], None
    for segment in x.split([1, 2, 30, 16, 1], 1):
        part, window = layer(segment, window, None)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), y)
    assert torch.equal(window, last)
