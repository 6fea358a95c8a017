"""What a causal backbone remembers between calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from xlstm_apps.core.whole_file import whole_file
from xlstm_apps.kernels import MLSTMState, RNNState

Cell = TypeVar("Cell", MLSTMState, RNNState)
CELLS: dict[str, type[MLSTMState] | type[RNNState]] = {"mlstm": MLSTMState, "rnn": RNNState}


class BlockState(NamedTuple):
    """State of one block: its recurrence, and the window [B, kernel_size - 1, E] of its convolution if it has one."""

    cell: MLSTMState | RNNState
    conv: Tensor | None

    def cell_of(self, kind: type[Cell]) -> Cell:
        """The state of the recurrence, which must be of this kind."""
        if not isinstance(self.cell, kind):
            found, wanted = type(self.cell).__name__, kind.__name__
            raise ValueError(f"the state belongs to another backbone: {found} where {wanted} is expected")
        return self.cell


class xLSTMState(NamedTuple):
    """State of a backbone, one row per sequence. Its size does not depend on how much was read.

    Handed back to the backbone it continues as if there had been no break. All methods return a new state.
    """

    blocks: tuple[BlockState, ...]
    position: Tensor | None = None
    """[B] whole numbers, position of the next step, where the backbone has positions."""

    @property
    def batch_size(self) -> int:
        """Number of sequences."""
        return self.blocks[0].cell[0].shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> xLSTMState:
        """Apply `function` to every tensor; the first dimension of each is the batch."""

        def block(state: BlockState) -> BlockState:
            cell = type(state.cell)(*(None if t is None else function(t) for t in state.cell))  # pyright: ignore
            return BlockState(cell, None if state.conv is None else function(state.conv))

        position = None if self.position is None else function(self.position)
        return xLSTMState(tuple(block(state) for state in self.blocks), position)

    def detach(self) -> xLSTMState:
        """Cut the gradient, as truncated backpropagation through time does between segments."""
        return self.map(torch.Tensor.detach)

    def clone(self) -> xLSTMState:
        """A copy that shares no memory."""
        return self.map(torch.clone)

    def to(self, *args: Any, **kwargs: Any) -> xLSTMState:
        """Move or cast as `torch.Tensor.to`; positions stay whole numbers."""
        return self.map(lambda t: t.to(*args, **kwargs) if t.is_floating_point() else _move(t, *args, **kwargs))

    def select(self, rows: Sequence[int] | Tensor) -> xLSTMState:
        """The rows of the batch named by index (repeats allowed) or by a boolean mask."""
        index = rows if isinstance(rows, Tensor) else torch.tensor(list(rows), dtype=torch.long)
        return self.map(lambda t: t[index.to(t.device)])

    @staticmethod
    def concat(states: Sequence[xLSTMState]) -> xLSTMState:
        """Join batches."""
        parts = [state.named_tensors() for state in states]
        return xLSTMState.from_tensors({name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, whole or not at all."""
        tensors = {name: t.detach().contiguous().cpu() for name, t in self.named_tensors().items()}
        with whole_file(path) as aside:
            save_file(tensors, aside, metadata={"format": "xlstm-apps state"})

    @staticmethod
    def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> xLSTMState:
        """Read what `save` wrote.

        Raises:
            ValueError: The file is not there, or is no saved state.
        """
        if not Path(path).is_file():
            raise ValueError(f"{os.fspath(path)}: no such file; a state is written by xLSTMState.save")
        try:
            return xLSTMState.from_tensors(load_file(path, device=str(device)))
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)}: not a state written by xLSTMState.save") from error

    def named_tensors(self) -> dict[str, Tensor]:
        """All tensors by name, for files that hold more than a state."""
        named: dict[str, Tensor] = {}
        for index, (cell, conv) in enumerate(self.blocks):
            kind = "mlstm" if isinstance(cell, MLSTMState) else "rnn"
            named |= {f"{index}.{kind}.{field}": t for field, t in cell._asdict().items() if t is not None}
            if conv is not None:
                named[f"{index}.conv.window"] = conv
        if self.position is not None:
            named["position"] = self.position
        return named

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> xLSTMState:
        """The state of `named_tensors`.

        Raises:
            KeyError, ValueError, TypeError: Names that are not those of a state.
        """
        blocks: dict[int, dict[str, dict[str, Tensor]]] = {}
        for name, tensor in tensors.items():
            if name == "position":
                continue
            index, kind, field = name.split(".")
            blocks.setdefault(int(index), {}).setdefault(kind, {})[field] = tensor

        def block(parts: dict[str, dict[str, Tensor]]) -> BlockState:
            conv = parts.pop("conv", {}).get("window")
            ((kind, fields),) = parts.items()
            cell = CELLS[kind]
            return BlockState(cell(**{name: fields.get(name) for name in cell._fields}), conv)  # pyright: ignore

        return xLSTMState(tuple(block(blocks[index]) for index in range(len(blocks))), tensors.get("position"))


def _move(t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """To the device that `Tensor.to` would move to, in the type it has."""
    return t.to(torch.empty(0, device=t.device).to(*args, **kwargs).device)
