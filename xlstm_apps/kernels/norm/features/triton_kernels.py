"""The norm of whole rows on a GPU: one pass over memory forward, one backward, which computes the norm again.

    n = (x - mean) * r,  or without the mean,    y = w * n + b
    dn = w * dy    dx = r * (dn - mean(dn) - n * mean(dn * n))    dw = sum dy * n    db = sum dy

Sums over rows are kept in registers over all rows of a program; sums over programs are the caller's, in a fixed order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xlstm_apps.kernels.norm.triton_kernels import load_features, load_rows, normalise, normalise_backward, store_rows


@triton.jit(do_not_specialize=["rows", "x_t"])
def forward_kernel(
    x_ptr, weight_ptr, y_ptr, bias_ptr, rows, x_t, eps,
    D: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALIGNED: tl.constexpr, CENTRED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """x [rows, D] by a stride that is a multiple of ALIGNED; y contiguous."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    n, _ = normalise(load_rows(x_ptr, x_t, row, rows, column, D, ALIGNED), column, eps, D, CENTRED)
    y = n * load_features(weight_ptr, column, D, True) + load_features(bias_ptr, column, D, HAS_BIAS)
    store_rows(y_ptr, y, D, row, rows, column, D)


@triton.jit(do_not_specialize=["rows", "each", "dy_t", "x_t"])
def backward_kernel(
    dy_ptr, x_ptr, weight_ptr, dx_ptr, sums_ptr, rows, each, dy_t, x_t, eps,
    D: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALIGNED: tl.constexpr, CENTRED: tl.constexpr,
):  # fmt: skip
    """As `forward_kernel`, `each` rows a program; dx contiguous; sums [programs, 2, D] of the gradients of weight and
    bias."""
    pid = tl.program_id(0)
    start = pid * each
    stop = tl.minimum(start + each, rows)
    column = tl.arange(0, BLOCK)
    weight = load_features(weight_ptr, column, D, True)
    dweight = tl.zeros((ROWS, BLOCK), tl.float32)
    dbias = tl.zeros((ROWS, BLOCK), tl.float32)
    for first in range(start, stop, ROWS):
        row = first + tl.arange(0, ROWS)
        n, scale = normalise(load_rows(x_ptr, x_t, row, stop, column, D, ALIGNED), column, eps, D, CENTRED)
        dy = load_rows(dy_ptr, dy_t, row, stop, column, D, ALIGNED)
        dweight += dy * n
        dbias += dy
        store_rows(dx_ptr, normalise_backward(dy * weight, n, scale, D, CENTRED), D, row, stop, column, D)
    sums_ptr += pid.to(tl.int64) * 2 * D + column
    tl.store(sums_ptr, tl.sum(dweight, 0), mask=column < D)
    tl.store(sums_ptr + D, tl.sum(dbias, 0), mask=column < D)
