"""Choosing the next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Constraint(Protocol):
    """What keeps a text to a form while it is drawn, token after token."""

    least: int
    """Tokens to add before a text may end."""

    def begin(self, prompts: Sequence[Tensor], max_new_tokens: int) -> None:
        """Take up the prompts, ids [T] each, before the first draw."""

    def choose(self, logits: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Tokens [B] from logits [B, V] of the prompts in their order; `draw` takes logits [b, V] to tokens [b]."""
        ...


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse options that make no sense or would have no effect, with a ValueError."""
    if temperature < 0:
        raise ValueError(f"temperature={temperature} must not be negative; 0 takes the most probable token")
    if temperature == 0 and (top_k is not None or top_p is not None):
        raise ValueError("top_k and top_p have no effect at temperature 0 (greedy); set temperature, for instance to 1")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} must lie in (0, 1]")


def sample(
    logits: Tensor,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Token ids [B] from logits [B, V].

    Args:
        logits: Scores before the softmax.
        temperature: 0 is greedy; otherwise logits are divided by it.
        top_k: Only the k most probable tokens are drawn.
        top_p: Only the smallest set of most probable tokens that together reach this probability is drawn
            (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration").
        generator: Source of randomness, on the device of the logits.
    """
    if temperature == 0:
        return logits.argmax(-1)
    scores = logits.float() / temperature
    if top_k is not None and top_k < scores.shape[-1]:
        weakest = scores.topk(top_k).values[:, -1:]
        scores = scores.masked_fill(scores < weakest, -torch.inf)
    probabilities = scores.softmax(-1)
    if top_p is not None:
        ranked, order = probabilities.sort(dim=-1, descending=True)
        before = ranked.cumsum(-1) - ranked
        probabilities = torch.zeros_like(ranked).scatter(-1, order, ranked.masked_fill(before >= top_p, 0.0))
    # What torch.multinomial does (the first of exponential arrival times wins), without its check of the values: that
    # waits for the device, and cannot be part of a CUDA graph.
    arrival = torch.empty_like(probabilities).exponential_(1.0, generator=generator)
    return (probabilities / arrival).argmax(-1)
