"""Scans of the matrix memory over chunks: forwards, and of its gradient backwards. A program takes one tile of it.

What a chunk needs at its start is read while the one before it is computed, so that no product waits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.mlstm.triton_gates import locate_sequence


@triton.jit
def locate_tile(H, K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr):
    """Number of this program's tile among those of the same rows, its head and sequence; its rows and columns."""
    v_tiles: tl.constexpr = (V + BV - 1) // BV
    k_tiles: tl.constexpr = (K + BK - 1) // BK
    pid = tl.program_id(0)
    v_tile = pid % v_tiles
    k_tile = (pid // v_tiles) % k_tiles
    head = (pid // (v_tiles * k_tiles)) % H
    sequence = pid // (v_tiles * k_tiles * H)
    rows = k_tile * BK + tl.arange(0, BK)
    columns = v_tile * BV + tl.arange(0, BV)
    row_mask = rows < K
    column_mask = columns < V
    return v_tile, head, sequence, rows, columns, row_mask, column_mask


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale"])
def memory_kernel(
    k_ptr, v_ptr, weight_ptr, decay_ptr, added_ptr, c_initial, n_initial, c_ptr, n_ptr, c_final, n_final,
    cu_seqlens, chunk_offsets,
    stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh, T, chunks, H, scale,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BT: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    HAS_STATE: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of the memory `C` [BK, BV] and of `n` [BK] through one sequence; written at the start of each chunk."""
    v_tile, head, sequence, rows, columns, row_mask, column_mask = locate_tile(H, K, V, BK, BV)
    first, _, batch, start, length = locate_sequence(sequence, T, chunks, cu_seqlens, chunk_offsets, PACKED)
    tile = rows[:, None] * V + columns[None, :]
    tile_mask = row_mask[:, None] & column_mask[None, :]
    state = sequence.to(tl.int64) * H + head
    if HAS_STATE:
        c = tl.load(c_initial + state * K * V + tile, mask=tile_mask, other=0.0).to(tl.float32)
        n = tl.load(n_initial + state * K + rows, mask=row_mask, other=0.0).to(n_ptr.dtype.element_ty)
    else:
        c = tl.zeros([BK, BV], tl.float32)
        n = tl.zeros([BK], n_ptr.dtype.element_ty)

    k_base = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + start * stride_kt + rows[:, None]
    v_base = v_ptr + batch * stride_vb + head.to(tl.int64) * stride_vh + start * stride_vt + columns[None, :]
    weights = weight_ptr + (batch * H + head) * T + start
    slot = first.to(tl.int64) * H + head
    decay = tl.load(decay_ptr + slot)
    added = tl.load(added_ptr + slot * K + rows, mask=row_mask, other=0.0)
    for t in range(0, length, BT):
        if t % L == 0:
            slot = (first + t // L).to(tl.int64) * H + head
            tl.store(c_ptr + slot * K * V + tile, c.to(c_ptr.dtype.element_ty), mask=tile_mask)
            if v_tile == 0:
                tl.store(n_ptr + slot * K + rows, n, mask=row_mask)
            c *= decay.to(tl.float32)
            n = n * decay + added
            slot += tl.where(t + L < length, H, 0)  # read a chunk ahead, so that no product waits
            decay = tl.load(decay_ptr + slot)
            added = tl.load(added_ptr + slot * K + rows, mask=row_mask, other=0.0)
        local = t + tl.arange(0, BT)
        mask = local < length
        tokens = local.to(tl.int64)
        weight = tl.load(weights + local, mask=mask, other=0.0).to(tl.float32) * scale
        k = tl.load(k_base + tokens[None, :] * stride_kt, mask=row_mask[:, None] & mask[None, :], other=0.0)
        v = tl.load(v_base + tokens[:, None] * stride_vt, mask=mask[:, None] & column_mask[None, :], other=0.0)
        k = (k.to(tl.float32) * weight[None, :]).to(c_ptr.dtype.element_ty)
        c = tl.dot(k, v.to(c_ptr.dtype.element_ty), c, input_precision=PRECISION)
    tl.store(c_final + state * K * V + tile, c, mask=tile_mask)
    if v_tile == 0:
        tl.store(n_final + state * K + rows, n.to(tl.float32), mask=row_mask)


@triton.jit
def memory_before(
    decay_ptr, c_ptr, n_ptr, chunk_id, chunk, head, H, tile, rows, row_mask, column_mask, K: tl.constexpr,
    V: tl.constexpr, HAS_STATE: tl.constexpr,
):  # fmt: skip
    """Decay of the memory over a chunk, and C and n before it: nothing, before the first."""
    slot = chunk_id.to(tl.int64) * H + head
    filled = row_mask if HAS_STATE else rows < tl.where(chunk > 0, K, 0)
    decay = tl.load(decay_ptr + slot).to(tl.float32)
    c = tl.load(c_ptr + slot * K * V + tile, mask=filled[:, None] & column_mask[None, :], other=0.0)
    return decay, c, tl.load(n_ptr + slot * K + rows, mask=filled, other=0.0).to(tl.float32)


@triton.jit
def added_in(added_ptr, chunk_id, head, H, rows, row_mask, K: tl.constexpr, TILES: tl.constexpr):
    """What the parts of a chunk add to the gradient of n."""
    added = tl.zeros(rows.shape, tl.float32)
    for part in tl.static_range(TILES):
        unit = (chunk_id.to(tl.int64) * TILES + part) * H + head
        added += tl.load(added_ptr + unit * K + rows, mask=row_mask, other=0.0)
    return added


@triton.jit(do_not_specialize=["T", "chunks", "H"])
def memory_gradient_kernel(
    q_ptr, dh_ptr, inter_ptr, added_ptr, decay_ptr, c_ptr, n_ptr, c_final, n_final, dc_final, dn_final,
    dc_ptr, dn_ptr, boundary_ptr, end_ptr, dc_initial, dn_initial, cu_seqlens, chunk_offsets,
    stride_qb, stride_qt, stride_qh, stride_gb, stride_gt, stride_gh, T, chunks, H,
    K: tl.constexpr, V: tl.constexpr, L: tl.constexpr, BT: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    TILES: tl.constexpr, NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr, HAS_DSTATE: tl.constexpr,
    NEEDS_DSTATE: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of the gradient of the memory, backwards; written out at the end of each chunk.

    `added` has what each of a chunk's TILES parts adds to the gradient of the normaliser state.

    `boundary` gets an inner product: of what a chunk's end has left of the memory at its start with the gradient there;
    `end` gets that of the final memory with its gradient. Both as parts, one for each row of a tile, of C and of n,
    since a sum over rows would make the warps wait for each other at every chunk.
    """
    v_tile, head, sequence, rows, columns, row_mask, column_mask = locate_tile(H, K, V, BK, BV)
    first, count, batch, start, length = locate_sequence(sequence, T, chunks, cu_seqlens, chunk_offsets, PACKED)
    tile = rows[:, None] * V + columns[None, :]
    tile_mask = row_mask[:, None] & column_mask[None, :]
    state = sequence.to(tl.int64) * H + head
    v_tiles: tl.constexpr = (V + BV - 1) // BV
    parts: tl.constexpr = (v_tiles + 1) * K
    if HAS_DSTATE:
        dc = tl.load(dc_final + state * K * V + tile, mask=tile_mask, other=0.0)
        dn = tl.load(dn_final + state * K + rows, mask=row_mask, other=0.0)
        c_end = tl.load(c_final + state * K * V + tile, mask=tile_mask, other=0.0)
        end_rows = end_ptr + state * parts + rows
        tl.store(end_rows + v_tile * K, tl.sum(c_end * dc, 1), mask=row_mask)
        if v_tile == 0:
            n_end = tl.load(n_final + state * K + rows, mask=row_mask, other=0.0)
            tl.store(end_rows + v_tiles * K, n_end * dn, mask=row_mask)
    else:
        dc = tl.zeros([BK, BV], tl.float32)
        dn = tl.zeros([BK], tl.float32)

    q_base = q_ptr + batch * stride_qb + head.to(tl.int64) * stride_qh + start * stride_qt + rows[:, None]
    g_base = dh_ptr + batch * stride_gb + head.to(tl.int64) * stride_gh + start * stride_gt + columns[None, :]
    gates = (batch * H + head) * T + start
    steps: tl.constexpr = L // BT
    chunk = tl.maximum(count - 1, 0)
    added = tl.zeros([BK], tl.float32)
    if NORMALIZE:
        added = added_in(added_ptr, first + chunk, head, H, rows, row_mask, K, TILES)
    decay, c, n = memory_before(
        decay_ptr, c_ptr, n_ptr, first + chunk, chunk, head, H, tile, rows, row_mask, column_mask, K, V, HAS_STATE
    )
    for index in range(0, count * steps):
        chunk = count - 1 - index // steps
        if index % steps == 0:
            slot = (first + chunk).to(tl.int64) * H + head
            tl.store(dc_ptr + slot * K * V + tile, dc.to(dc_ptr.dtype.element_ty), mask=tile_mask)
            dc *= decay
            boundary_rows = boundary_ptr + slot * parts + rows
            tl.store(boundary_rows + v_tile * K, tl.sum(c.to(tl.float32) * dc, 1), mask=row_mask)
            if v_tile == 0:
                tl.store(dn_ptr + slot * K + rows, dn, mask=row_mask)
                tl.store(boundary_rows + v_tiles * K, n * dn * decay, mask=row_mask)
            dn = dn * decay + added
            earlier = tl.maximum(chunk - 1, 0)  # read a chunk ahead, so that no product waits
            decay, c, n = memory_before(
                decay_ptr, c_ptr, n_ptr, first + earlier, earlier, head, H, tile, rows, row_mask, column_mask, K, V,
                HAS_STATE,
            )  # fmt: skip
            if NORMALIZE:
                added = added_in(added_ptr, first + earlier, head, H, rows, row_mask, K, TILES)
        local = chunk * L + (index % steps) * BT + tl.arange(0, BT)
        mask = local < length
        tokens = local.to(tl.int64)
        inter = tl.load(inter_ptr + gates + local, mask=mask, other=0.0)
        q = tl.load(q_base + tokens[None, :] * stride_qt, mask=row_mask[:, None] & mask[None, :], other=0.0)
        g = tl.load(g_base + tokens[:, None] * stride_gt, mask=mask[:, None] & column_mask[None, :], other=0.0)
        q = (q.to(tl.float32) * inter[None, :]).to(dc_ptr.dtype.element_ty)
        dc = tl.dot(q, g.to(dc_ptr.dtype.element_ty), dc, input_precision=PRECISION)
    if NEEDS_DSTATE:
        tl.store(dc_initial + state * K * V + tile, dc, mask=tile_mask)
        if v_tile == 0:
            tl.store(dn_initial + state * K + rows, dn, mask=row_mask)
