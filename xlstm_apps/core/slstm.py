"""The sLSTM layer: scalar memory with recurrent connections inside each head (Beck et al. 2024, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.initialization import forget_bias_powerlaw, small_init_
from xlstm_apps.core.layers import CausalConv1d, MultiHeadNorm
from xlstm_apps.core.packing import Packing
from xlstm_apps.core.state import BlockState
from xlstm_apps.kernels import RNNState, rnn, rnn_step

INPUT, FORGET, CELL, OUTPUT = range(4)


class sLSTMLayer(nn.Module):
    """Convolution (for input and forget gate only), head-wise gates, recurrence, head-wise norm (figure 10).

    `gates` is [4, H, D_out, D_in] and `recurrent` likewise, both in the order input, forget, cell input, output.
    """

    filler: Tensor

    def __init__(self, config: xLSTMConfig, block: int) -> None:
        super().__init__()
        self.config, self.block = config, block
        E, H = config.embedding_dim, config.slstm_heads
        D = E // H
        self.conv = CausalConv1d(E, config.slstm_conv, config.backend) if config.slstm_conv else None
        self.gates = nn.Parameter(torch.empty(4, H, D, D))
        self.recurrent = nn.Parameter(torch.zeros(4, H, D, D))
        self.bias = nn.Parameter(torch.zeros(4, H, D))
        # Standing before a shorter document it adds nothing to memory and shows nothing of it: exp and sigmoid of
        # -30000 are exactly 0, and fp16 can still hold it.
        self.register_buffer("filler", torch.tensor([-3e4, 0.0, 0.0, -3e4]).view(4, 1, 1), persistent=False)
        self.head_norm = MultiHeadNorm(E, config.option("norm_eps"), config.norm_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        small_init_(self.gates, self.config.embedding_dim)
        with torch.no_grad():
            self.bias[FORGET] = forget_bias_powerlaw(self.bias.shape[-1], self.block, self.config.num_blocks)

    def initial_state(self, zeros: Callable[..., Tensor]) -> BlockState:
        """The state before the first step; `zeros(*shape)` makes a batch of tensors."""
        h, c, n, m = (zeros(*self.bias.shape[1:]) for _ in range(4))
        return BlockState(RNNState(h, c, n, m), None if self.conv is None else self.conv.initial_window(zeros))

    def forward(
        self, x: Tensor, state: BlockState | None, packing: Packing | None, inplace: bool = False, keep: bool = True
    ) -> tuple[Tensor, BlockState | None]:
        """[B, T, E] -> [B, T, E] and the state after the last step, if it is to be kept."""
        cell = None if state is None else state.cell_of(RNNState)
        gates, window = self._gate_inputs(x, None if state is None else state.conv, packing, inplace)
        run = partial(rnn, return_state=True, backend=self.config.backend)
        if packing is not None:
            # The documents are independent: side by side they also take fewer steps than one after the other.
            batch, real = packing.pad_left(gates, self.filler.to(gates.dtype))
            h, cell = run(batch, self.recurrent, self.bias)
            h = h[real].unsqueeze(0)
        elif cell is not None and x.shape[1] == 1:
            h, cell = rnn_step(
                gates[:, 0], self.recurrent, self.bias, cell, inplace=inplace, backend=self.config.backend
            )
            h = h.unsqueeze(1)
        else:
            h, cell = run(gates, self.recurrent, self.bias, cell)
        return self.head_norm(h), BlockState(cell, window) if keep else None

    def _gate_inputs(
        self, x: Tensor, window: Tensor | None, packing: Packing | None, inplace: bool
    ) -> tuple[Tensor, Tensor | None]:
        """[B, T, E] -> gate pre-activations [B, T, 4, H, D] without their recurrent part, and the conv window."""
        heads = (self.gates.shape[1], self.gates.shape[3])
        if self.conv is None:
            return torch.einsum("bthi,ghoi->btgho", x.unflatten(-1, heads), self.gates), None
        a, window = self.conv(x, window, packing, inplace)
        smooth = torch.einsum("bthi,ghoi->btgho", a.unflatten(-1, heads), self.gates[:CELL])
        direct = torch.einsum("bthi,ghoi->btgho", x.unflatten(-1, heads), self.gates[CELL:])
        return torch.cat([smooth, direct], dim=2), window
