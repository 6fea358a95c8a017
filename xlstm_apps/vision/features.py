"""Feature maps for tasks that need places: segmentation, detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from xlstm_apps.vision.model import VisionLSTM


class FeaturePyramid(nn.Module):
    """A model as a list of feature maps [B, E, *grid] behind some of its blocks; all have the same grid.

    Args:
        model: The model. What is behind the last map is taken off it: nothing stays that would get no gradient.
        out_indices: Blocks as in `VisionLSTM.forward_intermediates`; None: the ends of four equal parts.
    """

    def __init__(self, model: VisionLSTM, out_indices: int | Sequence[int] | None = None) -> None:
        super().__init__()
        depth = len(model.blocks)
        quarters = sorted({max(1, depth * part // 4) - 1 for part in range(1, 5)})
        self.out_indices = model.block_indices(quarters if out_indices is None else out_indices)
        model.reset_classifier(0)
        model.blocks = model.blocks[: self.out_indices[-1] + 1]
        model.final_norm, model.pool, model.head_norm = nn.Identity(), nn.Identity(), nn.Identity()
        self.model = model

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Width and distance in pixels of every map."""
        return [self.model.feature_info[index] for index in self.out_indices]

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, C, *size] -> maps."""
        maps = self.model.forward_intermediates(x, self.out_indices, stop_early=True, intermediates_only=True)
        assert isinstance(maps, list)
        return maps
