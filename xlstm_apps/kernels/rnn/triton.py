"""GPU kernels of the recurrences with memory mixing: the `triton` backend.

Two custom operators, `xlstm_apps::rnn_triton_fwd` and `..._bwd`, so that torch.compile and torch.export see one node
each. The kernels are in the `triton_*` modules beside this one; which of them run is decided in `triton_launch.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xlstm_apps.kernels.dispatch import observed
from xlstm_apps.kernels.rnn import triton_launch as launch
from xlstm_apps.kernels.state import STATES, RNNState
from xlstm_apps.kernels.triton_plan import unsupported_type

MAX_HEAD_DIM = 1024


@torch.compiler.assume_constant_result
def _too_old(device: torch.device) -> bool:
    return torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0)


def unsupported(gates, recurrent, bias, state, *, cell: str, **_: object) -> str | None:
    """Reason why these kernels cannot take a call, or None."""
    del cell
    wrong = unsupported_type(gates=gates, recurrent=recurrent, bias=bias)
    if wrong is not None:
        return wrong
    if state is not None and any(x is not None and x.dtype == torch.float64 for x in state):
        return "the state is float64; the kernels keep float32"
    if gates.is_cuda and _too_old(gates.device):
        return "the GPU is older than compute capability 8.0"
    if gates.shape[-1] > MAX_HEAD_DIM:
        return f"head dimension {gates.shape[-1]}; the kernels go up to {MAX_HEAD_DIM}"
    return None


@torch.library.custom_op("xlstm_apps::rnn_triton_fwd", mutates_args=())
def _forward(
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    n0: Tensor | None,
    m0: Tensor | None,
    cell: str,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return launch.forward(gates, recurrent, bias, h0, c0, n0, m0, cell, train)


@_forward.register_fake
def _forward_fake(gates, recurrent, bias, h0, c0, n0, m0, cell, train):
    return launch.allocate_forward(gates, cell, train)


@torch.library.custom_op("xlstm_apps::rnn_triton_bwd", mutates_args=())
def _backward(
    recurrent: Tensor,
    h: Tensor,
    factors: Tensor,
    h0: Tensor | None,
    dh: Tensor,
    dhn: Tensor | None,
    dcn: Tensor | None,
    dmn: Tensor | None,
    cell: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    g, *states = launch.backward(recurrent, h, factors, dh, dhn, dcn, dmn, cell)
    return g, *launch.weight_gradients(g, h, h0, cell), *states


@_backward.register_fake
def _backward_fake(recurrent, h, factors, h0, dh, dhn, dcn, dmn, cell):
    g, *states = launch.allocate_backward(h, cell)
    dr = recurrent.new_empty(recurrent.shape, dtype=torch.float32)
    return g, dr, dr.new_empty(g.shape[2:]), *states


def _setup_context(ctx, inputs, output) -> None:
    gates, recurrent, bias, h0, c0, n0, _, cell, train = inputs
    if not train:
        raise RuntimeError("gradients of xlstm_apps::rnn_triton_fwd need train=True")
    h, _, _, nn, _, factors = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(nn, factors)
    ctx.save_for_backward(recurrent, h, factors, h0, c0, n0)
    ctx.cell, ctx.gates, ctx.dtypes = cell, gates.shape[2], (recurrent.dtype, bias.dtype)


def _vjp(ctx, dh, dhn, dcn, dnn, dmn, dfactors):
    recurrent, h, factors, h0, c0, n0 = ctx.saved_tensors
    if dh is None:
        dh = torch.zeros_like(h)
    g, dr, db, dh0, dc0, dm0 = _backward(recurrent, h, factors, h0, dh, dhn, dcn, dmn, ctx.cell)
    dn0 = None
    if h0 is None:
        dh0 = dc0 = dm0 = None
    elif ctx.cell == "slstm":
        # From (y, l) = (c / n, m + log n) back to (c, n, m); an empty memory has no gradient.
        filled = n0 > 0
        n = torch.where(filled, n0, 1.0)
        dn0 = torch.where(filled, (dm0 - dc0 * c0 / n) / n, 0.0)
        dc0 = torch.where(filled, dc0 / n, 0.0)
        dm0 = torch.where(filled, dm0, 0.0)
    elif ctx.cell == "lstm":
        dm0 = None
    else:
        dc0 = dm0 = None
    dr_dtype, db_dtype = ctx.dtypes
    return g[:, :, : ctx.gates], dr.to(dr_dtype), db.to(db_dtype), dh0, dc0, dn0, dm0, None, None


_forward.register_autograd(_vjp, setup_context=_setup_context)


def rnn(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState | None, *, cell: str
) -> tuple[Tensor, RNNState]:
    """The whole sequence; shapes and options as in `xlstm_apps.kernels.rnn`."""
    dtype = gates.dtype
    if launch.INTERPRETED:
        gates = gates.float()  # Triton's interpreter multiplies the bit patterns of bfloat16
    initial = (None,) * 4 if state is None else tuple(None if x is None else x.float() for x in state)
    inputs = (gates, recurrent, bias, *initial)
    given = tuple(x for x in inputs if x is not None)
    train = torch.is_grad_enabled() and any(x.requires_grad for x in given)
    if train or observed(given):
        h, *last, _ = _forward(*inputs, cell, train)
    else:
        h, *last, _ = launch.run_forward(gates, recurrent, bias, given[3:], cell, False, False)
    return h.to(dtype), RNNState(*last[: len(STATES[cell])])


def rnn_step(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState | None, *, cell: str
) -> tuple[Tensor, RNNState]:
    """One step: a sequence of length 1, in one launch."""
    h, state = rnn(gates[:, None], recurrent, bias, state, cell=cell)
    return h[:, 0], state


@torch.library.custom_op("xlstm_apps::rnn_triton_step_inplace", mutates_args=("state",))
def _step_inplace(gates: Tensor, recurrent: Tensor, bias: Tensor, state: list[Tensor], cell: str) -> Tensor:
    return launch.run_forward(gates[:, None], recurrent, bias, tuple(state), cell, False, True)[0].squeeze(1)


@_step_inplace.register_fake
def _step_inplace_fake(gates, recurrent, bias, state, cell):
    return gates.new_empty(gates.shape[0], *gates.shape[2:])


def rnn_step_inplace(gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState, *, cell: str) -> Tensor:
    """One step that overwrites the state, float32 and contiguous; not differentiable."""
    dtype = gates.dtype
    if launch.INTERPRETED:
        gates = gates.float()
    fields = [x for x in state if x is not None]
    if observed((gates, recurrent, bias, *fields)):
        h = _step_inplace(gates, recurrent, bias, fields, cell)
    else:
        h = launch.run_forward(gates[:, None], recurrent, bias, tuple(fields), cell, False, True)[0].squeeze(1)
    return h.to(dtype)
