"""mLSTM in plain torch, for the CPU and any other device: the chunkwise form with its own backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xlstm_apps.kernels.mlstm import chunkwise, packed
from xlstm_apps.kernels.mlstm.reference import mlstm_step
from xlstm_apps.kernels.mlstm.short import Short
from xlstm_apps.kernels.state import MLSTMState, allocate_memory, state_dtype

__all__ = ["mlstm", "mlstm_step", "prepare"]


def default_chunk_size(key_dim: int, value_dim: int) -> int:
    """Work inside chunks grows with their size, work on the memory shrinks: even near the smaller head dimension."""
    return 64 if min(key_dim, value_dim) <= 128 else 128


def prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    *,
    input_gate: str,
    normalize: bool,
    eps: float,
    scale: float,
    chunk_size: int | None,
) -> Callable[..., Tensor] | None:
    """What gives h alone for all calls like this one, without state and documents; None where there is no short way."""
    short = q.shape[1] <= (chunk_size or default_chunk_size(q.shape[-1], v.shape[-1]))
    if not short or q.device.type != "cpu" or input_gate != "exp" or not normalize:
        return None

    def run(q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor) -> Tensor:
        return Short.apply(q, k, v, igate, fgate, eps, scale)  # pyright: ignore[reportReturnType]

    return run


def mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    *,
    input_gate: str,
    normalize: bool,
    eps: float,
    scale: float,
    cu_seqlens: Tensor | None,
    chunk_size: int | None,
) -> tuple[Tensor, MLSTMState]:
    """Shapes and options as in `xlstm_apps.kernels.mlstm`."""
    c, n, m = (None, None, None) if state is None else state
    inputs = (q, k, v, igate, fgate, c, n, m)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    size = chunk_size or default_chunk_size(q.shape[-1], v.shape[-1])
    h, *last, _, _ = mlstm_torch_forward(*inputs, cu_seqlens, input_gate == "exp", normalize, eps, scale, size, save)
    return h, MLSTMState(*last)


def _state(c: Tensor | None, n: Tensor | None, m: Tensor | None) -> MLSTMState | None:
    return None if c is None or n is None or m is None else MLSTMState(c, n, m)


@torch.library.custom_op("xlstm_apps::mlstm_torch_forward", mutates_args=())
def mlstm_torch_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    c: Tensor | None,
    n: Tensor | None,
    m: Tensor | None,
    cu_seqlens: Tensor | None,
    exponential: bool,
    normalize: bool,
    eps: float,
    scale: float,
    chunk_size: int,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """h, the final c, n, m and, with `save`, what the backward pass needs: the memory of every chunk and q . n."""
    options = chunkwise.Options(exponential, normalize, eps, scale, chunk_size)
    with torch.autocast(q.device.type, enabled=False):
        if cu_seqlens is None:
            h, last, saved = chunkwise.forward(q, k, v, igate, fgate, _state(c, n, m), options, save)
        else:
            h, last = packed.forward(q, k, v, igate, fgate, _state(c, n, m), cu_seqlens, options)
            saved = None
    if saved is None:
        saved = chunkwise.Saved(last.c.new_empty(0), last.c.new_empty(0))
    return h, last.c, last.n, last.m, saved.memory, saved.reading


@mlstm_torch_forward.register_fake
def _(q, k, v, igate, fgate, c, n, m, cu_seqlens, exponential, normalize, eps, scale, chunk_size, save):
    dtype = state_dtype(q, k, v, igate, fgate)
    batch, length, heads, key_dim, value_dim = *q.shape, v.shape[-1]
    rows = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    memory, reading = q.new_empty(0, dtype=dtype), q.new_empty(0, dtype=dtype)
    if save and cu_seqlens is None:
        chunks = (length + chunk_size - 1) // chunk_size
        memory = q.new_empty(chunks + 1, batch, heads, key_dim, value_dim + 1, dtype=dtype)
        reading = q.new_empty(batch, length, heads, dtype=dtype)
    return (
        v.new_empty(batch, length, heads, value_dim),
        *allocate_memory(q, v, rows, dtype),
        memory,
        reading,
    )


@torch.library.custom_op("xlstm_apps::mlstm_torch_backward", mutates_args=())
def mlstm_torch_backward(
    dh: Tensor | None,
    dc: Tensor | None,
    dn: Tensor | None,
    dm: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    c: Tensor | None,
    n: Tensor | None,
    m: Tensor | None,
    cu_seqlens: Tensor | None,
    h: Tensor,
    memory: Tensor,
    reading: Tensor,
    exponential: bool,
    normalize: bool,
    eps: float,
    scale: float,
    chunk_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, igate, fgate and of the initial c, n, m."""
    options = chunkwise.Options(exponential, normalize, eps, scale, chunk_size)
    with torch.autocast(q.device.type, enabled=False):
        inputs, dlast = (q, k, v, igate, fgate, _state(c, n, m)), (dc, dn, dm)
        if cu_seqlens is None:
            dq, dk, dv, di, df, dstate = chunkwise.backward(
                dh, dlast, *inputs, h, chunkwise.Saved(memory, reading), options
            )
        else:
            dq, dk, dv, di, df, dstate = packed.backward(dh, dlast, *inputs, cu_seqlens, options)
    return dq, dk, dv, di, df, dstate.c, dstate.n, dstate.m


@mlstm_torch_backward.register_fake
def _(dh, dc, dn, dm, q, k, v, igate, fgate, c, n, m, cu_seqlens, *_):
    rows = q.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    state = allocate_memory(q, v, rows, state_dtype(q, k, v, igate, fgate))
    return *(x.new_empty(x.shape) for x in (q, k, v, igate, fgate)), *state


def _setup_context(ctx, inputs, output):
    *tensors, exponential, normalize, eps, scale, chunk_size, _ = inputs
    h, _, _, _, memory, reading = output
    ctx.mark_non_differentiable(memory, reading)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, h, memory, reading)
    ctx.options = (exponential, normalize, eps, scale, chunk_size)


def _backward(ctx, dh, dc, dn, dm, *_):
    tensors = ctx.saved_tensors
    *grads, dc0, dn0, dm0 = mlstm_torch_backward(dh, dc, dn, dm, *tensors, *ctx.options)
    dstate = [None if x is None else dx.to(x.dtype) for x, dx in zip(tensors[5:8], (dc0, dn0, dm0), strict=True)]
    return *grads, *dstate, *[None] * 7


mlstm_torch_forward.register_autograd(_backward, setup_context=_setup_context)
