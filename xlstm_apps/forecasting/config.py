"""The `head` section of a forecasting recipe: what is forecast, and how the model sees the past."""

from dataclasses import dataclass, field, replace
from typing import Literal

from xlstm_apps.core.config import xLSTMConfig

BACKBONE = xLSTMConfig(embedding_dim=64, num_blocks=1, num_heads=4, slstm_at="all", conv1d_kernel_size=0)
"""The backbone a forecaster has unless told otherwise: one sLSTM block, small enough for two CPU cores."""


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """What to forecast and from how much of the past."""

    prediction_length: int = 24
    """Steps to forecast."""

    context_length: int | None = None
    """Steps of the past the model sees. None: two weeks of hours, three years of months and the like, at least three
    horizons, as far as the training part is long enough."""

    quantiles: list[float] = field(default_factory=lambda: [0.1, 0.5, 0.9])
    """Levels to forecast, between 0 and 1. The median, 0.5, is always computed: it is the point forecast."""

    members: list[Literal["linear", "patch"]] = field(default_factory=lambda: ["linear", "patch"])
    """Forecasters whose quantiles are averaged, each trained on its own loss: `linear` maps the past to the future with
    one matrix (NLinear), `patch` runs the xLSTM over patches of the past. Both see one series at a time."""

    patch_length: int | None = None
    """Steps per patch. None: about an eighth of the context, in whole seasons where the context holds at least four."""

    patch_stride: int | None = None
    """Steps between patches. None: the patch length, so that patches do not overlap."""

    dropout: float = 0.2
    """Dropout before the output of the patch member."""

    season: int | None = None
    """Steps in one season, for the seasonal naive baseline and for MASE. None: the one among the usual seasons of the
    data's frequency (24 and 168 for hours) that forecasts the training part best."""

    test_stride: int | None = None
    """Steps between the forecasts that are scored. None: 1, more only above 100,000 forecasts; the run says which."""

    def __post_init__(self) -> None:
        for name in ("prediction_length", "context_length", "patch_length", "patch_stride", "season", "test_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"head.{name} must be at least 1, not {value}")
        if not self.quantiles or any(not 0 < q < 1 for q in self.quantiles):
            raise ValueError(f"head.quantiles must lie between 0 and 1, not {self.quantiles}")
        if len(set(self.quantiles)) < len(self.quantiles):
            raise ValueError(f"head.quantiles repeats a level: {self.quantiles}")
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(f"head.members must name each member once, not {self.members}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"head.dropout must be at least 0 and below 1, not {self.dropout}")

    @property
    def levels(self) -> list[float]:
        """The quantile levels the model computes: those asked for and the median, in order."""
        return sorted({*self.quantiles, 0.5})

    def resolve(self, *, seasons: list[int], season: int, train_length: int) -> "ForecastConfig":
        """Fill in what was left to the data.

        Args:
            seasons: Usual seasons of the frequency, in steps; may be empty.
            season: The one chosen.
            train_length: Rows of the longest training part.

        Raises:
            ValueError: The patch is longer than the context.
        """
        context = self.context_length
        if context is None:
            # The longest usual season tells how far back a pattern may repeat; a year of days would be too far to scan.
            longest = max((s for s in seasons if s <= 200), default=season)
            context = max(2 * longest, 3 * season, 3 * self.prediction_length, 8)
            # Half the training part stays for learning from; a context below a horizon or a season is of little use.
            room = max(train_length // 2, min(train_length - self.prediction_length, season + 1), 1)
            context = min(context, room, 1024)
            if context >= 2 * season:
                context -= context % season
        patch = self.patch_length
        if patch is None:
            unit = season if context >= 4 * season else 1
            patch = unit * max(1, round(context / (8 * unit)))
        if patch > context:
            raise ValueError(f"head.patch_length {patch} is longer than the context of {context} steps")
        return replace(
            self, context_length=context, patch_length=patch, patch_stride=self.patch_stride or patch, season=season
        )
