"""Gates of the mLSTM by folded weights against the plain way, which lays q, k and v beside each other."""

import pytest
import torch
from stacks import make
from torch._subclasses.fake_tensor import FakeTensorMode

from xlstm_apps.core import mlstm
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.mlstm import mLSTMLayer


def layer_of(width, **options):
    torch.manual_seed(5)
    layer = mLSTMLayer(xLSTMConfig(embedding_dim=width, num_blocks=2, num_heads=2, proj_round_to=6, **options))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        layer.gates.weight.mul_(layer.config.inner_dim**-0.5)
    return layer


def both_ways(layer, u, a, monkeypatch):
    """Plain and folded."""
    for folds in (False, True):
        monkeypatch.setattr(layer, "_folds", lambda _, folds=folds: folds)
        yield layer.cell_inputs(u, a)


@pytest.mark.parametrize("options", [{}, {"qkv_bias": True}, {"bias": True, "qkv_bias": False}, {"qkv_block_size": 6}])
def test_folded_gates_equal_plain_ones_in_values_and_gradients(options, monkeypatch):
    layer = layer_of(24, **options).double()
    u, a = (torch.randn(2, 9, layer.config.inner_dim).double().requires_grad_() for _ in range(2))
    weights = [*layer.gates.parameters(), *(p for f in "qkv" for p in getattr(layer, f"{f}_proj").parameters())]
    found = []
    for outputs in both_ways(layer, u, a, monkeypatch):
        upstream = [torch.arange(y.numel()).sin().double().view_as(y) for y in outputs]
        found.append([*outputs, *torch.autograd.grad(outputs, [u, a, *weights], upstream)])
    for plain, folded in zip(*found, strict=True):
        assert torch.allclose(plain, folded, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("autocast", [False, True])
def test_folded_gates_in_half_precision_are_nearer_to_the_truth(autocast, monkeypatch):
    layer = layer_of(96, qkv_bias=True)
    u, a = (torch.randn(1, 500, layer.config.inner_dim).bfloat16() for _ in range(2))
    if not autocast:
        layer.bfloat16()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        plain, folded = (gates for *_, gates in both_ways(layer, u, a, monkeypatch))
    monkeypatch.undo()
    exact = layer.double().cell_inputs(u.double(), a.double())[-1]
    errors = [(gates - exact).square().mean((0, 1)).sqrt() for gates in (plain, folded)]
    assert folded.dtype == torch.float32
    assert (errors[1] < 1.1 * errors[0]).all()
    assert (errors[1][2:] < 0.4 * errors[0][2:]).all()  # forget gates, which are large


def test_steps_and_segments_equal_a_folded_pass(monkeypatch):
    monkeypatch.setattr(mlstm, "LEAST_FOLDED", 0)
    backbone, x = make("mlstm", bias=True), torch.randn(2, 40, 24).double()
    calls = []
    fold = mLSTMLayer._folded_gates
    monkeypatch.setattr(mLSTMLayer, "_folded_gates", lambda *args: calls.append(args[1].shape[1]) or fold(*args))
    y, last = backbone(x, return_state=True)
    assert calls == [40, 40]
    head, state = backbone(x[:, :30], return_state=True)
    assert calls[2:] == [30, 30]
    steps = []
    for t in range(30, 40):
        step, state = backbone.step(x[:, t], state)
        steps.append(step)
    assert len(calls) == 4
    torch.testing.assert_close(torch.cat([head, torch.stack(steps, 1)], 1), y, rtol=1e-9, atol=1e-11)
    for ours, theirs in zip(state.blocks, last.blocks, strict=True):
        torch.testing.assert_close(ours.cell.c, theirs.cell.c, rtol=1e-9, atol=1e-11)


def test_gates_are_folded_where_that_is_faster():
    layer = layer_of(24)
    width = layer.config.inner_dim
    assert layer._folds(torch.zeros(1, mlstm.LEAST_FOLDED // width + 1, width))
    assert not layer._folds(torch.zeros(1, mlstm.LEAST_FOLDED // width - 1, width))
    wide = layer_of(384, qkv_block_size=384)
    rows = mlstm.LEAST_FOLDED // wide.config.inner_dim + 1
    assert not wide._folds(torch.zeros(1, rows, wide.config.inner_dim))


def test_on_a_gpu_gates_are_folded_in_graphs_alone(monkeypatch):
    layer = layer_of(24)
    width = layer.config.inner_dim
    rows = mlstm.LEAST_FOLDED_GRAPH // width
    with FakeTensorMode():
        many, few = (torch.empty(1, count, width, device="cuda") for count in (rows + 1, rows - 1))
        assert not layer._folds(many)
        monkeypatch.setattr(mlstm, "recording", lambda: True)
        assert layer._folds(many) and not layer._folds(few)


def test_turned_queries_and_traced_graphs_are_not_folded(monkeypatch):
    monkeypatch.setattr(mlstm, "LEAST_FOLDED", 0)
    turned, plain = make("rotary"), make("mlstm")
    x = torch.randn(2, 40, 24).double()
    expected = plain(x)
    monkeypatch.setattr(mLSTMLayer, "_folded_gates", lambda *_: pytest.fail("folded"))
    assert turned(x).isfinite().all()
    compiled = torch.compile(plain, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
