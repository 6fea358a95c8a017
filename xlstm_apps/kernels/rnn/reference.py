r"""sLSTM, LSTM, GRU and Elman recurrences as loops over time: the ground truth for the other backends.

The sLSTM (Beck et al., arXiv 2405.04517, equations 8 to 18) carries a cell `c`, a normaliser `n` and a logarithmic
scale `m`. Its output depends on them only through `y = c / n` and `l = m + log n`, which obey

    l_t = logaddexp(l_{t-1} + log sigmoid(f_t), i_t)
    a_t = sigmoid(i_t - l_{t-1} - log sigmoid(f_t))          the share of the new input, in (0, 1)
    y_t = y_{t-1} + a_t (tanh(z_t) - y_{t-1})                h_t = sigmoid(o_t) y_t

so nothing can overflow and no maximum is needed. States are exchanged as (c, n, m) = (y, 1, l).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.state import STATES, RNNState, state_dtype

GATE_FLOOR = -1e3
"""Forget gates below this are read as this: exp of it is 0 in every dtype."""
LOG_EMPTY = -1e30
"""`l` of an empty memory: as good as -inf, without the NaN of inf - inf."""


def slstm_memory(state: RNNState) -> tuple[Tensor, Tensor]:
    """(c, n, m) -> (y, l), differentiable; an empty memory (n = 0) gives y = 0 and l = `LOG_EMPTY`."""
    c, n, m = state.c, state.n, state.m
    assert c is not None and n is not None and m is not None
    filled = n > 0
    safe = torch.where(filled, n, torch.ones_like(n))
    y = torch.where(filled, c / safe, torch.zeros_like(c))
    return y, torch.where(filled, m + torch.log(safe), torch.full_like(m, LOG_EMPTY)).clamp(min=LOG_EMPTY)


def empty_state(gates: Tensor, cell: str, dtype: torch.dtype) -> RNNState:
    """Zero memory for `gates` [B, .., H, D]."""
    zero = gates.new_zeros(gates.shape[0], *gates.shape[-2:], dtype=dtype)
    return RNNState(*[zero] * len(STATES[cell]))


def rnn_step(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState | None, *, cell: str
) -> tuple[Tensor, RNNState]:
    """One step: gates [B, G, H, D] -> h [B, H, D] and the new state."""
    dtype = state_dtype(gates, recurrent, bias)
    if state is None:
        state = empty_state(gates, cell, dtype)
    state = RNNState(state.h.to(dtype), *(None if x is None else x.to(dtype) for x in state[1:]))
    out_dtype = gates.dtype
    gates, recurrent, bias = (x.to(dtype) for x in (gates, recurrent, bias))
    mixed = torch.einsum("ghoi,bhi->bgho", recurrent, state.h)
    if cell == "gru":
        reset, update = torch.sigmoid(gates[:, :2] + mixed[:, :2] + bias[:2]).unbind(1)
        new = torch.tanh(gates[:, 2] + bias[2] + reset * (mixed[:, 2] + bias[3]))
        new_state = RNNState(new + update * (state.h - new))
    elif cell == "elman":
        new_state = RNNState(torch.tanh(gates + mixed + bias)[:, 0])
    else:
        i, f, z, o = (gates + mixed + bias).unbind(1)
        if cell == "lstm":
            assert state.c is not None
            c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(z)
            new_state = RNNState(torch.sigmoid(o) * torch.tanh(c), c)
        else:
            y, log_n = slstm_memory(state)
            kept = log_n + F.logsigmoid(f.clamp(min=GATE_FLOOR))
            y = y + torch.sigmoid(i - kept) * (torch.tanh(z) - y)
            # logaddexp; torch's own has no finite second derivative for an empty memory.
            log_n = torch.maximum(kept, i) + torch.log1p(torch.exp(-(kept - i).abs()))
            new_state = RNNState(torch.sigmoid(o) * y, y, torch.ones_like(y), log_n)
    return new_state.h.to(out_dtype), new_state


def rnn(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState | None, *, cell: str
) -> tuple[Tensor, RNNState]:
    """The whole sequence, step by step; shapes and options as in `xlstm_apps.kernels.rnn`."""
    if state is None:
        state = empty_state(gates, cell, state_dtype(gates, recurrent, bias))
    outputs = []
    for t in range(gates.shape[1]):
        h, state = rnn_step(gates[:, t], recurrent, bias, state, cell=cell)
        outputs.append(h)
    return torch.stack(outputs, 1), state
