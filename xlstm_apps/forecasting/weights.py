"""How much each member of the ensemble counts in the mean, from its forecasts of the validation part.

Shapes: M members, B windows, H horizon, C channels, K blocks.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

# Weight falls by a factor e for every such share by which an error is above the best one's; where the validation part
# holds less than ENOUGH independent windows, its word counts for less.
SHARE, ENOUGH = 0.05, 30
SIMPLE = ("naive", "seasonal", "nlinear")
"""What any forecaster should beat, and does not everywhere."""
# On one block the share by which a good model beats a simple one varies by about this much (standard deviation over the
# validation windows of ETT, Weather, Exchange, ILI and M4: 0.2 to 0.35). It counts as one block seen before.
DEVIATION = 0.3
# So many standard errors of that share are needed before the simple one is done without (one-sided 5 %).
ERRORS = 1.645


class Held(NamedTuple):
    """Forecasts at cutoffs that were held out, and what came."""

    forecasts: Tensor
    """Medians of the members, [M, B, H, C]."""
    target: Tensor
    """[B, H, C]"""
    known: Tensor
    """True = observed, [B, H, C]."""
    block: Tensor
    """Which horizon-long stretch of the validation part a window begins in, [B]: windows of one share their targets."""

    def errors(self, forecasts: Tensor) -> Tensor:
        """Sum of the absolute errors of forecasts [..., B, H, C] in every block, [..., K]."""
        windows = torch.where(self.known, (forecasts - self.target).abs(), 0).sum((-2, -1))
        return self._by_block(windows)

    def counts(self) -> Tensor:
        """Targets in every block, [K]."""
        return self._by_block(self.known.sum((1, 2)).to(self.target.dtype))

    def full(self) -> Self:
        """Without blocks in which nothing was observed."""
        kept = self.known.any(2).any(1)
        _, block = self.block[kept].unique(return_inverse=True)
        return type(self)(self.forecasts[:, kept], self.target[kept], self.known[kept], block)

    def _by_block(self, windows: Tensor) -> Tensor:
        blocks = int(self.block.max()) + 1
        return windows.new_zeros(*windows.shape[:-1], blocks).index_add_(-1, self.block, windows)


def member_weights(held: Held, members: Sequence[str], independent: float) -> Tensor:
    """Weights of the mean over the members, [M], with sum 1.

    The better a member the more it counts. Then every simple member that the mean does not beat by more than chance
    joins with a weight of up to that of the mean itself: in full at no gain, not at all once the gain is significant.

    Args:
        held: Forecasts of the validation part.
        members: Names of the members.
        independent: Windows of the validation part that do not overlap, in all series.
    """
    held = held.full()
    if not len(held.block):
        return torch.full((len(members),), 1 / len(members))
    errors, counts = held.errors(held.forecasts), held.counts()
    total = errors.sum(1) / counts.sum()
    for i, forecast in enumerate(held.forecasts):  # without a season the last season is the last value
        if not torch.isfinite(total[i]) or any(torch.equal(forecast, other) for other in held.forecasts[:i]):
            total[i] = torch.inf
    weights = trust(total, independent)
    mean = held.errors(torch.einsum("m,mbhc->bhc", weights, held.forecasts.nan_to_num()))
    joining = torch.zeros_like(weights)
    for i, name in enumerate(members):
        if name in SIMPLE and torch.isfinite(total[i]):
            joining[i] = 1 - significance(mean, errors[i], counts)
    return (weights + joining) / (1 + joining.sum())


def trust(errors: Tensor, independent: float) -> Tensor:
    """Weights [N] with sum 1 of forecasters with mean absolute errors [N] on so many independent windows."""
    worse = errors / errors.min().clamp(min=1e-12) - 1
    return torch.softmax(-worse / (SHARE * max(1, (ENOUGH / max(independent, 1)) ** 0.5)), 0)


def significance(ours: Tensor, theirs: Tensor, counts: Tensor) -> Tensor:
    """How sure it is that a forecaster is better than another: 0 at no gain, 1 from `ERRORS` standard errors on.

    Args:
        ours: Sum of its absolute errors in every block, [K].
        theirs: That of the other.
        counts: Targets in every block.
    """
    level = (theirs.sum() / counts.sum()).clamp(min=1e-12)
    gains = (theirs - ours) / counts / level
    blocks = len(gains)
    variance = (DEVIATION**2 + (gains - gains.mean()).square().sum()) / blocks
    gain = 1 - ours.sum() / theirs.sum().clamp(min=1e-12)
    return (gain / (ERRORS * (variance / blocks).sqrt())).clamp(0, 1)
