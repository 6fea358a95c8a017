"""The steps of `sequence train`, each of which can be repeated without harm: that is how a killed run is resumed."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xlstm_apps import training
from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.biosequence.baselines.markov import MarkovModel
from xlstm_apps.biosequence.sizes import SMALL, language_layers
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.sequences import SequenceData, Spans, windows
from xlstm_apps.datasets.sequences.loading import located
from xlstm_apps.estimators.molecule_sets import begin_with, set_ladder, set_rows
from xlstm_apps.estimators.sequence_evaluation import SequenceEvaluation, SequenceEvaluator
from xlstm_apps.estimators.sequence_families import homolog_rows, ladder
from xlstm_apps.estimators.sequence_plan import LEARNING_RATE, SequencePlan, find_leakage, plan_sequences, spread
from xlstm_apps.estimators.sequence_saved import language_model, settled
from xlstm_apps.recipes._run import begin, find_place, fit_facts, located_model
from xlstm_apps.recipes._sequence_drawn import drawn_molecules
from xlstm_apps.recipes._sequence_run import (
    check_objective,
    check_used,
    corpus_of,
    data_fingerprint,
    read_lines,
    stem,
    take_in,
)
from xlstm_apps.recipes._terminal import table_console, tell
from xlstm_apps.training import FitConfig, RunFolder, files

if TYPE_CHECKING:
    from xlstm_apps.biosequence.baselines.network_config import NetworkConfig

TASK = "sequence"
MOST_COUNTED = 1 << 25
"""Symbols that the Markov models count, at most: longer genomes are sampled."""
_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that passed every check, and its folder."""

    plan: SequencePlan
    folder: RunFolder
    start: SequenceModel | None
    """What to go on from."""
    baselines: list[str]
    seed: int
    started: float
    load_seconds: float
    console: Console
    """The error stream, for what happens on the way; results go to the standard output."""


def prepare(
    data: SequenceData,
    sequence: SequenceConfig,
    backbone: xLSTMConfig,
    fit: FitConfig,
    *,
    from_model: str | None,
    baselines: Sequence[str],
    run_dir: str | None,
    seed: int,
    resume: bool,
) -> Job | None:
    """Read the sequences, find out everything that could be wrong, and only then make the run's folder.

    Returns:
        None where the run to resume is finished; said so.

    Raises:
        ValueError: One line that says what to change.
    """
    started, console = time.monotonic(), Console(stderr=True)
    training.check(fit)
    check_used(data, ("label_columns", "label_from"), "finetune")
    if from_model is None:
        check_objective(sequence)
    data = located(data)
    sections: dict[str, Any] = {"data": data, "sequence": sequence, "backbone": backbone, "fit": fit, "seed": seed}
    sections["baselines"] = sorted(set(baselines))
    start = None
    if from_model is not None:
        sections["from_model"] = located_model(from_model)
        start, sequence, backbone, fit = adopt(from_model, sequence, backbone, fit)
    else:
        backbone = language_layers(backbone, sequence)
    with console.status("reading the sequences"):
        digest = data_fingerprint(data)
        place = find_place(TASK, stem(data), sections, digest, run_dir=run_dir, resume=resume, console=console)
        if place is None:
            return None
        with corpus_of(data, sequence, place.path) as corpus:
            loaded = time.monotonic()
            plan = plan_sequences(corpus, data=data, sequence=sequence, backbone=backbone, fit=fit)
            plan.model(seed)  # a backbone that cannot be built says so here
            for name in sections["baselines"]:
                network_like(plan, name, seed)  # and so does a network that cannot be made as large
            folder = begin(place, sections, seed=seed, resume=resume, console=console)
            take_in(corpus, folder)
        leaks = find_leakage(plan)
    job = Job(
        plan=plan,
        folder=folder,
        start=start,
        baselines=sections["baselines"],
        seed=seed,
        started=started,
        load_seconds=loaded - started,
        console=console,
    )
    tell(console, choices(job, leaks))
    files.write_json(folder.path / "data_summary.json", summary(plan, leaks))
    return job


def adopt(
    source: str, sequence: SequenceConfig, backbone: xLSTMConfig, fit: FitConfig
) -> tuple[SequenceModel, SequenceConfig, xLSTMConfig, FitConfig]:
    """The model to go on from, and the settings it fixes.

    Raises:
        ValueError: No language model there, or a setting that contradicts it.
    """
    start = language_model(source, "cpu", verb="go on")
    rate = fit.learning_rate or LEARNING_RATE / 3
    return (
        start,
        settled("sequence", sequence, SequenceConfig(), start.sequence, f"the model of {source}"),
        settled("backbone", backbone, SMALL, start.config, f"the model of {source}"),
        replace(fit, learning_rate=rate),
    )


def fit_model(job: Job, resume: bool) -> SequenceModel:
    """Train, keep the epoch that was best on validation, and save it as `model/`."""
    plan, folder = job.plan, job.folder
    model = plan.model(job.seed)
    if job.start is not None:
        begin_with(model, job.start)
    result = plan.train_model(
        model, job.seed, run_dir=folder.path, resume=resume, console=job.console, label="training xlstm"
    )
    model.cpu()
    with files.replacing_folder(folder.model) as aside:
        model.save_pretrained(aside)
    folder.note(
        **fit_facts(result, model),
        resolved={
            "data": asdict(plan.data),
            "sequence": asdict(plan.sequence),
            "backbone": plan.backbone.to_dict(),
            "fit": asdict(plan.fit),
        },
        seconds={"load": round(job.load_seconds, 2), "fit": round(result.seconds, 2)},
    )
    return model


def fit_networks(job: Job) -> dict[str, SequenceModel]:
    """The networks to compare with: as many weights, the same windows, steps and choice of the epoch."""
    found: dict[str, SequenceModel] = {}
    for name in job.baselines:
        from xlstm_apps.biosequence.baselines.networks import NetworkModel

        path = job.folder.path / "baselines" / name
        if path.is_dir():
            found[name] = NetworkModel.from_pretrained(path)
            continue
        started = time.monotonic()
        model = network(job.plan, name, job.seed)
        job.plan.train_model(model, job.seed, console=job.console, label=f"training {name}")
        model.cpu()
        with files.replacing_folder(path) as aside:
            model.save_pretrained(aside)
        job.folder.add_seconds(**{name: time.monotonic() - started})
        found[name] = model
    return found


def network(plan: SequencePlan, name: str, seed: int) -> SequenceModel:
    """Another network with as many weights as the xLSTM."""
    from xlstm_apps.biosequence.baselines.networks import NetworkModel

    config = network_like(plan, name, seed)
    with training.seeded(seed):
        return NetworkModel(plan.sequence, config)


def network_like(plan: SequencePlan, name: str, seed: int) -> "NetworkConfig":
    """Layers of another network with as many weights as the xLSTM.

    Raises:
        ValueError: There are none.
    """
    from xlstm_apps.biosequence.baselines.network_config import NetworkConfig, matched

    size = count_weights(plan.model(seed))
    direction = "causal" if plan.backbone.direction == "causal" else "bidirectional"
    config = NetworkConfig(family=name, direction=direction, num_blocks=plan.backbone.num_blocks)  # type: ignore[arg-type]
    return matched(config, size, len(plan.alphabet), plan.sequence)


def count_symbols(plan: SequencePlan) -> tuple[dict[str, MarkovModel], str | None]:
    """The counted models, `markov-<order>` and `unigram`, and a note where only a part of training was counted."""
    train, note = pieces(plan.split.train), None
    total = int(train.lengths.sum())
    if total > MOST_COUNTED:
        train = spread(train, max(1, MOST_COUNTED // _PIECE))
        note = f"Markov models count {train.lengths.sum():,} of {total:,} training symbols, evenly spread"
    corpus = plan.corpus

    def ids(spans: Spans) -> list[np.ndarray]:
        rows = zip(*(getattr(spans, name).tolist() for name in ("record", "start", "stop", "strand")), strict=True)
        return [corpus.fetch(*row) for row in rows]

    valid = ids(spread(pieces(plan.split.val), max(1, (MOST_COUNTED >> 3) // _PIECE)))
    best = MarkovModel.fit(ids(train), valid, plan.alphabet)
    orders = [2, 0] if plan.alphabet.name == "protein" else [0]  # trigrams are what protein models are compared with
    lower = [best.lower(order) for order in orders if order < best.order]
    return {model.name: model for model in (best, *lower)}, note


def pieces(spans: Spans) -> Spans:
    """Long stretches in pieces of even size, so that some of them can be taken."""
    return windows(spans, _PIECE, keep_tail=False) if len(spans) and int(spans.lengths.sum()) > MOST_COUNTED else spans


def score(job: Job, model: SequenceModel, networks: dict[str, SequenceModel]) -> None:
    """Score everything on the test part, once, and print the comparison."""
    plan, started = job.plan, time.monotonic()
    if plan.test is None:
        job.console.print("no test part: nothing is scored (data.test_fraction)", highlight=False)
        return
    evaluator = SequenceEvaluator(plan.test, plan.alphabet, plan.rows_at_once(plan.test), plan.device)
    with job.console.status("counting Markov models"):
        counted, note = count_symbols(plan)
    evaluation = evaluator.run({"xlstm": model, **networks}, counted, job.console)
    if note is not None:
        content = json.loads((job.folder.path / "data_summary.json").read_text(encoding="utf-8"))
        files.write_json(job.folder.path / "data_summary.json", {**content, "notes": [*content["notes"], note]})
    folder = job.folder.path / "evaluation"
    files.write_rows(folder / "comparison.csv", evaluation.comparison())
    files.write_rows(folder / "records.csv", evaluation.records())
    files.write_rows(folder / "positions.csv", evaluation.positions())
    files.write_rows(folder / "symbols.csv", evaluation.by_symbol())
    if drawn := drawn_molecules(plan, model, job.seed, job.console):
        files.write_rows(folder / "molecules.csv", drawn)
    shown = score_homologs(job, model)
    job.folder.add_seconds(evaluate=time.monotonic() - started)
    console = table_console()
    console.print(comparison_table(evaluation, plan))
    if shown:
        console.print(homolog_table(shown))


def score_homologs(job: Job, model: SequenceModel) -> list[dict[str, Any]]:
    """What homologs before held-out proteins are worth, as `evaluation/homologs.csv`, or molecules before others of
    their set, as `evaluation/sets.csv`; nothing where the model did not learn from families, or nothing of the test has
    relatives, said so."""
    plan = job.plan
    if plan.data.families == "none":
        return []
    if plan.sequence.sets:
        name, missing, look, judge = "sets", "no new molecule of the test has a set to show", set_ladder, set_rows
    else:
        name, missing, look, judge = "homologs", "no protein of the test has relatives to show", ladder, homolog_rows
    found = look(plan.corpus, plan.split.train, plan.split.test, plan.context_length, plan.budget.test)
    if found is None:
        tell(job.console, [f"note      {missing}: no evaluation/{name}.csv"])
        return []
    rows = judge(model, plan.corpus, found, plan.device, plan.symbols_at_once, job.console)
    files.write_rows(job.folder.path / "evaluation" / f"{name}.csv", rows)
    return rows


def homolog_table(rows: list[dict[str, Any]]) -> Table:
    """The ladder of homologs, or of molecules, for the terminal."""
    shown, control, what, unit, caption = (
        ("homologs", "shuffled", "proteins", "residue", "shuffled: homologs with their residues in random order")
        if "homologs" in rows[0]
        else ("molecules", "other", "molecules that are new", "token", "other: molecules of another set")
    )
    table = Table(
        title=f"The same {rows[0]['targets']:,} held-out {what} behind {shown}, bits per {unit}",
        caption=caption,
        header_style="bold",
        min_width=60,
    )
    for heading in (f"{shown} shown", "real", control):
        table.add_column(heading, justify="right")
    bits = {(row[shown], row["control"]): f"{row['bits']:.4f}" for row in rows}
    for count in dict.fromkeys(row[shown] for row in rows):
        table.add_row(str(count), bits[count, "real"], bits[count, control])
    return table


def choices(job: Job, leaks: dict[str, Any] | None) -> list[str]:
    """What was read, and what was chosen on the user's behalf."""
    plan = job.plan
    quality, fit, counts = plan.corpus.report, plan.fit, plan.counts
    parts = ", ".join(f"{name} {counts[name]['symbols']:,}" for name in ("train", "val", "test"))
    lines = [
        *read_lines(quality, plan.alphabet.name),
        f"split     by {plan.data.split}: {parts} symbols",
        f"model     {plan.sequence.objective}, {plan.backbone.num_blocks} blocks of width "
        f"{plan.backbone.embedding_dim}, {count_weights(plan.model(job.seed)):,} weights",
        f"training  {len(plan.train):,} windows of up to {plan.context_length:,} symbols, batches of {fit.batch_size}, "
        f"{fit.steps_per_epoch} to an epoch, at most {fit.max_epochs} epochs",
    ]
    if leaks is not None and leaks["near_copies"]:
        lines.append(
            f"leakage   {leaks['near_copies']:,} of {leaks['windows']:,} test windows have a near copy in training: "
            "scores say less about new sequences; split by group or cluster"
        )
    return lines + [f"note      {note}" for note in [*quality["notes"], *plan.notes]]


def summary(plan: SequencePlan, leaks: dict[str, Any] | None) -> dict[str, Any]:
    """Content of data_summary.json."""
    return {
        "quality": plan.corpus.report,
        "split": {"rule": plan.data.split, **plan.counts},
        "leakage": leaks,
        "context_length": plan.context_length,
        "notes": plan.notes,
    }


def comparison_table(evaluation: SequenceEvaluation, plan: SequencePlan) -> Table:
    """The comparison for the terminal, best values in bold."""
    rows = evaluation.comparison()
    unit = {"dna": "base", "protein": "residue"}.get(plan.alphabet.name, "symbol")
    caption = "markov looks back that many symbols; unigram knows only how often each occurs"
    if plan.sequence.objective == "masked":
        caption += "; the masked model sees both sides of what it predicts, the counted ones only what stands before"
    table = Table(
        title=f"On {rows[0]['num_symbols']:,} held-out {unit}s", caption=caption, header_style="bold", min_width=60
    )
    table.add_column("model", min_width=max(len(row["model"]) for row in rows))
    for heading in (f"bits per {unit}", "perplexity", "accuracy", "parameters", "vs best other"):
        table.add_column(heading, justify="right")
    best = {"bits": min(r["bits"] for r in rows), "accuracy": max(r["accuracy"] for r in rows)}
    for row in rows:
        others = min(other["bits"] for other in rows if other is not row)
        bold = {key: ("[bold]", "[/]") if row[key] == value else ("", "") for key, value in best.items()}
        table.add_row(
            row["model"],
            f"{row['bits']:.4f}".join(bold["bits"]),
            f"{row['perplexity']:.3f}",
            f"{row['accuracy']:.1%}".join(bold["accuracy"]),
            f"{row['parameters']:,}",
            f"{row['bits'] - others:+.4f}",
        )
    return table
