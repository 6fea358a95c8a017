"""Two transformers in their usual form, as baselines to be compared with under the same conditions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig
from xlstm_apps.forecasting.members.patch import patch_count, patches
from xlstm_apps.forecasting.members.spread import HiddenSpread


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each added and then normalised (Vaswani et al. 2017): [B, N, E] -> [B, N, E]."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, norm: type[nn.Module]):
        super().__init__()
        if width % heads:
            raise ValueError(f"backbone.embedding_dim {width} must be a multiple of backbone.num_heads {heads}")
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, width)
        )
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.norms[0](x + self.dropout(self.out(mixed)))
        return self.norms[1](x + self.dropout(self.feed_forward(x)))


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the embedding, over all tokens of all rows: [B, N, E] -> [B, N, E]."""

    def forward(self, input: Tensor) -> Tensor:
        tokens = input.flatten(0, 1)
        if self.training and len(tokens) == 1:  # one token has no deviation: a pass may end on a single window
            return F.batch_norm(
                tokens, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            ).view_as(input)
        return super().forward(tokens).view_as(input)


class PatchTST(nn.Module):
    """PatchTST (Nie et al., ICLR 2023): every channel by itself, patches of 16 every 8 steps, batch normalisation.

    Width, heads and blocks are those of the `backbone` section, the feed-forward is twice as wide.
    """

    normalised = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        self.length = min(16, head.context_length)
        self.stride = max(1, self.length // 2)
        count, self.padding = patch_count(head.context_length, self.length, self.stride)
        width, horizon = backbone.embedding_dim, head.prediction_length
        self.embed = nn.Linear(self.length, width)
        self.position = nn.Parameter(0.02 * torch.randn(count, width))
        self.layers = nn.Sequential(
            *(
                EncoderLayer(width, backbone.num_heads, 2 * width, head.dropout, TokenBatchNorm)
                for _ in range(backbone.num_blocks)
            )
        )
        self.dropout = nn.Dropout(head.dropout)
        self.median = nn.Linear(count * width, horizon)
        self.spread = HiddenSpread(width, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        tokens = self.embed(patches(x, self.length, self.stride, self.padding)) + self.position
        hidden = self.layers(self.dropout(tokens)).unflatten(0, x.shape[:2])
        return self.median(self.dropout(hidden.flatten(2))), self.spread(hidden[:, :, -1])


class iTransformer(nn.Module):  # noqa: N801 - its authors' spelling
    """iTransformer (Liu et al., ICLR 2024): one token per channel, attention between channels."""

    normalised = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        width, horizon = backbone.embedding_dim, head.prediction_length
        self.embed = nn.Linear(head.context_length, width)
        self.layers = nn.Sequential(
            *(
                EncoderLayer(width, backbone.num_heads, width, head.dropout, nn.LayerNorm)
                for _ in range(backbone.num_blocks)
            )
        )
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(head.dropout)
        self.median = nn.Linear(width, horizon)
        self.spread = HiddenSpread(width, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        hidden = self.norm(self.layers(self.dropout(self.embed(x))))
        return self.median(hidden), self.spread(hidden)
