"""The operations inside the rest of torch: compile, export, autocast, and its own checks of registered operators."""

import pytest
import torch
from torch.library import opcheck

from xlstm_apps.kernels import MLSTMState, RNNState, mlstm, mlstm_step, rnn, rnn_step
from xlstm_apps.kernels.mlstm.torch import mlstm_torch_backward, mlstm_torch_forward
from xlstm_apps.kernels.rnn.torch import rnn_torch_backward, rnn_torch_forward

GATES = {"slstm": 4, "lstm": 4, "gru": 3, "elman": 1}


def mlstm_inputs(batch=2, length=20, heads=2, key_dim=4, value_dim=3):
    q, k = torch.randn(2, batch, length, heads, key_dim)
    gates = torch.randn(2, batch, length, heads)
    return [x.requires_grad_() for x in (q, k, torch.randn(batch, length, heads, value_dim), *gates)]


def mlstm_state(batch=2, heads=2, key_dim=4, value_dim=3):
    sizes = ((batch, heads, key_dim, value_dim), (batch, heads, key_dim), (batch, heads))
    return MLSTMState(*(torch.randn(size).requires_grad_() for size in sizes))


def rnn_inputs(cell, batch=2, length=9, heads=2, dim=3):
    count = GATES[cell]
    shapes = [(batch, length, count, heads, dim), (count, heads, dim, dim), (4 if cell == "gru" else count, heads, dim)]
    return [torch.randn(shape).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
def test_mlstm_operators_pass_the_checks_of_torch(with_state, packed):
    tensors = mlstm_inputs(batch=1) if packed else mlstm_inputs()
    state = mlstm_state(3 if packed else 2) if with_state else (None, None, None)
    borders = torch.tensor([0, 4, 5, 20]) if packed else None
    opcheck(mlstm_torch_forward, (*tensors, *state, borders, True, True, 1e-6, 0.5, 8, True))
    saved = mlstm_torch_forward(*tensors, *state, borders, True, True, 1e-6, 0.5, 8, True)
    h, c, _, m, memory, reading = (x.detach() for x in saved)
    inputs = [None if x is None else x.detach() for x in (*tensors, *state)]
    args = (h, c, None, m, *inputs, borders, h, memory, reading, True, True, 1e-6, 0.5, 8)
    opcheck(mlstm_torch_backward, args, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("save", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_rnn_operators_pass_the_checks_of_torch(cell, save):
    tensors = rnn_inputs(cell)
    state = [torch.randn(2, 2, 3).requires_grad_() for _ in range(3)]
    h, c, log_n = state[0], state[1] if cell in ("slstm", "lstm") else None, state[2] if cell == "slstm" else None
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    opcheck(rnn_torch_forward, (*tensors, h, c, log_n, cell, save), test_utils=tests if save else tests[:3])
    if save:
        output, last, *_, pre, trace, aux = (x.detach() for x in rnn_torch_forward(*tensors, h, c, log_n, cell, True))
        args = (output, last, None, None, *(x.detach() for x in tensors), pre, trace, aux, cell)
        opcheck(rnn_torch_backward, args, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_mlstm_compiles_into_one_graph(compiler):
    def function(q, k, v, i, f, c, n, m):
        h, last = mlstm(q, k, v, i, f, MLSTMState(c, n, m), return_state=True)
        step, _ = mlstm_step(q[:, 0], k[:, 0], v[:, 0], i[:, 0], f[:, 0], last)
        return h.sum() + step.sum() + last.c.sum()

    torch.compiler.reset()
    tensors = [*mlstm_inputs(), *mlstm_state()]
    compiled = torch.compile(function, fullgraph=True, backend=compiler)
    expected = torch.autograd.grad(function(*tensors), tensors)
    torch.testing.assert_close(torch.autograd.grad(compiled(*tensors), tensors), expected)


@pytest.mark.parametrize("cell", GATES)
def test_rnn_compiles_into_one_graph(cell):
    def function(gates, recurrent, bias):
        h, last = rnn(gates, recurrent, bias, cell=cell, return_state=True)
        step, _ = rnn_step(gates[:, 0], recurrent, bias, last, cell=cell)
        return h.sum() + step.sum()

    torch.compiler.reset()
    tensors = rnn_inputs(cell)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(function(*tensors), tensors)
    torch.testing.assert_close(torch.autograd.grad(compiled(*tensors), tensors), expected)


def test_packed_documents_compile():
    torch.compiler.reset()
    tensors, borders = mlstm_inputs(batch=1), torch.tensor([0, 7, 20])
    compiled = torch.compile(lambda *x: mlstm(*x, cu_seqlens=borders), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*tensors), mlstm(*tensors, cu_seqlens=borders))


class Both(torch.nn.Module):
    def forward(self, q, k, v, igate, fgate, gates, recurrent, bias):
        h, state = rnn(gates, recurrent, bias, return_state=True)
        return mlstm(q, k, v, igate, fgate), h, state.c


@pytest.mark.parametrize("strict", [False, True])
def test_export_leaves_batch_and_length_free(strict):
    torch.compiler.reset()
    tensors = [x.detach() for x in (*mlstm_inputs(), *rnn_inputs("slstm", length=20))]
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2)
    free = {0: batch, 1: length}
    program = torch.export.export(Both(), tuple(tensors), dynamic_shapes=[free] * 6 + [None] * 2, strict=strict)
    others = [x.detach() for x in (*mlstm_inputs(3, 131), *rnn_inputs("slstm", 3, 131))]
    others[6:] = tensors[6:]
    torch.testing.assert_close(program.module()(*others), Both()(*others))


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_autocast_leaves_the_recurrence_exact(backend):
    tensors, cells = mlstm_inputs(), rnn_inputs("slstm")
    step = [x[:, 0] for x in tensors]

    def results():
        h = mlstm(*tensors, backend=backend)
        y = rnn(*cells, backend=backend)
        one, _ = mlstm_step(*step, backend=backend)
        other, _ = rnn_step(cells[0][:, 0], *cells[1:], RNNState(*torch.ones(4, 2, 2, 3)), backend=backend)
        return h, y, one, other

    def gradients(outputs):
        return torch.autograd.grad(sum(x.sum() for x in outputs), [*tensors, *cells])

    expected = results()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = results()
        torch.testing.assert_close(outputs, expected)
        if backend == "torch":  # not the place to run it, but people do
            torch.testing.assert_close(gradients(results()), gradients(expected))
    torch.testing.assert_close(gradients(outputs), gradients(results()))


def test_no_graph_is_kept_without_gradients():
    tensors = mlstm_inputs()
    with torch.no_grad():
        assert mlstm(*tensors).grad_fn is None
    assert mlstm_torch_forward(*tensors, None, None, None, None, True, True, 1e-6, 0.5, 8, False)[4].numel() == 0


def test_inference_mode_leaves_nothing_behind():
    """Buffers kept from call to call must work in training after having been made in inference mode."""
    tensors, cells = mlstm_inputs(length=33, heads=3), rnn_inputs("slstm")
    with torch.inference_mode():
        first, other = mlstm(*tensors, backend="torch"), rnn(*cells, backend="torch")
    h, y = mlstm(*tensors, backend="torch"), rnn(*cells, backend="torch")
    torch.testing.assert_close((h, y), (first.clone(), other.clone()))
    torch.autograd.grad(h.sum() + y.sum(), [*tensors, *cells])
