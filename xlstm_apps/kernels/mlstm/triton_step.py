"""One mLSTM step for decoding: a single pass over the memory, read once and written once, in place if wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.mlstm.triton_gates import GATE_FLOOR, log_sigmoid
from xlstm_apps.kernels.state import allocate_memory
from xlstm_apps.kernels.triton_plan import Plan, tile, tiles, unit_stride

F32 = torch.float32


@triton.jit
def step_gates(igate, fgate, m, SIGMOID: tl.constexpr):
    """Factors on the old memory and on what is written, the new m, and the least denominator."""
    write = tl.load(igate).to(tl.float32)
    keep = log_sigmoid(tl.maximum(tl.load(fgate).to(tl.float32), GATE_FLOOR))
    if SIGMOID:
        m_new = m
        floor = 1.0
        keep = tl.exp(keep)
        write = tl.sigmoid(write)
    else:
        m_new = tl.maximum(keep + m, write)
        floor = tl.exp(tl.minimum(-m_new, 80.0))
        keep = tl.exp(keep + m - m_new)
        write = tl.exp(write - m_new)
    return keep, write, m_new, floor


@triton.jit(do_not_specialize=["H", "scale", "eps"])
def step_kernel(
    q_ptr, k_ptr, v_ptr, igate, fgate, c_ptr, n_ptr, m_ptr, h_ptr, c_out, n_out, m_out,
    stride_qb, stride_qh, stride_kb, stride_kh, stride_vb, stride_vh, stride_ib, stride_ih, stride_fb, stride_fh,
    H, scale, eps,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, BV: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """BV columns of the memory of one head of one row; n and m too if WHOLE, else they are left as they are."""
    v_tiles: tl.constexpr = (V + BV - 1) // BV
    pid = tl.program_id(0)
    v_tile = pid % v_tiles
    head = ((pid // v_tiles) % H).to(tl.int64)
    row = (pid // (v_tiles * H)).to(tl.int64)
    state = row * H + head
    rows = tl.arange(0, KP)
    columns = v_tile * BV + tl.arange(0, BV)
    row_mask = rows < K
    column_mask = columns < V
    tile = state * K * V + rows[:, None] * V + columns[None, :]
    tile_mask = row_mask[:, None] & column_mask[None, :]

    q = tl.load(q_ptr + row * stride_qb + head * stride_qh + rows, mask=row_mask, other=0.0).to(tl.float32)
    k = tl.load(k_ptr + row * stride_kb + head * stride_kh + rows, mask=row_mask, other=0.0).to(tl.float32)
    v = tl.load(v_ptr + row * stride_vb + head * stride_vh + columns, mask=column_mask, other=0.0).to(tl.float32)
    if HAS_STATE:
        m = tl.load(m_ptr + state)
        c = tl.load(c_ptr + tile, mask=tile_mask, other=0.0)
        n = tl.load(n_ptr + state * K + rows, mask=row_mask, other=0.0)
    else:
        m = 0.0
        c = tl.zeros([KP, BV], tl.float32)
        n = tl.zeros([KP], tl.float32)
    igate += row * stride_ib + head * stride_ih
    fgate += row * stride_fb + head * stride_fh
    keep, write, m_new, floor = step_gates(igate, fgate, m, SIGMOID)
    k *= write * scale
    c = keep * c + k[:, None] * v[None, :]
    n = keep * n + k
    h = tl.sum(q[:, None] * c, 0)
    if NORMALIZE:
        h /= tl.maximum(tl.abs(tl.sum(q * n, 0)), floor) + eps
    elif not SIGMOID:
        h *= tl.exp(m_new)
    tl.store(h_ptr + state * V + columns, h.to(h_ptr.dtype.element_ty), mask=column_mask)
    tl.debug_barrier()  # the outputs may be the inputs, and threads may share an element
    tl.store(c_out + tile, c, mask=tile_mask)
    if WHOLE:  # noqa: SIM102 (a constant of the compiler, and a value)
        if v_tile == 0:
            tl.store(n_out + state * K + rows, n, mask=row_mask)
            tl.store(m_out + state, m_new)


@triton.jit(do_not_specialize=["H", "scale"])
def normaliser_kernel(
    k_ptr, igate, fgate, n_ptr, m_ptr,
    stride_kb, stride_kh, stride_ib, stride_ih, stride_fb, stride_fh, H, scale,
    K: tl.constexpr, KP: tl.constexpr, SIGMOID: tl.constexpr,
):  # fmt: skip
    """n and m of one head of one row, in place."""
    state = tl.program_id(0).to(tl.int64)
    row = state // H
    head = state % H
    rows = tl.arange(0, KP)
    mask = rows < K
    k = tl.load(k_ptr + row * stride_kb + head * stride_kh + rows, mask=mask, other=0.0).to(tl.float32)
    n = tl.load(n_ptr + state * K + rows, mask=mask, other=0.0)
    m = tl.load(m_ptr + state)
    igate += row * stride_ib + head * stride_ih
    fgate += row * stride_fb + head * stride_fh
    keep, write, m_new, _ = step_gates(igate, fgate, m, SIGMOID)
    n = keep * n + k * (write * scale)
    tl.debug_barrier()  # threads may share an element
    tl.store(n_ptr + state * K + rows, n, mask=mask)
    tl.store(m_ptr + state, m_new)


class StepPlan(Plan):
    """The launches of a step; its tensors are those that `direct_step` runs it with."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, has_state: bool, inplace: bool,
        sigmoid: bool, normalize: bool, eps: float, scale: float,
    ) -> None:  # fmt: skip
        super().__init__(q.device)
        B, H, K = q.shape
        V = v.shape[-1]
        strides = [x.stride()[:2] for x in (q, k, v, igate, fgate)]
        inputs = [self.tensor(x.dtype) for x in (q, k, v, igate, fgate)]
        h, *new = (self.tensor(dtype) for dtype in (v.dtype, F32, F32, F32))
        old = [self.tensor(F32) for _ in range(3)] if has_state and not inplace else new
        kp = tile(K, 512)
        bv = tile(V, min(64, 8192 // kp))
        # In place, programs of other columns may still have to read the old n and m: those wait for a launch after.
        whole = not inplace or bv >= V
        self.launch(
            step_kernel, tiles(V, bv) * H * B, *inputs, *old, h, *new, *(s for pair in strides for s in pair),
            H, scale, eps,
            K=K, V=V, KP=kp, BV=bv, SIGMOID=sigmoid, NORMALIZE=normalize, HAS_STATE=has_state, WHOLE=whole, num_warps=4,
        )  # fmt: skip
        if not whole:
            self.launch(
                normaliser_kernel, H * B, inputs[1], *inputs[3:], *new[1:], *strides[1], *strides[3], *strides[4],
                H, scale, K=K, KP=kp, SIGMOID=sigmoid, num_warps=1 if kp <= 64 else 4,
            )  # fmt: skip


_plans: Kinds[StepPlan] = Kinds()


def direct_step(
    q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, state: Sequence[Tensor], inplace: bool,
    *options: bool | float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """h [B, H, V] and the new c, n, m, which are those of `state` (float32, contiguous) if `inplace`.

    `state` may be empty. `options` are those of `step`.
    """
    q, k, v = unit_stride(q), unit_stride(k), unit_stride(v)
    key = (
        q.shape, v.shape, q.stride(), k.stride(), v.stride(), igate.stride(), fgate.stride(), q.dtype, k.dtype, v.dtype,
        igate.dtype, fgate.dtype, q.device, len(state), inplace, options,
    )  # fmt: skip
    plan = _plans.get(key)
    if plan is None:
        plan = _plans[key] = StepPlan(q, k, v, igate, fgate, bool(state), inplace, *options)  # pyright: ignore
    if inplace:
        h = v.new_empty(v.shape)
        plan.run((q, k, v, igate, fgate, h, *state))
        return h, *state
    outputs = _outputs(q, v)
    plan.run((q, k, v, igate, fgate, *outputs, *(x.contiguous() for x in state)))
    return outputs


@torch.library.custom_op("xlstm_apps::mlstm_triton_step", mutates_args=())
def step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    c: Tensor | None,
    n: Tensor | None,
    m: Tensor | None,
    sigmoid: bool,
    normalize: bool,
    eps: float,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h [B, H, V] and the new c, n, m; not differentiable."""
    state = () if c is None or n is None or m is None else (c, n, m)
    h, c, n, m = direct_step(q, k, v, igate, fgate, state, False, sigmoid, normalize, eps, scale)
    return h, c, n, m


@step.register_fake
def _(q, k, v, igate, fgate, c, n, m, sigmoid, normalize, eps, scale):
    return _outputs(q, v)


@torch.library.custom_op("xlstm_apps::mlstm_triton_step_inplace", mutates_args=("c", "n", "m"))
def step_inplace(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    c: Tensor,
    n: Tensor,
    m: Tensor,
    sigmoid: bool,
    normalize: bool,
    eps: float,
    scale: float,
) -> Tensor:
    """h [B, H, V]; the new memory takes the place of the old."""
    return direct_step(q, k, v, igate, fgate, (c, n, m), True, sigmoid, normalize, eps, scale)[0]


@step_inplace.register_fake
def _(q, k, v, igate, fgate, c, n, m, sigmoid, normalize, eps, scale):
    return v.new_empty(v.shape)


def _outputs(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return v.new_empty(v.shape), *allocate_memory(q, v, q.shape[0], F32)
