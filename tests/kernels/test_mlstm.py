"""`mlstm`: values and every gradient of the fast backend against the plain recurrence."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from xlstm_apps.kernels import MLSTMState, mlstm, mlstm_step

F64 = torch.float64
KINDS = [("exp", True), ("exp", False), ("sigmoid", True), ("sigmoid", False)]
SHAPES = [(1, 1, 1, 1, 1), (3, 3, 3, 5, 2), (1, 128, 1, 3, 2), (3, 65, 1, 4, 3), (2, 150, 3, 5, 7)]
CONSTANTS = [(30.0, 30.0), (-30.0, -30.0), (0.0, -torch.inf), (-100.0, -30.0), (-torch.inf, 3.0)]


def inputs(batch, length, heads, key_dim, value_dim, *, gates=1.0, dtype=F64):
    """q, k, v, igate, fgate and an initial c, n, m."""
    shapes = [(batch, length, heads, key_dim)] * 2 + [(batch, length, heads, value_dim)] + [(batch, length, heads)] * 2
    shapes += [(batch, heads, key_dim, value_dim), (batch, heads, key_dim), (batch, heads)]
    scales = [1, 1, 1, gates, gates, 1, 1, 1]
    tensors = (scale * torch.randn(shape, dtype=dtype) for shape, scale in zip(shapes, scales, strict=True))
    return [x.requires_grad_() for x in tensors]


def run(tensors, backend, dtype=F64, with_state=True, **options):
    """Outputs, final state and all gradients of a random weighting of them, in float64."""
    tensors = [x.detach().to(dtype).requires_grad_() for x in tensors]
    state = MLSTMState(*tensors[5:]) if with_state else None
    h, last = mlstm(*tensors[:5], state, return_state=True, backend=backend, **options)
    outputs = [h, *last]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, dtype=F64, generator=generator).to(x.dtype) for x in outputs]
    sum((x * w).sum() for x, w in zip(outputs, weights, strict=True) if x.requires_grad).backward()
    grads = [x.grad for x in tensors if x.grad is not None]
    return [x.detach().double() for x in outputs + grads]


def assert_close(actual, expected, tolerance):
    names = ["h", "c", "n", "m", "dq", "dk", "dv", "di", "df", "dc0", "dn0", "dm0"]
    for name, x, y in zip(names, actual, expected, strict=False):
        assert x.isfinite().all(), name
        error = (x - y).abs().max() / y.abs().max().clamp(min=1e-6)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize(("input_gate", "normalize"), KINDS)
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_gradients_are_the_derivatives_of_the_outputs(backend, input_gate, normalize):
    def function(q, k, v, i, f, c, n, m):
        options = {"input_gate": input_gate, "normalize": normalize, "eps": 1e-2, "chunk_size": 3}
        h, last = mlstm(q, k, v, i, f, MLSTMState(c, n, m), return_state=True, backend=backend, **options)
        return h, *last

    assert gradcheck(function, inputs(2, 7, 1, 3, 2))


def test_reference_has_second_derivatives():
    assert gradgradcheck(lambda *x: mlstm(*x, backend="reference"), inputs(1, 3, 1, 2, 2)[:5])


@pytest.mark.parametrize(("input_gate", "normalize"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_is_the_recurrence(shape, input_gate, normalize):
    tensors = inputs(*shape)
    options = {"input_gate": input_gate, "normalize": normalize, "eps": 1e-2}
    expected = run(tensors, "reference", **options)
    assert_close(run(tensors, "torch", **options), expected, 1e-10)
    assert_close(run(tensors, "torch", **options, chunk_size=16), expected, 1e-10)
    expected = run([x.float() for x in tensors], "reference", **options)
    assert_close(run(tensors, "torch", torch.float32, **options), expected, 3e-5)


@pytest.mark.parametrize("input_gate", ["exp", "sigmoid"])
@pytest.mark.parametrize("gates", [12.0, 30.0])
def test_extreme_gates(gates, input_gate):
    """Far beyond what factors of q and k can hold: the weights of a chunk are computed pair by pair."""
    tensors = inputs(2, 130, 2, 4, 3, gates=gates)
    tensors[4].data[0, 3:40] = 30.0  # long memory after hard forgetting
    expected = run([x.float() for x in tensors], "reference", input_gate=input_gate)
    assert_close(run([x.float() for x in tensors], "torch", input_gate=input_gate), expected, 1e-9)
    assert_close(run(tensors, "torch", torch.float32, input_gate=input_gate), expected, 3e-5)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(("igate", "fgate"), CONSTANTS)
def test_constant_and_infinite_gates_give_finite_gradients(backend, dtype, igate, fgate):
    tensors = inputs(1, 70, 1, 3, 2, dtype=dtype)[:5]
    tensors[3].data.fill_(igate)
    tensors[4].data.fill_(fgate)
    results = run(tensors, backend, dtype, with_state=False)
    # In float32 autograd through the recurrence loses more by cancellation than the backward pass written out.
    tolerance = 1e-2 if backend == "reference" else 1e-4
    assert_close(results, run(tensors, "reference", with_state=False), tolerance)


@pytest.mark.parametrize("input_gate", ["exp", "sigmoid"])
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_one_pass_is_segments_is_steps(backend, input_gate):
    q, k, v, i, f, *state = (x.detach() for x in inputs(2, 90, 2, 3, 4))
    options = {"input_gate": input_gate, "backend": backend}
    whole, last = mlstm(q, k, v, i, f, MLSTMState(*state), return_state=True, **options)

    parts, memory = [], MLSTMState(*state)
    for segment in (slice(0, 1), slice(1, 66), slice(66, 71), slice(71, 90)):
        h, memory = mlstm(*(x[:, segment] for x in (q, k, v, i, f)), memory, return_state=True, **options)
        parts.append(h)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(tuple(memory), tuple(last))

    steps, memory = [], MLSTMState(*state)
    for t in range(90):
        h, memory = mlstm_step(*(x[:, t] for x in (q, k, v, i, f)), memory, **options)
        steps.append(h)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    torch.testing.assert_close(tuple(memory), tuple(last))


@pytest.mark.parametrize("input_gate", ["exp", "sigmoid"])
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_a_step_in_place_is_the_step(backend, input_gate):
    q, k, v, i, f, *fields = (x.detach() for x in inputs(2, 3, 2, 3, 4))
    options = {"input_gate": input_gate, "backend": backend}
    memory, state = MLSTMState(*(x.clone() for x in fields)), MLSTMState(*fields)
    for t in range(3):
        step = [x[:, t] for x in (q, k, v, i, f)]
        before = MLSTMState(*(x.clone() for x in state))
        expected, new = mlstm_step(*step, state, **options)
        assert all(torch.equal(x, y) for x, y in zip(state, before, strict=True))
        h, returned = mlstm_step(*step, memory, inplace=True, **options)
        assert returned is memory and torch.equal(h, expected)
        assert all(torch.equal(x, y) for x, y in zip(memory, new, strict=True))
        state = new


def test_states_that_cannot_be_overwritten_are_refused():
    q, k, v, i, f = (x.detach()[:, 0] for x in inputs(2, 1, 2, 3, 4)[:5])
    c, n, m = (torch.zeros(2, 2, 3, 4, dtype=F64), torch.zeros(2, 2, 3, dtype=F64), torch.zeros(2, 2, dtype=F64))
    for state, message in (
        (None, "needs a state"),
        (MLSTMState(c.float(), n, m), "state.c is torch.float32"),
        (MLSTMState(c.mT.contiguous().mT, n, m), "state.c is torch.float64, not contiguous"),
        (MLSTMState(c, n.clone().requires_grad_(), m), "torch.no_grad"),
    ):
        with pytest.raises(ValueError, match=message):
            mlstm_step(q, k, v, i, f, state, inplace=True)


def test_no_state_is_a_state_of_zeros():
    tensors = inputs(2, 20, 2, 3, 2)
    zeros = [torch.zeros_like(x) for x in tensors[5:]]
    for backend in ("reference", "torch"):
        without = run(tensors, backend, with_state=False)
        assert_close(run([*tensors[:5], *zeros], backend)[: len(without)], without, 1e-12)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("gates", [1.0, 30.0])
@pytest.mark.parametrize("input_gate", ["exp", "sigmoid"])
def test_packed_documents_are_separate(input_gate, gates, with_state):
    lengths = [1, 3, 70, 5, 64, 2]
    tensors = inputs(1, sum(lengths), 2, 3, 2, gates=gates)
    rows = inputs(len(lengths), 1, 2, 3, 2)[5:]
    borders = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    options = {"cu_seqlens": borders, "input_gate": input_gate, "with_state": with_state}
    expected = run([*tensors[:5], *rows], "reference", **options)
    assert_close(run([*tensors[:5], *rows], "torch", **options), expected, 1e-9)
    start, end = 4, 74
    alone = mlstm(*(x[:, start:end] for x in tensors[:5]), None, input_gate=input_gate, backend="torch")
    if not with_state:
        torch.testing.assert_close(expected[0][:, start:end], alone.detach())


def test_inputs_are_left_alone():
    """One row, one head, whole chunks: the layout in which nothing has to be copied."""
    tensors = inputs(1, 64, 1, 3, 2)
    before = [x.detach().clone() for x in tensors]
    run(tensors, "torch", chunk_size=16)
    assert all(torch.equal(x, y) for x, y in zip(tensors, before, strict=True))


def test_strides_are_free():
    """Slices of one projection and expanded tensors give what their copies give."""
    projection = torch.randn(2, 70, 3, 20, dtype=F64)
    q, k, v = projection[..., :6], projection[..., 6:12], projection[..., 12:20]
    gates = torch.randn(2, 3, 70, dtype=F64).transpose(1, 2)
    forget = torch.tensor([3.0], dtype=F64).expand(2, 70, 3)
    tensors = [q, k, v, gates, forget]
    expected = run([x.contiguous() for x in tensors], "reference", with_state=False)
    leaves = [x.detach().requires_grad_() for x in tensors]
    h = mlstm(*leaves, backend="torch")
    torch.testing.assert_close(h, expected[0])
    expected = mlstm(*leaves, backend="reference")
    for upstream in (torch.randn(h.mT.shape, dtype=F64).mT, torch.ones(1, dtype=F64).expand(h.shape)):
        first = torch.autograd.grad(h, leaves, upstream, retain_graph=True)
        second = torch.autograd.grad(expected, leaves, upstream, retain_graph=True)
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_keep_float32_statistics(dtype):
    tensors = inputs(2, 100, 2, 8, 8)[:5]
    low = [x.detach().to(dtype).requires_grad_() for x in tensors]
    h, last = mlstm(*low, return_state=True, backend="torch")
    assert h.dtype == dtype and all(x.dtype == torch.float32 for x in last)
    h.float().square().sum().backward()
    exact = [x.detach().double().requires_grad_() for x in low]
    expected = mlstm(*exact, backend="reference")
    expected.square().sum().backward()
    unit = torch.finfo(dtype).eps
    assert ((h - expected).abs().max() / expected.abs().max()) <= unit
    for x, y in zip(low, exact, strict=True):
        assert x.grad.dtype == dtype
        assert ((x.grad - y.grad).abs().max() / y.grad.abs().max()) <= 2 * unit


def test_mixed_types_follow_the_values():
    tensors = [x.detach() for x in inputs(1, 9, 1, 4, 4, dtype=torch.float32)[:5]]
    low = [x.bfloat16() for x in tensors[:3]] + tensors[3:]
    assert mlstm(*low).dtype == torch.bfloat16
    assert mlstm(tensors[0], *low[1:]).dtype == torch.bfloat16


@pytest.mark.slow
def test_long_sequences_keep_their_accuracy():
    """float32 over 65,536 steps against float64, with memories that last a million steps and hard resets."""
    length = 65_536
    # Positive products keep the normaliser off its floor, where the gradient jumps.
    q, k, v = torch.rand(1, length, 1, 8), torch.rand(1, length, 1, 8), torch.randn(1, length, 1, 8)
    igate, fgate = torch.randn(1, length, 1), torch.randn(1, length, 1) + 4
    fgate[:, length // 3 :] = 14.0
    fgate[:, ::9973] = -30.0
    tensors = [q, k, v, igate, fgate]
    expected = run(tensors, "torch", with_state=False)
    assert_close(run(tensors, "torch", torch.float32, with_state=False), expected, 1e-4)


def test_scale_applies_to_the_keys():
    q, k, v, i, f = (x.detach() for x in inputs(1, 5, 1, 4, 2)[:5])
    default, explicit = mlstm(q, k, v, i, f), mlstm(q, k / 2, v, i, f, scale=1.0)
    torch.testing.assert_close(default, explicit)
    torch.testing.assert_close(mlstm(q, k, v, i, f, scale=-0.5), mlstm(q, -k / 2, v, i, f, scale=1.0))


def test_errors_are_one_line_of_advice():
    q, k, v, i, f, *state = (x.detach() for x in inputs(2, 5, 3, 4, 2))
    cases = [
        ((q[0], k, v, i, f), {}, r"q must have shape \[B, T, H, K\]"),
        ((q, k[..., :3], v, i, f), {}, "k must have the shape of q"),
        ((q, k, v[:, :4], i, f), {}, r"v must have shape \[B, T, H, V\]"),
        ((q, k, v, i[..., :1], f), {}, "igate must have shape"),
        ((q, k, v, i, f[:, :1]), {}, "fgate must have shape"),
        ((q[:, :0], k[:, :0], v[:, :0], i[:, :0], f[:, :0]), {}, "size of 0"),
        ((q[:0], k[:0], v[:0], i[:0], f[:0]), {}, "size of 0"),
        ((q, k, v.long(), i, f), {}, "v must be of a floating-point type"),
        ((q, k, v, i, f, MLSTMState(state[0], state[1], state[2][:1])), {}, r"state.m must have shape \[2, 3\]"),
        ((q, k, v, i, f), {"input_gate": "tanh"}, "input_gate must be"),
        ((q, k, v, i, f), {"eps": -1.0}, "eps must not be negative"),
        ((q, k, v, i, f), {"chunk_size": 0}, "chunk_size must be positive"),
        ((q, k, v, i, f), {"scale": float("nan")}, "scale must be a finite number"),
        ((q, k, v, i, f), {"cu_seqlens": torch.tensor([0, 5])}, "B = 1"),
        ((q, k, v, i, f), {"backend": "cuda"}, "unknown backend"),
        ((q[:1], k[:1], v[:1], i[:1], f[:1]), {"cu_seqlens": torch.tensor([0, 4])}, "from 0 to T = 5"),
        ((q[:1], k[:1], v[:1], i[:1], f[:1]), {"cu_seqlens": torch.tensor([0, 3, 3, 5])}, "must increase"),
        ((q[:1], k[:1], v[:1], i[:1], f[:1]), {"cu_seqlens": torch.tensor([0.0, 5.0])}, "int32 or int64"),
    ]
    for args, options, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            mlstm(*args, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"q must have shape \[B, H, K\]"):
        mlstm_step(q, k, v, i, f)
