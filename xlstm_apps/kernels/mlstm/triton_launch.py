"""Host side of the Triton mLSTM: which kernels run, with which tiles, on which buffers.

Small heads (K, V <= 64) with enough sequences to fill the card go through the kernels that keep the memory on chip, all
others through scans over tiles of the memory. Gradients of a chunk take one kernel for small heads, two up to 128
dimensions, four beyond.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from xlstm_apps.kernels.mlstm import triton_chunkwise_bwd as bwd
from xlstm_apps.kernels.mlstm import triton_chunkwise_fwd as fwd
from xlstm_apps.kernels.mlstm import triton_fused as fused
from xlstm_apps.kernels.mlstm import triton_gates as gates
from xlstm_apps.kernels.mlstm import triton_medium as medium
from xlstm_apps.kernels.mlstm.triton_call import INTERPRETED, Call, pick, run, tile

__all__ = ["INTERPRETED", "Call", "backward", "forward"]

SUMMARY_BLOCK = 256
"""Chunks read at once when a chunk looks at all those before or after it."""


def forward(call: Call, c0: Tensor | None, n0: Tensor | None, m0: Tensor | None, save: bool) -> tuple[Tensor, ...]:
    """Outputs, final state, and what the backward needs."""
    buffers = call.allocate_forward(save)
    has_state = c0 is not None
    state = (c0.contiguous(), n0.contiguous(), m0.contiguous()) if has_state else buffers[1:4]
    go = _forward_small if call.one_program_per_head else _forward_general
    go(call, state, has_state, save, *buffers)
    return buffers


def _forward_small(call: Call, state, has_state, save, h, c, n, m, gate_values, decay, cs, ns, qn) -> None:
    key = (call.key, has_state, save)
    kp, vp = call.small_tiles
    o = pick(fused.fused_forward_kernel, num_warps=2 if vp <= 32 else 4, num_stages=1 if call.exact else 3)
    run(
        fused.fused_forward_kernel, key, call.H * call.sequences,
        call.q, call.k, call.v, call.igate, call.fgate, *state, h, c, n, m, gate_values, decay, cs, ns, qn,
        call.tables[0], call.tables[1], *call.qkv_strides, *call.gate_strides, call.T, call.chunks, call.H,
        call.scale, call.eps, call.plane,
        K=call.K, V=call.V, KP=kp, BV=vp, L=call.L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize,
        HAS_STATE=has_state, SAVE=save, PACKED=call.packed, PRECISION=call.precision, **o,
    )  # fmt: skip


def _forward_general(call: Call, state, has_state, save, h, c, n, m, gate_values, decay, cs, ns, qn) -> None:
    c0, n0, m0 = state
    key = (call.key, has_state)
    kexp, qexp, m_all, weight = gate_values.unbind()
    q, k, v = call.q, call.k, call.v
    K, V, L = call.K, call.V, call.L
    k_strides, v_strides = call.qkv_strides[3:6], call.qkv_strides[6:]
    slots = call.total_chunks * call.H
    sizes = (call.T, call.chunks, call.H)
    totals = peaks = decay
    if not call.sigmoid and call.chunks != 1:
        totals, peaks = q.new_empty(2, slots, dtype=torch.float64).unbind()
        run(
            gates.chunk_summary_kernel, key, slots,
            call.igate, call.fgate, totals, peaks, *call.tables, *call.gate_strides, *sizes,
            L=L, PACKED=call.packed, num_warps=4 if L > 64 else 2,
        )  # fmt: skip
    added = q.new_empty(slots, K, dtype=call.wide)
    run(
        gates.gate_kernel, key, slots,
        call.igate, call.fgate, k, m0, totals, peaks, kexp, qexp, m_all, weight, decay, added, m, *call.tables,
        *call.gate_strides, *k_strides, *sizes, call.scale,
        K=K, L=L, BK=tile(K, 64), BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, HAS_STATE=has_state, PACKED=call.packed,
        num_warps=8 if L > 128 else 4,
    )  # fmt: skip

    o = pick(fwd.memory_kernel, **call.scan_tiles(backward=False))
    run(
        fwd.memory_kernel, key, triton.cdiv(K, o["BK"]) * triton.cdiv(V, o["BV"]) * call.H * call.sequences,
        k, v, weight, decay, added, c0, n0, cs, ns, c, n, *call.tables[:2], *k_strides, *v_strides, *sizes, call.scale,
        K=K, V=V, L=L, HAS_STATE=has_state, PACKED=call.packed, PRECISION=call.precision, **o,
    )  # fmt: skip
    kernel = fwd.output_kernel
    if call.exact:
        kp = tile(K, 512)
        o = {
            "BM": min(L, 32),
            "BN": min(L, 32),
            "BK": tile(K, 32),
            "BS": tile(K, 16),
            "BV": tile(V, 32),
            "num_warps": 4,
        }
    else:
        kp = tile(K, 512, 64)
        bm, bn, bv = (128, 64, 256) if kp <= 256 else (64, 32, 128)
        if kp <= 128:
            bm, bv = 64, 128
        bm, bn, bv = min(L, bm), min(L, bn), tile(V, bv, 64)
        o = {"BM": bm, "BN": bn, "BK": 64, "BS": kp, "BV": bv, "num_warps": 8 if bm * bv > 8192 else 4}
    o = pick(kernel, num_stages=1 if kp <= 128 and not call.exact else 2, **o)
    run(
        kernel, key, triton.cdiv(V, o["BV"]) * (L // o["BM"]) * call.H * call.total_chunks,
        q, k, v, kexp, qexp, m_all, cs, ns, h, qn, *call.tables, *call.qkv_strides, *h.stride()[:3], *sizes, call.scale,
        call.eps,
        K=K, V=V, KP=kp, L=L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize,
        HAS_MEMORY=has_state or call.chunks != 1, PACKED=call.packed, PRECISION=call.precision, **o,
    )  # fmt: skip


def backward(
    call: Call, h: Tensor, c: Tensor, n: Tensor, saved: list[Tensor], dh: Tensor,
    dc: Tensor | None, dn: Tensor | None, dm: Tensor | None, has_state: bool, needs_dstate: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of q, k, v, gates, and, if asked for, of the initial state."""
    gate_values, decay, cs, ns, qn = saved
    buffers = call.allocate_backward(needs_dstate)
    dq, dk, dv, di, df, dc0, dn0, dm0 = buffers
    q, k, v = call.q, call.k, call.v
    T, H, K, V, L = call.T, call.H, call.K, call.V, call.L
    new = q.new_empty
    f32 = torch.float32
    if dh.stride(-1) != 1 or dh.dtype != q.dtype:
        dh = dh.to(q.dtype).contiguous()
    has_dstate = dc is not None
    if has_dstate:
        dc, dn, dm = (x.to(f32).contiguous() for x in (dc, dn, dm))
    else:
        dc = dn = dm = decay
    m_path = not call.sigmoid and (call.normalize or has_dstate)
    key = (call.key, has_state, has_dstate, needs_dstate, dh.stride())
    slots = call.total_chunks * H
    sizes = (T, call.chunks, H)
    flags = {"PACKED": call.packed, "PRECISION": call.precision}
    dcs, dns = torch.empty_like(cs), torch.empty_like(ns)
    stats = new(3, call.plane, dtype=f32)  # factor of each output row, gradient of q . n, gradient of m
    carry, is_open = new(slots, dtype=f32), new(slots, dtype=f32)
    dh_strides = dh.stride()[:3]

    if call.one_program_per_head:
        kp, vp = call.small_tiles
        parts = kp
        boundary = new(slots, parts, dtype=f32)
        end = new(call.sequences * H, parts, dtype=f32) if has_dstate else boundary
        o = pick(fused.fused_scan_kernel, num_warps=2 if vp <= 32 else 4, num_stages=1 if call.exact else 2)
        run(
            fused.fused_scan_kernel, key, call.sequences * H,
            q, dh, h, qn, gate_values, decay, cs, ns, c, n, dc, dn, stats, carry, is_open, dcs, dns, boundary, end,
            dc0, dn0, *call.tables[:2], *call.qkv_strides[:3], *dh_strides, *sizes, call.eps, call.plane,
            K=K, V=V, KP=kp, VP=vp, L=L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize, HAS_STATE=has_state,
            HAS_DSTATE=has_dstate, NEEDS_DSTATE=needs_dstate, M_PATH=m_path, **o, **flags,
        )  # fmt: skip
    else:
        kexp, qexp, m_all, weight = gate_values.unbind()
        rowscale, dqn, dms = stats.unbind()
        inter, dqn_inter = new(2, call.plane, dtype=f32).unbind()
        added = new(slots, K, dtype=f32)
        o = pick(gates.delta_kernel, BV=min(tile(V, 64), tile(K, 64)), num_warps=4)
        run(
            gates.delta_kernel, key, slots,
            h, dh, q, qn, m_all, kexp, qexp, rowscale, dqn, inter, dqn_inter, added, dms, carry, is_open,
            *call.tables, *h.stride()[:3], *dh_strides, *call.qkv_strides[:3], *sizes, call.eps,
            K=K, V=V, L=L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize, M_PATH=m_path, PACKED=call.packed, **o,
        )  # fmt: skip
        kernel = bwd.memory_gradient_kernel
        o = pick(kernel, **call.scan_tiles(backward=True))
        parts = triton.cdiv(K, o["BK"]) * triton.cdiv(V, o["BV"])
        boundary = new(slots, parts, dtype=f32)
        end = new(call.sequences * H, parts, dtype=f32) if has_dstate else boundary
        run(
            kernel, key, parts * H * call.sequences,
            q, dh, inter, added, decay, cs, ns, c, n, dc, dn, dcs, dns, boundary, end, dc0, dn0,
            *call.tables[:2], *call.qkv_strides[:3], *dh_strides, *sizes,
            K=K, V=V, L=L, NORMALIZE=call.normalize, HAS_STATE=has_state, HAS_DSTATE=has_dstate,
            NEEDS_DSTATE=needs_dstate, **o, **flags,
        )  # fmt: skip

    strides = (*call.qkv_strides, *dh_strides)
    options = {"K": K, "V": V, "L": L, "HAS_DSTATE": has_dstate, **flags}
    k_tiles, bm = 1, L
    cross = stats
    if call.small:
        sums = new(4, call.plane, dtype=f32)
        o = pick(fused.fused_gradient_kernel, num_warps=4, num_stages=1)
        run(
            fused.fused_gradient_kernel, key, slots,
            q, k, v, dh, gate_values, stats, cs, ns, dcs, dns, dq, dk, dv, sums, *call.tables, *strides, *sizes,
            call.scale, call.plane,
            KP=call.gradient_tiles[0], VP=call.gradient_tiles[1], HAS_STATE=has_state,
            **o, **options,
        )  # fmt: skip
    elif call.medium:
        sums = new(4, call.plane, dtype=f32)
        cross = new(call.plane, dtype=f32)
        bm = min(L, 64)
        kp, vp = call.gradient_tiles
        tiles = {"KP": kp, "VP": vp, "BM": bm}
        o = pick(medium.medium_query_kernel, num_warps=4, num_stages=2)
        run(
            medium.medium_query_kernel, key, (L // bm) * slots,
            q, k, v, dh, gate_values, stats, cs, ns, dq, sums, cross, *call.tables, *strides, *sizes, call.scale,
            call.plane, K=K, V=V, L=L, HAS_STATE=has_state, **tiles, **o, **flags,
        )  # fmt: skip
        o = pick(medium.medium_key_kernel, num_warps=4, num_stages=1)
        run(
            medium.medium_key_kernel, key, (L // bm) * slots,
            q, k, v, dh, gate_values, stats, dcs, dns, dk, dv, sums, *call.tables, *strides, *sizes, call.scale,
            call.plane, **tiles, **o, **options,
        )  # fmt: skip
    else:
        bm = min(L, 64 if call.exact else 128)
        cross = new(call.plane, dtype=f32)
        k_tiles, sums = _gradient_products(
            call, key, bm, has_state, strides, options, kexp, qexp, weight, rowscale, dqn, inter, dqn_inter, cs, ns,
            dcs, dns, dh, dq, dk, dv, cross,
        )  # fmt: skip
    run(
        gates.gate_gradient_kernel, key, slots,
        call.igate, call.fgate, gate_values, stats, sums, cross, boundary, end, carry, is_open, dm, di, df, dm0,
        *call.tables, *call.gate_strides, *sizes, parts, k_tiles, call.plane,
        L=L, TILE=bm, PARTS=triton.next_power_of_2(parts), BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, M_PATH=m_path,
        HAS_DSTATE=has_dstate, NEEDS_DM=needs_dstate and not call.sigmoid, PACKED=call.packed,
        num_warps=4 if L > 64 else 2,
    )  # fmt: skip
    if needs_dstate and call.sigmoid:
        dm0.copy_(dm) if has_dstate else dm0.zero_()
    return buffers


def _gradient_products(
    call: Call, key, bm, has_state, strides, options, kexp, qexp, weight, rowscale, dqn, inter, dqn_inter, cs, ns, dcs,
    dns, dh, dq, dk, dv, cross,
) -> tuple[int, Tensor]:  # fmt: skip
    """The general way to dq, dk and dv: pair matrices in memory, then one product each. Returns the sums over pairs."""
    q, k, v = call.q, call.k, call.v
    K, V, L = call.K, call.V, call.L
    slots = call.total_chunks * call.H
    sizes = (call.T, call.chunks, call.H)
    q_strides, k_strides, v_strides, dh_strides = (strides[i : i + 3] for i in (0, 3, 6, 9))
    new = q.new_empty
    p, ds = new(2, slots, L, L, dtype=call.aux).unbind()
    has_dstate = options["HAS_DSTATE"]
    options = {name: value for name, value in options.items() if name != "HAS_DSTATE"}
    if call.exact:
        tiles = {"BM": bm, "BN": min(L, 32), "num_warps": 4, "num_stages": 2}
        query_tiles = value_tiles = {"BK": tile(K, 32), "BV": tile(V, 32)}
        pair_tiles = {"BM": bm, "BK": 16, "num_warps": 8, "num_stages": 2}
    else:
        tiles = {"BM": min(bm, 64), "BN": min(L, 64), "num_warps": 4}
        query_tiles = {"BK": tile(K, 128, 64), "BV": 64, "num_stages": 4}
        value_tiles = {"BK": 64, "BV": tile(V, 128, 64), "num_stages": 3}
        pair_tiles = {"BM": bm, "BK": 64, "num_warps": 8, "num_stages": 4}
    o = pick(bwd.query_gradient_kernel, **tiles, **query_tiles)
    k_tiles = triton.cdiv(K, o["BK"])
    sums = new(2 * k_tiles + 2, call.plane, dtype=torch.float32)
    run(
        bwd.pair_kernel, key, (L // bm) ** 2 * slots,
        q, k, v, dh, kexp, qexp, rowscale, dqn, p, ds, sums[2 * k_tiles], sums[2 * k_tiles + 1], cross, *call.tables,
        *strides, *sizes, call.scale, **options, **pick(bwd.pair_kernel, **pair_tiles),
    )  # fmt: skip
    run(
        bwd.query_gradient_kernel, key, k_tiles * (L // o["BM"]) * slots,
        q, k, dh, inter, dqn_inter, cs, ns, ds, dq, sums, *call.tables, *q_strides, *k_strides, *dh_strides, *sizes,
        call.plane, HAS_STATE=has_state, **options, **o,
    )  # fmt: skip
    o = pick(bwd.key_gradient_kernel, **tiles, **query_tiles) | {"BK": o["BK"]}
    run(
        bwd.key_gradient_kernel, key, k_tiles * (L // o["BM"]) * slots,
        q, k, v, weight, dcs, dns, ds, dk, sums[k_tiles], *call.tables, *q_strides, *k_strides, *v_strides, *sizes,
        call.scale, call.plane, HAS_DSTATE=has_dstate, **options, **o,
    )  # fmt: skip
    o = pick(bwd.value_gradient_kernel, **tiles, **value_tiles)
    run(
        bwd.value_gradient_kernel, key, triton.cdiv(V, o["BV"]) * (L // o["BM"]) * slots,
        k, dh, weight, dcs, p, dv, *call.tables, *k_strides, *dh_strides, *sizes, call.scale,
        HAS_DSTATE=has_dstate, **options, **o,
    )  # fmt: skip
    return k_tiles, sums
