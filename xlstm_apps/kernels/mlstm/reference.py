r"""The mLSTM recurrence as a loop over time: the ground truth the other backends are tested against.

Beck et al., "xLSTM: Extended Long Short-Term Memory" (arXiv 2405.04517), equations 19 to 27, and, for sigmoid input
gates, "Tiled Flash Linear Attention" (arXiv 2503.14376). Everything is plain differentiable torch.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.state import MLSTMState, memory_shapes, state_dtype

GATE_FLOOR = -1e3
"""Forget gates below this are read as this: exp of it is 0 in every dtype, and sums of it stay finite."""


def log_forget(fgate: Tensor) -> Tensor:
    """Logarithm of the forget gate from its raw preactivation; finite for `-inf` too."""
    return F.logsigmoid(fgate.clamp(min=GATE_FLOOR))


def exp_of_minus(m: Tensor) -> Tensor:
    """`exp(-m)`, held below overflow: where it gets there the output is 0 to any precision."""
    return torch.exp((-m).clamp(max=700.0 if m.dtype == torch.float64 else 80.0))


def empty_state(q: Tensor, v: Tensor, batch: int, dtype: torch.dtype) -> MLSTMState:
    """Zero memory for `q` [.., H, K] and `v` [.., H, V]."""
    return MLSTMState(**{name: q.new_zeros(shape, dtype=dtype) for name, shape in memory_shapes(q, v, batch).items()})


def mlstm_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    *,
    input_gate: str,
    normalize: bool,
    eps: float,
    scale: float,
) -> tuple[Tensor, MLSTMState]:
    """One step: q, k [B, H, K], v [B, H, V], gates [B, H] -> h [B, H, V] and the new state."""
    dtype = state_dtype(q, k, v, igate, fgate)
    c, n, m = state if state is not None else empty_state(q, v, q.shape[0], dtype)
    h_dtype = v.dtype
    q, k, v, igate, fgate, c, n, m = (x.to(dtype) for x in (q, k, v, igate, fgate, c, n, m))
    k = k * scale
    if input_gate == "exp":
        log_f = log_forget(fgate)
        # A plain choice rather than torch.maximum: where both are equal, the whole gradient goes to the memory.
        m_new = torch.where(log_f + m >= igate, log_f + m, igate)
        forget, write = torch.exp(log_f + m - m_new), torch.exp(igate - m_new)
        floor = exp_of_minus(m_new)
    else:
        forget, write, m_new = torch.sigmoid(fgate), torch.sigmoid(igate), m
        floor = torch.ones_like(m)
    c = forget[..., None, None] * c + (write[..., None] * k)[..., :, None] * v[..., None, :]
    n = forget[..., None] * n + write[..., None] * k
    h = (q[..., None, :] @ c).squeeze(-2)
    if normalize:
        h = h / (torch.maximum((q * n).sum(-1).abs(), floor) + eps)[..., None]
    elif input_gate == "exp":
        h = h * torch.exp(m_new)[..., None]
    return h.to(h_dtype), MLSTMState(c, n, m_new)


def mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    *,
    input_gate: str,
    normalize: bool,
    eps: float,
    scale: float,
    cu_seqlens: Tensor | None,
    chunk_size: int | None,
) -> tuple[Tensor, MLSTMState]:
    """The whole sequence, step by step; shapes and options as in `xlstm_apps.kernels.mlstm`."""
    del chunk_size  # nothing is chunked here
    options = {"input_gate": input_gate, "normalize": normalize, "eps": eps, "scale": scale}
    if cu_seqlens is None:
        return _one_pass(q, k, v, igate, fgate, state, **options)
    bounds = cu_seqlens.tolist()
    outputs, states = [], []
    for index, (start, end) in enumerate(pairwise(bounds)):
        row = slice(index, index + 1)
        memory = None if state is None else MLSTMState(state.c[row], state.n[row], state.m[row])
        h, last = _one_pass(*(x[:, start:end] for x in (q, k, v, igate, fgate)), state=memory, **options)
        outputs.append(h)
        states.append(last)
    c, n, m = (torch.cat([last[field] for last in states]) for field in range(3))
    return torch.cat(outputs, 1), MLSTMState(c, n, m)


def _one_pass(q, k, v, igate, fgate, state, **options) -> tuple[Tensor, MLSTMState]:
    if state is None:
        state = empty_state(q, v, q.shape[0], state_dtype(q, k, v, igate, fgate))
    outputs = []
    for t in range(q.shape[1]):
        h, state = mlstm_step(q[:, t], k[:, t], v[:, t], igate[:, t], fgate[:, t], state, **options)
        outputs.append(h)
    return torch.stack(outputs, 1), state
