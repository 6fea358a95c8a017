"""Loads and stores of the recurrent Triton kernels: through inline PTX where `FAST`, through `tl.load` otherwise.

Offsets are 64-bit and counted in elements from a scalar pointer. Masks are not needed for `FAST` loads: their callers
clamp the offsets instead.
"""

from __future__ import annotations

import triton
import triton.language as tl

_LOAD_16 = tl.constexpr("ld.global.nc.u16 $0, [$1];")
_STORE_16 = tl.constexpr("""{ .reg .pred p; setp.ne.b32 p, $2, 0; @p st.global.u16 [$1], $3; mov.u32 $0, 0; }""")
_STORE_FACTORS = tl.constexpr("""{ .reg .b32 x, y; cvt.rn.bf16x2.f32 x, $4, $2; cvt.rn.bf16x2.f32 y, $7, $5;
st.global.v4.b32 [$1], {x, y, $3, $6}; mov.u32 $0, 0; }""")
_LOAD_FACTORS = tl.constexpr("ld.global.nc.v4.b32 {$0, $1, $2, $3}, [$4];")
_PREFETCH = tl.constexpr("{ prefetch.global.L2 [$1]; mov.u32 $0, 0; }")


@triton.jit
def load_raw(pointer, offset, mask, FAST: tl.constexpr):
    """Elements as they lie in memory; `FAST`: 16 bits in an int32, the mask ignored."""
    if FAST:
        return tl.inline_asm_elementwise(_LOAD_16, "=r,l", [pointer.to(tl.int64) + offset * 2], tl.int32, True, 1)
    else:
        return tl.load(pointer + offset, mask=mask, other=0.0)


@triton.jit
def prefetch(pointer, offset):
    """Bring lines into the L2 cache; the addresses must be valid."""
    tl.inline_asm_elementwise(_PREFETCH, "=r,l", [pointer.to(tl.int64) + offset * 2], tl.int32, False, 1)


@triton.jit
def to_float(raw, DTYPE: tl.constexpr, FAST: tl.constexpr):
    """Raw elements of `load_raw` in float32."""
    if FAST:
        if DTYPE.is_bf16():
            return (raw << 16).to(tl.float32, bitcast=True)
        else:
            return raw.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    else:
        return raw.to(tl.float32)


@triton.jit
def store(pointer, offset, value, mask, FAST: tl.constexpr):
    """Store `value`, already in the type of the pointer."""
    if FAST:
        bits = value.to(tl.uint16, bitcast=True).to(tl.uint32)
        address = pointer.to(tl.int64) + offset * 2
        tl.inline_asm_elementwise(_STORE_16, "=r,l,r,r", [address, mask.to(tl.int32), bits], tl.int32, False, 1)
    else:
        tl.store(pointer + offset, value, mask=mask)


@triton.jit
def factor_element(unit, member, UNITS: tl.constexpr, BATCH: tl.constexpr, FAST: tl.constexpr):
    """Place of an element among the factors of a step."""
    if FAST:
        # The pairs of columns that one thread holds go far apart, so that a warp writes whole lines.
        return (member % 2) * (UNITS * BATCH // 2) + unit * (BATCH // 2) + member // 2
    else:
        return unit * BATCH + member


@triton.jit
def store_factors(
    pointer, element, k0, k1, k2, k3, k4, k5, SIZE: tl.constexpr, COUNT: tl.constexpr, FAST: tl.constexpr
):
    """Factors of one step for the backward; `FAST`: all of one element side by side, k1 and k4 in float32."""
    if FAST:
        address = pointer.to(tl.int64) + element * 16
        args = [address, k0, k1, k2, k3, k4, k5]
        tl.inline_asm_elementwise(_STORE_FACTORS, "=r,l,f,f,f,f,f,f", args, tl.int32, False, 1)
    else:
        dtype = pointer.dtype.element_ty
        tl.store(pointer + element, k0.to(dtype))
        if COUNT > 1:
            tl.store(pointer + SIZE + element, k1.to(dtype))
            tl.store(pointer + 2 * SIZE + element, k2.to(dtype))
            tl.store(pointer + 3 * SIZE + element, k3.to(dtype))
            tl.store(pointer + 4 * SIZE + element, k4.to(dtype))
        if COUNT > 5:
            tl.store(pointer + 5 * SIZE + element, k5.to(dtype))


@triton.jit
def load_factors(pointer, element, SIZE: tl.constexpr, COUNT: tl.constexpr, FAST: tl.constexpr):
    """Factors as `store_factors` left them, not yet in float32: four words, or one tensor each."""
    if FAST:
        address = pointer.to(tl.int64) + element * 16
        w0, w1, w2, w3 = tl.inline_asm_elementwise(
            _LOAD_FACTORS, "=r,=r,=f,=f,l", [address], (tl.int32, tl.int32, tl.float32, tl.float32), True, 1
        )
        return w0, w2, w0, w1, w3, w1
    else:
        k0 = tl.load(pointer + element)
        k1 = k0
        k2 = k0
        k3 = k0
        k4 = k0
        k5 = k0
        if COUNT > 1:
            k1 = tl.load(pointer + SIZE + element)
            k2 = tl.load(pointer + 2 * SIZE + element)
            k3 = tl.load(pointer + 3 * SIZE + element)
            k4 = tl.load(pointer + 4 * SIZE + element)
        if COUNT > 5:
            k5 = tl.load(pointer + 5 * SIZE + element)
        return k0, k1, k2, k3, k4, k5


@triton.jit
def factors_to_float(k0, k1, k2, k3, k4, k5, FAST: tl.constexpr):
    """What `load_factors` returned, as six float32 tensors."""
    if FAST:
        return (
            (k0 << 16).to(tl.float32, bitcast=True),
            k1,
            (k2 & -65536).to(tl.float32, bitcast=True),
            (k3 << 16).to(tl.float32, bitcast=True),
            k4,
            (k5 & -65536).to(tl.float32, bitcast=True),
        )
    else:
        return (
            k0.to(tl.float32),
            k1.to(tl.float32),
            k2.to(tl.float32),
            k3.to(tl.float32),
            k4.to(tl.float32),
            k5.to(tl.float32),
        )
