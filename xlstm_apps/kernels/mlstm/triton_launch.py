"""Host side of the Triton mLSTM: tile sizes, buffers and launches."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from xlstm_apps.kernels.mlstm import triton_chunkwise_bwd as bwd
from xlstm_apps.kernels.mlstm import triton_chunkwise_fwd as fwd
from xlstm_apps.kernels.mlstm import triton_gates as gates

INTERPRETED = not isinstance(gates.gate_kernel, triton.JITFunction)
"""Whether kernels run through Triton's interpreter (TRITON_INTERPRET=1 before triton was imported)."""
SUMMARY_BLOCK = 256
"""Chunks read at once when a chunk looks at all those before or after it."""


def power_of_2(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def tile(n: int, most: int) -> int:
    """Block length for a dimension of n: a power of two, at least what a matrix product needs."""
    return max(16, min(most, power_of_2(n)))


class Call:
    """One call's tensors and what follows from them: sizes, chunk length, types, buffers."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, cu_seqlens: Tensor | None,
        sigmoid: bool, normalize: bool, eps: float, scale: float, chunk_size: int, fake: bool = False,
    ) -> None:  # fmt: skip
        self.q, self.k, self.v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        self.igate, self.fgate = igate, fgate
        self.sigmoid, self.normalize, self.eps, self.scale = sigmoid, normalize, eps, scale
        self.B, self.T, self.H, self.K = q.shape
        self.V = v.shape[-1]
        self.exact = q.dtype == torch.float32
        self.L = self._chunk(chunk_size)
        self.packed = cu_seqlens is not None
        if cu_seqlens is None:
            self.sequences = self.B
            self.chunks = (self.T + self.L - 1) // self.L
            self.total_chunks = self.B * self.chunks
            self.tables = (self.q, self.q, self.q)
        else:
            # As many chunks as there can be: their true number is known to the device alone.
            self.sequences = cu_seqlens.shape[0] - 1
            self.chunks = 0
            self.total_chunks = self.T // self.L + self.sequences
            if not fake:
                self.tables = self._chunk_tables(cu_seqlens)
        # Memories at chunk boundaries, their gradients, and the pair matrices.
        self.aux = torch.float32 if self.exact else torch.bfloat16
        self.gate_dtype = torch.float64 if self.exact else torch.float32
        self.precision = "ieee"
        if self.exact and torch.backends.cuda.matmul.allow_tf32:
            self.precision = "tf32"

    def _chunk(self, chunk_size: int) -> int:
        most = 128 if self.exact else 256  # two tiles a side: see `pair_kernel`
        if chunk_size:
            return tile(chunk_size, most)
        largest = max(self.K, self.V)
        length = 64 if largest <= 64 else 128 if largest <= 128 else most
        if isinstance(self.T, int) and self.T < length:
            length = tile(self.T, length)
        return length

    def _chunk_tables(self, cu_seqlens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        counts = (cu_seqlens.diff() + (self.L - 1)) // self.L
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
        ids = torch.arange(self.total_chunks, device=cu_seqlens.device, dtype=torch.int32)
        documents = torch.searchsorted(offsets[1:], ids, right=True, out_int32=True).clamp_(max=self.sequences - 1)
        return cu_seqlens.contiguous(), offsets, documents

    def allocate_forward(self) -> tuple[Tensor, ...]:
        new = self.q.new_empty
        f32, gate = torch.float32, self.gate_dtype
        tokens = (self.B, self.H, self.T)
        slots = (self.total_chunks, self.H)
        states = (self.sequences, self.H)
        return (
            new(self.B, self.T, self.H, self.V),
            new(*states, self.K, self.V, dtype=f32),
            new(*states, self.K, dtype=f32),
            new(*states, dtype=f32),
            new(tokens, dtype=gate),  # kexp
            new(tokens, dtype=gate),  # qexp
            new(tokens, dtype=gate),  # m
            new(tokens, dtype=f32),  # weight
            new(slots, dtype=f32),  # decay
            new(*slots, self.K, self.V, dtype=self.aux),  # memory at the start of each chunk
            new(*slots, self.K, dtype=f32),  # its normaliser
            new(tokens if self.normalize else (0,), dtype=f32),  # q . n
        )

    def allocate_backward(self, needs_dstate: bool) -> tuple[Tensor, ...]:
        new = self.q.new_empty
        states = (self.sequences, self.H) if needs_dstate else (0, 0)
        return (
            new(self.B, self.T, self.H, self.K),
            new(self.B, self.T, self.H, self.K),
            new(self.B, self.T, self.H, self.V),
            self.igate.new_empty(self.B, self.T, self.H),
            self.fgate.new_empty(self.B, self.T, self.H),
            new(*states, self.K, self.V, dtype=torch.float32),
            new(*states, self.K, dtype=torch.float32),
            new(*states, dtype=torch.float32),
        )


def _strides(*tensors: Tensor) -> tuple[int, ...]:
    return tuple(s for x in tensors for s in x.stride()[:3])


def forward(call: Call, c0: Tensor | None, n0: Tensor | None, m0: Tensor | None) -> tuple[Tensor, ...]:
    """Outputs, final state, and what the backward needs."""
    buffers = call.allocate_forward()
    h, c, n, m, kexp, qexp, m_all, weight, decay, cs, ns, qn = buffers
    q, k, v = call.q, call.k, call.v
    T, H, K, V, L = call.T, call.H, call.K, call.V, call.L
    has_state = c0 is not None
    if has_state:
        c0, n0, m0 = c0.contiguous(), n0.contiguous(), m0.contiguous()
    else:
        c0 = n0 = m0 = h
    slots = call.total_chunks * H
    gate_strides = _strides(call.igate, call.fgate)
    totals = peaks = decay
    if not call.sigmoid and (call.chunks != 1):
        totals, peaks = q.new_empty(2, slots, dtype=torch.float64)
        gates.chunk_summary_kernel[(slots,)](
            call.igate, call.fgate, totals, peaks, *call.tables, *gate_strides, T, call.chunks, H,
            L=L, PACKED=call.packed, num_warps=4 if L > 64 else 2,
        )  # fmt: skip
    gates.gate_kernel[(slots,)](
        call.igate, call.fgate, m0, totals, peaks, kexp, qexp, m_all, weight, decay, m, *call.tables,
        *gate_strides, T, call.chunks, H,
        L=L, BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, HAS_STATE=has_state, PACKED=call.packed,
        num_warps=4 if L > 64 else 2,
    )  # fmt: skip

    most = 32 if call.exact else 128
    bk, bv = tile(K, most), tile(V, most)
    fwd.memory_kernel[(triton.cdiv(K, bk) * triton.cdiv(V, bv) * H * call.sequences,)](
        k, v, weight, decay, c0, n0, cs, ns, c, n, call.tables[0], call.tables[1], *_strides(k, v),
        T, call.chunks, H, call.scale,
        K=K, V=V, L=L, BT=min(L, 32 if call.exact else 64), BK=bk, BV=bv,
        HAS_STATE=has_state, PACKED=call.packed, PRECISION=call.precision, num_warps=8 if bk * bv > 8192 else 4,
        num_stages=2 if call.exact else 3,
    )  # fmt: skip
    most = 32 if call.exact else 128
    bv = tile(V, most)
    bm = min(L, 32 if call.exact else 64 if K > 256 else 128)
    kp = tile(K, 512)
    fwd.output_kernel[(triton.cdiv(V, bv) * (L // bm) * H * call.total_chunks,)](
        q, k, v, kexp, qexp, m_all, cs, ns, h, qn, *call.tables, *_strides(q, k, v, h), T, call.chunks, H, call.scale,
        call.eps,
        K=K, V=V, KP=kp, L=L, BM=bm, BN=min(L, 32 if call.exact or K > 256 else 64),
        BK=tile(K, 32 if call.exact else 64), BS=tile(K, 32) if call.exact else kp, BV=bv,
        SIGMOID=call.sigmoid, NORMALIZE=call.normalize, HAS_STATE=has_state, PACKED=call.packed,
        PRECISION=call.precision, num_warps=8 if bm * bv > 8192 else 4, num_stages=2,
    )  # fmt: skip
    return buffers


def backward(
    call: Call, h: Tensor, c: Tensor, n: Tensor, saved: list[Tensor], dh: Tensor,
    dc: Tensor | None, dn: Tensor | None, dm: Tensor | None, has_state: bool, needs_dstate: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of q, k, v, gates, and, if asked for, of the initial state."""
    kexp, qexp, m_all, weight, decay, cs, ns, qn = saved
    buffers = call.allocate_backward(needs_dstate)
    dq, dk, dv, di, df, dc0, dn0, dm0 = buffers
    q, k, v = call.q, call.k, call.v
    T, H, K, V, L = call.T, call.H, call.K, call.V, call.L
    new = q.new_empty
    f32 = torch.float32
    dh = dh if dh.stride(-1) == 1 and dh.dtype == q.dtype else dh.to(q.dtype).contiguous()
    has_dstate = dc is not None
    if has_dstate:
        dc, dn, dm = (x.to(f32).contiguous() for x in (dc, dn, dm))
    else:
        dc = dn = dm = decay
    m_path = not call.sigmoid and (call.normalize or has_dstate)
    slots = call.total_chunks * H
    rowscale, dqn, inter, dqn_inter, dms = new(5, call.B, H, T, dtype=f32)
    carry, is_open = new(2, slots, dtype=f32)
    gates.delta_kernel[(slots,)](
        h, dh, qn, m_all, kexp, qexp, rowscale, dqn, inter, dqn_inter, dms, carry, is_open,
        *call.tables, *_strides(h, dh), T, call.chunks, H, V, call.eps,
        L=L, BV=tile(V, 64), SIGMOID=call.sigmoid, NORMALIZE=call.normalize, M_PATH=m_path,
        PACKED=call.packed, num_warps=4,
    )  # fmt: skip

    most = 32 if call.exact else 128
    bk, bv = tile(K, most), tile(V, most)
    tiles = triton.cdiv(K, bk) * triton.cdiv(V, bv)
    dcs, dns = torch.empty_like(cs), torch.empty_like(ns)
    boundary = new(slots * tiles, dtype=f32)
    end = new(call.sequences * H * tiles if has_dstate else 0, dtype=f32)
    bwd.memory_gradient_kernel[(tiles * H * call.sequences,)](
        q, dh, inter, dqn_inter, decay, cs, ns, c, n, dc, dn, dcs, dns, boundary, end, dc0, dn0,
        call.tables[0], call.tables[1], *_strides(q, dh), T, call.chunks, H,
        K=K, V=V, L=L, BT=min(L, 32 if call.exact else 64), BK=bk, BV=bv, HAS_STATE=has_state, HAS_DSTATE=has_dstate,
        NEEDS_DSTATE=needs_dstate, PACKED=call.packed, PRECISION=call.precision,
        num_warps=8 if bk * bv > 8192 else 4, num_stages=2 if call.exact else 3,
    )  # fmt: skip

    p, ds = new(2, slots, L, L, dtype=call.aux)
    column, split, cross = new(3, call.B, H, T, dtype=f32)
    bm = min(L, 64 if call.exact else 128)
    common = {"L": L, "PACKED": call.packed, "PRECISION": call.precision}
    bwd.pair_kernel[((L // bm) ** 2 * slots,)](
        q, k, v, dh, kexp, qexp, rowscale, dqn, p, ds, column, split, cross, *call.tables, *_strides(q, k, v, dh), T, call.chunks, H,
        call.scale, K=K, V=V, BM=bm, BK=min(tile(K, 64), tile(V, 64), 32 if call.exact else 64),
        num_warps=8 if bm > 64 else 4, num_stages=2 if call.exact else 3, **common,
    )  # fmt: skip
    inner = min(L, 32 if call.exact else 64)
    depth = 32 if call.exact else 64
    out = 32 if call.exact else 128
    bk, bv = tile(K, out), tile(V, out)
    k_tiles, v_tiles = triton.cdiv(K, bk), triton.cdiv(V, bv)
    qdq, kdk = new(2, k_tiles, call.B, H, T, dtype=f32)
    tile_stride = call.B * H * T
    shared = {"L": L, "BM": bm, "BN": inner, "PACKED": call.packed, "PRECISION": call.precision}
    stages = 2 if call.exact else 3
    bwd.query_gradient_kernel[(k_tiles * (L // bm) * slots,)](
        q, k, dh, inter, dqn_inter, cs, ns, ds, dq, qdq, *call.tables, *_strides(q, k, dh), T, call.chunks, H,
        tile_stride, K=K, V=V, BK=bk, BV=tile(V, depth), HAS_STATE=has_state,
        num_warps=8 if bm * bk > 8192 else 4, num_stages=stages, **shared,
    )  # fmt: skip
    bwd.key_gradient_kernel[(k_tiles * (L // bm) * slots,)](
        q, k, v, weight, dcs, dns, ds, dk, kdk, *call.tables, *_strides(q, k, v), T, call.chunks, H, call.scale,
        tile_stride, K=K, V=V, BK=bk, BV=tile(V, depth), HAS_DSTATE=has_dstate,
        num_warps=8 if bm * bk > 8192 else 4, num_stages=stages, **shared,
    )  # fmt: skip
    bwd.value_gradient_kernel[(v_tiles * (L // bm) * slots,)](
        k, dh, weight, dcs, p, dv, *call.tables, *_strides(k, dh), T, call.chunks, H, call.scale,
        K=K, V=V, BK=tile(K, depth), BV=bv, HAS_DSTATE=has_dstate,
        num_warps=8 if bm * bv > 8192 else 4, num_stages=stages, **shared,
    )  # fmt: skip
    needs_dm = needs_dstate and not call.sigmoid
    gates.gate_gradient_kernel[(slots,)](
        call.igate, call.fgate, kexp, qexp, qdq, kdk, column, split, cross, boundary, end, dms, carry, is_open, dm, di, df, dm0, *call.tables,
        *_strides(call.igate, call.fgate), T, call.chunks, H, tiles, k_tiles, tile_stride,
        L=L, TILE=bm, BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, M_PATH=m_path, HAS_DSTATE=has_dstate, NEEDS_DM=needs_dm,
        PACKED=call.packed, num_warps=4 if L > 64 else 2,
    )  # fmt: skip
    if needs_dstate and call.sigmoid:
        dm0.copy_(dm) if has_dstate else dm0.zero_()
    return buffers
