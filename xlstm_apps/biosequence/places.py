"""Features of sequences that lie aligned to one another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 16
"""Features that are kept of every symbol."""


class Places(nn.Module):
    """A few features of every symbol beside each other, so that what reads them has weights of its own for every place.

    For promoters around their start, variants of one protein, windows around a site: where a motif lies tells as much
    as that it is there, which a mean over the symbols forgets.

    Args:
        dim: Features E of a symbol.
        length: Length T of all sequences.
    """

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.narrow = nn.Linear(dim, WIDTH)

    @property
    def features(self) -> int:
        """How many a sequence has."""
        return WIDTH * self.length

    def forward(self, x: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        """[B, T, E], or N packed documents [1, N * T, E], -> [B or N, T * WIDTH].

        Raises:
            ValueError: Sequences of another length.
        """
        lengths = [x.shape[1]] if cu_seqlens is None else cu_seqlens.diff().unique().tolist()
        if lengths != [self.length]:
            found = " and ".join(map(str, lengths[:3]))
            raise ValueError(
                f"pooling 'places' was trained on sequences of length {self.length}, not {found}: cut them to the same "
                "stretch, or train with another pooling"
            )
        return torch.nn.functional.gelu(self.narrow(x)).reshape(-1, self.features)
