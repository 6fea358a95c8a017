"""What an output row is divided by, and what follows from that for gradients: of `q . n`, and of the stabiliser.

The stabiliser's gradient runs back along the chain of maxima until a token whose input gate won.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.mlstm.triton_gates import locate


@triton.jit
def row_factors(qn_ptr, m_ptr, rows, mask, eps, SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr):
    """What an output row is multiplied by: one over its denominator; and the denominator's slope in `q . n`.

    The slope is 0 where the floor is the larger one, else the sign of `q . n`.
    """
    floor = tl.full(rows.shape, 1.0, tl.float32)
    r = tl.full(rows.shape, 1.0, tl.float32)
    slope = tl.zeros(rows.shape, tl.float32)
    if not SIGMOID:
        m = tl.load(m_ptr + rows, mask=mask, other=0.0).to(tl.float32)
        r = tl.exp2(m)
        floor = tl.exp2(tl.minimum(-m, 115.0))
    if NORMALIZE:
        qn = tl.load(qn_ptr + rows, mask=mask, other=0.0)
        r = 1.0 / (tl.maximum(tl.abs(qn), floor) + eps)
        slope = tl.where(qn > floor, 1.0, tl.where(-qn > floor, -1.0, 0.0))
    return r, slope


@triton.jit
def store_stabiliser(kexp_ptr, qexp_ptr, dm_ptr, carry_ptr, open_ptr, unit, gates, dm, local, chunk_start, length):
    """The gradient of the stabiliser at some tokens of a chunk, and what is summed up of them.

    It runs back along the chain of maxima until a token whose input gate won: `carry` is what reaches the token before
    these from among them, `open` whether more may pass.
    """
    mask = local < length
    tl.store(dm_ptr + gates, dm, mask=mask)
    kexp = tl.load(kexp_ptr + gates, mask=mask, other=float("-inf"))
    earlier = tl.load(qexp_ptr + gates - 1, mask=mask & (local > chunk_start), other=0.0)
    winner = tl.min(tl.where(kexp > earlier, local, length), 0)
    tl.store(carry_ptr + unit, tl.sum(tl.where(local < winner, dm, 0.0), 0))
    tl.store(open_ptr + unit, tl.where(winner < length, 0.0, 1.0))


@triton.jit(do_not_specialize=["T", "chunks", "H", "eps"])
def delta_kernel(
    h_ptr, dh_ptr, q_ptr, qn_ptr, m_ptr, kexp_ptr, qexp_ptr,
    rowscale_ptr, dqn_ptr, inter_ptr, dqn_inter_ptr, added_ptr, dm_ptr, carry_ptr, open_ptr,
    cu_seqlens, chunk_offsets, chunk_docs,
    stride_hb, stride_ht, stride_hh, stride_gb, stride_gt, stride_gh, stride_qb, stride_qt, stride_qh,
    T, chunks, H, eps,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BV: tl.constexpr, SIGMOID: tl.constexpr,
    NORMALIZE: tl.constexpr, M_PATH: tl.constexpr,
    PACKED: tl.constexpr,
):  # fmt: skip
    """Per query: the factor of its output row, the gradient of its normaliser `q . n`, that of its stabiliser.

    Per chunk: what it adds to the gradient of the normaliser state, and sums of the stabiliser's.
    """
    pid = tl.program_id(0)
    head = pid % H
    chunk_id = pid // H
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    local = chunk * L + tl.arange(0, L)
    mask = local < length
    gates = (batch * H + head) * T + start + local
    qexp = tl.load(qexp_ptr + gates, mask=mask, other=float("inf"))
    inter = tl.exp2((-qexp).to(tl.float32))
    dqn = tl.zeros([L], tl.float32)
    dm = tl.zeros([L], tl.float32)
    delta = tl.zeros([L], tl.float32)
    tokens = start + local
    if NORMALIZE:
        h_rows = h_ptr + batch * stride_hb + head.to(tl.int64) * stride_hh + tokens * stride_ht
        dh_rows = dh_ptr + batch * stride_gb + head.to(tl.int64) * stride_gh + tokens * stride_gt
        for v in range(0, V, BV):
            columns = v + tl.arange(0, BV)
            inside = mask[:, None] & (columns < V)[None, :]
            h = tl.load(h_rows[:, None] + columns[None, :], mask=inside, other=0.0)
            dh = tl.load(dh_rows[:, None] + columns[None, :], mask=inside, other=0.0)
            delta += tl.sum(h.to(tl.float32) * dh.to(tl.float32), 1)
    rowscale, slope = row_factors(qn_ptr, m_ptr, gates, mask, eps, SIGMOID, NORMALIZE)
    if NORMALIZE:
        dm = -delta * rowscale
        dqn = dm * slope
        dm *= eps
        slot = chunk_id.to(tl.int64) * H + head
        q_rows = q_ptr + batch * stride_qb + head.to(tl.int64) * stride_qh + tokens * stride_qt
        for block in range(0, K, BV):
            dims = block + tl.arange(0, BV)
            q = tl.load(q_rows[:, None] + dims[None, :], mask=mask[:, None] & (dims < K)[None, :], other=0.0)
            q = q.to(tl.float32) * (inter * dqn)[:, None]
            tl.store(added_ptr + slot * K + dims, tl.sum(q, 0), mask=dims < K)
    tl.store(rowscale_ptr + gates, rowscale, mask=mask)
    tl.store(dqn_ptr + gates, dqn, mask=mask)
    tl.store(inter_ptr + gates, inter * rowscale, mask=mask)
    tl.store(dqn_inter_ptr + gates, inter * dqn, mask=mask)
    if M_PATH:
        slot = chunk_id.to(tl.int64) * H + head
        store_stabiliser(
            kexp_ptr, qexp_ptr, dm_ptr, carry_ptr, open_ptr, slot, gates, dm, local, chunk * L, length
        )  # fmt: skip
