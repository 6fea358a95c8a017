"""Paths through grids: every patch once, back again, neighbours where they are promised."""

import numpy as np
import pytest
import torch

from xlstm_apps.vision import ScanPath
from xlstm_apps.vision.paths import KINDS, hilbert_index

GRIDS = [(1,), (7,), (1, 1), (4, 4), (3, 5), (6, 2), (2, 3, 4)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", [kind + end for kind in KINDS for end in ("", "_reverse")])
def test_there_and_back(name, grid):
    path = ScanPath(name, grid)
    x = torch.randn(2, int(np.prod(grid)), 3)
    along = path.enter(x)
    assert torch.equal(along, x[:, torch.from_numpy(path.order())])
    assert torch.equal(path.leave(along), x)


@pytest.mark.parametrize("kind", KINDS)
def test_reverse_is_the_same_from_the_end(kind):
    assert np.array_equal(ScanPath(kind + "_reverse", (3, 5)).order(), ScanPath(kind, (3, 5)).order()[::-1])


def test_orders_by_hand():
    assert ScanPath("column", (2, 3)).order().tolist() == [0, 3, 1, 4, 2, 5]
    assert ScanPath("snake", (2, 3)).order().tolist() == [0, 1, 2, 5, 4, 3]
    assert ScanPath("hilbert", (2, 2)).order().tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize("grid", [(8, 8), (4, 4, 4)])
@pytest.mark.parametrize("kind", ["snake", "hilbert"])
def test_next_on_the_path_is_next_in_the_grid(kind, grid):
    places = np.stack(np.unravel_index(ScanPath(kind, grid).order(), grid))
    assert (np.abs(np.diff(places)).sum(0) == 1).all()


def test_hilbert_keeps_neighbourhoods_where_the_grid_is_no_power_of_two():
    grid = (14, 14)
    places = np.stack(np.unravel_index(np.argsort(hilbert_index(grid)), grid))
    assert np.abs(np.diff(places)).sum(0).mean() < 1.2
    # 14 patches of the path lie closer together than a row of 14 does
    spread = max(np.ptp(places[:, n : n + 14], axis=1).sum() for n in range(0, 182, 14))
    assert spread <= 13


@pytest.mark.parametrize("name", ["raster", "raster_reverse", "column", "column_reverse"])
def test_a_frame_is_the_turned_picture(name):
    path = ScanPath(name, (2, 3))
    picture = torch.arange(6).view(2, 3)
    turned = picture.T if path.kind == "column" else picture
    turned = turned.flip(0, 1) if path.reverse else turned
    along = path.enter(picture.view(1, 6, 1)).view(path.frame)
    assert torch.equal(along, turned)


def test_what_is_kept_from_inference_serves_training():
    path = ScanPath("hilbert", (5, 3))
    x = torch.randn(1, 15, 2, requires_grad=True)
    with torch.inference_mode():
        path.enter(x.detach())
    path.enter(x).square().sum().backward()
    assert torch.allclose(x.grad, 2 * x)


def test_an_unknown_path():
    with pytest.raises(ValueError, match="no path 'diagonal'"):
        ScanPath("diagonal", (2, 2))
