r"""mLSTM of sequences that fit into one chunk, from the empty memory, where h alone is wanted: small images, patches of
series. What carries memory from chunk to chunk falls away, and so does most of the time, which short calls spend
between operations rather than in them.

With the weights of `gates.py`, S = (Q K^T) o D (lower triangle) and u its sums over rows,

    h = S V / (max(|u|, exp(-m)) + eps)

and backward, with dU = dh / den and du = -(dU . h) sign(u) [|u| > exp(-m)],

    dS = (dU V^T + du) o D      dQ = dS K      dK = dS^T Q      dV = S^T dU
    di = k . dk                 d log f_t = sum_{s>=t} (q_s . dq_s - k_s . dk_s)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from xlstm_apps.kernels.mlstm import gates as gate_scan
from xlstm_apps.kernels.mlstm.chunkwise import between, weigh
from xlstm_apps.kernels.mlstm.reference import GATE_FLOOR
from xlstm_apps.kernels.state import state_dtype


class Short(torch.autograd.Function):
    """q, k [B, T, H, K], v [B, T, H, V], gates [B, T, H], eps, scale -> h [B, T, H, V]; exponential input gates."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, eps: float, scale: float) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            dtype = state_dtype(q, k, v, igate, fgate)
            gates = gate_scan.scan(igate, fgate, None, q.shape[1], True)
            weights = gate_scan.weights(gates, scale, dtype)
            queries = rows(q) * weights.query[0][..., None]
            keys = rows(k) * weights.key[0][..., None]
            values = rows(v).to(dtype)
            pairs = None
            if weights.pair is not None:
                row, column = weights.pair
                pairs = between(row[0, ..., None] + column[0, ..., None, :])
            scores = weigh(queries @ keys.mT, pairs)
            reading = scores.sum(-1)
            floor = torch.exp(-gates.m[0]).to(dtype)
            factor = torch.maximum(reading.abs(), floor).add_(eps).reciprocal_()
            h = torch.empty(v.shape, dtype=v.dtype, device=v.device)
            rows(h).copy_((scores @ values).mul_(factor[..., None]))
        ctx.save_for_backward(queries, keys, values, scores, reading, floor, factor, h, igate, fgate)
        ctx.parts = gates, weights, pairs, eps, tuple(x.dtype for x in (q, k, v))
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, dh: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        queries, keys, values, scores, reading, floor, factor, h, igate, fgate = ctx.saved_tensors
        gates, weights, pairs, eps, dtypes = ctx.parts
        with torch.autocast(dh.device.type, enabled=False):
            du = rows(dh) * factor[..., None]
            delta = (du * rows(h)).sum(-1)
            through = torch.where(reading.abs() > floor, delta * -reading.sign(), 0.0)
            dscores = weigh((du @ values.mT).add_(through[..., None]), pairs)
            dv = scores.mT @ du
            dq, dk = dscores @ keys, dscores.mT @ queries
            written = (dk * keys).sum(-1)
            change = (dq * queries).sum(-1).sub_(written)
            dlog_f = change.flip(-1).cumsum(-1, dtype=torch.float64).flip(-1)
            di_m, dlog_f_m, _ = gate_scan.through_stabiliser(
                (delta * -eps)[None].double(), delta.new_zeros((), dtype=torch.float64).expand(delta.shape[:2]), gates
            )
            di = (written + di_m[0]).mT.to(igate.dtype)
            df = (dlog_f + dlog_f_m[0]).mT * torch.sigmoid(-fgate.to(torch.float64))
            df = torch.where(fgate < GATE_FLOOR, 0.0, df).to(fgate.dtype)
            dq, dk = dq.mul_(weights.query[0][..., None]), dk.mul_(weights.key[0][..., None])
            dq, dk, dv = (rows(x).to(dtype) for x, dtype in zip((dq, dk, dv), dtypes, strict=True))
        return dq, dk, dv, di, df, None, None


def rows(x: Tensor) -> Tensor:
    """[B, T, H, D] as [B, H, T, D], and back."""
    return x.transpose(1, 2)
