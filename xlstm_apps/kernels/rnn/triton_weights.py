"""Gradients of recurrent weights and biases: one product over all time steps, after the recurrence."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["T", "rows", "chunk"])
def weights_kernel(
    g_ptr, h_ptr, dr_ptr, db_ptr, T, rows, chunk, H, D,
    SLOTS: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of dR_g = sum over b, t of g_g[b, t] h[b, t - 1]^T, and of db_g = sum of g_g, over one chunk of rows.

    g [B, T, slots, H, D] and h [B, T, H, D] are contiguous, so that row r = b T + t. dr [chunks, slots, H, D, D] and db
    [chunks, slots, H, D] in float32. The first steps of all sequences are left out of dR: see the caller.
    """
    tiles = tl.cdiv(D, BLOCK)
    pid = tl.program_id(0)
    column_tile = pid % tiles
    pid //= tiles
    row_tile = pid % tiles
    pid //= tiles
    head = pid % H
    pid //= H
    slot = pid % SLOTS
    part = pid // SLOTS

    unit = row_tile * BLOCK + tl.arange(0, BLOCK)
    column = column_tile * BLOCK + tl.arange(0, BLOCK)
    step = tl.arange(0, STEPS)
    start = part * chunk
    end = tl.minimum(start + chunk, rows)
    g_ptr += (slot * H + head).to(tl.int64) * D + unit[:, None]
    h_ptr += head.to(tl.int64) * D + column[None, :]
    dr = tl.zeros((BLOCK, BLOCK), tl.float32)
    db = tl.zeros((BLOCK,), tl.float32)
    for r in range(start, end, STEPS):
        row = r + step
        far = row.to(tl.int64)
        mask = row < end
        g_mask = (unit < D)[:, None] & mask[None, :]
        h_mask = (column < D)[None, :] & (mask & (row % T != 0))[:, None]
        g = tl.load(g_ptr + far[None, :] * (SLOTS * H * D), mask=g_mask, other=0.0)
        h = tl.load(h_ptr + (far[:, None] - 1) * (H * D), mask=h_mask, other=0.0)
        dr = tl.dot(g, h, acc=dr, input_precision=PRECISION)
        db += tl.sum(g.to(tl.float32), axis=1)
    out = (part.to(tl.int64) * SLOTS + slot) * H + head
    tile = (out * D + unit[:, None]) * D + column[None, :]
    tl.store(dr_ptr + tile, dr, mask=(unit < D)[:, None] & (column < D)[None, :])
    if column_tile == 0:
        tl.store(db_ptr + out * D + unit, db, mask=unit < D)
