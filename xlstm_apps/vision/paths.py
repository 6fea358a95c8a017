"""Paths through a grid of patches, of one, two or three dimensions and any size: the order in which they are read.

A path has a frame: the grid as it lies when it is read along the path by rows. Row-wise and column-wise paths see the
image turned (by 180 degrees when reversed) or transposed, and a convolution over the grid can run in that frame, as
Vision-LSTM does. Snakes and Hilbert curves have none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Grid = tuple[int, ...]
KINDS = ("raster", "column", "snake", "hilbert")


class ScanPath:
    """One way through a grid.

    Args:
        name: "raster" (by rows), "column" (the last dimension advances slowest), "snake" (rows there and back),
            "hilbert"; "_reverse" behind it is the same from the end.
        grid: Number of patches in each dimension.

    Raises:
        ValueError: An unknown name.
    """

    def __init__(self, name: str, grid: Grid) -> None:
        self.name, self.grid = name, grid
        self.kind, self.reverse = name.removesuffix("_reverse"), name.endswith("_reverse")
        if self.kind not in KINDS:
            raise ValueError(f"no path {name!r}; there are {', '.join(KINDS)}, and each with '_reverse' behind it")

    @property
    def frame(self) -> Grid | None:
        """The grid that tokens in the order of the path fill by rows; None where they fill none."""
        return {"raster": self.grid, "column": self.grid[::-1]}.get(self.kind)

    def order(self) -> np.ndarray:
        """Raster index of every patch in the order of the path, [S]."""
        return _orders(self.name, self.grid)[0]

    def enter(self, x: Tensor) -> Tensor:
        """Tokens [B, S, ...] by rows -> in the order of the path."""
        return self._move(x, 0)

    def leave(self, x: Tensor) -> Tensor:
        """Tokens [B, S, ...] in the order of the path -> by rows."""
        return self._move(x, 1)

    def _move(self, x: Tensor, way: int) -> Tensor:
        if self.kind == "raster":
            return x.flip(1) if self.reverse else x
        return x.index_select(1, _indices(self.name, self.grid, way, x.device))


@functools.lru_cache(maxsize=256)
def _orders(name: str, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Order [S] of the path and its inverse."""
    raster = np.arange(math.prod(grid)).reshape(grid)
    kind = name.removesuffix("_reverse")
    if kind == "column":
        order = raster.T.reshape(-1)
    elif kind == "snake":
        order = _snake(raster)
    elif kind == "hilbert":
        order = np.argsort(hilbert_index(grid), kind="stable")
    else:
        order = raster.reshape(-1)
    if name.endswith("_reverse"):
        order = order[::-1].copy()
    inverse = np.empty_like(order)
    inverse[order] = np.arange(order.size)
    return order, inverse


def _indices(name: str, grid: Grid, way: int, device: torch.device) -> Tensor:
    exporting = getattr(torch.compiler, "is_exporting", None)  # since torch 2.7
    if exporting is not None and exporting():  # an exported graph is to need nothing of this package
        return torch.tensor(_orders(name, grid)[way].tolist(), device=device)
    if torch.compiler.is_compiling():
        return scan_path(name, grid, way, device)
    return _kept_indices(name, grid, way, device)


@torch.library.custom_op("xlstm_apps::scan_path", mutates_args=())
def scan_path(name: str, grid: Sequence[int], way: int, device: torch.device) -> Tensor:
    """The order of a path (`way` 0) or its inverse, [S], as one step of a traced graph: a tensor made while a graph is
    traced must not outlive it, and the arithmetic of paths is not to become part of it."""
    return _kept_indices(name, tuple(grid), way, device).clone()


@scan_path.register_fake
def _(name, grid, way, device):
    return torch.empty(math.prod(grid), dtype=torch.int64, device=device)


@functools.lru_cache(maxsize=256)
def _kept_indices(name: str, grid: Grid, way: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.from_numpy(_orders(name, grid)[way]).to(device)


def _snake(raster: np.ndarray) -> np.ndarray:
    """Consecutive patches are neighbours, in any number of dimensions."""
    if raster.ndim == 1:
        return raster
    parts = [_snake(part) for part in raster]
    return np.concatenate([part if index % 2 == 0 else part[::-1] for index, part in enumerate(parts)])


def hilbert_index(grid: Grid) -> np.ndarray:
    """Place of every patch (by rows) on the Hilbert curve through the smallest cube of a power of two that holds the
    grid, [S]. What lies outside the grid is passed over, so neighbours on the path are neighbours in the grid always
    for such cubes and mostly elsewhere.

    Source: Skilling 2004, "Programming the Hilbert curve": coordinates to the transposed index.
    """
    bits = max(1, math.ceil(math.log2(max(grid))))
    x = np.indices(grid).reshape(len(grid), -1)
    dims = len(x)
    bit = 1 << (bits - 1)
    while bit > 1:
        low = bit - 1
        for i in range(dims):
            inverted = (x[i] & bit) != 0
            exchanged = np.where(inverted, 0, (x[0] ^ x[i]) & low)
            x[0] ^= np.where(inverted, low, exchanged)
            x[i] ^= exchanged
        bit >>= 1
    for i in range(1, dims):  # Gray code
        x[i] ^= x[i - 1]
    flips = np.zeros_like(x[0])
    bit = 1 << (bits - 1)
    while bit > 1:
        flips ^= np.where((x[-1] & bit) != 0, bit - 1, 0)
        bit >>= 1
    x ^= flips
    index = np.zeros_like(x[0])
    for level in range(bits - 1, -1, -1):
        for i in range(dims):
            index = (index << 1) | ((x[i] >> level) & 1)
    return index
