"""The forecaster: instance normalisation, members that read the normalised past, quantiles that cannot cross.

Shapes: B windows, L context, H horizon, C channels, R = B * C rows (every channel is a series of its own), P patch
length, N patches, E embedding, Q quantile levels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xlstm_apps.core import xLSTMBackbone, xLSTMConfig
from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.forecasting.config import ForecastConfig

# Windows that hardly move are divided by no less than a tenth of the training deviation: else their noise would become
# the signal, and a window of zeros (no rain this week) could not be given a spread.
STD_FLOOR = 0.1


class ForecastModel(
    nn.Module,
    PretrainedMixin,
    library_name="xlstm-apps",
    tags=["time-series-forecasting", "xlstm"],
    license="apache-2.0",
):
    """Quantile forecaster for any number of series and channels.

    Every channel of every window is normalised by its own observed mean and deviation (RevIN without affine part, Kim
    et al., ICLR 2022), read by each member, denormalised; the forecast is the mean of the members' quantiles. Missing
    values are masked. A row's forecast depends on no other row.

    Args:
        head: What to forecast; resolved, so that every length is a number.
        backbone: The xLSTM of the patch member.
    """

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        assert head.context_length and head.patch_length and head.patch_stride, "resolve the head first"
        self.head, self.backbone = head, backbone
        self.levels = head.levels
        self.median = self.levels.index(0.5)
        members: dict[str, nn.Module] = {}
        for name in head.members:
            members[name] = LinearMember(head) if name == "linear" else PatchMember(head, backbone)
        self.members = nn.ModuleDict(members)

    def forward(self, context: Tensor, mask: Tensor) -> Tensor:
        """Forecast.

        Args:
            context: Scaled past, [B, L, C]; values under a False mask are ignored.
            mask: True where observed, [B, L, C] bool.

        Returns:
            Quantiles in the order of `levels`, [B, H, C, Q], in the units of `context`.
        """
        return torch.stack(self.forward_members(context, mask)).mean(0)

    def forward_members(self, context: Tensor, mask: Tensor) -> list[Tensor]:
        """The forecasts of the single members, each [B, H, C, Q]."""
        windows, length, channels = context.shape
        if length != self.head.context_length:
            raise ValueError(f"the model sees {self.head.context_length} steps of context, not {length}")
        x = context.transpose(1, 2).reshape(windows * channels, length)
        seen = mask.transpose(1, 2).reshape(windows * channels, length)
        mean, std = masked_moments(x, seen)
        filled = fill((x - mean) / std, seen)
        forecasts = []
        for member in self.members.values():
            median, raw = member(filled, seen)
            quantiles = self.ordered(median, raw) * std[..., None] + mean[..., None]  # [R, H, Q]
            forecasts.append(quantiles.unflatten(0, (windows, channels)).transpose(1, 2))
        return forecasts

    def ordered(self, median: Tensor, raw: Tensor) -> Tensor:
        """Quantiles that cannot cross: steps of softplus > 0 away from the median.

        Args:
            median: [R, H].
            raw: Unbounded step sizes, [R, H, Q - 1]: first those below the median, nearest last, then those above.
        """
        step = F.softplus(raw)
        below, above = step[..., : self.median], step[..., self.median :]
        centre = median[..., None]
        lower = centre - below.flip(-1).cumsum(-1).flip(-1)
        return torch.cat([lower, centre, centre + above.cumsum(-1)], dim=-1)


class LinearMember(nn.Module):
    """The past minus its last value, times one matrix, plus that value (NLinear, Zeng et al., AAAI 2023)."""

    def __init__(self, head: ForecastConfig):
        super().__init__()
        steps = len(head.levels) - 1
        self.median = nn.Linear(head.context_length, head.prediction_length)
        nn.init.constant_(self.median.weight, 1 / head.context_length)  # start from the mean of the context
        nn.init.zeros_(self.median.bias)
        # Zero weights: every window starts with the same spreads. The median alone needs none.
        self.spread = nn.Parameter(torch.zeros(head.context_length, steps))
        self.spread_by_step = nn.Parameter(torch.full((head.prediction_length, steps), -0.5))

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Median [R, H] and raw spreads [R, H, Q - 1] of the filled past x [R, L]."""
        last = x[:, -1:]
        return last + self.median(x - last), (x @ self.spread)[:, None] + self.spread_by_step


class PatchMember(nn.Module):
    """xLSTM over patches of the past (as P-sLSTM, Kong et al., AAAI 2025, here with mask and instance norm)."""

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig):
        super().__init__()
        self.patch, self.stride = head.patch_length, head.patch_stride
        count = -(-max(head.context_length - self.patch, 0) // self.stride) + 1
        self.padding = (count - 1) * self.stride + self.patch - head.context_length
        self.shape = (head.prediction_length, len(head.levels) - 1)
        width = backbone.embedding_dim
        self.embed = nn.Linear(2 * self.patch, width)
        self.backbone = xLSTMBackbone(backbone)
        self.dropout = nn.Dropout(head.dropout)
        self.median = nn.Linear(count * width, head.prediction_length)
        self.spread = None  # where the median alone is asked for
        if self.shape[1] > 0:
            self.spread = nn.Linear(width, self.shape[0] * self.shape[1])
            nn.init.constant_(self.spread.bias, -0.5)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Median [R, H] and raw spreads [R, H, Q - 1] of the filled past x [R, L], observed where seen [R, L]."""
        both = torch.stack([x, seen.to(x.dtype)], dim=1)  # [R, 2, L]
        both = F.pad(both, (self.padding, 0)).unfold(2, self.patch, self.stride)  # [R, 2, N, P]
        hidden = self.backbone(self.embed(both.transpose(1, 2).flatten(2)))  # [R, N, E]
        hidden = self.dropout(hidden)
        raw = x.new_zeros(len(x), *self.shape)
        if self.spread is not None:
            raw = self.spread(hidden[:, -1]).unflatten(1, self.shape)
        return self.median(hidden.flatten(1)), raw


def masked_moments(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored deviation of the observed values of each row, [R, 1] each; 0 and the floor without any."""
    count = seen.sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(seen, x, 0).sum(1, keepdim=True) / count
    variance = torch.where(seen, x - mean, 0).square().sum(1, keepdim=True) / count
    return mean, (variance + STD_FLOOR**2).sqrt()


def fill(x: Tensor, seen: Tensor) -> Tensor:
    """Carry the last observed value forward over gaps, and the first one back to the start; 0 where none was seen."""
    place = torch.arange(x.shape[1], device=x.device).expand_as(x)
    last = torch.where(seen, place, -1).cummax(1).values
    first = torch.where(seen, place, x.shape[1]).amin(1, keepdim=True).clamp(max=x.shape[1] - 1)
    return torch.where(seen.any(1, keepdim=True), x.gather(1, torch.where(last < 0, first, last)), 0)
