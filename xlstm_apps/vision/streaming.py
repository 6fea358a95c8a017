"""Images too large to be run at once: strip by strip, block by block, with the state carried on.

Every block reads the map of all patches [S, E] in strips of rows (or of columns, where its path runs along them), from
the end if its path does. What the mLSTM remembers passes from strip to strip, and a few rows more on both sides are
shown to the convolution, so the result is that of one pass. In memory are the map a few times over, one strip of pixels
and what one strip needs inside a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor

from xlstm_apps.core.state import BlockState
from xlstm_apps.vision.convolution import GridConv
from xlstm_apps.vision.layers import VisionBlock
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.paths import Grid, ScanPath
from xlstm_apps.vision.scanning import Convolution

STRIP_TOKENS = 4096
Prepare = Callable[[Any], Tensor]


class Strip:
    """Some rows of a frame and, around them, rows that only the convolution sees: `Places` of one step of streaming."""

    packing = None

    def __init__(self, grid: Grid, before: int, after: int) -> None:
        self.grid = grid
        row = math.prod(grid[1:])
        self.inner = slice(before * row, (grid[0] - after) * row)

    def convolve(self, x: Tensor, convolution: Convolution) -> Tensor:
        """Of the rows that are to be read."""
        return convolution(x, self.grid)[:, self.inner]

    def interior(self, x: Tensor) -> Tensor:
        """The tokens of the rows that are to be read."""
        return x[:, self.inner]


@torch.no_grad()
def stream_features(
    model: VisionLSTM, image: Any, *, strip_rows: int | None = None, prepare: Prepare | None = None
) -> Tensor:
    """What `model.forward_features` gives for one image, [S, E], at bounded memory.

    Args:
        model: In evaluation mode.
        image: [C, *size]: a tensor, or anything with a shape that is sliced the same way, such as a memory-mapped
            array. With `prepare`, an array of any layout whose first dimension is the rows.
        strip_rows: Rows of patches per strip; None: as many as hold some thousand patches.
        prepare: Makes a strip of pixels [C, rows, ...] from rows of the image: `prepare(image[first:last])`.

    Raises:
        ValueError: A path without rows (snake, Hilbert) with a convolution over the grid, or a model in training mode.
    """
    if model.training:
        raise ValueError("streaming gives no gradients; call model.eval() first")
    if strip_rows is not None and strip_rows < 1:
        raise ValueError(f"strip_rows={strip_rows} must be at least 1")
    x, grid = _embed(model, image, strip_rows, prepare)
    for index, block in enumerate(model.blocks):
        block = cast(VisionBlock, block)
        paths = [ScanPath(name, grid) for name in model.scan_of(index)]
        added = torch.zeros_like(x)
        for path in paths:
            frame, rows = _frame(path, block)
            seen = path.enter(x)
            read = torch.cat([*_read(block, seen, frame, strip_rows or rows)], dim=1)
            added += path.leave(read)
        x += added.div_(len(paths))
        if block.ffn is not None:
            for part in x.split(STRIP_TOKENS, dim=1):
                part += block.feed_forward(part)
    return torch.cat([model.final_norm(part) for part in x.split(STRIP_TOKENS, dim=1)], dim=1)[0]


def stream_logits(model: VisionLSTM, image: Any, **options: Any) -> Tensor:
    """Class scores [num_classes] of one image; arguments as in `stream_features`."""
    with torch.no_grad():
        return model.forward_head(stream_features(model, image, **options).unsqueeze(0))[0]


def can_stream(model: VisionLSTM) -> bool:
    """Whether its paths have rows to stream by, or no convolution needs them."""
    grid = model.vision.grid
    paths = [ScanPath(name, grid) for index in range(len(model.blocks)) for name in model.scan_of(index)]
    on_grid = any(isinstance(cast(VisionBlock, block).mixer.conv, GridConv) for block in model.blocks)
    return not on_grid or all(path.frame is not None for path in paths)


def _frame(path: ScanPath, block: VisionBlock) -> tuple[Grid, int]:
    """The grid to cut into strips, and rows of a strip. Where no convolution sees it, it may be a column."""
    frame = path.frame
    if frame is None:
        if isinstance(block.mixer.conv, GridConv):
            raise ValueError(f"the path {path.name!r} has no rows to stream by; run the model on the whole image")
        frame = (math.prod(path.grid),)
    return frame, max(1, STRIP_TOKENS // math.prod(frame[1:]))


def _read(block: VisionBlock, x: Tensor, frame: Grid, rows: int) -> Iterator[Tensor]:
    """What the layer of a block gives for tokens [1, S, E] in the order of a path, strip by strip."""
    conv = block.mixer.conv
    halo = conv.weight.shape[-1] // 2 if isinstance(conv, GridConv) else 0
    row = math.prod(frame[1:])
    state: BlockState | None = None
    for first in range(0, frame[0], rows):
        last = min(first + rows, frame[0])
        above, below = min(halo, first), min(halo, frame[0] - last)
        seen = x[:, (first - above) * row : (last + below) * row]
        strip = Strip((last - first + above + below, *frame[1:]), above, below)
        y, state = block.mixer(block.norm(seen), strip, state, keep=True)
        yield y


def _embed(model: VisionLSTM, image: Any, strip_rows: int | None, prepare: Prepare | None) -> tuple[Tensor, Grid]:
    """Tokens [1, S, E] of an image, and their grid."""
    vision, weight = model.vision, model.patch_embed.weight
    dims = len(vision.img_size)

    def pixels(first: int, last: int) -> Tensor:
        part = image[:, first:last] if prepare is None else prepare(image[first:last])
        part = torch.as_tensor(part)
        if part.dim() != dims + 1:
            raise ValueError(f"a strip of pixels must be [channels, rows, ...], got {[*part.shape]}")
        if part.shape[1] != last - first:
            raise ValueError(
                f"{last - first} rows of an image {[*image.shape]} became a strip {[*part.shape]}: `prepare` gives "
                "[channels, rows, ...], and takes images whose first dimension is the rows"
            )
        if not part.is_floating_point():
            raise ValueError(f"pixels are {part.dtype}: scale and normalise them to floating point, or give `prepare`")
        return part.to(weight.device, weight.dtype)

    if len(image.shape) != dims + 1 and prepare is None:
        raise ValueError(f"expected one image [channels, *size] with {dims} dimensions, got {[*image.shape]}")
    height = int(image.shape[1 if prepare is None else 0])
    width = tuple(pixels(0, 1).shape[2:])
    grid = vision.grid_of((height, *width))
    positions = None if model.positions is None else model.positions(grid)
    row, patch, stride = math.prod(grid[1:]), vision.patch_size[0], vision.stride[0]
    x = torch.empty(1, math.prod(grid), weight.shape[0], device=weight.device, dtype=weight.dtype)
    rows = strip_rows or max(1, STRIP_TOKENS // row)
    for first in range(0, grid[0], rows):
        last = min(first + rows, grid[0])
        part = pixels(first * stride, min(height, (last - 1) * stride + patch))
        tokens, _ = model.patch_embed(part.unsqueeze(0))
        x[:, first * row : last * row] = tokens
    return (x if positions is None else x.add_(positions)), grid
