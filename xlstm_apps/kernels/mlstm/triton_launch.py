"""Host side of the Triton mLSTM: which kernels run, with which tiles, on which buffers.

Small heads (K, V <= 128) with enough sequences to fill the card go through the kernels that keep the memory on chip,
everything else through the general ones; the gradients of small heads are always one kernel per chunk.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from xlstm_apps.kernels.mlstm import triton_chunkwise_bwd as bwd
from xlstm_apps.kernels.mlstm import triton_chunkwise_fwd as fwd
from xlstm_apps.kernels.mlstm import triton_fused as fused
from xlstm_apps.kernels.mlstm import triton_gates as gates
from xlstm_apps.kernels.mlstm.triton_call import INTERPRETED, Call, pick, run, tile

__all__ = ["INTERPRETED", "Call", "backward", "forward"]

SUMMARY_BLOCK = 256
"""Chunks read at once when a chunk looks at all those before or after it."""


def _strides(*tensors: Tensor) -> tuple[int, ...]:
    return tuple(s for x in tensors for s in x.stride()[:3])


def forward(call: Call, c0: Tensor | None, n0: Tensor | None, m0: Tensor | None, save: bool) -> tuple[Tensor, ...]:
    """Outputs, final state, and what the backward needs."""
    buffers = call.allocate_forward(save)
    has_state = c0 is not None
    if has_state:
        state = (c0.contiguous(), n0.contiguous(), m0.contiguous())
    else:
        state = buffers[1:4]
    go = _forward_small if call.one_program_per_head else _forward_general
    go(call, state, has_state, save, *buffers)
    return buffers


def _forward_small(call: Call, state, has_state, save, h, c, n, m, gate_values, decay, cs, ns, qn) -> None:
    q, k, v, K, V = call.q, call.k, call.v, call.K, call.V
    kp, bv = tile(K, 128), tile(V, 128)
    warps = 8 if max(kp * bv, call.L * bv) > 8192 else 4
    o = pick(fused.fused_forward_kernel, BV=bv, num_warps=warps, num_stages=1 if call.exact else 2)
    key = (call.key, has_state, save)
    run(
        fused.fused_forward_kernel, key, triton.cdiv(V, o["BV"]) * call.H * call.sequences,
        q, k, v, call.igate, call.fgate, *state, h, c, n, m, *gate_values.unbind(), decay, cs, ns, qn,
        call.tables[0], call.tables[1], *_strides(q, k, v, call.igate, call.fgate), call.T, call.chunks, call.H,
        call.scale, call.eps,
        K=K, V=V, KP=kp, L=call.L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize, HAS_STATE=has_state, SAVE=save,
        PACKED=call.packed, PRECISION=call.precision, PRECISION_S=call.precision_s, **o,
    )  # fmt: skip


def _forward_general(call: Call, state, has_state, save, h, c, n, m, gate_values, decay, cs, ns, qn) -> None:
    c0, n0, m0 = state
    key = (call.key, has_state)
    kexp, qexp, m_all, weight = gate_values.unbind()
    q, k, v = call.q, call.k, call.v
    T, H, K, V, L = call.T, call.H, call.K, call.V, call.L
    slots = call.total_chunks * H
    gate_strides = _strides(call.igate, call.fgate)
    totals = peaks = decay
    if not call.sigmoid and call.chunks != 1:
        totals, peaks = q.new_empty(2, slots, dtype=torch.float64).unbind()
        run(
        gates.chunk_summary_kernel, key, slots,
            call.igate, call.fgate, totals, peaks, *call.tables, *gate_strides, T, call.chunks, H,
            L=L, PACKED=call.packed, num_warps=4 if L > 64 else 2,
        )  # fmt: skip
    added = q.new_empty(slots, K, dtype=call.wide)
    run(
        gates.gate_kernel, key, slots,
        call.igate, call.fgate, k, m0, totals, peaks, kexp, qexp, m_all, weight, decay, added, m, *call.tables,
        *gate_strides, *_strides(k), T, call.chunks, H, call.scale,
        K=K, L=L, BK=tile(K, 64), BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, HAS_STATE=has_state, PACKED=call.packed,
        num_warps=8 if L > 128 else 4,
    )  # fmt: skip

    if call.exact:
        o = pick(fwd.memory_kernel, BT=min(L, 32), BK=tile(K, 32), BV=tile(V, 32), num_warps=4, num_stages=2)
    else:
        o = pick(fwd.memory_kernel, BT=min(L, 64), BK=tile(K, 64), BV=tile(V, 128), num_warps=4, num_stages=3)
    run(
        fwd.memory_kernel, key, triton.cdiv(K, o["BK"]) * triton.cdiv(V, o["BV"]) * H * call.sequences,
        k, v, weight, decay, added, c0, n0, cs, ns, c, n, call.tables[0], call.tables[1], *_strides(k, v),
        T, call.chunks, H, call.scale,
        K=K, V=V, L=L, HAS_STATE=has_state, PACKED=call.packed, PRECISION=call.precision, **o,
    )  # fmt: skip
    kp = tile(K, 512)
    kernel = fwd.output_kernel
    if call.exact:
        o = pick(kernel, BM=min(L, 32), BN=min(L, 32), BK=tile(K, 32), BS=tile(K, 16), BV=tile(V, 32), num_warps=4)
    elif K > 256:
        o = pick(kernel, BM=min(L, 64), BN=min(L, 32), BK=64, BS=kp, BV=tile(V, 128), num_warps=4)
    else:
        bm, bv = min(L, 128), tile(V, 128)
        warps = 8 if bm * bv > 8192 else 4
        o = pick(kernel, BM=bm, BN=min(L, 64), BK=tile(K, 64), BS=kp, BV=bv, num_warps=warps)
    run(
        kernel, key, triton.cdiv(V, o["BV"]) * (L // o["BM"]) * H * call.total_chunks,
        q, k, v, kexp, qexp, m_all, cs, ns, h, qn, *call.tables, *_strides(q, k, v, h), T, call.chunks, H, call.scale,
        call.eps,
        K=K, V=V, KP=kp, L=L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize, HAS_STATE=has_state, PACKED=call.packed,
        PRECISION=call.precision, PRECISION_S=call.precision_s, **({"num_stages": 2} | o),
    )  # fmt: skip


def backward(
    call: Call, h: Tensor, c: Tensor, n: Tensor, saved: list[Tensor], dh: Tensor,
    dc: Tensor | None, dn: Tensor | None, dm: Tensor | None, has_state: bool, needs_dstate: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of q, k, v, gates, and, if asked for, of the initial state."""
    gate_values, decay, cs, ns, qn = saved
    kexp, qexp, m_all, weight = gate_values.unbind()
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
    key = (call.key, has_state, has_dstate, needs_dstate, dh.stride())
    slots = call.total_chunks * H
    flags = {"PACKED": call.packed, "PRECISION": call.precision}
    dcs, dns = torch.empty_like(cs), torch.empty_like(ns)
    carry, is_open = new(2, slots, dtype=f32).unbind()
    tables = call.tables[:2]

    if call.one_program_per_head:
        tiles = k_tiles = 1
        rowscale, dqn, dms, qdq, kdk, column, split = new(7, call.B, H, T, dtype=f32).unbind()
        boundary = new(slots, dtype=f32)
        end = new(call.sequences * H if has_dstate else 0, dtype=f32)
        kp, vp = tile(K, 128), tile(V, 128)
        warps = 8 if max(kp * vp, L * vp) > 8192 else 4
        o = pick(fused.fused_scan_kernel, num_warps=warps, num_stages=1 if call.exact else 2)
        run(
            fused.fused_scan_kernel, key, call.sequences * H,
            q, dh, h, qn, m_all, kexp, qexp, decay, cs, ns, c, n, dc, dn, rowscale, dqn, dms, carry, is_open, dcs, dns,
            boundary, end, dc0, dn0, *tables, *_strides(q, dh), T, call.chunks, H, call.eps,
            K=K, V=V, KP=kp, VP=vp, L=L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize, HAS_STATE=has_state,
            HAS_DSTATE=has_dstate, NEEDS_DSTATE=needs_dstate, M_PATH=m_path, **o, **flags,
        )  # fmt: skip
    else:
        rowscale, dqn, dms, qdq1, kdk1, column, split, inter, dqn_inter = new(9, call.B, H, T, dtype=f32).unbind()
        added = new(slots, K, dtype=f32)
        o = pick(gates.delta_kernel, BV=min(tile(V, 64), tile(K, 64)), num_warps=8 if L > 64 else 4)
        run(
            gates.delta_kernel, key, slots,
            h, dh, q, qn, m_all, kexp, qexp, rowscale, dqn, inter, dqn_inter, added, dms, carry, is_open,
            *call.tables, *_strides(h, dh, q), T, call.chunks, H, call.eps,
            K=K, V=V, L=L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize, M_PATH=m_path, PACKED=call.packed, **o,
        )  # fmt: skip
        kernel = bwd.memory_gradient_kernel
        if call.exact:
            o = pick(kernel, BT=min(L, 32), BK=tile(K, 32), BV=tile(V, 32), num_warps=4, num_stages=2)
        else:
            o = pick(kernel, BT=min(L, 64), BK=tile(K, 64), BV=tile(V, 128), num_warps=4, num_stages=3)
        tiles = triton.cdiv(K, o["BK"]) * triton.cdiv(V, o["BV"])
        boundary = new(slots * tiles, dtype=f32)
        end = new(call.sequences * H * tiles if has_dstate else 0, dtype=f32)
        run(
            kernel, key, tiles * H * call.sequences,
            q, dh, inter, added, decay, cs, ns, c, n, dc, dn, dcs, dns, boundary, end, dc0, dn0,
            *tables, *_strides(q, dh), T, call.chunks, H,
            K=K, V=V, L=L, NORMALIZE=call.normalize, HAS_STATE=has_state, HAS_DSTATE=has_dstate,
            NEEDS_DSTATE=needs_dstate, **o, **flags,
        )  # fmt: skip

    bm, cross = L, column
    if call.small:
        k_tiles = 1
        if not call.one_program_per_head:
            qdq, kdk = qdq1, kdk1
        kp, vp = tile(K, 128), tile(V, 128)
        warps = 8 if L * max(kp, vp, L) > 4096 else 4
        o = pick(fused.fused_gradient_kernel, num_warps=warps, num_stages=1)
        run(
            fused.fused_gradient_kernel, key, slots,
            q, k, v, dh, kexp, qexp, weight, rowscale, dqn, cs, ns, dcs, dns, dq, dk, dv, qdq, kdk, column, split,
            *call.tables, *_strides(q, k, v, dh), T, call.chunks, H, call.scale,
            K=K, V=V, KP=kp, VP=vp, L=L, HAS_STATE=has_state, HAS_DSTATE=has_dstate, PRECISION_S=call.precision_s,
            **o, **flags,
        )  # fmt: skip
    else:
        p, ds = new(2, slots, L, L, dtype=call.aux).unbind()
        cross = new(call.B, H, T, dtype=f32)
        bm = min(L, 64 if call.exact else 128)
        bk = 16 if call.exact else min(tile(K, 64), tile(V, 64))
        o = pick(bwd.pair_kernel, BK=bk, num_warps=8, num_stages=2 if call.exact else 3)
        run(
            bwd.pair_kernel, key, (L // bm) ** 2 * slots,
            q, k, v, dh, kexp, qexp, rowscale, dqn, p, ds, column, split, cross, *call.tables, *_strides(q, k, v, dh),
            T, call.chunks, H, call.scale,
            K=K, V=V, L=L, BM=bm, **o, **flags,
        )  # fmt: skip
        tiles_of = {"BM": bm, "BN": min(L, 32 if call.exact else 64), "num_stages": 2 if call.exact else 3}
        out, depth = (32, 32) if call.exact else (128, 64)
        warps = 4 if call.exact else 8
        o = pick(bwd.query_gradient_kernel, BK=tile(K, out), BV=tile(V, depth), num_warps=warps, **tiles_of)
        k_tiles = triton.cdiv(K, o["BK"])
        qdq, kdk = new(2, k_tiles, call.B, H, T, dtype=f32).unbind()
        run(
            bwd.query_gradient_kernel, key, k_tiles * (L // o["BM"]) * slots,
            q, k, dh, inter, dqn_inter, cs, ns, ds, dq, qdq, *call.tables, *_strides(q, k, dh), T, call.chunks, H,
            call.B * H * T, K=K, V=V, L=L, HAS_STATE=has_state, **o, **flags,
        )  # fmt: skip
        o = pick(bwd.key_gradient_kernel, BV=tile(V, depth), num_warps=warps, **tiles_of) | {"BK": o["BK"]}
        run(
            bwd.key_gradient_kernel, key, k_tiles * (L // o["BM"]) * slots,
            q, k, v, weight, dcs, dns, ds, dk, kdk, *call.tables, *_strides(q, k, v), T, call.chunks, H, call.scale,
            call.B * H * T, K=K, V=V, L=L, HAS_DSTATE=has_dstate, **o, **flags,
        )  # fmt: skip
        o = pick(bwd.value_gradient_kernel, BK=tile(K, depth), BV=tile(V, out), num_warps=warps, **tiles_of)
        run(
            bwd.value_gradient_kernel, key, triton.cdiv(V, o["BV"]) * (L // o["BM"]) * slots,
            k, dh, weight, dcs, p, dv, *call.tables, *_strides(k, dh), T, call.chunks, H, call.scale,
            K=K, V=V, L=L, HAS_DSTATE=has_dstate, **o, **flags,
        )  # fmt: skip
    run(
        gates.gate_gradient_kernel, key, slots,
        call.igate, call.fgate, kexp, qexp, qdq, kdk, column, split, cross, boundary, end, dms, carry, is_open, dm, di,
        df, dm0, *call.tables, *_strides(call.igate, call.fgate), T, call.chunks, H, tiles, k_tiles, call.B * H * T,
        L=L, TILE=bm, BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, M_PATH=m_path, HAS_DSTATE=has_dstate,
        NEEDS_DM=needs_dstate and not call.sigmoid, PACKED=call.packed, num_warps=4 if L > 64 else 2,
    )  # fmt: skip
    if needs_dstate and call.sigmoid:
        dm0.copy_(dm) if has_dstate else dm0.zero_()
    return buffers
