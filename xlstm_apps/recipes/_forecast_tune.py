"""The search behind `forecast tune`: an Optuna study in a run folder that sees the validation part, never the test.

Trial 0 is the settings as given, so the best of a study is never worse than they are. What a trial tries follows from
the seed and the trials before it, so a killed study that is resumed ends as one that was not.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from xlstm_apps import training
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets import SeriesData, SeriesTable, load_table, report_text
from xlstm_apps.estimators.forecast_plan import ForecastPlan, plan_forecast
from xlstm_apps.forecasting import ForecastConfig
from xlstm_apps.recipes._forecast import fingerprint, located, split_options, stem
from xlstm_apps.recipes._forecast_search import applied, search_space, validation_loss
from xlstm_apps.recipes._terminal import table_console
from xlstm_apps.recipes.config import SearchConfig
from xlstm_apps.training import FitConfig, RunFolder, files
from xlstm_apps.training.folder import dump_config, find_run, new_path
from xlstm_apps.training.signals import Interrupted, StopSignals

SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Search:
    """A study that passed every check."""

    table: SeriesTable
    sections: dict[str, Any]
    """data, head, backbone, fit as given."""
    space: dict[str, Any]
    """Optuna distribution of every setting that varies."""
    given: dict[str, Any]
    """The settings as given, in the same terms."""
    seed: int
    fingerprint: str
    console: Console

    def settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """The sections of a trial."""
        return {"data": self.sections["data"], **applied(chosen, self.sections)}

    def plan(self, chosen: dict[str, Any]) -> ForecastPlan:
        settings = self.settings(chosen)
        data = settings.pop("data")
        return plan_forecast(self.table, **settings, **split_options(data))


def prepare(
    data: SeriesData, head: ForecastConfig, backbone: xLSTMConfig, fit: FitConfig, search: SearchConfig, seed: int
) -> Search:
    """Read the table and find out everything that could be wrong, before a folder is created.

    Raises:
        ValueError: One line that says what to change.
    """
    optuna = import_optuna()
    training.check(fit)
    data = located(data)
    table = load_table(data)
    plan = plan_forecast(table, head=head, backbone=backbone, fit=fit, **split_options(data))
    if plan.valid is None:
        raise ValueError(
            "tune chooses on the validation part, and there is none; raise --data.val_fraction or bring more rows"
        )
    plan.model(seed)
    space, given = search_space(optuna.distributions, search, plan)
    if not space:
        raise ValueError("nothing to search: every list of the search section is empty or holds one value")
    return Search(
        table=table,
        sections={"data": data, "head": head, "backbone": backbone, "fit": fit},
        space=space,
        given=given,
        seed=seed,
        fingerprint=fingerprint(table),
        console=Console(stderr=True),
    )


def open_study(search: Search, config: SearchConfig, run_dir: str | None, resume: bool) -> RunFolder:
    """The folder to work in: a new one, or the one to resume."""
    console = search.console
    sections = {**search.sections, "search": config, "seed": search.seed}
    name = stem(search.sections["data"].path)
    folder = find_run(run_dir, "tune", name) if resume else None
    if folder is not None:
        if folder.facts["task"] != "tune":
            raise ValueError(f"{folder.path} holds a training, not a search; give the folder that tune reported")
        folder.check_same(sections, data_fingerprint=search.fingerprint)
        console.print(f"resuming {folder.path}", soft_wrap=True)
        return folder
    path = new_path(run_dir, "tune", name)
    folder = RunFolder.create(path, "tune", sections, seed=search.seed, data_fingerprint=search.fingerprint)
    console.print(report_text(search.table.report), highlight=False, soft_wrap=True)
    console.print(
        f"search    {', '.join(search.space)}; chosen on the validation part, the test part is not looked at",
        highlight=False,
        soft_wrap=True,
    )
    return folder


def run_trials(search: Search, folder: RunFolder, trials: int, minutes: float | None) -> None:
    """Go on with the study until it has `trials` trials or `minutes` have passed.

    Raises:
        SystemExit: SIGINT or SIGTERM stopped it (code 130); what was found so far is written.
        ValueError: Every trial failed.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    # Between trainings a signal only sets a flag: raised there, it could end in a finaliser, which swallows it.
    with study_in(folder.path / "study.db") as study, StopSignals(announce=False) as stop:
        take_up(study)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(search.given)
        try:
            while (number := len(finished(study))) < trials and (deadline is None or time.monotonic() < deadline):
                if stop.received:
                    raise Interrupted(stop.received)
                one_trial(search, folder, study, number, trials)
        except (Interrupted, KeyboardInterrupt):
            if best_of(study) is not None:
                write_best(search, folder, study)
            search.console.print(
                f"stopped after {number} of {trials} trials; go on with --resume --run_dir {folder.path}",
                highlight=False,
                soft_wrap=True,
            )
            raise SystemExit(130) from None
        if best_of(study) is None:
            reasons = [trial.user_attrs.get("reason", "") for trial in finished(study)]
            raise ValueError(f"no trial succeeded; the last one: {reasons[-1]}" if reasons else "no time for a trial")
        write_best(search, folder, study)
        folder.note(status="finished", trials=len(finished(study)))
        show(search, folder, study)


def one_trial(search: Search, folder: RunFolder, study: Any, number: int, trials: int) -> None:
    """Train once with settings chosen by the sampler, and tell the study how it went."""
    optuna = import_optuna()
    states = optuna.trial.TrialState
    # A sampler of its own for every trial: its choice depends on the trials done, not on whether they were interrupted.
    words = np.random.SeedSequence((search.seed, number)).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(words[0]))
    trial = study.ask(search.space)
    started, seen = time.monotonic(), []

    def after_epoch(row: dict[str, Any]) -> bool:
        seen.append(row["val_loss"])
        trial.report(min(seen), row["epoch"])
        return trial.should_prune()

    try:
        plan = search.plan(trial.params)
        model = plan.model(search.seed)
        trial.set_user_attr("parameters", count_weights(model))
        result = plan.train_model(model, search.seed, after_epoch=after_epoch)
        loss = validation_loss(plan, model)
    except (ValueError, torch.OutOfMemoryError) as error:
        trial.set_user_attr("reason", " ".join(str(error).split())[:300])
        study.tell(trial, state=states.FAIL)
        note = f"failed: {trial.user_attrs['reason']}"
    else:
        trial.set_user_attr("best_epoch", result.best_epoch)
        trial.set_user_attr("val_loss", loss)
        pruned = result.stopped == "caller"
        trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
        study.tell(trial, None if pruned else loss, state=states.PRUNED if pruned else None)
        note = f"validation loss {loss:.4f}" + (", given up early" if pruned else "")
    files.write_rows(folder.path / "trials.csv", rows(search, study))
    best = best_of(study)
    beside = f"  (best {best.value:.4f})" if best is not None else ""
    search.console.print(
        f"trial {number + 1}/{trials}: {note}{beside}  {time.monotonic() - started:.0f} s  {in_words(trial.params)}",
        highlight=False,
        soft_wrap=True,
    )


def take_up(study: Any) -> None:
    """A trial that a kill cut short is tried again."""
    optuna = import_optuna()
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)


def finished(study: Any) -> list[Any]:
    """Trials that came to an end, be it a failure that says why."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED") or "reason" in trial.user_attrs
    ]


def best_of(study: Any) -> Any | None:
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    return min(done, key=lambda trial: (trial.value, trial.number), default=None)


def rows(search: Search, study: Any) -> list[dict[str, Any]]:
    """Content of trials.csv."""
    states = {"COMPLETE": "done", "PRUNED": "given up early", "FAIL": "failed"}
    out = []
    for number, trial in enumerate(finished(study)):
        names = ("val_loss", "best_epoch", "parameters", "seconds", "reason")
        value, *facts = (trial.user_attrs.get(name) for name in names)
        settings = {name: trial.params.get(name) for name in search.space}
        out.append(
            {
                "trial": number,
                "state": states[trial.state.name],
                "val_loss": value,
                **settings,
                **dict(zip(names[1:], facts, strict=True)),
            }
        )
    return out


def write_best(search: Search, folder: RunFolder, study: Any) -> None:
    """best.yaml, which `forecast train --config` reads, and trials.csv."""
    best = best_of(study)
    done = finished(study)
    text = dump_config({**search.settings(best.params), "seed": search.seed})
    files.write_text(
        folder.path / "best.yaml",
        f"# Best of {len(done)} trials by the loss on the validation part: {best.value:.6g} "
        f"(as given: {done[0].value if done[0].value is not None else float('nan'):.6g}).\n"
        f"# command: xlstm-apps forecast train --config {folder.path / 'best.yaml'}\n{text}",
    )
    files.write_rows(folder.path / "trials.csv", rows(search, study))
    folder.note(best={"trial": done.index(best), "val_loss": best.value, **best.params})


def show(search: Search, folder: RunFolder, study: Any) -> None:
    """The best trials as a table, and what to do next."""
    every = rows(search, study)
    ranked = sorted((row for row in every if row["state"] == "done"), key=lambda row: (row["val_loss"], row["trial"]))
    table = Table(title=f"Best of {len(every)} trials, by the loss on the validation part", header_style="bold")
    table.add_column("trial", justify="right", no_wrap=True)
    for name in ("val loss", *search.space, "epoch", "seconds"):
        table.add_column(name.replace("_", " "), justify="right")
    for place, row in enumerate(ranked[:SHOWN]):
        number = f"{row['trial']} (as given)" if row["trial"] == 0 else str(row["trial"])
        cells = [f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in search.space]
        style = "bold" if place == 0 else None
        table.add_row(
            number, f"{row['val_loss']:.4f}", *cells, str(row["best_epoch"]), f"{row['seconds']:.0f}", style=style
        )
    console = table_console()
    console.print(table)
    if ranked[0]["trial"] == 0:
        console.print("No trial did better than the settings as given.")
    console.print(
        f"train the best: xlstm-apps forecast train --config {folder.path / 'best.yaml'}",
        highlight=False,
        soft_wrap=True,
    )


def in_words(params: dict[str, Any]) -> str:
    return " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


@contextmanager
def study_in(path: Path) -> Iterator[Any]:
    """The study in an SQLite file, created where there is none. Any Optuna tool can open it too."""
    optuna = import_optuna()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    try:
        yield optuna.create_study(
            study_name="forecast",
            storage=storage,
            direction="minimize",
            # Only what is clearly behind: an epoch's loss is the members' mean, the study's is that of their forecast.
            pruner=optuna.pruners.PercentilePruner(75.0, n_startup_trials=5, n_warmup_steps=3),
            load_if_exists=True,
        )
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(verbosity)


def import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ValueError("tune needs Optuna: pip install 'xlstm-apps[tune]'") from None
    return optuna
