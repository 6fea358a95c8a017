"""What the cells' time loops share: layout, blocks of steps, gradients of weights.

Steps run over [H, B, D] matrices, so the recurrent product of all heads is one batched product that adds onto inputs
and biases. A block of steps fits the cache; everything that needs no previous step is done for a block at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xlstm_apps.kernels.rnn import cells
from xlstm_apps.kernels.state import state_dtype

BLOCK_BYTES = 2**20
"""Rough size of the preactivations of one block of steps."""


class Carry(NamedTuple):
    """State, or its gradient, between two segments, [B, H, D] each; fields a cell lacks are None."""

    h: Tensor
    c: Tensor | None
    """c of the LSTM, y of the sLSTM."""
    log_n: Tensor | None
    """l of the sLSTM."""


class Saved(NamedTuple):
    """What the backward pass needs: see `cells`."""

    pre: Tensor
    """[T, H, B, G, D]."""
    h: Tensor
    """[H, T + 1, B, D]: all steps of a head are one matrix, for the gradient of its weights."""
    aux: Tensor
    """[H, T + 1, B, D]; empty for `elman`."""


def _blocks(gates: Tensor) -> list[tuple[int, int]]:
    size = max(1, BLOCK_BYTES // (4 * gates[:, 0].numel()))
    return [(start, min(size, gates.shape[1] - start)) for start in range(0, gates.shape[1], size)]


def _weight(recurrent: Tensor, dtype: torch.dtype) -> Tensor:
    """[H, G * D_out, D_in]."""
    return recurrent.to(dtype).transpose(0, 1).flatten(1, 2).contiguous()


def _heads_first(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy of [B, H, D] as [H, B, D]."""
    return x.transpose(0, 1).to(dtype, copy=True, memory_format=torch.contiguous_format)


def _stays_in_range(gates: Tensor, recurrent: Tensor, bias: Tensor, state: Carry) -> bool:
    """True if exp of every input gate, and their sum over all steps, is known to be a normal number.

    |h| <= max(1, |y_0|), so the input gate is bounded by its input, its bias and the rows of its recurrent matrix.
    """
    if gates.device.type != "cpu":
        return False  # looking would stop the device
    limit = 600.0 if state_dtype(gates, recurrent, bias) == torch.float64 else 60.0
    assert state.c is not None and state.log_n is not None
    size = max(1.0, *(float(x.abs().max()) for x in (state.h, state.c)))
    rest = float(bias[0].abs().max()) + size * float(recurrent[0].abs().sum(-1).max())
    if not (rest <= limit and float(state.log_n.max()) <= limit):
        return False
    # All gates first: that is quicker than the input gate alone, whose numbers are scattered.
    return any(rest + max(map(abs, map(float, x.aminmax()))) <= limit for x in (gates, gates[:, :, 0]))


def forward(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: Carry, cell: str, save: bool
) -> tuple[Tensor, Carry, Saved | None]:
    """Shapes as in `xlstm_apps.kernels.rnn`, the sLSTM's state as (h, y, l)."""
    dtype = state_dtype(gates, recurrent, bias)
    batch, length, count_gates, heads, dim = gates.shape
    blocks = _blocks(gates)
    weight = _weight(recurrent, dtype).mT
    bias = bias.to(dtype).transpose(0, 1).unsqueeze(1)  # [H, 1, G, D]

    kept = length if save else blocks[0][1]
    pre = gates.new_empty(kept, heads, batch, count_gates, dim, dtype=dtype)
    h = gates.new_empty(heads, kept + 1, batch, dim, dtype=dtype)
    aux = torch.empty_like(h) if cell != "elman" else h.new_empty(heads, 0)
    h[:, 0] = state.h.transpose(0, 1)
    if cell != "elman":
        aux[:, 0] = 0.0 if state.c is None else state.c.transpose(0, 1)
    extra: list[Tensor | bool] = []
    if cell == "slstm":
        assert state.log_n is not None
        log_n, linear = _heads_first(state.log_n, dtype), _stays_in_range(gates, recurrent, bias, state)
        extra = [log_n.exp_() if linear else log_n, not linear]

    output = gates.new_empty(batch, length, heads, dim)
    position = 0
    for start, count in blocks:
        # [B, n, G, H, D] -> [n, H, B, G, D]
        inputs = gates[:, start : start + count].permute(1, 3, 0, 2, 4)
        block = pre[position : position + count]
        states, memories = (x[:, position : position + count + 1].transpose(0, 1) for x in (h, aux))
        if cell == "gru":
            torch.add(inputs[..., :2, :], bias[..., :2, :], out=block[..., :2, :])
            torch.add(inputs[..., 2, :], bias[..., 2, :], out=memories[1:])
            block[..., 2, :] = bias[..., 3, :]
        else:
            torch.add(inputs, bias, out=block)
        getattr(cells, f"forward_{cell}")(block, states, memories, weight, *extra)
        output[:, start : start + count] = states[1:].permute(2, 0, 1, 3)
        if save:
            position += count
        else:
            h[:, 0] = states[count]
            if cell in ("slstm", "lstm"):
                aux[:, 0] = memories[count]
    last_c = last_log_n = None
    if state.c is not None:
        last_c = aux[:, position].transpose(0, 1).clone(memory_format=torch.contiguous_format)
    if cell == "slstm":
        norm, logarithmic = extra
        assert isinstance(norm, Tensor)
        last_log_n = (norm if logarithmic else norm.log_()).transpose(0, 1).clone(memory_format=torch.contiguous_format)
    last = Carry(h[:, position].transpose(0, 1).clone(memory_format=torch.contiguous_format), last_c, last_log_n)
    return output, last, Saved(pre, h, aux) if save else None


def backward(
    doutput: Tensor | None,
    dlast: tuple[Tensor | None, Tensor | None, Tensor | None],
    gates: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    saved: Saved,
    cell: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates, recurrent, bias (in the dtype of the arithmetic) and of the initial h, c, l, used or not."""
    pre, h, aux = saved
    batch, _, count_gates, heads, dim = gates.shape
    weight = _weight(recurrent, pre.dtype)
    blocks = _blocks(gates)
    most = blocks[0][1]

    def initial(x: Tensor | None) -> Tensor:
        return pre.new_zeros(heads, batch, dim) if x is None else _heads_first(x, pre.dtype)

    dh_last, dc, dl = (initial(x) for x in dlast)
    # A GRU has no cell: its buffer, zero here, takes what update gates pass on.
    extra = {"slstm": (dc, dl), "lstm": (dc,), "gru": (dc,), "elman": ()}[cell]
    width = 4 if cell == "gru" else count_gates
    rows = count_gates * dim
    dpre, dh = pre.new_empty(heads, most, batch, width, dim), pre.new_empty(most, heads, batch, dim)
    space = cells.Space(dpre, most)
    carry = torch.zeros_like(pre[0]).flatten(2)
    dgates = torch.empty_like(gates, memory_format=torch.contiguous_format)
    dweight, dbias = torch.zeros_like(weight), weight.new_zeros(heads, width * dim)

    for start, count in reversed(blocks):
        steps = slice(start, start + count)
        states, memories = (x[:, start : start + count + 1].transpose(0, 1) for x in (h, aux))
        space.steps, outputs, grads = count, dh[:count], space.dpre[:count]
        if doutput is None:
            outputs.zero_()
        else:
            outputs.copy_(doutput[:, steps].permute(1, 2, 0, 3))
        if start + count == gates.shape[1]:
            outputs[-1] += dh_last
        getattr(cells, f"backward_{cell}")(pre[steps], states, memories, weight, dh, space, carry, *extra)
        carry = grads[0, ..., :count_gates, :].flatten(2).clone()

        # Gradients of the weights: one product for the block.
        flat = dpre[:, :count].flatten(1, 2).flatten(2)
        dweight.baddbmm_(flat[..., :rows].mT, h[:, steps].flatten(1, 2))
        dbias += flat.sum(1)
        target = dgates[:, steps].permute(1, 3, 0, 2, 4)
        if cell == "gru":
            target[..., :2, :], target[..., 2, :] = grads[..., :2, :], grads[..., 3, :]
        else:
            target.copy_(grads)

    dh0 = torch.bmm(carry, weight)
    if cell == "gru":
        dh0 += extra[0]
    dweight = dweight.unflatten(1, (count_gates, dim)).transpose(0, 1).contiguous()
    dbias = dbias.unflatten(1, (width, dim)).transpose(0, 1)
    # The GRU's two biases of the new gate: input side, then recurrent side.
    dbias = dbias[[0, 1, 3, 2]] if cell == "gru" else dbias.contiguous()
    dh0, dc, dl = (x.transpose(0, 1).contiguous() for x in (dh0, dc, dl))
    return dgates, dweight, dbias, dh0, dc, dl
