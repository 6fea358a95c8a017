"""Index arithmetic for rows of documents: padded to packed and back, begin tokens, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor


class Rows:
    """Padded rows [B, T] of the given lengths, as one packed row without the padding.

    Args:
        lengths: Length of every row [B].
        time: T.
        device: Where the rows are.

    Raises:
        ValueError: A row that is empty, or longer than T.
    """

    def __init__(self, lengths: Sequence[int] | Tensor, time: int, device: torch.device) -> None:
        lengths = torch.as_tensor(lengths, device=device).long()
        if lengths.dim() != 1 or int(lengths.min()) < 1 or int(lengths.max()) > time:
            raise ValueError(f"lengths must lie between 1 and the width {time} of the rows, got {lengths.tolist()}")
        #: [B, T] True where a row has a symbol
        self.real = torch.arange(time, device=device) < lengths[:, None]
        self.cu_seqlens = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [1, S, ...]."""
        return x[self.real].unsqueeze(0)

    def unpack(self, x: Tensor) -> Tensor:
        """[1, S, ...] -> [B, T, ...] with zeros behind shorter rows."""
        out = x.new_zeros(*self.real.shape, *x.shape[2:])
        out[self.real] = x[0]
        return out


def begin_documents(ids: Tensor, begin: int, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """Put `begin` before every row [B, T] or document [1, T]; also returns the borders and where the rest went."""
    if cu_seqlens is None:
        first = ids.new_full((len(ids), 1), begin)
        return torch.cat([first, ids], 1), None, torch.arange(1, ids.shape[1] + 1, device=ids.device)
    borders = cu_seqlens.to(ids.device).long()
    document = torch.arange(len(borders) - 1, device=ids.device)
    places = torch.arange(ids.shape[1], device=ids.device) + 1
    places = places + document.repeat_interleave(borders.diff(), output_size=ids.shape[1])
    longer = ids.new_full((1, ids.shape[1] + len(document)), begin)
    longer[:, places] = ids
    return longer, borders + torch.arange(len(borders), device=ids.device), places


def shift_right(ids: Tensor, begin: int, cu_seqlens: Tensor | None) -> Tensor:
    """What stands before every symbol: ids [B, T] one place later, `begin` first in every row or document."""
    shifted = torch.cat([ids.new_full((len(ids), 1), begin), ids[:, :-1]], 1)
    if cu_seqlens is not None:
        shifted[:, cu_seqlens[:-1].to(ids.device).long()] = begin
    return shifted


def pool(x: Tensor, how: Literal["mean", "last", "max"], cu_seqlens: Tensor | None) -> Tensor:
    """Features of rows [B, E] from those of their symbols [B, T, E]; of packed documents [N, E] from [1, T, E]."""
    if cu_seqlens is None:
        return x.mean(1) if how == "mean" else x[:, -1] if how == "last" else x.amax(1)
    borders = cu_seqlens.to(x.device).long()
    if how == "last":
        return x[0, borders[1:] - 1]
    document = torch.arange(len(borders) - 1, device=x.device)
    document = document.repeat_interleave(borders.diff(), output_size=x.shape[1])
    out = x.new_zeros(len(borders) - 1, x.shape[-1])
    if how == "mean":
        return out.index_add(0, document, x[0]) / borders.diff()[:, None]
    return out.scatter_reduce(0, document[:, None].expand_as(x[0]), x[0], "amax", include_self=False)
