"""Errors of held-out forecasts counted as the truth became known, so that intervals at any time rest on what was known.

Shapes as in `conformal`; T blocks of time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xlstm_apps.forecasting.conformal import NORMAL, State, edges, prior, rho_at, step_groups

WATCHED = [0.025, 0.1, 0.9, 0.975]
"""Levels of the two intervals whose coverage is watched."""


@dataclass(frozen=True)
class Policy:
    """How errors are weighed. Chosen in docs/decisions/0004-conformal-intervals.md."""

    half_life: float = 4.0
    """Horizons after which an error counts half, ..."""
    least_rows: int = 200
    """... but at least this many rows."""
    pooling: float = 8.0
    """Independent errors at which a unit's own share counts as much as that of all units."""
    prior: float = 0.5
    """Independent errors that the model's own quantiles stand for."""
    together: float = 0.25
    """U units count as U to this power, since their errors go together."""
    mirror: float = 8.0
    """Independent errors at which three quarters of an error count on its own side of the median and a quarter on the
    other: few errors tell how large they are, but lie on one side by chance."""
    gain: float = 0.5
    """How far the level read moves per independent error by which coverage was off; 0: not at all."""


class ErrorHistory:
    """Counts of r by block of time, unit, group of steps and bin.

    Args:
        horizon: H.
        units: U.
        blocks: T.
        levels: Levels of the model, whose outermost quantiles are the yardstick.
        stride: Rows between the windows.
        rows_per_block: Rows of time in a block.
        device: Where to count.
    """

    def __init__(
        self,
        horizon: int,
        units: int,
        blocks: int,
        levels: list[float],
        *,
        stride: int,
        rows_per_block: int,
        device: torch.device | str = "cpu",
    ):
        self.horizon, self.units, self.blocks, self.stride = horizon, units, blocks, stride
        self.rows_per_block = rows_per_block
        self.group = step_groups(horizon).to(device)
        self.groups = int(self.group[-1]) + 1
        self.edges = edges(device)
        self.bins = len(self.edges) - 1
        self.counts = torch.zeros(blocks * units * self.groups * self.bins, device=device)
        cumulative = prior(levels[0], levels[-1]).to(device)
        self.prior = torch.diff(cumulative, prepend=cumulative.new_zeros(1))
        self.steps = torch.bincount(self.group, minlength=self.groups).to(self.prior)
        """Steps of each group, [G]."""
        ahead = torch.arange(1, horizon + 1, device=device).to(self.prior)
        self.ahead = torch.zeros_like(self.steps).index_add_(0, self.group, ahead) / self.steps
        """Their mean number: errors of forecasts fewer rows apart share part of what came unforeseen."""

    def add(self, errors: Tensor, mask: Tensor, block: Tensor, unit: Tensor) -> None:
        """Add a batch: errors r and mask [B, H, C], block of each target [B, H] (negative: left out), unit [B, C]."""
        place = (block[:, :, None] * self.units + unit[:, None, :]) * self.groups + self.group[None, :, None]
        place = place * self.bins + torch.bucketize(errors.contiguous(), self.edges[1:-1], right=True)
        place = place[mask & (block >= 0)[:, :, None]]
        self.counts.index_add_(0, place, self.counts.new_ones(1).expand(len(place)))

    def independent(self, counts: Tensor) -> Tensor:
        """Independent errors in counts of any units, [..., G] from [..., G, K]."""
        return counts.sum(-1) / self.steps / (self.ahead / self.stride).clamp(min=1)

    def states(self, policy: Policy) -> Iterator[State]:
        """What is known before the first block and after each: [U + 1, G], the last unit all of them."""
        memory, control = _Memory(self, policy), _LevelControl(self, policy)
        state = memory.state(control.read)
        yield state
        for block in self.counts.view(self.blocks, self.units, self.groups, self.bins):
            control.watch(state, block)
            memory.add(block)
            state = memory.state(control.read)
            yield state

    def track(self, policy: Policy, levels: list[float]) -> Tensor:
        """rho before each block and after the last, [T + 1, U + 1, G, L]."""
        return torch.stack([rho_at(state, levels) for state in self.states(policy)])


class _Memory:
    """Counts that fade, and the distribution mixed from a unit's own, that of all units, and the model's."""

    def __init__(self, history: ErrorHistory, policy: Policy):
        self.history, self.policy = history, policy
        self.counts = history.counts.new_zeros(history.units, history.groups, history.bins)
        self.half_life = max(policy.half_life * history.horizon, policy.least_rows) / history.stride

    def add(self, block: Tensor) -> None:
        # Time passes by what became known, so that gaps and series of different dates do not empty the memory.
        passed = block.sum() / self.history.units / self.history.horizon
        self.counts = self.counts * 0.5 ** (passed / self.half_life) + block

    def state(self, read: Tensor) -> State:
        history, policy = self.history, self.policy
        independent = history.independent(self.counts)  # [U, G]
        together = self.counts.sum(0)  # [G, K]
        n = independent.mean(0) * history.units**policy.together
        together = together / together.sum(-1, keepdim=True).clamp(min=1e-9)
        pooled = (n[:, None] * together + policy.prior * history.prior) / (n[:, None] + policy.prior)
        own = self.counts / self.counts.sum(-1, keepdim=True).clamp(min=1e-9)
        pooled, own = self._both_sides(pooled, n), self._both_sides(own, independent)
        weight = independent / (independent + policy.pooling)
        mixed = torch.lerp(pooled.expand_as(own), own, weight[..., None])
        shares = torch.cat([mixed, pooled[None]]).cumsum(-1)
        known = torch.cat([torch.lerp(n.expand_as(independent), independent, weight), n[None]]) + policy.prior
        return State(shares / shares[..., -1:], known, read.expand(history.units + 1, -1, -1))

    def _both_sides(self, shares: Tensor, independent: Tensor) -> Tensor:
        """Shares of r [..., K] drawn towards those of an error that could as well have fallen on the other side."""
        other = 0.5 * self.policy.mirror / (independent + self.policy.mirror).clamp(min=1e-9)
        return torch.lerp(shares, shares.flip(-1), other[..., None])


class _LevelControl:
    """Adaptive conformal inference (Gibbs & Candes, NeurIPS 2021): levels move until the intervals cover right.

    Each block is judged by the intervals issued when its targets were a group's mean number of steps ahead.
    """

    def __init__(self, history: ErrorHistory, policy: Policy):
        self.history, self.gain = history, policy.gain
        self.read = history.prior.new_tensor(NORMAL).expand(history.groups, -1)
        self.issued: list[Tensor] = []  # rho of the watched levels, [U, G, 4]
        self.trusted: list[Tensor] = []  # [G]
        self.lag = (history.ahead / history.rows_per_block).round().long()

    def watch(self, state: State, block: Tensor) -> None:
        """Compare a block of counts [U, G, K] with what was said about it; `state` is what is known before it."""
        self.issued.append(rho_at(state, WATCHED)[:-1])
        self.trusted.append(state.known[-1] > 1.5)
        source = (len(self.issued) - 1 - self.lag).clamp(min=0).tolist()
        issued = torch.stack([self.issued[i][:, g] for g, i in enumerate(source)], 1)
        trusted = torch.stack([self.trusted[i][g] for g, i in enumerate(source)])
        total = block.sum(-1)  # [U, G]
        found = State(block.cumsum(-1) / total.clamp(min=1)[..., None], total, self.read).share(issued)
        below, above = found[..., [1, 0]], found[..., [2, 3]]
        weight = (total / total.sum(0).clamp(min=1))[..., None]
        missed = 1 - ((above - below) * weight).sum(0)  # [G, 2]
        fresh = (self.history.independent(block).mean(0).clamp(max=1) * trusted)[:, None]
        step = self.gain * fresh * (missed - missed.new_tensor([0.2, 0.05])) * missed.new_tensor([1.0, 2.0])
        centre = self.read.new_tensor(NORMAL)
        read = (self.read * step.exp()).clamp(centre / 3, centre * 3)
        # Levels must not cross: the outer one stays beyond the inner one.
        self.read = torch.stack([read[:, 0], torch.maximum(read[:, 1], 1.1 * read[:, 0])], 1)
