"""Documents packed in one row, computed as padded batches of documents of similar length.

A padded step has an input gate of 0 and a forget gate of 1, so it changes neither the memory nor any gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xlstm_apps.kernels.mlstm import chunkwise
from xlstm_apps.kernels.state import MLSTMState, allocate_memory, state_dtype


@dataclass(frozen=True)
class _Batch:
    rows: Tensor
    """Documents in it, [N]."""
    index: Tensor
    """Their steps in the packed row, [N, longest]; the last one repeated where a document has ended."""
    inside: Tensor
    """Where it has not, [N, longest]."""

    def take(self, x: Tensor, padding: float | None = None) -> Tensor:
        """[1, T, ...] -> [N, longest, ...]."""
        taken = x[0][self.index]
        if padding is None:
            return taken
        return torch.where(self.inside.view(*self.inside.shape, *[1] * (taken.dim() - 2)), taken, padding)

    def put(self, x: Tensor, target: Tensor) -> None:
        """[N, longest, ...] into its place in [1, T, ...]."""
        target[0, self.index[self.inside]] = x[self.inside].to(target.dtype)

    def inputs(
        self, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        never, always = float("-inf"), float("inf")
        return self.take(q), self.take(k), self.take(v), self.take(igate, never), self.take(fgate, always)

    def state(self, state: MLSTMState | None) -> MLSTMState | None:
        return None if state is None else MLSTMState(state.c[self.rows], state.n[self.rows], state.m[self.rows])


def _batches(cu_seqlens: Tensor) -> list[_Batch]:
    """Documents grouped by length between powers of two, so that less than half of a batch is padding."""
    borders = cu_seqlens.long()
    lengths = borders.diff()
    classes: dict[int, list[int]] = {}
    for row, length in enumerate(lengths.tolist()):
        classes.setdefault((length - 1).bit_length(), []).append(row)
    batches = []
    for members in classes.values():
        rows = torch.tensor(members, device=borders.device)
        length = lengths[rows]
        steps = torch.arange(int(length.max()), device=borders.device)
        index = borders[rows][:, None] + torch.minimum(steps, length[:, None] - 1)
        batches.append(_Batch(rows, index, steps < length[:, None]))
    return batches


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    cu_seqlens: Tensor,
    options: chunkwise.Options,
) -> tuple[Tensor, MLSTMState]:
    """`chunkwise.forward` per document; q, k, v, gates [1, T, ...], state [N, ...]."""
    h = torch.empty_like(v, memory_format=torch.contiguous_format)
    last = allocate_memory(q, v, len(cu_seqlens) - 1, state_dtype(q, k, v, igate, fgate))
    for batch in _batches(cu_seqlens):
        inputs = batch.inputs(q, k, v, igate, fgate)
        part, part_last, _ = chunkwise.forward(*inputs, batch.state(state), options, save=False)
        batch.put(part, h)
        for target, x in zip(last, part_last, strict=True):
            target[batch.rows] = x
    return h, last


def backward(
    dh: Tensor | None,
    dstate: tuple[Tensor | None, Tensor | None, Tensor | None],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    cu_seqlens: Tensor,
    options: chunkwise.Options,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, MLSTMState]:
    """`chunkwise.backward` per document. Computes the forward pass anew rather than keep all its padded memories."""
    dq, dk, dv, di, df = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v, igate, fgate))
    dstate0 = allocate_memory(q, v, len(cu_seqlens) - 1, state_dtype(q, k, v, igate, fgate))
    for batch in _batches(cu_seqlens):
        inputs, memory = batch.inputs(q, k, v, igate, fgate), batch.state(state)
        h, _, saved = chunkwise.forward(*inputs, memory, options, save=True)
        assert saved is not None
        *parts, part_state = chunkwise.backward(
            None if dh is None else batch.take(dh, 0.0),
            (
                None if dstate[0] is None else dstate[0][batch.rows],
                None if dstate[1] is None else dstate[1][batch.rows],
                None if dstate[2] is None else dstate[2][batch.rows],
            ),
            *inputs,
            memory,
            h,
            saved,
            options,
        )
        for part, target in zip(parts, (dq, dk, dv, di, df), strict=True):
            batch.put(part, target)
        for part, target in zip(part_state, dstate0, strict=True):
            target[batch.rows] = part
    return dq, dk, dv, di, df, dstate0
