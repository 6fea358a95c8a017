"""Trains the model of an `XLSTMForecaster` on a table."""

from typing import TYPE_CHECKING

from xlstm_apps import training
from xlstm_apps.datasets import SeriesTable
from xlstm_apps.estimators.forecast_plan import ForecastPlan, plan_forecast
from xlstm_apps.estimators.forecaster_settings import sections_of
from xlstm_apps.estimators.trained import TrainedForecaster
from xlstm_apps.estimators.warm_start import ALL_FIELDS, adopt, begin_from, check_table
from xlstm_apps.forecasting import ForecastModel

if TYPE_CHECKING:
    from xlstm_apps.estimators.forecaster import XLSTMForecaster


def train(
    forecaster: "XLSTMForecaster", table: SeriesTable, start: TrainedForecaster | None = None
) -> tuple[ForecastPlan, ForecastModel, "training.FitResult"]:
    """Plan and fit what the forecaster's arguments say; the forecaster stays as it is.

    Args:
        forecaster: Its arguments are read.
        table: All series, none of which is held back as a test.
        start: Trained model to go on from; None: from scratch.

    Raises:
        ValueError: An argument is out of range, the table is too short, or it does not fit `start`.
    """
    sections = sections_of(forecaster)
    head, backbone, fit, given = sections.head, sections.backbone, sections.fit, sections.given
    training.check(fit)
    if start is not None:
        check_table(start, table)
        head, backbone, fit = adopt(start, head, backbone, fit, given)
        given = ALL_FIELDS
    plan = plan_forecast(
        table,
        head=head,
        backbone=backbone,
        fit=fit,
        val_fraction=forecaster.val_fraction,
        test_fraction=0.0,
        start=start.scaler if start is not None and start.scaler.covariates is not None else None,
        given=given,
    )
    seed = int(forecaster.seed)  # of NumPy, perhaps
    model = plan.model(seed)
    if start is not None:
        begin_from(start, plan, model)
    console = None
    if forecaster.progress:
        from rich.console import Console

        console = Console(stderr=True)
    result = plan.train_model(model, seed, console=console)
    return plan, model.to(plan.device), result
