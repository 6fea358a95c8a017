"""What a vision model looks like around its layers, as plain data. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices

Pooling = Literal[
    "bilateral_concat", "bilateral_avg", "first", "last", "middle", "mean", "max", "attention"
]  # fmt: skip
Scan = Literal["alternate", "raster", "bidirectional", "quad_alternate", "quad", "column", "snake", "hilbert"]

SCANS: dict[str, tuple[tuple[str, ...], ...]] = {
    "raster": (("raster",),),
    "alternate": (("raster",), ("raster_reverse",)),
    "bidirectional": (("raster", "raster_reverse"),),
    "quad_alternate": (("raster",), ("raster_reverse",), ("column",), ("column_reverse",)),
    "quad": (("raster", "raster_reverse", "column", "column_reverse"),),
    "column": (("column",), ("column_reverse",)),
    "snake": (("snake",), ("snake_reverse",)),
    "hilbert": (("hilbert",), ("hilbert_reverse",)),
}
"""Paths through the grid by block: block i runs along all paths of entry i modulo the number of entries."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Patches, reading order, pooling and head of a vision model; its layers are those of `xLSTMConfig`.

    Source: Alkin et al. 2025, "Vision-LSTM: xLSTM as Generic Vision Backbone".
    """

    img_size: int | tuple[int, ...] = (224, 224)
    """Size for which positions are stored: (width,), (height, width) or (depth, height, width); one number is a square
    picture. Images of other sizes are welcome at any time; positions are interpolated."""
    patch_size: int | tuple[int, ...] = (16, 16)
    """Size of a patch; one number stands for all dimensions."""
    stride: int | tuple[int, ...] | None = None
    """Distance between patches, at most their size. None: the size, so that patches do not overlap."""
    in_chans: int = 3
    """Number of channels of an image."""
    num_classes: int = 1000
    """Number of outputs; 0 = no head, the outputs are the pooled features."""
    positions: Literal["learned", "sincos", "none"] = "learned"
    """Position embedding added to the patches."""
    scan: Scan = "alternate"
    """Order in which blocks read the patches. `alternate`: by rows, every other block from the end (Vision-LSTM);
    `raster`: by rows, always from the start, so that the model is causal; `bidirectional`: both ways in every block;
    `quad_alternate`, `quad`: by rows and by columns, both ways, in turn or all in every block; `column`, `snake`,
    `hilbert`: by columns, by rows there and back, along a Hilbert curve, every other block from the end. Paths that
    share a block share its weights and are averaged."""
    conv: Literal["grid", "causal", "none"] = "grid"
    """Depthwise convolution before queries and keys: over the grid of patches, over the path (sees what was read before
    only), or none."""
    conv_kernel_size: int | None = None
    """Taps of it in each dimension. None: 3 over the grid, 4 over the path."""
    pooling: Pooling = "bilateral_concat"
    """How patches become features of the image: `bilateral_concat` and `bilateral_avg` use the first and the last
    patch, beside each other or averaged; `attention` weighs patches by a learned query."""
    final_norm_eps: float | None = None
    """Added to variances in the normalisation behind the last block. None: as in the blocks."""
    head_norm: bool = True
    """Normalise pooled features before the head."""
    head_norm_eps: float = 1e-5
    """Added to variances there."""
    drop_path_rate: float = 0.0
    """Probability of leaving out a layer for an image in training (stochastic depth)."""
    drop_path_decay: bool = False
    """Let it rise from 0 in the first block to `drop_path_rate` in the last; otherwise it is the same in all."""

    def __post_init__(self) -> None:
        size = _sizes("img_size", self.img_size, None)
        dims = len(size)
        patch = _sizes("patch_size", self.patch_size, dims)
        stride = patch if self.stride is None else _sizes("stride", self.stride, dims)
        for name, value in (("img_size", size), ("patch_size", patch), ("stride", stride)):
            object.__setattr__(self, name, value)
        if any(s > p for s, p in zip(stride, patch, strict=True)):
            raise ValueError(f"stride={stride} is larger than patch_size={patch}: pixels between patches would be lost")
        check_choices(self)
        if dims == 1 and self.scan not in ("alternate", "raster", "bidirectional"):
            raise ValueError(f"scan={self.scan!r} needs at least two dimensions, img_size={size} has one")
        if self.in_chans < 1 or self.num_classes < 0:
            raise ValueError(f"in_chans={self.in_chans} must be at least 1, num_classes={self.num_classes} at least 0")
        self._check_conv()
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f"drop_path_rate={self.drop_path_rate} must lie in [0, 1)")
        for name in ("final_norm_eps", "head_norm_eps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value} must be positive")

    def _check_conv(self) -> None:
        kernel = self.conv_kernel_size
        if kernel is None:
            return
        if self.conv == "none":
            raise ValueError(f"conv_kernel_size={kernel} has no effect with conv='none'; leave it out")
        if kernel < 1 or (self.conv == "grid" and kernel % 2 == 0):
            raise ValueError(f"conv_kernel_size={kernel} must be positive, and odd over the grid")

    @property
    def kernel_size(self) -> int:
        """Taps of the convolution in each dimension; 0 = no convolution."""
        if self.conv == "none":
            return 0
        return self.conv_kernel_size or (3 if self.conv == "grid" else 4)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of patches in each dimension of an image of `img_size`."""
        return self.grid_of(self.img_size)

    def grid_of(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Number of patches in each dimension; what does not fill a patch counts as one, and is padded with zeros."""
        assert self.stride is not None
        steps = zip(size, self.patch_size, self.stride, strict=True)
        return tuple(1 + max(0, math.ceil((n - patch) / stride)) for n, patch, stride in steps)


def _sizes(name: str, value: int | tuple[int, ...] | list[int], dims: int | None) -> tuple[int, ...]:
    """Whole positive numbers, one a dimension; a single number stands for all (two, where their number is open)."""
    sizes = (value,) * (dims or 2) if isinstance(value, int) else tuple(value)
    if len(sizes) == 1 and dims is not None:
        sizes *= dims
    if not 1 <= len(sizes) <= 3 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in sizes):
        raise ValueError(f"{name}={value} must be one to three positive whole numbers")
    if dims is not None and len(sizes) != dims:
        raise ValueError(f"{name}={value} has {len(sizes)} dimensions, img_size has {dims}")
    return sizes
