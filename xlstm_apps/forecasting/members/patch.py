"""xLSTM over patches of each channel's past."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xlstm_apps.core import xLSTMBackbone, xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig
from xlstm_apps.forecasting.members.spread import HiddenSpread


def patches(x: Tensor, length: int, stride: int, padding: int) -> Tensor:
    """[B, C, L] -> [B * C, N, length], with `padding` zeros before the first value."""
    return F.pad(x.flatten(0, 1), (padding, 0)).unfold(1, length, stride)


def patch_count(context: int, length: int, stride: int) -> tuple[int, int]:
    """Patches that cover a context to its last value, and the values missing before its first."""
    count = -(-max(context - length, 0) // stride) + 1
    return count, (count - 1) * stride + length - context


class PatchScan(nn.Module):
    """P-sLSTM (Kong et al., AAAI 2025), here with a mask: every channel by itself, patch by patch."""

    normalised = True

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        self.length, self.stride = head.patch_length, head.patch_stride
        count, self.padding = patch_count(head.context_length, self.length, self.stride)
        width, horizon = backbone.embedding_dim, head.prediction_length
        self.embed = nn.Linear(2 * self.length, width)
        self.backbone = xLSTMBackbone(backbone)
        self.dropout = nn.Dropout(head.dropout)
        self.median = nn.Linear(count * width, horizon)
        self.spread = HiddenSpread(width, horizon, len(head.levels) - 1)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, L] -> [B, C, H], [B, C, H, S]."""
        both = [patches(y, self.length, self.stride, self.padding) for y in (x, seen.to(x.dtype))]
        hidden = self.dropout(self.backbone(self.embed(torch.cat(both, dim=-1))))  # [B * C, N, E]
        hidden = hidden.unflatten(0, x.shape[:2])
        return self.median(hidden.flatten(2)), self.spread(hidden[:, :, -1])
