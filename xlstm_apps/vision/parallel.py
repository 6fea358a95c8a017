"""The mLSTM in its parallel form: which weight every patch has in what another one becomes, as in attention.

The form of Beck et al. 2024, appendix A.3, takes room by the square of the number of patches. It serves where the
weights themselves are wanted, and in exported graphs, which then consist of plain operations only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.kernels.mlstm.reference import exp_of_minus, log_forget
from xlstm_apps.vision.layers import VisionBlock
from xlstm_apps.vision.model import VisionLSTM

Record = Callable[[Tensor], None]


def weights(q: Tensor, k: Tensor, igate: Tensor, fgate: Tensor, eps: float) -> Tensor:
    """The matrix [B, H, T, T] by which values are multiplied: row t holds the weights of the steps up to t.

    Args:
        q, k: [B, T, H, K].
        igate, fgate: Before activation [B, T, H].
        eps: Added to the denominator.
    """
    T = q.shape[1]  # noqa: N806
    igate, fgate = igate.float().mT, fgate.float().mT  # [B, H, T]
    decay = log_forget(fgate).cumsum(-1)
    d = decay[..., :, None] - decay[..., None, :] + igate[..., None, :]
    future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    d = d.masked_fill(future, -torch.inf)
    m = torch.maximum(d.amax(-1), decay)  # the memory before the first step is 0, and so is its m
    scores = q.transpose(1, 2).float() @ (k.transpose(1, 2).float() * q.shape[-1] ** -0.5).mT
    a = scores * (d - m[..., None]).exp()
    return a / (torch.maximum(a.sum(-1).abs(), exp_of_minus(m)) + eps)[..., None]


def parallel_cell(
    config: xLSTMConfig, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, *rest: Any, keep: bool = False,
    record: Record | None = None,
) -> tuple[Tensor, None]:  # fmt: skip
    """In place of `core.mlstm.run_cell`, from the zero state and for one image a row."""
    assert not keep and all(one is None for one in rest), "neither states nor packed images"
    q, k, v = (x.unflatten(-1, (config.num_heads, -1)) for x in (q, k, v))
    igate, fgate = gates.chunk(2, dim=-1)
    a = weights(q, k, igate, fgate, config.cell_eps)
    if record is not None:
        record(a)
    return (a @ v.transpose(1, 2).float()).transpose(1, 2).to(v.dtype), None


@contextmanager
def in_parallel(model: VisionLSTM, record: Callable[[int, Tensor], None] | None = None) -> Iterator[VisionLSTM]:
    """The model with its cells in parallel form while the block runs.

    Args:
        model: The model.
        record: Called with the number of the block and its weights [P * B, H, S, S] in the order of its paths.
    """
    blocks: list[Any] = [block for block in model.blocks if isinstance(block, VisionBlock)]

    def keeping(index: int) -> Record | None:
        return None if record is None else lambda a: record(index, a)

    def cell(index: int) -> Callable[..., tuple[Tensor, None]]:
        kept = keeping(index)
        return lambda *arguments, **options: parallel_cell(*arguments, **options, record=kept)

    try:
        for index, block in enumerate(blocks):
            block.mixer.cell = cell(index)
        yield model
    finally:
        for block in blocks:
            vars(block.mixer).pop("cell", None)
