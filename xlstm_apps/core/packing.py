"""Several documents in one row, each on its own: index arithmetic for resets at their borders."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


class Packing:
    """Where the documents of a packed row [1, T, ...] begin and end.

    Args:
        cu_seqlens: Borders [N + 1] of N documents: 0, then the cumulative lengths, the last being T.
        length: T.

    Raises:
        ValueError: Borders that do not cut the row into documents of at least one step.
    """

    def __init__(self, cu_seqlens: Tensor, length: int) -> None:
        if cu_seqlens.dim() != 1 or cu_seqlens.is_floating_point():
            raise ValueError("cu_seqlens must be a 1-D tensor of whole numbers: 0, then the cumulative lengths")
        borders = cu_seqlens.tolist()
        lengths = [stop - start for start, stop in itertools.pairwise(borders)]
        if len(borders) < 2 or borders[0] != 0 or borders[-1] != length or min(lengths) < 1:
            raise ValueError(f"cu_seqlens must rise from 0 to the row's length {length}, got {borders}")
        self.cu_seqlens = cu_seqlens
        self.starts, self.stops = cu_seqlens[:-1].long(), cu_seqlens[1:].long()
        self.longest = max(lengths)
        steps = torch.arange(length, device=cu_seqlens.device)
        #: [T] steps since the beginning of the document
        self.position = steps - self.starts.repeat_interleave(self.stops - self.starts, output_size=length)

    def reversed(self) -> Packing:
        """The packing of the row read backwards."""
        length = int(self.position.numel())
        return Packing(length - self.cu_seqlens.flip(0), length)

    def pad_left(self, x: Tensor, filler: Tensor) -> tuple[Tensor, Tensor]:
        """Documents as a batch: [1, T, ...] -> [N, L, ...] ending at the last step, and where it is real, [N, L].

        `filler` [...] stands before shorter documents. `batch[real]` is the packed row again.
        """
        index, real = self._tail(self.longest)
        mask = real.view(*real.shape, *(1,) * (x.dim() - 2))
        return torch.where(mask, x[0, index], filler), real

    def last(self, x: Tensor, steps: int) -> Tensor:
        """The last `steps` steps of every document, zeros before its first: [1, T, E] -> [N, steps, E]."""
        index, real = self._tail(steps)
        return x[0, index] * real.unsqueeze(-1)

    def _tail(self, steps: int) -> tuple[Tensor, Tensor]:
        index = self.stops[:, None] - steps + torch.arange(steps, device=self.stops.device)
        real = index >= self.starts[:, None]
        return index.clamp(min=0), real
