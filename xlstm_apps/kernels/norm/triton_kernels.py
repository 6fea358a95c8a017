"""The norm and the gate on a GPU: one pass over memory forward, one backward.

A program takes rows of one head, a row being the D features of the head at one step. The backward computes the norm
again, so that nothing but what was given is kept for it:

    n = (h - mean) * r,    y = u * f(g),    u = w * n + b + s * a
    dg = dy * u * f'(g)        du = dy * f(g)        da = s * du
    dn = w * du                dh = r * (dn - mean(dn) - n * mean(dn * n))
    dw = sum du * n            db = sum du           ds = sum du * a

Sums over rows are kept in registers over all rows of a program; sums over programs are the caller's, in a fixed order.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_rows(ptr, stride, row, rows, column, D: tl.constexpr, ALIGNED: tl.constexpr):
    """Features of this head at these steps, [rows, D], in float32."""
    here = (row < rows)[:, None] & (column < D)[None, :]
    place = row.to(tl.int64)[:, None] * (stride // ALIGNED * ALIGNED) + column[None, :]
    return tl.load(ptr + place, mask=here, other=0.0).to(tl.float32)


@triton.jit
def store_rows(ptr, value, stride, row, rows, column, D: tl.constexpr):
    here = (row < rows)[:, None] & (column < D)[None, :]
    place = row.to(tl.int64)[:, None] * stride + column[None, :]
    tl.store(ptr + place, value.to(ptr.dtype.element_ty), mask=here)


@triton.jit
def load_features(ptr, column, D: tl.constexpr, GIVEN: tl.constexpr):
    """One number per feature of this head, [1, D]; zeros where there are none."""
    if GIVEN:
        return tl.load(ptr + column, mask=column < D, other=0.0).to(tl.float32)[None, :]
    else:
        return tl.zeros((1, column.shape[0]), tl.float32)


@triton.jit
def normalise(h, column, eps, D: tl.constexpr, CENTRED: tl.constexpr):
    """The norm of rows, and what they were multiplied by."""
    if CENTRED:
        mean = tl.sum(h, 1) / D
        h = tl.where((column < D)[None, :], h - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(h * h, 1) / D + eps)[:, None]
    return h * scale, scale


@triton.jit
def normalise_backward(dn, n, scale, D: tl.constexpr, CENTRED: tl.constexpr):
    """The gradient of rows before the norm from that behind it."""
    dh = dn - n * (tl.sum(dn * n, 1)[:, None] / D)
    if CENTRED:
        dh -= tl.sum(dn, 1)[:, None] / D
    return dh * scale


@triton.jit(do_not_specialize=["rows", "h_t", "gate_t", "a_t"])
def forward_kernel(
    h_ptr, gate_ptr, weight_ptr, y_ptr, bias_ptr, a_ptr, skip_ptr, rows, h_t, gate_t, a_t, eps,
    H: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALIGNED: tl.constexpr,
    SILU: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_SKIP: tl.constexpr,
):  # fmt: skip
    """h, gate, a [rows, H * D] by strides that are multiples of ALIGNED; y contiguous."""
    head = tl.program_id(0) % H * D
    row = tl.program_id(0) // H * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    n, _ = normalise(load_rows(h_ptr + head, h_t, row, rows, column, D, ALIGNED), column, eps, D, True)
    u = n * load_features(weight_ptr + head, column, D, True) + load_features(bias_ptr + head, column, D, HAS_BIAS)
    if HAS_SKIP:
        a = load_rows(a_ptr + head, a_t, row, rows, column, D, ALIGNED)
        u += load_features(skip_ptr + head, column, D, True) * a
    gate = load_rows(gate_ptr + head, gate_t, row, rows, column, D, ALIGNED)
    opened = 1.0 / (1.0 + tl.exp(-gate))
    if SILU:
        opened *= gate
    store_rows(y_ptr + head, u * opened, H * D, row, rows, column, D)


@triton.jit(do_not_specialize=["rows", "each", "dy_t", "h_t", "gate_t", "a_t"])
def backward_kernel(
    dy_ptr, h_ptr, gate_ptr, weight_ptr, dh_ptr, dgate_ptr, da_ptr, sums_ptr, bias_ptr, a_ptr, skip_ptr,
    rows, each, dy_t, h_t, gate_t, a_t, eps,
    H: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALIGNED: tl.constexpr,
    SILU: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_SKIP: tl.constexpr,
):  # fmt: skip
    """As `forward_kernel`, `each` rows a program; dh, dgate, da contiguous; sums [programs, 3, D] of the gradients of
    weight, bias and skip."""
    pid = tl.program_id(0)
    head = pid % H * D
    start = pid // H * each
    stop = tl.minimum(start + each, rows)
    column = tl.arange(0, BLOCK)
    weight = load_features(weight_ptr + head, column, D, True)
    bias = load_features(bias_ptr + head, column, D, HAS_BIAS)
    skip = load_features(skip_ptr + head, column, D, HAS_SKIP)
    dweight = tl.zeros((ROWS, BLOCK), tl.float32)
    dbias = tl.zeros((ROWS, BLOCK), tl.float32)
    dskip = tl.zeros((ROWS, BLOCK), tl.float32)
    for first in range(start, stop, ROWS):
        row = first + tl.arange(0, ROWS)
        n, scale = normalise(load_rows(h_ptr + head, h_t, row, stop, column, D, ALIGNED), column, eps, D, True)
        gate = load_rows(gate_ptr + head, gate_t, row, stop, column, D, ALIGNED)
        dy = load_rows(dy_ptr + head, dy_t, row, stop, column, D, ALIGNED)
        opened = 1.0 / (1.0 + tl.exp(-gate))
        u = n * weight + bias
        if SILU:
            du = dy * opened * gate
            slope = opened * (1.0 + gate * (1.0 - opened))
        else:
            du = dy * opened
            slope = opened * (1.0 - opened)
        if HAS_SKIP:
            a = load_rows(a_ptr + head, a_t, row, stop, column, D, ALIGNED)
            u += skip * a
            dskip += du * a
            store_rows(da_ptr + head, skip * du, H * D, row, stop, column, D)
        store_rows(dgate_ptr + head, dy * u * slope, H * D, row, stop, column, D)
        dweight += du * n
        dbias += du
        dh = normalise_backward(du * weight, n, scale, D, True)
        store_rows(dh_ptr + head, dh, H * D, row, stop, column, D)
    sums_ptr += pid.to(tl.int64) * 3 * D + column
    tl.store(sums_ptr, tl.sum(dweight, 0), mask=column < D)
    tl.store(sums_ptr + D, tl.sum(dbias, 0), mask=column < D)
    tl.store(sums_ptr + 2 * D, tl.sum(dskip, 0), mask=column < D)
