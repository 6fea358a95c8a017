"""The forecaster: instance normalisation, members that read the normalised past, quantiles that cannot cross.

Shapes: B windows, L context, H horizon, C channels, Q quantile levels, S = Q - 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.forecasting.config import CovariateSizes, ForecastConfig
from xlstm_apps.forecasting.exogenous import Exogenous
from xlstm_apps.forecasting.members import build_member

# Windows that hardly move are divided by no less than a tenth of the training deviation: else their noise would become
# the signal, and a window of zeros (no rain this week) could not be given a spread.
STD_FLOOR = 0.1

Batch = dict[str, Tensor]


class ForecastModel(
    nn.Module,
    PretrainedMixin,
    library_name="xlstm-apps",
    tags=["time-series-forecasting", "xlstm"],
    license="apache-2.0",
):
    """Quantile forecaster for any number of series and channels.

    Every channel of every window is normalised by its own observed mean and deviation (RevIN without affine part, Kim
    et al., ICLR 2022), read by each member, denormalised; the forecast is the weighted mean of the members' quantiles.
    Missing values are masked. A window's forecast depends on no other window.

    Args:
        head: What to forecast; resolved, so that every choice is made.
        backbone: The xLSTM of the members.
        covariates: What is known beside the past of the targets; None: nothing.
    """

    def __init__(self, head: ForecastConfig, backbone: xLSTMConfig, covariates: CovariateSizes | None = None):
        super().__init__()
        assert head.context_length and head.patch_length and head.members, "resolve the head first"
        assert head.dropout is not None, "resolve the head first"
        self.head, self.backbone, self.covariates = head, backbone, covariates
        self.levels = head.levels
        self.median = self.levels.index(0.5)
        self.register_buffer("level_values", torch.tensor(self.levels), persistent=False)
        self.members = nn.ModuleDict({name: build_member(name, head, backbone) for name in head.members})
        # One per member: members are trained, and their best epochs chosen, apart from each other.
        self.exogenous = nn.ModuleDict(
            {} if covariates is None else {name: Exogenous(covariates, head) for name in head.members}
        )
        self.register_buffer("weights", torch.full((len(self.members),), 1 / len(self.members)))

    def forward(self, batch: Batch) -> Tensor:
        """Forecast.

        Args:
            batch: `context` [B, L, C], scaled; `context_mask` [B, L, C] bool, True where observed (values elsewhere are
                ignored); where the model has covariates: `past`, `past_mask` [B, L, P], `known` [B, L + H, F],
                `known_codes`, `static` [B, G], `static_codes`.

        Returns:
            Quantiles in the order of `levels`, [B, H, C, Q], in the units of `context`.
        """
        return torch.stack([w * y for w, y in zip(self.weights, self.forward_members(batch), strict=True)]).sum(0)

    def forward_members(self, batch: Batch) -> list[Tensor]:
        """The forecasts of the single members, each [B, H, C, Q]."""
        length = batch["context"].shape[1]
        if length != self.head.context_length:
            raise ValueError(f"the model sees {self.head.context_length} steps of context, not {length}")
        x, seen = batch["context"].transpose(1, 2), batch["context_mask"].transpose(1, 2)  # [B, C, L]
        mean, std = masked_moments(x, seen)
        units = {True: (mean, std), False: (torch.zeros_like(mean), torch.ones_like(std))}
        past = {}
        forecasts = []
        for name, member in self.members.items():
            normal = self.head.instance_norm and member.normalised
            mean, std = units[normal]
            if normal not in past:
                past[normal] = fill((x - mean) / std, seen)
            known, future = self.exogenous[name](batch) if name in self.exogenous else (None, None)
            inputs = past[normal] if known is None else fill((x - mean) / std - known, seen)
            which = (batch.get("channels"),) if getattr(member, "by_channel", False) else ()
            median, raw = member(inputs, seen, *which)
            if future is not None:
                median = median + future
            quantiles = self.ordered(median, raw) * std[..., None] + mean[..., None]  # [B, C, H, Q]
            forecasts.append(quantiles.transpose(1, 2))
        return forecasts

    def ordered(self, median: Tensor, raw: Tensor) -> Tensor:
        """Quantiles that cannot cross: steps of softplus > 0 away from the median.

        Args:
            median: [B, C, H].
            raw: Unbounded step sizes, [B, C, H, S]: first those below the median, nearest last, then those above.
        """
        steps = F.softplus(raw).unbind(-1)
        quantiles = [median]
        for step in reversed(steps[: self.median]):
            quantiles.insert(0, quantiles[0] - step)
        for step in steps[self.median :]:
            quantiles.append(quantiles[-1] + step)
        return torch.stack(quantiles, dim=-1)


def masked_moments(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored deviation over the observed values of the last axis, [..., 1] each; without any 0 and floor."""
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(seen, x, 0).sum(-1, keepdim=True) / count
    variance = torch.where(seen, x - mean, 0).square().sum(-1, keepdim=True) / count
    return mean, (variance + STD_FLOOR**2).sqrt()


def fill(x: Tensor, seen: Tensor) -> Tensor:
    """Carry the last observed value forward over gaps, and the first one back to the start; 0 where none was seen."""
    x = torch.where(seen, x, 0)
    can_look = x.device.type == "cpu" and not torch.compiler.is_compiling()  # looking would make a GPU wait
    for towards in ("end", "start"):
        reach = 1  # doubled until it spans the axis: GPUs take far longer over a running maximum
        while reach < x.shape[-1] and not (can_look and bool(seen.all())):
            pad = (reach, 0) if towards == "end" else (0, reach)
            part = slice(None, -reach) if towards == "end" else slice(reach, None)
            x = torch.where(seen, x, F.pad(x[..., part], pad))
            seen = seen | F.pad(seen[..., part], pad)
            reach *= 2
    return x


def last_steps(batch: Batch, context: int, horizon: int) -> Batch:
    """The batch with no more of the past than `context` steps."""
    kept = {"context": context, "context_mask": context, "past": context, "past_mask": context}
    kept |= {"known": context + horizon, "known_codes": context + horizon}
    return {name: x[:, -kept[name] :] if name in kept else x for name, x in batch.items()}
