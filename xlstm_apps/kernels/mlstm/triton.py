"""GPU kernels of the mLSTM: the `triton` backend.

Two custom operators, `xlstm_apps::mlstm_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see one node
each. The kernels are in the `triton_*` modules beside this one; which of them run, with which tiles, is in
`triton_launch_fwd.py` and `triton_launch_bwd.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xlstm_apps.kernels.dispatch import observed
from xlstm_apps.kernels.mlstm import triton_call
from xlstm_apps.kernels.mlstm.triton_call import INTERPRETED
from xlstm_apps.kernels.mlstm.triton_launch_bwd import backward
from xlstm_apps.kernels.mlstm.triton_launch_fwd import forward, output
from xlstm_apps.kernels.mlstm.triton_step import direct_step, step, step_inplace
from xlstm_apps.kernels.state import MLSTMState
from xlstm_apps.kernels.triton_plan import unit_stride, unsupported_type

MAX_HEAD_DIM = 512
FEW = 16
"""Tokens up to which a half-precision call that goes on from a state runs in float32."""


def unsupported(q, k, v, igate, fgate, state, **options: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    del options
    wrong = unsupported_type(q=q, k=k, v=v, igate=igate, fgate=fgate)
    if wrong is not None:
        return wrong
    if state is not None and any(x.dtype == torch.float64 for x in state):
        return "the state is float64; the kernels keep float32"
    if max(q.shape[-1], v.shape[-1]) > MAX_HEAD_DIM:
        return f"head dimensions {q.shape[-1]} and {v.shape[-1]}; the kernels go up to {MAX_HEAD_DIM}"
    return None


@torch.library.custom_op("xlstm_apps::mlstm_triton_fwd", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    c0: Tensor | None,
    n0: Tensor | None,
    m0: Tensor | None,
    cu_seqlens: Tensor | None,
    sigmoid: bool,
    normalize: bool,
    eps: float,
    scale: float,
    chunk_size: int,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    q, k, v = unit_stride(q), unit_stride(k), unit_stride(v)
    state = () if c0 is None else tuple(x.contiguous() for x in (c0, n0, m0))
    call = triton_call.find(
        q, k, v, igate, fgate, cu_seqlens, c0 is not None, sigmoid, normalize, eps, scale, chunk_size
    )
    results = forward(call, q, k, v, igate, fgate, state, call.tables(cu_seqlens), save)
    return results if save else (*results, q.new_empty(0, dtype=torch.uint8))


@_forward.register_fake
def _forward_fake(q, k, v, igate, fgate, c0, n0, m0, cu_seqlens, sigmoid, normalize, eps, scale, chunk_size, save):
    call = triton_call.Call(
        q, k, v, igate, fgate, cu_seqlens, c0 is not None, sigmoid, normalize, eps, scale, chunk_size
    )
    return *call.allocate_results(q), q.new_empty(call.saved_size if save else 0, dtype=torch.uint8)


@torch.library.custom_op("xlstm_apps::mlstm_triton_bwd", mutates_args=())
def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    h: Tensor,
    c: Tensor,
    n: Tensor,
    saved: Tensor,
    cu_seqlens: Tensor | None,
    dh: Tensor,
    dc: Tensor | None,
    dn: Tensor | None,
    dm: Tensor | None,
    has_state: bool,
    needs_dstate: bool,
    sigmoid: bool,
    normalize: bool,
    eps: float,
    scale: float,
    chunk_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    q, k, v = unit_stride(q), unit_stride(k), unit_stride(v)
    call = triton_call.find(q, k, v, igate, fgate, cu_seqlens, has_state, sigmoid, normalize, eps, scale, chunk_size)
    dstate = () if dc is None else (dc, dn, dm)
    tables = call.tables(cu_seqlens)
    gradients = backward(call, q, k, v, igate, fgate, h, saved, (c, n), tables, dh, dstate, needs_dstate)
    return gradients if needs_dstate else (*gradients, *call.allocate_state_gradients(q, wanted=False))


@_backward.register_fake
def _backward_fake(
    q, k, v, igate, fgate, h, c, n, saved, cu_seqlens, dh, dc, dn, dm, has_state, needs_dstate, *options
):  # fmt: skip
    call = triton_call.Call(q, k, v, igate, fgate, cu_seqlens, has_state, *options)
    return *call.allocate_gradients(q, igate, fgate), *call.allocate_state_gradients(q, wanted=needs_dstate)


def _setup_context(ctx, inputs, output) -> None:
    q, k, v, igate, fgate, c0, _, _, cu_seqlens, *options, _ = inputs
    h, c, n, _, saved = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, igate, fgate, h, c, n, saved, cu_seqlens)
    ctx.mark_non_differentiable(saved)
    ctx.options = options
    ctx.has_state = c0 is not None


def _complete(h: Tensor, c: Tensor, n: Tensor, dh, dc, dn, dm) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Gradients of the outputs, zeros where autograd has none; of the final state none at all if it has none."""
    if dh is None:
        dh = torch.zeros_like(h)
    if dc is None and dn is None and dm is None:
        return dh, ()
    dc = torch.zeros_like(c) if dc is None else dc
    dn = torch.zeros_like(n) if dn is None else dn
    dm = torch.zeros_like(n[..., 0]) if dm is None else dm
    return dh, (dc, dn, dm)


def _vjp(ctx, dh, dc, dn, dm, _):
    q, k, v, igate, fgate, h, c, n, saved, cu_seqlens = ctx.saved_tensors
    dh, dstate = _complete(h, c, n, dh, dc, dn, dm)
    needs_dstate = any(ctx.needs_input_grad[5:8])
    gradients = _backward(
        q, k, v, igate, fgate, h, c, n, saved, cu_seqlens, dh, *(dstate or (None, None, None)), ctx.has_state,
        needs_dstate, *ctx.options,
    )  # fmt: skip
    states = gradients[5:] if needs_dstate else (None, None, None)
    return *gradients[:5], *states, *(None,) * 7


_forward.register_autograd(_vjp, setup_context=_setup_context)


class _Direct(torch.autograd.Function):
    """The same operator without the dispatcher, whose bookkeeping takes longer than the kernels of small calls."""

    @staticmethod
    def forward(ctx, call, options, tables, q, k, v, igate, fgate, *state):
        h, c, n, m, saved = forward(call, q, k, v, igate, fgate, state, tables, True)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, k, v, igate, fgate, h, c, n, saved, *tables)
        ctx.options = options
        return h, c, n, m

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dh, dc, dn, dm):
        q, k, v, igate, fgate, h, c, n, saved, *tables = ctx.saved_tensors
        dh, dstate = _complete(h, c, n, dh, dc, dn, dm)
        needs_dstate = any(ctx.needs_input_grad[8:])
        # Not the forward's: hooks on saved tensors (`save_on_cpu`, pinned) may bring them back with other strides.
        call = triton_call.find(q, k, v, igate, fgate, tables[0] if tables else None, *ctx.options)
        gradients = backward(call, q, k, v, igate, fgate, h, saved, (c, n), tables, dh, dstate, needs_dstate)
        if call.has_state and not needs_dstate:
            gradients = (*gradients, None, None, None)
        return None, None, None, *gradients


class _Output(torch.autograd.Function):
    """`_Direct` without documents and states: fewer tensors, each of which takes as long as a small kernel."""

    @staticmethod
    def forward(ctx, call, options, q, k, v, igate, fgate):
        h, saved = output(call, q, k, v, igate, fgate, True)
        ctx.save_for_backward(q, k, v, igate, fgate, h, saved)
        ctx.options = options
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dh):
        q, k, v, igate, fgate, h, saved = ctx.saved_tensors
        call = triton_call.find(q, k, v, igate, fgate, None, *ctx.options)  # as in `_Direct`
        return None, None, *backward(call, q, k, v, igate, fgate, h, saved, (), (), dh, (), False)


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
    if (
        INTERPRETED
        or not (q.dtype == k.dtype == v.dtype != torch.float32)
        or not q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    ):
        return None
    options = (False, input_gate == "sigmoid", normalize, eps, scale, chunk_size or 0)
    call = triton_call.find(q, k, v, igate, fgate, None, *options)

    def run(q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor) -> Tensor:
        if torch.is_grad_enabled() and (
            q.requires_grad or k.requires_grad or v.requires_grad or igate.requires_grad or fgate.requires_grad
        ):
            return _Output.apply(call, options, q, k, v, igate, fgate)  # pyright: ignore[reportReturnType]
        return output(call, q, k, v, igate, fgate, False)[0]

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
    """The whole sequence; shapes and options as in `xlstm_apps.kernels.mlstm`."""
    h_dtype = v.dtype
    # A few tokens after a given memory: gradients are differences in which that memory, rounded, would leave nothing.
    continued = state is not None and cu_seqlens is None and q.shape[1] <= FEW
    if INTERPRETED or continued or not q.dtype == k.dtype == h_dtype:
        dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), h_dtype)
        if INTERPRETED or continued:
            dtype = torch.float32  # Triton's interpreter multiplies the bit patterns of bfloat16
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    c0, n0, m0 = (None, None, None) if state is None else (x.float() for x in state)
    tensors = (q, k, v, igate, fgate) if state is None else (q, k, v, igate, fgate, c0, n0, m0)
    save = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    options = (input_gate == "sigmoid", normalize, eps, scale, chunk_size or 0)
    if observed(tensors):
        h, c, n, m, _ = _forward(q, k, v, igate, fgate, c0, n0, m0, cu_seqlens, *options, save)
    else:
        q, k, v = unit_stride(q), unit_stride(k), unit_stride(v)
        state = () if c0 is None else (c0.contiguous(), n0.contiguous(), m0.contiguous())
        options = (c0 is not None, *options)
        call = triton_call.find(q, k, v, igate, fgate, cu_seqlens, *options)
        tables = call.tables(cu_seqlens)
        if save:
            h, c, n, m = _Direct.apply(call, options, tables, q, k, v, igate, fgate, *state)
        else:
            h, c, n, m = forward(call, q, k, v, igate, fgate, state, tables, False)
    return (h if h.dtype == h_dtype else h.to(h_dtype)), MLSTMState(c, n, m)


def mlstm_step(
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
) -> tuple[Tensor, MLSTMState]:
    """One step; shapes and options as in `xlstm_apps.kernels.mlstm_step`."""
    tensors = (q, k, v, igate, fgate, *(state or ()))
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        # A sequence of one: the decoding kernel has no backward.
        h, state = mlstm(
            *(x.unsqueeze(1) for x in (q, k, v, igate, fgate)), state, input_gate=input_gate, normalize=normalize,
            eps=eps, scale=scale, cu_seqlens=None, chunk_size=None,
        )  # fmt: skip
        return h.squeeze(1), state
    options = (input_gate == "sigmoid", normalize, eps, scale)
    old = () if state is None else tuple(x.float() for x in state)
    if observed(tensors):
        h, *new = step(q, k, v, igate, fgate, *(old or (None, None, None)), *options)
    else:
        h, *new = direct_step(q, k, v, igate, fgate, old, False, *options)
    return h, MLSTMState(*new)


def mlstm_step_inplace(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState,
    *,
    input_gate: str,
    normalize: bool,
    eps: float,
    scale: float,
) -> Tensor:
    """One step that overwrites the state, float32 and contiguous; not differentiable."""
    options = (input_gate == "sigmoid", normalize, eps, scale)
    if observed((q, k, v, igate, fgate, *state)):
        return step_inplace(q, k, v, igate, fgate, *state, *options)
    return direct_step(q, k, v, igate, fgate, state, True, *options)[0]
