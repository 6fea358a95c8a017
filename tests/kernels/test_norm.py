"""The gated norm in plain torch, what it refuses, and its place in compiled graphs."""

import norm_cases as cases
import pytest
import torch
import torch.nn.functional as F

from xlstm_apps.core.layers import BlockDiagonalLinear, MultiHeadNorm
from xlstm_apps.kernels import gated_norm
from xlstm_apps.kernels.norm import torch as plain


@pytest.mark.parametrize("activation", ["silu", "sigmoid"])
@pytest.mark.parametrize("case", [{}, {"bias": False}, {"skip": False}, {"bias": False, "skip": False}], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 4, 6), (3, 2, 2, 96)], ids=str)
def test_plain_torch_against_the_reference(shape, case, activation):
    cases.check(plain, 1e-5, *shape, activation=activation, **case)


def test_the_reference_is_a_group_norm_and_a_gate():
    h, gate, weight, bias, a, skip = cases.make(2, 5, 4, 6)
    rows = F.group_norm(h.reshape(10, 24), 4, weight, bias, eps=1e-3).reshape(2, 5, 24)
    options = {"eps": 1e-3, "backend": "reference"}
    found = gated_norm(h, gate, weight, bias, activation="sigmoid", **options)
    torch.testing.assert_close(found, rows * torch.sigmoid(gate))
    found = gated_norm(h, gate, weight, bias, a, skip, activation="silu", **options)
    torch.testing.assert_close(found, (rows + skip * a) * F.silu(gate))


def test_the_module_opens_its_norm_by_the_gate():
    h, gate, *_, a, skip = cases.make(2, 5, 4, 6)
    norm = MultiHeadNorm(24, 1e-5, bias=True)
    torch.nn.init.normal_(norm.bias)
    torch.testing.assert_close(norm.gated(h, gate, "sigmoid"), norm(h) * torch.sigmoid(gate))
    torch.testing.assert_close(norm.gated(h, gate, "silu", a, skip), (norm(h) + skip * a) * F.silu(gate))


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_half_precision_keeps_its_type_under_autocast(backend):
    h, gate, weight, bias, a, skip = cases.make(2, 5, 4, 6)
    half = [x.bfloat16() for x in (h, gate, a)]
    with torch.autocast("cpu", torch.bfloat16):
        y = gated_norm(*half[:2], weight, bias, half[2], skip, eps=1e-5, activation="silu", backend=backend)
    assert y.dtype == torch.bfloat16
    expected = gated_norm(h, gate, weight, bias, a, skip, eps=1e-5, activation="silu", backend="reference")
    assert cases.difference(y, expected) < 0.01


def test_maps_of_blocks_take_rows_that_lie_apart():
    wide = torch.randn(2, 300, 64)
    linear = BlockDiagonalLinear(32, 8, bias=True)
    torch.nn.init.normal_(linear.bias)
    expected = torch.einsum("...ni,noi->...no", wide[..., 32:].unflatten(-1, (8, 4)), linear.weight).flatten(-2)
    torch.testing.assert_close(linear(wide[..., 32:]), expected + linear.bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h": torch.zeros(2, 5, 6)}, r"h must have shape \[B, T, H, D\], not \[2, 5, 6\]"),
        ({"h": torch.zeros(2, 0, 2, 3)}, "must not have a size of 0"),
        ({"h": torch.zeros(2, 5, 2, 3, dtype=torch.int32)}, "h must be of a floating-point type"),
        ({"gate": torch.zeros(2, 5, 5)}, r"gate must have shape \[2, 5, 6\], not \[2, 5, 5\]"),
        ({"weight": torch.zeros(3)}, r"weight must have shape \[6\], not \[3\]"),
        ({"bias": torch.zeros(6, device="meta")}, "bias is on meta but h is on cpu"),
        ({"a": torch.zeros(2, 5, 6)}, "a and skip belong together"),
        ({"a": torch.zeros(2, 5, 1), "skip": torch.zeros(6)}, r"a must have shape \[2, 5, 6\]"),
        ({"activation": "relu"}, "activation must be 'silu' or 'sigmoid', not 'relu'"),
        ({"backend": "native"}, "unknown backend"),
    ],
)
def test_what_is_refused(change, message):
    tensors = {"h": torch.zeros(2, 5, 2, 3), "gate": torch.zeros(2, 5, 6), "weight": torch.zeros(6)}
    with pytest.raises(ValueError, match=message):
        gated_norm(**{**tensors, "eps": 1e-5, "activation": "silu", **change})


def test_compiles_into_one_graph():
    torch.compiler.reset()
    leaves = [x.requires_grad_() for x in cases.make(2, 5, 2, 6)]

    def function(*x):
        return gated_norm(*x, eps=1e-5, activation="silu").square().sum()

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(function(*leaves), leaves)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)
