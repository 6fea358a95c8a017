"""Gradients of one chunk for heads of up to 128 dimensions: two kernels on tiles of it, no pair matrix in memory.

The general kernels write the pair matrices out, which costs more here than computing them twice: with rows of queries
for dq, gate sums and the row statistics that the scan over the memory's gradient needs; after it with rows of keys for
dk and dv. Formulas in `triton_chunkwise_bwd`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.mlstm.triton_gates import locate, rounded_exponents
from xlstm_apps.kernels.mlstm.triton_rows import row_factors, store_stabiliser


@triton.jit
def pair_tile(
    q, g, qexp, queries, keys, length, k_rows, v_rows, kexp_ptr, rows, columns, scale,
    K: tl.constexpr, V: tl.constexpr, AUX: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Keys of a tile with, rows queries, their products `q . k`, `dh . v` and weights."""
    inside = keys < length
    k = tl.load(k_rows[:, None] + rows[None, :], mask=inside[:, None] & (rows < K)[None, :], other=0.0)
    v = tl.load(v_rows[:, None] + columns[None, :], mask=inside[:, None] & (columns < V)[None, :], other=0.0)
    kexp = rounded_exponents(tl.load(kexp_ptr + keys, mask=inside, other=float("-inf")), AUX)
    difference = (kexp[None, :] - qexp[:, None]).to(tl.float32)
    weight = tl.exp2(tl.where(queries[:, None] >= keys[None, :], difference, float("-inf"))) * scale
    qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    gv = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    return k, qk, gv, weight


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale", "eps", "plane"])
def medium_query_kernel(
    q_ptr, k_ptr, v_ptr, dh_ptr, gates_ptr, stats_ptr, qn_ptr, c_ptr, n_ptr, inter_ptr, added_ptr, carry_ptr, open_ptr,
    dq_ptr, sums_ptr, cross_ptr, cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_gb, stride_gt, stride_gh, T, chunks, H, scale, eps, plane,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, L: tl.constexpr, BM: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr, M_PATH: tl.constexpr,
    PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dq of BM queries, their row statistics (see `delta_kernel`), and the sums over pairs that gate gradients need.

    `dh . h` is summed from the pairs, not from the stored h: see `fused_gradient_kernel`. Two tiles of pairs do not fit
    into registers, so the earlier one is computed twice.
    """
    tiles: tl.constexpr = L // BM
    tl.static_assert(tiles <= 2)
    pid = tl.program_id(0)
    m_tile = pid % tiles
    head = (pid // tiles) % H
    chunk_id = pid // (tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    aux: tl.constexpr = c_ptr.dtype.element_ty
    slot = chunk_id.to(tl.int64) * H + head
    unit = (chunk_id.to(tl.int64) * tiles + m_tile) * H + head
    rows = tl.arange(0, KP)
    columns = tl.arange(0, VP)
    row_mask = rows < K
    column_mask = columns < V
    within = tl.arange(0, BM)
    queries = chunk * L + m_tile * BM + within
    mask = queries < length
    base = (batch * H + head) * T + start
    long_head = head.to(tl.int64)
    q_rows = q_ptr + batch * stride_qb + long_head * stride_qh + (start + queries) * stride_qt
    g_rows = dh_ptr + batch * stride_gb + long_head * stride_gh + (start + queries) * stride_gt
    k_base = k_ptr + batch * stride_kb + long_head * stride_kh
    v_base = v_ptr + batch * stride_vb + long_head * stride_vh
    key_mask = mask[:, None] & row_mask[None, :]
    q = tl.load(q_rows[:, None] + rows[None, :], mask=key_mask, other=0.0)
    g = tl.load(g_rows[:, None] + columns[None, :], mask=mask[:, None] & column_mask[None, :], other=0.0)
    qexp = tl.load(gates_ptr + plane + base + queries, mask=mask, other=float("inf"))
    qexp = rounded_exponents(qexp, aux)
    # Rows past the end have g = 0, and so need no mask.
    r, slope = row_factors(qn_ptr, gates_ptr + 2 * plane, base + queries, mask, eps, SIGMOID, NORMALIZE)
    dqn = tl.zeros([BM], tl.float32)
    dm = tl.zeros([BM], tl.float32)

    if HAS_STATE or chunk > 0:
        c = tl.load(
            c_ptr + slot * K * V + rows[None, :] * V + columns[:, None],
            mask=row_mask[None, :] & column_mask[:, None],
            other=0.0,
        )
        n = tl.load(n_ptr + slot * K + rows, mask=row_mask, other=0.0).to(tl.float32)
        inter = tl.exp2((-qexp).to(tl.float32))
        dq = tl.dot(g.to(aux), c, input_precision=PRECISION) * (inter * r)[:, None]
        qdq = tl.sum(q.to(tl.float32) * dq, 1)
        qn_inter = tl.sum(q.to(tl.float32) * n[None, :], 1)
    else:
        n = tl.zeros([KP], tl.float32)
        inter = tl.zeros([BM], tl.float32)
        qn_inter = tl.zeros([BM], tl.float32)
        dq = tl.zeros([BM, KP], tl.float32)
        qdq = tl.zeros([BM], tl.float32)

    keys = queries
    k_rows = k_base + (start + keys) * stride_kt
    v_rows = v_base + (start + keys) * stride_vt
    pairs = tl.zeros([BM], tl.float32)
    if NORMALIZE:
        for n_tile in range(0, m_tile):
            earlier = chunk * L + n_tile * BM + within
            _k, qk, gv, w = pair_tile(
                q, g, qexp, queries, earlier, length, k_base + (start + earlier) * stride_kt,
                v_base + (start + earlier) * stride_vt, gates_ptr + base, rows, columns, scale, K, V, aux, PRECISION,
            )  # fmt: skip
            pairs += tl.sum(qk * gv * w, 1)
    k, s, ds, weight = pair_tile(
        q, g, qexp, queries, keys, length, k_rows, v_rows, gates_ptr + base, rows, columns, scale,
        K, V, aux, PRECISION,
    )  # fmt: skip
    if NORMALIZE:
        pairs += tl.sum(s * ds * weight, 1)
        dm = -(pairs * r + qdq) * r
        dqn = dm * slope
        dm *= eps
        dq += (inter * dqn)[:, None] * n[None, :]
        qdq += inter * dqn * qn_inter
    tl.store(sums_ptr + base + queries, qdq, mask=mask)

    ds = (ds * r[:, None] + dqn[:, None]) * weight
    s *= ds
    dq = tl.dot(ds.to(aux), k.to(aux), dq, input_precision=PRECISION)
    tl.store(sums_ptr + 2 * plane + base + keys, tl.sum(s, 0), mask=mask)
    before = tl.where(within[:, None] < within[None, :], 1.0, 0.0).to(aux)
    s = tl.dot(s.to(aux), before, input_precision=PRECISION)
    s = tl.where(within[:, None] >= within[None, :], s, 0.0)
    tl.store(sums_ptr + 3 * plane + base + keys, tl.sum(s, 0), mask=mask)
    for n_tile in range(0, m_tile):
        earlier = chunk * L + n_tile * BM + within
        k, s, ds, weight = pair_tile(
            q, g, qexp, queries, earlier, length, k_base + (start + earlier) * stride_kt,
            v_base + (start + earlier) * stride_vt, gates_ptr + base, rows, columns, scale, K, V, aux, PRECISION,
        )  # fmt: skip
        ds = (ds * r[:, None] + dqn[:, None]) * weight
        s *= ds
        dq = tl.dot(ds.to(aux), k.to(aux), dq, input_precision=PRECISION)
        tl.store(cross_ptr + base + earlier, tl.sum(s, 0), mask=earlier < length)
        tl.store(cross_ptr + base + queries, tl.sum(s, 1), mask=mask)
    out = ((batch * T + start + queries) * H + head) * K
    tl.store(dq_ptr + out[:, None] + rows[None, :], dq.to(dq_ptr.dtype.element_ty), mask=key_mask)
    tl.store(inter_ptr + base + queries, inter * r, mask=mask)
    tl.store(stats_ptr + base + queries, r, mask=mask)
    tl.store(stats_ptr + plane + base + queries, dqn, mask=mask)
    if M_PATH:
        store_stabiliser(
            gates_ptr, gates_ptr + plane, stats_ptr + 2 * plane, carry_ptr, open_ptr, unit, base + queries, dm, queries,
            chunk * L, length,
        )  # fmt: skip
    if NORMALIZE:
        # Read again: kept in registers until here, the queries would push others out.
        q = tl.load(q_rows[:, None] + rows[None, :], mask=key_mask, other=0.0).to(tl.float32)
        tl.store(added_ptr + unit * K + rows, tl.sum(q * (inter * dqn)[:, None], 0), mask=row_mask)


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale", "plane"])
def medium_key_kernel(
    q_ptr, k_ptr, v_ptr, dh_ptr, gates_ptr, stats_ptr, dc_ptr, dn_ptr, dk_ptr, dv_ptr, sums_ptr,
    cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_gb, stride_gt, stride_gh, T, chunks, H, scale, plane,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, L: tl.constexpr, BM: tl.constexpr,
    HAS_DSTATE: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dk and dv of BM keys."""
    tiles: tl.constexpr = L // BM
    pid = tl.program_id(0)
    n_tile = pid % tiles
    head = (pid // tiles) % H
    chunk_id = pid // (tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    aux: tl.constexpr = dc_ptr.dtype.element_ty
    slot = chunk_id.to(tl.int64) * H + head
    rows = tl.arange(0, KP)
    columns = tl.arange(0, VP)
    row_mask = rows < K
    column_mask = columns < V
    within = tl.arange(0, BM)
    keys = chunk * L + n_tile * BM + within
    mask = keys < length
    base = (batch * H + head) * T + start
    long_head = head.to(tl.int64)
    k_rows = k_ptr + batch * stride_kb + long_head * stride_kh + (start + keys) * stride_kt
    v_rows = v_ptr + batch * stride_vb + long_head * stride_vh + (start + keys) * stride_vt
    q_base = q_ptr + batch * stride_qb + long_head * stride_qh
    g_base = dh_ptr + batch * stride_gb + long_head * stride_gh
    key_mask = mask[:, None] & row_mask[None, :]
    value_mask = mask[:, None] & column_mask[None, :]
    k = tl.load(k_rows[:, None] + rows[None, :], mask=key_mask, other=0.0)
    v = tl.load(v_rows[:, None] + columns[None, :], mask=value_mask, other=0.0)
    kexp = tl.load(gates_ptr + base + keys, mask=mask, other=float("-inf"))
    kexp = rounded_exponents(kexp, aux)

    if HAS_DSTATE or chunk * L + L < length:
        dc = tl.load(
            dc_ptr + slot * K * V + rows[:, None] * V + columns[None, :],
            mask=row_mask[:, None] & column_mask[None, :],
            other=0.0,
        )
        dn = tl.load(dn_ptr + slot * K + rows, mask=row_mask, other=0.0).to(tl.float32)
        inter = tl.load(gates_ptr + 3 * plane + base + keys, mask=mask, other=0.0).to(tl.float32) * scale
        dk = (tl.dot(v.to(aux), tl.trans(dc), input_precision=PRECISION) + dn[None, :]) * inter[:, None]
        dv = tl.dot(k.to(aux), dc, input_precision=PRECISION) * inter[:, None]
        tl.store(sums_ptr + plane + base + keys, tl.sum(k.to(tl.float32) * dk, 1), mask=mask)
    else:
        dk = tl.zeros([BM, KP], tl.float32)
        dv = tl.zeros([BM, VP], tl.float32)
        tl.store(sums_ptr + plane + base + keys, tl.zeros([BM], tl.float32), mask=mask)

    for m_tile in range(n_tile, tiles):
        queries = chunk * L + m_tile * BM + within
        inside = queries < length
        q_rows = q_base + (start + queries) * stride_qt
        g_rows = g_base + (start + queries) * stride_gt
        q = tl.load(q_rows[:, None] + rows[None, :], mask=inside[:, None] & row_mask[None, :], other=0.0)
        g = tl.load(g_rows[:, None] + columns[None, :], mask=inside[:, None] & column_mask[None, :], other=0.0)
        qexp = tl.load(gates_ptr + plane + base + queries, mask=inside, other=float("inf"))
        qexp = rounded_exponents(qexp, aux)
        r = tl.load(stats_ptr + base + queries, mask=inside, other=0.0)
        dqn = tl.load(stats_ptr + plane + base + queries, mask=inside, other=0.0)
        difference = (kexp[:, None] - qexp[None, :]).to(tl.float32)
        weight = tl.exp2(tl.where(queries[None, :] >= keys[:, None], difference, float("-inf"))) * scale
        p = tl.dot(k, tl.trans(q), input_precision=PRECISION) * (weight * r[None, :])
        dv = tl.dot(p.to(aux), g.to(aux), dv, input_precision=PRECISION)
        ds = tl.dot(v, tl.trans(g), input_precision=PRECISION) * r[None, :] + dqn[None, :]
        dk = tl.dot((ds * weight).to(aux), q.to(aux), dk, input_precision=PRECISION)
    key_out = ((batch * T + start + keys) * H + head) * K
    tl.store(dk_ptr + key_out[:, None] + rows[None, :], dk.to(dk_ptr.dtype.element_ty), mask=key_mask)
    value_out = ((batch * T + start + keys) * H + head) * V
    tl.store(dv_ptr + value_out[:, None] + columns[None, :], dv.to(dv_ptr.dtype.element_ty), mask=value_mask)
