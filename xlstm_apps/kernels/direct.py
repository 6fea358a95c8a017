"""Registered operators called directly, where nobody wants to see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xlstm_apps.kernels.dispatch import observed


def differentiable(
    operator: Any, forward: Callable[..., Tensor], vjp: Callable[..., tuple], setup_context: Callable[..., None]
) -> Callable[..., Tensor]:
    """Give an operator its gradient, and a call that leaves the dispatcher out where it can: the dispatcher's
    bookkeeping takes longer than the kernels of small calls.

    Args:
        operator: From `torch.library.custom_op`, with one output.
        forward: What it computes.
        vjp: From the context and the output's gradient to those of the inputs.
        setup_context: What it keeps for that, as `register_autograd` calls it.
    """
    operator.register_autograd(vjp, setup_context=setup_context)

    class Direct(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            setup_context(ctx, inputs, None)
            return forward(*inputs)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, dy):  # pyright: ignore[reportIncompatibleMethodOverride]
            return vjp(ctx, dy)

    def call(*inputs: Any) -> Tensor:
        tensors = tuple(x for x in inputs if isinstance(x, Tensor))
        if observed(tensors):
            return operator(*inputs)
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            return Direct.apply(*inputs)  # pyright: ignore[reportReturnType]
        return forward(*inputs)

    return call
