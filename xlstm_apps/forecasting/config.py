"""The `head` section of a forecasting recipe: what is forecast, and how the model sees the past."""

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Literal, get_args

from xlstm_apps.choices import check_choices

Model = Literal["xlstm-ens", "xlstm-time", "p-slstm", "xlstm-mixer", "nlinear", "dlinear", "patchtst", "itransformer"]
Member = Literal[
    "naive", "seasonal", "ridge", "nlinear", "dlinear", "variate", "mixer", "patch", "patchtst", "itransformer"
]
UNTRAINED = {"naive", "seasonal", "ridge"}
"""Members of which training learns the quantiles beside the median alone."""


@dataclass(frozen=True, kw_only=True)
class CovariateSizes:
    """How many covariates a model reads beside the past of its targets; they follow from the table."""

    channels: int = 1
    """Target columns."""
    past: int = 0
    """Numbers known up to the cutoff only."""
    known: int = 0
    """Numbers known for the horizon too."""
    known_codes: list[int] = field(default_factory=list)
    """Categories of each categorical known covariate, the unknown one (code 0) included."""
    static: int = 0
    """Numbers per series."""
    static_codes: list[int] = field(default_factory=list)
    """Categories of each categorical static covariate, the unknown one included."""


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """What to forecast and from how much of the past."""

    prediction_length: int = 24
    """Steps to forecast."""

    model: Model = "xlstm-ens"
    """`xlstm-ens`: the mean of the last value, the last season, ridge regression, a linear forecaster, an xLSTM over
    channels and one over patches of the past, each weighted by how well it does on the validation part;
    `xlstm-time`, `p-slstm`, `xlstm-mixer`: the published architectures; the others: baselines."""

    members: list[Member] | None = None
    """Forecasters that are averaged, each trained on its own loss and weighted by its error on the validation part.
    None: those of the model."""

    context_length: int | None = None
    """Steps of the past the model sees. None: chosen on the validation part, with a linear forecaster, among lengths of
    up to 720 steps that the training part allows."""

    quantiles: list[float] = field(default_factory=lambda: [0.1, 0.5, 0.9])
    """Levels to forecast, between 0 and 1. The median, 0.5, is always computed: it is the point forecast."""

    minimum: float | Literal["auto"] | None = "auto"
    """Lowest value that can be: forecasts, intervals and samples end there. `auto`: 0 for columns of which, up to the
    test part, no value is below 0 and at least one in twenty is 0 (sales, counts, rain), as long as the past to
    forecast from does not go below either. None (`null`): no end."""

    patch_length: int | None = None
    """Steps per patch of the member `patch`. None: about an eighth of the context, in whole seasons where the context
    holds at least four."""

    patch_stride: int | None = None
    """Steps between patches. None: the patch length, so that patches do not overlap."""

    dropout: float | None = None
    """Dropout before the outputs. None: that of the model."""

    mixer_tokens: int = 2
    """Learned tokens before the channels, in the member `mixer`."""

    ridge_channels: int | None = None
    """Member `ridge`: 1 = one matrix for all columns, the number of columns = one for each. None: whichever is better
    on the validation part."""

    instance_norm: bool = True
    """Whether every window is normalised by its own mean and deviation, and denormalised after (RevIN without affine
    part). P-sLSTM as published does not."""

    season: int | None = None
    """Steps in one season, for the seasonal naive baseline and for MASE. None: the one among the usual seasons of the
    data's frequency (24 and 168 for hours) that forecasts the training part best."""

    test_stride: int | None = None
    """Steps between the forecasts that are scored. None: 1, more only above 100,000 forecasts; the run says which."""

    def __post_init__(self) -> None:
        check_choices(self, "head.")
        for name in (
            "prediction_length",
            "context_length",
            "patch_length",
            "patch_stride",
            "ridge_channels",
            "season",
            "test_stride",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"head.{name} must be at least 1, not {value}")
        if self.minimum not in (None, "auto") and not (
            isinstance(self.minimum, float | int) and isfinite(self.minimum)
        ):
            raise ValueError(f"head.minimum is a number, auto or null, not {self.minimum!r}")
        if not self.quantiles or any(not 0 < q < 1 for q in self.quantiles):
            raise ValueError(f"head.quantiles must lie between 0 and 1, not {self.quantiles}")
        if len(set(self.quantiles)) < len(self.quantiles):
            raise ValueError(f"head.quantiles repeats a level: {self.quantiles}")
        if self.members is not None and (not self.members or len(set(self.members)) < len(self.members)):
            raise ValueError(f"head.members must name each member once, not {self.members}")
        for name in self.members or ():
            if name not in get_args(Member):
                raise ValueError(f"head.members are among {', '.join(get_args(Member))}, not {name!r}")
        if self.members and UNTRAINED.issuperset(self.members) and self.levels == [0.5]:
            names = " and ".join(self.members)
            raise ValueError(f"{names}: nothing to learn but quantiles; add one, or another of head.members")
        if self.mixer_tokens < 0:
            raise ValueError(f"head.mixer_tokens must not be negative, not {self.mixer_tokens}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"head.dropout must be at least 0 and below 1, not {self.dropout}")

    @property
    def levels(self) -> list[float]:
        """The quantile levels the model computes: those asked for and the median, in order."""
        return sorted({*self.quantiles, 0.5})

    def resolve(self, *, context_length: int, season: int) -> "ForecastConfig":
        """Fill in what was left to the data.

        Args:
            context_length: Steps of the past.
            season: Steps in one season.

        Raises:
            ValueError: The patch is longer than the context.
        """
        patch = self.patch_length
        if patch is None:
            unit = season if context_length >= 4 * season else 1
            patch = unit * max(1, round(context_length / (8 * unit)))
        if patch > context_length:
            raise ValueError(f"head.patch_length {patch} is longer than the context of {context_length} steps")
        return replace(
            self,
            context_length=context_length,
            patch_length=patch,
            patch_stride=self.patch_stride or patch,
            season=season,
        )
