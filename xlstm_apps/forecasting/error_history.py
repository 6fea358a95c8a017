"""Errors of held-out forecasts counted as the truth became known, so that intervals at any time rest on what was known.

Shapes as in `conformal`; T blocks of time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xlstm_apps.forecasting.conformal import edges, prior, rho_at, step_groups


@dataclass(frozen=True)
class Policy:
    """How errors are weighed. Chosen in docs/decisions/0004-conformal-intervals.md."""

    half_life: float = 4.0
    """Horizons after which an error counts half, ..."""
    least_rows: int = 200
    """... but at least this many rows."""
    pooling: float = 8.0
    """Independent errors at which a unit's own share counts as much as that of all units."""
    prior: float = 2.0
    """Independent errors that the model's own quantiles stand for."""
    together: float = 0.5
    """U units count as U to this power, since their errors go together."""


class ErrorHistory:
    """Counts of r by block of time, unit, group of steps and bin.

    Args:
        horizon: H.
        units: U.
        blocks: T.
        levels: Levels of the model, whose outermost quantiles are the yardstick.
        stride: Rows between the windows.
        device: Where to count.
    """

    def __init__(
        self, horizon: int, units: int, blocks: int, levels: list[float], stride: int, device: torch.device | str
    ):
        self.horizon, self.units, self.blocks, self.levels, self.stride = horizon, units, blocks, levels, stride
        self.group = step_groups(horizon).to(device)
        self.groups = int(self.group[-1]) + 1
        self.edges = edges(device)
        self.bins = len(self.edges) - 1
        self.counts = torch.zeros(blocks * units * self.groups * self.bins, device=device)

    def add(self, errors: Tensor, mask: Tensor, block: Tensor, unit: Tensor) -> None:
        """Add a batch: errors r and mask [B, H, C], block of each target [B, H] (negative: left out), unit [B, C]."""
        bin_ = torch.bucketize(errors, self.edges[1:-1], right=True)
        place = (block[:, :, None] * self.units + unit[:, None, :]) * self.groups + self.group[None, :, None]
        place = place * self.bins + bin_
        used = mask & (block >= 0)[:, :, None]
        place = place[used]
        self.counts.index_add_(0, place, torch.ones((), device=place.device).expand(len(place)))

    def states(self, policy: Policy) -> Iterator[tuple[Tensor, Tensor]]:
        """Cumulative shares [U + 1, G, K] and independent errors [U + 1, G] after each block."""
        counts = self.counts.view(self.blocks, self.units, self.groups, self.bins)
        running = torch.zeros_like(counts[0])
        size = torch.bincount(self.group, minlength=self.groups).to(running)  # steps of each group
        ahead = torch.arange(1, self.horizon + 1, device=running.device).to(running)
        overlap = torch.zeros_like(size).index_add_(0, self.group, ahead) / size / self.stride
        overlap = overlap.clamp(min=1)
        half_life = max(policy.half_life * self.horizon, policy.least_rows) / self.stride
        own = prior(self.levels[0], self.levels[-1]).to(running)
        own = torch.diff(own, prepend=own.new_zeros(1))
        for block in counts:
            rows = block.sum() / self.units / self.horizon  # windows' worth of rows, per unit
            running = running * 0.5 ** (rows / half_life) + block
            independent = running.sum(-1) / size / overlap  # [U, G]
            together = running.sum(0)  # [G, K]
            n = independent.mean(0) * self.units**policy.together  # [G]
            density = together / together.sum(-1, keepdim=True).clamp(min=1e-9)
            pooled = (n[:, None] * density + policy.prior * own) / (n[:, None] + policy.prior)
            each = running / running.sum(-1, keepdim=True).clamp(min=1e-9)
            weight = independent / (independent + policy.pooling)
            mixed = weight[..., None] * each + (1 - weight[..., None]) * pooled
            shares = torch.cat([mixed, pooled[None]]).cumsum(-1)
            known = torch.cat([weight * independent + (1 - weight) * n, n[None]]) + policy.prior
            yield shares / shares[..., -1:], known

    def track(self, policy: Policy, levels: list[float]) -> Tensor:
        """rho before each block and after the last, [T + 1, U + 1, G, L]."""
        first = prior(self.levels[0], self.levels[-1]).to(self.counts).expand(self.units + 1, self.groups, -1)
        start = rho_at(first, first.new_full(first.shape[:-1], policy.prior), levels)
        return torch.stack([start, *(rho_at(shares, known, levels) for shares, known in self.states(policy))])
