"""Rotary positions (Su et al. 2021, "RoFormer"): neighbouring pairs of features are turned by position x frequency."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosine and sine [B, T, I / 2] of the angle by which each pair of I features is turned."""

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Turn features [B, T, I]; what is summed over products of two turned ones depends on distances only."""
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([even * self.cos - odd * self.sin, even * self.sin + odd * self.cos], dim=-1)
        return turned.flatten(-2).to(x.dtype)

    def flip(self) -> Rotation:
        """Of the same steps read backwards."""
        return Rotation(self.cos.flip(1), self.sin.flip(1))


def rotation_at(positions: Tensor, width: int, base: float, dtype: torch.dtype) -> Rotation:
    """The rotation of features [B, T, width] at positions [B, T]: pair n turns by position * base ** (-2 n / width).

    Angles are computed in double precision, where there is one, so that they stay right at any position; `dtype` is
    that of the features, turned in at least single precision.
    """
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    pairs = torch.arange(0, width, 2, dtype=exact, device=positions.device)
    angle = positions.unsqueeze(-1).to(exact) * base ** (-pairs / width)
    dtype = torch.promote_types(dtype, torch.float32)
    return Rotation(angle.cos().to(dtype), angle.sin().to(dtype))
