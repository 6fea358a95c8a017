"""What all trainings share: the folder of a run, new or resumed, what a fit leaves in run.json, the last lines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from rich.console import Console
from torch import nn

from xlstm_apps.core.size import count_weights
from xlstm_apps.recipes._terminal import tell
from xlstm_apps.report import model_card, write_report
from xlstm_apps.training import RunFolder, files
from xlstm_apps.training.folder import find_run, new_path

if TYPE_CHECKING:
    from xlstm_apps.training import FitResult  # whose module loads the trainer, which those who predict do without


class Place(NamedTuple):
    """Where a run is, or will be."""

    task: str
    path: Path
    folder: RunFolder | None
    """What is there already."""
    digest: str
    """Of the files that the data comes from."""


def located_model(path: str) -> str:
    """A model by what holds from any working directory: its absolute path, or the name of a Hub repository."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def find_place(
    task: str,
    stem: str,
    sections: dict[str, Any],
    digest: str,
    *,
    run_dir: str | None,
    resume: bool,
    console: Console,
) -> Place | None:
    """The run to resume, or the path of a new one; None where nothing is left of it to do, said so.

    Args:
        task: As in run.json.
        stem: What a run without `run_dir` is named after.
        sections: Settings of the run.
        digest: Hash of the files that the data comes from.
        run_dir: The folder the user asked for.
        resume: Whether to go on with a run that is there.
        console: Where to say it.

    Raises:
        ValueError: A negative seed; the folder is in use, or what is to be resumed had other settings or files.
    """
    if sections["seed"] < 0:
        raise ValueError(f"seed={sections['seed']} must not be negative")
    folder = find_run(run_dir, task, stem) if resume else None
    if folder is None:
        return Place(task, new_path(run_dir, task, stem), None, digest)
    folder.check_same(sections, data_fingerprint=digest)
    report = folder.path / "report.html"
    if folder.finished and report.is_file():  # the report tells the status, so it is written last
        tell(console, [f"{folder.path} is finished, nothing is left to do; see {report}"])
        return None
    return Place(task, folder.path, folder, digest)


def begin(place: Place, sections: dict[str, Any], *, seed: int, resume: bool, console: Console) -> RunFolder:
    """The folder of the run, made where there is none."""
    if place.folder is not None:
        tell(console, [f"resuming {place.path}"])
        return place.folder
    folder = RunFolder.create(place.path, place.task, sections, seed=seed, data_fingerprint=place.digest)
    if resume:
        tell(console, [f"no run in {folder.path} yet: starting from the beginning"])
    return folder


def fit_facts(result: FitResult, model: nn.Module) -> dict[str, Any]:
    """What run.json says of a fit."""
    cpu, threads = result.device == "cpu", torch.get_num_threads()
    return {
        "parameters": count_weights(model),
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_value,
        "epochs": result.epochs,
        "steps": result.steps,
        "stopped": result.stopped,
        "device": f"{result.device} ({threads} thread{'s' * (threads > 1)})" if cpu else result.device,
    }


def finish(folder: RunFolder, began: float, results: dict[str, str]) -> None:
    """Mark the run finished, write report and card, and say where everything is.

    Args:
        folder: That of the run.
        began: When the command began, by `time.monotonic`.
        results: What is in the folder, and what it holds or is good for.
    """
    started = time.monotonic()
    folder.note(status="finished")
    files.write_text(folder.model / "README.md", model_card(folder.path))
    write_report(folder.path)
    folder.add_seconds(report=time.monotonic() - started)
    width = max(map(len, results)) + 2
    lines = [f"results in {folder.path} ({time.monotonic() - began:.0f} s)"]
    tell(Console(), [*lines, *(f"  {name:<{width}}{what}" for name, what in results.items())])
