"""The steps of `vision train` and `finetune`, each of which can be repeated: that is how a killed run is resumed."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xlstm_apps import training
from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.images import ImageData, leaks, split_images
from xlstm_apps.estimators import vision_baselines, vision_scores
from xlstm_apps.estimators.vision_plan import VisionPlan, plan_vision
from xlstm_apps.estimators.vision_saved import load_vision_model
from xlstm_apps.recipes._run import begin, find_place, finish, fit_facts, located_model
from xlstm_apps.recipes._terminal import showing, table_console, tell
from xlstm_apps.recipes._vision_pictures import write_examples, write_mistakes
from xlstm_apps.recipes._vision_run import fingerprint, listed, read, stem, told
from xlstm_apps.training import FitConfig, RunFolder, files
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.training_config import AugmentConfig, NetworkConfig

MAIN = "xlstm"
FREQUENCIES = "frequencies"
MOST_MISTAKES = 24


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that passed every check, and its folder."""

    plan: VisionPlan
    folder: RunFolder
    baselines: list[str]
    seed: int
    started: float
    load_seconds: float
    console: Console


def train(
    task: str,
    data: ImageData,
    network: NetworkConfig,
    augment: AugmentConfig,
    fit: FitConfig,
    *,
    from_model: str | None,
    run_dir: str | None,
    seed: int,
    resume: bool,
    **options: Any,
) -> None:
    """Read, check, train, compare, report."""
    job = prepare(
        task, data, network, augment, fit, from_model=from_model, run_dir=run_dir, seed=seed, resume=resume, **options
    )
    if job is None:
        return  # finished before; said so
    classifier = fit_model(job, resume)
    score(job, classifier)
    results = {
        "report.html": "pictures, comparison, data: open it in a browser",
        "evaluation/": "the numbers behind them, as CSV",
        "model/": f"to use it: xlstm-apps vision predict {job.folder.path} --data.path FOLDER",
    }
    finish(job.folder, job.started, results)


def prepare(
    task: str,
    data: ImageData,
    network: NetworkConfig,
    augment: AugmentConfig,
    fit: FitConfig,
    *,
    from_model: str | None,
    head_only: bool,
    ema: float,
    layer_decay: float,
    balanced: bool,
    baselines: list[Any] | None,
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
    chosen = ["logistic"] if baselines is None else list(baselines)
    start = None if from_model is None else load_vision_model(from_model, "cpu")
    sections: dict[str, Any] = {"data": data, "network": network, "augment": augment, "fit": fit, "ema": ema}
    if from_model is not None:
        sections |= {"from_model": located_model(from_model), "head_only": head_only, "layer_decay": layer_decay}
    sections |= {"balanced": balanced, "baselines": baselines, "seed": seed}
    listing = listed(data, console, labelled=True)
    digest = fingerprint(listing)
    place = find_place(task, stem(data), sections, digest, run_dir=run_dir, resume=resume, console=console)
    if place is None:
        return None
    size, channels, shape, shapes, step = data.img_size, data.in_chans, data.shape, (), network.patch
    if start is not None:
        trained = start.model if isinstance(start, ImageClassifier) else start
        channels = channels or trained.vision.in_chans
        step = replace(network, patch_size=trained.vision.patch_size[0]).patch
        if size is None and shape is None:
            size, shape, shapes = _as_trained(start, data.num_shapes)
    images = read(
        data, listing, console, labelled=True, img_size=size, in_chans=channels, shape=shape, shapes=shapes, step=step
    )
    parts, rule = split_images(images, data)
    plan = plan_vision(
        images, parts, rule, data=data, network=network, augment=augment, fit=fit, start=start,
        source=str(from_model), head_only=head_only, balanced=balanced, ema=ema, layer_decay=layer_decay,
    )  # fmt: skip
    plan.classifier(seed)  # a network that cannot be built says so here
    folder = begin(place, sections, seed=seed, resume=resume, console=console)
    job = Job(
        plan=plan, folder=folder, baselines=chosen, seed=seed, started=started,
        load_seconds=time.monotonic() - started, console=console,
    )  # fmt: skip
    tell(console, choices(job))
    files.write_json(folder.path / "data_summary.json", summary(job))
    if images.rejected:
        files.write_rows(folder.path / "rejected.csv", images.rejected)
    return job


def _as_trained(start: ImageClassifier | VisionLSTM, num_shapes: int) -> tuple[int | None, Any, Any]:
    """`img_size`, `shape` and `shapes` of the images that a model was trained on; several anew have as many pixels."""
    looks = start.images if isinstance(start, ImageClassifier) else None
    sides = tuple(start.model.vision.img_size if isinstance(start, ImageClassifier) else start.vision.img_size)
    if num_shapes > 1:
        return round(math.sqrt(math.prod(sides))), None, ()
    if looks is not None:
        return looks.img_size, looks.shape, looks.shapes
    return (sides[0], None, ()) if len(set(sides)) == 1 else (None, sides, ())


def fit_model(job: Job, resume: bool) -> ImageClassifier:
    """Train, keep the epoch that was best on validation, and save it as `model/`."""
    plan, folder = job.plan, job.folder
    network = plan.classifier(job.seed)
    made, result = plan.train(
        network, job.seed, run_dir=folder.path, resume=resume, console=job.console, label=f"training {MAIN}"
    )
    assert isinstance(made, ImageClassifier)
    with files.replacing_folder(folder.model) as aside:
        made.save_pretrained(aside)
    folder.note(
        **fit_facts(result, made),
        resolved={
            "head": {"task": "classification", "num_outputs": len(plan.looks.classes)},
            "vision": asdict(plan.vision),
            "backbone": plan.backbone.to_dict(),
            "images": {k: v for k, v in asdict(plan.looks).items() if k != "classes"},
            "fit": asdict(plan.fit),
        },
        seconds={"load": round(job.load_seconds, 2), "fit": round(result.seconds, 2)},
    )
    return made


def score(job: Job, classifier: ImageClassifier) -> None:
    """Train what it is compared with, look at the test part once, and print the comparison."""
    plan, folder = job.plan, job.folder
    size, cache = count_weights(classifier), folder.path / "baselines"
    others: dict[str, vision_baselines.Fitted] = {}
    for name in job.baselines:
        others[name] = vision_baselines.fitted(name, plan, job.seed, parameters=size, cache=cache, console=job.console)
    if "test" not in plan.parts:
        job.console.print("no test part: nothing is scored (data.test_fraction)", highlight=False)
        return
    started = time.monotonic()
    batches = plan.batches("test")
    truth = plan.images.labels[plan.parts["test"]]
    with showing(job.console, "scoring", len(truth)) as step:
        said = vision_scores.probabilities(classifier.to(plan.device), batches, step.advance)
    classifier.cpu()
    seconds = folder.facts.get("seconds", {}).get("fit")
    rows = [vision_scores.row(MAIN, truth, said, parameters=size, seconds=seconds)]
    for name, other in others.items():
        with job.console.status(f"scoring {name}"):
            rows.append(
                vision_scores.row(
                    name, truth, other.predict(batches), parameters=other.parameters, seconds=other.seconds
                )
            )
    shares = np.bincount(plan.images.labels[plan.parts["train"]], minlength=len(plan.looks.classes))
    guess = np.tile(shares / shares.sum(), (len(truth), 1))
    rows.append(vision_scores.row(FREQUENCIES, truth, guess, parameters=len(shares), seconds=None))
    names = [plan.images.ids[n] for n in plan.parts["test"].tolist()]
    found = vision_scores.tables(truth, said, plan.looks.classes, names, most=MOST_MISTAKES)
    for name, table in {"comparison": rows, **found.tables}.items():
        files.write_rows(folder.path / "evaluation" / f"{name}.csv", table)
    write_mistakes(folder.path / "evaluation", plan.images, plan.parts["test"], found, truth, said, plan.looks)
    write_examples(folder.path / "evaluation", plan.images, plan.parts["test"], truth, said, plan.looks)
    folder.add_seconds(evaluate=time.monotonic() - started)
    table_console().print(comparison_table(rows))


def choices(job: Job) -> list[str]:
    """What was read, and what was chosen on the user's behalf."""
    plan, images = job.plan, job.plan.images
    report, looks = images.report, plan.looks
    shown = ", ".join(looks.classes[:8]) + (f" ... ({len(looks.classes)})" if len(looks.classes) > 8 else "")
    colour = "grey" if plan.vision.in_chans == 1 else "colour"
    sizes = ", ".join(f"{width} x {height}" for height, width in looks.shapes or [looks.sides])
    patch = plan.vision.patch_size[0]
    lines = [
        f"data      {report['kept']:,} of {report['images']:,} images, {sizes} {colour}",
        f"classes   {shown}",
        f"split     {plan.rule}: " + ", ".join(f"{name} {len(rows):,}" for name, rows in plan.parts.items()),
        f"model     {'trained model' if plan.start is not None else 'from scratch'}: {plan.backbone.num_blocks} blocks "
        f"of width {plan.backbone.embedding_dim}, patches of {patch} x {patch} pixels, scan {plan.vision.scan}"
        + (", left as it is: only the head is trained" if plan.head_only else ""),
        f"training  batches of {plan.fit.batch_size}, at most {plan.fit.max_epochs} epochs, learning rate "
        f"{plan.fit.learning_rate:g}",
    ]
    lost = leaks(images, plan.parts)
    if lost:
        lines.append(
            f"leakage   {lost:,} of {len(plan.parts['test']):,} test images have the very pixels of a training image: "
            "the scores say less about new images"
        )
    return lines + told(images) + [f"note      {note}" for note in plan.notes]


def summary(job: Job) -> dict[str, Any]:
    """Content of data_summary.json."""
    plan, images = job.plan, job.plan.images
    counts = {name: {"records": len(rows), "images": len(rows)} for name, rows in plan.parts.items()}
    labels: dict[str, Any] = {"task": "classification", "classes": list(plan.looks.classes)}
    labels |= {name: images.counts(rows) for name, rows in plan.parts.items()}
    test = plan.parts.get("test")
    leakage = None if test is None else {"near_copies": leaks(images, plan.parts), "windows": len(test)}
    return {
        "quality": images.report | {"classes": images.counts(np.arange(len(images)))},
        "split": {"rule": plan.rule, **counts},
        "leakage": leakage,
        "labels": labels,
        "notes": plan.notes,
    }


def comparison_table(rows: list[dict[str, Any]], images: str = "held-out images") -> Table:
    """The comparison for the terminal, best values in bold; `images` says on what."""
    tops = [key for key in rows[0] if key.startswith("top")]
    titles = {"accuracy": "accuracy", **{key: f"top {key[3:]}" for key in tops}, "mcc": "MCC", "log_loss": "log loss"}
    told = []
    if any(row["model"] == FREQUENCIES for row in rows):
        told.append(f"{FREQUENCIES}: says how often each class is in training, for all")
    if "accuracy_lo" in rows[0]:
        told.append("±: half of the interval that holds 95 % of other draws of the test")
    title, caption = f"On {rows[0]['n']:,} {images}", "; ".join(told)
    table = Table(title=title, caption=caption, header_style="bold", min_width=60)
    table.add_column("model")
    for title in (*titles.values(), "weights"):
        table.add_column(title, justify="right")
    best = {key: (min if key == "log_loss" else max)(row[key] for row in rows) for key in titles}
    for row in rows:
        texts = []
        for key in titles:
            text = f"{row[key]:.1%}" if key == "accuracy" or key in tops else f"{row[key]:.3f}"
            if key == "accuracy" and "accuracy_lo" in row:
                text += f" ±{(row['accuracy_hi'] - row['accuracy_lo']) / 2:.1%}"
            texts.append(f"[bold]{text}[/]" if row[key] == best[key] else text)
        table.add_row(row["model"], *texts, f"{row['parameters']:,}")
    return table
