"""Features of an image from those of its patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xlstm_apps.vision.config import Pooling


class Pool(nn.Module):
    """[B, S, E], by rows -> [B, F]; F is 2 E for "bilateral_concat", else E.

    With `attention`, a learned query weighs patches: softmax of its products with them.
    """

    def __init__(self, kind: Pooling, dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.num_features = 2 * dim if kind == "bilateral_concat" else dim
        self.query = nn.Parameter(torch.zeros(dim)) if kind == "attention" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "bilateral_concat":
            return torch.cat([x[:, 0], x[:, -1]], dim=-1)
        if self.kind == "bilateral_avg":
            return (x[:, 0] + x[:, -1]) / 2
        if self.query is not None:
            weights = (x @ self.query / x.shape[-1] ** 0.5).softmax(-1)
            return (weights.unsqueeze(1) @ x).squeeze(1)
        if self.kind == "mean":
            return x.mean(1)
        if self.kind == "max":
            return x.amax(1)
        return x[:, {"first": 0, "middle": x.shape[1] // 2, "last": -1}[self.kind]]

    def extra_repr(self) -> str:
        return self.kind
