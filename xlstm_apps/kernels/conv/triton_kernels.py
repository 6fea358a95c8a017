"""The convolution on a GPU: one walk along time, forward and backward.

A program takes a block of features of one sequence and a chunk of its steps. It goes from step to step with the last
inputs in registers, one tensor for each tap, so that everything is read once however many taps there are. The backward
computes z again from them, so that nothing but x is kept for it, and carries what it owes to the steps before likewise:

    dz_t = dy_t * silu'(z_t)
    dx_{t - a} += weight[taps - 1 - a] * dz_t        dweight[taps - 1 - a] += dz_t * x_{t - a}        dbias += dz_t

so that the step `taps` - 1 before the present one is complete. To complete the last ones of its chunk, the walk goes on
as many steps into the next. Gradients of taps and bias are summed over the chunk in registers and over chunks by the
caller, in a fixed order.

Masks are of the kind `column < limit`, with a limit of 0 for steps that are not wanted.
"""

# ruff: noqa: RUF005 (Triton adds tuples, but does not unpack them)
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def locate(chunks, chunk, E: tl.constexpr, BLOCK: tl.constexpr):
    """Features of this program, number of its chunk among all, row of the batch and first step."""
    blocks: tl.constexpr = (E + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    column = pid % blocks * BLOCK + tl.arange(0, BLOCK)
    part = (pid // blocks).to(tl.int64)
    return column, part, part // chunks, part % chunks * chunk


@triton.jit
def load_taps(weight_ptr, bias_ptr, column, E: tl.constexpr, TAPS: tl.constexpr):
    """The weights, the oldest tap first, and the bias."""
    weights = ()
    for tap in tl.static_range(TAPS):
        weights = weights + (tl.load(weight_ptr + tap * E + column, mask=column < E, other=0.0).to(tl.float32),)
    return weights, tl.load(bias_ptr + column, mask=column < E, other=0.0).to(tl.float32)


@triton.jit
def load_before(
    x_ptr, window_ptr, start, x_t, column, E: tl.constexpr, TAPS: tl.constexpr, HAS_WINDOW: tl.constexpr
):  # fmt: skip
    """The `TAPS` steps before `start`, the oldest of which nobody will look at."""
    steps = (tl.zeros(column.shape, tl.float32),)
    for tap in tl.static_range(TAPS - 1):
        row = start - (TAPS - 1) + tap
        step = tl.load(x_ptr + row * x_t + column, mask=column < tl.where(row < 0, 0, E), other=0.0).to(tl.float32)
        if HAS_WINDOW:
            given = window_ptr + (row + (TAPS - 1)) * E + column
            step += tl.load(given, mask=column < tl.where(row < 0, E, 0), other=0.0).to(tl.float32)
        steps = steps + (step,)
    return steps


@triton.jit
def load_row(ptr, row, stop, stride, column, E: tl.constexpr):
    """One step, or zeros from `stop` on."""
    return tl.load(ptr + row * stride + column, mask=column < tl.where(row < stop, E, 0), other=0.0)


@triton.jit
def load_position(position_ptr, row, stop, TAPS: tl.constexpr, PACKED: tl.constexpr):
    """Steps between one and the first of its document, as far as taps reach."""
    if PACKED:
        return tl.minimum(tl.load(position_ptr + row, mask=row < stop, other=0), TAPS).to(tl.int32)
    else:
        return TAPS


@triton.jit
def within_document(value, position, tap: tl.constexpr, TAPS: tl.constexpr, PACKED: tl.constexpr):
    """The value, or zero where the tap would reach into the document before."""
    if PACKED:
        return tl.where(position >= TAPS - 1 - tap, value, 0.0)
    else:
        return value


@triton.jit(do_not_specialize=["T", "chunks", "chunk", "x_b", "x_t"])
def forward_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, window_ptr, position_ptr, T, chunks, chunk, x_b, x_t,
    E: tl.constexpr, TAPS: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, ALIGNED: tl.constexpr,
    SILU: tl.constexpr, HAS_WINDOW: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """x [B, T, E] by strides that are multiples of ALIGNED; window [B, TAPS - 1, E] and y contiguous; position [T]."""
    column, _, batch, start = locate(chunks, chunk, E, BLOCK)
    stop = tl.minimum(start + chunk, T)
    x_t = x_t // ALIGNED * ALIGNED
    x_ptr += batch * (x_b // ALIGNED * ALIGNED)
    y_ptr += batch * T * E
    weights, bias = load_taps(weight_ptr, bias_ptr, column, E, TAPS)
    steps = load_before(x_ptr, window_ptr + batch * (TAPS - 1) * E, start, x_t, column, E, TAPS, HAS_WINDOW)
    for first in range(start, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):  # together, since a load takes longer than a step
            rows = rows + (load_row(x_ptr, first + i, stop, x_t, column, E),)
        for i in tl.static_range(ROWS):
            row = first + i
            steps = steps[1:] + (rows[i].to(tl.float32),)
            position = load_position(position_ptr, row, stop, TAPS, PACKED)
            y = bias
            for tap in tl.static_range(TAPS):
                y += weights[tap] * within_document(steps[tap], position, tap, TAPS, PACKED)
            if SILU:
                y = y / (1.0 + tl.exp(-y))
            here = column < tl.where(row < stop, E, 0)
            tl.store(y_ptr + row * E + column, y.to(y_ptr.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=["T", "chunks", "chunk", "x_b", "x_t", "dy_b", "dy_t"])
def backward_kernel(
    dy_ptr, x_ptr, weight_ptr, bias_ptr, dx_ptr, sums_ptr, dwindow_ptr, window_ptr, position_ptr,
    T, chunks, chunk, x_b, x_t, dy_b, dy_t,
    E: tl.constexpr, TAPS: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, ALIGNED: tl.constexpr,
    SILU: tl.constexpr, HAS_WINDOW: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """As `forward_kernel`; dy by strides as x; dx and dwindow contiguous; sums [chunks of all rows, TAPS + 1, E] of the
    gradients of taps and bias."""
    column, part, batch, start = locate(chunks, chunk, E, BLOCK)
    stop = tl.minimum(start + chunk, T)
    end = tl.minimum(stop + (TAPS - 1), T)
    x_t = x_t // ALIGNED * ALIGNED
    dy_t = dy_t // ALIGNED * ALIGNED
    x_ptr += batch * (x_b // ALIGNED * ALIGNED)
    dy_ptr += batch * (dy_b // ALIGNED * ALIGNED)
    dx_ptr += batch * T * E
    weights, bias = load_taps(weight_ptr, bias_ptr, column, E, TAPS)
    steps = load_before(x_ptr, window_ptr + batch * (TAPS - 1) * E, start, x_t, column, E, TAPS, HAS_WINDOW)
    nothing = tl.zeros((BLOCK,), tl.float32)
    owed, dweights, dbias = (), (), nothing
    for _ in tl.static_range(TAPS):
        owed, dweights = owed + (nothing,), dweights + (nothing,)
    for first in range(start, stop + (TAPS - 1), ROWS):
        rows, drows = (), ()
        for i in tl.static_range(ROWS):
            rows = rows + (load_row(x_ptr, first + i, end, x_t, column, E),)
            drows = drows + (load_row(dy_ptr, first + i, end, dy_t, column, E),)
        for i in tl.static_range(ROWS):
            row = first + i
            steps = steps[1:] + (rows[i].to(tl.float32),)
            position = load_position(position_ptr, row, end, TAPS, PACKED)
            z, seen = bias, ()
            for tap in tl.static_range(TAPS):
                seen = seen + (within_document(steps[tap], position, tap, TAPS, PACKED),)
                z += weights[tap] * seen[tap]
            dz = drows[i].to(tl.float32)
            if SILU:
                s = 1.0 / (1.0 + tl.exp(-z))
                dz *= s * (1.0 + z * (1.0 - s))
            dz = tl.where(row < end, dz, 0.0)
            own = tl.where(row < stop, dz, 0.0)  # the next chunk counts those behind
            dbias += own
            before, counted = owed[1:] + (nothing,), dweights
            owed, dweights = (), ()
            for tap in tl.static_range(TAPS):
                dweights = dweights + (counted[tap] + own * seen[tap],)
                back = within_document(dz, position, tap, TAPS, PACKED)
                owed = owed + (before[tap] + weights[tap] * back,)
            done = row - (TAPS - 1)
            here = column < tl.where(done < start, 0, tl.where(done < stop, E, 0))
            tl.store(dx_ptr + done * E + column, owed[0].to(dx_ptr.dtype.element_ty), mask=here)
            if HAS_WINDOW:
                here = column < tl.where(done < tl.where(start == 0, 0, -TAPS), E, 0)
                dwindow = dwindow_ptr + (batch * (TAPS - 1) + row) * E + column
                tl.store(dwindow, owed[0].to(dwindow_ptr.dtype.element_ty), mask=here)
    sums_ptr += part * (TAPS + 1) * E + column
    for tap in tl.static_range(TAPS):
        tl.store(sums_ptr + tap * E, dweights[tap], mask=column < E)
    tl.store(sums_ptr + TAPS * E, dbias, mask=column < E)
