"""Forward of the recurrences with the recurrent weights on chip: one program per head and batch tile, all time steps.

The state of a tile is [units, batch]: units are the rows of the matrix instruction, so a tile of 8 sequences wastes
nothing. Units are split as [WARPS, 16], a batched product with one 16-row slice of every gate per warp: all gates of
a unit meet in one thread, and only h passes through shared memory from one step to the next.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.rnn.triton_cells import LN2, cell_forward, memory_in
from xlstm_apps.kernels.rnn.triton_memory import factor_element, load_raw, prefetch, store, store_factors, to_float


@triton.jit
def load_weights(
    pointer, row, column, row_stride, column_stride, gate_stride, D: tl.constexpr,
    GATES: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """Weights of one head, zero outside [D, D], laid out as the matrix instruction wants them.

    Columns beyond the padded D belong to the next gate, and are zero beyond the last.
    """
    PADDED: tl.constexpr = row.shape[0] * row.shape[1]
    inner = column % PADDED
    gate = column // PADDED
    mask = (row < D) & (inner < D) & (gate < GATES)
    offset = tl.minimum(row, D - 1) * row_stride + tl.minimum(inner, D - 1) * column_stride
    offset = offset.to(tl.int64) + tl.minimum(gate, GATES - 1) * gate_stride
    raw = load_raw(pointer, offset, mask, FAST)
    if FAST:
        return tl.where(mask, raw, 0).to(tl.uint16).to(pointer.dtype.element_ty, bitcast=True)
    else:
        return raw


@triton.jit
def spread(h, UNITS: tl.constexpr, BATCH: tl.constexpr):
    """[WARPS, 16, BATCH] -> [WARPS, UNITS, BATCH]: every warp multiplies with all units."""
    WARPS: tl.constexpr = h.shape[0]
    return tl.broadcast_to(tl.reshape(h, (UNITS, BATCH))[None, :, :], (WARPS, UNITS, BATCH))


@triton.jit
def products(r0, r1, r2, r3, hs, x0, x1, x2, x3, CELL: tl.constexpr, PRECISION: tl.constexpr):
    """Pre-activations without bias; `gru`: the fourth is the recurrent part of the candidate, the third its input."""
    x0 = tl.dot(r0, hs, acc=x0, input_precision=PRECISION)
    if CELL != "elman":
        x1 = tl.dot(r1, hs, acc=x1, input_precision=PRECISION)
        if CELL == "gru":
            x3 = tl.dot(r2, hs, acc=x3, input_precision=PRECISION)
        else:
            x2 = tl.dot(r2, hs, acc=x2, input_precision=PRECISION)
            x3 = tl.dot(r3, hs, acc=x3, input_precision=PRECISION)
    return x0, x1, x2, x3


@triton.jit
def load_inputs(pointer, gate_stride, offset, mask, GATES: tl.constexpr, FAST: tl.constexpr):
    """Inputs of all gates at one time step, as they lie in memory."""
    n0 = load_raw(pointer, offset, mask, FAST)
    n1 = n0
    n2 = n0
    n3 = n0
    if GATES > 1:
        n1 = load_raw(pointer + gate_stride, offset, mask, FAST)
        n2 = load_raw(pointer + 2 * gate_stride, offset, mask, FAST)
    if GATES > 3:
        n3 = load_raw(pointer + 3 * gate_stride, offset, mask, FAST)
    return n0, n1, n2, n3


@triton.jit
def inputs_to_float(n0, n1, n2, n3, zero, GATES: tl.constexpr, DTYPE: tl.constexpr, FAST: tl.constexpr):
    """Raw inputs in float32; where a cell has fewer than four gates, the fourth is zero."""
    x0 = to_float(n0, DTYPE, FAST)
    x1 = x0
    x2 = x0
    x3 = zero
    if GATES > 1:
        x1 = to_float(n1, DTYPE, FAST)
        x2 = to_float(n2, DTYPE, FAST)
    if GATES > 3:
        x3 = to_float(n3, DTYPE, FAST)
    return x0, x1, x2, x3


@triton.jit(do_not_specialize=["T", "B", "H", "x_b", "x_t"])
def forward_kernel(
    x_ptr, r_ptr, bias_ptr, h0_ptr, c0_ptr, n0_ptr, m0_ptr,
    h_ptr, k_ptr, hn_ptr, cn_ptr, nn_ptr, mn_ptr,
    T, B, H, x_b, x_t, x_h,
    x_g: tl.constexpr, CELL: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr,
    STATE: tl.constexpr, TRAIN: tl.constexpr, FACTORS: tl.constexpr, FAST: tl.constexpr,
    PRECISION: tl.constexpr, PREFETCH: tl.constexpr,
):  # fmt: skip
    """h [B, T, H, D] contiguous; factors [programs, T, ...] in the order of the programs' own elements."""
    GATES: tl.constexpr = 1 if CELL == "elman" else (3 if CELL == "gru" else 4)
    WARPS: tl.constexpr = UNITS // 16
    DTYPE: tl.constexpr = x_ptr.dtype.element_ty
    pid = tl.program_id(0)
    head = pid % H
    first = (pid // H) * BATCH

    unit = tl.arange(0, WARPS)[:, None, None] * 16 + tl.arange(0, 16)[None, :, None]
    member = tl.arange(0, BATCH)[None, None, :]
    inner = tl.arange(0, UNITS)[None, None, :]
    mask = (unit < D) & (first + member < B)
    # Elements outside the tensors read the nearest one inside: harmless, since the weights are zero there.
    unit_in = unit if D == UNITS else tl.minimum(unit, D - 1)
    member_in = tl.minimum(member, B - 1 - first)

    r_ptr += head.to(tl.int64) * (D * D)
    gate_stride = H.to(tl.int64) * (D * D)
    r0 = load_weights(r_ptr, unit, inner, D, 1, gate_stride, D, GATES, FAST)
    r1 = r0
    r2 = r0
    r3 = r0
    if GATES > 1:
        r1 = load_weights(r_ptr + gate_stride, unit, inner, D, 1, gate_stride, D, GATES, FAST)
        r2 = load_weights(r_ptr + 2 * gate_stride, unit, inner, D, 1, gate_stride, D, GATES, FAST)
    if GATES > 3:
        r3 = load_weights(r_ptr + 3 * gate_stride, unit, inner, D, 1, gate_stride, D, GATES, FAST)
    bias_ptr += head * D + unit_in
    b0 = tl.load(bias_ptr).to(tl.float32)
    b1 = b0
    b2 = b0
    b3 = b0
    if GATES > 1:
        b1 = tl.load(bias_ptr + H * D).to(tl.float32)
        b2 = tl.load(bias_ptr + 2 * H * D).to(tl.float32)
        b3 = tl.load(bias_ptr + 3 * H * D).to(tl.float32)

    state = ((first + member).to(tl.int64) * H + head) * D + unit
    zero = tl.zeros((WARPS, 16, BATCH), tl.float32)
    h = zero
    a = zero
    b = zero
    if CELL == "slstm":
        b = zero - 1.4e30
    if STATE:
        h = tl.load(h0_ptr + state, mask=mask, other=0.0)
        if CELL == "lstm":
            a = tl.load(c0_ptr + state, mask=mask, other=0.0)
        if CELL == "slstm":
            c = tl.load(c0_ptr + state, mask=mask, other=0.0)
            n = tl.load(n0_ptr + state, mask=mask, other=0.0)
            a, b = memory_in(c, n, tl.load(m0_ptr + state, mask=mask, other=0.0))

    x_ptr += first.to(tl.int64) * x_b + head.to(tl.int64) * x_h
    h_ptr += (first.to(tl.int64) * T * H + head) * D
    k_ptr += pid.to(tl.int64) * T * (UNITS * BATCH * FACTORS)
    x_offset = member_in.to(tl.int64) * x_b + unit_in
    h_offset = member.to(tl.int64) * T * H * D + unit
    element = factor_element(unit, member, UNITS, BATCH, FAST)

    # One address for each line of 128 bytes that a step reads.
    LINES: tl.constexpr = (UNITS * 2 + 127) // 128
    line = tl.arange(0, 4 * BATCH * LINES)
    far_offset = tl.minimum(line // LINES % BATCH, B - 1 - first).to(tl.int64) * x_b + (line % LINES) * 64
    far_offset += tl.minimum(line // LINES // BATCH, GATES - 1) * x_g
    far_ptr = x_ptr + tl.minimum(PREFETCH, T - 1).to(tl.int64) * x_t

    n0, n1, n2, n3 = load_inputs(x_ptr, x_g, x_offset, mask, GATES, FAST)
    x0, x1, x2, x3 = inputs_to_float(n0, n1, n2, n3, zero, GATES, DTYPE, FAST)
    x_ptr += tl.where(T > 1, x_t, 0)
    n0, n1, n2, n3 = load_inputs(x_ptr, x_g, x_offset, mask, GATES, FAST)
    # These products stand before the loop and again at its end, not once at its start: with two uses the compiler
    # keeps the weights in registers, with one it would read them from shared memory in every step.
    hs = spread(h.to(DTYPE), UNITS, BATCH)
    p0, p1, p2, p3 = products(r0, r1, r2, r3, hs, x0, x1, x2, x3, CELL, PRECISION)
    for t in range(T):
        # Inputs are fetched a step ahead; the last steps fetch theirs again.
        x0, x1, x2, x3 = inputs_to_float(n0, n1, n2, n3, zero, GATES, DTYPE, FAST)
        x_ptr += tl.where(t + 2 < T, x_t, 0)
        n0, n1, n2, n3 = load_inputs(x_ptr, x_g, x_offset, mask, GATES, FAST)
        if FAST and PREFETCH:
            prefetch(far_ptr, far_offset)
            far_ptr += tl.where(t + 1 + PREFETCH < T, x_t, 0)
        h, a, b, k0, k1, k2, k3, k4, k5 = cell_forward(CELL, p0, p1, p2, p3, b0, b1, b2, b3, h, a, b, FAST)
        hd = h.to(DTYPE)
        p0, p1, p2, p3 = products(
            r0, r1, r2, r3, spread(hd, UNITS, BATCH), x0, x1, x2, x3, CELL, PRECISION
        )  # fmt: skip
        store(h_ptr, h_offset, hd, mask, FAST)
        h_ptr += H * D
        if TRAIN:
            store_factors(k_ptr, element, k0, k1, k2, k3, k4, k5, UNITS * BATCH, FACTORS, FAST)
            k_ptr += UNITS * BATCH * FACTORS

    tl.store(hn_ptr + state, h, mask=mask)
    if CELL == "slstm" or CELL == "lstm":
        tl.store(cn_ptr + state, a, mask=mask)
    if CELL == "slstm":
        tl.store(nn_ptr + state, zero + 1.0, mask=mask)
        tl.store(mn_ptr + state, b * LN2, mask=mask)
