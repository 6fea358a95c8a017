"""The mLSTM layers: matrix memory C, normaliser n, stabiliser m per head (Beck et al. 2024, section 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.graphed import recording
from xlstm_apps.core.initialization import forget_bias_linspace_, small_init_, wang_init_
from xlstm_apps.core.layers import BlockDiagonalLinear, CausalConv1d, MultiHeadNorm, soft_cap
from xlstm_apps.core.linear import Linear
from xlstm_apps.core.packing import Packing
from xlstm_apps.core.rotary import Rotation
from xlstm_apps.core.state import BlockState
from xlstm_apps.kernels import MLSTMState, mlstm, mlstm_step

LEAST_FOLDED = 2**18
"""Numbers in the up-projection [B, T, I] from which gates by folded weights are faster on a CPU."""
LEAST_FOLDED_GRAPH = 2**23
"""The same in a CUDA graph. Without one, launching the small operations takes longer than what they save."""


def run_cell(
    config: xLSTMConfig,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    block_state: BlockState | None,
    packing: Packing | None,
    inplace: bool = False,
    keep: bool = True,
) -> tuple[Tensor, MLSTMState | None]:
    """Heads are split by view, so that no projection is copied.

    Args:
        q, k: [B, T, H * K].
        v: [B, T, H * V].
        gates: [B, T, 2 * H], input gates, then forget gates, before activation.
        inplace: Write the new state over the given one, for a single time step.
        keep: Whether the final state is wanted; the kernels are faster where it is not.

    Returns:
        h [B, T, H, V] and the final state, or None.
    """
    state = None if block_state is None else block_state.cell_of(MLSTMState)
    q, k, v = (x.unflatten(-1, (config.num_heads, -1)) for x in (q, k, v))
    igate, fgate = gates.chunk(2, dim=-1)
    if state is not None and q.shape[1] == 1:
        h, state = mlstm_step(
            q[:, 0], k[:, 0], v[:, 0], igate[:, 0], fgate[:, 0], state,
            eps=config.cell_eps, inplace=inplace, backend=config.backend,
        )  # fmt: skip
        return h.unsqueeze(1), state
    cu_seqlens = None if packing is None else packing.cu_seqlens
    call = partial(
        mlstm, q, k, v, igate, fgate, state, eps=config.cell_eps, cu_seqlens=cu_seqlens, backend=config.backend
    )
    return call(return_state=True) if keep else (call(), None)


def empty_cell(config: xLSTMConfig, zeros: Callable[..., Tensor]) -> MLSTMState:
    """The memory before the first step; `zeros(*shape)` makes a batch of tensors."""
    H, K, V = config.num_heads, config.qk_dim // config.num_heads, config.v_dim // config.num_heads
    return MLSTMState(zeros(H, K, V), zeros(H, K), zeros(H))


class mLSTMLayer(nn.Module):
    """Family "xlstm": up-projection, convolution, mLSTM, learnable skip, output gate, down-projection (figure 11)."""

    def __init__(self, config: xLSTMConfig) -> None:
        super().__init__()
        self.config = config
        E, inner, kernel = config.embedding_dim, config.inner_dim, config.option("conv1d_kernel_size")
        blocks = inner // config.option("qkv_block_size")
        qkv_bias = config.bias if config.qkv_bias is None else config.qkv_bias
        self.proj_up = Linear(E, 2 * inner, bias=config.bias)
        self.conv = CausalConv1d(inner, kernel, config.backend) if kernel else None
        self.q_proj = BlockDiagonalLinear(inner, blocks, qkv_bias)
        self.k_proj = BlockDiagonalLinear(inner, blocks, qkv_bias)
        self.v_proj = BlockDiagonalLinear(inner, blocks, qkv_bias)
        self.gates = nn.Linear(3 * inner, 2 * config.num_heads)
        self.head_norm = MultiHeadNorm(inner, config.option("norm_eps"), config.norm_bias)
        self.skip = nn.Parameter(torch.ones(inner))
        self.proj_down = Linear(inner, E, bias=config.bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        E, H = self.config.embedding_dim, self.config.num_heads
        for proj in (self.proj_up, self.q_proj, self.k_proj, self.v_proj):
            small_init_(proj.weight, E)
        wang_init_(self.proj_down.weight, E, self.config.num_blocks)
        for linear in (self.proj_up, self.proj_down):
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.gates.weight)
        nn.init.normal_(self.gates.bias[:H], std=0.1)
        forget_bias_linspace_(self.gates.bias[H:])

    def initial_state(self, zeros: Callable[..., Tensor]) -> BlockState:
        """The state before the first step; `zeros(*shape)` makes a batch of tensors."""
        window = None if self.conv is None else self.conv.initial_window(zeros)
        return BlockState(empty_cell(self.config, zeros), window)

    def forward(
        self,
        x: Tensor,
        state: BlockState | None,
        packing: Packing | None,
        inplace: bool = False,
        keep: bool = True,
        rotation: Rotation | None = None,
    ) -> tuple[Tensor, BlockState | None]:
        """[B, T, E] -> [B, T, E] and the state after the last step, if it is to be kept."""
        u, z = self.proj_up(x).chunk(2, dim=-1)
        a, window = u, None
        if self.conv is not None:
            a, window = self.conv(u, None if state is None else state.conv, packing, inplace)
        h, cell = run_cell(self.config, *self.cell_inputs(u, a, rotation), state, packing, inplace, keep)
        return self.output(h, a, z), None if cell is None else BlockState(cell, window)

    def cell_inputs(
        self, u: Tensor, a: Tensor, rotation: Rotation | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k, v and gates for `run_cell` from the up-projection u [B, T, I] and what the convolution made of it."""
        q, k, v = self.q_proj(a), self.k_proj(a), self.v_proj(u)
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        elif self._folds(u):
            return q, k, v, self._folded_gates(u, a)
        return q, k, v, self.gates(torch.cat([q, k, v], dim=-1))

    def _folds(self, u: Tensor) -> bool:
        """Whether `_folded_gates` takes less time than the gates of q, k and v.

        Folding is some small operations, whatever the number of rows, and products that cost as much as those of a few
        rows for each feature of a block. Graphs that are traced must not depend on the number of rows.
        """
        if torch.compiler.is_compiling() or (u.is_cuda and not recording()):
            return False
        least = LEAST_FOLDED_GRAPH if u.is_cuda else LEAST_FOLDED
        return u.numel() >= max(least, 4 * u.shape[-1] * self.q_proj.weight.shape[1])

    def _folded_gates(self, u: Tensor, a: Tensor) -> Tensor:
        """The gates [B, T, 2 * H] straight from what q, k and v are projections of: a linear map of linear maps is one.

        So q, k and v are neither laid beside each other nor read. Weights are folded and biases added in at least
        single precision: a bias of 5 would cost most digits that half precision has for what depends on the input.
        """
        projections = (self.q_proj, self.k_proj, self.v_proj)
        dtype = torch.promote_types(self.gates.weight.dtype, torch.float32)
        with torch.autocast(u.device.type, enabled=False):
            weight, bias = self.gates.weight.to(dtype), self.gates.bias.to(dtype)
            maps = torch.stack([proj.weight for proj in projections]).to(dtype)
            of_q, of_k, of_v = torch.einsum("gpno,pnoi->pgni", weight.unflatten(1, maps.shape[:3]), maps).flatten(2)
            biases: list[Tensor] = [proj.bias for proj in projections if proj.bias is not None]
            if biases:
                bias = F.linear(torch.cat(biases).to(dtype), weight, bias)
        return bias + F.linear(a, (of_q + of_k).to(a.dtype)) + F.linear(u, of_v.to(u.dtype))

    def output(self, h: Tensor, a: Tensor, z: Tensor) -> Tensor:
        """[B, T, E] from what the cell gave, the convolved features and the output gate z [B, T, I]."""
        return self.proj_down(self.head_norm.gated(h, z, "silu", a, self.skip, self.config.backend))


class mLSTMLargeLayer(nn.Module):
    """Family "xlstm-large": mLSTM on the residual stream itself, soft-capped gates, sigmoid output gate."""

    def __init__(self, config: xLSTMConfig) -> None:
        super().__init__()
        self.config = config
        E, qk, v = config.embedding_dim, config.qk_dim, config.v_dim
        self.split = (qk, qk, v, v)
        self.qkvo_proj = Linear(E, sum(self.split), bias=config.bias)
        self.gates = nn.Linear(E, 2 * config.num_heads)
        self.head_norm = MultiHeadNorm(v, config.option("norm_eps"), config.norm_bias)
        self.out_proj = Linear(v, E, bias=config.bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        E, H, v = self.config.embedding_dim, self.config.num_heads, self.config.v_dim
        small_init_(self.qkvo_proj.weight, E)
        nn.init.zeros_(self.qkvo_proj.weight[-v:])  # the output gate starts half open
        wang_init_(self.out_proj.weight, E, self.config.num_blocks)
        for linear in (self.qkvo_proj, self.out_proj):
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.gates.weight)
        nn.init.constant_(self.gates.bias[:H], -10.0)
        forget_bias_linspace_(self.gates.bias[H:])

    def initial_state(self, zeros: Callable[..., Tensor]) -> BlockState:
        """The state before the first step; `zeros(*shape)` makes a batch of tensors."""
        return BlockState(empty_cell(self.config, zeros), None)

    def forward(
        self, x: Tensor, state: BlockState | None, packing: Packing | None, inplace: bool = False, keep: bool = True
    ) -> tuple[Tensor, BlockState | None]:
        """[B, T, E] -> [B, T, E] and the state after the last step, if it is to be kept."""
        q, k, v, gates, o = self.cell_inputs(x)
        h, cell = run_cell(self.config, q, k, v, gates, state, packing, inplace, keep)
        return self.output(h, o), None if cell is None else BlockState(cell, None)

    def cell_inputs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k, v and gates for `run_cell`, and the output gate."""
        q, k, v, o = self.qkvo_proj(x).split(self.split, dim=-1)
        return q, k, v, soft_cap(self.gates(x), self.config.option("gate_soft_cap")), o

    def output(self, h: Tensor, o: Tensor) -> Tensor:
        """[B, T, E] from what the cell gave and the output gate [B, T, H * V]."""
        return self.out_proj(self.head_norm.gated(h, o, "sigmoid", backend=self.config.backend))
