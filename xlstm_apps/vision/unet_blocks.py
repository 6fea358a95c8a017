"""Parts of a segmentation network: residual convolutions, and the xLSTM blocks that read a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.vision.config import SCANS, VisionConfig
from xlstm_apps.vision.config import Scan as ScanName
from xlstm_apps.vision.layers import GatedScanLayer, VisionBlock
from xlstm_apps.vision.scanning import Layout, Scan

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DROPOUTS = {2: nn.Dropout2d, 3: nn.Dropout3d}
SLOPE = 0.01
"""Of the activation below zero."""


def convolution(cin: int, cout: int, kernel: tuple[int, ...], stride: tuple[int, ...] | int = 1) -> nn.Module:
    """A convolution that keeps the size but for its stride: n becomes n / stride, rounded up."""
    return CONVOLUTIONS[len(kernel)](cin, cout, kernel, stride, tuple(size // 2 for size in kernel))


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1 over its places, in float32, then scaled and shifted.

    A map of a single place has no variance, and is only scaled and shifted.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *size] -> the same."""
        if x.shape[2:].numel() == 1:
            shape = (1, -1, *(1,) * (x.dim() - 2))
            return x * self.weight.view(shape) + self.bias.view(shape)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class ResidualBlock(nn.Module):
    """Two convolutions with norms beside a straight way, which is projected where size or width change."""

    def __init__(
        self, cin: int, cout: int, kernel: tuple[int, ...], stride: tuple[int, ...] | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        self.conv1 = convolution(cin, cout, kernel, stride or ones)
        self.norm1 = InstanceNorm(cout)
        self.conv2 = convolution(cout, cout, kernel)
        self.norm2 = InstanceNorm(cout)
        self.act = nn.LeakyReLU(SLOPE)
        self.dropout = DROPOUTS[len(kernel)](dropout) if dropout else nn.Identity()
        same = cin == cout and (stride or ones) == ones
        self.straight = (
            nn.Identity() if same else nn.Sequential(convolution(cin, cout, ones, stride or ones), InstanceNorm(cout))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, Cin, *size] -> [B, Cout, *ceil(size / stride)]."""
        y = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.dropout(self.act(y + self.straight(x)))


class SteadyScanLayer(GatedScanLayer):
    """The layer of Vision-LSTM with gates in float32 also where the rest is computed in half precision: their
    exponentials are what overflows first."""

    def cell_inputs(self, u: Tensor, a: Tensor, rotation: None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v = self.q_proj(a), self.k_proj(a), self.v_proj(u)
        with torch.autocast(u.device.type, enabled=False):
            return q, k, v, self.gates(torch.cat([q, k, v], dim=-1).to(self.gates.weight.dtype))


class ScanStage(nn.Module):
    """Blocks that read a feature map along all paths of a scan, one after the other."""

    def __init__(self, channels: int, dims: int, scan: ScanName, rounds: int, num_heads: int) -> None:
        super().__init__()
        cycle = SCANS[scan]
        vision = VisionConfig(img_size=(1,) * dims, patch_size=(1,) * dims, scan=scan, positions="none")
        config = xLSTMConfig(
            embedding_dim=channels, num_blocks=rounds * len(cycle), num_heads=num_heads, bias=True, norm_bias=True
        )
        self.paths = cycle * rounds
        self.blocks = nn.ModuleList(VisionBlock(config, vision, 0.0) for _ in self.paths)
        for block in self.blocks:
            block.mixer = SteadyScanLayer(config, vision)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *grid] -> the same."""
        grid = tuple(x.shape[2:])
        layout = Layout(((x.shape[0], grid),), False)
        tokens = x.flatten(2).mT
        for block, names in zip(self.blocks, self.paths, strict=True):
            tokens = block(tokens, Scan(names, layout, x.device))
        return tokens.mT.unflatten(2, grid)
