"""mLSTM layers that read a grid, and the block they stand in."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.layers import CausalConv1d, GatedFeedForward, make_norm
from xlstm_apps.core.mlstm import mLSTMLargeLayer, mLSTMLayer, run_cell
from xlstm_apps.core.state import BlockState
from xlstm_apps.vision.config import VisionConfig
from xlstm_apps.vision.convolution import GridConv
from xlstm_apps.vision.scanning import Layout, Places, Scan


class GatedScanLayer(mLSTMLayer):
    """The layer of Vision-LSTM: up-projection, convolution over the grid or the path, mLSTM along the path, learnable
    skip, output gate, down-projection."""

    cell = staticmethod(run_cell)
    """What computes the mLSTM; exchanged by `parallel.in_parallel`."""

    def __init__(self, config: xLSTMConfig, vision: VisionConfig) -> None:
        taps = vision.kernel_size
        super().__init__(dataclasses.replace(config, conv1d_kernel_size=taps if vision.conv == "causal" else 0))
        if vision.conv == "grid":
            self.conv = GridConv(config.inner_dim, taps, len(vision.img_size), "silu", config.backend)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Tensor, places: Places, state: BlockState | None = None, keep: bool = False
    ) -> tuple[Tensor, BlockState | None]:
        """[B, S, E] along the path -> [B, S, E] and, to `keep`, the state at its end."""
        u, z = self.proj_up(x).chunk(2, dim=-1)
        a, window = u, None
        if isinstance(self.conv, GridConv):
            a = places.convolve(u, self.conv)
            u, z = places.interior(u), places.interior(z)
        elif isinstance(self.conv, CausalConv1d):
            a, window = self.conv(u, None if state is None else state.conv, places.packing)
        h, cell = self.cell(self.config, *self.cell_inputs(u, a), state, places.packing, keep=keep)
        return self.output(h, a, z), None if cell is None else BlockState(cell, window)


class LargeScanLayer(mLSTMLargeLayer):
    """The layer of the 7B design along the path, its input plus the convolution over the grid of it."""

    cell = staticmethod(run_cell)

    def __init__(self, config: xLSTMConfig, vision: VisionConfig) -> None:
        super().__init__(config)
        self.conv = None
        if vision.conv == "grid":
            self.conv = GridConv(config.embedding_dim, vision.kernel_size, len(vision.img_size), backend=config.backend)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Tensor, places: Places, state: BlockState | None = None, keep: bool = False
    ) -> tuple[Tensor, BlockState | None]:
        """[B, S, E] along the path -> [B, S, E] and, to `keep`, the state at its end."""
        if self.conv is not None:
            x = places.interior(x) + places.convolve(x, self.conv)
        q, k, v, gates, o = self.cell_inputs(x)
        h, cell = self.cell(self.config, q, k, v, gates, state, places.packing, keep=keep)
        return self.output(h, o), None if cell is None else BlockState(cell, None)


class DropPath(nn.Module):
    """Leaves out what a layer adds, image by image, in training (Huang et al. 2016, "Stochastic Depth")."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """[B, S, E] or, packed, [1, T, E] -> the same shape."""
        if not self.training or self.rate == 0:
            return x
        images = len(layout.lengths) if layout.packed else x.shape[0]
        kept = (torch.rand(images, device=x.device) >= self.rate).to(x.dtype) / (1 - self.rate)
        if layout.packed:
            lengths = torch.tensor(layout.lengths, device=x.device)
            return x * kept.repeat_interleave(lengths, output_size=x.shape[1])[None, :, None]
        return x * kept[:, None, None]

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


class VisionBlock(nn.Module):
    """x + layer(norm(x)) along the paths of a scan, then in family "xlstm-large" x + feed_forward(norm(x))."""

    def __init__(self, config: xLSTMConfig, vision: VisionConfig, drop_path: float) -> None:
        super().__init__()
        gated = config.family == "xlstm"
        self.norm = make_norm(config)
        self.mixer = GatedScanLayer(config, vision) if gated else LargeScanLayer(config, vision)
        has_ffn = not gated and config.ffn_dim > 0
        self.ffn_norm = make_norm(config) if has_ffn else None
        self.ffn = GatedFeedForward(config) if has_ffn else None
        self.dropout = nn.Dropout(config.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, scan: Scan) -> Tensor:
        """Tokens by rows [B, S, E] -> [B, S, E]."""
        y, _ = self.mixer(scan.enter(self.norm(x)), scan)
        x = x + self.drop_path(self.dropout(scan.leave(y)), scan.layout)
        return x if self.ffn is None else x + self.drop_path(self.feed_forward(x), scan.layout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """What the feed-forward adds to tokens [..., E]."""
        assert self.ffn is not None and self.ffn_norm is not None
        return self.dropout(self.ffn(self.ffn_norm(x)))


def drop_path_rates(vision: VisionConfig, num_blocks: int) -> list[float]:
    """One for each block."""
    if not vision.drop_path_decay:
        return [vision.drop_path_rate] * num_blocks
    return [vision.drop_path_rate * index / max(1, num_blocks - 1) for index in range(num_blocks)]


def check_layers(config: xLSTMConfig, vision: VisionConfig) -> None:
    """Refuse options of the backbone that mean nothing in a grid, or are said elsewhere, with a ValueError."""
    if config.direction != "causal":
        raise ValueError(f"backbone.direction={config.direction!r}: in vision models `vision.scan` says how they read")
    if config.slstm_at:
        raise ValueError("vision models are made of mLSTM blocks; leave backbone.slstm_at out")
    if config.rotary_base is not None:
        raise ValueError("in vision models `vision.positions` says which positions there are; leave rotary_base out")
    if config.conv1d_kernel_size is not None or config.slstm_conv1d_kernel_size is not None:
        raise ValueError("in vision models `vision.conv` and `vision.conv_kernel_size` say which convolution there is")
    if config.family == "xlstm-large" and vision.conv == "causal":
        raise ValueError("vision.conv='causal' is for backbone.family='xlstm'; the other has 'grid' or 'none'")
    least = 2 * len(vision.img_size)
    if vision.positions == "sincos" and config.embedding_dim % least:
        raise ValueError(f"positions='sincos' needs embedding_dim={config.embedding_dim} to be a multiple of {least}")
