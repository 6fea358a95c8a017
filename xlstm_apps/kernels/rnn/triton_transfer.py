"""How the recurrent Triton kernels move data: inputs through the asynchronous copy engine, outputs by inline PTX.

A `tl.load` fixes its own thread layout, and its result must then be moved to the layout of the matrix instruction
through shared memory, at the cost of barriers. Where `FAST` (16-bit tensors on an NVIDIA GPU) two tricks avoid that.
Inputs are operands of a product with the identity matrix: for those the compiler copies several steps ahead into shared
memory, and reads them in the layout they are needed in. Outputs leave by elementwise PTX, which takes whatever layout
its input has.
"""

from __future__ import annotations

import triton
import triton.language as tl

_LOAD_16 = tl.constexpr("ld.global.nc.u16 $0, [$1];")
_STORE_16 = tl.constexpr("""{ .reg .pred p; setp.ne.b32 p, $2, 0; @p st.global.u16 [$1], $3; mov.u32 $0, 0; }""")
# Elements that follow each other in a thread are those of the matrix instruction: two columns, then a row further down.
# Four of them, $4 to $7 their offsets, $8 to $11 whether they are to be stored: 0 not, 1 alone, 2 with the row below.
_PAIRING = tl.constexpr("""{ .reg .b64 a; .reg .pred p; .reg .b32 x;
add.s64 a, $4, 1; setp.eq.s64 p, a, $6; selp.b32 x, 2, 1, p; mul.lo.s32 $0, x, $8; mul.lo.s32 $2, x, $10;
add.s64 a, $5, 1; setp.eq.s64 p, a, $7; selp.b32 x, 2, 1, p; mul.lo.s32 $1, x, $9; mul.lo.s32 $3, x, $11; }""")
# $4 to $7 addresses, $8 to $11 results of the above, $12 to $15 values.
_STORE_16_PAIRED = tl.constexpr("""{ .reg .b32 w, x; .reg .pred p, q, s;
setp.eq.s32 p, $8, 2; setp.eq.s32 q, $8, 1; setp.eq.s32 s, $10, 1; prmt.b32 w, $12, $14, 0x5410;
@p st.global.b32 [$4], w; @q st.global.u16 [$4], $12; @s st.global.u16 [$6], $14;
setp.eq.s32 p, $9, 2; setp.eq.s32 q, $9, 1; setp.eq.s32 s, $11, 1; prmt.b32 x, $13, $15, 0x5410;
@p st.global.b32 [$5], x; @q st.global.u16 [$5], $13; @s st.global.u16 [$7], $15;
mov.u32 $0, 0; mov.u32 $1, 0; mov.u32 $2, 0; mov.u32 $3, 0; }""")
# The same for two columns, $2 and $3 their addresses.
_STORE_ROUNDED = tl.constexpr("""{ .reg .b32 w, x, y, z; .reg .b64 n; .reg .pred p;
cvt.rn.bf16x2.f32 w, $6, $4; cvt.rn.bf16x2.f32 x, $10, $8; cvt.rn.bf16x2.f32 y, $7, $5; cvt.rn.bf16x2.f32 z, $11, $9;
add.s64 n, $2, 8; setp.eq.s64 p, n, $3; @p st.global.v4.b32 [$2], {w, x, y, z};
@!p st.global.v2.b32 [$2], {w, x}; @!p st.global.v2.b32 [$3], {y, z}; mov.u32 $0, 0; mov.u32 $1, 0; }""")
_STORE_EXACT = tl.constexpr("""{ .reg .b64 n; .reg .pred p;
add.s64 n, $2, 8; setp.eq.s64 p, n, $3; @p st.global.v4.f32 [$2], {$4, $6, $5, $7};
@!p st.global.v2.f32 [$2], {$4, $6}; @!p st.global.v2.f32 [$3], {$5, $7}; mov.u32 $0, 0; mov.u32 $1, 0; }""")


@triton.jit
def unit_of_row(row, FAST: tl.constexpr):
    """Unit in a row of the matrix instruction; `FAST`: neighbours in rows r and r + 8, which are in one thread."""
    if FAST:
        return row % 8 * 2 + row // 8
    else:
        return row


@triton.jit
def load_weights(
    pointer, row, column, row_stride, column_stride, gate_stride, D: tl.constexpr,
    GATES: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """Weights of one head, zero outside [D, D], laid out as the matrix instruction wants them.

    Columns beyond the padded D belong to the next gate, and are zero beyond the last.
    """
    PADDED: tl.constexpr = row.shape[0] * row.shape[1]
    inner = column // 16 * 16 % PADDED + unit_of_row(column % 16, FAST)
    gate = column // PADDED
    mask = (row < D) & (inner < D) & (gate < GATES)
    offset = tl.minimum(row, D - 1) * row_stride + tl.minimum(inner, D - 1) * column_stride
    offset = offset.to(tl.int64) + tl.minimum(gate, GATES - 1) * gate_stride
    if FAST:
        raw = tl.inline_asm_elementwise(_LOAD_16, "=r,l", [pointer.to(tl.int64) + offset * 2], tl.int32, True, 1)
        return tl.where(mask, raw, 0).to(tl.uint16).to(pointer.dtype.element_ty, bitcast=True)
    else:
        return tl.load(pointer + offset, mask=mask, other=0.0)


@triton.jit
def identity(WARPS: tl.constexpr, DTYPE: tl.constexpr, FAST: tl.constexpr):
    """[WARPS, 16, 16] matrices that put the units in the order of the rows."""
    same = unit_of_row(tl.arange(0, 16), FAST)[None, :, None] == tl.arange(0, 16)[None, None, :]
    return tl.broadcast_to(same, (WARPS, 16, 16)).to(DTYPE)


@triton.jit
def add_input(raw, eye, acc, FAST: tl.constexpr):
    """Loaded elements in float32, plus `acc`."""
    if FAST:
        return tl.dot(eye, raw, acc=acc)
    else:
        return raw.to(tl.float32) + acc


@triton.jit
def storable(offset, mask, EVEN: tl.constexpr, FAST: tl.constexpr):
    """What `store` must know of each element; `EVEN`: even units lie at even offsets, for stores in pairs."""
    if FAST:
        keep = mask.to(tl.int32)
        if EVEN:
            constraints: tl.constexpr = "=r,=r,=r,=r,l,l,l,l,r,r,r,r"
            keep = tl.inline_asm_elementwise(_PAIRING, constraints, [offset, keep], tl.int32, True, 4)
        return keep
    else:
        return mask


@triton.jit
def store(pointer, offset, value, keep, EVEN: tl.constexpr, FAST: tl.constexpr):
    """Store `value`, already in the type of the pointer; `keep` comes from `storable`."""
    if FAST:
        bits = value.to(tl.uint16, bitcast=True).to(tl.uint32)
        args = [pointer.to(tl.int64) + offset * 2, keep, bits]
        if EVEN:
            constraints: tl.constexpr = "=r,=r,=r,=r,l,l,l,l,r,r,r,r,r,r,r,r"
            tl.inline_asm_elementwise(_STORE_16_PAIRED, constraints, args, tl.int32, False, 4)
        else:
            tl.inline_asm_elementwise(_STORE_16, "=r,l,r,r", args, tl.int32, False, 1)
    else:
        tl.store(pointer + offset, value, mask=keep)


@triton.jit
def store_factors(
    pointer, element, k0, k1, k2, k3, k4, k5, SIZE: tl.constexpr, COUNT: tl.constexpr, FAST: tl.constexpr
):
    """Factors of one step, [COUNT, SIZE]; `FAST`: words of k0, k2, k3, k5 in bfloat16 and of k1, k4 in float32."""
    if FAST:
        address = pointer.to(tl.int64) + element.to(tl.int64) * 8
        args = [address, k0, k2, k3, k5]
        tl.inline_asm_elementwise(_STORE_ROUNDED, "=r,=r,l,l,f,f,f,f,f,f,f,f", args, tl.int32, False, 2)
        if COUNT > 1:
            tl.inline_asm_elementwise(
                _STORE_EXACT, "=r,=r,l,l,f,f,f,f", [address + SIZE * 8, k1, k4], tl.int32, False, 2
            )
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
    """Factors as `store_factors` left them, in float32."""
    if FAST:
        rounded = tl.load(pointer + element)
        exact = rounded
        if COUNT > 1:
            exact = tl.load(pointer + SIZE + element)
        low = rounded.to(tl.int32)
        high = (rounded >> 32).to(tl.int32)
        return (
            (low << 16).to(tl.float32, bitcast=True),
            exact.to(tl.int32).to(tl.float32, bitcast=True),
            (low & -65536).to(tl.float32, bitcast=True),
            (high << 16).to(tl.float32, bitcast=True),
            (exact >> 32).to(tl.int32).to(tl.float32, bitcast=True),
            (high & -65536).to(tl.float32, bitcast=True),
        )
    else:
        k0 = tl.load(pointer + element).to(tl.float32)
        k1 = k0
        k2 = k0
        k3 = k0
        k4 = k0
        k5 = k0
        if COUNT > 1:
            k1 = tl.load(pointer + SIZE + element).to(tl.float32)
            k2 = tl.load(pointer + 2 * SIZE + element).to(tl.float32)
            k3 = tl.load(pointer + 3 * SIZE + element).to(tl.float32)
            k4 = tl.load(pointer + 4 * SIZE + element).to(tl.float32)
        if COUNT > 5:
            k5 = tl.load(pointer + 5 * SIZE + element).to(tl.float32)
        return k0, k1, k2, k3, k4, k5
