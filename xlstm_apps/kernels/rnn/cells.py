r"""The time loops of each cell: as few operations per step as the mathematics allows.

Only what depends on the previous step is inside a loop; the rest is done beforehand for a block of steps at once. A
step sees [H, B, D] matrices (head, batch row, channel). `pre` holds the preactivations of a block, [n, H, B, G, D]; it
arrives holding inputs and biases and leaves with what the backward pass needs. `h` and `aux` hold states,
[n + 1, H, B, D], entry 0 from before the block.

Backward, `dh` (of the longest block) arrives with the gradients of the block's outputs and is used up, `space.dpre`
receives those of the preactivations, `carry` is that of the step after the block, and the rest are gradients of states,
updated in place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.rnn.reference import GATE_FLOOR

# a (1 - a) times something, and 1 - a^2 times something, each in one pass.
_sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
_tanh_slope = torch.ops.aten.tanh_backward.grad_input


class Space:
    """Buffers for a block of steps, with one view per step, made once for all blocks of a call.

    A view costs about as much as a small operation, and fresh memory a page fault every 4 KB.
    """

    def __init__(self, dpre: Tensor, steps: int):
        self.dpre = dpre.transpose(0, 1)
        """Gradients of preactivations of the longest block, [n, H, B, G, D]."""
        self.steps = steps
        """Length of this block."""
        self.one = dpre.new_ones(())
        self.buffers: dict[str, Tensor] = {}
        self.views: dict[str, tuple[Tensor, ...]] = {}

    def buffer(self, name: str, like: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Uninitialised tensor of the shape of `like`, and its steps."""
        if name not in self.buffers:
            self.buffers[name] = like.new_empty(self.dpre.shape[0], *like.shape[1:])
        return self.buffers[name][: self.steps], self.of(name, self.buffers[name])

    def of(self, name: str, x: Tensor) -> tuple[Tensor, ...]:
        """Steps of `x`, which must be the same memory whenever the name is the same."""
        if name not in self.views:
            self.views[name] = x.unbind(0)
        return self.views[name]


def forward_slstm(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, norm: Tensor, logarithmic: bool) -> None:
    """`aux` is y; gates i, f, z, o become (share of the new input, f, tanh z, o).

    `norm` [H, B, D], updated in place, is the normaliser n, a sum of positive numbers, where the caller knows that it
    stays in the range of the dtype; with `logarithmic` it is l = log n.
    """
    flat, states, memories = pre.flatten(3).unbind(0), h.unbind(0), aux.unbind(0)
    i, z = (pre[..., gate, :].unbind(0) for gate in (0, 2))
    f = pre[..., 1, :].unbind(0) if logarithmic else ()
    sigmoids, scratch = pre.new_empty(pre[0, ..., 1::2, :].shape), torch.empty_like(norm)
    keep, out = sigmoids.unbind(2)
    raw = pre[..., 1::2, :].unbind(0)
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        torch.sigmoid(raw[t], out=sigmoids)
        if logarithmic:
            kept = norm.add_(F.logsigmoid(f[t].clamp(min=GATE_FLOOR)))
            torch.sub(i[t], kept, out=scratch)
            torch.logaddexp(kept, i[t], out=norm)
            torch.sigmoid(scratch, out=i[t])
        else:
            scratch.copy_(i[t]).exp_()  # transcendental functions are quickest on contiguous numbers
            torch.addcmul(scratch, norm, keep, out=norm)
            torch.div(scratch, norm, out=i[t])
        z[t].copy_(scratch.copy_(z[t]).tanh_())
        torch.lerp(memories[t], scratch, i[t], out=memories[t + 1])
        torch.mul(memories[t + 1], out, out=states[t + 1])


def backward_slstm(
    pre: Tensor,
    h: Tensor,
    aux: Tensor,
    weight: Tensor,
    dh: Tensor,
    space: Space,
    carry: Tensor,
    dc: Tensor,
    dl: Tensor,
) -> None:
    share, f, z, o = pre.unbind(3)
    stay, stays = space.buffer("stay", share)
    torch.sub(space.one, share, out=stay)
    out, outs = space.buffer("out", share)
    torch.sigmoid(o, out=out)
    forgetting, forgettings = space.buffer("forgetting", share)
    torch.neg(f, out=forgetting).sigmoid_()
    lever, levers = space.buffer("lever", pre[..., ::2, :])
    step, _ = space.buffer("step", share)
    _sigmoid_slope(torch.sub(z, aux[:-1], out=step), share, grad_input=lever[..., 0, :])
    _tanh_slope(share, z, grad_input=lever[..., 1, :])
    through_out, through_outs = space.buffer("through_out", share)
    _sigmoid_slope(aux[1:], out, grad_input=through_out)

    shares, upstream = share.unbind(0), space.of("dh", dh)
    di, df, do = (space.of(name, space.dpre[..., gate, :]) for name, gate in (("di", 0), ("df", 1), ("do", 3)))
    dmemory = space.of("dmemory", space.dpre[..., ::2, :])
    flat, dc_both, following = space.of("flat", space.dpre.flatten(3)), dc.unsqueeze(2), carry
    for t in reversed(range(space.steps)):
        grad = upstream[t].baddbmm_(following, weight)
        dc.addcmul_(grad, outs[t])
        torch.mul(grad, through_outs[t], out=do[t])
        torch.mul(dc_both, levers[t], out=dmemory[t])
        di[t].addcmul_(shares[t], dl)
        dl.sub_(di[t])
        torch.mul(dl, forgettings[t], out=df[t])
        dc.mul_(stays[t])
        following = flat[t]


def forward_lstm(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor) -> None:
    """`aux` is c; gates become their activations."""
    flat, states, memories = pre.flatten(3).unbind(0), h.unbind(0), aux.unbind(0)
    i, f, z, o = (x.unbind(0) for x in pre.unbind(3))
    scratch = h.new_empty(h.shape[1:])
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        scratch.copy_(z[t]).tanh_()
        flat[t].sigmoid_()  # quicker over all gates at once than over three of them
        z[t].copy_(scratch)
        torch.mul(memories[t], f[t], out=memories[t + 1]).addcmul_(i[t], scratch)
        torch.tanh(memories[t + 1], out=scratch)
        torch.mul(scratch, o[t], out=states[t + 1])


def backward_lstm(
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, space: Space, carry: Tensor, dc: Tensor
) -> None:
    i, f, z, o = pre.unbind(3)
    shown, _ = space.buffer("shown", o)
    torch.tanh(aux[1:], out=shown)
    lever, levers = space.buffer("lever", pre[..., :3, :])
    _sigmoid_slope(z, i, grad_input=lever[..., 0, :])
    _sigmoid_slope(aux[:-1], f, grad_input=lever[..., 1, :])
    _tanh_slope(i, z, grad_input=lever[..., 2, :])
    through_out, through_outs = space.buffer("through_out", o)
    _sigmoid_slope(shown, o, grad_input=through_out)
    through_memory, through_memories = space.buffer("through_memory", o)
    _tanh_slope(o, shown, grad_input=through_memory)

    stays, upstream = f.unbind(0), space.of("dh", dh)
    do, dmemory = space.of("do", space.dpre[..., 3, :]), space.of("dmemory", space.dpre[..., :3, :])
    flat, dc_all, following = space.of("flat", space.dpre.flatten(3)), dc.unsqueeze(2), carry
    for t in reversed(range(space.steps)):
        grad = upstream[t].baddbmm_(following, weight)
        dc.addcmul_(grad, through_memories[t])
        torch.mul(grad, through_outs[t], out=do[t])
        torch.mul(dc_all, levers[t], out=dmemory[t])
        dc.mul_(stays[t])
        following = flat[t]


def forward_gru(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor) -> None:
    """Gates reset, update and the recurrent side of new; `aux[1:]` is the input side of new, then new itself."""
    flat, states, new = pre.flatten(3).unbind(0), h.unbind(0), aux.unbind(0)
    reset, update, mixed = (x.unbind(0) for x in pre.unbind(3))
    sigmoids = pre[..., :2, :].unbind(0)
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        sigmoids[t].sigmoid_()
        new[t + 1].addcmul_(reset[t], mixed[t]).tanh_()
        torch.lerp(new[t + 1], states[t], update[t], out=states[t + 1])


def backward_gru(
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, space: Space, carry: Tensor, passed: Tensor
) -> None:
    """`dpre` has a fourth gate, the input side of new; `passed` is the gradient that update gates let through."""
    reset, update, mixed = pre.unbind(3)
    new = aux[1:]
    lever, levers = space.buffer("lever", space.dpre)
    of_reset, of_update, of_mixed, of_new = lever.unbind(3)
    step, _ = space.buffer("step", reset)
    _tanh_slope(torch.sub(space.one, update, out=step), new, grad_input=of_new)
    torch.mul(of_new, reset, out=of_mixed)
    _sigmoid_slope(torch.mul(of_new, mixed, out=step), reset, grad_input=of_reset)
    _sigmoid_slope(torch.sub(h[:-1], new, out=step), update, grad_input=of_update)

    updates, upstream, every = update.unbind(0), space.of("dh", dh), space.of("every", space.dpre)
    wide = space.of("wide dh", dh.unsqueeze(3))
    recurrent, following = space.of("recurrent", space.dpre[..., :3, :].flatten(3)), carry
    for t in reversed(range(space.steps)):
        upstream[t].add_(passed).baddbmm_(following, weight)
        torch.mul(wide[t], levers[t], out=every[t])
        torch.mul(upstream[t], updates[t], out=passed)
        following = recurrent[t]


def forward_elman(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor) -> None:
    flat, states = pre.flatten(3).unbind(0), h.unbind(0)
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        torch.tanh(flat[t], out=states[t + 1])


def backward_elman(
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, space: Space, carry: Tensor
) -> None:
    slope, slopes = space.buffer("slope", h[1:])
    _tanh_slope(space.one.expand(slope.shape), h[1:], grad_input=slope)
    upstream, flat, following = space.of("dh", dh), space.of("flat", space.dpre.flatten(3)), carry
    for t in reversed(range(space.steps)):
        torch.mul(upstream[t].baddbmm_(following, weight), slopes[t], out=flat[t])
        following = flat[t]
