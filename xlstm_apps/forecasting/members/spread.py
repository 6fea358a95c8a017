"""Spreads around the median, read from a hidden vector per channel."""

from torch import Tensor, nn


class HiddenSpread(nn.Module):
    """[B, C, E] -> raw spreads [B, C, H, S]; an empty last axis where the median alone is asked for."""

    def __init__(self, width: int, horizon: int, spreads: int):
        super().__init__()
        self.shape = (horizon, spreads)
        self.weights = None
        if spreads > 0:
            self.weights = nn.Linear(width, horizon * spreads)
            nn.init.constant_(self.weights.bias, -0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        if self.weights is None:
            return hidden.new_zeros(*hidden.shape[:-1], *self.shape)
        return self.weights(hidden).unflatten(-1, self.shape)
