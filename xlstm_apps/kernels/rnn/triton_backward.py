"""Backward of the recurrences with the recurrent weights on chip; the mirror image of `triton_forward`.

Only what is truly sequential happens here: the gradients of h and of the cell states, through factors that the forward
saved. The gradients of weights and biases are one matrix product over all steps afterwards (`triton_weights`).
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.rnn.triton_cells import cell_backward
from xlstm_apps.kernels.rnn.triton_forward import load_weights
from xlstm_apps.kernels.rnn.triton_memory import (
    factor_element,
    factors_to_float,
    load_factors,
    load_raw,
    prefetch,
    store,
    to_float,
)


@triton.jit
def stacked(g0, g1, g2, g3, CELL: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr):
    """Gradients of all gates below each other as one operand: one trip through shared memory, not four."""
    if CELL == "elman":
        rows = tl.reshape(g0, (UNITS, BATCH))
    else:
        if CELL == "gru":
            # Without weights of its own, the input of the candidate comes last and meets zeros.
            g2, g3 = g3, g2
        rows = tl.join(tl.join(g0, g1), tl.join(g2, g3))
        rows = tl.reshape(tl.permute(rows, (4, 3, 0, 1, 2)), (4 * UNITS, BATCH))
    return tl.broadcast_to(rows[None, :, :], (UNITS // 16, rows.shape[0], BATCH))


@triton.jit(do_not_specialize=["T", "B", "H", "y_b", "y_t"])
def backward_kernel(
    r_ptr, k_ptr, dy_ptr, dhn_ptr, dcn_ptr, dmn_ptr,
    g_ptr, dh0_ptr, da0_ptr, db0_ptr,
    T, B, H, y_b, y_t, y_h,
    CELL: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr,
    STATE: tl.constexpr, FACTORS: tl.constexpr, FAST: tl.constexpr,
    PRECISION: tl.constexpr, HD: tl.constexpr, PREFETCH: tl.constexpr,
):  # fmt: skip
    """Gradients of the pre-activations g [B, T, slots, H, D] contiguous, and of the initial states."""
    GATES: tl.constexpr = 1 if CELL == "elman" else (3 if CELL == "gru" else 4)
    SLOTS: tl.constexpr = 1 if CELL == "elman" else 4
    WARPS: tl.constexpr = UNITS // 16
    DTYPE: tl.constexpr = g_ptr.dtype.element_ty
    pid = tl.program_id(0)
    head = pid % H
    first = (pid // H) * BATCH

    unit = tl.arange(0, WARPS)[:, None, None] * 16 + tl.arange(0, 16)[None, :, None]
    member = tl.arange(0, BATCH)[None, None, :]
    mask = (unit < D) & (first + member < B)
    unit_in = unit if D == UNITS else tl.minimum(unit, D - 1)
    member_in = tl.minimum(member, B - 1 - first)

    r_ptr += head.to(tl.int64) * (D * D)
    gate_stride = H.to(tl.int64) * (D * D)
    COLUMNS: tl.constexpr = UNITS if CELL == "elman" else 4 * UNITS
    column = tl.arange(0, COLUMNS)[None, None, :]
    weights = load_weights(r_ptr, unit, column, 1, D, gate_stride, D, GATES, FAST)

    state = ((first + member).to(tl.int64) * H + head) * D + unit
    zero = tl.zeros((WARPS, 16, BATCH), tl.float32)
    dh = zero
    da = zero
    db = zero
    if STATE:
        dh = tl.load(dhn_ptr + state, mask=mask, other=0.0)
        if CELL == "slstm" or CELL == "lstm":
            da = tl.load(dcn_ptr + state, mask=mask, other=0.0)
        if CELL == "slstm":
            db = tl.load(dmn_ptr + state, mask=mask, other=0.0)

    STEP: tl.constexpr = UNITS * BATCH * FACTORS
    dy_ptr += first.to(tl.int64) * y_b + head.to(tl.int64) * y_h + (T - 1).to(tl.int64) * y_t
    g_ptr += ((first.to(tl.int64) * T + T - 1) * SLOTS * H + head) * D
    k_ptr += (pid.to(tl.int64) * T + T - 1) * STEP
    y_offset = member_in.to(tl.int64) * y_b + unit_in
    g_offset = member.to(tl.int64) * T * (SLOTS * HD) + unit
    element = factor_element(unit, member, UNITS, BATCH, FAST)

    # Adds nothing: a second use of the weights, which keeps them in registers (see `forward_kernel`).
    nothing = (dh * 0.0).to(DTYPE)
    stacked_nothing = stacked(nothing, nothing, nothing, nothing, CELL, UNITS, BATCH)
    dh = tl.dot(weights, stacked_nothing, acc=dh, input_precision=PRECISION)
    line = tl.arange(0, UNITS * BATCH // 8)
    LINES: tl.constexpr = (UNITS * 2 + 127) // 128
    y_line = tl.arange(0, BATCH * LINES)
    far_y = tl.minimum(y_line // LINES, B - 1 - first).to(tl.int64) * y_b + (y_line % LINES) * 64
    ahead = tl.minimum(PREFETCH, T - 1).to(tl.int64)
    far_k_ptr = k_ptr - ahead * STEP
    far_y_ptr = dy_ptr - ahead * y_t

    ny = load_raw(dy_ptr, y_offset, mask, FAST)
    n0, n1, n2, n3, n4, n5 = load_factors(k_ptr, element, UNITS * BATCH, FACTORS, FAST)
    for t in range(T):
        k0, k1, k2, k3, k4, k5 = factors_to_float(n0, n1, n2, n3, n4, n5, FAST)
        dh += to_float(ny, DTYPE, FAST)
        more = t + 1 < T
        dy_ptr -= tl.where(more, y_t, 0)
        k_ptr -= tl.where(more, STEP, 0)
        ny = load_raw(dy_ptr, y_offset, mask, FAST)
        n0, n1, n2, n3, n4, n5 = load_factors(k_ptr, element, UNITS * BATCH, FACTORS, FAST)
        if FAST and PREFETCH:
            prefetch(far_k_ptr, line.to(tl.int64) * 64)
            prefetch(far_y_ptr, far_y)
            far_k_ptr -= tl.where(t + 1 + PREFETCH < T, STEP, 0)
            far_y_ptr -= tl.where(t + 1 + PREFETCH < T, y_t, 0)
        g0, g1, g2, g3, dh, da, db = cell_backward(CELL, dh, da, db, k0, k1, k2, k3, k4, k5)
        g0 = g0.to(DTYPE)
        g1 = g1.to(DTYPE)
        g2 = g2.to(DTYPE)
        g3 = g3.to(DTYPE)
        dh = tl.dot(weights, stacked(g0, g1, g2, g3, CELL, UNITS, BATCH), acc=dh, input_precision=PRECISION)
        store(g_ptr, g_offset, g0, mask, FAST)
        if SLOTS > 1:
            store(g_ptr + HD, g_offset, g1, mask, FAST)
            store(g_ptr + 2 * HD, g_offset, g2, mask, FAST)
            store(g_ptr + 3 * HD, g_offset, g3, mask, FAST)
        g_ptr -= SLOTS * HD

    tl.store(dh0_ptr + state, dh, mask=mask)
    if CELL == "slstm" or CELL == "lstm":
        tl.store(da0_ptr + state, da, mask=mask)
    if CELL == "slstm":
        tl.store(db0_ptr + state, db, mask=mask)
