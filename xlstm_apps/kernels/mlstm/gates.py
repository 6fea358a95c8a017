r"""One-dimensional work of the chunkwise mLSTM: everything about the gates, before and after the matrix products.

Within a chunk let `b_t` be the running sum of the logarithms of the forget gates and `c_j = i_j - b_j`. The stabiliser
is a scan over the gates alone, `m_t = b_t + mu_t` with `mu_t = max(m_in, max_{j<=t} c_j)`, and

    weight of key j for query t           exp(c_j - mu_t)         (j <= t)
    weight of the memory for query t      exp(m_in - mu_t)
    weight of key j in the new memory     exp(c_j - mu_L)
    weight of the memory in the new one   exp(m_in - mu_L)

all of them at most 1. Sigmoid input gates are the same with `i` read as its logarithm and `mu_t = -b_t`, `m = 0`.
Sums run inside chunks and in float64, so nothing loses precision with the length of the sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.mlstm.reference import GATE_FLOOR

FACTOR_RANGE = 70.0
"""Largest range of exponents in a chunk for which weights are applied as a factor of q times a factor of k: half of it
either way stays far from the ends of float32."""


LOG_NOTHING = -80.0
"""Weights below the exponential of this are 0: smaller numbers would be denormal in products, hence very slow."""


def weight(exponent: Tensor) -> Tensor:
    """exp, and 0 where nothing is left of it."""
    return torch.where(exponent < LOG_NOTHING, 0.0, torch.exp(exponent))


class Gates(NamedTuple):
    """Gate quantities of all chunks, float64; L is the chunk size, the last chunk is padded to it."""

    c: Tensor
    """[NC, B, H, L]; -inf in the padding."""
    mu: Tensor
    """[NC, B, H, L]."""
    m: Tensor
    """Stabiliser of every step, [NC, B, H, L]; zeros with sigmoid input gates."""
    m_in: Tensor
    """Stabiliser the memory has at the start of each chunk and, last, at the end: [NC + 1, B, H]."""
    decay: Tensor
    """Weight of the memory in the memory one chunk later, [NC, B, H]."""


class Weights(NamedTuple):
    """Weights of all chunks, in the dtype of the arithmetic."""

    query: Tensor
    """Factor on the queries, [NC, B, H, L]."""
    key: Tensor
    """Factor on the keys, the scale included, [NC, B, H, L]."""
    memory: Tensor
    """Further factor on the query for what it reads from the memory, [NC, B, H, L or 1]."""
    write: Tensor
    """Further factor on the key for what it writes to the memory, [NC, B, H, L or 1]."""
    pair: tuple[Tensor, Tensor] | None
    """Exponents of queries and of keys that the factors leave over, [NC, B, H, L]; None if nothing is left."""


def to_chunks(gate: Tensor, size: int, padding: float) -> Tensor:
    """[B, T, H] -> [NC, B, H, size] in float64; may share memory with the gate."""
    length = gate.shape[1]
    count = -(-length // size)
    gate = gate.to(torch.float64)
    if count * size != length:
        gate = F.pad(gate, (0, 0, 0, count * size - length), value=padding)
    return gate.unflatten(1, (count, size)).permute(1, 0, 3, 2).contiguous()


def from_chunks(x: Tensor, length: int) -> Tensor:
    """[NC, B, H, size] -> [B, T, H]."""
    return x.permute(1, 0, 3, 2).flatten(1, 2)[:, :length]


def scan(igate: Tensor, fgate: Tensor, m0: Tensor | None, size: int, exponential: bool) -> Gates:
    """Gate quantities from the raw gates [B, T, H] and the stabiliser of the initial memory [B, H]."""
    log_f = F.logsigmoid(to_chunks(fgate, size, float("inf")).clamp(min=GATE_FLOOR))
    i = to_chunks(igate, size, float("-inf"))
    b = log_f.cumsum(-1)
    total = b[..., -1]
    if exponential:
        c = i - b
        mu = torch.cummax(c, -1).values
        start = mu.new_zeros(mu.shape[1:3]) if m0 is None else m0.to(torch.float64)
        # The same scan over whole chunks. Its sums are long, but they only choose the scale m, which cancels.
        sums = total.cumsum(0)
        best = torch.cummax(torch.cat([start[None], mu[..., -1] - sums + total]), 0).values
        m_in = torch.cat([start[None], sums + best[1:]])
        mu = torch.maximum(mu, m_in[:-1, ..., None])
        return Gates(c, mu, b + mu, m_in, weight(total + m_in[:-1] - m_in[1:]))
    zeros = torch.zeros_like(b)
    m_in = b.new_zeros(b.shape[0] + 1, *b.shape[1:3])
    return Gates(F.logsigmoid(i) - b, -b, zeros, m_in, weight(total))


def weights(gates: Gates, scale: float, dtype: torch.dtype) -> Weights:
    """Weights of all chunks.

    Where the exponents allow it (looked at on the CPU only, where looking is free) every weight is a product of one
    factor per query and one per key. Otherwise the factors carry only a remainder below 1/128, for precision, and
    `pair` the rest.
    """
    c, mu, m_in, last = gates.c, gates.mu, gates.m_in[:-1, ..., None], gates.mu[..., -1:]
    if c.device.type == "cpu" and bool((last - mu[..., :1]).max() <= FACTOR_RANGE):
        middle = (mu[..., :1] + last) / 2
        exponents, pair = (middle - mu, c - middle, m_in - middle, middle - last), None
    else:
        # Multiples of 1/64 up to 2^18 add without rounding in float32.
        query, key = (mu * 64).round() / 64, (c * 64).round().clamp_(min=-(2.0**23)) / 64
        exponents = (query - mu, (c - key).clamp_(min=-1.0), m_in - query, key - last)
        pair = (-query).to(dtype), key.to(dtype)
    query, key, memory, write = (weight(x).to(dtype) for x in exponents)
    return Weights(query, key * scale, memory, write, pair)


def through_stabiliser(dm: Tensor, dm_last: Tensor, gates: Gates) -> tuple[Tensor, Tensor, Tensor]:
    """Chains gradients of the stabiliser back through its maximum.

    From the last step whose input gate won, `m` is that gate plus the forget gates since, so a gradient runs back to
    that gate and to all forget gates in between.

    Args:
        dm: Gradient of every m_t, [NC, B, H, L] (zero in the padding).
        dm_last: Gradient of the last one as a state, [B, H].
        gates: What `scan` returned.

    Returns:
        Contributions to the gradients of the input gates and of the logarithms of the forget gates, [NC, B, H, L], and
        the gradient of the initial m, [B, H].
    """
    count, batch, heads, size = dm.shape
    previous = torch.cat([gates.m_in[:-1, ..., None], gates.mu[..., :-1]], -1)
    won = (gates.c > previous).permute(1, 2, 0, 3).reshape(batch, heads, -1)
    flat = dm.permute(1, 2, 0, 3).reshape(batch, heads, -1)
    # tail[t] = sum of dm from t on; what reaches step t is that minus the tail of the next step that was won anew.
    tail = F.pad(flat.flip(-1).cumsum(-1).flip(-1) + dm_last[..., None].to(flat.dtype), (0, 1))
    steps = torch.arange(count * size + 1, device=dm.device)
    winners = torch.where(F.pad(won, (0, 1), value=True), steps, count * size)
    following = winners.flip(-1).cummin(-1).values.flip(-1)[..., 1:]
    reached = tail[..., :-1] - tail.gather(-1, following)

    def chunked(x: Tensor) -> Tensor:
        return x.view(batch, heads, count, size).permute(2, 0, 1, 3)

    first = torch.where(won[..., 0], torch.zeros_like(reached[..., 0]), reached[..., 0])
    return chunked(reached * won), chunked(reached * ~won), first
