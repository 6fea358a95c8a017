r"""Chunkwise mLSTM, forward and its exact backward, in plain torch: linear in T, a few batched products per block.

With the weights of `gates.py`, S = (Q K^T) o D the weighted scores of a chunk (lower triangle), V' = [V, 1] and
C' = [C, n] the memory at its start, in units of its own stabiliser:

    [U, u] = S V' + (a o Q) C'           h = U / (max(|u|, exp(-m)) + eps)
    C'_next = g C' + (w o K)^T V'

The column of ones carries the normaliser through the same products. Backward, with dU = dh / den and
du = -(dh . h) / den sign(u) [|u| > exp(-m)] as the gradient of that last column,

    dS = (dU' V'^T) o D      dC' = g dC'_next + (a o Q)^T dU'
    dQ = dS K + a o (dU' C'^T)     dK = dS^T Q + w o (V' dC'_next^T)     dV = S^T dU + (w o K) dC_next
    di = k . dk              d log f_t = sum_{s>=t in chunk} (q_s . dq_s - k_s . dk_s) + <dC'_next, C'_next>

The last line starts afresh in every chunk from the product of memory and its gradient, so rounding does not pile up.
Chunks are taken in blocks that fit the cache; all chunks, heads and rows of a block share one batched product.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from xlstm_apps.kernels.mlstm import gates as gate_scan
from xlstm_apps.kernels.mlstm.reference import GATE_FLOOR
from xlstm_apps.kernels.state import MLSTMState, state_dtype

BLOCK_BYTES = 12 * 2**20
"""Rough size of the working set of one block of chunks."""
KEPT_BYTES = 2 * 2**20
"""Largest buffer kept from one call to the next, per thread; there are a dozen of them."""
NOTHING = math.exp(gate_scan.LOG_NOTHING)
"""Weights up to this are none."""


class Options(NamedTuple):
    exponential: bool
    """Exponential input gates, else sigmoid."""
    normalize: bool
    eps: float
    scale: float
    size: int
    """Steps per chunk."""


class Saved(NamedTuple):
    """What the backward pass needs beside the inputs and the output."""

    memory: Tensor
    """[C, n] at the start of every chunk and at the end, [NC + 1, B, H, K, V + 1]."""
    reading: Tensor
    """q . n, [B, T, H]."""


@dataclass(frozen=True)
class _Block:
    """A run of `count` chunks of `length` steps from chunk `first`, step `start`."""

    first: int
    count: int
    start: int
    length: int

    def chunks(self, x: Tensor) -> Tensor:
        """[NC, B, H, L or 1] -> view [nc, B, H, this block's L or 1]."""
        return x[self.first : self.first + self.count, ..., : self.length]

    def of(self, x: Tensor) -> Tensor:
        """[B, T, H, ...] -> view [nc, B, H, L, ...]."""
        part = x[:, self.start : self.start + self.count * self.length].unflatten(1, (self.count, self.length))
        return part.permute(1, 0, 3, 2, *range(4, part.dim()))


class _Workspace:
    """Buffers reused from block to block and, small ones on the CPU, from call to call.

    Fresh memory costs a page fault every 4 KB, a tenth of the whole time.
    """

    kept = threading.local()

    def __init__(self, like: Tensor, dtype: torch.dtype):
        self.like, self.dtype = like, dtype
        self.own: dict[str, Tensor] = {}
        shared: dict[tuple[str, torch.dtype], Tensor] = {}
        self.shared = self.kept.__dict__.setdefault("buffers", shared) if like.device.type == "cpu" else None

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Uninitialised buffer of this shape; the same memory whenever the name is the same."""
        size = math.prod(shape)
        if self.shared is not None and size * self.dtype.itemsize <= KEPT_BYTES:
            buffer = self.shared.get((name, self.dtype))
            if buffer is None or buffer.numel() < size:
                with torch.inference_mode(False):  # what is made in inference mode could not be written to outside it
                    buffer = torch.empty(size, dtype=self.dtype, device=self.like.device)
                self.shared[name, self.dtype] = buffer
        else:
            buffer = self.own.get(name)
            if buffer is None or buffer.numel() < size:
                buffer = self.own[name] = self.like.new_empty(size, dtype=self.dtype)
        return buffer[:size].view(shape)


def _blocks(q: Tensor, v: Tensor, size: int) -> list[_Block]:
    batch, length, heads, key_dim = q.shape
    unit = 4 * (size * (3 * key_dim + 3 * v.shape[-1] + 2 * size) + 2 * key_dim * v.shape[-1])
    most = max(1, BLOCK_BYTES // (unit * batch * heads))
    full = length // size
    blocks = [_Block(c, min(most, full - c), c * size, size) for c in range(0, full, most)]
    if length % size:
        blocks.append(_Block(full, 1, full * size, length % size))
    return blocks


class _Inputs(NamedTuple):
    """One block, weighted, as batches of matrices; N = chunks x B x H."""

    queries: Tensor
    """[N, L, K]."""
    keys: Tensor
    """[N, L, K]."""
    values: Tensor
    """[v, 1], [N, L, V + 1]."""
    read: Tensor
    """Further weight on queries for the memory, [N, L or 1, 1]."""
    written: Tensor
    """Keys as the memory gets them, [N, L, K]."""
    write: Tensor
    """Their further weight, [N, L or 1, 1]."""
    pairs: Tensor | None
    """Lower triangle of the weights that the factors on q and k leave over, [N, L, L]; None if they leave nothing."""


def _load(space: _Workspace, block: _Block, q: Tensor, k: Tensor, v: Tensor, weights: gate_scan.Weights) -> _Inputs:
    row, column = block.chunks(weights.query)[..., None], block.chunks(weights.key)[..., None]
    shape = row.shape[:-1]
    queries = torch.mul(block.of(q), row, out=space("queries", *shape, q.shape[-1])).flatten(0, 2)
    keys = torch.mul(block.of(k), column, out=space("keys", *shape, k.shape[-1])).flatten(0, 2)
    values = space("values", *shape, v.shape[-1] + 1)
    values[..., :-1].copy_(block.of(v))
    values[..., -1:].fill_(1.0)
    read = block.chunks(weights.memory).flatten(0, 2)[..., None]
    write = block.chunks(weights.write).flatten(0, 2)[..., None]
    written = torch.mul(keys, write, out=space("written", *keys.shape))
    return _Inputs(queries, keys, values.flatten(0, 2), read, written, write, _pairs(space, block, weights))


def _pairs(space: _Workspace, block: _Block, weights: gate_scan.Weights) -> Tensor | None:
    if weights.pair is None:
        return None
    rows, columns = (block.chunks(x).flatten(0, 2) for x in weights.pair)
    pairs = space("pairs", *rows.shape, rows.shape[-1])
    return between(torch.add(rows[..., :, None], columns[..., None, :], out=pairs))


def between(pairs: Tensor) -> Tensor:
    """Weights of pairs of steps from their exponents [..., L, L], which are overwritten."""
    return torch.threshold_(pairs.exp_().tril_(), NOTHING, 0.0)


def weigh(scores: Tensor, pairs: Tensor | None) -> Tensor:
    """Scores [N, L, L] times the weights that are left, those of later steps cut off; in place."""
    # The upper triangle may have overflowed: it must be cut, not multiplied, away.
    return scores.tril_() if pairs is None else scores.nan_to_num_().mul_(pairs)


def _output_weight(m: Tensor, reading: Tensor, options: Options) -> tuple[Tensor, Tensor | None]:
    """Factor from U to h and, if there is a normaliser, the floor it had; all [nc, B, H, L]."""
    if not options.normalize:
        return torch.exp(m).to(reading.dtype), None
    floor = torch.exp(-m).to(reading.dtype)
    return torch.maximum(reading.abs(), floor).add_(options.eps).reciprocal_(), floor


def _split(memory: Tensor) -> tuple[Tensor, Tensor]:
    """Copies of C and n from [C, n]."""
    contiguous = torch.contiguous_format
    return memory[..., :-1].clone(memory_format=contiguous), memory[..., -1].clone(memory_format=contiguous)


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    options: Options,
    save: bool,
) -> tuple[Tensor, MLSTMState, Saved | None]:
    """Shapes as in `xlstm_apps.kernels.mlstm`; `save` keeps what `backward` needs."""
    dtype = state_dtype(q, k, v, igate, fgate)
    batch, length, heads, key_dim, value_dim = *q.shape, v.shape[-1]
    gates = gate_scan.scan(igate, fgate, None if state is None else state.m, options.size, options.exponential)
    weights = gate_scan.weights(gates, options.scale, dtype)
    decay = gates.decay.to(dtype)[..., None, None]
    blocks = _blocks(q, v, options.size)
    space = _Workspace(q, dtype)

    kept = gates.c.shape[0] if save else max(block.count for block in blocks)
    memory = q.new_empty(kept + 1, batch, heads, key_dim, value_dim + 1, dtype=dtype)
    if state is None:
        memory[0].zero_()
    else:
        memory[0, ..., :-1], memory[0, ..., -1] = state.c, state.n
    h = v.new_empty(batch, length, heads, value_dim)
    readings = q.new_empty(batch, length, heads, dtype=dtype) if save else None

    position = 0
    for block in blocks:
        x = _load(space, block, q, k, v, weights)
        before = memory[position : position + block.count]
        after = memory[position + 1 : position + 1 + block.count]
        torch.bmm(x.written.mT, x.values, out=after.flatten(0, 2))
        for index in range(block.count):
            after[index].addcmul_(memory[position + index], decay[block.first + index])

        scores = torch.bmm(x.queries, x.keys.mT, out=space("scores", len(x.keys), block.length, block.length))
        weigh(scores, x.pairs)
        read = torch.bmm(x.queries, before.flatten(0, 2), out=space("read", *x.values.shape))
        read.mul_(x.read).baddbmm_(scores, x.values)

        read = read.view(block.count, batch, heads, block.length, -1)
        factor, _ = _output_weight(block.chunks(gates.m), read[..., -1], options)
        torch.mul(read[..., :-1], factor[..., None], out=block.of(h))
        if readings is not None:
            block.of(readings).copy_(read[..., -1])
        if save:
            position += block.count
        else:
            memory[0].copy_(memory[block.count])
    if options.exponential:
        m_last = gates.m_in[-1].to(dtype)
    else:
        m_last = q.new_zeros(batch, heads, dtype=dtype) if state is None else state.m.to(dtype, copy=True)
    final = MLSTMState(*_split(memory[position]), m_last)
    return h, final, None if readings is None else Saved(memory, readings)


def backward(
    dh: Tensor | None,
    dstate: tuple[Tensor | None, Tensor | None, Tensor | None],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    igate: Tensor,
    fgate: Tensor,
    state: MLSTMState | None,
    h: Tensor,
    saved: Saved,
    options: Options,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, MLSTMState]:
    """Gradients of q, k, v, igate, fgate and of the initial state from those of h and of the final state."""
    dtype = saved.memory.dtype
    batch, _, heads, key_dim = q.shape
    gates = gate_scan.scan(igate, fgate, None if state is None else state.m, options.size, options.exponential)
    weights = gate_scan.weights(gates, options.scale, dtype)
    decay = gates.decay.to(dtype)[..., None, None]
    blocks = _blocks(q, v, options.size)
    space = _Workspace(q, dtype)
    memory = saved.memory
    dh = torch.zeros_like(h) if dh is None else dh

    most = max(block.count for block in blocks)
    dmemory = torch.empty_like(memory[: most + 1])
    carry = torch.zeros_like(memory[0])
    if dstate[0] is not None:
        carry[..., :-1] = dstate[0]
    if dstate[1] is not None:
        carry[..., -1] = dstate[1]
    dm_last = -(carry * memory[-1]).sum((-1, -2), dtype=torch.float64) if options.exponential else carry.new_zeros(())
    if dstate[2] is not None:
        dm_last = dm_last + dstate[2]
    dm_last = dm_last.expand(batch, heads)

    dq, dk, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    # Gradients of the gates, chunk by chunk in float64: of i, of log f, of m.
    di, dlog_f, dm = (torch.zeros_like(gates.c) for _ in range(3))
    for block in reversed(blocks):
        count, chunks = block.count, slice(block.first, block.first + block.count)
        x = _load(space, block, q, k, v, weights)
        shape = (count, batch, heads, block.length)

        # Through the normaliser: dU, and du in its last column.
        reading = block.of(saved.reading)
        factor, floor = _output_weight(block.chunks(gates.m), reading, options)
        du = space("du", *shape, v.shape[-1] + 1)
        torch.mul(block.of(dh), factor[..., None], out=du[..., :-1])
        if floor is None:
            du[..., -1].zero_()
        else:
            product = torch.mul(du[..., :-1], block.of(h), out=space("product", *shape, v.shape[-1]))
            delta = product.sum(-1)
            torch.mul(delta, torch.where(reading.abs() > floor, -reading.sign(), 0.0), out=du[..., -1])
            if options.exponential:
                block.chunks(dm).copy_(delta).mul_(-options.eps)
        du = du.flatten(0, 2)

        # The gradient of the memory, backward over the chunks.
        dread = torch.mul(du, x.read, out=space("dread", *du.shape))
        dmemory[count].copy_(carry)
        torch.bmm(x.queries.mT, dread, out=dmemory[:count].flatten(0, 2))
        for index in reversed(range(count)):
            dmemory[index].addcmul_(dmemory[index + 1], decay[block.first + index])
        carry.copy_(dmemory[0])
        before, after = memory[chunks].flatten(0, 2), memory[block.first + 1 : block.first + count + 1]
        dafter = dmemory[1 : count + 1]
        kept = torch.mul(dafter, after, out=space("kept", *after.shape)).sum((-1, -2))
        dafter = dafter.flatten(0, 2)

        square = (len(x.keys), block.length, block.length)
        scores = weigh(torch.bmm(x.queries, x.keys.mT, out=space("scores", *square)), x.pairs)
        dscores = weigh(torch.bmm(du, x.values.mT, out=space("dscores", *square)), x.pairs)

        gradient = torch.bmm(x.written, dafter[..., :-1], out=space("dv", *square[:2], v.shape[-1]))
        gradient.baddbmm_(scores.mT, du[..., :-1])
        block.of(dv).copy_(gradient.view(*shape, -1))

        gradient = torch.bmm(dread, before.mT, out=space("dqk", *square[:2], key_dim)).baddbmm_(dscores, x.keys)
        torch.mul(gradient.view(*shape, -1), block.chunks(weights.query)[..., None], out=block.of(dq))
        change = torch.mul(gradient, x.queries, out=gradient).sum(-1).view(shape)

        gradient = torch.bmm(x.values, dafter.mT, out=gradient).mul_(x.write).baddbmm_(dscores.mT, x.queries)
        torch.mul(gradient.view(*shape, -1), block.chunks(weights.key)[..., None], out=block.of(dk))
        written = torch.mul(gradient, x.keys, out=gradient).sum(-1).view(shape)

        block.chunks(di).copy_(written)
        change.sub_(written)
        block.chunks(dlog_f).copy_(change.flip(-1).cumsum(-1, dtype=torch.float64).flip(-1)).add_(kept[..., None])

    dm0 = dm_last
    if options.exponential:
        di_m, dlog_f_m, dm0 = gate_scan.through_stabiliser(dm, dm_last, gates)
        di += di_m
        dlog_f += dlog_f_m
        dm0 = dm0 + (carry * memory[0]).sum((-1, -2))
    digate = gate_scan.from_chunks(di, q.shape[1])
    if not options.exponential:
        digate = digate * torch.sigmoid(-igate)
    dfgate = gate_scan.from_chunks(dlog_f, q.shape[1]) * torch.sigmoid(-fgate.to(torch.float64))
    dfgate = torch.where(fgate < GATE_FLOOR, 0.0, dfgate)
    dstate0 = MLSTMState(*_split(carry), dm0.to(dtype, copy=True))
    return dq, dk, dv, digate.to(igate.dtype), dfgate.to(fgate.dtype), dstate0
