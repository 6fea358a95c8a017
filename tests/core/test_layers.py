"""Parts of a block against plain definitions."""

import pytest
import torch
import torch.nn.functional as F

from xlstm_apps.core.initialization import forget_bias_powerlaw
from xlstm_apps.core.layers import BlockDiagonalLinear, CausalConv1d, MultiHeadNorm, RMSNorm, soft_cap
from xlstm_apps.core.packing import Packing


@pytest.mark.parametrize("kernel_size", [1, 2, 4, 7])
@pytest.mark.parametrize("T", [1, 3, 9])
def test_convolution_is_the_left_padded_depthwise_one(kernel_size, T):
    conv, x = CausalConv1d(6, kernel_size), torch.randn(2, T, 6)
    y, window = conv(x, None, None)
    padded = F.pad(x.mT, (kernel_size - 1, 0))
    torch.testing.assert_close(y, F.silu(F.conv1d(padded, conv.weight.T.unsqueeze(1), conv.bias, groups=6)).mT)
    torch.testing.assert_close(window, padded[..., T:].mT)


def test_block_diagonal_linear_is_a_block_diagonal_matrix():
    linear, x = BlockDiagonalLinear(12, 4, bias=True), torch.randn(2, 5, 12)
    linear.bias.data.normal_()
    torch.testing.assert_close(linear(x), x @ torch.block_diag(*linear.weight).T + linear.bias)


def test_head_norm_is_a_layer_norm_of_every_head():
    norm, x = MultiHeadNorm(12, 1e-5, bias=True), torch.randn(2, 5, 3, 4)
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    heads = [
        F.layer_norm(x[:, :, h], (4,), norm.weight[4 * h : 4 * h + 4], norm.bias[4 * h : 4 * h + 4]) for h in range(3)
    ]
    torch.testing.assert_close(norm(x), torch.cat(heads, -1))


def test_rms_norm():
    norm, x = RMSNorm(8, 1e-6, bias=True), torch.randn(3, 8)
    norm.bias.data.normal_()
    torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() + norm.bias)


def test_soft_cap_stays_inside_and_is_the_identity_near_zero():
    assert soft_cap(torch.tensor(1e4), 15.0) == 15.0
    torch.testing.assert_close(soft_cap(torch.tensor(0.01), 15.0), torch.tensor(0.01), rtol=1e-5, atol=0)


def test_forget_bias_falls_from_5_to_minus_7_and_survives_one_unit():
    bias = forget_bias_powerlaw(5, block=1, num_blocks=3)
    torch.testing.assert_close(bias, 5 - 12 * torch.linspace(0, 1, 5) ** 0.95)
    assert forget_bias_powerlaw(1, 0, 1).tolist() == [5.0]


@pytest.mark.parametrize("borders", [[0, 3], [1, 6], [0, 3, 3, 6], [0, 4, 2, 6], [0]])
def test_packing_refuses_borders_that_do_not_cut_the_row(borders):
    with pytest.raises(ValueError, match="cu_seqlens must rise from 0 to the row's length 6"):
        Packing(torch.tensor(borders), 6)


def test_packing_refuses_fractions():
    with pytest.raises(ValueError, match="whole numbers"):
        Packing(torch.tensor([0.0, 6.0]), 6)


def test_packing_pads_on_the_left_and_back():
    packing, x = Packing(torch.tensor([0, 1, 4]), 4), torch.arange(4.0).view(1, 4, 1)
    batch, real = packing.pad_left(x, torch.tensor([9.0]))
    assert batch[..., 0].tolist() == [[9, 9, 0], [1, 2, 3]]
    assert batch[real].flatten().tolist() == [0, 1, 2, 3]
    assert packing.position.tolist() == [0, 0, 1, 2]
    assert packing.last(x, 2)[..., 0].tolist() == [[0, 0], [2, 3]]
    assert packing.reversed().position.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("bias", [False, True])
def test_block_diagonal_maps_are_the_same_as_one_product(bias, monkeypatch):
    layer = BlockDiagonalLinear(24, 6, bias).double()
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, 40, 24, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(3, 40, 24, dtype=torch.float64)
    found = {}
    for whole in (False, True):
        monkeypatch.setattr(layer, "_as_matrix", lambda _, whole=whole: whole)
        y = layer(x)
        found[whole] = [y, *torch.autograd.grad(y, [x, *layer.parameters()], upstream)]
    for one, other in zip(found[False], found[True], strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    monkeypatch.undo()
    assert layer._as_matrix(torch.zeros(2, 1000, 24)) and not layer._as_matrix(torch.zeros(2, 3, 24))
    assert not BlockDiagonalLinear(256, 64)._as_matrix(torch.zeros(10_000, 256))
