"""Forecast a table: train, predict, evaluate, backtest.

xlstm-apps forecast train --data.path sales.csv --head.prediction_length 28
xlstm-apps forecast predict runs/forecast-sales-20260101-120000 --output next.csv
"""

from typing import Literal

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.config import OtherTable, SeriesData, TableToForecast
from xlstm_apps.forecasting.config import ForecastConfig
from xlstm_apps.forecasting.presets import BACKBONE
from xlstm_apps.recipes.config import SearchConfig
from xlstm_apps.training.config import Device, FitConfig

Baseline = Literal["naive2", "auto_ets"]
FIT = FitConfig()


def train(
    data: SeriesData,
    head: ForecastConfig = ForecastConfig(),  # noqa: B008 - frozen
    backbone: xLSTMConfig = BACKBONE,
    fit: FitConfig = FIT,
    from_model: str | None = None,
    baselines: list[Baseline] | None = None,
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
        from_model: Go on from the model of this run or folder. Its weights fix context, quantiles and network; targets
            are scaled by the new table, covariates as the model learned them. The learning rate is a third of the
            usual one unless given.
        baselines: More to compare with, beside seasonal naive, NLinear and naive: naive2 (of the M4 competition),
            auto_ets (exponential smoothing, chosen for every window; slow, needs statsforecast).
        run_dir: Folder for the results. None: runs/forecast-<file>-<time>; with resume: the newest of those.
        seed: Seed of weights, order of batches and dropout.
        resume: Go on where a killed or stopped run left off, to the same result.
    """
    from xlstm_apps.recipes import _forecast as steps
    from xlstm_apps.recipes._run import finish

    job = steps.prepare(data, head, backbone, fit, seed, from_model, baselines)
    folder = steps.open_run(job, run_dir, resume)
    if folder is None:
        return  # finished before; said so
    model = steps.fit_model(job, folder, resume)
    baseline = steps.fit_baseline(job, folder)
    steps.score(job, folder, model, baseline)
    steps.predict_beyond(job, folder)
    results = {
        "report.html": "plots, comparison, data summary: open it in a browser",
        "predictions.csv": f"the next {job.plan.head.prediction_length} steps after the last row",
        "model/": f"to forecast other data: xlstm-apps forecast predict {folder.path} --data.path FILE",
    }
    if not (folder.path / "predictions.csv").is_file():  # said why above
        del results["predictions.csv"]
    finish(folder, job.started, results)


def predict(
    model: str,
    data: TableToForecast = TableToForecast(),  # noqa: B008 - frozen
    output: str | None = None,
    level: list[float] | None = None,
    quantiles: list[float] | None = None,
    samples: int | None = None,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Forecast beyond the end of a table with a trained model, without training.

    Args:
        model: Run folder of a training, or model folder.
        data: The table to forecast.
        output: File to write, .tsv, .csv or .parquet. None: CSV on the standard output.
        level: Central intervals in percent, such as 80,95: columns xLSTM, xLSTM-lo-80, xLSTM-hi-80 ...
        quantiles: Levels between 0 and 1, one column each. None: those of the training.
        samples: Write so many possible futures of every series instead, as rows of unique_id, ds, sample, y_hat.
        seed: Seed of the possible futures.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.estimators.trained import check_levels
    from xlstm_apps.recipes import _forecast_output as out
    from xlstm_apps.recipes import _forecast_saved as saved

    check_levels(quantiles, level)
    if samples is not None and (quantiles is not None or level is not None):
        raise ValueError("samples gives possible futures, not intervals; leave out level and quantiles")
    target = out.Output(output)
    trained = saved.Trained(model, device, data)
    target.write(trained.predict(quantiles=quantiles, level=level, samples=samples, seed=seed))


def evaluate(
    model: str,
    data: OtherTable = OtherTable(),  # noqa: B008 - frozen
    output: str | None = None,
    baselines: list[Baseline] | None = None,
    device: Device = "auto",
) -> None:
    """Score a trained model and the baselines on the test part of its table, or of a new one.

    Args:
        model: Run folder of a training.
        data: Table whose last part is scored, split as the training's was.
        output: Folder for comparison.csv, horizon.csv, series.csv, calibration.csv and residuals.csv. None: only the
            table is shown.
        baselines: More to compare with: naive2, auto_ets.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _forecast_saved as saved

    saved.Trained(model, device, data).evaluate(output, baselines or [])


def backtest(
    model: str,
    data: OtherTable = OtherTable(),  # noqa: B008 - frozen
    n_windows: int = 5,
    step_size: int | None = None,
    output: str | None = None,
    refit: bool | int = False,
    level: list[float] | None = None,
    quantiles: list[float] | None = None,
    device: Device = "auto",
) -> None:
    """Forecast from several cutoffs at the end of a table, each knowing only what came before it.

    Args:
        model: Run folder of a training.
        data: The table. In the training's own the cutoffs lie in the test part, unless refitted.
        n_windows: Number of cutoffs; the last one leaves just one horizon. A shorter series has as many as fit.
        step_size: Steps between cutoffs. None: the horizon, so that windows do not overlap.
        output: File to write, .tsv, .csv or .parquet: unique_id, ds, cutoff, y and a column per quantile. None: CSV on
            the standard output.
        refit: Train anew, with the settings of the run, on what came before every cutoff, or every so many cutoffs.
            False: the model as it is.
        level: Central intervals in percent, such as 80,95.
        quantiles: Levels between 0 and 1. None: those of the training.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.estimators.forecast_rolling import refit_interval
    from xlstm_apps.estimators.trained import check_levels
    from xlstm_apps.recipes import _forecast_output as out
    from xlstm_apps.recipes import _forecast_saved as saved

    check_levels(quantiles, level)
    every = refit_interval(refit, n_windows) if refit else 0
    target = out.Output(output)
    trained = saved.Trained(model, device, data)
    target.write(trained.backtest(n_windows, step_size, refit=every, quantiles=quantiles, level=level))


def explain(
    model: str,
    data: OtherTable = OtherTable(),  # noqa: B008 - frozen
    windows: int = 200,
    segment_length: int | None = None,
    output: str | None = None,
    device: Device = "auto",
) -> None:
    """Find out which columns and which past steps the forecasts rest on, by hiding each in turn.

    Writes variates.csv, segments.csv, steps.csv and explain.html with plots.

    Args:
        model: Run folder of a training, or model folder.
        data: Table whose last part is used; of the training's own the test part.
        windows: Most held-out windows to measure on; many columns lower it.
        segment_length: Steps of the past hidden at a time. None: whole seasons, or a fourteenth of the context.
        output: Folder to write to. None: `explain` in the run folder.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _forecast_explain as steps
    from xlstm_apps.recipes._forecast_saved import Trained

    folder = steps.output_folder(model, output)
    steps.write(steps.explain_trained(Trained(model, device, data), windows, segment_length), folder)


def tune(
    data: SeriesData,
    head: ForecastConfig = ForecastConfig(),  # noqa: B008 - frozen
    backbone: xLSTMConfig = BACKBONE,
    fit: FitConfig = FIT,
    search: SearchConfig = SearchConfig(),  # noqa: B008 - frozen
    trials: int = 20,
    minutes: float | None = None,
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Search for better settings on the validation part; writes best.yaml for `forecast train --config`.

    Leaves a folder with best.yaml, trials.csv and the Optuna study (study.db). The test part is never looked at.

    Args:
        data: The table and how its time span is split.
        head: What to forecast; the settings as given are the first trial.
        backbone: The xLSTM inside.
        fit: How to train one trial.
        search: What may vary.
        trials: Trials in all, those of a resumed study included.
        minutes: Start no further trial after this time. None: no limit.
        run_dir: Folder for the results. None: runs/tune-<file>-<time>; with resume: the newest of those.
        seed: Seed of the search and of every training.
        resume: Go on with a killed or stopped study, or make a finished one longer.
    """
    from xlstm_apps.recipes import _forecast_tune as steps

    if trials < 1 or (minutes is not None and not minutes > 0):
        raise ValueError(f"trials {trials} must be at least 1, and minutes {minutes} positive")
    prepared = steps.prepare(data, head, backbone, fit, search, seed)
    folder = steps.open_study(prepared, search, run_dir, resume)
    steps.run_trials(prepared, folder, trials, minutes)
