"""`rnn` and `rnn_step`: what callers use. Arguments are checked here and nowhere else."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from xlstm_apps.kernels.checks import check_floats
from xlstm_apps.kernels.dispatch import choose, full_precision
from xlstm_apps.kernels.state import STATES, RNNState, check_overwritable, overwrite, state_dtype

Cell = Literal["slstm", "lstm", "gru", "elman"]

GATES = {"slstm": 4, "lstm": 4, "gru": 3, "elman": 1}
"""Number of gates per cell."""


@overload
def rnn(
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    state: RNNState | None = None,
    *,
    cell: Cell = "slstm",
    return_state: Literal[False] = False,
    backend: str = "auto",
) -> Tensor: ...
@overload
def rnn(
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    state: RNNState | None = None,
    *,
    cell: Cell = "slstm",
    return_state: Literal[True],
    backend: str = "auto",
) -> tuple[Tensor, RNNState]: ...
def rnn(
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    state: RNNState | None = None,
    *,
    cell: Cell = "slstm",
    return_state: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, RNNState]:
    r"""Recurrence with memory mixing: every gate sees the previous output of its own head.

    With p_g = gates_g + recurrent_g h_{t-1} + bias_g:

    - `slstm`: gates input, forget, cell input z, output. c_t = sigmoid(f) c_{t-1} + exp(i) tanh(z),
      n_t = sigmoid(f) n_{t-1} + exp(i), h_t = sigmoid(o) c_t / n_t, computed without overflow
      (Beck et al., arXiv 2405.04517, equations 8 to 18).
    - `lstm`: the same order; c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(z), h_t = sigmoid(o) tanh(c_t).
    - `gru`: gates reset, update, new as in `torch.nn.GRU`;
      h_t = (1 - z) tanh(gates_n + b_n + r (R_n h_{t-1} + b_rn)) + z h_{t-1}.
    - `elman`: one gate, h_t = tanh(p).

    Gradients are the true ones, of every tensor including the initial state and through the final one.

    Args:
        gates: Projected inputs, [B, T, G, H, D]. Any strides.
        recurrent: Recurrent weights, [G, H, D_out, D_in]: block-diagonal over heads; H = 1 is a dense matrix.
        bias: [G, H, D]; for `gru` [4, H, D] = reset, update, new (input side), new (recurrent side).
        state: Memory before the first step; None is the empty one.
        cell: `slstm`, `lstm`, `gru` or `elman`.
        return_state: Also return the memory after the last step.
        backend: `auto`, `reference`, `torch` or `triton`; the environment variable XLSTM_APPS_BACKEND overrides it.

    Returns:
        h [B, T, H, D] in the type of gates; with `return_state`, also the `RNNState`.

    Raises:
        ValueError: Shapes, types or devices do not fit together, or the backend cannot take the call.
    """
    _check(gates, recurrent, bias, state, cell, time=True)
    args = (gates, recurrent, bias, state)
    with full_precision(gates):
        h, last = choose("rnn", backend, args, {"cell": cell}).rnn(*args, cell=cell)
    return (h, last) if return_state else h


def rnn_step(
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    state: RNNState | None = None,
    *,
    cell: Cell = "slstm",
    inplace: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, RNNState]:
    """One time step of `rnn`.

    Args:
        gates: Projected inputs, [B, G, H, D].
        recurrent: As in `rnn`.
        bias: As in `rnn`.
        state: Memory so far; None is the empty one. It is not modified unless `inplace`.
        cell: As in `rnn`.
        inplace: Write the new memory over `state`, which must be contiguous and of the type states have. Not
            differentiable.
        backend: As in `rnn`.

    Returns:
        h [B, H, D] in the type of gates, and the memory after the step: `state` itself if `inplace`.

    Raises:
        ValueError: As `rnn`.
    """
    _check(gates, recurrent, bias, state, cell, time=False)
    args = (gates, recurrent, bias, state)
    if inplace:
        check_overwritable(state, state_dtype(gates, recurrent, bias), args[:3])
    with full_precision(gates):
        module = choose("rnn", backend, args, {"cell": cell})
        if not inplace:
            return module.rnn_step(*args, cell=cell)
        assert state is not None
        if hasattr(module, "rnn_step_inplace"):
            return module.rnn_step_inplace(*args, cell=cell), state
        h, new = module.rnn_step(*args, cell=cell)
        overwrite(state, new)
        return h, state


def _check(gates: Tensor, recurrent: Tensor, bias: Tensor, state: RNNState | None, cell: str, *, time: bool) -> None:
    if cell not in GATES:
        raise ValueError(f"cell must be one of {', '.join(GATES)}, not {cell!r}")
    layout, rank = ("[B, T, G, H, D]", 5) if time else ("[B, G, H, D]", 4)
    if gates.dim() != rank:
        raise ValueError(f"gates must have shape {layout}, not {list(gates.shape)}")
    count, heads, dim = gates.shape[-3:]
    if count != GATES[cell]:
        raise ValueError(f"cell {cell} has {GATES[cell]} gates, but gates {list(gates.shape)} hold {count}: {layout}")
    if gates.numel() == 0:
        raise ValueError(f"gates {list(gates.shape)} must not have a size of 0")
    if tuple(recurrent.shape) != (count, heads, dim, dim):
        raise ValueError(
            f"recurrent must have shape [G, H, D_out, D_in] = {[count, heads, dim, dim]}, not {list(recurrent.shape)}"
        )
    rows = 4 if cell == "gru" else count
    if tuple(bias.shape) != (rows, heads, dim):
        raise ValueError(f"bias of cell {cell} must have shape {[rows, heads, dim]}, not {list(bias.shape)}")
    tensors = {"gates": gates, "recurrent": recurrent, "bias": bias}
    if state is not None:
        for name, x in state._asdict().items():
            if name not in STATES[cell]:
                if x is not None:
                    raise ValueError(f"cell {cell} has no state.{name}: it must be None")
                continue
            if x is None:
                raise ValueError(f"state.{name} is None, but cell {cell} needs {', '.join(STATES[cell])}")
            if tuple(x.shape) != (gates.shape[0], heads, dim):
                raise ValueError(f"state.{name} must have shape {[gates.shape[0], heads, dim]}, not {list(x.shape)}")
            tensors[f"state.{name}"] = x
    check_floats(tensors)
