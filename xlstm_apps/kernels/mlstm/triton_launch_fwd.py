"""Host side of the forward: which kernels run, with which tiles, on which buffers.

Small heads (K, V <= 64) with enough sequences to fill the card go through the kernel that keeps the memory on chip, all
others through a scan over tiles of the memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.mlstm import triton_chunkwise_fwd as fwd
from xlstm_apps.kernels.mlstm import triton_fused as fused
from xlstm_apps.kernels.mlstm import triton_gates as gates
from xlstm_apps.kernels.mlstm import triton_memory as memory
from xlstm_apps.kernels.mlstm.triton_call import SUMMARY_BLOCK, Call
from xlstm_apps.kernels.triton_plan import Plan, tile, tiles


def forward(
    call: Call, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, state: tuple[Tensor, ...],
    tables: tuple[Tensor, ...], save: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """h, the final c, n, m, and, if asked to `save` it, what the backward needs."""
    plan = call.plans.get(save)
    if plan is None:
        plan = call.plans[save] = ForwardPlan(call, save, final=True)
    h, c, n, m = call.allocate_results(q)
    buffers = q.new_empty(plan.buffers.size, dtype=torch.uint8)
    if not save:
        plan.run((q, k, v, igate, fgate, h, buffers, c, n, m, *state, *tables))
        return h, c, n, m
    saved = q.new_empty(call.saved_size, dtype=torch.uint8)
    plan.run((q, k, v, igate, fgate, h, buffers, saved, c, n, m, *state, *tables))
    return h, c, n, m, saved


def output(
    call: Call, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, save: bool
) -> tuple[Tensor, Tensor]:
    """h alone, of a call without state and documents, and what the backward needs (else scratch)."""
    key = "save" if save else "output"
    plan = call.plans.get(key)
    if plan is None:
        plan = call.plans[key] = ForwardPlan(call, save, final=False)
    h, buffers = v.new_empty(v.shape), q.new_empty(plan.buffers.size, dtype=torch.uint8)
    if not save:
        plan.run((q, k, v, igate, fgate, h, buffers))
        return h, buffers
    saved = q.new_empty(call.saved_size, dtype=torch.uint8)
    plan.run((q, k, v, igate, fgate, h, buffers, saved))
    return h, saved


class ForwardPlan(Plan):
    """The launches of a forward; its tensors are those that `forward` or `output` runs it with."""

    def __init__(self, call: Call, save: bool, final: bool) -> None:
        super().__init__(call.device)
        self.call, self.save, self.wants_final = call, save, final
        self.q, self.k, self.v = (self.tensor(call.dtype) for _ in range(3))
        self.gates = [self.tensor(dtype) for dtype in call.gate_dtypes]
        self.h = self.tensor(call.dtype)
        self.buffers = self.storage()
        if save:
            self.saved = call.saved(self.storage())
        else:
            self.saved = call.saved(self.buffers, wanted=not call.one_program_per_head)
        if final:
            self.final = [self.tensor(torch.float32) for _ in range(3)]
        else:
            heads = 0 if call.one_program_per_head else call.sequences * call.H
            self.final = [self.buffers.new(torch.float32, heads, n) for n in (call.K * call.V, call.K, 1)]
        # Without a state or tables something has to stand in for them.
        self.state = [self.tensor(torch.float32) for _ in range(3)] if call.has_state else self.final
        self.tables = [self.tensor(dtype) for dtype in call.table_dtypes] or [self.q] * 3
        if call.one_program_per_head:
            self._on_chip()
        else:
            self._scan()
            self._outputs()

    def _on_chip(self) -> None:
        call = self.call
        kp, vp = call.small_tiles
        self.launch(
            fused.fused_forward_kernel, call.H * call.sequences,
            self.q, self.k, self.v, *self.gates, *self.state, self.h, *self.final, *self.saved, *self.tables[:2],
            *call.qkv_strides, *call.gate_strides, *call.sizes, call.scale, call.eps, call.plane,
            K=call.K, V=call.V, KP=kp, BV=vp, L=call.L, SIGMOID=call.sigmoid, NORMALIZE=call.normalize,
            HAS_STATE=call.has_state, SAVE=self.save, PACKED=call.packed, PRECISION=call.precision,
            SINGLE=call.chunks == 1, FINAL=self.wants_final,
            num_warps=2 if vp <= 32 else 4, num_stages=1 if call.exact else 3,
        )  # fmt: skip

    def _scan(self) -> None:
        call, new = self.call, self.buffers.new
        K, V, L = call.K, call.V, call.L
        c, n, m = self.final
        c0, n0, m0 = self.state
        gate_values, decay, cs, ns, _ = self.saved
        weight = gate_values.part(3 * call.plane)
        totals = peaks = decay
        if not call.sigmoid and call.chunks != 1:
            totals, peaks = new(torch.float64, call.slots), new(torch.float64, call.slots)
            self.launch(
                gates.chunk_summary_kernel, call.slots,
                *self.gates, totals, peaks, *self.tables, *call.gate_strides, *call.sizes,
                L=L, PACKED=call.packed, num_warps=4 if L > 64 else 2,
            )  # fmt: skip
        added = new(call.wide, call.slots, K)
        self.launch(
            gates.gate_kernel, call.slots,
            *self.gates, self.k, m0, totals, peaks, *(gate_values.part(i * call.plane) for i in range(4)), decay, added,
            m, *self.tables, *call.gate_strides, *call.k_strides, *call.sizes, call.scale,
            K=K, L=L, BK=tile(K, 64), BLOCK=SUMMARY_BLOCK, SIGMOID=call.sigmoid, HAS_STATE=call.has_state,
            PACKED=call.packed, num_warps=8 if L > 128 else 4,
        )  # fmt: skip
        o = call.scan_tiles(backward=False)
        self.launch(
            memory.memory_kernel, tiles(K, o["BK"]) * tiles(V, o["BV"]) * call.H * call.sequences,
            self.k, self.v, weight, decay, added, c0, n0, cs, ns, c, n, *self.tables[:2], *call.k_strides,
            *call.v_strides, *call.sizes, call.scale,
            K=K, V=V, L=L, **o, HAS_STATE=call.has_state, PACKED=call.packed, PRECISION=call.precision,
        )  # fmt: skip

    def _outputs(self) -> None:
        call = self.call
        K, V, L = call.K, call.V, call.L
        gate_values, _, cs, ns, qn = self.saved
        kexp, qexp, m = (gate_values.part(i * call.plane) for i in range(3))
        if call.exact:
            kp, bm, bn, bk, bs, bv = tile(K, 512), 32, 32, tile(K, 32), tile(K, 16), tile(V, 32)
            warps, stages = 4, 2
        else:
            kp = bs = tile(K, 512, 64)
            bm, bn, bk, bv = (64, 64, 64, 128) if kp <= 128 else (128, 64, 64, 256) if kp <= 256 else (64, 32, 64, 128)
            bv = tile(V, bv, 64)
            warps, stages = 8 if min(L, bm) * bv > 8192 else 4, 1 if kp <= 128 else 2
        bm, bn = min(L, bm), min(L, bn)
        self.launch(
            fwd.output_kernel, tiles(V, bv) * (L // bm) * call.slots,
            self.q, self.k, self.v, kexp, qexp, m, cs, ns, self.h, qn, *self.tables, *call.qkv_strides,
            *call.h_strides, *call.sizes, call.scale, call.eps,
            K=K, V=V, KP=kp, L=L, BM=bm, BN=bn, BK=bk, BS=bs, BV=bv, SIGMOID=call.sigmoid, NORMALIZE=call.normalize,
            HAS_MEMORY=call.has_state or call.chunks != 1, PACKED=call.packed, PRECISION=call.precision,
            num_warps=warps, num_stages=stages,
        )  # fmt: skip
