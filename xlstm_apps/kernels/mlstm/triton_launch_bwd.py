"""Host side of the backward: which kernels run, with which tiles, on which buffers.

Small heads, enough of them: a scan with one program per head, then one kernel for all gradients of a chunk. Up to 128
dimensions: a kernel for the queries, the scan over tiles of the memory's gradient, a kernel for the keys. Beyond: row
statistics, the scan, then four kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.mlstm import triton_chunkwise_bwd as bwd
from xlstm_apps.kernels.mlstm import triton_fused as fused
from xlstm_apps.kernels.mlstm import triton_gates as gates
from xlstm_apps.kernels.mlstm import triton_medium as medium
from xlstm_apps.kernels.mlstm import triton_memory as memory
from xlstm_apps.kernels.mlstm import triton_rows as row_kernels
from xlstm_apps.kernels.mlstm.triton_call import SUMMARY_BLOCK, Call
from xlstm_apps.kernels.triton_plan import Plan, power_of_2, tile, tiles

F32 = torch.float32


def backward(
    call: Call, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, h: Tensor, saved: Tensor,
    final: tuple[Tensor, ...], tables: tuple[Tensor, ...], dh: Tensor, dstate: tuple[Tensor, ...], needs_dstate: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of q, k, v, gates, and, if asked for, of the initial state.

    `dstate`, gradients of the final state, may be empty; if it is not, `final` is that state's c and n.
    """
    strides = dh.stride()
    if strides[3] != 1 or dh.dtype != q.dtype:
        dh = dh.to(q.dtype).contiguous()
        strides = dh.stride()
    dstate = tuple(x.to(F32).contiguous() for x in dstate)
    key = (strides, len(dstate), needs_dstate)
    plan = call.plans.get(key)
    if plan is None:
        plan = call.plans[key] = BackwardPlan(call, strides[:3], bool(dstate), needs_dstate)
    gradients = call.allocate_gradients(q, igate, fgate)
    if needs_dstate:
        gradients = (*gradients, *call.allocate_state_gradients(q))
    buffers = q.new_empty(plan.buffers.size, dtype=torch.uint8)
    if dstate:
        dstate = (*final, *dstate)
    plan.run((q, k, v, igate, fgate, h, saved, dh, *dstate, *gradients, buffers, *tables))
    if needs_dstate and call.sigmoid:
        dm0 = gradients[7]
        dm0.copy_(dstate[4]) if dstate else dm0.zero_()
    return gradients


class BackwardPlan(Plan):
    """The launches of a backward; its tensors are those that `backward` runs it with."""

    def __init__(self, call: Call, dh_strides: tuple[int, ...], has_dstate: bool, needs_dstate: bool) -> None:
        super().__init__(call.device)
        self.call, self.dh_strides, self.has_dstate, self.needs_dstate = call, dh_strides, has_dstate, needs_dstate
        self.q, self.k, self.v = (self.tensor(call.dtype) for _ in range(3))
        self.gates = [self.tensor(dtype) for dtype in call.gate_dtypes]
        self.h = self.tensor(call.dtype)
        self.saved = call.saved(self.storage())
        self.dh = self.tensor(call.dtype)
        # Without a gradient of the final state, none wanted of the initial one, or no tables, something stands in.
        unused = self.saved[4]
        self.c, self.n, *self.dstate = [self.tensor(F32) for _ in range(5)] if has_dstate else [unused] * 5
        self.dq, self.dk, self.dv = (self.tensor(call.dtype) for _ in range(3))
        self.dgates = [self.tensor(dtype) for dtype in call.gate_dtypes]
        self.dstate0 = [self.tensor(F32) for _ in range(3)] if needs_dstate else [unused] * 3
        self.buffers = self.storage()
        self.tables = [self.tensor(dtype) for dtype in call.table_dtypes] or [self.q] * 3

        new, slots = self.buffers.new, call.slots
        self.m_path = not call.sigmoid and (call.normalize or has_dstate)
        self.flags = {"PACKED": call.packed, "PRECISION": call.precision}
        self.dcs, self.dns = new(call.aux, slots, call.K, call.V), new(call.wide, slots, call.K)
        self.stats = new(F32, 3, call.plane)  # factor of each output row, gradient of q . n, gradient of m
        self.tiles = 1  # parts of a chunk with summaries of their own
        if call.one_program_per_head and not needs_dstate:
            self._small()
        elif call.medium or (call.small and not call.exact):
            self._medium()
        else:
            self._large()
        self._gate_gradients()

    def _summaries(self) -> None:
        """What parts of a chunk add to the gradients of the normaliser and of the stabiliser before it."""
        new, call = self.buffers.new, self.call
        parts = self.tiles * call.slots
        self.carry, self.open, self.added = new(F32, parts), new(F32, parts), new(F32, parts, call.K)
        self.inter = new(F32, call.plane)

    def _boundaries(self, parts: int) -> None:
        new, call = self.buffers.new, self.call
        self.parts = parts
        self.boundary = new(F32, call.slots, parts)
        self.end = new(F32, call.sequences * call.H, parts) if self.has_dstate else self.boundary

    def _small(self) -> None:
        """The scan takes `dh . h` from the stored h: too coarse for the gradient of an initial state."""
        call, new = self.call, self.buffers.new
        gate_values, decay, cs, ns, qn = self.saved
        kp, vp = call.small_tiles
        self.carry, self.open = new(F32, call.slots), new(F32, call.slots)
        self._boundaries(kp)
        self.launch(
            fused.fused_scan_kernel, call.sequences * call.H,
            self.q, self.dh, self.h, qn, gate_values, decay, cs, ns, self.c, self.n, *self.dstate[:2], self.stats,
            self.carry, self.open, self.dcs, self.dns, self.boundary, self.end, *self.tables[:2], *call.q_strides,
            *self.dh_strides, *call.sizes, call.eps, call.plane,
            K=call.K, V=call.V, KP=kp, VP=vp, L=call.L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize,
            HAS_STATE=call.has_state, HAS_DSTATE=self.has_dstate, M_PATH=self.m_path, **self.flags,
            num_warps=2 if vp <= 32 else 4, num_stages=1 if call.exact else 2,
        )  # fmt: skip
        self.sums, self.k_tiles = new(F32, 4, call.plane), 1
        self.cross, self.rows = self.stats, call.L  # no cross sums in a chunk of one tile
        kp, vp = call.gradient_tiles
        self.launch(
            fused.fused_gradient_kernel, call.slots,
            self.q, self.k, self.v, self.dh, gate_values, self.stats, qn, cs, ns, self.dcs, self.dns, self.dq,
            self.dk, self.dv, self.sums, *self.tables, *call.qkv_strides, *self.dh_strides, *call.sizes, call.scale,
            call.plane, K=call.K, V=call.V, KP=kp, VP=vp, L=call.L, NORMALIZE=call.normalize, HAS_STATE=call.has_state,
            HAS_DSTATE=self.has_dstate, **self.flags, num_warps=4, num_stages=1,
        )  # fmt: skip

    def _medium(self) -> None:
        call, new = self.call, self.buffers.new
        gate_values, _, cs, ns, qn = self.saved
        self.sums, self.k_tiles = new(F32, 4, call.plane), 1
        self.cross, self.rows = new(F32, call.plane), min(call.L, 64)
        self.tiles = call.L // self.rows
        self._summaries()
        kp, vp = call.gradient_tiles
        inputs = (self.q, self.k, self.v, self.dh, gate_values, self.stats)
        strides = (*call.qkv_strides, *self.dh_strides, *call.sizes, call.scale)
        options = {"K": call.K, "V": call.V, "KP": kp, "VP": vp, "L": call.L, "BM": self.rows, **self.flags}
        self.launch(
            medium.medium_query_kernel, self.tiles * call.slots,
            *inputs, qn, cs, ns, self.inter, self.added, self.carry, self.open, self.dq, self.sums, self.cross,
            *self.tables, *strides, call.eps, call.plane, SIGMOID=call.sigmoid, NORMALIZE=call.normalize,
            HAS_STATE=call.has_state, M_PATH=self.m_path, **options, num_warps=4, num_stages=1,
        )  # fmt: skip
        self._scan()
        self.launch(
            medium.medium_key_kernel, self.tiles * call.slots,
            *inputs, self.dcs, self.dns, self.dk, self.dv, self.sums, *self.tables, *strides, call.plane,
            HAS_DSTATE=self.has_dstate, **options, num_warps=4, num_stages=1,
        )  # fmt: skip

    def _large(self) -> None:
        call, new = self.call, self.buffers.new
        gate_values, qn, plane = self.saved[0], self.saved[4], call.plane
        kexp, qexp, m = (gate_values.part(i * plane) for i in range(3))
        rowscale, dqn, dm = (self.stats.part(i * plane) for i in range(3))
        self.dqn_inter = new(F32, plane)
        self._summaries()
        self.launch(
            row_kernels.delta_kernel, call.slots,
            self.h, self.dh, self.q, qn, m, kexp, qexp, rowscale, dqn, self.inter, self.dqn_inter, self.added, dm,
            self.carry, self.open, *self.tables, *call.h_strides, *self.dh_strides, *call.q_strides, *call.sizes,
            call.eps,
            K=call.K, V=call.V, L=call.L, BV=min(tile(call.V, 64), tile(call.K, 64)), SIGMOID=call.sigmoid,
            NORMALIZE=call.normalize, M_PATH=self.m_path, PACKED=call.packed, num_warps=4,
        )  # fmt: skip
        self._scan()
        self._pairs()

    def _scan(self) -> None:
        call = self.call
        _, decay, cs, ns, _ = self.saved
        o = call.scan_tiles(backward=True)
        v_tiles = tiles(call.V, o["BV"])
        self._boundaries((v_tiles + 1) * call.K)
        self.launch(
            memory.memory_gradient_kernel, tiles(call.K, o["BK"]) * v_tiles * call.H * call.sequences,
            self.q, self.dh, self.inter, self.added, decay, cs, ns, self.c, self.n, *self.dstate[:2], self.dcs,
            self.dns, self.boundary, self.end, *self.dstate0[:2], *self.tables[:2], *call.q_strides, *self.dh_strides,
            *call.sizes,
            K=call.K, V=call.V, L=call.L, **o, TILES=self.tiles, NORMALIZE=call.normalize, HAS_STATE=call.has_state,
            HAS_DSTATE=self.has_dstate, NEEDS_DSTATE=self.needs_dstate, **self.flags,
        )  # fmt: skip

    def _pairs(self) -> None:
        """The general way to dq, dk and dv: pair matrices in memory, then one product each."""
        call, new = self.call, self.buffers.new
        K, V, L, plane = call.K, call.V, call.L, call.plane
        gate_values, _, cs, ns, _ = self.saved
        kexp, qexp, _, weight = (gate_values.part(i * plane) for i in range(4))
        rowscale, dqn = self.stats, self.stats.part(plane)
        q, k, v, dh, tables, sizes = self.q, self.k, self.v, self.dh, self.tables, call.sizes
        dh_strides = self.dh_strides
        if call.exact:
            rows = min(L, 64)
            shared = {"BM": rows, "BN": min(L, 32), "num_warps": 4, "num_stages": 2}
            query_tiles = value_tiles = {"BK": tile(K, 32), "BV": tile(V, 32)}
            pair_tiles = {"BK": 16, "num_warps": 8, "num_stages": 2}
        else:
            rows = min(L, 128)
            shared = {"BM": min(L, 64), "BN": min(L, 64), "num_warps": 4}
            query_tiles = {"BK": tile(K, 128, 64), "BV": 64, "num_stages": 4}
            value_tiles = {"BK": 64, "BV": tile(V, 128, 64), "num_stages": 3}
            pair_tiles = {"BK": 64, "num_warps": 8, "num_stages": 4}
        options = {"K": K, "V": V, "L": L, **self.flags}
        p, ds = new(call.aux, call.slots, L, L), new(call.aux, call.slots, L, L)
        k_tiles = tiles(K, query_tiles["BK"])
        self.rows, self.k_tiles = rows, k_tiles
        self.sums, self.cross = new(F32, 2 * k_tiles + 2, plane), new(F32, plane)
        qdq, kdk, column, split = (self.sums.part(i * plane) for i in (0, k_tiles, 2 * k_tiles, 2 * k_tiles + 1))
        self.launch(
            bwd.pair_kernel, (L // rows) ** 2 * call.slots,
            q, k, v, dh, kexp, qexp, rowscale, dqn, p, ds, column, split, self.cross, *tables, *call.qkv_strides,
            *dh_strides, *sizes, call.scale, BM=rows, **pair_tiles, **options,
        )  # fmt: skip
        programs = L // shared["BM"] * call.slots
        self.launch(
            bwd.query_gradient_kernel, k_tiles * programs,
            q, k, dh, self.inter, self.dqn_inter, cs, ns, ds, self.dq, qdq, *tables, *call.q_strides, *call.k_strides,
            *dh_strides, *sizes, plane, HAS_STATE=call.has_state, **shared, **query_tiles, **options,
        )  # fmt: skip
        self.launch(
            bwd.key_gradient_kernel, k_tiles * programs,
            q, k, v, weight, self.dcs, self.dns, ds, self.dk, kdk, *tables, *call.qkv_strides, *sizes, call.scale,
            plane, HAS_DSTATE=self.has_dstate, **shared, **query_tiles, **options,
        )  # fmt: skip
        self.launch(
            bwd.value_gradient_kernel, tiles(V, value_tiles["BV"]) * programs,
            k, dh, weight, self.dcs, p, self.dv, *tables, *call.k_strides, *dh_strides, *sizes, call.scale,
            HAS_DSTATE=self.has_dstate, **shared, **value_tiles, **options,
        )  # fmt: skip

    def _gate_gradients(self) -> None:
        call = self.call
        self.launch(
            gates.gate_gradient_kernel, call.slots,
            *self.gates, self.saved[0], self.stats, self.sums, self.cross, self.boundary, self.end, self.carry,
            self.open, self.dstate[2], *self.dgates, self.dstate0[2], *self.tables, *call.gate_strides, *call.sizes,
            self.parts, self.k_tiles, call.plane,
            L=call.L, TILE=self.rows, TILES=self.tiles, PARTS=power_of_2(self.parts), BLOCK=SUMMARY_BLOCK,
            SIGMOID=call.sigmoid, M_PATH=self.m_path, HAS_DSTATE=self.has_dstate,
            NEEDS_DM=self.needs_dstate and not call.sigmoid, PACKED=call.packed, num_warps=4 if call.L > 64 else 2,
        )  # fmt: skip
