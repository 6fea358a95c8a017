"""mLSTM kernels for small heads (K, V <= 64), one program per head: the memory never leaves the chip within a kernel.

They stand in for groups of the general kernels and fill the same buffers, so that either can follow the other:
`fused_forward_kernel` for the gate scan, memory scan and outputs; `fused_scan_kernel` for the row statistics and the
backward memory scan; `fused_gradient_kernel` for pair matrices and all three products of one chunk.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.mlstm.triton_gates import (
    LN2,
    LOG2E,
    load_gates,
    locate,
    locate_sequence,
    maximum,
    rounded_exponents,
    split_exponents,
)
from xlstm_apps.kernels.mlstm.triton_memory import memory_before
from xlstm_apps.kernels.mlstm.triton_rows import row_factors, store_stabiliser


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale", "eps", "plane"])
def fused_forward_kernel(
    q_ptr, k_ptr, v_ptr, igate, fgate, c_initial, n_initial, m_initial,
    h_ptr, c_final, n_final, m_final, gates_ptr, decay_ptr, c_ptr, n_ptr, qn_ptr, cu_seqlens, chunk_offsets,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_ib, stride_it, stride_ih, stride_fb, stride_ft, stride_fh, T, chunks, H, scale, eps, plane,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, BV: tl.constexpr, L: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr, SAVE: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr, SINGLE: tl.constexpr, FINAL: tl.constexpr,
):  # fmt: skip
    """BV columns of the outputs of one sequence and head.

    `SAVE` also writes what the backward needs, `FINAL` the memory after the last step. `SINGLE`: there is one chunk.
    """
    v_tiles: tl.constexpr = (V + BV - 1) // BV
    pid = tl.program_id(0)
    v_tile = pid % v_tiles
    head = (pid // v_tiles) % H
    sequence = pid // (v_tiles * H)
    first, count, batch, start, length = locate_sequence(sequence, T, chunks, cu_seqlens, chunk_offsets, PACKED)
    aux: tl.constexpr = c_ptr.dtype.element_ty
    wide: tl.constexpr = n_ptr.dtype.element_ty
    rows = tl.arange(0, KP)
    columns = v_tile * BV + tl.arange(0, BV)
    row_mask = rows < K
    column_mask = columns < V
    tile = rows[:, None] * V + columns[None, :]
    tile_mask = row_mask[:, None] & column_mask[None, :]
    state = sequence.to(tl.int64) * H + head
    m0 = tl.zeros([1], tl.float64)
    if HAS_STATE:
        m0 += tl.load(m_initial + state).to(tl.float64) * LOG2E
        c = tl.load(c_initial + state * K * V + tile, mask=tile_mask, other=0.0).to(tl.float32)
        n = tl.load(n_initial + state * K + rows, mask=row_mask, other=0.0).to(wide)
    else:
        c = tl.zeros([KP, BV], tl.float32)
        n = tl.zeros([KP], wide)
    long_head = head.to(tl.int64)
    q_base = q_ptr + batch * stride_qb + long_head * stride_qh + start * stride_qt
    k_base = k_ptr + batch * stride_kb + long_head * stride_kh + start * stride_kt
    v_base = v_ptr + batch * stride_vb + long_head * stride_vh + start * stride_vt
    i_base = batch * stride_ib + long_head * stride_ih + start * stride_it
    f_base = batch * stride_fb + long_head * stride_fh + start * stride_ft
    within = tl.arange(0, L)
    causal = within[:, None] >= within[None, :]

    for chunk in range(0, count):
        local = chunk * L + within
        mask = local < length
        tokens = local.to(tl.int64)
        q = tl.load(
            q_base + tokens[:, None] * stride_qt + rows[None, :], mask=mask[:, None] & row_mask[None, :], other=0.0
        )
        k = tl.load(
            k_base + tokens[:, None] * stride_kt + rows[None, :], mask=mask[:, None] & row_mask[None, :], other=0.0
        )
        v = tl.load(
            v_base + tokens[:, None] * stride_vt + columns[None, :],
            mask=mask[:, None] & column_mask[None, :],
            other=0.0,
        )
        write, keep = load_gates(igate, fgate, i_base, f_base, stride_it, stride_ft, tokens, mask, SIGMOID, wide)
        running = tl.cumsum(keep, 0)
        total = tl.sum(keep, 0)
        if SIGMOID:
            kexp = write - running
            qexp = -running
            end = -total
            m = running * 0.0 + m0
        else:
            kexp = write - running - m0
            qexp = tl.maximum(tl.associative_scan(kexp, 0, maximum), 0.0)
            end = tl.maximum(tl.max(kexp, 0), 0.0)
            m = running + m0 + qexp
            m0 += total + end
        weight = tl.exp2((kexp - end).to(wide))
        decay = tl.exp2((-end).to(wide))
        q_high, q_rest = split_exponents(qexp, wide)
        k_high, k_rest = split_exponents(kexp, wide)
        q_rest = 1.0 / q_rest
        inter = tl.exp2(-q_high)
        slot = (first + chunk).to(tl.int64) * H + head
        gates = (batch * H + head) * T + start + local
        c_low = c.to(aux)
        if SAVE:
            if HAS_STATE or not SINGLE:
                filled = row_mask if HAS_STATE else rows < tl.where(chunk > 0, K, 0)  # nothing before the first chunk
                tl.store(c_ptr + slot * K * V + tile, c_low, mask=filled[:, None] & column_mask[None, :])
                if v_tile == 0:
                    tl.store(n_ptr + slot * K + rows, n, mask=filled)
            if v_tile == 0:
                stored: tl.constexpr = gates_ptr.dtype.element_ty
                tl.store(gates_ptr + gates, kexp.to(stored), mask=mask)
                tl.store(gates_ptr + plane + gates, qexp.to(stored), mask=mask)
                tl.store(gates_ptr + 2 * plane + gates, m.to(stored), mask=mask)
                tl.store(gates_ptr + 3 * plane + gates, weight.to(stored), mask=mask)
                tl.store(decay_ptr + slot, decay)

        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        p = tl.exp2(tl.where(causal, k_high[None, :] - q_high[:, None], float("-inf")))
        p = s * (p * (k_rest * scale)[None, :])
        if HAS_STATE or not SINGLE:
            acc = tl.dot(q.to(aux), c_low, input_precision=PRECISION) * inter.to(tl.float32)[:, None]
            acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
        else:
            acc = tl.dot(p.to(v.dtype), v, input_precision=PRECISION)
        m32 = m.to(tl.float32)
        if NORMALIZE:
            qn = tl.sum(p.to(wide), 1)
            if HAS_STATE or not SINGLE:
                qn += tl.sum(q.to(wide) * n[None, :], 1) * inter
            qn = (qn * q_rest).to(tl.float32)
            floor = tl.full([L], 1.0, tl.float32)
            if not SIGMOID:
                floor = tl.exp2(tl.minimum(-m32, 115.0))
            acc *= (q_rest.to(tl.float32) / (tl.maximum(tl.abs(qn), floor) + eps))[:, None]
            if SAVE and v_tile == 0:
                tl.store(qn_ptr + gates, qn, mask=mask)
        elif not SIGMOID:
            acc *= (q_rest.to(tl.float32) * tl.exp2(m32))[:, None]
        else:
            acc *= q_rest.to(tl.float32)[:, None]
        out = ((batch * T + start + local) * H + head) * V
        tl.store(
            h_ptr + out[:, None] + columns[None, :],
            acc.to(h_ptr.dtype.element_ty),
            mask=mask[:, None] & column_mask[None, :],
        )
        if FINAL or not SINGLE:
            weighted = k.to(wide) * (weight * scale)[:, None]
            n = n * decay + tl.sum(weighted, 0)
            c = tl.dot(tl.trans(weighted.to(aux)), v.to(aux), c * decay.to(tl.float32), input_precision=PRECISION)

    if FINAL:
        tl.store(c_final + state * K * V + tile, c, mask=tile_mask)
        if v_tile == 0:
            tl.store(n_final + state * K + rows, n.to(tl.float32), mask=row_mask)
            tl.store(m_final + state + tl.arange(0, 1), (m0 * LN2).to(tl.float32))


@triton.jit(do_not_specialize=["T", "chunks", "H", "eps", "plane"])
def fused_scan_kernel(
    q_ptr, dh_ptr, h_ptr, qn_ptr, gates_ptr, decay_ptr, c_ptr, n_ptr, c_final, n_final, dc_final, dn_final,
    stats_ptr, carry_ptr, open_ptr, dc_ptr, dn_ptr, boundary_ptr, end_ptr, cu_seqlens, chunk_offsets,
    stride_qb, stride_qt, stride_qh, stride_gb, stride_gt, stride_gh, T, chunks, H, eps, plane,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, L: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr, HAS_DSTATE: tl.constexpr,
    M_PATH: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Row statistics and the gradient of the memory of one sequence and head, backwards."""
    pid = tl.program_id(0)
    head = pid % H
    sequence = pid // H
    first, count, batch, start, length = locate_sequence(sequence, T, chunks, cu_seqlens, chunk_offsets, PACKED)
    aux: tl.constexpr = c_ptr.dtype.element_ty
    rows = tl.arange(0, KP)
    columns = tl.arange(0, VP)
    row_mask = rows < K
    column_mask = columns < V
    tile = rows[:, None] * V + columns[None, :]
    tile_mask = row_mask[:, None] & column_mask[None, :]
    state = sequence.to(tl.int64) * H + head
    if HAS_DSTATE:
        dc = tl.load(dc_final + state * K * V + tile, mask=tile_mask, other=0.0)
        dn = tl.load(dn_final + state * K + rows, mask=row_mask, other=0.0)
        c_end = tl.load(c_final + state * K * V + tile, mask=tile_mask, other=0.0)
        n_end = tl.load(n_final + state * K + rows, mask=row_mask, other=0.0)
        tl.store(end_ptr + state * KP + rows, tl.sum(c_end * dc, 1) + n_end * dn)
    else:
        dc = tl.zeros([KP, VP], tl.float32)
        dn = tl.zeros([KP], tl.float32)
    long_head = head.to(tl.int64)
    q_base = q_ptr + batch * stride_qb + long_head * stride_qh + start * stride_qt
    g_base = dh_ptr + batch * stride_gb + long_head * stride_gh + start * stride_gt
    within = tl.arange(0, L)
    for index in range(0, count):
        chunk = count - 1 - index
        slot = (first + chunk).to(tl.int64) * H + head
        local = chunk * L + within
        mask = local < length
        tokens = local.to(tl.int64)
        gates = (batch * H + head) * T + start + local
        decay, c, n = memory_before(
            decay_ptr, c_ptr, n_ptr, first + chunk, chunk, head, H, tile, rows, row_mask, column_mask, K, V, HAS_STATE
        )
        qexp = tl.load(gates_ptr + plane + gates, mask=mask, other=float("inf"))
        inter = tl.exp2((-qexp).to(tl.float32))
        value_mask = mask[:, None] & column_mask[None, :]
        g = tl.load(g_base + tokens[:, None] * stride_gt + columns[None, :], mask=value_mask, other=0.0)
        q = tl.load(
            q_base + tokens[:, None] * stride_qt + rows[None, :], mask=mask[:, None] & row_mask[None, :], other=0.0
        )
        rowscale, slope = row_factors(qn_ptr, gates_ptr + 2 * plane, gates, mask, eps, SIGMOID, NORMALIZE)
        dqn = tl.zeros([L], tl.float32)
        dm = tl.zeros([L], tl.float32)
        if NORMALIZE:
            out = ((batch * T + start + local) * H + head) * V
            h = tl.load(h_ptr + out[:, None] + columns[None, :], mask=value_mask, other=0.0)
            dm = -tl.sum(h.to(tl.float32) * g.to(tl.float32), 1) * rowscale
            dqn = dm * slope
            dm *= eps
        tl.store(stats_ptr + gates, rowscale, mask=mask)
        tl.store(stats_ptr + plane + gates, dqn, mask=mask)
        if M_PATH:
            store_stabiliser(
                gates_ptr, gates_ptr + plane, stats_ptr + 2 * plane, carry_ptr, open_ptr, slot, gates, dm, local,
                chunk * L, length,
            )  # fmt: skip

        if HAS_DSTATE or index > 0:
            tl.store(dc_ptr + slot * K * V + tile, dc.to(aux), mask=tile_mask)
            tl.store(dn_ptr + slot * K + rows, dn, mask=row_mask)
        dc *= decay
        dn *= decay
        tl.store(boundary_ptr + slot * KP + rows, tl.sum(c.to(tl.float32) * dc, 1) + n * dn)
        q32 = q.to(tl.float32)
        dn += tl.sum(q32 * (dqn * inter)[:, None], 0)
        weighted = (q32 * (inter * rowscale)[:, None]).to(aux)
        dc = tl.dot(tl.trans(weighted), g.to(aux), dc, input_precision=PRECISION)


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale", "plane"])
def fused_gradient_kernel(
    q_ptr, k_ptr, v_ptr, dh_ptr, gates_ptr, stats_ptr, qn_ptr, c_ptr, n_ptr, dc_ptr, dn_ptr, dq_ptr, dk_ptr, dv_ptr,
    sums_ptr, cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_gb, stride_gt, stride_gh, T, chunks, H, scale, plane,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, L: tl.constexpr,
    NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr, HAS_DSTATE: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """dq, dk, dv of one chunk, and the sums its gate gradients need.

    `dh . h` is summed here again from the pairs, in float32: the stored h is rounded, and where a row hangs on one key
    its gradient is a difference of which little but that rounding would be left.

    Pair matrices are computed twice, as rows of queries and as rows of keys, so that no product takes a transposed
    result of another: Triton from 3.4 to 3.7.0 gets those wrong on Hopper.
    """
    pid = tl.program_id(0)
    head = pid % H
    chunk_id = pid // H
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    aux: tl.constexpr = c_ptr.dtype.element_ty
    slot = chunk_id.to(tl.int64) * H + head
    rows = tl.arange(0, KP)
    columns = tl.arange(0, VP)
    row_mask = rows < K
    column_mask = columns < V
    within = tl.arange(0, L)
    local = chunk * L + within
    mask = local < length
    tokens = start + local
    gates = (batch * H + head) * T + tokens
    long_head = head.to(tl.int64)
    key_mask = mask[:, None] & row_mask[None, :]
    value_mask = mask[:, None] & column_mask[None, :]
    q_rows = q_ptr + batch * stride_qb + long_head * stride_qh + tokens * stride_qt
    k_rows = k_ptr + batch * stride_kb + long_head * stride_kh + tokens * stride_kt
    v_rows = v_ptr + batch * stride_vb + long_head * stride_vh + tokens * stride_vt
    g_rows = dh_ptr + batch * stride_gb + long_head * stride_gh + tokens * stride_gt
    q = tl.load(q_rows[:, None] + rows[None, :], mask=key_mask, other=0.0)
    k = tl.load(k_rows[:, None] + rows[None, :], mask=key_mask, other=0.0)
    v = tl.load(v_rows[:, None] + columns[None, :], mask=value_mask, other=0.0)
    g = tl.load(g_rows[:, None] + columns[None, :], mask=value_mask, other=0.0)
    kexp = tl.load(gates_ptr + gates, mask=mask, other=float("-inf"))
    qexp = tl.load(gates_ptr + plane + gates, mask=mask, other=float("inf"))
    kexp, qexp = rounded_exponents(kexp, aux), rounded_exponents(qexp, aux)
    r = tl.load(stats_ptr + gates, mask=mask, other=0.0)
    dqn = tl.load(stats_ptr + plane + gates, mask=mask, other=0.0)
    memory = rows[:, None] * V + columns[None, :]
    memory_mask = row_mask[:, None] & column_mask[None, :]

    # Rows are queries.
    if HAS_STATE or chunk > 0:
        c = tl.load(c_ptr + slot * K * V + memory, mask=memory_mask, other=0.0)
        n = tl.load(n_ptr + slot * K + rows, mask=row_mask, other=0.0).to(tl.float32)
        inter = tl.exp2((-qexp).to(tl.float32))
        dq = tl.dot(g.to(aux), tl.trans(c), input_precision=PRECISION) * (inter * r)[:, None]
        qdq = tl.sum(q.to(tl.float32) * dq, 1)
        qn_inter = tl.sum(q.to(tl.float32) * n[None, :], 1)
    else:
        inter = tl.zeros([L], tl.float32)
        qn_inter = tl.zeros([L], tl.float32)
        n = tl.zeros([KP], tl.float32)
        dq = tl.zeros([L, KP], tl.float32)
        qdq = tl.zeros([L], tl.float32)
    difference = (kexp[None, :] - qexp[:, None]).to(tl.float32)
    pair_weight = tl.exp2(tl.where(within[:, None] >= within[None, :], difference, float("-inf"))) * scale
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    ds = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    if NORMALIZE:
        qn = tl.load(qn_ptr + gates, mask=mask, other=0.0)
        delta = tl.sum(s * ds * pair_weight, 1) * r + qdq
        dqn = tl.where(dqn == 0.0, 0.0, delta * r * tl.where(qn > 0.0, -1.0, 1.0))
        dq += (inter * dqn)[:, None] * n[None, :]
        qdq += inter * dqn * qn_inter
    tl.store(sums_ptr + gates, qdq, mask=mask)
    ds = (ds * r[:, None] + dqn[:, None]) * pair_weight
    s *= ds
    tl.store(sums_ptr + 2 * plane + gates, tl.sum(s, 0), mask=mask)
    before = tl.where(within[:, None] < within[None, :], 1.0, 0.0).to(aux)
    s = tl.dot(s.to(aux), before, input_precision=PRECISION)
    tl.store(sums_ptr + 3 * plane + gates, tl.sum(tl.where(within[:, None] >= within[None, :], s, 0.0), 0), mask=mask)
    dq = tl.dot(ds.to(aux), k.to(aux), dq, input_precision=PRECISION)
    key_out = ((batch * T + tokens) * H + head) * K
    tl.store(dq_ptr + key_out[:, None] + rows[None, :], dq.to(dq_ptr.dtype.element_ty), mask=key_mask)

    # Rows are keys.
    difference = (kexp[:, None] - qexp[None, :]).to(tl.float32)
    pair_weight = tl.exp2(tl.where(within[None, :] >= within[:, None], difference, float("-inf"))) * scale
    if HAS_DSTATE or chunk * L + L < length:
        dc = tl.load(dc_ptr + slot * K * V + memory, mask=memory_mask, other=0.0)
        dn = tl.load(dn_ptr + slot * K + rows, mask=row_mask, other=0.0).to(tl.float32)
        weight = tl.load(gates_ptr + 3 * plane + gates, mask=mask, other=0.0).to(tl.float32) * scale
        dk = (tl.dot(v.to(aux), tl.trans(dc), input_precision=PRECISION) + dn[None, :]) * weight[:, None]
        dv = tl.dot(k.to(aux), dc, input_precision=PRECISION) * weight[:, None]
        tl.store(sums_ptr + plane + gates, tl.sum(k.to(tl.float32) * dk, 1), mask=mask)
    else:
        dk = tl.zeros([L, KP], tl.float32)
        dv = tl.zeros([L, VP], tl.float32)
        tl.store(sums_ptr + plane + gates, tl.zeros([L], tl.float32), mask=mask)
    ds = tl.dot(v, tl.trans(g), input_precision=PRECISION) * r[None, :] + dqn[None, :]
    ds = (ds * pair_weight).to(aux)
    dk = tl.dot(ds, q.to(aux), dk, input_precision=PRECISION)
    tl.store(dk_ptr + key_out[:, None] + rows[None, :], dk.to(dk_ptr.dtype.element_ty), mask=key_mask)
    p = tl.dot(k, tl.trans(q), input_precision=PRECISION) * (pair_weight * r[None, :])
    dv = tl.dot(p.to(aux), g.to(aux), dv, input_precision=PRECISION)
    value_out = ((batch * T + tokens) * H + head) * V
    tl.store(dv_ptr + value_out[:, None] + columns[None, :], dv.to(dv_ptr.dtype.element_ty), mask=value_mask)
