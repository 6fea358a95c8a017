r"""The time loops of each cell: as few operations per step as the mathematics allows.

Only what depends on the previous step is inside a loop; the rest is done beforehand for a block of steps at once. A
step sees [H, B, D] matrices (head, batch row, channel). `pre` holds the preactivations of a block, [n, H, B, S, D] with
the S gates that read the previous output in the order of `SLOTS`; it arrives holding inputs and biases and leaves with
what the backward pass needs. `h` and `aux` hold states, [n + 1, H, B, D], entry 0 from before the block.

Backward, `dh` arrives with the gradients of the block's outputs and is used up, `dpre` receives those of the
preactivations, `carry` is that of the step after the block, and the rest are gradients of states, updated in place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels.rnn.reference import GATE_FLOOR

SLOTS = {"slstm": (0, 2, 1, 3), "lstm": (3, 0, 1, 2), "gru": (0, 1, 2), "elman": (0,)}
"""Gate in each slot of `pre`, so that gates treated alike are neighbours."""

# a (1 - a) times something, and 1 - a^2 times something, each in one pass.
_sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
_tanh_slope = torch.ops.aten.tanh_backward.grad_input


def forward_slstm(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, norm: Tensor, logarithmic: bool) -> None:
    """`aux` is y; slots i, z, f, o become (share of the new input, tanh z, f, o).

    `norm` [H, B, D], updated in place, is the normaliser n, a sum of positive numbers, where the caller knows that it
    stays in the range of the dtype; with `logarithmic` it is l = log n.
    """
    flat, states, memories = pre.flatten(3).unbind(0), h.unbind(0), aux.unbind(0)
    i, z, f, _ = (x.unbind(0) for x in pre.unbind(3))
    sigmoids, scratch = pre.new_empty(pre[0, ..., 2:, :].shape), torch.empty_like(norm)
    keep, out = sigmoids.unbind(2)
    raw = pre[..., 2:, :].unbind(0)
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
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, dpre: Tensor, carry: Tensor, dc: Tensor, dl: Tensor
) -> None:
    share, z, f, o = pre.unbind(3)
    stay, out, forgetting = 1 - share, torch.sigmoid(o), (-f).sigmoid_()
    lever, through_out = torch.empty_like(pre[..., :2, :]), torch.empty_like(out)
    _sigmoid_slope(z - aux[:-1], share, grad_input=lever[..., 0, :])
    _tanh_slope(share, z, grad_input=lever[..., 1, :])
    _sigmoid_slope(aux[1:], out, grad_input=through_out)
    di, _, df, do = (x.unbind(0) for x in dpre.unbind(3))
    dmemory = dpre[..., :2, :].unbind(0)
    flat, dc_both, following = dpre.flatten(3).unbind(0), dc.unsqueeze(2), carry
    for t in reversed(range(len(flat))):
        grad = dh[t].baddbmm_(following, weight)
        dc.addcmul_(grad, out[t])
        torch.mul(grad, through_out[t], out=do[t])
        torch.mul(dc_both, lever[t], out=dmemory[t])
        di[t].addcmul_(share[t], dl)
        dl.sub_(di[t])
        torch.mul(dl, forgetting[t], out=df[t])
        dc.mul_(stay[t])
        following = flat[t]


def forward_lstm(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor) -> None:
    """`aux` is c; slots o, i, f, z become their activations."""
    flat, states, memories = pre.flatten(3).unbind(0), h.unbind(0), aux.unbind(0)
    o, i, f, z = (x.unbind(0) for x in pre.unbind(3))
    sigmoids, scratch = pre[..., :3, :].unbind(0), torch.empty_like(h[0])
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        sigmoids[t].sigmoid_()
        z[t].copy_(scratch.copy_(z[t]).tanh_())
        torch.mul(memories[t], f[t], out=memories[t + 1]).addcmul_(i[t], scratch)
        torch.tanh(memories[t + 1], out=scratch)
        torch.mul(scratch, o[t], out=states[t + 1])


def backward_lstm(
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, dpre: Tensor, carry: Tensor, dc: Tensor
) -> None:
    o, i, f, z = pre.unbind(3)
    shown = torch.tanh(aux[1:])
    lever, through_out, through_memory = (torch.empty_like(x) for x in (pre[..., 1:, :], shown, shown))
    _sigmoid_slope(z, i, grad_input=lever[..., 0, :])
    _sigmoid_slope(aux[:-1], f, grad_input=lever[..., 1, :])
    _tanh_slope(i, z, grad_input=lever[..., 2, :])
    _sigmoid_slope(shown, o, grad_input=through_out)
    _tanh_slope(o, shown, grad_input=through_memory)
    do, dmemory = dpre[..., 0, :].unbind(0), dpre[..., 1:, :].unbind(0)
    flat, dc_all, following = dpre.flatten(3).unbind(0), dc.unsqueeze(2), carry
    for t in reversed(range(len(flat))):
        grad = dh[t].baddbmm_(following, weight)
        dc.addcmul_(grad, through_memory[t])
        torch.mul(grad, through_out[t], out=do[t])
        torch.mul(dc_all, lever[t], out=dmemory[t])
        dc.mul_(f[t])
        following = flat[t]


def forward_gru(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor) -> None:
    """Slots reset, update and the recurrent side of new; `aux[1:]` is the input side of new, then new itself."""
    flat, states, new = pre.flatten(3).unbind(0), h.unbind(0), aux.unbind(0)
    reset, update, mixed = (x.unbind(0) for x in pre.unbind(3))
    sigmoids = pre[..., :2, :].unbind(0)
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        sigmoids[t].sigmoid_()
        new[t + 1].addcmul_(reset[t], mixed[t]).tanh_()
        torch.lerp(new[t + 1], states[t], update[t], out=states[t + 1])


def backward_gru(
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, dpre: Tensor, carry: Tensor, passed: Tensor
) -> None:
    """`dpre` has a fourth slot, the input side of new; `passed` is the gradient that update gates let through."""
    reset, update, mixed = pre.unbind(3)
    new = aux[1:]
    lever = torch.empty_like(dpre)
    of_reset, of_update, of_mixed, of_new = lever.unbind(3)
    _tanh_slope(1 - update, new, grad_input=of_new)
    torch.mul(of_new, reset, out=of_mixed)
    _sigmoid_slope(of_new * mixed, reset, grad_input=of_reset)
    _sigmoid_slope(h[:-1] - new, update, grad_input=of_update)
    every, recurrent, following = dpre.unbind(0), dpre[..., :3, :].flatten(3).unbind(0), carry
    for t in reversed(range(len(every))):
        grad = dh[t].add_(passed).baddbmm_(following, weight)
        torch.mul(grad.unsqueeze(2), lever[t], out=every[t])
        torch.mul(grad, update[t], out=passed)
        following = recurrent[t]


def forward_elman(pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor) -> None:
    flat, states = pre.flatten(3).unbind(0), h.unbind(0)
    for t in range(len(flat)):
        flat[t].baddbmm_(states[t], weight)
        torch.tanh(flat[t], out=states[t + 1])


def backward_elman(
    pre: Tensor, h: Tensor, aux: Tensor, weight: Tensor, dh: Tensor, dpre: Tensor, carry: Tensor
) -> None:
    flat, following = dpre.flatten(3).unbind(0), carry
    slope = 1 - h[1:] * h[1:]
    for t in reversed(range(len(flat))):
        torch.mul(dh[t].baddbmm_(following, weight), slope[t], out=flat[t])
        following = flat[t]
