"""Outputs of the chunkwise mLSTM, all in parallel, once the memory at the start of each chunk is there."""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.mlstm.triton_gates import locate, split_exponents


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale", "eps"])
def output_kernel(
    q_ptr, k_ptr, v_ptr, kexp_ptr, qexp_ptr, m_ptr, c_ptr, n_ptr, h_ptr, qn_ptr,
    cu_seqlens, chunk_offsets, chunk_docs,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_hb, stride_ht, stride_hh, T, chunks, H, scale, eps,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, L: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr, BS: tl.constexpr, BV: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, HAS_MEMORY: tl.constexpr, PACKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Outputs of BM queries, BV columns: the memory at the start of the chunk, then the keys of the chunk up to them.

    Without `HAS_MEMORY` there is nothing before any chunk. A first chunk with nothing before it reads zeros: leaving
    that out at run time would keep the compiler from fitting the kernel into its registers.
    """
    v_tiles: tl.constexpr = (V + BV - 1) // BV
    m_tiles: tl.constexpr = L // BM
    pid = tl.program_id(0)
    v_tile = pid % v_tiles
    m_tile = (pid // v_tiles) % m_tiles
    head = (pid // (v_tiles * m_tiles)) % H
    chunk_id = pid // (v_tiles * m_tiles * H)
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)

    local = chunk * L + m_tile * BM + tl.arange(0, BM)
    mask = local < length
    columns = v_tile * BV + tl.arange(0, BV)
    column_mask = columns < V
    gates = (batch * H + head) * T + start
    wide: tl.constexpr = n_ptr.dtype.element_ty
    qexp = tl.load(qexp_ptr + gates + local, mask=mask, other=float("inf"))
    qexp, q_rest = split_exponents(qexp, wide)
    q_rows = q_ptr + batch * stride_qb + head.to(tl.int64) * stride_qh + (start + local) * stride_qt
    slot = chunk_id.to(tl.int64) * H + head
    inter = tl.exp2(-qexp)
    acc = tl.zeros([BM, BV], tl.float32)
    qn = tl.zeros([BM], wide)
    dims = tl.arange(0, BS)
    if HAS_MEMORY:
        # q . n apart from the products, never from a tile of q that a pipelined product reads as well: Triton (3.6 and
        # 3.9) then keeps one buffer for it and overwrites that while the product is still reading.
        if NORMALIZE:
            for block in range(0, K, BS):
                inside = (block + dims) < K
                q = tl.load(q_rows[:, None] + (block + dims)[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
                n = tl.load(n_ptr + slot * K + block + dims, mask=inside, other=0.0)
                qn += tl.sum(q.to(wide) * n[None, :], 1)
            qn *= inter
        for block in range(0, K, BK):
            rows = block + tl.arange(0, BK)
            row_mask = rows < K
            q = tl.load(q_rows[:, None] + rows[None, :], mask=mask[:, None] & row_mask[None, :], other=0.0)
            c = tl.load(
                c_ptr + slot * K * V + rows[:, None] * V + columns[None, :],
                mask=row_mask[:, None] & column_mask[None, :],
                other=0.0,
            )
            acc = tl.dot(q.to(c.dtype), c, acc, input_precision=PRECISION)
        acc *= inter.to(tl.float32)[:, None]

    k_base = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + start * stride_kt
    v_base = v_ptr + batch * stride_vb + head.to(tl.int64) * stride_vh + start * stride_vt + columns[None, :]
    if BS == KP:
        q_all = tl.load(q_rows[:, None] + dims[None, :], mask=mask[:, None] & (dims < K)[None, :], other=0.0)
    end = tl.minimum(chunk * L + m_tile * BM + BM, length)
    for t in range(chunk * L, end, BN):
        keys = t + tl.arange(0, BN)
        key_mask = keys < length
        key_rows = k_base + keys.to(tl.int64)[None, :] * stride_kt
        if BS == KP:
            k = tl.load(key_rows + dims[:, None], mask=(dims < K)[:, None] & key_mask[None, :], other=0.0)
            s = tl.dot(q_all, k, input_precision=PRECISION)
        else:
            s = tl.zeros([BM, BN], wide)
            for block in range(0, K, BS):
                inside = (block + dims) < K
                q = tl.load(q_rows[:, None] + (block + dims)[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
                k = tl.load(key_rows + (block + dims)[:, None], mask=inside[:, None] & key_mask[None, :], other=0.0)
                s = tl.dot(q.to(wide), k.to(wide), s, input_precision=PRECISION, out_dtype=wide)
        v = tl.load(
            v_base + keys.to(tl.int64)[:, None] * stride_vt, mask=key_mask[:, None] & column_mask[None, :], other=0.0
        )
        kexp = tl.load(kexp_ptr + gates + keys, mask=key_mask, other=float("-inf"))
        kexp, k_rest = split_exponents(kexp, wide)
        weight = tl.exp2(tl.where(local[:, None] >= keys[None, :], kexp[None, :] - qexp[:, None], float("-inf")))
        p = s * (weight * (k_rest * scale)[None, :])
        if NORMALIZE:
            qn += tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)

    q_rest = 1.0 / q_rest
    if NORMALIZE:
        if SIGMOID:
            floor = tl.full([BM], 1.0, tl.float32)
        else:
            m = tl.load(m_ptr + gates + local, mask=mask, other=0.0).to(tl.float32)
            floor = tl.exp2(tl.minimum(-m, 115.0))
        qn = (qn * q_rest).to(tl.float32)
        acc *= (q_rest.to(tl.float32) / (tl.maximum(tl.abs(qn), floor) + eps))[:, None]
        if v_tile == 0:
            tl.store(qn_ptr + gates + local, qn, mask=mask)
    elif not SIGMOID:
        m = tl.load(m_ptr + gates + local, mask=mask, other=0.0).to(tl.float32)
        acc *= (q_rest.to(tl.float32) * tl.exp2(m))[:, None]
    else:
        acc *= q_rest.to(tl.float32)[:, None]
    h_rows = h_ptr + batch * stride_hb + head.to(tl.int64) * stride_hh + (start + local) * stride_ht
    tl.store(
        h_rows[:, None] + columns[None, :], acc.to(h_ptr.dtype.element_ty), mask=mask[:, None] & column_mask[None, :]
    )
