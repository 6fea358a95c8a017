"""Forecast a table: train, predict, evaluate, backtest.

xlstm-apps forecast train --data.path sales.csv --head.prediction_length 28
xlstm-apps forecast predict runs/forecast-sales-20260101-120000 --output next.csv
"""

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.config import SeriesData
from xlstm_apps.forecasting.config import BACKBONE, ForecastConfig
from xlstm_apps.training.config import FitConfig

FIT = FitConfig(learning_rate=3e-3)
"""How a forecaster is trained unless told otherwise: small networks bear a high rate."""


def train(
    data: SeriesData,
    head: ForecastConfig = ForecastConfig(),  # noqa: B008 - frozen
    backbone: xLSTMConfig = BACKBONE,
    fit: FitConfig = FIT,
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Train a forecaster on a table, compare it with baselines on the held-out last part, forecast beyond the end.

    Leaves a run folder with the model, scores, predictions.csv and report.html.

    Args:
        data: The table and how its time span is split.
        head: What to forecast.
        backbone: The xLSTM inside.
        fit: How to train.
        run_dir: Folder for the results. None: runs/forecast-<file>-<time>; with resume: the newest of those.
        seed: Seed of weights, order of batches and dropout.
        resume: Go on where a killed or stopped run left off, to the same result.
    """
    from xlstm_apps.recipes import _forecast as steps

    job = steps.prepare(data, head, backbone, fit, seed)
    folder = steps.open_run(job, run_dir, resume)
    if folder is None:
        return  # finished before; said so
    model = steps.fit_model(job, folder, resume)
    baseline = steps.fit_baseline(job, folder)
    steps.score(job, folder, model, baseline)
    steps.predict_beyond(job, folder, model)
    steps.finish(job, folder)


def predict(run_dir: str, data_path: str | None = None, output: str | None = None) -> None:
    """Forecast beyond the end of a table with a trained model, without training.

    Args:
        run_dir: Run folder of a training, or a model folder.
        data_path: New table, read as the training's was. None: the training's own.
        output: File to write, .csv or .parquet. None: CSV on the standard output.
    """
    from xlstm_apps.recipes import _forecast_saved as saved

    target = saved.Output(output)
    trained = saved.Trained(run_dir)
    table = trained.table(data_path)
    target.write(trained.predict(table))


def evaluate(run_dir: str, data_path: str | None = None, output: str | None = None) -> None:
    """Score a trained model and the baselines on the test part of its table, or of a new one.

    Args:
        run_dir: Run folder of a training.
        data_path: New table, split as the training's was; its last part is scored. None: the training's own.
        output: Folder for comparison.csv, horizon.csv, series.csv and calibration.csv. None: only the table is shown.
    """
    from xlstm_apps.recipes import _forecast_saved as saved

    saved.Trained(run_dir).evaluate(data_path, output)


def backtest(
    run_dir: str,
    data_path: str | None = None,
    n_windows: int = 5,
    step_size: int | None = None,
    output: str | None = None,
) -> None:
    """Forecast from several cutoffs at the end of a table, each knowing only what came before it, without refitting.

    Args:
        run_dir: Run folder of a training.
        data_path: New table. None: the training's own, where the cutoffs must lie in its test part.
        n_windows: Number of cutoffs; the last one leaves just one horizon.
        step_size: Steps between cutoffs. None: the horizon, so that windows do not overlap.
        output: File to write, .csv or .parquet: unique_id, ds, cutoff, y and a column per quantile. None: CSV on the
            standard output.
    """
    from xlstm_apps.recipes import _forecast_saved as saved

    target = saved.Output(output)
    trained = saved.Trained(run_dir)
    target.write(trained.backtest(data_path, n_windows, step_size))
