"""The short way of the torch backend: sequences of one chunk from the empty memory, where h alone is wanted."""

import pytest
import torch
from torch.autograd import gradcheck

from xlstm_apps.kernels import mlstm
from xlstm_apps.kernels.mlstm.short import Short

NAMES = ("h", "dq", "dk", "dv", "di", "df")


def call(T=7, D=3, V=2, spread=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape, times=1.0):
        return (times * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()

    q, k, v = draw(2, T, 2, D), draw(2, T, 2, D), draw(2, T, 2, V)
    return q, k, v, draw(2, T, 2, times=3 * spread), draw(2, T, 2, times=3 * spread)


def taken(tensors, **options):
    """h and the gradients of all inputs."""
    tensors = [x.detach().requires_grad_() for x in tensors]
    h = mlstm(*tensors, **options)
    h = h[0] if options.get("return_state") else h
    upstream = torch.randn(h.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (h.double() * upstream).sum().backward()
    return [h.detach(), *(x.grad for x in tensors)]


def test_short_calls_go_this_way_and_no_others(monkeypatch):
    seen = []
    real = Short.apply
    monkeypatch.setattr(Short, "apply", lambda *args: seen.append(args[0].shape[1]) or real(*args))
    tensors = call(T=9)
    for _ in range(2):  # the first call of a kind, and those that are remembered
        mlstm(*tensors, backend="torch")
        mlstm(*tensors, backend="torch", chunk_size=4)
        mlstm(*tensors, backend="torch", normalize=False)
        mlstm(*tensors, backend="torch", input_gate="sigmoid")
        mlstm(*tensors, backend="torch", return_state=True)
        mlstm(*tensors, backend="reference")
    assert seen == [9, 9]


@pytest.mark.parametrize("spread", [1.0, 40.0])  # at 40 weights do not fit into factors of queries and keys
@pytest.mark.parametrize("T", [1, 16, 33])
def test_as_the_recurrence_and_as_exact_as_the_long_way(T, spread):
    tensors = call(T=T, spread=spread)
    for x, y in zip(taken(tensors, backend="torch"), taken(tensors, backend="reference"), strict=True):
        assert (x - y).abs().max() <= 1e-9 * y.abs().max().clamp(min=1e-6)
    low = [x.float() for x in tensors]
    long = taken(low, backend="torch", return_state=True)
    for name, x, y in zip(NAMES, taken(low, backend="torch"), long, strict=True):
        assert x.dtype == torch.float32 and x.isfinite().all(), name
        assert (x - y).abs().max() <= 1e-5 * y.abs().max().clamp(min=0.1), name


def test_gradients_are_the_derivatives():
    assert gradcheck(lambda *x: mlstm(*x, backend="torch", eps=1e-2), call(T=6))


def test_half_precision_and_autocast_keep_types():
    low = [x.to(torch.bfloat16) for x in call(T=12, D=8, V=8)]
    exact = taken([x.double() for x in low], backend="reference")
    for context in (torch.autocast("cpu", torch.bfloat16, enabled=False), torch.autocast("cpu", torch.bfloat16)):
        with context:
            found = taken(low, backend="torch")
        for name, x, y in zip(NAMES, found, exact, strict=True):
            assert x.dtype == torch.bfloat16, name
            assert (x.double() - y).abs().max() <= 2e-2 * y.abs().max(), name
