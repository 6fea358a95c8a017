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


def naive2(context: Tensor, mask: Tensor, season: int, horizon: int) -> Tensor:
    """M4's Naive2: the last value, seasonally adjusted where the past is significantly seasonal.

    The test is on the autocorrelation at the season (90 % level), the adjustment the ratio to a centred moving average
    (Makridakis et al., The M4 Competition, Int. J. Forecasting 2020). Series that are not positive throughout are not
    adjusted. Gaps are filled by the last value.

    Args:
        context: Values in the data's own units, [B, L, C]; the longer the better.
        mask: True = observed, [B, L, C].
        season: Steps in one season.
        horizon: H.

    Returns:
        [B, H, C].
    """
    batch, length, channels = context.shape
    rows = context.transpose(1, 2).reshape(-1, length).double()
    seen = mask.transpose(1, 2).reshape(-1, length)
    place = torch.arange(length, device=rows.device).expand_as(rows)
    last = torch.where(seen, place, -1).cummax(1).values
    y = torch.where(last >= 0, rows.gather(1, last.clamp(min=0)), 0)
    begun = last >= 0
    forecast = y[:, -1:].expand(-1, horizon)
    if season > 1 and length >= 3 * season:
        index, usable = _seasonal_indices(y, begun, season)
        ahead = torch.arange(horizon, device=rows.device) % season
        adjusted = y[:, -1:] / index[:, -1:] * index[:, ahead]
        forecast = torch.where((usable & _is_seasonal(y, begun, season))[:, None], adjusted, forecast)
    return forecast.to(context.dtype).reshape(batch, channels, horizon).transpose(1, 2)


def _is_seasonal(y: Tensor, begun: Tensor, season: int) -> Tensor:
    """Whether the autocorrelation at the season exceeds its 90 % limit (Bartlett), [R]; needs three seasons."""
    count = begun.sum(1)
    centred = torch.where(begun, y - (y * begun).sum(1, keepdim=True) / count.clamp(min=1)[:, None], 0)
    variance = centred.square().sum(1).clamp(min=1e-30)
    lags = [(centred[:, lag:] * centred[:, :-lag]).sum(1) / variance for lag in range(1, season + 1)]
    limit = 1.645 * ((1 + 2 * sum(lag.square() for lag in lags[:-1])) / count.clamp(min=1)).sqrt()
    return (count >= 3 * season) & (lags[-1].abs() > limit)


def _seasonal_indices(y: Tensor, begun: Tensor, season: int) -> tuple[Tensor, Tensor]:
    """Multiplicative index of each place in the season, first that after the last row, [R, season]; and where there is
    one, [R]."""
    even = season % 2 == 0
    weight = torch.full((season + even,), 1.0 / season, dtype=y.dtype, device=y.device)
    if even:
        weight[[0, -1]] /= 2
    width, half = len(weight), len(weight) // 2
    average = y.unfold(1, width, 1) @ weight  # [R, L - width + 1], centred at half, half + 1, ...
    inside = begun[:, : average.shape[1]]  # filled forward, so begun at its left end means begun throughout
    ratio = torch.where(inside & (average > 0), y[:, half : half + average.shape[1]] / average.clamp(min=1e-30), 0)
    place = (torch.arange(average.shape[1], device=y.device) + half - y.shape[1]) % season
    total = torch.zeros(len(y), season, dtype=y.dtype, device=y.device).index_add_(1, place, ratio)
    count = torch.zeros_like(total).index_add_(1, place, inside.to(y.dtype))
    index = total / count.clamp(min=1)
    usable = (count > 0).all(1) & (torch.where(begun, y, 1) > 0).all(1) & (index > 0).all(1)
    index = index / index.mean(1, keepdim=True).clamp(min=1e-30)
    return torch.where(usable[:, None], index, 1), usable
