"""What trainings of sequences share: the corpus in its run folder, what a fit leaves in run.json, the last lines."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import nn

from xlstm_apps.biosequence import SequenceConfig, file_encoder, get_alphabet
from xlstm_apps.datasets.sequences import Corpus, load_corpus
from xlstm_apps.datasets.sequences.config import SequenceData, SequenceSource
from xlstm_apps.datasets.sequences.corpus import MANIFEST
from xlstm_apps.datasets.sequences.corpus_writer import fingerprint
from xlstm_apps.datasets.sequences.loading import file_class, prepared_folder, source_files
from xlstm_apps.recipes._sequence_use import tell
from xlstm_apps.report import model_card, write_report
from xlstm_apps.training import FitResult, RunFolder, files
from xlstm_apps.training.folder import find_run, new_path


def stem(data: SequenceSource) -> str:
    """What a run is named after."""
    return file_class(data.path[0].rstrip("/")).replace("*", "").replace("?", "") or "sequences"


def check_used(data: SequenceData, options: Iterable[str], verb: str) -> None:
    """Refuse options of the `data` section that only another verb has a use for.

    Raises:
        ValueError: One of them is given.
    """
    for name in options:
        if getattr(data, name) != getattr(SequenceData, name):
            raise ValueError(f"data.{name} is for `sequence {verb}`; leave it out")


def check_objective(sequence: SequenceConfig, options: Iterable[str] = ()) -> None:
    """Refuse settings of a new model that its objective, or what it is made for, has no use for.

    Args:
        sequence: The settings.
        options: Names of those that would do nothing whatever the objective.

    Raises:
        ValueError: One of them is given.
    """
    unused = {"causal": ("mask_rate", "mask_token_share", "mask_random_share"), "masked": ("begin_token",)}
    gaps = () if sequence.infills else ("infill_share", "infill_most")
    for name in (*options, *unused.get(sequence.objective, ()), *gaps):
        if getattr(sequence, name) != getattr(SequenceConfig, name):
            why = "for predictions" if name in options else f"with sequence.objective {sequence.objective}"
            why = "without sequence.infill_spans" if name in gaps else why
            raise ValueError(f"sequence.{name} does nothing {why}; leave it out")


def data_fingerprint(data: SequenceSource) -> str:
    """Hash of all files that the sequences come from."""
    prepared = prepared_folder(data)
    sources = [prepared / MANIFEST] if prepared is not None else source_files(data)
    sources += [path for name in ("regions_path", "clusters_path") if (path := getattr(data, name, None))]
    return hashlib.sha256("".join(fingerprint(source) for source in sources).encode()).hexdigest()


@contextmanager
def corpus_of(data: SequenceSource, sequence: SequenceConfig, path: Path, labels: bool = False) -> Iterator[Corpus]:
    """The corpus: in the run's folder already, prepared before, or built beside the folder that will take it."""
    codes = get_alphabet(sequence.alphabet)
    if (path / "corpus" / MANIFEST).is_file():
        yield Corpus(path / "corpus")
        return
    if prepared_folder(data) is not None and data.regions_path is None:
        yield load_corpus(data, codes, path / "corpus", labels=labels)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield load_corpus(data, codes, aside / "corpus", encode=file_encoder(codes), labels=labels)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class Place(NamedTuple):
    """Where a run is, or will be."""

    task: str
    path: Path
    folder: RunFolder | None
    """What is there already."""
    digest: str
    """Of the files that the sequences come from."""


def find_place(
    task: str, data: SequenceSource, sections: dict[str, Any], *, run_dir: str | None, resume: bool, console: Console
) -> Place | None:
    """The run to resume, or the path of a new one; None where nothing is left of it to do, said so.

    Raises:
        ValueError: The folder is in use, or what is to be resumed had other settings or files.
    """
    folder, digest = find_run(run_dir, task, stem(data)) if resume else None, data_fingerprint(data)
    if folder is None:
        return Place(task, new_path(run_dir, task, stem(data)), None, digest)
    folder.check_same(sections, data_fingerprint=digest)
    if folder.finished:
        report = folder.path / "report.html"
        tell(console, [f"{folder.path} is finished, nothing is left to do; see {report}"])
        return None
    return Place(task, folder.path, folder, digest)


def begin(
    place: Place, sections: dict[str, Any], corpus: Corpus, *, seed: int, resume: bool, console: Console
) -> RunFolder:
    """The folder of the run, made where there is none, with a corpus in it that was built beside it."""
    folder = place.folder
    if folder is None:
        folder = RunFolder.create(place.path, place.task, sections, seed=seed, data_fingerprint=place.digest)
        if resume:
            tell(console, [f"no run in {folder.path} yet: starting from the beginning"])
    else:
        tell(console, [f"resuming {folder.path}"])
    if corpus.path.parent.name.startswith(f".{place.path.name}-"):
        corpus.move(folder.path / "corpus")
    return folder


def fit_facts(result: FitResult, model: nn.Module) -> dict[str, Any]:
    """What run.json says of a fit."""
    cpu = result.device == "cpu"
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_value,
        "epochs": result.epochs,
        "steps": result.steps,
        "stopped": result.stopped,
        "device": f"{result.device} ({torch.get_num_threads()} threads)" if cpu else result.device,
    }


def finish(folder: RunFolder, began: float, verb: str) -> None:
    """Mark the run finished, write report and card, and say where everything is.

    Args:
        folder: That of the run.
        began: When the command began, by `time.monotonic`.
        verb: What the model can be used for.
    """
    started = time.monotonic()
    folder.note(status="finished")
    report = write_report(folder.path)
    files.write_text(folder.model / "README.md", model_card(folder.path))
    folder.add_seconds(report=time.monotonic() - started)
    rows = (
        (report.name, "plots, comparison, data quality: open it in a browser"),
        ("evaluation/", "the numbers behind them, as CSV"),
        ("model/", f"to use it: xlstm-apps sequence {verb} {folder.path} --data.path FILE"),
    )
    lines = [f"results in {folder.path} ({time.monotonic() - began:.0f} s)"]
    tell(Console(), [*lines, *(f"  {name:<12} {what}" for name, what in rows)])
