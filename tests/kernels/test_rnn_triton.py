"""Triton kernels of `rnn` against the float64 recurrence: on a GPU, and a small part through the interpreter.

Tests marked `gpu` need a CUDA device.
"""

from collections.abc import Callable

import pytest
import rnn_cases as cases
import torch
from on_a_gpu import variants

from xlstm_apps.kernels import RNNState, rnn, rnn_step
from xlstm_apps.kernels.rnn import reference

OPERATION = "rnn"
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 6e-3}
# D 72 does not fit on chip in float32: it takes the kernels that stream the weights.
INTERPRETED_SCRIPT = """
import torch
import rnn_cases as cases
from xlstm_apps.kernels.rnn import reference, triton
for cell in cases.CELLS:
    cases.check(triton, 1e-5, cell, 3, 5, 2, 16)
    cases.check(triton, 1e-5, cell, 9, 4, 1, 24, state=False, final=False)
    cases.check(triton, 1e-5, cell, 1, 1, 1, 20)
    cases.check(triton, 1e-5, cell, 2, 3, 1, 72)
    inputs = cases.make(cell, 2, 1, 2, 20)
    state = cases.RNNState(*inputs[3:])
    arguments = (inputs[0][:, 0], inputs[1], inputs[2], state)
    (h, new), (h_expected, expected) = (m.rnn_step(*arguments, cell=cell) for m in (triton, reference))
    for x, y in zip((h, *new), (h_expected, *expected)):
        if y is not None:
            torch.testing.assert_close(x, y)
for cell, D in [(cell, D) for cell in cases.CELLS for D in (20, 72)]:
    inputs = cases.make(cell, 2, 1, 2, D)
    arguments = (inputs[0][:, 0], inputs[1], inputs[2])
    h, new = triton.rnn_step(*arguments, cases.RNNState(*inputs[3:]), cell=cell)
    own, registered = ([None if x is None else x.clone() for x in inputs[3:]] for _ in range(2))
    assert torch.equal(triton.rnn_step_inplace(*arguments, cases.RNNState(*own), cell=cell), h)
    registered = [x for x in registered if x is not None]
    assert torch.equal(torch.ops.xlstm_apps.rnn_triton_step_inplace(*arguments, registered, cell), h)
    for x, y, z in zip([x for x in own if x is not None], [x for x in new if x is not None], registered):
        assert torch.equal(x, y) and torch.equal(z, y)
for gates in ("extreme", "keep", "forget", "constant"):
    cases.check(triton, 1e-5, "slstm", 2, 9, 1, 16, gates=gates, state=False)
"""


def test_kernels_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(INTERPRETED_SCRIPT)


def gpu_case(cell: str, *shape: int, **case):
    parts = [cell, *map(str, shape), *(f"{k}={v}" for k, v in case.items())]
    return pytest.param(cell, shape, case, id="-".join(parts))


half = {"dtype": torch.bfloat16}
MATRIX = [
    *[gpu_case("slstm", 4, T, 2, 64, **d) for T in (1, 3, 63, 64, 65, 200, 1000) for d in ({}, half)],
    *[gpu_case(c, 3, 65, 2, D, **d) for c in cases.CELLS for D in (16, 24, 32, 60, 64, 96, 128) for d in ({}, half)],
    *[gpu_case(c, 2, 20, 1, 256, **d) for c in cases.CELLS for d in ({}, half)],
    *[gpu_case(c, 9, 200, 3, 64, **half) for c in ("lstm", "gru", "elman")],
    *[gpu_case(c, 3, 65, 2, 48, dtype=torch.float16) for c in cases.CELLS],
    *[gpu_case("slstm", *shape, **half) for shape in ((1, 20, 1, 64), (64, 20, 64, 16), (520, 5, 2, 32))],
    *[gpu_case("slstm", 3, 40, 2, 32, **d, state=False, final=False) for d in ({}, half)],
]


@pytest.mark.gpu
@pytest.mark.parametrize(("cell", "shape", "case"), MATRIX)
def test_values_and_gradients(kernels, cell, shape, case) -> None:
    cases.check(kernels, TOLERANCE[case.get("dtype", torch.float32)], cell, *shape, device="cuda", **case)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gates", ["extreme", "keep", "forget", "constant"])
@pytest.mark.parametrize("cell", cases.CELLS)
def test_saturated_gates(kernels, cell, gates, dtype) -> None:
    # Saturated lstm and gru: float64 itself has no more digits of 1 - sigmoid(30) than this.
    loose = cell in ("lstm", "gru") and gates != "constant"
    tolerance = max(TOLERANCE[dtype], 2e-3 if loose else 0)
    cases.check(kernels, tolerance, cell, 3, 65, 2, 32, gates=gates, state=False, dtype=dtype, device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("cell", cases.CELLS)
@pytest.mark.parametrize("D", [48, 160])
def test_segments_and_steps_equal_one_pass(kernels, cell, D) -> None:
    x, recurrent, bias, *fields = cases.make(cell, 3, 12, 2, D, dtype=torch.bfloat16, device="cuda")
    whole, last = kernels.rnn(x, recurrent, bias, RNNState(*fields), cell=cell)
    state, parts = RNNState(*fields), []
    for start, end in ((0, 1), (1, 6), (6, 12)):
        h, state = kernels.rnn(x[:, start:end], recurrent, bias, state, cell=cell)
        parts.append(h)
    # The logarithm of slstm's normaliser changes its base on the way: one bit of float32, rarely one of bfloat16.
    tolerance = 1e-3 if cell == "slstm" else 0
    assert cases.difference(torch.cat(parts, 1), whole) <= tolerance
    for a, b in zip(state, last, strict=True):
        assert b is None or cases.difference(a, b) <= tolerance
    state = RNNState(*fields)
    for t in range(x.shape[1]):
        h, state = kernels.rnn_step(x[:, t], recurrent, bias, state, cell=cell)
        assert cases.difference(h, whole[:, t]) <= tolerance


@pytest.mark.gpu
@pytest.mark.parametrize("cell", cases.CELLS)
@pytest.mark.parametrize("D", [16, 64, 128, 160])
def test_steps_in_place(kernels, cell, D) -> None:
    del kernels
    x, recurrent, bias, *fields = cases.make(cell, 33, 4, 2, D, dtype=torch.bfloat16, device="cuda")
    state = RNNState(*fields)
    own = RNNState(*(None if f is None else f.clone() for f in fields))
    for t in range(4):
        expected, state = rnn_step(x[:, t], recurrent, bias, state, cell=cell, backend="triton")
        h, returned = rnn_step(x[:, t], recurrent, bias, own, cell=cell, inplace=True, backend="triton")
        assert returned is own and torch.equal(h, expected)
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(own, state, strict=True))


@pytest.mark.gpu
def test_layouts_without_copies(kernels) -> None:
    x, recurrent, bias, *_ = cases.make("slstm", 3, 20, 2, 32, dtype=torch.bfloat16, device="cuda")
    expected, _ = kernels.rnn(x, recurrent, bias, None, cell="slstm")
    other = x.permute(1, 0, 3, 2, 4).contiguous().permute(1, 0, 3, 2, 4)  # [T, B, H, G, D] in memory
    assert torch.equal(kernels.rnn(other, recurrent, bias, None, cell="slstm")[0], expected)
    sliced = torch.cat([x, x], -1)[..., :32]
    assert torch.equal(kernels.rnn(sliced, recurrent, bias, None, cell="slstm")[0], expected)


@pytest.mark.gpu
@pytest.mark.parametrize("D", [64, 128, 192])
def test_bitwise_repeatable(kernels, D) -> None:
    inputs = cases.make("slstm", 5, 100, 3, D, dtype=torch.bfloat16, device="cuda")
    first, second = (cases.run(kernels, "slstm", inputs) for _ in range(2))
    for a, b in zip(first[0] + first[1], second[0] + second[1], strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
def test_long_sequence_stays_finite(kernels) -> None:
    x = torch.randn(1, 1 << 20, 4, 1, 64, device="cuda", dtype=torch.bfloat16)
    recurrent = torch.randn(4, 1, 64, 64, device="cuda", dtype=torch.bfloat16) / 8
    h, last = rnn(x, recurrent, torch.zeros(4, 1, 64, device="cuda"), return_state=True, backend="triton")
    assert h.isfinite().all()
    assert all(field.isfinite().all() for field in last)


@pytest.mark.gpu
def test_no_recompilation_over_batch_and_length(kernels) -> None:
    from xlstm_apps.kernels.rnn.triton_forward import forward_kernel

    def call(B: int, T: int) -> None:
        x, recurrent, bias = cases.make("slstm", B, T, 2, 32, state=False, dtype=torch.bfloat16, device="cuda")
        kernels.rnn(x, recurrent, bias, None, cell="slstm")

    call(2, 7)
    before = variants(forward_kernel)
    for B, T in ((1, 1), (1, 16), (3, 16), (16, 33), (17, 64)):
        call(B, T)
    assert variants(forward_kernel) == before


@pytest.mark.gpu
def test_registration(kernels) -> None:
    for cell in ("slstm", "gru"):
        inputs = [t.requires_grad_() for t in cases.make(cell, 2, 5, 1, 16, device="cuda")]
        arguments = (*inputs, *(None,) * (7 - len(inputs)), cell, True)
        torch.library.opcheck(torch.ops.xlstm_apps.rnn_triton_fwd, arguments)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_compile_autocast_and_checkpointing(kernels) -> None:
    del kernels
    projection = torch.nn.Linear(32, 4 * 2 * 32).cuda()
    recurrent = torch.nn.Parameter(torch.randn(4, 2, 32, 32, device="cuda") / 6)
    bias = torch.nn.Parameter(torch.randn(4, 2, 32, device="cuda"))
    x = torch.randn(3, 20, 32, device="cuda")

    def model(x):
        return rnn(projection(x).view(*x.shape[:2], 4, 2, 32), recurrent, bias, backend="triton")

    def gradients(call) -> list[torch.Tensor]:
        return torch.autograd.grad(call(x).float().square().mean(), [*projection.parameters(), recurrent, bias])

    with torch.autocast("cuda", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        eager = gradients(model)
        compiled = gradients(torch.compile(model, fullgraph=True))
        checkpointed = gradients(lambda x: torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False))
    for a, b, c in zip(eager, compiled, checkpointed, strict=True):
        assert cases.difference(b, a) < 1e-2
        assert torch.equal(c, a)


@pytest.mark.gpu
def test_automatic_choice_and_step(kernels) -> None:
    x, recurrent, bias, *fields = cases.make("slstm", 2, 1, 2, 32, dtype=torch.bfloat16, device="cuda")
    h, state = rnn_step(x[:, 0], recurrent, bias, RNNState(*fields))
    expected, _ = kernels.rnn_step(x[:, 0], recurrent, bias, RNNState(*fields), cell="slstm")
    assert torch.equal(h, expected)
    doubled = [t.double() for t in (x, recurrent, bias)]
    assert kernels.unsupported(*doubled, None, cell="slstm") is not None
    exact, _ = reference.rnn_step(doubled[0][:, 0], *doubled[1:], RNNState(*(f.double() for f in fields)), cell="slstm")
    assert cases.difference(h, exact) < 6e-3
    assert state.h.dtype == torch.float32
