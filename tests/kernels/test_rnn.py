"""`rnn`: values and every gradient against the plain recurrence, torch's own layers and published results."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from xlstm_apps.kernels import RNNState, rnn, rnn_step

F64 = torch.float64
CELLS = ["slstm", "lstm", "gru", "elman"]
GATES = {"slstm": 4, "lstm": 4, "gru": 3, "elman": 1}
STATES = {"slstm": 4, "lstm": 2, "gru": 1, "elman": 1}


def inputs(cell, batch, length, heads, dim, *, scale=1.0, dtype=F64):
    """gates, recurrent, bias and an initial state."""
    gates = scale * torch.randn(batch, length, GATES[cell], heads, dim, dtype=dtype)
    recurrent = torch.randn(GATES[cell], heads, dim, dim, dtype=dtype) / dim**0.5
    bias = torch.randn(4 if cell == "gru" else GATES[cell], heads, dim, dtype=dtype)
    states = [torch.randn(batch, heads, dim, dtype=dtype) for _ in range(STATES[cell])]
    if cell == "slstm":
        states[2] = states[2].abs() + 0.1
    return [x.requires_grad_() for x in (gates, recurrent, bias, *states)]


def run(tensors, cell, backend, dtype=F64, with_state=True):
    tensors = [x.detach().to(dtype).requires_grad_() for x in tensors]
    state = RNNState(*tensors[3:]) if with_state else None
    h, last = rnn(*tensors[:3], state, cell=cell, return_state=True, backend=backend)
    outputs = [h, *(x for x in last if x is not None)]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, dtype=F64, generator=generator).to(x.dtype) for x in outputs]
    sum((x * w).sum() for x, w in zip(outputs, weights, strict=True) if x.requires_grad).backward()
    return [x.detach().double() for x in outputs + [x.grad for x in tensors if x.grad is not None]]


def assert_close(actual, expected, tolerance):
    for index, (x, y) in enumerate(zip(actual, expected, strict=True)):
        assert x.isfinite().all(), index
        error = (x - y).abs().max() / y.abs().max().clamp(min=1e-3)
        assert error <= tolerance, f"result {index}: relative error {error:.1e}"


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_the_derivatives_of_the_outputs(cell, backend):
    def function(gates, recurrent, bias, *state):
        h, last = rnn(gates, recurrent, bias, RNNState(*state), cell=cell, return_state=True, backend=backend)
        return h, *(x for x in last if x is not None)

    assert gradcheck(function, inputs(cell, 2, 4, 2, 3))


@pytest.mark.parametrize("cell", CELLS)
def test_reference_has_second_derivatives(cell):
    tensors = inputs(cell, 1, 3, 1, 2)[:3]
    assert gradgradcheck(lambda *x: rnn(*x, cell=cell, backend="reference"), tensors)


@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 7, 2, 4), (2, 65, 3, 5)])
@pytest.mark.parametrize("cell", CELLS)
def test_torch_is_the_recurrence(cell, shape, with_state):
    tensors = inputs(cell, *shape)
    expected = run(tensors, cell, "reference", with_state=with_state)
    assert_close(run(tensors, cell, "torch", with_state=with_state), expected, 1e-12)
    expected = run([x.float() for x in tensors], cell, "reference", with_state=with_state)
    assert_close(run(tensors, cell, "torch", torch.float32, with_state=with_state), expected, 1e-5)


@pytest.mark.parametrize("scale", [30.0, 300.0])
@pytest.mark.parametrize("cell", CELLS)
def test_extreme_gates(cell, scale):
    """300 leaves the range of exp in float32, so the sLSTM's normaliser is carried as a logarithm."""
    tensors = inputs(cell, 2, 40, 2, 3, scale=scale)
    expected = run([x.float() for x in tensors], cell, "reference", with_state=False)
    assert_close(run(tensors, cell, "torch", torch.float32, with_state=False), expected, 3e-5)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(("igate", "fgate"), [(30.0, 30.0), (-30.0, -30.0), (0.0, -torch.inf), (-200.0, 200.0)])
def test_constant_and_infinite_gates_give_finite_gradients(backend, dtype, igate, fgate):
    tensors = inputs("slstm", 2, 30, 1, 3, dtype=dtype)[:3]
    tensors[0].data[:, :, 0], tensors[0].data[:, :, 1] = igate, fgate
    results = run(tensors, "slstm", backend, dtype, with_state=False)
    assert_close(results, run(tensors, "slstm", "reference", with_state=False), 1e-4)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_pass_is_segments_is_steps(cell, backend):
    gates, recurrent, bias, *state = (x.detach() for x in inputs(cell, 2, 50, 2, 3))
    options = {"cell": cell, "backend": backend}
    whole, last = rnn(gates, recurrent, bias, RNNState(*state), return_state=True, **options)
    parts, memory = [], RNNState(*state)
    for segment in (slice(0, 1), slice(1, 33), slice(33, 50)):
        h, memory = rnn(gates[:, segment], recurrent, bias, memory, return_state=True, **options)
        parts.append(h)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    steps, stepped = [], RNNState(*state)
    for t in range(50):
        h, stepped = rnn_step(gates[:, t], recurrent, bias, stepped, **options)
        steps.append(h)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    for memory_field, stepped_field, field in zip(memory, stepped, last, strict=True):
        if field is not None:
            torch.testing.assert_close(memory_field, field)
            torch.testing.assert_close(stepped_field, field)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_in_place_is_the_step(cell, backend):
    gates, recurrent, bias, *fields = (x.detach() for x in inputs(cell, 2, 3, 2, 3))
    options = {"cell": cell, "backend": backend}
    memory, state = RNNState(*(x.clone() for x in fields)), RNNState(*fields)
    for t in range(3):
        expected, state = rnn_step(gates[:, t], recurrent, bias, state, **options)
        h, returned = rnn_step(gates[:, t], recurrent, bias, memory, inplace=True, **options)
        assert returned is memory and torch.equal(h, expected)
        assert all(x is y is None or torch.equal(x, y) for x, y in zip(memory, state, strict=True))
    with pytest.raises(ValueError, match="needs a state"):
        rnn_step(gates[:, 0], recurrent, bias, inplace=True, **options)


def test_an_slstm_memory_may_be_written_in_any_scale():
    gates, recurrent, bias, h, c, n, m = (x.detach() for x in inputs("slstm", 2, 5, 2, 3))
    expected = rnn(gates, recurrent, bias, RNNState(h, c, n, m))
    for backend in ("reference", "torch"):
        shifted = RNNState(h, c * torch.e**2, n * torch.e**2, m - 2)
        torch.testing.assert_close(rnn(gates, recurrent, bias, shifted, backend=backend), expected)
        empty = RNNState(*[torch.zeros_like(h)] * 4)
        nothing = rnn(gates, recurrent, bias, backend=backend)
        torch.testing.assert_close(rnn(gates, recurrent, bias, empty, backend=backend), nothing)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize(("cell", "layer"), [("lstm", "LSTM"), ("gru", "GRU"), ("elman", "RNN")])
def test_one_head_is_the_layer_of_torch(cell, layer, backend):
    batch, length, dim = 3, 17, 5
    module = getattr(torch.nn, layer)(4, dim, batch_first=True, dtype=F64)
    x = torch.randn(batch, length, 4, dtype=F64)
    expected, _ = module(x)
    upstream = torch.randn_like(expected)
    expected.backward(upstream)

    count = GATES[cell]
    gates = (x @ module.weight_ih_l0.detach().T).view(batch, length, count, 1, dim)
    recurrent = module.weight_hh_l0.detach().view(count, 1, dim, dim).requires_grad_()
    inner, outer = (b.detach().view(count, 1, dim) for b in (module.bias_ih_l0, module.bias_hh_l0))
    bias = torch.cat([inner[:2] + outer[:2], inner[2:], outer[2:]]) if cell == "gru" else inner + outer
    h = rnn(gates, recurrent, bias.requires_grad_(), cell=cell, backend=backend)
    torch.testing.assert_close(h.flatten(2), expected)
    h.backward(upstream.unsqueeze(2))
    torch.testing.assert_close(recurrent.grad.flatten(0, 2), module.weight_hh_l0.grad)
    torch.testing.assert_close(bias.grad[:count].flatten(), module.bias_ih_l0.grad)
    torch.testing.assert_close(bias.grad[-1].flatten(), module.bias_hh_l0.grad[-dim:])


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_published_results(cell, backend, golden):
    tensors, _ = golden(f"rnn_{cell}")
    # The GRU file keeps its source's order: R = new, reset, update; b = new (recurrent side), reset, update, new.
    rows, sides = ([1, 2, 0], [1, 2, 3, 0]) if cell == "gru" else (slice(None), slice(None))
    gates, recurrent, bias = tensors["Wx"], tensors["R"][rows], tensors["b"][sides]
    leaves = [x.clone().requires_grad_() for x in (gates, recurrent, bias)]
    h, last = rnn(*leaves, cell=cell, return_state=True, backend=backend)
    h.backward(tensors["dh"])
    expected = [tensors["h"], tensors["dWx"], tensors["dR"][rows], tensors["db"][sides]]
    assert_close([h.detach(), *(x.grad for x in leaves)], expected, 2e-6)
    published = tensors["last"][:, :, 0]
    torch.testing.assert_close(last.h, published[0])
    if cell == "lstm":
        torch.testing.assert_close(last.c, published[1])
    if cell == "slstm":
        torch.testing.assert_close(last.c / last.n, published[1] / published[2])
        torch.testing.assert_close(last.m + last.n.log(), published[3] + published[2].log())


def test_strides_are_free():
    base = torch.randn(2, 3, 4, 4, 9, dtype=F64)
    gates = base.permute(0, 4, 2, 1, 3).requires_grad_()
    _, recurrent, bias = inputs("slstm", 2, 9, 3, 4)[:3]
    expected = run([gates.contiguous(), recurrent, bias], "slstm", "reference", with_state=False)
    h = rnn(gates, recurrent.detach().mT.contiguous().mT, bias, backend="torch")
    torch.testing.assert_close(h, expected[0])
    assert torch.autograd.grad(h.sum(), gates)[0].shape == gates.shape


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_gates_keep_float32_states(cell):
    tensors = inputs(cell, 2, 20, 2, 4, dtype=torch.float32)[:3]
    low = [tensors[0].detach().bfloat16().requires_grad_(), *tensors[1:]]
    h, last = rnn(*low, cell=cell, return_state=True)
    assert h.dtype == torch.bfloat16 and last.h.dtype == torch.float32
    exact = [x.detach().double().requires_grad_() for x in low]
    expected = rnn(*exact, cell=cell, backend="reference")
    h.float().square().sum().backward()
    expected.square().sum().backward()
    unit = torch.finfo(torch.bfloat16).eps
    assert (h - expected).abs().max() / expected.abs().max() <= unit
    for x, y in zip(low, exact, strict=True):
        assert x.grad.dtype == x.dtype
        assert (x.grad - y.grad).abs().max() / y.grad.abs().max() <= 3 * unit


def test_errors_are_one_line_of_advice():
    gates, recurrent, bias, *state = (x.detach() for x in inputs("slstm", 2, 5, 2, 3))
    full = RNNState(*state)
    cases = [
        ((gates[0], recurrent, bias), {}, r"gates must have shape \[B, T, G, H, D\]"),
        ((gates, recurrent, bias), {"cell": "mgu"}, "cell must be one of"),
        ((gates, recurrent, bias), {"cell": "gru"}, "cell gru has 3 gates"),
        ((gates[:, :0], recurrent, bias), {}, "size of 0"),
        ((gates[:0], recurrent, bias), {}, "size of 0"),
        ((gates, recurrent[..., :2], bias), {}, r"recurrent must have shape \[G, H, D_out, D_in\]"),
        ((gates, recurrent, bias[:3]), {}, r"bias of cell slstm must have shape \[4, 2, 3\]"),
        ((gates, recurrent, bias, RNNState(state[0])), {}, "state.c is None"),
        ((gates, recurrent, bias, full._replace(m=state[3][:1])), {}, "state.m must have shape"),
        ((gates, recurrent, bias, full), {"cell": "lstm"}, "cell lstm has no state.n"),
        ((gates, recurrent, bias.long()), {}, "bias must be of a floating-point type"),
    ]
    for args, options, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            rnn(*args, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"gates must have shape \[B, G, H, D\]"):
        rnn_step(gates, recurrent, bias)
