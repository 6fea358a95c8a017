"""What is known beside the past of the targets: past, known and static covariates.

Shapes: B windows, L context, H horizon, T = L + H, C channels, P past covariates, F known, G static, W width.
"""

import torch
from torch import Tensor, nn

from xlstm_apps.forecasting.config import CovariateSizes, ForecastConfig

WIDTH = 32
RANK = 4

Batch = dict[str, Tensor]


class Exogenous(nn.Module):
    """Effects of covariates on every channel, in units of the normalised past; at the start they are zero.

    Known covariates act at their own step, in the past as in the future: a small network gives the effect of a step,
    which is taken off the past and put onto the forecast (a regression with the series model on what is left of it,
    as in dynamic regression, Hyndman & Athanasopoulos, FPP3, 10). Past covariates and static ones shift the forecast
    by a learned path over the horizon.

    Args:
        sizes: Numbers of channels and covariates.
        head: Context and horizon.
    """

    def __init__(self, sizes: CovariateSizes, head: ForecastConfig):
        super().__init__()
        self.context, self.horizon = head.context_length, head.prediction_length
        self.static_tables = nn.ModuleList(nn.Embedding(n, 8) for n in sizes.static_codes)
        self.known_tables = nn.ModuleList(nn.Embedding(n, 8) for n in sizes.known_codes)
        static = sizes.static + 8 * len(sizes.static_codes)
        known = sizes.known + 8 * len(sizes.known_codes)
        self.step = None
        if known:
            self.step = nn.Sequential(nn.Linear(known + static, WIDTH), nn.GELU(), nn.Linear(WIDTH, sizes.channels))
            nn.init.zeros_(self.step[-1].weight)
            nn.init.zeros_(self.step[-1].bias)
        self.past = nn.Linear(2 * self.context, WIDTH) if sizes.past else None
        self.path = None
        if sizes.past or static:
            self.path = nn.Sequential(
                nn.Linear(WIDTH * sizes.past + static, WIDTH), nn.GELU(), nn.Linear(WIDTH, self.horizon * RANK)
            )
            self.gain = nn.Parameter(torch.zeros(sizes.channels, RANK))

    def forward(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Effects on the past [B, C, L] and on the future [B, C, H]; None where there are none."""
        static = self._static(batch)
        past = future = None
        if self.step is not None:
            parts = [batch["known"]] if "known" in batch else []
            parts += [table(batch["known_codes"][..., i]) for i, table in enumerate(self.known_tables)]
            if static is not None:
                parts.append(static[:, None].expand(-1, self.context + self.horizon, -1))
            effect = self._chosen(self.step(torch.cat(parts, dim=-1)), batch).transpose(1, 2)  # [B, C, T]
            past, future = effect[..., : self.context], effect[..., self.context :]
        if self.path is not None:
            parts = [] if static is None else [static]
            if self.past is not None:
                seen = batch["past_mask"]
                observed = torch.where(seen, batch["past"], 0)
                both = torch.cat([observed, seen.to(observed.dtype)], dim=1).transpose(1, 2)  # [B, P, 2L]
                parts.append(self.past(both).flatten(1))
            path = self.path(torch.cat(parts, dim=-1)).unflatten(1, (self.horizon, RANK))
            shift = self._chosen(path @ self.gain.T, batch).transpose(1, 2)
            future = shift if future is None else future + shift
        return past, future

    def _static(self, batch: Batch) -> Tensor | None:
        parts = [batch["static"]] if "static" in batch else []
        parts += [table(batch["static_codes"][:, i]) for i, table in enumerate(self.static_tables)]
        return torch.cat(parts, dim=-1) if parts else None

    @staticmethod
    def _chosen(effect: Tensor, batch: Batch) -> Tensor:
        """[B, T, C] of the channels in the batch: training may take some of them."""
        return effect if "channels" not in batch else effect.index_select(-1, batch["channels"])
