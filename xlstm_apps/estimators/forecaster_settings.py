"""The arguments of `XLSTMForecaster` as the sections that everything else speaks of."""

from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import SeriesData
from xlstm_apps.forecasting import BACKBONE, ForecastConfig
from xlstm_apps.training import FitConfig

if TYPE_CHECKING:
    from xlstm_apps.estimators.forecaster import XLSTMForecaster

WHOLE = (
    "prediction_length", "context_length", "season", "embedding_dim", "num_blocks", "num_heads", "max_epochs",
    "max_steps", "batch_size", "patience", "seed",
)  # fmt: skip
LISTS = (
    "past_covariates", "known_covariates", "static_covariates", "categorical_covariates", "missing_values",
    "missing_text",
)  # fmt: skip
READING = (
    "id_column", "time_column", "freq", "holidays_column", "calendar", "duplicates", "off_grid", "resample", "start",
    "time_format", "time_zone", "decimal", "val_fraction",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sections:
    """data, head, backbone and fit."""

    data: SeriesData
    head: ForecastConfig
    backbone: xLSTMConfig
    fit: FitConfig
    given: list[str]
    """Fields of the backbone that were set, for they win over the model's whatever their value."""

    def reading(self) -> dict[str, Any]:
        """Arguments of `table_from_frame`."""
        return {f.name: getattr(self.data, f.name) for f in fields(SeriesData) if f.name != "path"}


def sections_of(forecaster: "XLSTMForecaster") -> Sections:
    """The sections of a forecaster.

    Raises:
        ValueError: An argument is out of range; says which and what would do.
    """
    f = forecaster
    for name, section in (("model", ForecastConfig), ("accelerator", FitConfig)):
        known = get_args(get_type_hints(section)[name])
        if getattr(f, name) not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}, not {getattr(f, name)!r}")
    for name in ("quantiles", "target_columns", *LISTS):
        if isinstance(getattr(f, name), str | float | int):
            raise ValueError(f"{name} is a list, such as [{getattr(f, name)!r}], not {getattr(f, name)!r}")
    for name in WHOLE:
        if not isinstance(getattr(f, name), Integral | None):
            raise ValueError(f"{name} is a whole number, not {getattr(f, name)!r}")
    whole = {name: None if getattr(f, name) is None else int(getattr(f, name)) for name in WHOLE}  # of NumPy, perhaps
    names = ("embedding_dim", "num_blocks", "num_heads")
    backbone = {name: whole[name] for name in names if whole[name] is not None}
    return Sections(
        data=SeriesData(
            path="frame",
            target_columns=None if f.target_columns is None else list(f.target_columns),
            test_fraction=0.0,
            **{name: getattr(f, name) for name in READING},
            **{name: list(getattr(f, name) or []) for name in LISTS},
        ),
        head=ForecastConfig(
            model=f.model,
            quantiles=[float(q) for q in f.quantiles],
            dropout=f.dropout,
            minimum=float(f.minimum) if isinstance(f.minimum, Real) else f.minimum,
            **{name: whole[name] for name in ("prediction_length", "context_length", "season")},
        ),
        backbone=replace(BACKBONE, **backbone),
        given=list(backbone),
        fit=FitConfig(
            learning_rate=f.learning_rate,
            accelerator=f.accelerator,
            **{name: whole[name] for name in ("max_epochs", "max_steps", "batch_size", "patience")},
        ),
    )
