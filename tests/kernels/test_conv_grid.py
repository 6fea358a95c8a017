"""The convolution over a grid by torch's own, what it refuses, and its place in compiled graphs."""

import conv_grid_cases as cases
import pytest
import torch
import torch.nn.functional as F

from xlstm_apps.kernels import depthwise_conv2d
from xlstm_apps.kernels.conv.grid import torch as plain


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("shape", [(2, 1, 1, 3, 1), (1, 1, 9, 32, 3), (3, 7, 7, 6, 5), (2, 5, 13, 1, 3)], ids=str)
def test_plain_torch_against_the_reference(shape, activation):
    cases.check(plain, 1e-6, *shape, activation=activation)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_it_is_the_depthwise_convolution_of_torch(backend):
    conv = torch.nn.Conv2d(6, 6, 5, padding=2, groups=6)
    x = torch.randn(2, 6, 4, 7)
    tokens, expected = x.flatten(2).mT, conv(x)
    found = depthwise_conv2d(tokens, conv.weight, conv.bias, (4, 7), backend=backend)
    torch.testing.assert_close(found, expected.flatten(2).mT)
    found = depthwise_conv2d(tokens, conv.weight, conv.bias, (4, 7), activation="silu", backend=backend)
    torch.testing.assert_close(found, F.silu(expected).flatten(2).mT)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_gives_its_own_type(dtype, backend):
    x, weight, bias = (t.requires_grad_() for t in cases.make(2, 4, 5, 6, 3))
    expected = depthwise_conv2d(x, weight, bias, (4, 5), activation="silu")
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise_conv2d(x.to(dtype), weight, bias, (4, 5), activation="silu", backend=backend)
    assert y.dtype == torch.bfloat16
    assert cases.difference(y, expected) < 6e-3
    assert {t.dtype for t in torch.autograd.grad(y.float().sum(), (x, weight, bias))} == {torch.float32}


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_half_precision_beside_wider_weights_keeps_its_type(backend):
    x, weight, bias = cases.make(2, 4, 5, 6, 3)
    y = depthwise_conv2d(x.bfloat16(), weight, bias, (4, 5), backend=backend)
    assert y.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(20, 4)}, r"x must have shape \[N, height \* width, E\], not \[20, 4\]"),
        ({"x": torch.zeros(0, 20, 4)}, "must not have a size of 0"),
        ({"x": torch.zeros(2, 20, 4, dtype=torch.int32)}, "x must be of a floating-point type"),
        ({"grid": (4, 6)}, r"grid must be a height and a width whose product is 20, as x has places, not \(4, 6\)"),
        ({"grid": (20,)}, "grid must be a height and a width"),
        ({"grid": (-4, -5)}, "grid must be a height and a width"),
        ({"weight": torch.zeros(4, 1, 3, 5)}, r"weight must have shape \[E = 4, 1, k, k\] with an odd k"),
        ({"weight": torch.zeros(4, 1, 2, 2)}, r"with an odd k, not \[4, 1, 2, 2\]"),
        ({"weight": torch.zeros(3, 1, 3, 3)}, r"with an odd k, not \[3, 1, 3, 3\]"),
        ({"weight": torch.zeros(())}, r"with an odd k, not \[\]"),
        ({"bias": torch.zeros(3)}, r"bias must have shape \[4\], not \[3\]"),
        ({"bias": torch.zeros(4, device="meta")}, "bias is on meta but x is on cpu"),
        ({"activation": "gelu"}, "activation must be 'silu' or None, not 'gelu'"),
        ({"backend": "native"}, "unknown backend"),
    ],
)
def test_what_is_refused(change, message):
    arguments = {"x": torch.zeros(2, 20, 4), "weight": torch.zeros(4, 1, 3, 3), "bias": torch.zeros(4), "grid": (4, 5)}
    with pytest.raises(ValueError, match=message) as refusal:
        depthwise_conv2d(**arguments | change)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("autocast", [False, True])
def test_compiles_into_one_graph(autocast):
    torch.compiler.reset()
    leaves = [x.requires_grad_() for x in cases.make(2, 4, 5, 6, 3)]

    def function(*leaves):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return depthwise_conv2d(*leaves, (4, 5), activation="silu").float().square().sum()

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(function(*leaves), leaves)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)
