"""Forward of the recurrences with the recurrent weights on chip: one program per head and batch tile, all time steps.

The state of a tile is [units, batch]: units are the rows of the matrix instruction, so a tile of 8 sequences wastes
nothing. Units are split as [WARPS, 16], a batched product with one 16-row slice of every gate per warp: all gates of
a unit meet in one thread, and only h passes through shared memory from one step to the next.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.rnn.triton_cells import LN2, cell_forward, memory_in
from xlstm_apps.kernels.rnn.triton_transfer import (
    add_input,
    identity,
    load_weights,
    storable,
    store,
    store_factors,
    unit_of_row,
)


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
def load_inputs(pointer, gate_stride, offset, mask, GATES: tl.constexpr):
    """Inputs of all gates at one time step; where a cell has fewer, the first stands in."""
    x0 = tl.load(pointer + offset, mask=mask, other=0.0)
    x1 = x0
    x2 = x0
    x3 = x0
    if GATES > 1:
        x1 = tl.load(pointer + gate_stride + offset, mask=mask, other=0.0)
        x2 = tl.load(pointer + 2 * gate_stride + offset, mask=mask, other=0.0)
    if GATES > 3:
        x3 = tl.load(pointer + 3 * gate_stride + offset, mask=mask, other=0.0)
    return x0, x1, x2, x3


@triton.jit
def add_inputs(x0, x1, x2, x3, eye, zero, GATES: tl.constexpr, FAST: tl.constexpr):
    """Inputs in float32; the fourth is zero where a cell has fewer gates."""
    y0 = add_input(x0, eye, zero, FAST)
    y1 = y0
    y2 = y0
    y3 = zero
    if GATES > 1:
        y1 = add_input(x1, eye, zero, FAST)
        y2 = add_input(x2, eye, zero, FAST)
    if GATES > 3:
        y3 = add_input(x3, eye, zero, FAST)
    return y0, y1, y2, y3


@triton.jit(do_not_specialize=["T", "B", "H", "x_b", "x_t"])
def forward_kernel(
    x_ptr, r_ptr, bias_ptr, h0_ptr, c0_ptr, n0_ptr, m0_ptr,
    h_ptr, k_ptr, hn_ptr, cn_ptr, nn_ptr, mn_ptr,
    T, B, H, x_b, x_t, x_h,
    x_g: tl.constexpr, CELL: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr,
    STATE: tl.constexpr, TRAIN: tl.constexpr, FACTORS: tl.constexpr, FAST: tl.constexpr,
    PRECISION: tl.constexpr, ALIGNED: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """h [B, T, H, D] contiguous; factors [programs, T, FACTORS, UNITS, BATCH]; x's strides are multiples of ALIGNED."""
    GATES: tl.constexpr = 1 if CELL == "elman" else (3 if CELL == "gru" else 4)
    WARPS: tl.constexpr = UNITS // 16
    DTYPE: tl.constexpr = x_ptr.dtype.element_ty
    pid = tl.program_id(0)
    head = pid % H
    first = (pid // H) * BATCH

    row = tl.arange(0, 16)[None, :, None]
    tile = tl.arange(0, WARPS)[:, None, None] * 16
    unit = tile + unit_of_row(row, FAST)
    member = tl.arange(0, BATCH)[None, None, :]
    inner = tl.arange(0, UNITS)[None, None, :]
    mask = (unit < D) & (first + member < B)
    # Sequences outside the batch read the last one inside, units outside the head read zero.
    member_in = tl.minimum(member, B - 1 - first)
    unit_in = tl.minimum(unit, D - 1)
    x_b = x_b // ALIGNED * ALIGNED
    x_t = x_t // ALIGNED * ALIGNED
    x_h = x_h // ALIGNED * ALIGNED

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
    x_offset = member_in.to(tl.int64) * x_b + tile + row
    h_offset = member.to(tl.int64) * T * H * D + unit
    element = (tile + row) * BATCH + member
    keep = storable(h_offset, mask, D % 2 == 0, FAST)
    eye = identity(WARPS, DTYPE, FAST)

    x0, x1, x2, x3 = load_inputs(x_ptr, x_g, x_offset, tile + row < D, GATES)
    x0, x1, x2, x3 = add_inputs(x0, x1, x2, x3, eye, zero, GATES, FAST)
    # These products stand before the loop and again at its end, not once at its start: with two uses the compiler
    # keeps the weights in registers, with one it would read them from shared memory in every step.
    hs = spread(h.to(DTYPE), UNITS, BATCH)
    p0, p1, p2, p3 = products(r0, r1, r2, r3, hs, x0, x1, x2, x3, CELL, PRECISION)
    for t in tl.range(0, T, num_stages=STAGES):
        # Inputs of the next step; the last step loads its own again.
        x_ptr += tl.where(t + 1 < T, x_t, 0)
        x0, x1, x2, x3 = load_inputs(x_ptr, x_g, x_offset, tile + row < D, GATES)
        x0, x1, x2, x3 = add_inputs(x0, x1, x2, x3, eye, zero, GATES, FAST)
        h, a, b, k0, k1, k2, k3, k4, k5 = cell_forward(CELL, p0, p1, p2, p3, b0, b1, b2, b3, h, a, b, FAST)
        hd = h.to(DTYPE)
        p0, p1, p2, p3 = products(
            r0, r1, r2, r3, spread(hd, UNITS, BATCH), x0, x1, x2, x3, CELL, PRECISION
        )  # fmt: skip
        store(h_ptr, h_offset, hd, keep, D % 2 == 0, FAST)
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
