"""Reading a sequence on both strands: reverse complements of rows and of packed documents, and their alignment.

A model that reads both strands with the same weights and combines what it found, aligned, is exactly equivariant under
the reverse complement, whatever its layers, heads and direction: exchanging the strands exchanges two summands. This is
reverse-complement parameter sharing (Shrikumar et al. 2017; Schiff et al. 2024, "Caduceus") with the second strand kept
in its own reading order, where no channel and no head has to be flipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mirror(x: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
    """Reverse time in every row [B, T, ...], or in every packed document of a row [1, T, ...]."""
    if cu_seqlens is None:
        return x.flip(1)
    borders = cu_seqlens.to(x.device).long()
    ends = (borders[:-1] + borders[1:] - 1).repeat_interleave(borders.diff(), output_size=x.shape[1])
    return x[:, ends - torch.arange(x.shape[1], device=x.device)]


def reverse_complement(ids: Tensor, complement: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
    """Token ids [B, T] as read on the other strand; `complement` [V] maps every id, and is its own inverse."""
    return complement[mirror(ids, cu_seqlens)]


def both_strands(ids: Tensor, complement: Tensor, cu_seqlens: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The given strand and, behind it, the other: [2 B, T], or [1, 2 T] packed, and the borders of that."""
    other = reverse_complement(ids, complement, cu_seqlens)
    if cu_seqlens is None:
        return torch.cat([ids, other]), None
    return torch.cat([ids, other], dim=1), torch.cat([cu_seqlens, cu_seqlens[1:] + ids.shape[1]])


def align_strands(x: Tensor, cu_seqlens: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What was computed on `both_strands`, at the places of the given one: two tensors [B, T, ...].

    `cu_seqlens` are the borders before `both_strands`.
    """
    own, other = x.chunk(2, dim=0 if cu_seqlens is None else 1)
    return own, mirror(other, cu_seqlens)


def check_complement(complement: Sequence[int], vocab_size: int) -> None:
    """Refuse a map of ids that is no complement, with a ValueError."""
    if len(complement) != vocab_size or any(
        not 0 <= i < vocab_size or complement[i] != n for n, i in enumerate(complement)
    ):
        raise ValueError(f"a complement must map each of {vocab_size} ids, and twice applied give the id itself")
