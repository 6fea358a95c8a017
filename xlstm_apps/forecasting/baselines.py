"""Forecasts that need no training: what any model has to beat. With season 1 the seasonal naive is the naive one.

Shapes: B windows, L context, H horizon, C channels, Q quantile levels; everything in the units of the context.
"""

import torch
from torch import Tensor


def seasonal_naive(
    context: Tensor, mask: Tensor, season: int, horizon: int, deviation: Tensor, levels: list[float]
) -> Tensor:
    """Repeat the last season; a missing value is taken from the season before, then from the last observed value.

    The quantiles are those of a normal distribution with variance `deviation**2` for each season ahead (Hyndman &
    Athanasopoulos, Forecasting: Principles and Practice, 5.5).

    Args:
        context: [B, L, C].
        mask: True = observed, [B, L, C].
        season: Steps in one season; 1 repeats the last value.
        horizon: H.
        deviation: Root mean square of the seasonal differences on the training part, [B, C].
        levels: Quantile levels.

    Returns:
        [B, H, C, Q].
    """
    batch, length, channels = context.shape
    place = torch.arange(length, device=context.device)[None, :, None].expand_as(context)
    last = torch.where(mask, place, -1).amax(1, keepdim=True)
    point = torch.where(last >= 0, context.gather(1, last.clamp(min=0)), 0).expand(batch, season, channels).clone()
    for lap in range(length // season, 0, -1):  # oldest first, so that the latest observed value stays
        rows = slice(length - lap * season, length - (lap - 1) * season)
        point = torch.where(mask[:, rows], context[:, rows], point)
    ahead = torch.arange(horizon, device=context.device)
    spread = deviation[:, None] * (ahead // season + 1).sqrt()[:, None]  # [B, H, C]
    z = torch.special.ndtri(torch.tensor(levels, dtype=context.dtype, device=context.device))
    return point[:, ahead % season, :, None] + spread[..., None] * z
