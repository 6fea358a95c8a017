"""The steps of `forecast train`, each of which can be repeated without harm: that is how a killed run is resumed."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from xlstm_apps import training
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets import SeriesData, SeriesTable, load_table, report_text
from xlstm_apps.estimators.forecast_plan import ForecastPlan, plan_forecast
from xlstm_apps.estimators.forecast_scores import Baseline, Evaluation, Evaluator
from xlstm_apps.estimators.trained import TrainedForecaster
from xlstm_apps.estimators.warm_start import ALL_FIELDS, adopt, begin_from, check_table, read_start
from xlstm_apps.forecasting import ForecastConfig, ForecastModel, described
from xlstm_apps.recipes._forecast_comparison import show_comparison
from xlstm_apps.recipes._run import begin, find_place, fit_facts, located_model
from xlstm_apps.recipes._terminal import note, tell
from xlstm_apps.report.scores import XLSTMS
from xlstm_apps.training import FitConfig, RunFolder, files


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that passed every check."""

    plan: ForecastPlan
    evaluator: Evaluator
    sections: dict[str, Any]
    fingerprint: str
    start: TrainedForecaster | None
    """What to go on from."""
    stem: str
    seed: int
    started: float
    load_seconds: float
    console: Console
    """The error stream, for what happens on the way; results go to the standard output."""


def prepare(
    data: SeriesData,
    head: ForecastConfig,
    backbone: xLSTMConfig,
    fit: FitConfig,
    seed: int,
    from_model: str | None = None,
    baselines: list[Baseline] | None = None,
) -> Job:
    """Read the table and find out everything that could be wrong, before a folder is created.

    Raises:
        ValueError: One line that says what to change.
    """
    started, console = time.monotonic(), Console(stderr=True)
    training.check(fit)
    data = located(data)
    sections = {"data": data, "head": head, "backbone": backbone, "fit": fit, "seed": seed, "baselines": baselines}
    start = None
    if from_model is not None:
        start = read_start(from_model)
        sections["from_model"] = located_model(from_model)
        head, backbone, fit = adopt(start, head, backbone, fit)
    table = load_table(data)
    loaded = time.monotonic()
    if start is not None:
        check_table(start, table)
    plan = plan_forecast(
        table,
        head=head,
        backbone=backbone,
        fit=fit,
        **split_options(data),
        start=start.scaler if start is not None and start.scaler.covariates is not None else None,
        given=() if start is None else ALL_FIELDS,
    )
    evaluator = evaluator_for(plan, baselines or [])
    model = plan.model(seed)  # a backbone that cannot be built says so here
    if start is not None:
        plan.notes.extend(begin_from(start, plan, model))
    return Job(
        plan=plan,
        evaluator=evaluator,
        sections=sections,
        fingerprint=fingerprint(table),
        start=start,
        stem=stem(data.path),
        seed=seed,
        started=started,
        load_seconds=loaded - started,
        console=console,
    )


def located(data: SeriesData) -> SeriesData:
    """The section with a path that holds from any working directory."""
    return data if data.path.startswith("sample:") else replace(data, path=str(Path(data.path).absolute()))


def split_options(data: SeriesData) -> dict[str, Any]:
    """How the section splits a table, as `plan_forecast` takes it."""
    return {name: getattr(data, name) for name in ("val_fraction", "test_fraction", "split_rows")}


def open_run(job: Job, run_dir: str | None, resume: bool) -> RunFolder | None:
    """The folder to work in: a new one, or the one to resume; None where that run is finished."""
    console, plan = job.console, job.plan
    place = find_place(
        "forecast", job.stem, job.sections, job.fingerprint, run_dir=run_dir, resume=resume, console=console
    )
    if place is None:
        return None
    folder = begin(place, job.sections, seed=job.seed, resume=resume, console=console)
    tell(console, [*report_text(plan.table.report).splitlines(), *choices(job)])
    files.write_json(folder.path / "data_summary.json", summary(job))
    return folder


def fit_model(job: Job, folder: RunFolder, resume: bool) -> ForecastModel:
    """Train, keep the epoch that was best on the validation part, and save it as `model/`."""
    plan = job.plan
    model = plan.model(job.seed)
    if job.start is not None:
        begin_from(job.start, plan, model)
    result = plan.train_model(
        model, job.seed, run_dir=folder.path, resume=resume, console=job.console, label="training xlstm"
    )
    # The calibration comes with the scores, which look at the same held-out rows.
    data = job.sections["data"]
    if data.layout != "rows":  # a new table is read by the same column, also where its ids look like values
        data = replace(data, id_column=data.id_column or plan.table.report.get("id_column"))
    trained = TrainedForecaster.of(plan, model, data, calibrated=False)
    with files.replacing_folder(folder.model) as aside:
        trained.save(aside)
    folder.note(
        **fit_facts(result, model),
        resolved={
            "head": asdict(plan.head),
            "backbone": plan.backbone.to_dict(),
            "fit": asdict(plan.fit),
            "season": plan.season.steps,
        },
        trained_until=trained_until(plan),
        seconds={"load": round(job.load_seconds, 2), "fit": round(result.seconds, 2)},
    )
    return model


def fit_baseline(job: Job, folder: RunFolder) -> ForecastModel | None:
    """NLinear on the same windows with the same loss, steps and choice of the epoch; saved beside the run's model.

    None where the run's model is NLinear itself.
    """
    if job.plan.head.model == "nlinear":
        return None
    path = folder.path / "baselines" / "nlinear"
    if path.is_dir():
        return ForecastModel.from_pretrained(path)
    started = time.monotonic()
    model = job.plan.model(job.seed, "nlinear")
    job.plan.train_model(model, job.seed, console=job.console, label="training nlinear")
    with files.replacing_folder(path) as aside:
        model.save_pretrained(aside)
    folder.add_seconds(baseline=time.monotonic() - started)
    return model


def score(job: Job, folder: RunFolder, model: ForecastModel, baseline: ForecastModel | None) -> None:
    """Score everything on the test part and print the comparison."""
    started = time.monotonic()
    device = job.plan.device
    name = name_of(job.plan.head)
    models = {name: model.to(device)} | ({} if baseline is None else {"nlinear": baseline.to(device)})
    evaluation = job.evaluator.run(models, job.console)
    calibrator = evaluation.calibrators[name]
    if calibrator is not None:
        calibrator.at_end().to("cpu").save(folder.model)
        if beyond := calibrator.beyond(job.plan.head.levels):
            folder.note(beyond_errors=beyond)
            note(job.console, [beyond])
    write_evaluation(folder.path / "evaluation", evaluation)
    write_frame(folder.path / "evaluation" / "forecasts.csv", job.evaluator.sample(model, calibrator))
    folder.add_seconds(evaluate=time.monotonic() - started)
    show_comparison(evaluation, job.plan.head.prediction_length)


def name_of(head: ForecastConfig) -> str:
    """How the run's model is called beside its baselines: `xlstm`, or what it is where it is none."""
    return "xlstm" if head.model in XLSTMS else head.model


def predict_beyond(job: Job, folder: RunFolder) -> None:
    """Forecast what comes after the last row, where what has to be known ahead is known."""
    trained, table, path = TrainedForecaster.load(folder.model), job.plan.table, folder.path / "predictions.csv"
    try:
        write_frame(path, pl.concat(trained.predict(table, device=job.plan.device)))
    except ValueError as error:
        if table.covariates is None:
            raise
        job.console.print(f"no predictions.csv: {error}", highlight=False, soft_wrap=True)


def evaluator_for(plan: ForecastPlan, baselines: Sequence[str]) -> Evaluator:
    """The test part of a plan."""
    return Evaluator(
        plan.table,
        plan.scaler,
        plan.split,
        season=plan.season.steps,
        context_length=plan.head.context_length,
        prediction_length=plan.head.prediction_length,
        levels=plan.head.levels,
        stride=plan.head.test_stride,
        baselines=baselines,
        device=plan.device,
    )


def choices(job: Job) -> list[str]:
    """What was chosen on the user's behalf."""
    head, fit, plan = job.plan.head, job.plan.fit, job.plan
    options = f" (of {', '.join(map(str, plan.season.candidates))})" if len(plan.season.candidates) > 1 else ""
    every = f", cutoffs {job.evaluator.stride} steps apart" if job.evaluator.stride > 1 else ""
    lines = [
        f"model     {head.model}: {described(head, plan.backbone)}",
        f"windows   {head.context_length} steps of context to {head.prediction_length} ahead, patches of "
        f"{head.patch_length}, season {plan.season.steps}{options}",
        f"training  {len(plan.train):,} windows, batches of {fit.batch_size}, {fit.steps_per_epoch} to an epoch, "
        f"at most {fit.max_epochs} epochs; {len(job.evaluator.windows):,} test windows{every}",
    ]
    return lines + [f"note      {note}" for note in plan.notes]


def summary(job: Job) -> dict[str, Any]:
    """Content of data_summary.json."""
    plan, table = job.plan, job.plan.table
    names = table.item_ids or [None] * len(table)
    splits = [
        {"series": name, "rows": int(rows), "train_end": a, "val_end": b}
        for name, rows, (a, b) in list(zip(names, table.lengths, plan.split, strict=True))[:1000]
    ]
    windows = {"train": len(plan.train), "val": len(plan.valid or ()), "test": len(job.evaluator.windows)}
    return {**table.report, "splits": splits, "windows": windows, "test_stride": job.evaluator.stride}


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """The scores as CSV files in a folder."""
    files.write_rows(path / "comparison.csv", evaluation.comparison())
    files.write_rows(path / "horizon.csv", evaluation.by_step())
    files.write_rows(path / "series.csv", evaluation.by_series())
    files.write_rows(path / "calibration.csv", evaluation.calibration_rows())
    write_frame(path / "residuals.csv", evaluation.residuals)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """A frame as CSV or Parquet, by the name."""
    with files.replacing(path) as aside:
        if path.suffix == ".parquet":
            frame.write_parquet(aside)
        else:
            csv_ready(frame).write_csv(aside)


def csv_ready(frame: pl.DataFrame) -> pl.DataFrame:
    """Stamps as people write them, and numbers without the digits that single precision does not have."""
    whole = "%Y-%m-%d %H:%M:%S"
    stamps = []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Datetime):
            fraction = "" if (frame[name].dt.microsecond() == 0).all() else "%.6f"
            stamps.append(pl.col(name).dt.strftime(whole + fraction + ("%:z" if kind.time_zone else "")))
    return frame.with_columns(pl.col(pl.Float64).cast(pl.Float32), *stamps)


def trained_until(plan: ForecastPlan) -> str:
    """The latest stamp that training or the choice of the epoch has seen."""
    table = plan.table
    last = [table.timestamps[table.offsets[i] + max(end - 1, 0)] for i, (_, end) in enumerate(plan.split)]
    return str(max(last))


def fingerprint(table: SeriesTable) -> str:
    """Tells whether the data is still the same."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (table.values, table.timestamps, table.offsets):
        digest.update(array.tobytes())
    return digest.hexdigest()


def stem(path: str) -> str:
    """Name of the data for the run folder: `ETTm1` of `x/ETTm1.csv.gz`, `nyc-weather` of `sample:nyc-weather`."""
    return Path(path.removeprefix("sample:")).name.split(".")[0] or "table"
