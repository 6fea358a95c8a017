"""GPU kernels of the mLSTM: the `triton` backend.

Two custom operators, `xlstm_apps::mlstm_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see one node
each. The kernels are in the `triton_*` modules beside this one; which tiles they use is in `triton_launch.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.mlstm import triton_launch as launch
from xlstm_apps.kernels.mlstm.triton_step import step
from xlstm_apps.kernels.state import MLSTMState

MAX_HEAD_DIM = 512
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def unsupported(q, k, v, igate, fgate, state, **options: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    del options
    for name, x in (("q", q), ("k", k), ("v", v), ("igate", igate), ("fgate", fgate)):
        if x.dtype not in DTYPES:
            return f"{name} is {x.dtype}; the kernels take float32, bfloat16 and float16"
    if state is not None and any(x.dtype == torch.float64 for x in state):
        return "the state is float64; the kernels keep float32"
    if max(q.shape[-1], v.shape[-1]) > MAX_HEAD_DIM:
        return f"head dimensions {q.shape[-1]} and {v.shape[-1]}; the kernels go up to {MAX_HEAD_DIM}"
    return None


def _run_forward(q, k, v, igate, fgate, c0, n0, m0, cu_seqlens, *options):
    *options, save = options
    return launch.forward(launch.Call(q, k, v, igate, fgate, cu_seqlens, *options), c0, n0, m0, save)


def _run_backward(
    q, k, v, igate, fgate, h, c, n, saved, cu_seqlens, dh, dc, dn, dm, has_state, needs_dstate, *options
):  # fmt: skip
    call = launch.Call(q, k, v, igate, fgate, cu_seqlens, *options)
    return launch.backward(call, h, c, n, saved, dh, dc, dn, dm, has_state, needs_dstate)


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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    call = launch.Call(q, k, v, igate, fgate, cu_seqlens, sigmoid, normalize, eps, scale, chunk_size)
    output = launch.forward(call, c0, n0, m0, save)
    return output if save else (*output[:4], *call.placeholders())


@_forward.register_fake
def _forward_fake(q, k, v, igate, fgate, c0, n0, m0, cu_seqlens, sigmoid, normalize, eps, scale, chunk_size, save):
    call = launch.Call(q, k, v, igate, fgate, cu_seqlens, sigmoid, normalize, eps, scale, chunk_size, fake=True)
    return call.allocate_outputs(save)


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
    saved: list[Tensor],
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
    return _run_backward(
        q, k, v, igate, fgate, h, c, n, saved, cu_seqlens, dh, dc, dn, dm, has_state, needs_dstate, sigmoid, normalize,
        eps, scale, chunk_size,
    )  # fmt: skip


@_backward.register_fake
def _backward_fake(
    q, k, v, igate, fgate, h, c, n, saved, cu_seqlens, dh, dc, dn, dm, has_state, needs_dstate, sigmoid, normalize, eps,
    scale, chunk_size,
):  # fmt: skip
    call = launch.Call(q, k, v, igate, fgate, cu_seqlens, sigmoid, normalize, eps, scale, chunk_size, fake=True)
    return call.allocate_backward(needs_dstate)


def _save(ctx, inputs, output) -> None:
    q, k, v, igate, fgate, c0, _, _, cu_seqlens, *options, _ = inputs
    h, c, n, _, *saved = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, igate, fgate, h, c, n, cu_seqlens, *saved)
    ctx.options = options
    ctx.has_state = c0 is not None
    ctx.needs_dstate = any(ctx.needs_input_grad[5:8])


def _setup_context(ctx, inputs, output) -> None:
    _save(ctx, inputs, output)
    ctx.mark_non_differentiable(*output[4:])


def _vjp(ctx, dh, dc=None, dn=None, dm=None, *_, backward=_backward):
    q, k, v, igate, fgate, h, c, n, cu_seqlens, *saved = ctx.saved_tensors
    if dh is None:
        dh = torch.zeros_like(h)
    if dc is not None or dn is not None or dm is not None:
        dc = torch.zeros_like(c) if dc is None else dc
        dn = torch.zeros_like(n) if dn is None else dn
        dm = torch.zeros_like(n[..., 0]) if dm is None else dm
    gradients = backward(
        q, k, v, igate, fgate, h, c, n, saved, cu_seqlens, dh, dc, dn, dm, ctx.has_state, ctx.needs_dstate, *ctx.options
    )
    states = gradients[5:] if ctx.needs_dstate else (None, None, None)
    return *gradients[:5], *states, *(None,) * 7


_forward.register_autograd(_vjp, setup_context=_setup_context)


class _Direct(torch.autograd.Function):
    """The same operator without the dispatcher, whose bookkeeping takes longer than the kernels of small calls."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _run_forward(*inputs)
        _save(ctx, inputs, output)
        return output[:4]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        return _vjp(ctx, *gradients, backward=_run_backward)


def _operator(save: bool, *tensors: Tensor):
    """How to run the forward: as a registered operator where something may want to see one, else directly."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return _forward
    if not all(type(x) is Tensor or type(x) is torch.nn.Parameter for x in tensors):
        return _forward
    return _Direct.apply if save else _run_forward


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
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    if launch.INTERPRETED:
        dtype = torch.float32  # Triton's interpreter multiplies the bit patterns of bfloat16
    c0, n0, m0 = (None, None, None) if state is None else (x.float() for x in state)
    h_dtype = v.dtype
    if not q.dtype == k.dtype == v.dtype == dtype:
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    tensors = (q, k, v, igate, fgate) if state is None else (q, k, v, igate, fgate, c0, n0, m0)
    save = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    h, c, n, m, *_ = _operator(save, *tensors)(
        q, k, v, igate, fgate, c0, n0, m0, cu_seqlens,
        input_gate == "sigmoid", normalize, eps, scale, chunk_size or 0, save,
    )  # fmt: skip
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
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v, igate, fgate, *(state or ()))):
        # A sequence of one: the decoding kernel has no backward.
        h, state = mlstm(
            *(x.unsqueeze(1) for x in (q, k, v, igate, fgate)), state, input_gate=input_gate, normalize=normalize,
            eps=eps, scale=scale, cu_seqlens=None, chunk_size=None,
        )  # fmt: skip
        return h.squeeze(1), state
    c, n, m = (None, None, None) if state is None else (x.float() for x in state)
    h, *new = step(q, k, v, igate, fgate, c, n, m, input_gate == "sigmoid", normalize, eps, scale)
    return h, MLSTMState(*new)
