"""What a segmentation network looks like, as plain data. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices
from xlstm_apps.vision.config import Scan

Where = Literal["none", "bottleneck", "encoder", "decoder", "all"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """A U-Net of residual blocks in which an xLSTM reads the feature maps of some stages.

    Sources: Ronneberger et al. 2015, "U-Net"; Chen et al. 2024, "xLSTM-UNet" (which reads one way only; here every
    stage that reads does so along all paths of its scan).
    """

    features: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of each stage, from the full resolution down to the bottleneck."""
    strides: tuple[int | tuple[int, ...], ...] | None = None
    """By how much each stage is coarser than the one before, one number or one for each dimension. None: 1, then 2."""
    kernel_sizes: tuple[int | tuple[int, ...], ...] = (3,)
    """Odd sizes of the convolutions of each stage; a single entry stands for all stages."""
    num_blocks: int = 1
    """Residual blocks in each stage of the encoder and of the decoder."""
    where: Where = "bottleneck"
    """Stages read by the xLSTM: the bottleneck; all of the encoder, or of the decoder, but those at full resolution;
    both. `none`: a plain U-Net."""
    scan: Scan = "alternate"
    """Paths along which they are read, as in vision models. `alternate`: by rows, from the start and from the end."""
    rounds: int = 1
    """How many times a stage goes through the paths of the scan. With `alternate`, one round is a pair of blocks."""
    num_heads: int = 4
    """Heads of every mLSTM."""
    dropout: float = 0.0
    """Probability of dropping a channel behind a residual block in training."""
    deep_supervision: bool = False
    """Predict at every resolution of the decoder, so that training can compare all of them."""

    def __post_init__(self) -> None:
        for name in ("features", "strides", "kernel_sizes"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(tuple(x) if isinstance(x, list | tuple) else x for x in value))
        if len(self.features) < 2 or any(not _whole(width) for width in self.features):
            raise ValueError(f"features={list(self.features)} must be two or more positive whole numbers")
        if self.strides is not None and len(self.strides) != len(self.features):
            raise ValueError(f"strides has {len(self.strides)} entries, features has {len(self.features)}: one a stage")
        if len(self.kernel_sizes) not in (1, len(self.features)):
            raise ValueError(f"kernel_sizes has {len(self.kernel_sizes)} entries; give one, or one for each stage")
        check_choices(self)
        for name in ("num_blocks", "rounds", "num_heads"):
            if not _whole(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number, at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1)")
        if self.where == "decoder" and len(self.features) < 3:
            raise ValueError("where='decoder' needs three stages: with two, the decoder has the full resolution only")

    def stage_strides(self, dims: int) -> list[tuple[int, ...]]:
        """Strides of every stage in every dimension."""
        given = self.strides or (1,) + (2,) * (len(self.features) - 1)
        return [_per_dimension("strides", entry, dims) for entry in given]

    def stage_kernels(self, dims: int) -> list[tuple[int, ...]]:
        """Sizes of the convolutions of every stage in every dimension."""
        entries = self.kernel_sizes * (len(self.features) if len(self.kernel_sizes) == 1 else 1)
        kernels = [_per_dimension("kernel_sizes", entry, dims) for entry in entries]
        if any(size % 2 == 0 for kernel in kernels for size in kernel):
            raise ValueError(f"kernel_sizes={list(self.kernel_sizes)} must be odd, so that a convolution has a middle")
        return kernels

    @property
    def read_by_encoder(self) -> frozenset[int]:
        """Stages, from 0 at full resolution, that the xLSTM reads in the encoder."""
        last = len(self.features) - 1
        stages = {"bottleneck": [last], "encoder": range(1, last + 1), "all": range(1, last + 1)}
        return frozenset(stages.get(self.where, ()))

    @property
    def read_by_decoder(self) -> frozenset[int]:
        """The same in the decoder, which ends at stage 0."""
        return frozenset(range(1, len(self.features) - 1) if self.where in ("decoder", "all") else ())


def strides_for(
    size: Sequence[int], spacing: Sequence[float] | None = None, *, stages: int = 6, smallest: int = 4
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Strides and kernel sizes for images of a size whose pixels need not be cubes.

    A dimension is halved while it stays at least `smallest` long and its pixels are not twice as long as the shortest;
    its convolutions have one tap until the others have become about as coarse.

    Args:
        size: Of a training patch.
        spacing: Length of a pixel in each dimension; None: all alike.
        stages: Most stages, that of full resolution included.
        smallest: Least length of the coarsest map.

    Returns:
        What `UNetConfig.strides` and `UNetConfig.kernel_sizes` take.

    Raises:
        ValueError: Sizes and spacings that do not go together.
    """
    spacing = [1.0] * len(size) if spacing is None else [*spacing]
    if len(spacing) != len(size) or any(not (length > 0 and math.isfinite(length)) for length in spacing):
        raise ValueError(f"spacing={spacing} must be one positive length for each of {len(size)} dimensions")
    if any(not _whole(n) for n in size) or stages < 2:
        raise ValueError(f"size={[*size]} must be positive whole numbers, stages={stages} at least 2")
    lengths, current = [*size], spacing
    strides = [(1,) * len(size)]
    kernels = [_kernel(current)]
    while len(strides) < stages:
        roomy = [n >= 2 * smallest for n in lengths]
        finest = min((s for s, room in zip(current, roomy, strict=True) if room), default=math.inf)
        step = tuple(2 if room and s < 2 * finest else 1 for s, room in zip(current, roomy, strict=True))
        if max(step) == 1:
            break
        lengths = [math.ceil(n / s) for n, s in zip(lengths, step, strict=True)]
        current = [length * s for length, s in zip(current, step, strict=True)]
        strides.append(step)
        kernels.append(_kernel(current))
    return strides, kernels


def _kernel(spacing: Sequence[float]) -> tuple[int, ...]:
    return tuple(3 if length < 2 * min(spacing) else 1 for length in spacing)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _per_dimension(name: str, entry: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    sizes = (entry,) * dims if isinstance(entry, int) else entry
    if len(sizes) != dims or any(not _whole(n) for n in sizes):
        raise ValueError(f"{name}: {entry} must be a positive whole number, or {dims} of them")
    return sizes


SMALL = UNetConfig(features=(16, 32, 64, 128), deep_supervision=True)
"""Trained in minutes on a CPU."""
