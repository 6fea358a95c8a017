"""Segmentation in two and three dimensions: a U-Net of residual blocks whose feature maps an xLSTM reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Self

import torch
from torch import Tensor, nn

from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.core.size import count_weights
from xlstm_apps.vision.config import Scan
from xlstm_apps.vision.unet_blocks import CONVOLUTIONS, SLOPE, TRANSPOSED, ResidualBlock, ScanStage, convolution
from xlstm_apps.vision.unet_config import UNetConfig, Where

Sizes = Sequence[int | Sequence[int]]
Read = Callable[[ScanStage, Tensor], Tensor]
"""How a stage reads a feature map: by itself, unless a volume is read slice by slice."""


def finest(logits: Tensor | list[Tensor]) -> Tensor:
    """Logits at full resolution, of a network with deep supervision or without."""
    return logits[0] if isinstance(logits, list) else logits


def at_once(stage: ScanStage, x: Tensor) -> Tensor:
    """The stage reads the map as it is."""
    return stage(x)


class Stage(nn.Module):
    """Residual blocks, and behind them the xLSTM where this stage has one."""

    def __init__(self, blocks: Sequence[nn.Module], scan: ScanStage | None) -> None:
        super().__init__()
        self.blocks, self.scan = nn.Sequential(*blocks), scan

    def forward(self, x: Tensor, read: Read) -> Tensor:
        x = self.blocks(x)
        return x if self.scan is None else read(self.scan, x)


class Decoder(nn.Module):
    """From the bottleneck back to the full resolution; every stage gets the map of the encoder beside its own.

    `deep_supervision` may be changed at any time if the network was made with it.
    """

    def __init__(self, config: UNetConfig, dims: int, out_channels: int, scan: Callable[[int], ScanStage]) -> None:
        super().__init__()
        widths, kernels, strides = config.features, config.stage_kernels(dims), config.stage_strides(dims)
        self.ups, self.stages = nn.ModuleList(), nn.ModuleList()
        for index in reversed(range(len(widths) - 1)):
            width, stride = widths[index], strides[index + 1]
            self.ups.append(TRANSPOSED[dims](widths[index + 1], width, stride, stride))
            blocks = [
                ResidualBlock(2 * width if number == 0 else width, width, kernels[index], dropout=config.dropout)
                for number in range(config.num_blocks)
            ]
            self.stages.append(Stage(blocks, scan(index) if index in config.read_by_decoder else None))
        ones = (1,) * dims
        coarse = widths[-2:0:-1] if config.deep_supervision else ()  # from the coarsest up, as the stages are
        self.coarse_heads = nn.ModuleList(convolution(width, out_channels, ones) for width in coarse)
        self.head = convolution(widths[0], out_channels, ones)
        self._deep = config.deep_supervision

    @property
    def deep_supervision(self) -> bool:
        """Whether `forward` gives predictions at all resolutions, the finest first, or the finest alone."""
        return self._deep

    @deep_supervision.setter
    def deep_supervision(self, wanted: bool) -> None:
        if wanted and len(self.coarse_heads) < len(self.stages) - 1:
            raise ValueError("this network has one head only; make it with deep_supervision=True")
        self._deep = bool(wanted)

    def forward(self, x: Tensor, skips: list[Tensor], read: Read) -> Tensor | list[Tensor]:
        """Bottleneck and the maps of the encoder, finest first -> logits."""
        found: list[Tensor] = []
        for number, (up, stage, skip) in enumerate(zip(self.ups, self.stages, reversed(skips), strict=True)):
            x = up(x)[(..., *(slice(n) for n in skip.shape[2:]))]  # an odd size was rounded up on the way down
            x = stage(torch.cat([x, skip.to(x.dtype)], dim=1), read)
            if self._deep and number < len(self.coarse_heads):
                found.insert(0, self.coarse_heads[number](x))
        logits = self.head(x)
        return [logits, *found] if self._deep else logits


class XLSTMUNet(nn.Module, PretrainedMixin):
    """Images [B, in_channels, *size] to logits [B, out_channels, *size], for any size.

    Nothing in it knows the size of an image, or how far its pixels are apart. `where="none"` is a plain U-Net.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of an image.
        out_channels: Classes; 1 for a single foreground class with a sigmoid.
        features: As in `UNetConfig`, like all that follow.

    Raises:
        ValueError: Options that do not go together.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        features: Sequence[int] = UNetConfig.features,
        strides: Sizes | None = None,
        where: Where = UNetConfig.where,
        scan: Scan = UNetConfig.scan,
        deep_supervision: bool = False,
        *,
        kernel_sizes: Sizes = UNetConfig.kernel_sizes,
        num_blocks: int = 1,
        rounds: int = 1,
        num_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if spatial_dims not in CONVOLUTIONS:
            raise ValueError(f"spatial_dims={spatial_dims!r} must be 2 or 3")
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"in_channels={in_channels} and out_channels={out_channels} must be at least 1")
        config = UNetConfig(
            features=features, strides=strides, where=where, scan=scan, deep_supervision=deep_supervision,
            kernel_sizes=kernel_sizes, num_blocks=num_blocks, rounds=rounds, num_heads=num_heads, dropout=dropout,
        )  # fmt: skip
        self.config, self.spatial_dims = config, spatial_dims
        self.in_channels, self.out_channels = in_channels, out_channels
        widths, kernels, steps = config.features, config.stage_kernels(spatial_dims), config.stage_strides(spatial_dims)

        def scan_stage(index: int) -> ScanStage:
            return ScanStage(widths[index], spatial_dims, config.scan, config.rounds, config.num_heads)

        self.encoder = nn.ModuleList()
        for index, width in enumerate(widths):
            before = in_channels if index == 0 else widths[index - 1]
            blocks = [ResidualBlock(before, width, kernels[index], steps[index], config.dropout)]
            blocks += [
                ResidualBlock(width, width, kernels[index], None, config.dropout) for _ in range(1, config.num_blocks)
            ]
            self.encoder.append(Stage(blocks, scan_stage(index) if index in config.read_by_encoder else None))
        self.decoder = Decoder(config, spatial_dims, out_channels, scan_stage)
        self.apply(self.initialize)

    @classmethod
    def from_config(cls, spatial_dims: int, in_channels: int, out_channels: int, config: UNetConfig) -> Self:
        """The network that a configuration describes."""
        return cls(spatial_dims, in_channels, out_channels, **asdict(config))

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Weights of convolutions as He et al. 2015 drew them; for `apply`. The xLSTM blocks keep theirs."""
        if isinstance(module, (*CONVOLUTIONS.values(), *TRANSPOSED.values())):
            nn.init.kaiming_normal_(module.weight, a=SLOPE)
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, read: Read = at_once) -> Tensor | list[Tensor]:
        """Logits, or with deep supervision a list of them, the finest first.

        Raises:
            ValueError: Another number of dimensions or channels, or whole numbers.
        """
        if x.dim() != self.spatial_dims + 2 or x.shape[1] != self.in_channels or 0 in x.shape:
            sizes = "height, width" if self.spatial_dims == 2 else "depth, height, width"
            raise ValueError(f"expected images of shape [batch, {self.in_channels}, {sizes}], got {[*x.shape]}")
        if not x.is_floating_point():
            raise ValueError(f"images are {x.dtype}: scale and normalise them to floating point first")
        maps: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x, read)
            maps.append(x)
        return self.decoder(x, maps[:-1], read)


def plain_of_equal_size(spatial_dims: int, in_channels: int, out_channels: int, config: UNetConfig) -> UNetConfig:
    """The plain U-Net, all stages widened by one factor, whose number of weights is closest to that of `config`."""
    if config.where == "none":
        return config
    weights = count_weights(_empty(spatial_dims, in_channels, out_channels, config))
    return of_size(spatial_dims, in_channels, out_channels, replace(config, where="none"), weights)


def of_size(
    spatial_dims: int, in_channels: int, out_channels: int, config: UNetConfig, weights: int, multiple: int = 1
) -> UNetConfig:
    """`config` with all stages wider or narrower by one factor, so that it has about so many weights.

    Args:
        spatial_dims: As in `XLSTMUNet`.
        in_channels: As there.
        out_channels: As there.
        config: The network to change.
        weights: How many it should have.
        multiple: Widths are multiples of this, where hardware likes that better.
    """
    tried: dict[tuple[int, ...], tuple[int, UNetConfig]] = {}
    factor = 1.0
    for _ in range(8):
        widths = tuple(multiple * max(1, round(width * factor / multiple)) for width in config.features)
        if widths in tried:
            break
        found = replace(config, features=widths)
        count = count_weights(_empty(spatial_dims, in_channels, out_channels, found))
        tried[widths] = (abs(count - weights), found)
        factor *= math.sqrt(weights / count)  # most weights join two widths
    return min(tried.values(), key=lambda entry: entry[0])[1]


def _empty(spatial_dims: int, in_channels: int, out_channels: int, config: UNetConfig) -> XLSTMUNet:
    """The network without room for its weights, to count them."""
    with torch.device("meta"):
        return XLSTMUNet.from_config(spatial_dims, in_channels, out_channels, config)
