"""Triton kernels of the convolution over a grid against the float64 reference: on a GPU, and a small part through the
interpreter.

Tests marked `gpu` need a CUDA device.
"""

from collections.abc import Callable

import conv_grid_cases as cases
import pytest
import torch
from on_a_gpu import need_memory, variants

from xlstm_apps.kernels import depthwise_conv2d
from xlstm_apps.vision.convolution import GridConv

OPERATION = "conv.grid"
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 6e-3}
INTERPRETED_SCRIPT = """
import torch
import conv_grid_cases as cases
import interpreter_bfloat16
from xlstm_apps.kernels import depthwise_conv2d
from xlstm_apps.kernels.conv.grid import triton, triton_launch
interpreter_bfloat16.apply()
cases.check(triton, 1e-5, 2, 1, 1, 3, 1)
cases.check(triton, 1e-5, 3, 2, 3, 40, 1, wide=False, activation=None)
cases.check(triton, 1e-5, 1, 1, 9, 32, 3)
cases.check(triton, 1e-5, 2, 4, 5, 1, 3, activation=None)
cases.check(triton, 6e-3, 1, 3, 7, 160, 3, dtype=torch.bfloat16)
cases.check(triton, 6e-3, 1, 3, 4, 24, 3, dtype=torch.float16)
cases.check(triton, 1e-5, 1, 3, 4, 40, 5)
cases.check(triton, 1e-5, 1, 3, 2, 16, 7)
whole = cases.run(triton, cases.make(1, 3, 17, 24, 3), (3, 17), "silu")
triton_launch.processors = lambda device: 1000  # from here on rows are cut; other strides, or what is known is taken
cut = cases.run(triton, cases.make(1, 3, 17, 24, 3, wide=False), (3, 17), "silu")
assert all(torch.equal(x, y) for x, y in zip(whole[:2], cut))
cases.check(triton, 1e-5, 1, 1, 17, 3, 7)

x, weight, bias = inputs = cases.make(1, 2, 3, 16, 3)
assert triton.unsupported(*inputs, grid=(2, 3)) is None
assert "kernels take float32" in triton.unsupported(x.double(), weight, bias)
assert "kernels go up to 7" in triton.unsupported(x, torch.zeros(16, 1, 9, 9), bias)
leaves = [x.requires_grad_() for x in inputs]
torch.library.opcheck(torch.ops.xlstm_apps.conv_grid_triton_fwd, (*leaves, 2, 3, True, torch.float32))
call = lambda *x: depthwise_conv2d(*x, (2, 3), activation="silu", backend="triton")
for autocast in (False, True):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y, expected = torch.compile(call, fullgraph=True, backend="aot_eager")(*leaves), call(*leaves)
    assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
    assert torch.equal(y, expected)
    ways = (torch.autograd.grad(z.float().sum(), leaves) for z in (y, expected))
    for a, b, leaf in zip(*ways, leaves):
        assert torch.equal(a, b) and a.dtype == leaf.dtype
"""


def test_kernels_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(INTERPRETED_SCRIPT)


half = {"dtype": torch.bfloat16}
SHAPES = [  # N, height, width, E, kernel size; few pairs of the last two, each of which is compiled
    (1, 1, 1, 3, 1), (3, 14, 14, 384, 1), (2, 5, 13, 1, 3), (2, 1, 9, 32, 3), (5000, 1, 1, 32, 3), (167, 7, 7, 384, 3),
    (5, 14, 14, 384, 3), (1, 128, 128, 384, 3), (3, 5, 13, 200, 5), (2, 14, 14, 200, 5), (2, 9, 30, 96, 7),
]  # fmt: skip
MATRIX = [
    *((shape, case) for shape in SHAPES for case in ({}, half)),
    *(((5, 14, 14, 384, 3), {"activation": None, **d}) for d in ({}, half)),
    ((5, 14, 14, 384, 3), {"dtype": torch.float16}),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("shape", "case"), MATRIX, ids=str)
def test_values_and_gradients(kernels, shape, case) -> None:
    cases.check(kernels, TOLERANCE[case.get("dtype", torch.float32)], *shape, device="cuda", **case)


@pytest.mark.gpu
def test_bitwise_repeatable(kernels) -> None:
    inputs = cases.make(167, 14, 14, 384, 3, dtype=torch.bfloat16, device="cuda")
    first, second = (cases.run(kernels, inputs, (14, 14), "silu") for _ in range(2))
    for name, a, b in zip(cases.NAMES, first, second, strict=True):
        assert torch.equal(a, b), name


@pytest.mark.gpu
def test_contiguous_and_strided_inputs_give_the_same(kernels) -> None:
    found = []
    for wide in (False, True):
        inputs = cases.make(3, 14, 14, 384, 3, wide=wide, dtype=torch.bfloat16, device="cuda")
        found.append(cases.run(kernels, inputs, (14, 14), "silu"))
    for name, a, b in zip(cases.NAMES, *found, strict=True):
        assert torch.equal(a, b), name


@pytest.mark.gpu
@pytest.mark.parametrize("grid", [(1, (1 << 21) + 5), ((1 << 21) + 5, 1)], ids=str)
def test_more_elements_than_32_bits_can_count(kernels, grid) -> None:
    need_memory(30)
    S, E = grid[0] * grid[1], 1024
    x = torch.randn(1, S, E, device="cuda", dtype=torch.bfloat16).requires_grad_()
    weight, bias = torch.randn(E, 1, 3, 3, device="cuda"), torch.randn(E, device="cuda")
    y = kernels.depthwise_conv2d(x, weight, bias, grid=grid, activation="silu")
    (dx,) = torch.autograd.grad(y, x, x.detach())
    end = x.detach()[:, -100:].clone().requires_grad_()
    last = (1, 100) if grid[0] == 1 else (100, 1)
    y_end = kernels.depthwise_conv2d(end, weight, bias, grid=last, activation="silu")
    (dx_end,) = torch.autograd.grad(y_end, end, end.detach())
    for a, b in ((y, y_end), (dx, dx_end)):  # the first places see fewer
        assert cases.difference(b[:, 9:], a[:, -91:]) < 1e-3


@pytest.mark.gpu
def test_no_recompilation_over_batch_and_grid(kernels) -> None:
    from xlstm_apps.kernels.conv.grid import triton_kernels

    both = triton_kernels.forward_kernel, triton_kernels.backward_kernel

    def call(N: int, h: int, w: int) -> None:
        inputs = cases.make(N, h, w, 24, 3, dtype=torch.bfloat16, device="cuda")
        cases.run(kernels, inputs, (h, w), "silu")

    call(2, 7, 7)
    before = variants(*both)
    for sizes in ((1, 1, 1), (1, 16, 16), (3, 1, 40), (16, 33, 2), (17, 14, 14)):
        call(*sizes)
    assert variants(*both) == before


@pytest.mark.gpu
def test_registration(kernels) -> None:
    del kernels
    leaves = [x.requires_grad_() for x in cases.make(2, 4, 5, 16, 3, device="cuda")]
    torch.library.opcheck(torch.ops.xlstm_apps.conv_grid_triton_fwd, (*leaves, 4, 5, True, torch.float32))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_compile_autocast_and_checkpointing(kernels) -> None:
    del kernels
    torch.compiler.reset()
    projection = torch.nn.Linear(32, 2 * 60, device="cuda")
    conv = GridConv(60, 3, 2, "silu").cuda()
    x = torch.randn(2, 35, 32, device="cuda")

    def model(x: torch.Tensor) -> torch.Tensor:
        return conv(projection(x).chunk(2, -1)[0], (5, 7))

    def gradients(call) -> list[torch.Tensor]:
        return torch.autograd.grad(call(x).float().square().mean(), [*projection.parameters(), *conv.parameters()])

    with torch.autocast("cuda", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        assert conv(torch.randn(2, 35, 60, device="cuda"), (5, 7)).dtype == torch.bfloat16
        eager = gradients(model)
        compiled = gradients(torch.compile(model, fullgraph=True))
        checkpointed = gradients(lambda x: torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False))
    for a, b, c in zip(eager, compiled, checkpointed, strict=True):
        assert cases.difference(b, a) < 1e-2
        assert torch.equal(c, a)


@pytest.mark.gpu
def test_the_layer_takes_the_kernels(kernels) -> None:
    conv = GridConv(60, 3, 2, "silu").cuda()
    x = torch.randn(2, 35, 60, device="cuda")
    y = conv(x, (5, 7))
    assert torch.equal(y, kernels.depthwise_conv2d(x, conv.weight, conv.bias, grid=(5, 7), activation="silu"))
    on_cpu = (t.detach().cpu().double() for t in (x, conv.weight, conv.bias))
    expected = depthwise_conv2d(*on_cpu, (5, 7), activation="silu")
    assert cases.difference(y.cpu(), expected) < 1e-5
