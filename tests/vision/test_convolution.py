"""The convolution of vision layers is torch's own, with or without a SiLU, whatever the dimensions of the grid."""

import pytest
import torch
from torch.nn.functional import conv1d, conv2d, conv3d, silu

from xlstm_apps.vision.convolution import GridConv

CONVOLUTIONS = (conv1d, conv2d, conv3d)
GRIDS = [(7,), (1, 9), (3, 4), (2, 3, 4)]


def by_torch(conv: GridConv, x: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
    pixels = x.mT.unflatten(2, grid)
    weight, bias = conv.weight.to(x.dtype), conv.bias.to(x.dtype)
    return CONVOLUTIONS[len(grid) - 1](pixels, weight, bias, padding=1, groups=len(bias)).flatten(2).mT


@pytest.mark.parametrize(
    ("dtype", "autocast"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, True)], ids=str
)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_equals_torch(grid, dtype, autocast):
    size = torch.Size(grid).numel()
    x = torch.randn(2, size, 12).to(dtype)[..., :6]
    plain = GridConv(6, 3, len(grid))
    activated = GridConv(6, 3, len(grid), "silu")
    activated.load_state_dict(plain.state_dict())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, y, z = by_torch(plain, x, grid), plain(x, grid), activated(x, grid)
    assert y.dtype == z.dtype == (torch.bfloat16 if autocast else dtype)
    tolerance = {} if y.dtype == torch.float32 else {"atol": 2e-2, "rtol": 2e-2}
    torch.testing.assert_close(y, expected, **tolerance)
    torch.testing.assert_close(z, silu(expected), **tolerance)
    assert [*plain.state_dict()] == ["weight", "bias"]
