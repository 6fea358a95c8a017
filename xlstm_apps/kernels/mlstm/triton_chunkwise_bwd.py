"""Backward of the chunkwise mLSTM for any head dimension, after the scans: pair matrices, then three products.

With `r` the factor of an output row (one over its denominator), `g = dh * r`, `w` the weight of a key at the end of its
chunk, `dn` the gradient of the normaliser state and `dqn` that of `q . n` (zero where the floor won):

    P  = exp(kexp - qexp) scale (q . k) r     dS = exp(kexp - qexp) scale ((g . v) + dqn)    (causal, in the chunk)
    dq = dS k   + exp(-qexp) (C g + dqn n)    dk = dS' q + w scale (dC v + dn)
    dv = P' dh  + w scale dC' k

`P` and `dS` are stored once per chunk, so no product is computed twice.

A forget gate scales every pair of a query at or after it and a key before it. The usual formula for its gradient, the
reverse running sum of `q . dq - k . dk`, gets that by subtracting nearly equal sums; where gates close, nothing but
rounding is left. Here pairs are only ever added: with `G = exp(kexp - qexp) scale (q . k) ((g . v) + dqn)`,

    dlogf_t = sum_{i >= t > j} G_ij         both in the chunk: `split` (one tile), `cross` (two tiles)
            + sum_{i >= t} q_i . dq_i (memory part) + sum_{j < t} k_j . dk_j (memory part)
            + the memory at the start of the chunk times its gradient there, past the chunk: `boundary`
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.mlstm.triton_gates import locate, rounded_exponents


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale"])
def pair_kernel(
    q_ptr, k_ptr, v_ptr, dh_ptr, kexp_ptr, qexp_ptr, rowscale_ptr, dqn_ptr, p_ptr, ds_ptr,
    column_ptr, split_ptr, cross_ptr, cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_gb, stride_gt, stride_gh, T, chunks, H, scale,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One [BM, BM] tile of `P`, `dS` and sums of `G`, rows queries; tiles above the diagonal stay unwritten.

    A chunk has one or two tiles a side. Per token: `column`, the sum of G over the queries of its own tile; `split`,
    that over pairs it separates there; `cross`, the sum over the other tile's keys (a query) or queries (a key).
    """
    tiles: tl.constexpr = L // BM
    tl.static_assert(tiles <= 2)
    pid = tl.program_id(0)
    n_tile = pid % tiles
    m_tile = (pid // tiles) % tiles
    head = (pid // (tiles * tiles)) % H
    chunk_id = pid // (tiles * tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    if (n_tile <= m_tile) & (chunk * L + m_tile * BM < length):
        queries = chunk * L + m_tile * BM + tl.arange(0, BM)
        keys = chunk * L + n_tile * BM + tl.arange(0, BM)
        query_mask = queries < length
        key_mask = keys < length
        gates = (batch * H + head) * T + start
        dims = tl.arange(0, BK)
        q_rows = q_ptr + batch * stride_qb + head.to(tl.int64) * stride_qh + (start + queries) * stride_qt
        k_rows = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + (start + keys) * stride_kt
        v_rows = v_ptr + batch * stride_vb + head.to(tl.int64) * stride_vh + (start + keys) * stride_vt
        g_rows = dh_ptr + batch * stride_gb + head.to(tl.int64) * stride_gh + (start + queries) * stride_gt
        aux: tl.constexpr = ds_ptr.dtype.element_ty

        qexp = tl.load(qexp_ptr + gates + queries, mask=query_mask, other=float("inf"))
        kexp = tl.load(kexp_ptr + gates + keys, mask=key_mask, other=float("-inf"))
        qexp, kexp = rounded_exponents(qexp, aux), rounded_exponents(kexp, aux)
        weight = (kexp[None, :] - qexp[:, None]).to(tl.float32)
        weight = tl.where(queries[:, None] >= keys[None, :], weight, float("-inf"))
        weight = tl.exp2(weight) * scale
        r = tl.load(rowscale_ptr + gates + queries, mask=query_mask, other=0.0)
        dqn = tl.load(dqn_ptr + gates + queries, mask=query_mask, other=0.0)
        out = (chunk_id.to(tl.int64) * H + head) * (L * L)
        out = out + (m_tile * BM + tl.arange(0, BM))[:, None] * L + (n_tile * BM + tl.arange(0, BM))[None, :]

        s = tl.zeros([BM, BM], tl.float32)
        for block in range(0, K, BK):
            inside = (block + dims) < K
            q = tl.load(
                q_rows[:, None] + (block + dims)[None, :], mask=query_mask[:, None] & inside[None, :], other=0.0
            )
            k = tl.load(k_rows[None, :] + (block + dims)[:, None], mask=inside[:, None] & key_mask[None, :], other=0.0)
            s = tl.dot(q, k, s, input_precision=PRECISION)
        p = s * weight
        tl.store(p_ptr + out, (p * r[:, None]).to(aux))
        p = s.to(aux)

        s = tl.zeros([BM, BM], tl.float32)
        for block in range(0, V, BK):
            inside = (block + dims) < V
            g = tl.load(
                g_rows[:, None] + (block + dims)[None, :], mask=query_mask[:, None] & inside[None, :], other=0.0
            )
            v = tl.load(v_rows[None, :] + (block + dims)[:, None], mask=inside[:, None] & key_mask[None, :], other=0.0)
            s = tl.dot(g, v, s, input_precision=PRECISION)
        s = (s * r[:, None] + dqn[:, None]) * weight
        tl.store(ds_ptr + out, s.to(aux))

        s *= p.to(tl.float32)
        within = tl.arange(0, BM)
        if n_tile == m_tile:
            tl.store(column_ptr + gates + keys, tl.sum(s, 0), mask=key_mask)
            before = tl.where(within[:, None] < within[None, :], 1.0, 0.0).to(aux)
            s = tl.dot(s.to(aux), before, input_precision=PRECISION)
            s = tl.where(within[:, None] >= within[None, :], s, 0.0)
            tl.store(split_ptr + gates + keys, tl.sum(s, 0), mask=key_mask)
        else:
            tl.store(cross_ptr + gates + keys, tl.sum(s, 0), mask=key_mask)
            tl.store(cross_ptr + gates + queries, tl.sum(s, 1), mask=query_mask)


@triton.jit(do_not_specialize=["T", "chunks", "H"])
def query_gradient_kernel(
    q_ptr, k_ptr, dh_ptr, inter_ptr, dqn_inter_ptr, c_ptr, n_ptr, ds_ptr, dq_ptr, qdq_ptr,
    cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_gb, stride_gt, stride_gh,
    T, chunks, H, tile_stride,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    BV: tl.constexpr, HAS_STATE: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """BM rows, BK columns of `dq`, and their part of `q . dq` before the keys of the chunk."""
    k_tiles: tl.constexpr = (K + BK - 1) // BK
    m_tiles: tl.constexpr = L // BM
    pid = tl.program_id(0)
    k_tile = pid % k_tiles
    m_tile = (pid // k_tiles) % m_tiles
    head = (pid // (k_tiles * m_tiles)) % H
    chunk_id = pid // (k_tiles * m_tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    slot = chunk_id.to(tl.int64) * H + head
    within = m_tile * BM + tl.arange(0, BM)
    local = chunk * L + within
    mask = local < length
    dims = k_tile * BK + tl.arange(0, BK)
    dim_mask = dims < K
    gates = (batch * H + head) * T + start
    aux: tl.constexpr = ds_ptr.dtype.element_ty

    acc = tl.zeros([BM, BK], tl.float32)
    if HAS_STATE or chunk > 0:
        g_rows = dh_ptr + batch * stride_gb + head.to(tl.int64) * stride_gh + (start + local) * stride_gt
        for block in range(0, V, BV):
            columns = block + tl.arange(0, BV)
            inside = columns < V
            g = tl.load(g_rows[:, None] + columns[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
            c = tl.load(
                c_ptr + slot * K * V + dims[None, :] * V + columns[:, None],
                mask=dim_mask[None, :] & inside[:, None],
                other=0.0,
            )
            acc = tl.dot(g.to(aux), c, acc, input_precision=PRECISION)
        inter = tl.load(inter_ptr + gates + local, mask=mask, other=0.0)
        dqn = tl.load(dqn_inter_ptr + gates + local, mask=mask, other=0.0)
        n = tl.load(n_ptr + slot * K + dims, mask=dim_mask, other=0.0).to(tl.float32)
        acc = acc * inter[:, None] + dqn[:, None] * n[None, :]
    inside = mask[:, None] & dim_mask[None, :]
    q_rows = q_ptr + batch * stride_qb + head.to(tl.int64) * stride_qh + (start + local) * stride_qt
    q = tl.load(q_rows[:, None] + dims[None, :], mask=inside, other=0.0).to(tl.float32)
    partial = tl.full([1], tile_stride, tl.int64) * k_tile + gates
    tl.store(qdq_ptr + partial + local, tl.sum(q * acc, 1), mask=mask)

    k_base = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + start * stride_kt + dims[None, :]
    ds_rows = ds_ptr + slot * (L * L) + within[:, None] * L
    end = tl.minimum(m_tile * BM + BM, length - chunk * L)
    for t in range(0, end, BN):
        keys = t + tl.arange(0, BN)
        key_mask = chunk * L + keys < length
        ds = tl.load(ds_rows + keys[None, :], mask=mask[:, None] & key_mask[None, :], other=0.0)
        k = tl.load(
            k_base + (chunk * L + keys).to(tl.int64)[:, None] * stride_kt,
            mask=key_mask[:, None] & dim_mask[None, :],
            other=0.0,
        )
        acc = tl.dot(ds, k.to(aux), acc, input_precision=PRECISION)

    out = ((batch * T + start + local) * H + head) * K
    tl.store(dq_ptr + out[:, None] + dims[None, :], acc.to(dq_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale"])
def key_gradient_kernel(
    q_ptr, k_ptr, v_ptr, weight_ptr, dc_ptr, dn_ptr, ds_ptr, dk_ptr, kdk_ptr,
    cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    T, chunks, H, scale, tile_stride,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    BV: tl.constexpr, HAS_DSTATE: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """BM rows, BK columns of `dk`, and their part of `k . dk` before the queries of the chunk."""
    k_tiles: tl.constexpr = (K + BK - 1) // BK
    m_tiles: tl.constexpr = L // BM
    pid = tl.program_id(0)
    k_tile = pid % k_tiles
    m_tile = (pid // k_tiles) % m_tiles
    head = (pid // (k_tiles * m_tiles)) % H
    chunk_id = pid // (k_tiles * m_tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    slot = chunk_id.to(tl.int64) * H + head
    within = m_tile * BM + tl.arange(0, BM)
    local = chunk * L + within
    mask = local < length
    dims = k_tile * BK + tl.arange(0, BK)
    dim_mask = dims < K
    gates = (batch * H + head) * T + start
    aux: tl.constexpr = ds_ptr.dtype.element_ty

    acc = tl.zeros([BM, BK], tl.float32)
    if HAS_DSTATE or chunk * L + L < length:
        v_rows = v_ptr + batch * stride_vb + head.to(tl.int64) * stride_vh + (start + local) * stride_vt
        for block in range(0, V, BV):
            columns = block + tl.arange(0, BV)
            inside = columns < V
            v = tl.load(v_rows[:, None] + columns[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
            dc = tl.load(
                dc_ptr + slot * K * V + dims[None, :] * V + columns[:, None],
                mask=dim_mask[None, :] & inside[:, None],
                other=0.0,
            )
            acc = tl.dot(v.to(aux), dc, acc, input_precision=PRECISION)
        weight = tl.load(weight_ptr + gates + local, mask=mask, other=0.0).to(tl.float32) * scale
        dn = tl.load(dn_ptr + slot * K + dims, mask=dim_mask, other=0.0).to(tl.float32)
        acc = (acc + dn[None, :]) * weight[:, None]
    inside = mask[:, None] & dim_mask[None, :]
    k_rows = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + (start + local) * stride_kt
    k = tl.load(k_rows[:, None] + dims[None, :], mask=inside, other=0.0).to(tl.float32)
    partial = tl.full([1], tile_stride, tl.int64) * k_tile + gates
    tl.store(kdk_ptr + partial + local, tl.sum(k * acc, 1), mask=mask)

    q_base = q_ptr + batch * stride_qb + head.to(tl.int64) * stride_qh + start * stride_qt + dims[None, :]
    ds_columns = ds_ptr + slot * (L * L) + within[:, None]
    end = tl.minimum(L, length - chunk * L)
    for t in range(m_tile * BM, end, BN):
        queries = t + tl.arange(0, BN)
        query_mask = chunk * L + queries < length
        ds = tl.load(ds_columns + queries[None, :] * L, mask=mask[:, None] & query_mask[None, :], other=0.0)
        q = tl.load(
            q_base + (chunk * L + queries).to(tl.int64)[:, None] * stride_qt,
            mask=query_mask[:, None] & dim_mask[None, :],
            other=0.0,
        )
        acc = tl.dot(ds, q.to(aux), acc, input_precision=PRECISION)

    out = ((batch * T + start + local) * H + head) * K
    tl.store(dk_ptr + out[:, None] + dims[None, :], acc.to(dk_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale"])
def value_gradient_kernel(
    k_ptr, dh_ptr, weight_ptr, dc_ptr, p_ptr, dv_ptr, cu_seqlens, chunk_offsets, chunk_docs,
    stride_kb, stride_kt, stride_kh, stride_gb, stride_gt, stride_gh, T, chunks, H, scale,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    BV: tl.constexpr, HAS_DSTATE: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """BM rows, BV columns of `dv`."""
    v_tiles: tl.constexpr = (V + BV - 1) // BV
    m_tiles: tl.constexpr = L // BM
    pid = tl.program_id(0)
    v_tile = pid % v_tiles
    m_tile = (pid // v_tiles) % m_tiles
    head = (pid // (v_tiles * m_tiles)) % H
    chunk_id = pid // (v_tiles * m_tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    slot = chunk_id.to(tl.int64) * H + head
    within = m_tile * BM + tl.arange(0, BM)
    local = chunk * L + within
    mask = local < length
    columns = v_tile * BV + tl.arange(0, BV)
    column_mask = columns < V
    gates = (batch * H + head) * T + start
    aux: tl.constexpr = p_ptr.dtype.element_ty

    acc = tl.zeros([BM, BV], tl.float32)
    if HAS_DSTATE or chunk * L + L < length:
        k_rows = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + (start + local) * stride_kt
        for block in range(0, K, BK):
            rows = block + tl.arange(0, BK)
            inside = rows < K
            k = tl.load(k_rows[:, None] + rows[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
            dc = tl.load(
                dc_ptr + slot * K * V + rows[:, None] * V + columns[None, :],
                mask=inside[:, None] & column_mask[None, :],
                other=0.0,
            )
            acc = tl.dot(k.to(aux), dc, acc, input_precision=PRECISION)
        weight = tl.load(weight_ptr + gates + local, mask=mask, other=0.0).to(tl.float32) * scale
        acc *= weight[:, None]

    g_base = dh_ptr + batch * stride_gb + head.to(tl.int64) * stride_gh + start * stride_gt + columns[None, :]
    p_columns = p_ptr + slot * (L * L) + within[:, None]
    end = tl.minimum(L, length - chunk * L)
    for t in range(m_tile * BM, end, BN):
        queries = t + tl.arange(0, BN)
        query_mask = chunk * L + queries < length
        p = tl.load(p_columns + queries[None, :] * L, mask=mask[:, None] & query_mask[None, :], other=0.0)
        g = tl.load(
            g_base + (chunk * L + queries).to(tl.int64)[:, None] * stride_gt,
            mask=query_mask[:, None] & column_mask[None, :],
            other=0.0,
        )
        acc = tl.dot(p, g.to(aux), acc, input_precision=PRECISION)

    out = ((batch * T + start + local) * H + head) * V
    tl.store(
        dv_ptr + out[:, None] + columns[None, :],
        acc.to(dv_ptr.dtype.element_ty),
        mask=mask[:, None] & column_mask[None, :],
    )
