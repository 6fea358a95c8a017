"""The recurrences where the recurrent weights do not fit on chip: they stream from the L2 cache in every step.

One program per head and batch tile as in `triton_forward`; units are worked off in tiles, and what one tile hands to
the others goes through global memory, with a barrier between. Any head dimension, any type.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.rnn.triton_cells import LN2, cell_backward, cell_forward, memory_in
from xlstm_apps.kernels.rnn.triton_transfer import load_factors, store_factors


@triton.jit
def initial_state(
    h0_ptr, c0_ptr, n0_ptr, m0_ptr, exchange_ptr, hn_ptr, cn_ptr, mn_ptr, state, mask,
    CELL: tl.constexpr, STATE: tl.constexpr, BLOCK: tl.constexpr, BATCH: tl.constexpr,
):  # fmt: skip
    """Copy one tile of the initial state to where the steps keep theirs; log-normalisers in base 2 until the end."""
    h = tl.zeros((BLOCK, BATCH), tl.float32)
    a = h
    b = h - 1.4e30
    if STATE:
        h = tl.load(h0_ptr + state, mask=mask, other=0.0)
        if CELL == "lstm":
            a = tl.load(c0_ptr + state, mask=mask, other=0.0)
        if CELL == "slstm":
            c = tl.load(c0_ptr + state, mask=mask, other=0.0)
            n = tl.load(n0_ptr + state, mask=mask, other=0.0)
            a, b = memory_in(c, n, tl.load(m0_ptr + state, mask=mask, other=0.0))
    tl.store(exchange_ptr + state, h.to(exchange_ptr.dtype.element_ty), mask=mask)
    tl.store(hn_ptr + state, h, mask=mask)
    if CELL == "slstm" or CELL == "lstm":
        tl.store(cn_ptr + state, a, mask=mask)
    if CELL == "slstm":
        tl.store(mn_ptr + state, b, mask=mask)


@triton.jit(do_not_specialize=["T", "B", "H", "x_b", "x_t", "size"])
def forward_kernel(
    x_ptr, r_ptr, bias_ptr, h0_ptr, c0_ptr, n0_ptr, m0_ptr,
    h_ptr, k_ptr, exchange_ptr, hn_ptr, cn_ptr, nn_ptr, mn_ptr,
    T, B, H, x_b, x_t, x_h, size,
    x_g: tl.constexpr, CELL: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
    BATCH: tl.constexpr, STATE: tl.constexpr, TRAIN: tl.constexpr, FACTORS: tl.constexpr, FAST: tl.constexpr,
    PRECISION: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """As `triton_forward.forward_kernel`; `exchange` [2, B, H, D], `size` = B H D, holds h of two steps."""
    GATES: tl.constexpr = 1 if CELL == "elman" else (3 if CELL == "gru" else 4)
    DTYPE: tl.constexpr = x_ptr.dtype.element_ty
    pid = tl.program_id(0)
    head = pid % H
    first = (pid // H) * BATCH
    rows = tl.arange(0, BLOCK)[:, None]
    inner = tl.arange(0, INNER)
    columns = inner[None, :]
    member = tl.arange(0, BATCH)[None, :]
    present = first + member < B
    base = ((first + member).to(tl.int64) * H + head) * D
    r_ptr += head.to(tl.int64) * (D * D)
    gate_stride = H.to(tl.int64) * (D * D)
    x_ptr += head.to(tl.int64) * x_h
    k_ptr += pid.to(tl.int64) * T * (UNITS * BATCH * FACTORS)

    for u in range(0, D, BLOCK):
        initial_state(
            h0_ptr, c0_ptr, n0_ptr, m0_ptr, exchange_ptr, hn_ptr, cn_ptr, mn_ptr,
            base + u + rows, present & (u + rows < D), CELL, STATE, BLOCK, BATCH,
        )  # fmt: skip
    tl.debug_barrier()
    for t in range(T):
        read = exchange_ptr + (t % 2) * size
        write = exchange_ptr + ((t + 1) % 2) * size
        for u in range(0, D, BLOCK):
            unit = u + rows
            mask = present & (unit < D)
            x = x_ptr + (first + member).to(tl.int64) * x_b + unit
            bias = bias_ptr + head * D + unit
            p0 = tl.load(x, mask=mask, other=0.0).to(tl.float32)
            b0 = tl.load(bias, mask=unit < D, other=0.0).to(tl.float32)
            p1 = p0
            p2 = p0
            p3 = tl.zeros((BLOCK, BATCH), tl.float32)
            b1 = b0
            b2 = b0
            b3 = b0
            if GATES > 1:
                p1 = tl.load(x + x_g, mask=mask, other=0.0).to(tl.float32)
                p2 = tl.load(x + 2 * x_g, mask=mask, other=0.0).to(tl.float32)
                b1 = tl.load(bias + H * D, mask=unit < D, other=0.0).to(tl.float32)
                b2 = tl.load(bias + 2 * H * D, mask=unit < D, other=0.0).to(tl.float32)
                b3 = tl.load(bias + 3 * H * D, mask=unit < D, other=0.0).to(tl.float32)
            if GATES > 3:
                p3 = tl.load(x + 3 * x_g, mask=mask, other=0.0).to(tl.float32)
            for k in range(0, D, INNER):
                hs = tl.load(read + base + k + inner[:, None], mask=present & (k + inner < D)[:, None], other=0.0)
                r = r_ptr + unit * D + k + columns
                inside = (unit < D) & (k + columns < D)
                p0 = tl.dot(tl.load(r, mask=inside, other=0.0), hs, acc=p0, input_precision=PRECISION)
                if GATES > 1:
                    r1 = tl.load(r + gate_stride, mask=inside, other=0.0)
                    r2 = tl.load(r + 2 * gate_stride, mask=inside, other=0.0)
                    p1 = tl.dot(r1, hs, acc=p1, input_precision=PRECISION)
                    if CELL == "gru":
                        p3 = tl.dot(r2, hs, acc=p3, input_precision=PRECISION)
                    else:
                        r3 = tl.load(r + 3 * gate_stride, mask=inside, other=0.0)
                        p2 = tl.dot(r2, hs, acc=p2, input_precision=PRECISION)
                        p3 = tl.dot(r3, hs, acc=p3, input_precision=PRECISION)
            state = base + unit
            h = tl.load(hn_ptr + state, mask=mask, other=0.0)
            a = h
            b = h
            if CELL == "slstm" or CELL == "lstm":
                a = tl.load(cn_ptr + state, mask=mask, other=0.0)
            if CELL == "slstm":
                b = tl.load(mn_ptr + state, mask=mask, other=0.0)
            h, a, b, k0, k1, k2, k3, k4, k5 = cell_forward(CELL, p0, p1, p2, p3, b0, b1, b2, b3, h, a, b, FAST)
            tl.store(hn_ptr + state, h, mask=mask)
            if CELL == "slstm" or CELL == "lstm":
                tl.store(cn_ptr + state, a, mask=mask)
            if CELL == "slstm":
                tl.store(mn_ptr + state, b, mask=mask)
            tl.store(write + state, h.to(DTYPE), mask=mask)
            out = (((first + member).to(tl.int64) * T + t) * H + head) * D + unit
            tl.store(h_ptr + out, h.to(DTYPE), mask=mask)
            if TRAIN:
                store_factors(k_ptr, unit * BATCH + member, k0, k1, k2, k3, k4, k5, UNITS * BATCH, FACTORS, False)
        x_ptr += x_t
        k_ptr += UNITS * BATCH * FACTORS
        tl.debug_barrier()
    if CELL == "slstm":
        for u in range(0, D, BLOCK):
            state = base + u + rows
            mask = present & (u + rows < D)
            b = tl.load(mn_ptr + state, mask=mask, other=0.0)
            tl.store(nn_ptr + state, tl.full((BLOCK, BATCH), 1.0, tl.float32), mask=mask)
            tl.store(mn_ptr + state, b * LN2, mask=mask)


@triton.jit(do_not_specialize=["T", "B", "H", "y_b", "y_t"])
def backward_kernel(
    r_ptr, k_ptr, dy_ptr, g_ptr, dh_ptr, dc_ptr, dm_ptr,
    T, B, H, y_b, y_t, y_h,
    CELL: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr, BATCH: tl.constexpr,
    FACTORS: tl.constexpr, PRECISION: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """As `triton_backward.backward_kernel`; dh, dc, dm turn from final to initial states' gradients."""
    GATES: tl.constexpr = 1 if CELL == "elman" else (3 if CELL == "gru" else 4)
    SLOTS: tl.constexpr = 1 if CELL == "elman" else 4
    DTYPE: tl.constexpr = g_ptr.dtype.element_ty
    pid = tl.program_id(0)
    head = pid % H
    first = (pid // H) * BATCH
    rows = tl.arange(0, BLOCK)[:, None]
    inner = tl.arange(0, INNER)
    columns = inner[None, :]
    member = tl.arange(0, BATCH)[None, :]
    present = first + member < B
    base = ((first + member).to(tl.int64) * H + head) * D
    r_ptr += head.to(tl.int64) * (D * D)
    gate_stride = H.to(tl.int64) * (D * D)
    slot_stride = H.to(tl.int64) * D
    dy_ptr += head.to(tl.int64) * y_h + (T - 1).to(tl.int64) * y_t
    k_ptr += (pid.to(tl.int64) * T + T - 1) * (UNITS * BATCH * FACTORS)

    for back in range(T):
        t = T - 1 - back
        out = ((((first + member).to(tl.int64) * T + t) * SLOTS) * H + head) * D
        for u in range(0, D, BLOCK):
            unit = u + rows
            mask = present & (unit < D)
            state = base + unit
            y = dy_ptr + (first + member).to(tl.int64) * y_b + unit
            dh = tl.load(dh_ptr + state, mask=mask, other=0.0) + tl.load(y, mask=mask, other=0.0).to(tl.float32)
            da = dh
            db = dh
            if CELL == "slstm" or CELL == "lstm":
                da = tl.load(dc_ptr + state, mask=mask, other=0.0)
            if CELL == "slstm":
                db = tl.load(dm_ptr + state, mask=mask, other=0.0)
            k0, k1, k2, k3, k4, k5 = load_factors(k_ptr, unit * BATCH + member, UNITS * BATCH, FACTORS, False)
            g0, g1, g2, g3, dh, da, db = cell_backward(CELL, dh, da, db, k0, k1, k2, k3, k4, k5)
            tl.store(dh_ptr + state, dh, mask=mask)
            if CELL == "slstm" or CELL == "lstm":
                tl.store(dc_ptr + state, da, mask=mask)
            if CELL == "slstm":
                tl.store(dm_ptr + state, db, mask=mask)
            g = g_ptr + out + unit
            tl.store(g, g0.to(DTYPE), mask=mask)
            if SLOTS > 1:
                tl.store(g + slot_stride, g1.to(DTYPE), mask=mask)
                tl.store(g + 2 * slot_stride, g2.to(DTYPE), mask=mask)
                tl.store(g + 3 * slot_stride, g3.to(DTYPE), mask=mask)
        tl.debug_barrier()
        for u in range(0, D, BLOCK):
            unit = u + rows
            mask = present & (unit < D)
            dh = tl.load(dh_ptr + base + unit, mask=mask, other=0.0)
            for k in range(0, D, INNER):
                g = g_ptr + out + k + inner[:, None]
                g_mask = present & (k + inner < D)[:, None]
                r = r_ptr + unit + (k + columns) * D
                inside = (unit < D) & (k + columns < D)
                for gate in tl.static_range(GATES):
                    slot = g + (3 if CELL == "gru" and gate == 2 else gate) * slot_stride
                    gs = tl.load(slot, mask=g_mask, other=0.0)
                    weights = tl.load(r + gate * gate_stride, mask=inside, other=0.0)
                    dh = tl.dot(weights, gs, acc=dh, input_precision=PRECISION)
            tl.store(dh_ptr + base + unit, dh, mask=mask)
        dy_ptr -= y_t
        k_ptr -= UNITS * BATCH * FACTORS
        tl.debug_barrier()
