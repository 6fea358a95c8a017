"""How large a network is."""

from __future__ import annotations

from torch import nn


def count_weights(network: nn.Module) -> int:
    """Number of learned numbers; those that several layers share count once."""
    return sum(p.numel() for p in network.parameters())
