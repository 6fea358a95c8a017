"""Triton kernels of the mLSTM on a GPU, against the float64 recurrence."""

import mlstm_cases as cases
import pytest
import torch
from on_a_gpu import variants

from xlstm_apps.kernels import MLSTMState, mlstm, mlstm_step
from xlstm_apps.kernels.mlstm import reference

OPERATION = "mlstm"
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 6e-3}


def gpu_case(*shape, **case):
    return pytest.param(shape, case, id="-".join(map(str, [*shape, *(f"{k}={v}" for k, v in case.items())])))


def tolerance(shape, case):
    """Relative error allowed.

    In wide heads, packed documents of a few tokens after a given memory, and rows of which one key with a huge input
    gate is left, have hardly any gradient in q . n's scale: in half precision what there is drowns in the rounding of
    the memory and of h.
    """
    allowed = TOLERANCE[case.get("dtype", torch.float32)]
    hard = max(shape[-2:]) > 128 and ("cu" in case or case.get("gates") == "extreme")
    return 2 * allowed if hard and allowed > 1e-3 else allowed


half = {"dtype": torch.bfloat16}
MATRIX = [
    *[gpu_case(2, T, 2, 64, 64, **d) for T in (1, 3, 63, 64, 65, 200, 1000) for d in ({}, half)],
    *[gpu_case(1, 200, 2, K, V, **d) for K, V in ((16, 32), (24, 60), (32, 16), (60, 96)) for d in ({}, half)],
    *[gpu_case(1, 200, 2, K, V, **d) for K, V in ((96, 24), (128, 128), (128, 64), (64, 128)) for d in ({}, half)],
    *[gpu_case(1, 300, 1, K, V, **d) for K, V in ((256, 512), (256, 96), (512, 512)) for d in ({}, half)],
    *[
        gpu_case(2, 200, 2, D, D, gates=gates, **d)
        for gates in ("extreme", "forget", "keep", "constant")
        for D in (64, 128)
        for d in ({}, half)
    ],
    *[
        gpu_case(2, 150, 2, K, 64, input_gate=gate, normalize=normalize, **d)
        for gate, normalize in (("sigmoid", True), ("sigmoid", False), ("exp", False))
        for K in (64, 256)
        for d in ({}, half)
    ],
    *[gpu_case(1, 300, 2, D, D, cu=[0, 64, 65, 200, 300], **d) for D in (32, 128, 256) for d in ({}, half)],
    # Enough heads to keep the memory on chip, where no gradient of the initial one is asked for.
    *[gpu_case(8, 130, 16, D, D, learned=False, **d) for D in (32, 60, 64) for d in ({}, half)],
    gpu_case(8, 130, 16, 64, 64, learned=False, gates="extreme"),
    gpu_case(8, 130, 16, 64, 64, **half),
    *[gpu_case(2, 200, 2, D, D, state=False, final=False, **d) for D in (32, 64, 128, 256) for d in ({}, half)],
    gpu_case(1024, 65, 4, 32, 32),
    gpu_case(1024, 65, 4, 16, 16, **half),
    gpu_case(2, 200, 2, 64, 64, dtype=torch.float16),
    gpu_case(2, 200, 2, 256, 512, dtype=torch.float16),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("shape", "case"), MATRIX)
def test_values_and_gradients(kernels, shape, case) -> None:
    more = None
    if case.get("dtype") == torch.bfloat16 and case.get("gates") == "extreme":
        # Where one key outweighs all, df and dn0 are what cancellation leaves: df shows that memories and their
        # gradients are rounded on the way (decision 2), dn0 that the memory given is.
        more = {"df": 6e-3} | cases.rounding_of_the_memory(*shape, device="cuda", **case)
    cases.check(kernels, tolerance(shape, case), *shape, device="cuda", more=more, **case)


@pytest.mark.gpu
@pytest.mark.parametrize("seed", range(4))
def test_extreme_gates_on_chip_in_half_precision(kernels, seed) -> None:
    more = {"df": 2.4e-2}  # it was off by up to 2.6e-2, with either of the two ways (decision 2)
    case = {"learned": False, "gates": "extreme", "seed": seed, "device": "cuda", **half}
    cases.check(kernels, 6e-3, 8, 130, 16, 64, 64, more=more, **case)


@pytest.mark.gpu
@pytest.mark.parametrize("D", [64, 128])
def test_tf32(kernels, D, monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    inputs, weights, options = cases.make(2, 200, 2, D, D, device="cuda")
    found = cases.run(kernels, inputs, weights, options)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    truth = cases.run(reference, [x.double() for x in inputs], [x.double() for x in weights], options)
    for name, a, b in zip(cases.NAMES[:-1], found, truth, strict=False):  # dm0: see `cases.errors`
        assert (a.double() - b).norm() <= 1e-3 * b.norm(), name


@pytest.mark.gpu
@pytest.mark.parametrize("D", [64, 256])
def test_closed_gates_leave_exact_gradients(kernels, D) -> None:
    # The forget gates' gradients are of the order 1e-13 here; a difference of sums would leave 1e-7 of rounding.
    error = cases.errors(kernels, 2, 200, 2, D, D, gates="forget", device="cuda", floor=0.0)
    assert error["df"] <= 2e-5


@pytest.mark.gpu
@pytest.mark.parametrize("D", [32, 64, 128, 256])
def test_same_bits_on_repeat(kernels, D) -> None:
    inputs, weights, options = cases.make(2, 300, 2, D, D, dtype=torch.bfloat16, device="cuda")
    first = cases.run(kernels, inputs, weights, options)
    for _ in range(3):
        for name, a, b in zip(cases.NAMES, first, cases.run(kernels, inputs, weights, options), strict=True):
            assert torch.equal(a, b), name


@pytest.mark.gpu
@pytest.mark.parametrize("D", [64, 128])
def test_strided_inputs_and_segments(kernels, D) -> None:
    torch.manual_seed(0)
    B, T, H = 2, 150, 3
    joint = torch.randn(B, T, H, 3 * D, device="cuda")
    q, k, v = joint.split(D, -1)
    i, f = torch.randn(B, H, T, 2, device="cuda").transpose(1, 2).unbind(-1)
    whole, last = mlstm(q, k, v, i, f, return_state=True, backend="triton")
    plain, _ = mlstm(*(x.contiguous() for x in (q, k, v, i, f)), return_state=True, backend="triton")
    assert torch.equal(whole, plain)
    parts, state = [], None
    for start, end in ((0, 1), (1, 70), (70, 149)):
        h, state = mlstm(*(x[:, start:end] for x in (q, k, v, i, f)), state, return_state=True, backend="triton")
        parts.append(h)
    h, state = mlstm_step(*(x[:, -1] for x in (q, k, v, i, f)), state, backend="triton")
    torch.testing.assert_close(torch.cat([*parts, h[:, None]], 1), whole, rtol=1e-4, atol=1e-4)
    for a, b in zip(state, last, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("D", [32, 128, 160])
def test_calls_of_different_kinds_in_turn(kernels, D) -> None:
    # Launches are repeated from one call to the next of its kind; here they alternate.
    def shifted(x):  # the same values at an address off 16 bytes
        return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)

    def transposed(x):
        return x.transpose(1, 2).contiguous().transpose(1, 2)

    kinds = []
    for seed, (T, case, change) in enumerate(
        [
            (100, {}, None),
            (100, {"dtype": torch.bfloat16}, None),
            (101, {"dtype": torch.bfloat16}, None),
            (100, {"dtype": torch.bfloat16}, shifted),
            (100, {"dtype": torch.bfloat16}, transposed),
            (100, {"dtype": torch.bfloat16, "state": False}, None),
            (100, {"dtype": torch.bfloat16, "normalize": False}, None),
            (100, {"dtype": torch.bfloat16, "eps": 1e-2}, None),
            (100, {"dtype": torch.bfloat16}, None),  # the second again, on other values
        ]
    ):
        inputs, weights, options = cases.make(2, T, 2, D, D, device="cuda", seed=seed, **case)
        truth = cases.run(reference, [x.double() for x in inputs], [x.double() for x in weights], options)
        if change is not None:
            inputs = [change(x) for x in inputs[:5]] + inputs[5:]
        kinds.append((inputs, weights, options, truth))
    for _ in range(3):
        for inputs, weights, options, truth in kinds:
            found = cases.run(kernels, inputs, weights, options)
            for name, a, b in zip(cases.NAMES[:-1], found, truth, strict=False):  # dm0: see `cases.errors`
                assert a.shape == b.shape, name
                error = (a.double() - b).norm() / b.norm().clamp(min=1.0)
                assert error <= 2 * TOLERANCE[inputs[0].dtype], name
    with torch.no_grad():
        for inputs, _, options, truth in kinds:
            h, _ = kernels.mlstm(*inputs[:5], MLSTMState(*inputs[5:]) if inputs[5:] else None, **options)
            assert (h.double() - truth[0]).norm() <= TOLERANCE[inputs[0].dtype] * truth[0].norm()


@pytest.mark.gpu
def test_launches_are_heard_by_hooks(kernels) -> None:
    from triton import knobs

    inputs, _, options = cases.make(2, 100, 2, 32, 32, state=False, device="cuda")
    heard = []

    def hook(metadata) -> None:
        heard.append(metadata.get()["name"])

    kernels.mlstm(*inputs, None, **options)
    knobs.runtime.launch_enter_hook.add(hook)
    try:
        kernels.mlstm(*inputs, None, **options)
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    names = list(heard)
    kernels.mlstm(*inputs, None, **options)
    assert names and heard == names


@pytest.mark.gpu
def test_on_another_device(kernels) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    inputs, weights, options = cases.make(2, 100, 2, 64, 64, dtype=torch.bfloat16, device="cuda:0")
    here = cases.run(kernels, inputs, weights, options)
    inputs, weights = [x.to("cuda:1") for x in inputs], [x.to("cuda:1") for x in weights]
    for _ in range(2):
        there = cases.run(kernels, inputs, weights, options)
        for name, a, b in zip(cases.NAMES, here, there, strict=True):
            assert torch.equal(a, b.to("cuda:0")), name


@pytest.mark.gpu
@pytest.mark.parametrize("gate", ["exp", "sigmoid"])
@pytest.mark.parametrize("normalize", [True, False])
def test_steps(kernels, gate, normalize) -> None:
    inputs, _, options = cases.make(3, 5, 2, 60, 96, device="cuda", input_gate=gate, normalize=normalize)
    step = {name: options[name] for name in ("input_gate", "normalize", "eps", "scale")}
    state = truth = MLSTMState(*inputs[5:])
    truth = MLSTMState(*(x.double() for x in truth))
    for t in range(5):
        h, state = kernels.mlstm_step(*(x[:, t] for x in inputs[:5]), state, **step)
        h_true, truth = reference.mlstm_step(*(x[:, t].double() for x in inputs[:5]), truth, **step)
        for a, b in zip((h, *state), (h_true, *truth), strict=True):
            assert (a.double() - b).norm() <= 1e-5 * b.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("K", "V"), [(16, 16), (60, 96), (64, 64), (128, 128), (256, 512)])
@pytest.mark.parametrize("gate", ["exp", "sigmoid"])
def test_steps_in_place(kernels, gate, K, V, dtype) -> None:
    del kernels
    B, T, H = 33, 4, 4
    inputs, _, options = cases.make(B, T, H, K, V, device="cuda", dtype=dtype, input_gate=gate)
    step = {name: options[name] for name in ("input_gate", "normalize", "eps", "scale")} | {"backend": "triton"}
    gates = torch.cat(inputs[3:5], -1)  # as a projection leaves them: the second half off 16 bytes in bfloat16
    arguments = [*inputs[:3], *gates.chunk(2, -1)]
    state = MLSTMState(*inputs[5:])
    own = MLSTMState(*(x.clone() for x in state))
    for t in range(T):
        one = [x[:, t] for x in arguments]
        expected, state = mlstm_step(*one, state, **step)
        h, returned = mlstm_step(*one, own, inplace=True, **step)
        assert returned is own and torch.equal(h, expected)
        assert all(torch.equal(x, y) for x, y in zip(own, state, strict=True))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_a_step_in_place_compiles(kernels) -> None:
    del kernels
    inputs, _, _ = cases.make(2, 1, 2, 64, 64, device="cuda", dtype=torch.bfloat16)
    one, state = [x[:, 0] for x in inputs[:5]], MLSTMState(*inputs[5:])
    own = MLSTMState(*(x.clone() for x in state))
    expected, new = mlstm_step(*one, state, backend="triton")
    torch.compiler.reset()
    step = torch.compile(
        lambda *x: mlstm_step(*x[:5], MLSTMState(*x[5:]), inplace=True, backend="triton")[0],
        fullgraph=True, backend="aot_eager",
    )  # fmt: skip
    assert torch.equal(step(*one, *own), expected)
    assert all(torch.equal(x, y) for x, y in zip(own, new, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"input_gate": "sigmoid"}, {"normalize": False}])
@pytest.mark.parametrize(
    "shape",
    [(300, 64, 4, 32, 32), (3, 64, 2, 64, 64), (64, 200, 4, 60, 64), (2, 300, 2, 128, 96), (1, 600, 2, 256, 512)],
)
def test_outputs_alone_are_those_with_a_state(kernels, shape, options) -> None:
    del kernels
    inputs, weights, _ = cases.make(*shape, state=False, dtype=torch.bfloat16, device="cuda")
    for _ in range(2):  # worked out, and repeated
        inputs = [x.detach().requires_grad_() for x in inputs]
        expected, _ = mlstm(*inputs, **options, return_state=True, backend="triton")
        h = mlstm(*inputs, **options, backend="triton")
        with torch.no_grad():
            assert torch.equal(mlstm(*inputs, **options, backend="triton"), h)
        found, truth = (torch.autograd.grad((x * weights[0]).sum(), inputs) for x in (h, expected))
        for a, b in zip((h, *found), (expected, *truth), strict=True):
            assert (a - b).norm() <= 1e-3 * b.norm()  # a bit of bfloat16 here and there: sums in another order


@pytest.mark.gpu
@pytest.mark.parametrize("D", [64, 256])
def test_registration(kernels, D) -> None:
    # Sizes that fill what is saved for the backward: its bytes are compared, and gaps between buffers hold anything.
    inputs, _, _ = cases.make(1, 128, 32, D, D, device="cuda")
    options = (None, False, True, 1e-6, D**-0.5, 0)
    torch.library.opcheck(kernels._forward, (*inputs, *options, False))
    torch.library.opcheck(kernels._forward, (*(x.requires_grad_() for x in inputs), *options, True))


@pytest.mark.gpu
def test_compiles_without_breaks_or_recompilation(kernels) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    run = torch.compile(lambda *x: mlstm(*x, backend="triton").sum(), fullgraph=True, dynamic=True, backend=counter)
    frames = []
    for B, T in ((5, 100), (3, 200), (7, 333)):
        inputs = [x.requires_grad_() for x in cases.make(B, T, 2, 32, 32, state=False, device="cuda")[0]]
        gradients = torch.autograd.grad(run(*inputs), inputs)
        truth = torch.autograd.grad(mlstm(*inputs, backend="triton").sum(), inputs)
        for a, b in zip(gradients, truth, strict=True):
            torch.testing.assert_close(a, b)
        frames.append(counter.frame_count)
    assert len(set(frames)) == 1


@pytest.mark.gpu
def test_checkpointing_and_autocast(kernels) -> None:
    inputs = [x.requires_grad_() for x in cases.make(2, 100, 2, 64, 64, state=False, device="cuda")[0]]

    def block(*x):
        return mlstm(*x, backend="triton")

    with torch.autocast("cuda", torch.bfloat16):
        plain = torch.autograd.grad(block(*inputs).float().sum(), inputs)
        again = torch.utils.checkpoint.checkpoint(block, *inputs, use_reentrant=False)
        again = torch.autograd.grad(again.float().sum(), inputs)
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
def test_no_kernel_is_recompiled_for_batch_or_length(kernels) -> None:
    from xlstm_apps.kernels.mlstm.triton_chunkwise_fwd import output_kernel

    def call(B, T):
        inputs, _, options = cases.make(B, T, 3, 256, 96, state=False, device="cuda", dtype=torch.bfloat16)
        kernels.mlstm(*inputs, None, **options)

    call(2, 300)
    before = variants(output_kernel)
    for B, T in ((1, 301), (5, 512), (3, 1000)):
        call(B, T)
    assert variants(output_kernel) == before


@pytest.mark.gpu
def test_a_million_steps(kernels) -> None:
    torch.manual_seed(0)
    T = 1 << 20
    q, k, v = torch.randn(3, 1, T, 1, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    i, f = torch.randn(1, T, 1, device="cuda"), torch.randn(1, T, 1, device="cuda") + 6
    h, last = mlstm(q, k, v, i, f, return_state=True)
    gradients = torch.autograd.grad(h.float().square().mean(), (q, k, v))
    for x in (h, *last, *gradients):
        assert torch.isfinite(x).all()
    tail, _ = mlstm(*(x[:, -4096:].double() for x in (q, k, v, i, f)), return_state=True, backend="torch")
    assert (h[:, -64:].double() - tail[:, -64:]).norm() <= 2e-2 * tail[:, -64:].norm()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("B", "T", "H", "K", "V"), [(32, 1024, 4, 64, 64), (4, 2048, 4, 128, 128), (1, 2048, 4, 256, 512)]
)
def test_many_programs(kernels, B, T, H, K, V) -> None:
    # Faults of the compiler show in some programs of many; float32 products on ordinary cores cannot have them.
    inputs, weights, options = cases.make(B, T, H, K, V, state=False, device="cuda", dtype=torch.bfloat16)
    found = cases.run(kernels, inputs, weights, options)
    truth = cases.run(kernels, [x.float() for x in inputs], [x.float() for x in weights], options)
    for name, a, b in zip(cases.NAMES, found, truth, strict=False):
        assert (a.float() - b).norm() <= 6e-3 * b.norm(), name
        if a.shape[:3] == (B, T, H):
            rows, size = (a.float() - b).reshape(B * T * H, -1).norm(dim=1), b.reshape(B * T * H, -1).norm(dim=1)
            assert (rows <= 0.05 * size + 0.5 * size.mean()).all(), name
