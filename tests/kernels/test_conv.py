"""The causal convolution in plain torch, what it refuses, and its place in compiled graphs."""

import conv_cases as cases
import pytest
import torch
import torch.nn.functional as F

from xlstm_apps.kernels import causal_conv1d
from xlstm_apps.kernels.conv import reference
from xlstm_apps.kernels.conv import torch as plain


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("case", [{}, {"window": True}, {"packed": True}], ids=str)
@pytest.mark.parametrize(("T", "taps"), [(1, 1), (1, 4), (1, 16), (3, 16), (50, 2), (65, 4), (65, 16)])
def test_plain_torch_against_the_reference(T, taps, case, activation):
    cases.check(plain, 1e-6, 2, T, 6, taps, activation=activation, **case)


def test_the_reference_is_the_left_padded_depthwise_convolution():
    x, weight, bias = torch.randn(2, 9, 6), torch.randn(4, 6), torch.randn(6)
    padded = F.pad(x.mT, (3, 0))
    expected = F.conv1d(padded, weight.T.unsqueeze(1), bias, groups=6).mT
    torch.testing.assert_close(causal_conv1d(x, weight, bias, backend="reference"), expected)
    with_activation = causal_conv1d(x, weight, bias, activation="silu", backend="reference")
    torch.testing.assert_close(with_activation, F.silu(expected))


@pytest.mark.parametrize("module", [reference, plain], ids=["reference", "torch"])
def test_documents_and_segments(module):
    cases.check_packed_equals_separate(module, 2, 50, 6, 4)
    cases.check_segments_equal_one_pass(module, 2, 20, 6, 4)
    cases.check_segments_equal_one_pass(module, 1, 9, 3, 7)


@pytest.mark.parametrize("taps", [4, 16])
def test_training_and_use_give_the_same_numbers(taps):
    (x, weight, bias, window), _ = cases.make(2, 30, 6, taps, window=True)
    weight.requires_grad_()
    trained = plain.causal_conv1d(x, weight, bias, window, position=None, activation="silu")
    with torch.no_grad():
        used = plain.causal_conv1d(x, weight, bias, window, position=None, activation="silu")
    torch.testing.assert_close(trained, used)
    assert trained.is_contiguous() and used.is_contiguous()


def test_float32_is_not_rounded_under_autocast():
    (x, weight, bias, _), _ = cases.make(2, 30, 6, 16)
    weight.requires_grad_()
    expected = causal_conv1d(x, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(causal_conv1d(x, weight, bias), expected)


def test_half_precision_keeps_its_type_under_autocast():
    (x, weight, bias, _), _ = cases.make(2, 9, 6, 4)
    weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = causal_conv1d(x.bfloat16(), weight, bias, activation="silu")
    assert y.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(y.float().sum(), weight)
    assert gradient.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3, 4)}, r"x must have shape \[B, T, E\], not \[3, 4\]"),
        ({"x": torch.zeros(2, 0, 4)}, "must not have a size of 0"),
        ({"x": torch.zeros(2, 5, 4, dtype=torch.int32)}, "x must be of a floating-point type"),
        ({"weight": torch.zeros(3, 5)}, r"weight must have shape \[kernel_size, E = 4\], not \[3, 5\]"),
        ({"bias": torch.zeros(3)}, r"bias must have shape \[4\], not \[3\]"),
        ({"bias": torch.zeros(4, device="meta")}, "bias is on meta but x is on cpu"),
        ({"window": torch.zeros(2, 3, 4)}, r"window must have shape \[2, 2, 4\], not \[2, 3, 4\]"),
        ({"position": torch.zeros(5)}, r"position must be whole numbers of shape \[5\]"),
        ({"position": torch.arange(5, device="meta")}, "position is on meta but x is on cpu"),
        ({"position": torch.arange(5), "window": torch.zeros(2, 2, 4)}, "packed documents begin anew"),
        ({"activation": "gelu"}, "activation must be 'silu' or None, not 'gelu'"),
        ({"backend": "native"}, "unknown backend"),
    ],
)
def test_what_is_refused(change, message):
    arguments = {"x": torch.zeros(2, 5, 4), "weight": torch.zeros(3, 4), "bias": torch.zeros(4)} | change
    with pytest.raises(ValueError, match=message):
        causal_conv1d(**arguments)


def test_compiles_into_one_graph():
    torch.compiler.reset()
    inputs, _ = cases.make(2, 9, 6, 4, window=True)
    leaves = [x.requires_grad_() for x in inputs]
    position = cases.positions(9)

    def function(x, weight, bias, window):
        y = causal_conv1d(x, weight, bias, window, activation="silu")
        return (y + causal_conv1d(x, weight, bias, position=position)).square().sum()

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(function(*leaves), leaves)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)
