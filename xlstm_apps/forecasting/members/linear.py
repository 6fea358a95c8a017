"""Forecasts that are one matrix product (Zeng et al., AAAI 2023), shared by all channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig

TREND_STEPS = 25  # moving average of DLinear and xLSTMTime


def mean_start(context: int, horizon: int) -> nn.Linear:
    """A linear map that starts as the mean of the context."""
    layer = nn.Linear(context, horizon)
    nn.init.constant_(layer.weight, 1 / context)
    nn.init.zeros_(layer.bias)
    return layer


class LastValueLinear(nn.Module):
    """The past minus its last value, times one matrix, plus that value: [..., L] -> [..., H]."""

    def __init__(self, context: int, horizon: int):
        super().__init__()
        self.weights = nn.Linear(context, horizon)
        nn.init.zeros_(self.weights.weight)  # start from the naive forecast, hard to beat where nothing repeats
        nn.init.zeros_(self.weights.bias)

    def forward(self, x: Tensor) -> Tensor:
        last = x[..., -1:]
        return last + self.weights(x - last)


class TrendLinear(nn.Module):
    """One matrix for the moving average and one for the rest: [..., L] -> [..., H]."""

    def __init__(self, context: int, horizon: int):
        super().__init__()
        self.trend, self.rest = mean_start(context, horizon), mean_start(context, horizon)

    def forward(self, x: Tensor) -> Tensor:
        half = TREND_STEPS // 2
        padded = F.pad(x.flatten(0, -2)[:, None], (half, half), mode="replicate")
        trend = F.avg_pool1d(padded, TREND_STEPS, 1)[:, 0].view_as(x)
        return self.trend(trend) + self.rest(x - trend)


class LinearSpread(nn.Module):
    """Spreads that follow from the past by one matrix, the same at every step but for a constant."""

    def __init__(self, context: int, horizon: int, spreads: int):
        super().__init__()
        # Zero weights: every window starts with the same spreads.
        self.weights = nn.Parameter(torch.zeros(context, spreads))
        self.by_step = nn.Parameter(torch.full((horizon, spreads), -0.5))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] -> [B, C, H, S]."""
        return (x @ self.weights)[..., None, :] + self.by_step


class Naive(nn.Module):
    """The last value, with learned spreads: what the others are averaged with where nothing can be foreseen."""

    normalised = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        self.horizon = head.prediction_length
        self.spread = LinearSpread(head.context_length, self.horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        return x[..., -1:].expand(*x.shape[:-1], self.horizon), self.spread(x)


class Seasonal(Naive):
    """The last season again, with learned spreads; the last value where the context holds no whole season."""

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__(head, backbone)
        season = head.season or 1
        self.season = season if season <= head.context_length else 1

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        laps = -(-self.horizon // self.season)
        median = x[..., -self.season :].repeat(*(1 for _ in x.shape[:-1]), laps)
        return median[..., : self.horizon], self.spread(x)


class NLinear(nn.Module):
    """NLinear; with the instance normalisation around it also known as RLinear."""

    normalised = True
    base: type[nn.Module] = LastValueLinear

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        context, horizon = head.context_length, head.prediction_length
        self.median = self.base(context, horizon)
        self.spread = LinearSpread(context, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        return self.median(x), self.spread(x)


class DLinear(NLinear):
    """DLinear; it sees the level of the window, and may pull the forecast towards that of the training part."""

    normalised = False
    base = TrendLinear
