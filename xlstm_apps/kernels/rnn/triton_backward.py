"""Backward of the recurrences with the recurrent weights on chip; the mirror image of `triton_forward`.

Only what is truly sequential happens here: the gradients of h and of the cell states, through factors that the forward
saved. The gradients of weights and biases are one matrix product over all steps afterwards (`triton_weights`).
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.rnn.triton_cells import cell_backward
from xlstm_apps.kernels.rnn.triton_forward import spread
from xlstm_apps.kernels.rnn.triton_transfer import (
    add_input,
    identity,
    load_factors,
    load_weights,
    storable,
    store,
    unit_of_row,
)


@triton.jit
def products(
    weights, r1, r2, r3, g0, g1, g2, g3, acc,
    CELL: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr, FAST: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """acc + sum over gates of R_g^T g_g; `FAST`: `weights` are those of all gates side by side."""
    if CELL == "elman":
        return tl.dot(weights, spread(g0, UNITS, BATCH), acc=acc, input_precision=PRECISION)
    else:
        if CELL == "gru":
            # The input of the candidate has no weights of its own.
            g2, g3 = g3, g2
        if FAST:
            # All gates as one operand: one trip through shared memory, not four.
            rows = tl.join(tl.join(g0, g1), tl.join(g2, g3))
            rows = tl.reshape(tl.permute(rows, (4, 3, 0, 1, 2)), (4 * UNITS, BATCH))
            rows = tl.broadcast_to(rows[None, :, :], (UNITS // 16, 4 * UNITS, BATCH))
            return tl.dot(weights, rows, acc=acc)
        else:
            acc = tl.dot(weights, spread(g0, UNITS, BATCH), acc=acc, input_precision=PRECISION)
            acc = tl.dot(r1, spread(g1, UNITS, BATCH), acc=acc, input_precision=PRECISION)
            acc = tl.dot(r2, spread(g2, UNITS, BATCH), acc=acc, input_precision=PRECISION)
            if CELL != "gru":
                acc = tl.dot(r3, spread(g3, UNITS, BATCH), acc=acc, input_precision=PRECISION)
            return acc


@triton.jit(do_not_specialize=["T", "B", "H", "y_b", "y_t"])
def backward_kernel(
    r_ptr, k_ptr, dy_ptr, dhn_ptr, dcn_ptr, dmn_ptr,
    g_ptr, dh0_ptr, da0_ptr, db0_ptr,
    T, B, H, y_b, y_t, y_h,
    CELL: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr,
    STATE: tl.constexpr, FACTORS: tl.constexpr, FAST: tl.constexpr,
    PRECISION: tl.constexpr, HD: tl.constexpr, ALIGNED: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Gradients of the pre-activations g [B, T, slots, H, D] contiguous, and of the initial states."""
    GATES: tl.constexpr = 1 if CELL == "elman" else (3 if CELL == "gru" else 4)
    SLOTS: tl.constexpr = 1 if CELL == "elman" else 4
    WARPS: tl.constexpr = UNITS // 16
    DTYPE: tl.constexpr = g_ptr.dtype.element_ty
    pid = tl.program_id(0)
    head = pid % H
    first = (pid // H) * BATCH

    row = tl.arange(0, 16)[None, :, None]
    tile = tl.arange(0, WARPS)[:, None, None] * 16
    unit = tile + unit_of_row(row, FAST)
    member = tl.arange(0, BATCH)[None, None, :]
    mask = (unit < D) & (first + member < B)
    member_in = tl.minimum(member, B - 1 - first)
    y_b = y_b // ALIGNED * ALIGNED
    y_t = y_t // ALIGNED * ALIGNED
    y_h = y_h // ALIGNED * ALIGNED

    r_ptr += head.to(tl.int64) * (D * D)
    gate_stride = H.to(tl.int64) * (D * D)
    COLUMNS: tl.constexpr = 4 * UNITS if FAST and GATES > 1 else UNITS
    column = tl.arange(0, COLUMNS)[None, None, :]
    weights = load_weights(r_ptr, unit, column, 1, D, gate_stride, D, GATES, FAST)
    r1 = weights
    r2 = weights
    r3 = weights
    if not FAST and GATES > 1:
        r1 = load_weights(r_ptr + gate_stride, unit, column, 1, D, gate_stride, D, GATES, FAST)
        r2 = load_weights(r_ptr + 2 * gate_stride, unit, column, 1, D, gate_stride, D, GATES, FAST)
    if not FAST and GATES > 3:
        r3 = load_weights(r_ptr + 3 * gate_stride, unit, column, 1, D, gate_stride, D, GATES, FAST)

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
    y_offset = member_in.to(tl.int64) * y_b + tile + row
    g_offset = member.to(tl.int64) * T * (SLOTS * HD) + unit
    element = (tile + row) * BATCH + member
    keep = storable(g_offset, mask, D % 2 == 0, FAST)
    eye = identity(WARPS, DTYPE, FAST)

    # Adds nothing: a second use of the weights, which keeps them in registers (see `forward_kernel`).
    nothing = (dh * 0.0).to(DTYPE)
    dh = products(
        weights, r1, r2, r3, nothing, nothing, nothing, nothing, dh, CELL, UNITS, BATCH, FAST, PRECISION
    )  # fmt: skip
    dh = add_input(tl.load(dy_ptr + y_offset, mask=tile + row < D, other=0.0), eye, dh, FAST)
    for t in tl.range(0, T, num_stages=STAGES):
        k0, k1, k2, k3, k4, k5 = load_factors(k_ptr, element, UNITS * BATCH, FACTORS, FAST)
        k_ptr -= STEP
        # The gradient of the output before; there is none before the first.
        dy_ptr -= tl.where(t + 1 < T, y_t, 0)
        y = tl.load(dy_ptr + y_offset, mask=tile + row < tl.where(t + 1 < T, D, 0), other=0.0)
        g0, g1, g2, g3, dh, da, db = cell_backward(CELL, dh, da, db, k0, k1, k2, k3, k4, k5)
        g0 = g0.to(DTYPE)
        g1 = g1.to(DTYPE)
        g2 = g2.to(DTYPE)
        g3 = g3.to(DTYPE)
        dh = add_input(y, eye, dh, FAST)
        dh = products(weights, r1, r2, r3, g0, g1, g2, g3, dh, CELL, UNITS, BATCH, FAST, PRECISION)
        store(g_ptr, g_offset, g0, keep, D % 2 == 0, FAST)
        if SLOTS > 1:
            store(g_ptr + HD, g_offset, g1, keep, D % 2 == 0, FAST)
            store(g_ptr + 2 * HD, g_offset, g2, keep, D % 2 == 0, FAST)
            store(g_ptr + 3 * HD, g_offset, g3, keep, D % 2 == 0, FAST)
        g_ptr -= SLOTS * HD

    tl.store(dh0_ptr + state, dh, mask=mask)
    if CELL == "slstm" or CELL == "lstm":
        tl.store(da0_ptr + state, da, mask=mask)
    if CELL == "slstm":
        tl.store(db0_ptr + state, db, mask=mask)
