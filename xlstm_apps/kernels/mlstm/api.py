"""`mlstm` and `mlstm_step`: what callers use. Arguments are checked here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, overload

import torch
from torch import Tensor

from xlstm_apps.kernels.checks import check_floats
from xlstm_apps.kernels.dispatch import ENVIRONMENT_VARIABLE, choose, full_precision, observed
from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.state import MLSTMState, check_overwritable, memory_shapes, overwrite, state_dtype

InputGate = Literal["exp", "sigmoid"]
Backend = Literal["auto", "reference", "torch", "triton"]


@overload
def mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None = None,
    *,
    input_gate: InputGate = "exp",
    normalize: bool = True,
    eps: float = 1e-6,
    scale: float | None = None,
    cu_seqlens: Tensor | None = None,
    chunk_size: int | None = None,
    return_state: Literal[False] = False,
    backend: str = "auto",
) -> Tensor: ...
@overload
def mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None = None,
    *,
    input_gate: InputGate = "exp",
    normalize: bool = True,
    eps: float = 1e-6,
    scale: float | None = None,
    cu_seqlens: Tensor | None = None,
    chunk_size: int | None = None,
    return_state: Literal[True],
    backend: str = "auto",
) -> tuple[Tensor, MLSTMState]: ...
def mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None = None,
    *,
    input_gate: InputGate = "exp",
    normalize: bool = True,
    eps: float = 1e-6,
    scale: float | None = None,
    cu_seqlens: Tensor | None = None,
    chunk_size: int | None = None,
    return_state: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, MLSTMState]:
    r"""Matrix-memory recurrence over whole sequences (Beck et al., arXiv 2405.04517, equations 19 to 27).

    With the default exponential input gate, per batch row and head:

        m_t = max(log sigmoid(f_t) + m_{t-1}, i_t)
        F_t = exp(log sigmoid(f_t) + m_{t-1} - m_t),  I_t = exp(i_t - m_t)
        C_t = F_t C_{t-1} + I_t (scale k_t) v_t^T,    n_t = F_t n_{t-1} + I_t scale k_t
        h_t = q_t C_t / (max(|q_t n_t|, exp(-m_t)) + eps)

    With `input_gate="sigmoid"`, F = sigmoid(f), I = sigmoid(i), m plays no part and the 1 replaces exp(-m_t).
    Gradients are the true ones, of every tensor including the initial state and through the final one.

    Args:
        q: Queries, [B, T, H, K]. Any strides: the layout a projection leaves needs no copy.
        k: Keys, [B, T, H, K].
        v: Values, [B, T, H, V].
        igate: Input gates before activation, [B, T, H].
        fgate: Forget gates before activation, [B, T, H].
        state: Memory before the first step; None is the empty one. With `cu_seqlens`, one row per document.
        input_gate: `exp` or `sigmoid`.
        normalize: Divide by the normaliser; without it h_t = exp(m_t) q_t C_t, the memory at its true scale.
        eps: Added to the normaliser.
        scale: Factor on the keys; K ** -0.5 unless given.
        cu_seqlens: Packs documents of unequal length into one row (B = 1): their N + 1 borders, int32 or int64, first
            0, last T, increasing. Every document starts from its own memory.
        chunk_size: Steps handled at once, a hint for speed; results do not depend on it.
        return_state: Also return the memory after the last step.
        backend: `auto`, `reference`, `torch` or `triton`; the environment variable XLSTM_APPS_BACKEND overrides it.

    Returns:
        h [B, T, H, V] in the type of v; with `return_state`, also the `MLSTMState` (one row per packed document).

    Raises:
        ValueError: Shapes, types or devices do not fit together, or the backend cannot take the call.
    """
    kind = None
    if state is None and cu_seqlens is None and not return_state and not observed((q, k, v, igate, fgate)):
        # Everything that checks and choice below depend on: calls alike were checked, and go a shorter way.
        kind = (
            q.shape, k.shape, v.shape, igate.shape, fgate.shape, q.stride(), k.stride(), v.stride(), igate.stride(),
            fgate.stride(), q.dtype, k.dtype, v.dtype, igate.dtype, fgate.dtype, q.device, k.device, v.device,
            igate.device, fgate.device, input_gate, normalize, eps, scale, chunk_size, backend,
            os.environ.get(ENVIRONMENT_VARIABLE),
        )  # fmt: skip
        run = _prepared.get(kind)
        if run is not None:
            return run(q, k, v, igate, fgate)
    _check_tensors(q, k, v, igate, fgate, time=True)
    documents = None if cu_seqlens is None else _check_borders(cu_seqlens, q)
    _check_state(state, q, v, q.shape[0] if documents is None else documents)
    _check_options(input_gate, eps, scale)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be positive, not {chunk_size}; leave it out for the default")
    options = {
        "input_gate": input_gate,
        "normalize": normalize,
        "eps": float(eps),
        "scale": q.shape[-1] ** -0.5 if scale is None else float(scale),
        "cu_seqlens": cu_seqlens,
        "chunk_size": chunk_size,
    }
    args = (q, k, v, igate, fgate, state)
    module = choose("mlstm", backend, args, options)
    if kind is not None and hasattr(module, "prepare"):
        del options["cu_seqlens"]
        run = module.prepare(*args[:5], **options)
        if run is not None:
            _prepared[kind] = run
            return run(q, k, v, igate, fgate)
        options["cu_seqlens"] = None
    with full_precision(q):
        h, last = module.mlstm(*args, **options)
    return (h, last) if return_state else h


_prepared: Kinds[Callable[..., Tensor]] = Kinds()


def mlstm_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None = None,
    *,
    input_gate: InputGate = "exp",
    normalize: bool = True,
    eps: float = 1e-6,
    scale: float | None = None,
    inplace: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, MLSTMState]:
    """One time step of `mlstm`, for generation.

    Args:
        q: Queries, [B, H, K].
        k: Keys, [B, H, K].
        v: Values, [B, H, V].
        igate: Input gates before activation, [B, H].
        fgate: Forget gates before activation, [B, H].
        state: Memory so far; None is the empty one. It is not modified unless `inplace`.
        input_gate: As in `mlstm`.
        normalize: As in `mlstm`.
        eps: As in `mlstm`.
        scale: As in `mlstm`.
        inplace: Write the new memory over `state`, which must be contiguous and of the type states have. Half the
            traffic, and always the same addresses, as a CUDA graph needs them. Not differentiable.
        backend: As in `mlstm`.

    Returns:
        h [B, H, V] in the type of v, and the memory after the step: `state` itself if `inplace`.

    Raises:
        ValueError: As `mlstm`.
    """
    _check_tensors(q, k, v, igate, fgate, time=False)
    _check_state(state, q, v, q.shape[0])
    _check_options(input_gate, eps, scale)
    options = {
        "input_gate": input_gate,
        "normalize": normalize,
        "eps": float(eps),
        "scale": q.shape[-1] ** -0.5 if scale is None else float(scale),
    }
    args = (q, k, v, igate, fgate, state)
    if inplace:
        check_overwritable(state, state_dtype(q, k, v, igate, fgate), args[:5])
    with full_precision(q):
        module = choose("mlstm", backend, args, options)
        if not inplace:
            return module.mlstm_step(*args, **options)
        assert state is not None
        if hasattr(module, "mlstm_step_inplace"):
            return module.mlstm_step_inplace(*args, **options), state
        h, new = module.mlstm_step(*args, **options)
        overwrite(state, new)
        return h, state


def _check_tensors(q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, *, time: bool) -> None:
    layout, gate_layout, rank = ("[B, T, H, K]", "[B, T, H]", 4) if time else ("[B, H, K]", "[B, H]", 3)
    # Each property of a tensor is asked for once: that takes a while, and small calls are short.
    shape, v_shape = q.shape, v.shape
    if len(shape) != rank:
        raise ValueError(f"q must have shape {layout}, not {list(shape)}")
    if k.shape != shape:
        raise ValueError(f"k must have the shape of q, {list(shape)}, not {list(k.shape)}")
    leading = shape[:-1]
    if len(v_shape) != rank or v_shape[:-1] != leading:
        layout = layout.replace("K", "V")
        raise ValueError(f"v must have shape {layout} with the leading sizes of q {list(shape)}, not {list(v_shape)}")
    for name, gate in (("igate", igate), ("fgate", fgate)):
        if gate.shape != leading:
            raise ValueError(f"{name} must have shape {gate_layout} = {list(leading)}, not {list(gate.shape)}")
    if q.numel() == 0 or v.numel() == 0:
        raise ValueError(f"q {list(shape)} and v {list(v_shape)} must not have a size of 0")
    check_floats({"q": q, "k": k, "v": v, "igate": igate, "fgate": fgate})


def _check_state(state: MLSTMState | None, q: Tensor, v: Tensor, batch: int) -> None:
    if state is None:
        return
    if len(state) != 3:
        raise ValueError(f"state must be an MLSTMState (c, n, m), not {len(state)} tensors")
    for (name, shape), x in zip(memory_shapes(q, v, batch).items(), state, strict=True):
        if tuple(x.shape) != shape:
            raise ValueError(f"state.{name} must have shape {list(shape)}, not {list(x.shape)}")
        if x.device != q.device:
            raise ValueError(f"state.{name} is on {x.device} but q is on {q.device}: move them to one device")
        if not x.is_floating_point():
            raise ValueError(f"state.{name} must be {state_dtype(q, v)}, not {x.dtype}")


def _check_options(input_gate: str, eps: float, scale: float | None) -> None:
    if input_gate not in ("exp", "sigmoid"):
        raise ValueError(f"input_gate must be 'exp' or 'sigmoid', not {input_gate!r}")
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, but is {eps}")
    if scale is not None and not abs(scale) < float("inf"):
        raise ValueError(f"scale must be a finite number, not {scale}")


def _check_borders(cu_seqlens: Tensor, q: Tensor) -> int:
    """Number of documents."""
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 2 or cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            "cu_seqlens must be a vector of at least two borders, int32 or int64, "
            f"not {cu_seqlens.dtype} of shape {list(cu_seqlens.shape)}"
        )
    if q.shape[0] != 1:
        raise ValueError(f"cu_seqlens needs all documents packed in one row (B = 1), but q has B = {q.shape[0]}")
    if not torch.compiler.is_compiling():  # values are not known while a graph is traced
        borders = cu_seqlens.tolist()
        if borders[0] != 0 or borders[-1] != q.shape[1]:
            raise ValueError(f"cu_seqlens must run from 0 to T = {q.shape[1]}, not from {borders[0]} to {borders[-1]}")
        for start, end in pairwise(borders):
            if end <= start:
                raise ValueError(f"cu_seqlens must increase, but {end} follows {start}: leave empty documents out")
    return cu_seqlens.numel() - 1
