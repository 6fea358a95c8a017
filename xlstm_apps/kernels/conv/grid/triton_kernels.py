"""The convolution over a grid on a GPU: walks along its rows, one kernel forward and two backward.

A program takes a block of features and walks along a strip of the grid, ROWS rows high, from column to column. Each
column is read once, with the rows above and below that the taps reach, and all that is computed from it stays in
registers. The backward first makes dz, from x again, with the forward's kernel; then a second one goes over dz:

    dz = dy * silu'(z)
    dx_{i, j} = sum_{a, b} weight[k - 1 - a, k - 1 - b] * dz_{i + a - k // 2, j + b - k // 2}
    dweight[k - 1 - a, k - 1 - b] = sum_{i, j} x_{i, j} * dz_{i + a - k // 2, j + b - k // 2}        dbias = sum dz

Both sums of it need the same k x k places of dz around the place of x. Gradients of taps and bias are summed in
registers over all strips of a program, and over programs by the caller, in a fixed order.

Tuples stand for what is in registers: a column's places from the top, and columns behind each other. Masks are of the
kind `column < limit`, with a limit of 0 for places that are not wanted.
"""

# ruff: noqa: RUF005 (Triton adds tuples, but does not unpack them)
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def features(E: tl.constexpr, BLOCK: tl.constexpr):
    """Those of this program, and its number among those that have the same."""
    blocks: tl.constexpr = (E + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    return pid % blocks * BLOCK + tl.arange(0, BLOCK), pid // blocks


@triton.jit
def locate(strip, high, wide, width, chunk, ROWS: tl.constexpr):
    """Image, first row, and first column and the one behind the last of a strip; an image has `high` x `wide`."""
    start = strip % wide * chunk
    image = (strip // (high * wide)).to(tl.int64)
    return image, strip // wide % high * ROWS, start, tl.minimum(start + chunk, width)


@triton.jit
def load_taps(weight_ptr, column, E: tl.constexpr, TAPS: tl.constexpr):
    taps = ()
    for tap in tl.static_range(TAPS):
        taps = taps + (tl.load(weight_ptr + tap * E + column, mask=column < E, other=0.0).to(tl.float32),)
    return taps


@triton.jit
def zeros(column, COUNT: tl.constexpr):
    found = ()
    for _ in tl.static_range(COUNT):
        found = found + (tl.zeros(column.shape, tl.float32),)
    return found


@triton.jit
def image_at(ptr, image, by_image, by_place, ALIGNED: tl.constexpr):
    """Where an image begins, and how far its places are apart: strides are multiples of ALIGNED."""
    return ptr + image * (by_image // ALIGNED * ALIGNED), (by_place // ALIGNED * ALIGNED).to(tl.int64)


@triton.jit
def load_column(ptr, apart, top, left, height, width, column, E: tl.constexpr, ROWS: tl.constexpr):
    """ROWS places below each other, from (top, left) on; zeros outside the grid."""
    limit = tl.where(left < 0, 0, tl.where(left < width, E, 0))
    ptr += (top.to(tl.int64) * width + left) * apart
    down = width * apart
    found = ()
    for r in tl.static_range(ROWS):
        within = tl.where(top + r < 0, 0, tl.where(top + r < height, limit, 0))
        found = found + (tl.load(ptr + r * down + column, mask=column < within, other=0.0),)
    return found


@triton.jit
def store_column(ptr, values, top, left, height, width, limit, column, E: tl.constexpr, ROWS: tl.constexpr):
    """Into a contiguous image; nothing below the grid."""
    ptr += (top.to(tl.int64) * width + left) * E
    for r in tl.static_range(ROWS):
        mask = column < tl.where(top + r < height, limit, 0)
        tl.store(ptr + r * (width.to(tl.int64) * E) + column, values[r].to(ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["high", "wide", "chunk", "height", "width", "x_n", "x_s", "dy_n", "dy_s"])
def forward_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, dy_ptr, high, wide, chunk, height, width, x_n, x_s, dy_n, dy_s,
    E: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ALIGNED: tl.constexpr, SILU: tl.constexpr, GRADIENT: tl.constexpr,
):  # fmt: skip
    """x [N, height * width, E] by strides, weight [SIZE * SIZE, E], y contiguous. With GRADIENT, y is dz from
    dy, after a SiLU."""
    HALF: tl.constexpr = SIZE // 2
    TALL: tl.constexpr = ROWS + SIZE - 1
    column, strip = features(E, BLOCK)
    image, top, start, stop = locate(strip, high, wide, width, chunk, ROWS)
    x_ptr, x_s = image_at(x_ptr, image, x_n, x_s, ALIGNED)
    dy_ptr, dy_s = image_at(dy_ptr, image, dy_n, dy_s, ALIGNED)
    y_ptr += image * height * width * E
    taps = load_taps(weight_ptr, column, E, SIZE * SIZE)
    bias = tl.load(bias_ptr + column, mask=column < E, other=0.0).to(tl.float32)
    fresh, z = (), ()  # z: of the columns that the next one read reaches, the left one first
    for _ in tl.static_range(ROWS):
        fresh = fresh + (bias,)
    for _ in tl.static_range(SIZE):
        z = z + fresh
    for first in range(tl.maximum(start - HALF, 0), stop + HALF, COLUMNS):
        read, given = (), ()
        for i in tl.static_range(COLUMNS):  # together, since a load takes longer than a column
            read = read + load_column(x_ptr, x_s, top - HALF, first + i, height, width, column, E, TALL)
            if GRADIENT:
                given = given + load_column(dy_ptr, dy_s, top, first + i - HALF, height, width, column, E, ROWS)
        for i in tl.static_range(COLUMNS):
            seen = ()
            for r in tl.static_range(TALL):
                seen = seen + (read[i * TALL + r].to(tl.float32),)
            before, z = z, ()
            for b in tl.static_range(SIZE):
                for r in tl.static_range(ROWS):
                    total = before[b * ROWS + r]
                    for a in tl.static_range(SIZE):
                        total += taps[a * SIZE + SIZE - 1 - b] * seen[r + a]
                    z = z + (total,)
            y = ()
            for r in tl.static_range(ROWS):
                value = z[r]
                if GRADIENT:
                    opened = 1.0 / (1.0 + tl.exp(-value))
                    value = given[i * ROWS + r].to(tl.float32) * (opened * (1.0 + value * (1.0 - opened)))
                elif SILU:
                    value = value / (1.0 + tl.exp(-value))
                y = y + (value,)
            done = first + i - HALF
            limit = tl.where(done < start, 0, tl.where(done < stop, E, 0))
            store_column(y_ptr, y, top, done, height, width, limit, column, E, ROWS)
            z = z[ROWS:] + fresh


@triton.jit(
    do_not_specialize=["strips", "each", "high", "wide", "chunk", "height", "width", "x_n", "x_s", "dz_n", "dz_s"]
)
def backward_kernel(
    dz_ptr, x_ptr, weight_ptr, dx_ptr, sums_ptr, strips, each, high, wide, chunk, height, width, x_n, x_s, dz_n, dz_s,
    E: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ALIGNED: tl.constexpr,
):  # fmt: skip
    """dz and x by strides, `each` strips a program; dx contiguous; sums [programs, SIZE * SIZE + 1, E] of the gradients
    of taps and bias. Chunks are multiples of COLUMNS."""
    HALF: tl.constexpr = SIZE // 2
    TALL: tl.constexpr = ROWS + SIZE - 1
    TAPS: tl.constexpr = SIZE * SIZE
    column, part = features(E, BLOCK)
    taps = load_taps(weight_ptr, column, E, TAPS)
    sums = zeros(column, TAPS + 1)
    for strip in range(part * each, tl.minimum((part + 1) * each, strips)):
        image, top, start, stop = locate(strip, high, wide, width, chunk, ROWS)
        own_ptr, own_s = image_at(x_ptr, image, x_n, x_s, ALIGNED)
        strip_ptr, strip_s = image_at(dz_ptr, image, dz_n, dz_s, ALIGNED)
        seen = zeros(column, TALL)
        for i in tl.static_range(SIZE - 1):
            before = load_column(strip_ptr, strip_s, top - HALF, start - HALF + i, height, width, column, E, TALL)
            for r in tl.static_range(TALL):
                seen = seen + (before[r].to(tl.float32),)
        for first in range(start, stop, COLUMNS):
            read, own = (), ()
            for i in tl.static_range(COLUMNS):
                ahead = first + i + HALF
                read = read + load_column(strip_ptr, strip_s, top - HALF, ahead, height, width, column, E, TALL)
                own = own + load_column(own_ptr, own_s, top, first + i, height, width, column, E, ROWS)
            for i in tl.static_range(COLUMNS):
                seen = seen[TALL:]
                for r in tl.static_range(TALL):
                    seen = seen + (read[i * TALL + r].to(tl.float32),)
                dx, counted, sums = zeros(column, ROWS), sums, ()
                for tap in tl.static_range(TAPS):
                    total, summed, dx = counted[tap], dx, ()
                    for r in tl.static_range(ROWS):
                        around = seen[(SIZE - 1 - tap % SIZE) * TALL + SIZE - 1 - tap // SIZE + r]
                        total += own[i * ROWS + r].to(tl.float32) * around
                        dx = dx + (summed[r] + taps[tap] * around,)
                    sums = sums + (total,)
                total = counted[TAPS]
                for r in tl.static_range(ROWS):
                    total += seen[HALF * TALL + r + HALF]
                sums = sums + (total,)
                limit = tl.where(first + i < stop, E, 0)
                target = dx_ptr + image * height * width * E
                store_column(target, dx, top, first + i, height, width, limit, column, E, ROWS)
    sums_ptr += part.to(tl.int64) * (TAPS + 1) * E + column
    for tap in tl.static_range(TAPS + 1):
        tl.store(sums_ptr + tap * E, sums[tap], mask=column < E)
