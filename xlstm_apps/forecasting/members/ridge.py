"""Ridge regression (Hoerl & Kennard 1970) of what comes on what was, solved before training."""

import torch
from torch import Tensor, nn

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig
from xlstm_apps.forecasting.members.linear import LinearSpread


class Ridge(nn.Module):
    """The past minus its last value, times a matrix that stays as it was solved, plus that value; learned spreads.

    Least squares has one solution, which no number of small steps on noisy batches reaches; and where columns differ
    much, each can have a matrix of its own.
    """

    normalised = True
    by_channel = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        context, horizon = head.context_length, head.prediction_length
        # [G, L, H], G = 1 for all channels or one for each. Of zeros the forecast is the last value.
        self.weights = nn.Parameter(torch.zeros(head.ridge_channels or 1, context, horizon), requires_grad=False)
        self.spread = LinearSpread(context, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor, channels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        last = x[..., -1:]
        if len(self.weights) == 1:
            return last + (x - last) @ self.weights[0], self.spread(x)
        weights = self.weights if channels is None else self.weights.index_select(0, channels)
        if len(weights) != x.shape[1]:
            raise ValueError(
                f"the model has linear weights for each of {len(weights)} columns, and this table has {x.shape[1]}; "
                "give the columns it was trained on, or train with head.ridge_channels 1"
            )
        return last + ((x - last).transpose(0, 1) @ weights).transpose(0, 1), self.spread(x)
