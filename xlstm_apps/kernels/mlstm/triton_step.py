"""One mLSTM step for decoding: a single pass over the memory, read once and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from xlstm_apps.kernels.mlstm.triton_gates import GATE_FLOOR, log_sigmoid


@triton.jit(do_not_specialize=["H", "scale", "eps"])
def step_kernel(
    q_ptr, k_ptr, v_ptr, igate, fgate, c_ptr, n_ptr, m_ptr, h_ptr, c_out, n_out, m_out,
    stride_qb, stride_qh, stride_kb, stride_kh, stride_vb, stride_vh, stride_ib, stride_ih, stride_fb, stride_fh,
    H, scale, eps,
    K: tl.constexpr, V: tl.constexpr, KP: tl.constexpr, BV: tl.constexpr,
    SIGMOID: tl.constexpr, NORMALIZE: tl.constexpr, HAS_STATE: tl.constexpr,
):  # fmt: skip
    """BV columns of the memory of one head of one row."""
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
    write = tl.load(igate + row * stride_ib + head * stride_ih).to(tl.float32)
    keep = log_sigmoid(tl.maximum(tl.load(fgate + row * stride_fb + head * stride_fh).to(tl.float32), GATE_FLOOR))
    if HAS_STATE:
        m = tl.load(m_ptr + state)
        c = tl.load(c_ptr + tile, mask=tile_mask, other=0.0)
        n = tl.load(n_ptr + state * K + rows, mask=row_mask, other=0.0)
    else:
        m = 0.0
        c = tl.zeros([KP, BV], tl.float32)
        n = tl.zeros([KP], tl.float32)
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
    k *= write * scale
    c = keep * c + k[:, None] * v[None, :]
    n = keep * n + k
    h = tl.sum(q[:, None] * c, 0)
    if NORMALIZE:
        h /= tl.maximum(tl.abs(tl.sum(q * n, 0)), floor) + eps
    elif not SIGMOID:
        h *= tl.exp(m_new)
    tl.store(c_out + tile, c, mask=tile_mask)
    tl.store(h_ptr + state * V + columns, h.to(h_ptr.dtype.element_ty), mask=column_mask)
    if v_tile == 0:
        tl.store(n_out + state * K + rows, n, mask=row_mask)
        tl.store(m_out + state, m_new)


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
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    B, H, K = q.shape
    V = v.shape[-1]
    outputs = _outputs(q, v)
    has_state = c is not None
    old = (x.contiguous() for x in (c, n, m)) if has_state else outputs[1:]
    kp = triton.next_power_of_2(K)
    bv = max(16, min(triton.next_power_of_2(V), 64, 8192 // kp))
    step_kernel[(triton.cdiv(V, bv) * H * B,)](
        q, k, v, igate, fgate, *old, *outputs, *(s for x in (q, k, v) for s in x.stride()[:2]), *igate.stride(),
        *fgate.stride(), H, scale, eps,
        K=K, V=V, KP=kp, BV=bv, SIGMOID=sigmoid, NORMALIZE=normalize, HAS_STATE=has_state, num_warps=4,
    )  # fmt: skip
    return outputs


@step.register_fake
def _(q, k, v, igate, fgate, c, n, m, sigmoid, normalize, eps, scale):
    return _outputs(q, v)


def _outputs(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    B, H, K = q.shape
    V = v.shape[-1]
    f32 = torch.float32
    return (
        v.new_empty(B, H, V),
        q.new_empty(B, H, K, V, dtype=f32),
        q.new_empty(B, H, K, dtype=f32),
        q.new_empty(B, H, dtype=f32),
    )
