"""How much each member of the ensemble counts in the mean, from its error on the validation part."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xlstm_apps.forecasting.config import UNTRAINED

# A member's weight falls by a factor e for every such share by which its error is above the best one's; where the
# validation part holds less than ENOUGH independent windows, its word counts for less.
SHARE, ENOUGH = 0.05, 30
# On one independent window the share by which a good model beats the last value varies by about this much (standard
# deviation over the validation windows of ETT, Weather, Exchange, ILI and M4: 0.2 to 0.35).
DEVIATION = 0.3
# So many standard errors of that share are needed before the trained members are believed alone (one-sided 5 %).
ERRORS = 1.645


def member_weights(errors: Tensor, members: Sequence[str], independent: float) -> Tensor:
    """Weights of the mean over the members, [M], with sum 1.

    Members that beat the last value by no more than chance (a random walk: prices, rates) had better not be believed:
    the weights then lean to the members without training, in full at no gain, not at all once the gain is significant.

    Args:
        errors: Mean absolute error of each member on the validation part, [M]; infinite where it failed.
        members: Their names.
        independent: Windows of the validation part that do not overlap.
    """
    independent = max(independent, 1)
    worse = errors / errors.min().clamp(min=1e-12) - 1
    weights = torch.softmax(-worse / (SHARE * max(1, (ENOUGH / independent) ** 0.5)), 0)
    if "naive" not in members:
        return weights
    last_value = errors[list(members).index("naive")].clamp(min=1e-12)
    significant = ERRORS * DEVIATION / independent**0.5
    lean = (1 - (1 - errors.min() / last_value) / significant).clamp(0, 1)
    simple = torch.tensor([name in UNTRAINED for name in members], dtype=weights.dtype, device=weights.device)
    simple = simple * torch.isfinite(errors)
    return torch.lerp(weights, simple / simple.sum().clamp(min=1), lean)
