"""Volumes slice by slice: a network of two dimensions whose memory goes on from slice to slice.

Convolutions and norms see one slice. Where the xLSTM reads, paths from the start go on where the slice before ended,
and paths from the end (`_reverse`) read each slice for itself; so a slice knows all slices before it, and memory holds
one slice, however many there are. A network has to be trained like this to make use of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from xlstm_apps.core.state import BlockState
from xlstm_apps.vision.scanning import Convolution, Layout, Scan
from xlstm_apps.vision.unet import XLSTMUNet, finest
from xlstm_apps.vision.unet_blocks import ScanStage

SliceState = tuple[BlockState | None, ...]
"""What the paths that go on from slice to slice remember, in the order in which the network reads."""


class _Slices:
    """`Places` of rows [B, D * S, E] that hold D slices behind each other: convolutions stay within a slice."""

    packing = None

    def __init__(self, scan: Scan, depth: int) -> None:
        self.scan, self.depth = scan, depth

    def convolve(self, x: Tensor, convolution: Convolution) -> Tensor:
        each = x.unflatten(1, (self.depth, -1)).flatten(0, 1)
        return self.scan.convolve(each, convolution).unflatten(0, (-1, self.depth)).flatten(1, 2)

    def interior(self, x: Tensor) -> Tensor:
        return x


class _Reader:
    """Reads the maps [B * D, C, h, w] of all slices of B volumes, with the memory of the slices before."""

    def __init__(self, depth: int, state: SliceState | None) -> None:
        self.depth, self.before, self.after = depth, iter(state or ()), []

    def __call__(self, stage: ScanStage, x: Tensor) -> Tensor:
        grid = tuple(x.shape[2:])
        layout = Layout(((x.shape[0], grid),), False)
        tokens = x.flatten(2).mT
        for block, names in zip(stage.blocks, stage.paths, strict=True):
            seen, added = block.norm(tokens), 0.0
            for name in names:
                scan = Scan((name,), layout, x.device)
                along = scan.enter(seen)
                if name.endswith("_reverse"):
                    read, _ = block.mixer(along, scan)
                else:
                    rows = along.unflatten(0, (-1, self.depth)).flatten(1, 2)
                    read, state = block.mixer(rows, _Slices(scan, self.depth), next(self.before, None), keep=True)
                    self.after.append(state)
                    read = read.unflatten(1, (self.depth, -1)).flatten(0, 1)
                added = added + scan.leave(read)
            tokens = tokens + block.dropout(added / len(names))
        return tokens.mT.unflatten(2, grid)


def read_slices(
    network: XLSTMUNet, volume: Tensor, state: SliceState | None = None
) -> tuple[Tensor | list[Tensor], SliceState]:
    """Volumes [B, C, D, H, W], or the next D slices of them, to logits [B, K, D, H, W] and the memory behind them.

    Args:
        network: Of two dimensions.
        volume: The slices.
        state: The memory behind the slices before; None: these are the first.

    Raises:
        ValueError: The network has three dimensions, or the volumes have not.
    """
    if network.spatial_dims != 2 or volume.dim() != 5:
        raise ValueError(
            f"slices [B, C, D, H, W] are read by a network with spatial_dims=2; got {[*volume.shape]} and "
            f"spatial_dims={network.spatial_dims}"
        )
    depth = volume.shape[2]
    reader = _Reader(depth, state)
    logits = network(volume.transpose(1, 2).flatten(0, 1), reader)

    def volumes(x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, depth)).transpose(1, 2)

    found = [volumes(x) for x in logits] if isinstance(logits, list) else volumes(logits)
    return found, tuple(reader.after)


@torch.no_grad()
def stream_slices(network: XLSTMUNet, slices: Iterable[Tensor], state: SliceState | None = None) -> Iterator[Tensor]:
    """Logits [K, H, W] of one slice [C, H, W] after the other. Memory does not grow with their number.

    Raises:
        ValueError: The network is in training mode.
    """
    if network.training:
        raise ValueError("streaming gives no gradients; call network.eval() first")
    for one in slices:
        logits, state = read_slices(network, one[None, :, None], state)
        yield finest(logits)[0, :, 0]
