"""The steps of `vision segment train`, each of which can be repeated without harm: that is how a run is resumed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console

from xlstm_apps import training
from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.images.objects import Separation
from xlstm_apps.datasets.images.segmentation_config import SegmentData
from xlstm_apps.datasets.images.segmentation_patches import Moments
from xlstm_apps.datasets.images.segmentation_splits import split_masked
from xlstm_apps.estimators.segment_baselines import PixelClassifier
from xlstm_apps.estimators.segment_plan import SegmentPlan, plan_segmentation
from xlstm_apps.estimators.segment_saved import Reading, segment
from xlstm_apps.recipes._run import begin, find_place, fit_facts
from xlstm_apps.recipes._segment_run import Scored, comparison_table, fingerprint, read, stem, told
from xlstm_apps.recipes._terminal import showing, table_console, tell
from xlstm_apps.training import FitConfig, RunFolder, files
from xlstm_apps.vision.segment_config import SegmentAugment
from xlstm_apps.vision.segmenter import Segmenter
from xlstm_apps.vision.unet_config import UNetConfig

TASK = "vision-segment"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that passed every check, and its folder."""

    plan: SegmentPlan
    data: SegmentData
    folder: RunFolder
    baselines: list[str]
    objects: Separation
    seed: int
    started: float
    load_seconds: float
    console: Console
    """The error stream, for what happens on the way; results go to the standard output."""


def prepare(
    data: SegmentData,
    unet: UNetConfig,
    augment: SegmentAugment,
    fit: FitConfig,
    *,
    baselines: Sequence[str],
    objects: Separation,
    run_dir: str | None,
    seed: int,
    resume: bool,
) -> Job | None:
    """Read the images, find out everything that could be wrong, and only then make the run's folder.

    Returns:
        None where the run to resume is finished; said so.

    Raises:
        ValueError: One line that says what to change.
    """
    started, console = time.monotonic(), Console(stderr=True)
    training.check(fit)
    if unet.where == "none" and "unet" in baselines:
        raise ValueError("unet.where none is the plain U-Net itself; leave `unet` out of baselines")
    sections: dict[str, Any] = {
        "data": data, "unet": unet, "augment": augment, "fit": fit, "baselines": sorted(set(baselines)),
        "objects": objects, "seed": seed,
    }  # fmt: skip
    place = find_place(TASK, stem(data), sections, fingerprint(data), run_dir=run_dir, resume=resume, console=console)
    if place is None:
        return None
    images = read(data, console)
    parts, rule = split_masked(images, data)
    plan = plan_segmentation(images, parts, data=data, unet=unet, augment=augment, fit=fit)
    loaded = time.monotonic()
    folder = begin(place, sections, seed=seed, resume=resume, console=console)
    job = Job(
        plan=plan, data=data, folder=folder, baselines=sections["baselines"], objects=objects, seed=seed,
        started=started, load_seconds=loaded - started, console=console,
    )  # fmt: skip
    tell(console, choices(job, rule))
    counts = {name: {"records": len(rows)} for name, rows in parts.items()}
    quality = images.report
    files.write_json(
        folder.path / "data_summary.json",
        {"quality": quality, "split": {"rule": rule, **counts}, "patch_size": [*plan.spec.patch_size],
         "notes": [*quality["notes"], *plan.notes]},
    )  # fmt: skip
    files.write_rows(
        folder.path / "split.csv",
        [{"id": images.ids[row], "part": name} for name, rows in parts.items() for row in rows.tolist()],
    )
    if images.rejected:
        files.write_rows(folder.path / "rejected.csv", images.rejected)
    return job


def fit_model(job: Job, resume: bool) -> Segmenter:
    """Train, keep the epoch that was best on validation, and save it as `model/`."""
    plan, folder = job.plan, job.folder
    model = plan.model(job.seed)
    result = plan.train_model(
        model, job.seed, run_dir=folder.path, resume=resume, console=job.console, label="training"
    )
    model.cpu()
    with files.replacing_folder(folder.model) as aside:
        model.save_pretrained(aside)
    folder.note(
        **fit_facts(result, model),
        resolved={"unet": asdict(plan.unet), "images": asdict(plan.spec), "fit": asdict(plan.fit)},
        seconds={"load": round(job.load_seconds, 2), "fit": round(result.seconds, 2)},
    )
    return model.eval()


def fit_networks(job: Job) -> dict[str, Segmenter]:
    """The plain U-Net of equal size, trained alike, if it is wanted."""
    if "unet" not in job.baselines:
        return {}
    path = job.folder.path / "baselines" / "unet"
    if path.is_dir():
        return {"unet": Segmenter.from_pretrained(path)}
    started = time.monotonic()
    model = job.plan.model(job.seed, job.plan.plain)
    job.plan.train_model(model, job.seed, console=job.console, label="training a plain U-Net")
    model.cpu()
    with files.replacing_folder(path) as aside:
        model.save_pretrained(aside)
    job.folder.add_seconds(unet=time.monotonic() - started)
    return {"unet": model.eval()}


def score(job: Job, models: dict[str, Segmenter]) -> None:
    """Score everything on the test part, once, write the scores and print the comparison."""
    plan, started = job.plan, time.monotonic()
    rows = plan.parts.get("test")
    if rows is None:
        job.console.print("no test part: nothing is scored (data.test_fraction)", highlight=False)
        return
    how: dict[str, Any] = {"spacing": job.data.spacing, "separation": job.objects}
    table = []
    for number, (name, model) in enumerate(models.items()):
        lean = model.without_coarse_heads().to(plan.device)
        with showing(job.console, f"scoring {name}", len(rows)) as step:
            scored = Scored(
                plan.images, rows, partial(segment, lean, reading=Reading()), tick=step.advance, **how
            )  # fmt: skip
        table.append(scored.comparison(name, count_weights(lean)))
        if number == 0:
            scored.write(job.folder.path / "evaluation")
    if "pixels" in job.baselines:
        spec = plan.spec
        moments: Moments | None = None if spec.mean is None or spec.std is None else ([*spec.mean], [*spec.std])
        with job.console.status("scoring pixels by their brightness"):
            pixels = PixelClassifier.fit(plan.images, plan.parts["train"], moments)
            table.append(Scored(plan.images, rows, pixels.classes_of, **how).comparison("pixels", pixels.parameters))
    files.write_rows(job.folder.path / "evaluation" / "comparison.csv", table)
    job.folder.add_seconds(evaluate=time.monotonic() - started)
    table_console().print(comparison_table(table, len(rows)))


def results(job: Job) -> dict[str, str]:
    """What is in the folder, for the last lines."""
    use = f"xlstm-apps vision segment predict {job.folder.path} --data.path FOLDER --output MASKS"
    return {
        "report.html": "overlays, comparison, every image: open it in a browser",
        "evaluation/": "the numbers behind them, as CSV",
        "model/": f"to use it: {use}",
    }


def choices(job: Job, rule: str) -> list[str]:
    """What was read, and what was chosen on the user's behalf."""
    plan = job.plan
    fit, size = plan.fit, " x ".join(map(str, plan.spec.patch_size))
    parts = ", ".join(f"{name} {len(rows):,}" for name, rows in plan.parts.items())
    where = "no xLSTM (a plain U-Net)" if plan.unet.where == "none" else f"the xLSTM reads: {plan.unet.where}"
    return [
        *told(plan.images),
        f"split     {rule}: {parts} images",
        f"model     features {', '.join(map(str, plan.unet.features))}; {where}; "
        f"{count_weights(plan.model(job.seed)):,} weights",
        f"training  patches of {size}, batches of {fit.batch_size}, {fit.steps_per_epoch} to an epoch, at most "
        f"{fit.max_epochs} epochs",
        *(f"note      {note}" for note in plan.notes),
    ]
