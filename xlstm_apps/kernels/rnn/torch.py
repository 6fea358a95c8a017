"""sLSTM, LSTM, GRU and Elman cells in plain torch, for the CPU and any other device, with their own backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.rnn import loop
from xlstm_apps.kernels.rnn.reference import empty_state, rnn_step, slstm_memory
from xlstm_apps.kernels.state import RNNState, state_dtype

__all__ = ["rnn", "rnn_step"]


def rnn(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState | None, *, cell: str
) -> tuple[Tensor, RNNState]:
    """Shapes and options as in `xlstm_apps.kernels.rnn`."""
    if state is None:
        state = empty_state(gates, cell, state_dtype(gates, recurrent, bias))
    c, log_n = slstm_memory(state) if cell == "slstm" else (state.c, None)
    inputs = (gates, recurrent, bias, state.h, c, log_n)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    h, last, last_c, last_log_n, *_ = rnn_torch_forward(*inputs, cell, save)
    if cell == "slstm":
        return h, RNNState(last, last_c, torch.ones_like(last_c), last_log_n)
    return h, RNNState(last, last_c if cell == "lstm" else None)


@torch.library.custom_op("xlstm_apps::rnn_torch_forward", mutates_args=())
def rnn_torch_forward(
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    h: Tensor,
    c: Tensor | None,
    log_n: Tensor | None,
    cell: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Outputs, the final h, c, l (those the cell has, else empty) and, with `save`, `loop.Saved`."""
    with torch.autocast(gates.device.type, enabled=False):
        output, last, saved = loop.forward(gates, recurrent, bias, loop.Carry(h, c, log_n), cell, save)
    c_last, log_n_last = (last.h.new_empty(0) if x is None else x for x in last[1:])
    pre, trace, aux = (last.h.new_empty(0) for _ in range(3)) if saved is None else saved
    return output, last.h, c_last, log_n_last, pre, trace, aux


@rnn_torch_forward.register_fake
def _(gates, recurrent, bias, h, c, log_n, cell, save):
    dtype = state_dtype(gates, recurrent, bias)
    batch, length, slots, heads, dim = gates.shape

    def state(present: bool) -> Tensor:
        return gates.new_empty((batch, heads, dim) if present else (0,), dtype=dtype)

    def trace(*shape: int) -> Tensor:
        return gates.new_empty(shape if save else (0,), dtype=dtype)

    return (
        gates.new_empty(batch, length, heads, dim),
        state(True),
        state(c is not None),
        state(log_n is not None),
        trace(length, heads, batch, slots, dim),
        trace(heads, length + 1, batch, dim),
        gates.new_empty(heads, 0, dtype=dtype) if cell == "elman" and save else trace(heads, length + 1, batch, dim),
    )


@torch.library.custom_op("xlstm_apps::rnn_torch_backward", mutates_args=())
def rnn_torch_backward(
    doutput: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    dlog_n: Tensor | None,
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    pre: Tensor,
    h: Tensor,
    aux: Tensor,
    cell: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates, recurrent, bias and of the initial h, c, l."""
    with torch.autocast(gates.device.type, enabled=False):
        dgates, drecurrent, dbias, *dstate = loop.backward(
            doutput, (dh, dc, dlog_n), gates, recurrent, bias, loop.Saved(pre, h, aux), cell
        )
    dh0, dc0, dlog_n0 = dstate
    return dgates, drecurrent.to(recurrent.dtype), dbias.to(bias.dtype), dh0, dc0, dlog_n0


@rnn_torch_backward.register_fake
def _(doutput, dh, dc, dlog_n, gates, recurrent, bias, pre, h, aux, cell):
    batch, _, _, heads, dim = gates.shape
    states = (h.new_empty(batch, heads, dim) for _ in range(3))
    return *(x.new_empty(x.shape) for x in (gates, recurrent, bias)), *states


def _setup_context(ctx, inputs, output):
    gates, recurrent, bias, h, c, log_n, cell, _ = inputs
    traces = output[4:]
    empty = [x for x, present in zip(output[2:4], (c, log_n), strict=True) if present is None]
    ctx.mark_non_differentiable(*empty, *traces)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(gates, recurrent, bias, *traces)
    ctx.cell, ctx.state_dtypes = cell, [None if x is None else x.dtype for x in (h, c, log_n)]


def _backward(ctx, doutput, dh, dc, dlog_n, *_):
    *grads, dh0, dc0, dlog_n0 = rnn_torch_backward(doutput, dh, dc, dlog_n, *ctx.saved_tensors, ctx.cell)
    states = zip((dh0, dc0, dlog_n0), ctx.state_dtypes, strict=True)
    return *grads, *(None if dtype is None else x.to(dtype) for x, dtype in states), None, None


rnn_torch_forward.register_autograd(_backward, setup_context=_setup_context)
