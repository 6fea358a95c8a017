"""Linear maps with a bias gradient of our own against torch's."""

import pytest
import torch
import torch.nn.functional as F

from xlstm_apps.core import linear as module
from xlstm_apps.core.linear import Linear, linear


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """What is for large tensors on a GPU, for small ones here."""
    monkeypatch.setattr(module, "_sums_slowly", lambda _: True)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
def test_values_and_gradients(shape):
    x, w, b = torch.randn(shape), torch.randn(4, 7), torch.randn(4)
    leaves = [t.double().requires_grad_() for t in (x, w, b)]
    upstream = torch.randn(*x.shape[:-1], 4).double()
    found = []
    for way in (F.linear, linear):
        y = way(*leaves)
        found.append([y, *torch.autograd.grad(y, leaves, upstream)])
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_gradients():
    leaves = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((5, 3), (2, 3), (2,))]
    assert torch.autograd.gradgradcheck(lambda *t: linear(*t).square(), leaves)


def test_autocast_and_strided_gradients():
    layer, x = Linear(6, 8), torch.randn(3, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        u, z = layer(x).chunk(2, -1)
    (z * u.float().sin()).sum().backward()
    assert layer.bias.grad.dtype == torch.float32
    ours = layer.bias.grad.clone()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        u, z = F.linear(x, layer.weight, layer.bias).chunk(2, -1)
    (z * u.float().sin()).sum().backward()
    torch.testing.assert_close(ours, layer.bias.grad, rtol=2e-2, atol=2e-2)


def test_frozen_bias_no_bias_and_compiled_graphs_are_torchs(monkeypatch):
    monkeypatch.setattr(module._BiasGradient, "apply", lambda *_: pytest.fail("our own"))
    x, w, b = torch.randn(5, 3), torch.randn(2, 3, requires_grad=True), torch.randn(2)
    torch.testing.assert_close(linear(x, w, b), F.linear(x, w, b))
    torch.testing.assert_close(linear(x, w, None), F.linear(x, w))
    compiled = torch.compile(linear, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, w, b.requires_grad_()), F.linear(x, w, b))
