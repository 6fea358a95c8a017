"""Going on from a trained model on another table, or on later rows of the same one."""

from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import SeriesTable
from xlstm_apps.estimators.forecast_plan import ForecastPlan
from xlstm_apps.estimators.trained import TrainedForecaster
from xlstm_apps.forecasting import BACKBONE, PRESETS, ForecastConfig, ForecastModel
from xlstm_apps.training import FitConfig

SHAPES = (
    "model", "members", "context_length", "quantiles", "patch_length", "patch_stride", "mixer_tokens", "ridge_channels",
    "instance_norm",
)  # fmt: skip
"""Fields of the head that decide what the weights mean."""

ALL_FIELDS = [f.name for f in fields(xLSTMConfig)]

GENTLE = 1 / 3
"""Of the model's learning rate, where the user names none: the weights are good already."""


def read_start(path: str | Path) -> TrainedForecaster:
    """The forecaster in a run folder, a model folder or a folder that `XLSTMForecaster.save` wrote.

    Raises:
        ValueError: There is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"from_model {path}: no such folder; give the folder that train reported")
    if (path / "run.json").is_file():
        if not (path / "model").is_dir():
            raise ValueError(f"from_model {path}: this run has no model yet; finish it with resume")
        path = path / "model"
    return TrainedForecaster.load(path)


def adopt(
    start: TrainedForecaster, head: ForecastConfig, backbone: xLSTMConfig, fit: FitConfig, given: Collection[str] = ()
) -> tuple[ForecastConfig, xLSTMConfig, FitConfig]:
    """The settings with everything that the weights fix taken from the model.

    Raises:
        ValueError: The user asked for something else; names it.
    """
    theirs, open_head = start.model.head, ForecastConfig()
    if head.prediction_length != theirs.prediction_length:
        raise ValueError(
            f"from_model forecasts {theirs.prediction_length} steps, and prediction_length is "
            f"{head.prediction_length}; set it to {theirs.prediction_length}, or train a new model"
        )
    for name in SHAPES:
        check(f"head.{name}", getattr(head, name), getattr(open_head, name), getattr(theirs, name))
    for name in ALL_FIELDS:
        theirs_too = getattr(start.model.backbone, name)
        left_open = theirs_too if name in given else getattr(BACKBONE, name)
        check(f"backbone.{name}", getattr(backbone, name), left_open, theirs_too)
    head = replace(head, **{name: getattr(theirs, name) for name in SHAPES})
    if fit.learning_rate is None:
        fit = replace(fit, learning_rate=PRESETS[theirs.model].learning_rate * GENTLE)
    return head, start.model.backbone, fit


def check(name: str, given: Any, left_open: Any, theirs: Any) -> None:
    """Raises ValueError where the user set an option to what the model does not have."""
    if given not in (left_open, theirs):
        raise ValueError(
            f"from_model has {name} {theirs}, not {given}, and its weights fit no other; leave the option out, or "
            "train a new model"
        )


def check_table(start: TrainedForecaster, table: SeriesTable) -> None:
    """Whether a table can be learned from where the model left off.

    Raises:
        ValueError: Its steps or its covariates are others.
    """
    if table.freq != start.freq:
        raise ValueError(
            f"from_model was trained on steps of {start.freq}, and the rows of this table are {table.freq} apart; "
            "resample the table, or train a new model"
        )
    if start.scaler.covariates is None and table.covariates is not None:
        raise ValueError("from_model knows no covariates; read the table without them, or train a new model")


def begin_from(start: TrainedForecaster, plan: ForecastPlan, model: ForecastModel) -> list[str]:
    """Give a new model the weights of another; what should be said about it.

    Raises:
        ValueError: They do not fit.
    """
    if plan.covariates != start.model.covariates:
        raise ValueError(
            f"from_model was trained on the columns {', '.join(start.scaler.channels)} with covariates of its own, and "
            "this table differs; name the same columns and covariates, or train a new model"
        )
    with torch.no_grad():
        model.load_state_dict(start.model.state_dict())
    notes = [
        f"weights, {plan.head.context_length} steps of context and all that follows from them are those of from_model; "
        f"targets are scaled anew, by the training part of this table; learning rate {plan.fit.learning_rate:.2g}"
    ]
    if plan.table.channels != start.scaler.channels:
        notes.append(
            f"from_model was trained on the columns {', '.join(start.scaler.channels[:8])}, this table has "
            f"{', '.join(plan.table.channels[:8])}"
        )
    return notes
