"""xLSTMs whose sequence is the channels: each channel's linear forecast is one token."""

import torch
from torch import Tensor, nn

from xlstm_apps.core import xLSTMBackbone, xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig
from xlstm_apps.forecasting.members.linear import LastValueLinear, TrendLinear
from xlstm_apps.forecasting.members.spread import HiddenSpread


class VariateScan(nn.Module):
    """xLSTMTime (Alharthi & Mahmood, AI 2024): trend and rest to the horizon linearly, then an xLSTM over channels."""

    normalised = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        horizon, width = head.prediction_length, backbone.embedding_dim
        self.base = TrendLinear(head.context_length, horizon)
        self.embed = nn.Linear(horizon, width)
        self.backbone = xLSTMBackbone(backbone)
        self.dropout = nn.Dropout(head.dropout)
        self.median = nn.Linear(width, horizon)
        self.spread = HiddenSpread(width, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        hidden = self.dropout(self.backbone(self.embed(self.base(x))))
        return self.median(hidden), self.spread(hidden)


class Mixer(nn.Module):
    """xLSTM-Mixer (Kraus et al., NeurIPS 2025): learned first tokens, and a second view with the embedding reversed.

    Both views go through the same xLSTM; the views side by side give the forecast.
    """

    normalised = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        horizon, width = head.prediction_length, backbone.embedding_dim
        self.base = LastValueLinear(head.context_length, horizon)
        self.embed = nn.Linear(horizon, width)
        self.tokens = nn.Parameter(0.01 * torch.randn(head.mixer_tokens, width))
        self.backbone = xLSTMBackbone(backbone)
        self.dropout = nn.Dropout(head.dropout)
        self.median = nn.Linear(2 * width, horizon)
        self.spread = HiddenSpread(2 * width, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        view = torch.cat([self.tokens.expand(len(x), -1, -1), self.embed(self.base(x))], dim=1)
        hidden = self.backbone(torch.cat([view, view.flip(-1)]))[:, len(self.tokens) :]
        hidden = self.dropout(torch.cat(hidden.chunk(2), dim=-1))  # [B, C, 2E]
        return self.median(hidden), self.spread(hidden)
