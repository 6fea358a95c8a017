"""The steps of `sequence finetune`, each of which can be repeated without harm: that is how a killed run is resumed."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xlstm_apps import training
from xlstm_apps.biosequence import HeadConfig, SequenceConfig, SequencePredictor
from xlstm_apps.biosequence.baselines.conv import ConvPredictor, trained_weights
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.sequences import SequenceData, Spans, split_corpus
from xlstm_apps.datasets.sequences.loading import check_file_classes, located
from xlstm_apps.estimators.sequence_comparison import Comparison, compare, matched_cnn
from xlstm_apps.estimators.sequence_fitting import PredictorPlan, adopted, plan_predictor
from xlstm_apps.estimators.sequence_linear import LinearModels, fit_linear, with_linear
from xlstm_apps.estimators.sequence_measures import best_of
from xlstm_apps.estimators.sequence_plan import near_copies
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.estimators.sequence_targets import read_targets
from xlstm_apps.recipes._run import begin, find_place, fit_facts, located_model
from xlstm_apps.recipes._sequence_run import (
    check_objective,
    check_used,
    corpus_of,
    data_fingerprint,
    read_lines,
    stem,
    take_in,
)
from xlstm_apps.recipes._terminal import showing, table_console, tell
from xlstm_apps.training import FitConfig, RunFolder, files

TASK = "sequence-finetune"
ALONE = "xlstm-alone"
"""In the comparison: the network of a predictor that has linear members, too."""
_TITLES = {
    "classification": {"accuracy": "accuracy", "mcc": "MCC", "auroc": "AUROC", "average_precision": "average precision",
                       "log_loss": "log loss"},
    "multilabel": {"f1": "F1", "auroc": "AUROC", "average_precision": "average precision", "log_loss": "log loss"},
    "regression": {"pearson": "Pearson", "spearman": "Spearman", "r2": "R²", "mae": "MAE", "rmse": "RMSE"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Job:
    """A fine-tuning that passed every check, and its folder."""

    plan: PredictorPlan
    folder: RunFolder
    rule: str
    baselines: bool
    seed: int
    started: float
    load_seconds: float
    console: Console


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was trained: the predictor, and what it is put together from."""

    predictor: SequencePredictor
    network: SequencePredictor
    """The xLSTM alone; the predictor itself where no linear model answers along."""
    linear: LinearModels


def prepare(
    data: SequenceData,
    head: HeadConfig,
    sequence: SequenceConfig,
    backbone: xLSTMConfig,
    fit: FitConfig,
    *,
    from_model: str | None,
    head_only: bool,
    balanced: bool,
    baselines: bool,
    run_dir: str | None,
    seed: int,
    resume: bool,
) -> Job | None:
    """Read sequences and labels, find out everything that could be wrong, and only then make the run's folder.

    Returns:
        None where the run to resume is finished; said so.

    Raises:
        ValueError: One line that says what to change.
    """
    started, console = time.monotonic(), Console(stderr=True)
    training.check(fit)
    check_used(data, ("stride", "max_wildcard", "softmask_weight", "families", "alone"), "train")
    if from_model is None:
        unused = (
            "mask_rate",
            "mask_token_share",
            "mask_random_share",
            "tie_weights",
            "end_token",
            "infill_spans",
            "sets",
        )
        check_objective(sequence, unused)
    data = located(data)
    sections: dict[str, Any] = {"data": data, "head": head, "sequence": sequence, "backbone": backbone, "fit": fit}
    sections |= {"seed": seed, "head_only": head_only, "balanced": balanced, "baselines": baselines}
    start = None
    if from_model is not None:
        sections["from_model"] = located_model(from_model)
        start = load_sequence_model(from_model, "cpu")
        sequence, backbone = adopted(start, sequence, backbone)
    with console.status("reading the sequences"):
        digest = data_fingerprint(data)
        place = find_place(TASK, stem(data), sections, digest, run_dir=run_dir, resume=resume, console=console)
        if place is None:
            return None
        with corpus_of(data, sequence, place.path, labels=True) as corpus:
            loaded = time.monotonic()
            check_file_classes(data, corpus.labels)
            targets = read_targets(
                corpus.labels, head, columns=data.label_columns, ids=corpus.ids, lengths=corpus.lengths
            )
            split = split_corpus(data, corpus, whole=True)
            plan = plan_predictor(
                corpus,
                {"train": split.train, "val": split.val, "test": split.test},
                targets,
                sequence=sequence,
                backbone=backbone,
                fit=fit,
                start=start,
                head_only=head_only,
                class_weight="balanced" if balanced else None,
                context_length=data.context_length,
                randomise=data.randomise,
            )
            plan.predictor(seed)  # a backbone that cannot be built says so here
            folder = begin(place, sections, seed=seed, resume=resume, console=console)
            take_in(corpus, folder)
        leaks = near_copies(corpus, plan.train.spans, plan.test.spans) if data.leakage and plan.test else None
    job = Job(
        plan=plan,
        folder=folder,
        rule=split.rule.partition("; ")[0],
        baselines=baselines,
        seed=seed,
        started=started,
        load_seconds=loaded - started,
        console=console,
    )
    tell(console, choices(job, leaks))
    files.write_json(folder.path / "data_summary.json", summary(job, leaks))
    return job


def fit_model(job: Job, resume: bool) -> Fitted:
    """Train, keep the epoch that was best on validation, let linear models answer along, and save it as `model/`."""
    plan, folder = job.plan, job.folder
    network = plan.predictor(job.seed)
    result = plan.train_predictor(
        network, job.seed, run_dir=folder.path, resume=resume, console=job.console, label="training xlstm"
    )
    predictor, linear, weights = network, LinearModels(), {}
    if job.baselines or plan.targets.head.linear:
        with job.console.status("fitting linear models of k-mers"):
            linear = fit_linear(plan)
            if plan.targets.head.linear:
                predictor, weights = with_linear(plan, network, linear)
    tell(job.console, [f"note      {note}" for note in linear.notes])
    if weights:
        shown = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        tell(job.console, [f"members   weights in the prediction, chosen on validation: {shown}"])
    network.cpu()
    predictor.cpu()
    with files.replacing_folder(folder.model) as aside:
        predictor.save_pretrained(aside)
    folder.note(
        **fit_facts(result, predictor),
        resolved={
            "head": asdict(plan.targets.head),
            "sequence": asdict(plan.sequence),
            "backbone": plan.backbone.to_dict(),
            "fit": asdict(plan.fit),
        },
        weights=weights,
        seconds={
            "load": round(job.load_seconds, 2),
            "fit": round(result.seconds, 2),
            "linear": round(sum(linear.seconds.values()), 2),
        },
    )
    return Fitted(predictor=predictor, network=network, linear=linear)


def fit_cnn(job: Job, network: SequencePredictor) -> ConvPredictor:
    """A convolutional network with as many weights, trained alike."""
    path = job.folder.path / "baselines" / "cnn"
    made = matched_cnn(job.plan, trained_weights(network), job.seed)
    if path.is_dir():
        from safetensors.torch import load_model

        load_model(made, path / "model.safetensors")
        return made
    started = time.monotonic()
    fit = job.plan.fit
    if job.plan.start is not None:  # it has no trained model to go on from
        fit = replace(fit, learning_rate=None)
    fit = replace(fit, learning_rate=fit.learning_rate or 2e-3)
    job.plan.train_predictor(made, job.seed, console=job.console, label="training cnn", fit=fit, head_only=False)
    made.cpu()
    with files.replacing_folder(path) as aside:
        from safetensors.torch import save_model

        save_model(made, str(aside / "model.safetensors"))
    job.folder.add_seconds(cnn=time.monotonic() - started)
    return made


def score(job: Job, fitted: Fitted) -> None:
    """Fit the convolutional network, look at the test part once, and print the comparison."""
    plan, folder = job.plan, job.folder
    networks: dict[str, SequencePredictor] = {"xlstm": fitted.predictor}
    if job.baselines:
        if fitted.network is not fitted.predictor:
            networks[ALONE] = fitted.network
        networks["cnn"] = fit_cnn(job, fitted.network)
    if plan.test is None:
        job.console.print("no test part: nothing is scored (data.test_fraction)", highlight=False)
        return
    started = time.monotonic()
    linear = fitted.linear.models if job.baselines else []
    known = folder.facts.get("seconds", {})
    fit, member = known.get("fit", 0.0), known.get("linear", 0.0)
    whole = fit if fitted.network is fitted.predictor else fit + member
    seconds = fitted.linear.seconds | {"xlstm": whole, ALONE: fit, "cnn": known.get("cnn", 0.0)}
    for network in networks.values():
        network.to(plan.device)
    with showing(job.console, "scoring", int(plan.test.spans.lengths.sum()) * len(networks)) as step:
        found = compare(plan, networks, linear, seconds, step.advance)
    for name, rows in found.tables.items():
        files.write_rows(folder.path / "evaluation" / f"{name}.csv", rows)
    folder.add_seconds(evaluate=time.monotonic() - started)
    table_console().print(comparison_table(found, plan))


def parts_of(plan: PredictorPlan) -> dict[str, Spans]:
    """Spans of the parts there are."""
    parts = {"train": plan.train, "val": plan.valid, "test": plan.test}
    return {name: part.spans for name, part in parts.items() if part is not None}


def choices(job: Job, leaks: dict[str, Any] | None) -> list[str]:
    """What was read, and what was chosen on the user's behalf."""
    plan, head, fit = job.plan, job.plan.targets.head, job.plan.fit
    quality, parts = plan.corpus.report, parts_of(plan)
    what = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}[head.task or ""]
    names = list(head.names or ())
    shown = ", ".join(names[:6]) + (f" ... ({len(names)})" if len(names) > 6 else "")
    lines = [
        *read_lines(quality, plan.sequence.alphabet),
        f"predict   {what} of {'every symbol' if head.per_symbol else 'sequences'}: {shown}",
        f"split     {job.rule}: "
        + ", ".join(f"{name} {len(np.unique(spans.record)):,}" for name, spans in parts.items())
        + " records",
    ]
    for name, spans in parts.items():
        counts = plan.targets.counts(np.unique(spans.record))
        if counts and len(counts) <= 6:
            lines.append(f"          {name}: " + ", ".join(f"{label} {count:,}" for label, count in counts.items()))
    own = "trained model" if plan.start is not None else "model from scratch"
    lines += [
        f"model     {own}: {plan.backbone.num_blocks} blocks of width {plan.backbone.embedding_dim}"
        + (", left as it is: only the head is trained" if plan.head_only else ""),
        f"training  batches of {fit.batch_size}, {fit.steps_per_epoch} to an epoch, at most {fit.max_epochs} epochs",
    ]
    if leaks is not None and leaks["near_copies"]:
        lines.append(
            f"leakage   {leaks['near_copies']:,} of {leaks['windows']:,} test records have a near copy in training: "
            "the scores say less about new sequences; split by group or cluster"
        )
    return lines + [f"note      {note}" for note in [*quality["notes"], *plan.notes]]


def summary(job: Job, leaks: dict[str, Any] | None) -> dict[str, Any]:
    """Content of data_summary.json."""
    plan, head = job.plan, job.plan.targets.head
    parts = parts_of(plan)
    counts = {
        name: {
            "records": len(np.unique(spans.record)),
            "symbols": int(spans.lengths.sum()),
            "windows": len(spans),
        }
        for name, spans in parts.items()
    }
    labels: dict[str, Any] = {"task": head.task, "per_symbol": head.per_symbol}
    labels["targets" if head.task == "regression" else "classes"] = list(head.names or ())
    for name, spans in parts.items():
        found = plan.targets.counts(np.unique(spans.record))
        if found:
            labels[name] = found
    return {
        "quality": plan.corpus.report,
        "split": {"rule": job.rule, **counts},
        "leakage": leaks,
        "labels": labels,
        "context_length": max(int(spans.lengths.max()) for spans in parts.values()),
        "notes": plan.notes,
    }


def comparison_table(found: Comparison, plan: PredictorPlan) -> Table:
    """The comparison for the terminal, best values in bold."""
    assert plan.test is not None
    rows, head = found.tables["comparison"], plan.targets.head
    titles = _TITLES[head.task or ""]
    what = "symbols" if head.per_symbol else "sequences"
    caption = {
        "regression": "mean: says the mean of training for all",
        "classification": "frequencies: says how often each class is in training, for all",
        "multilabel": "means over the labels; frequencies: says how often each label is in training, for all",
    }[head.task or ""]
    if any(row["model"] == ALONE for row in rows):
        caption += f"; {ALONE}: the network of xlstm, without its linear members"
    if "accuracy_lo" in rows[0]:
        caption += "; ±: half of the interval that holds 95 % of other draws of the test"
    table = Table(title=f"On {rows[0]['n']:,} held-out {what}", caption=caption, header_style="bold", min_width=60)
    table.add_column("model", min_width=max(len(row["model"]) for row in rows))
    for title in titles.values():
        table.add_column(title, justify="right")
    table.add_column("weights", justify="right")
    best = {key: best_of(rows, key) for key in titles}
    for row in rows:
        cells = []
        for key in titles:
            value = row.get(key)
            if value is None or not np.isfinite(value):
                cells.append("")
                continue
            text = f"{value:.1%}" if key == "accuracy" else f"{value:.4g}" if key in ("mae", "rmse") else f"{value:.3f}"
            if f"{key}_lo" in row:
                half = (row[f"{key}_hi"] - row[f"{key}_lo"]) / 2
                text += f" ±{half:.1%}" if key == "accuracy" else f" ±{half:.3f}"
            cells.append(f"[bold]{text}[/]" if value == best[key] else text)
        table.add_row(row["model"], *cells, f"{row['parameters']:,}")
    return table
