"""Arithmetic of one time step inside the Triton kernels: the four cells, their derivatives, and small helpers.

`FAST` switches to the GPU's approximate instructions and to loads and stores through inline PTX; it is set for 16-bit
tensors on an NVIDIA GPU. The inline form also matters for layout: a `tl.load` fixes its own thread layout and is then
moved through shared memory, an elementwise PTX load takes whatever layout its user has, here that of the matrix
instruction. Without `FAST` the same kernels run in float32 at full precision and in the interpreter.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def exp2(x, FAST: tl.constexpr):
    if FAST:
        return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        return tl.exp2(x)


@triton.jit
def log2(x, FAST: tl.constexpr):
    if FAST:
        return tl.inline_asm_elementwise("lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        return tl.log2(x)


@triton.jit
def reciprocal(x, FAST: tl.constexpr):
    if FAST:
        return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        return 1.0 / x


@triton.jit
def scaled(product, bias, factor: tl.constexpr):
    """(product + bias) * factor in one instruction; the loop-invariant bias * factor is computed once."""
    return tl.fma(product, tl.full([], factor, tl.float32), bias * factor)


@triton.jit
def sigmoid(negated, FAST: tl.constexpr):
    """sigmoid(x) and sigmoid(-x), both to full relative precision, from -x * log2(e)."""
    e = exp2(tl.minimum(negated, 126.0), FAST)
    s = reciprocal(1.0 + e, FAST)
    return s, e * s


@triton.jit
def tanh(product, bias, FAST: tl.constexpr):
    """tanh(x) and its derivative for x = product + bias; nothing overflows, the derivative keeps relative precision."""
    e = exp2(tl.minimum(scaled(product, bias, 2.0 * LOG2E), 126.0), FAST)
    r = reciprocal(1.0 + e, FAST)
    value = 1.0 - 2.0 * r
    x = product + bias
    # The difference above cancels near 0, where the first terms of the series are exact enough.
    if FAST:
        value = tl.where(tl.abs(x) < 0.015625, x, value)
    else:
        s = x * x
        series = x * (1.0 + s * (-1.0 / 3.0 + s * (2.0 / 15.0 + s * (-17.0 / 315.0 + s * (62.0 / 2835.0)))))
        value = tl.where(tl.abs(x) < 0.25, series, value)
    return value, 4.0 * (e * r) * r


@triton.jit
def memory_in(c, n, m):
    """Memory (c, n, m) of an sLSTM as (y, l / ln 2), the empty one (n = 0) as (0, -1.4e30)."""
    filled = n > 0
    n = tl.where(filled, n, 1.0)
    log_n = tl.maximum((m + tl.log(n)) * LOG2E, -1.4e30)
    return tl.where(filled, c / n, 0.0), tl.where(filled, log_n, -1.4e30)


@triton.jit
def cell_forward(CELL: tl.constexpr, p0, p1, p2, p3, b0, b1, b2, b3, h, a, b, FAST: tl.constexpr):
    """One step of a cell.

    `p0`..`p3` are input plus recurrent part of each gate and `b0`..`b3` the biases; for `gru`, `p3` is the recurrent
    part of the candidate alone and `p2` its input. States: slstm (a, b) = (y, l / ln 2), lstm a = c, gru h.

    Returns:
        New h, a, b, and the factors k0..k5 that `cell_backward` needs. Errors of k1 and k4 add up over the steps, so
        these two are kept in float32 where the others are rounded.
    """
    if CELL == "slstm":
        i = scaled(p0, b0, LOG2E)
        f = scaled(p1, b1, LOG2E)
        ef = exp2(tl.minimum(-f, 126.0), FAST)
        pf = 1.0 + ef
        kept = b + tl.minimum(f, -log2(pf, FAST))
        d = i - kept
        ed = exp2(-tl.abs(d), FAST)
        pd = 1.0 + ed
        big = reciprocal(pd, FAST)
        small = ed * big
        share = tl.where(d >= 0, big, small)
        rest = tl.where(d >= 0, small, big)
        b = tl.maximum(i, kept) + log2(pd, FAST)
        z, slope = tanh(p2, b2, FAST)
        o, o_rest = sigmoid(scaled(p3, b3, -LOG2E), FAST)
        change = z - a
        a = a + share * change
        h = o * a
        return h, a, b, h * o_rest, o, change * (share * rest), share * slope, share, ef * reciprocal(pf, FAST)
    elif CELL == "lstm":
        i, i_rest = sigmoid(scaled(p0, b0, -LOG2E), FAST)
        f, f_rest = sigmoid(scaled(p1, b1, -LOG2E), FAST)
        z, slope = tanh(p2, b2, FAST)
        o, o_rest = sigmoid(scaled(p3, b3, -LOG2E), FAST)
        k2 = a * f * f_rest
        a = f * a + i * z
        c, c_slope = tanh(a, tl.zeros_like(a), FAST)
        h = o * c
        return h, a, b, h * o_rest, o * c_slope, k2, i * slope, f, z * i * i_rest
    elif CELL == "gru":
        r, r_rest = sigmoid(scaled(p0, b0, -LOG2E), FAST)
        u, u_rest = sigmoid(scaled(p1, b1, -LOG2E), FAST)
        mixed = p3 + b3
        n, slope = tanh(p2 + r * mixed, b2, FAST)
        change = h - n
        k0 = u_rest * slope
        h = u_rest * n + u * h
        return h, a, b, k0, change * u * u_rest, k0 * mixed * r * r_rest, k0 * r, u, u
    else:
        h, slope = tanh(p0, b0, FAST)
        return h, a, b, slope, slope, slope, slope, slope, slope


@triton.jit
def cell_backward(CELL: tl.constexpr, dh, da, db, k0, k1, k2, k3, k4, k5):
    """Gradients of one step from that of its output and the carried ones of the states.

    Returns:
        Gradients g0..g3 of the pre-activations (`gru`: reset, update, candidate input, candidate recurrent part), the
        part of the gradient of the previous h that does not pass through the recurrent weights, and those of a and b.
    """
    zero = dh * 0.0
    if CELL == "slstm":
        da = da + dh * k1
        ds = da * k2
        shared = db * k4
        db = db - shared - ds
        return ds + shared, db * k5, da * k3, dh * k0, zero, da - da * k4, db
    elif CELL == "lstm":
        da = da + dh * k1
        return da * k5, da * k2, da * k3, dh * k0, zero, da * k4, db
    elif CELL == "gru":
        return dh * k2, dh * k1, dh * k0, dh * k3, dh * k4, da, db
    else:
        return dh * k0, zero, zero, zero, zero, da, db
