"""Batches of grids as sequences: along which paths a block reads them, and how it gets back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from xlstm_apps.core.packing import Packing
from xlstm_apps.vision.paths import Grid, ScanPath

Convolution = Callable[[Tensor, Grid], Tensor]
"""Tokens [N, S, E] that fill the grid by rows -> the same shape."""


class Places(Protocol):
    """What a layer must know of the grid its tokens are from."""

    packing: Packing | None

    def convolve(self, x: Tensor, convolution: Convolution) -> Tensor:
        """Convolve tokens [B, S, E] in the order of the path over the grid."""
        ...

    def interior(self, x: Tensor) -> Tensor:
        """The tokens that are to be read, without those that are only seen by the convolution."""
        ...


class Layout(NamedTuple):
    """The grids of a batch: one for all rows [B, S, ...], or those of images packed into one row [1, T, ...].

    Images with the same grid stand next to each other as (number of images, grid).
    """

    runs: tuple[tuple[int, Grid], ...]
    packed: bool

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of every image."""
        return [math.prod(grid) for count, grid in self.runs for _ in range(count)]


class Scan:
    """The paths of one block through a batch. Several paths stand behind each other as further rows (or, packed, as
    further images), so that one call of the layer reads all of them; what they gave is averaged.

    Args:
        names: Names of paths, as in `ScanPath`.
        layout: The grids.
        device: Where the tokens are.
    """

    def __init__(self, names: Sequence[str], layout: Layout, device: torch.device) -> None:
        self.layout, self.count = layout, len(names)
        self.paths = [[ScanPath(name, grid) for _, grid in layout.runs] for name in names]
        self.packing = None
        if layout.packed:
            lengths = layout.lengths * self.count
            borders = torch.tensor([0, *itertools.accumulate(lengths)], device=device)
            self.packing = Packing(borders, sum(lengths))

    def enter(self, x: Tensor) -> Tensor:
        """Tokens by rows -> along all paths: [B, S, E] -> [P * B, S, E], or [1, T, E] -> [1, P * T, E]."""
        parts = self._cut(x, 1)
        return self._join([path.enter(part) for paths in self.paths for path, part in zip(paths, parts, strict=True)])

    def leave(self, x: Tensor) -> Tensor:
        """What the paths gave, by rows and averaged: the way back from `enter`."""
        paths = [path for paths in self.paths for path in paths]
        x = self._join([path.leave(part) for path, part in zip(paths, self._cut(x, self.count), strict=True)])
        if self.count == 1:
            return x
        dim = 1 if self.layout.packed else 0
        return x.unflatten(dim, (self.count, -1)).mean(dim)

    def convolve(self, x: Tensor, convolution: Convolution) -> Tensor:
        """As in `Places`: in the frame of the path, or where it has none in the picture as it lies."""
        paths = [path for paths in self.paths for path in paths]
        if not self.layout.packed and paths[0].frame is not None and len({path.frame for path in paths}) == 1:
            return convolution(x, paths[0].frame)
        parts = []
        for path, part in zip(paths, self._cut(x, self.count), strict=True):
            if path.frame is not None:
                parts.append(convolution(part, path.frame))
            else:
                parts.append(path.enter(convolution(path.leave(part), path.grid)))
        return self._join(parts)

    def interior(self, x: Tensor) -> Tensor:
        """All of them: see `Places`."""
        return x

    def _cut(self, x: Tensor, times: int) -> list[Tensor]:
        """The batch, `times` over, as tensors [N, S, E] of images with one grid."""
        if not self.layout.packed:
            return list(x.unflatten(0, (times, -1)).unbind())
        sizes = [count * math.prod(grid) for count, grid in self.layout.runs] * times
        runs = [*self.layout.runs] * times
        parts = zip(runs, x[0].split(sizes), strict=True)
        return [part.unflatten(0, (count, math.prod(grid))) for (count, grid), part in parts]

    def _join(self, parts: list[Tensor]) -> Tensor:
        if self.layout.packed:
            return torch.cat([part.flatten(0, 1) for part in parts]).unsqueeze(0)
        return torch.cat(parts) if len(parts) > 1 else parts[0]
