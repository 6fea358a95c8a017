"""Blocks stacked on a residual stream."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.layers import GatedFeedForward, make_norm
from xlstm_apps.core.mlstm import mLSTMLargeLayer, mLSTMLayer
from xlstm_apps.core.packing import Packing
from xlstm_apps.core.rotary import Rotation, rotation_at
from xlstm_apps.core.slstm import sLSTMLayer
from xlstm_apps.core.state import BlockState, xLSTMState


class Block(nn.Module):
    """x + mixer(norm(x)), then where the family has one x + feed_forward(norm(x))."""

    def __init__(self, config: xLSTMConfig, index: int) -> None:
        super().__init__()
        is_slstm = config.is_slstm(index)
        self.norm = make_norm(config)
        if is_slstm:
            self.mixer = sLSTMLayer(config, index)
        else:
            self.mixer = mLSTMLayer(config) if config.family == "xlstm" else mLSTMLargeLayer(config)
        has_ffn = config.ffn_dim > 0 and (is_slstm or config.family == "xlstm-large")
        self.ffn_norm = make_norm(config) if has_ffn else None
        self.ffn = GatedFeedForward(config) if has_ffn else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        state: BlockState | None = None,
        packing: Packing | None = None,
        inplace: bool = False,
        keep: bool = False,
        rotation: Rotation | None = None,
    ) -> tuple[Tensor, BlockState | None]:
        """[B, T, E] -> [B, T, E] and, to `keep`, the state after the last step.

        `inplace`: that of a single step is written over the given one. `rotation`: of rotary positions; sLSTM has none.
        """
        options = {"rotation": rotation} if rotation is not None and isinstance(self.mixer, mLSTMLayer) else {}
        y, last = self.mixer(self.norm(x), state, packing, inplace, keep, **options)
        x = x + self.dropout(y)
        if self.ffn is not None and self.ffn_norm is not None:
            x = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return x, last


class xLSTMBackbone(nn.Module):
    """A stack of xLSTM blocks: features in, features out, [B, T, E] both.

    Causal backbones carry a state: one pass, any split into segments with the state handed on, and step by step give
    the same result.
    """

    def __init__(self, config: xLSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.num_blocks))
        self.final_norm = make_norm(config, final=True) if config.final_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        state: xLSTMState | None = None,
        *,
        return_state: bool = False,
        cu_seqlens: Tensor | None = None,
        until: int | None = None,
        positions: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, xLSTMState]:
        """Run over a sequence.

        Args:
            x: [B, T, E].
            state: What to continue from; None begins anew.
            return_state: Return the state after the last step too.
            cu_seqlens: Borders [N + 1] of N documents packed into one row (B = 1): 0, then the cumulative lengths.
                Nothing passes from one document to the next, and a returned state has a row for each.
            until: Stop after this many blocks and return the residual stream there, not normalised; a state then is
                that of these blocks. None runs all of them and the final normalisation.
            positions: Where every step stands, [B, T] whole numbers, for a backbone with `rotary_base`. None counts
                from 0 in every row and every packed document, or on from the last step that the state has read.

        Returns:
            y [B, T, E], or y and the state.

        Raises:
            ValueError: Shapes that do not fit, or a state asked of a backbone that also reads backwards.
        """
        if x.dim() != 3 or x.shape[-1] != self.config.embedding_dim or x.shape[1] == 0:
            raise ValueError(f"expected x of shape [batch, time >= 1, {self.config.embedding_dim}], got {[*x.shape]}")
        if state is not None or return_state:
            self._check_causal()
        if until is not None and not 0 <= until <= len(self.blocks):
            raise ValueError(f"until={until} is a number of blocks, 0 to {len(self.blocks)}")
        packing = None
        if cu_seqlens is not None:
            if x.shape[0] != 1 or state is not None:
                raise ValueError("cu_seqlens packs documents into one row (batch 1), each beginning without a state")
            packing = Packing(cu_seqlens.to(x.device), x.shape[1])
        elif state is not None:
            self._check_state(state, x.shape[0], until)

        backwards = None if packing is None else packing.reversed()
        positions, rotation = self._positions(x, positions, state, packing)
        mirrored = None if rotation is None or self.config.direction == "causal" else rotation.flip()
        states: list[BlockState] = []
        for index, block in enumerate(self.blocks[:until]):
            if self.config.direction == "causal":
                block_state = None if state is None else state.blocks[index]
                x, block_state = block(x, block_state, packing, keep=return_state, rotation=rotation)
                if block_state is not None:
                    states.append(block_state)
            elif self.config.direction == "bidirectional":
                x = block(x, None, packing, rotation=rotation)[0] + _backwards(block, x, backwards, mirrored)
            elif index % 2 == 1:
                x = block(x, None, packing, rotation=rotation)[0]
            else:
                x = _backwards(block, x, backwards, mirrored)
        y = self.final_norm(x) if until is None else x
        if not return_state:
            return y
        return y, xLSTMState(tuple(states), None if positions is None else _next_position(positions, packing))

    def step(
        self,
        x: Tensor,
        state: xLSTMState | None = None,
        *,
        inplace: bool = False,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, xLSTMState]:
        """One time step.

        Args:
            x: [B, E].
            state: What to continue from; None begins anew.
            inplace: Write the next state over the given one, whose tensors must be contiguous and in the types that a
                backbone returns. Not differentiable.
            positions: [B] where the step stands; None counts, as above.

        Returns:
            y [B, E] and the next state: `state` itself if `inplace`.
        """
        if x.dim() != 2:
            raise ValueError(f"step takes one time step [batch, {self.config.embedding_dim}], got {[*x.shape]}")
        positions = None if positions is None else positions.unsqueeze(-1)
        if not inplace:
            y, last = self(x.unsqueeze(1), state, return_state=True, positions=positions)
            return y.squeeze(1), last
        if state is None:
            raise ValueError("inplace=True needs a state to overwrite; begin with initial_state(batch_size)")
        self._check_causal()
        self._check_state(state, x.shape[0])
        y = x.unsqueeze(1)
        positions, rotation = self._positions(y, positions, state, None)
        for block, block_state in zip(self.blocks, state.blocks, strict=True):
            y, _ = block(y, block_state, inplace=True, rotation=rotation)
        if positions is not None and state.position is not None:
            state.position.copy_(_next_position(positions, None))
        return self.final_norm(y).squeeze(1), state

    def initial_state(self, batch_size: int, device: torch.device | str | None = None) -> xLSTMState:
        """The state before the first step: zeros, on the device of the weights unless told otherwise."""
        self._check_causal()
        weight = next(self.parameters())
        device = weight.device if device is None else device
        dtype = torch.promote_types(weight.dtype, torch.float32)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch_size, *shape, device=device, dtype=dtype)

        position = None
        if self.config.rotary_base is not None:
            position = torch.zeros(batch_size, device=device, dtype=torch.long)
        return xLSTMState(tuple(cast(Block, block).mixer.initial_state(zeros) for block in self.blocks), position)

    def _positions(
        self, x: Tensor, given: Tensor | None, state: xLSTMState | None, packing: Packing | None
    ) -> tuple[Tensor | None, Rotation | None]:
        """Where every step stands, [B, T], and the rotation of that; None both for a backbone without positions."""
        base = self.config.rotary_base
        if base is None:
            if given is not None:
                raise ValueError("positions were given to a backbone without them; set rotary_base")
            return None, None
        if given is None:
            counted = torch.arange(x.shape[1], device=x.device) if packing is None else packing.position
            given = counted.expand(x.shape[:2])
            if state is not None and state.position is not None:
                given = given + state.position.to(x.device).unsqueeze(-1)
        elif given.shape != x.shape[:2] or given.is_floating_point():
            raise ValueError(f"positions must be whole numbers of shape {[*x.shape[:2]]}, got {[*given.shape]}")
        given = given.to(x.device)
        return given, rotation_at(given, self.config.inner_dim, base, x.dtype)

    def _check_causal(self) -> None:
        if self.config.direction != "causal":
            raise ValueError(
                f"a backbone with direction={self.config.direction!r} reads backwards too, so it has no state and "
                "cannot be stepped; use direction='causal'"
            )

    def _check_state(self, state: xLSTMState, batch_size: int, until: int | None = None) -> None:
        count = len(self.blocks) if until is None else until
        if len(state.blocks) != count:
            raise ValueError(f"the state has {len(state.blocks)} blocks, the backbone {count}")
        if state.blocks and state.batch_size != batch_size:
            raise ValueError(f"the state has {state.batch_size} rows, x has {batch_size}; see xLSTMState.select")
        if (state.position is None) != (self.config.rotary_base is None):
            have, other = ("no position", "counts") if state.position is None else ("a position", "does not count")
            raise ValueError(f"the state belongs to another backbone: it has {have}, while this one {other} them")


def _backwards(block: nn.Module, x: Tensor, packing: Packing | None, rotation: Rotation | None) -> Tensor:
    return block(x.flip(1), None, packing, rotation=rotation)[0].flip(1)


def _next_position(positions: Tensor, packing: Packing | None) -> Tensor:
    """Behind the last step of every row, or of every packed document: [B]."""
    return (positions[:, -1] if packing is None else positions[0, packing.stops - 1]).long() + 1
