"""Writes run folders as trainings on sequences leave them: plausible numbers, the format of the real ones, no model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fake_run import _csv, _json, _losses

BASES = "ACGT"
GENOME = "NC_000913.3"
LENGTH = 4_641_652
CONFIG = """\
data:
  path: [{path}]
  context_length: 1024
sequence:
  alphabet: {alphabet}
  objective: {objective}
backbone:
  embedding_dim: 128
  num_blocks: 4
  num_heads: 4
fit:
  max_epochs: 12
  learning_rate: 0.001
seed: 0
"""
HEAD = """\
head:
  task: {task}
  num_outputs: {outputs}
  per_symbol: false
"""


def fake_language_run(
    folder: Path,
    *,
    bits: float = 1.912,
    windows: int = 452,
    status: str = "finished",
    path: str = "sample:ecoli-k12",
    record: str = GENOME,
    objective: str = "causal",
    near_copies: int = 3,
    seed: int = 0,
) -> Path:
    """A model of DNA. Baselines stand at 1.934 (Markov), 1.951 (LSTM) and 1.999 (base frequencies) bits."""
    rng = np.random.default_rng(seed)
    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True, exist_ok=True)
    config = CONFIG.format(path=path, alphabet="dna", objective=objective)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    _json(folder / "run.json", _facts("sequence", status))
    _json(folder / "data_summary.json", _summary(near_copies, windows))
    _csv(folder / "metrics.csv", ["epoch", "step", "train_loss", "val_loss", "learning_rate"], _losses(rng))

    models = {"xlstm": bits, "markov-11": 1.934, "lstm": 1.951, "unigram": 1.9988}
    sizes = {"xlstm": 602_884, "markov-11": 16_777_216, "lstm": 598_020, "unigram": 4}
    right = {"xlstm": 0.372, "markov-11": 0.361, "lstm": 0.344, "unigram": 0.258}
    took = {"xlstm": 74.2, "markov-11": 3.1, "lstm": 58.8, "unigram": 0.02}
    _csv(
        evaluation / "comparison.csv",
        ["model", "nll", "perplexity", "bits", "accuracy", "num_symbols", "parameters", "seconds"],
        (
            [m, b * math.log(2), 2**b, b, right[m], 1_024 * windows, sizes[m], took[m]] for m, b in models.items()
        ),
    )  # fmt: skip
    edges = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    falls = {"xlstm": 0.9, "markov-11": 2.2, "lstm": 1.3, "unigram": 50.0}
    rows = []
    for i, (a, b) in enumerate(pairwise(edges)):
        own = [v + (1.9988 - v) * math.exp(-i / falls[m] / 2.6) for m, v in models.items()]
        rows.append([a, b, (b - a) * windows, *(v + rng.normal(0, 0.0007) for v in own)])
    _csv(evaluation / "positions.csv", ["position", "position_end", "count", *models], rows)

    start = LENGTH - 1_024 * windows
    wave = np.convolve(rng.normal(0, 1, windows + 8), np.ones(9) / 9, "valid")
    own = bits + 0.06 * wave + rng.normal(0, 0.014, windows) - 0.9 * (rng.random(windows) > 0.99)
    _csv(
        evaluation / "records.csv",
        ["id", "start", "length", "num_scored", "nll", "bits", "perplexity"],
        ([record, start + 1_024 * i, 1_024, 1_024, b * math.log(2), b, 2**b] for i, b in enumerate(own)),
    )
    given = np.array(
        [[0.36, 0.2, 0.22, 0.22], [0.21, 0.34, 0.24, 0.21], [0.22, 0.24, 0.33, 0.21], [0.22, 0.2, 0.21, 0.37]]
    )
    _csv(
        evaluation / "symbols.csv",
        ["symbol", "count", "bits", *(f"p_{b}" for b in BASES)],
        ([b, 256 * windows + 40 * i, 1.88 + 0.02 * i, *given[i]] for i, b in enumerate(BASES)),
    )
    return folder


def fake_prediction_run(
    folder: Path,
    *,
    task: str = "classification",
    classes: Sequence[str] = ("bacillus", "ecoli"),
    records: int = 400,
    skill: float = 1.6,
    baseline: float = 0.8,
    status: str = "finished",
    path: str = "sample:ecoli-or-bacillus",
    seed: int = 0,
) -> Path:
    """A model that predicts something about sequences.

    Args:
        task: `classification`, `multilabel` or `regression`.
        classes: names of classes or labels; for numbers, of outputs.
        skill: distance of the classes in deviations, or for numbers the share of the truth that is told.
        baseline: MCC, AUROC or Pearson of the k-mer baseline.
    """
    rng = np.random.default_rng(seed)
    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True, exist_ok=True)
    outputs = len(classes)
    config = CONFIG.format(path=path, alphabet="dna", objective="masked") + HEAD.format(task=task, outputs=outputs)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    _json(folder / "run.json", _facts("sequence-finetune", status))
    _csv(folder / "metrics.csv", ["epoch", "step", "train_loss", "val_loss", "learning_rate"], _losses(rng))
    names = [f"window{i:04d}" for i in range(records)]
    truth = rng.integers(0, outputs, records)
    labels: dict[str, Any] = {"task": task, "targets" if task == "regression" else "classes": list(classes)}
    if task == "classification":
        test = Counter(classes[t] for t in truth)
        labels |= {part: {c: n * f for c, n in test.items()} for part, f in (("train", 8), ("val", 1), ("test", 1))}
    summary = _summary(1, records) | {"labels": labels, "context_length": 200}
    for part, share in (("train", 8), ("val", 1), ("test", 1)):
        summary["split"][part] = {
            "records": share * records,
            "symbols": 200 * share * records,
            "windows": share * records,
        }
    summary["split"]["rule"] = "column"
    summary["quality"] |= {"records": 10 * records + 2, "kept": 10 * records, "left_out": {"shorter than 50": 2}}
    summary["quality"]["examples"] = ["windows.fa line 17: shorter than 50"]
    _json(folder / "data_summary.json", summary)
    if task == "regression":
        _numbers(rng, evaluation, names, classes, skill, baseline)
    else:
        _classes(rng, evaluation, names, classes, truth, skill, baseline, multilabel=task == "multilabel")
    return folder


def _classes(rng, evaluation, names, classes, truth, skill, baseline, *, multilabel) -> None:
    logits = rng.normal(0, 1, (len(names), len(classes)))
    logits[np.arange(len(names)), truth] += skill
    p = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
    predicted = p.argmax(1)
    right = float((predicted == truth).mean())
    header = ["id", "label", "predicted", *(f"p_{c}" for c in classes)]
    words = [";".join(c for c, v in zip(classes, row, strict=True) if v > 0.5) or "-" for row in p]
    said = words if multilabel else [classes[q] for q in predicted]
    rows = [[n, classes[t], q, *v] for n, t, q, v in zip(names, truth, said, p, strict=True)]
    _csv(evaluation / "predictions.csv", header, rows)
    pairs = Counter(zip(truth.tolist(), predicted.tolist(), strict=True))
    by_class = []
    for i, name in enumerate(classes):
        hit, called, real = pairs[i, i], (predicted == i).sum(), (truth == i).sum()
        by_class.append([name, real, hit / max(called, 1), hit / max(real, 1), 2 * hit / max(called + real, 1)])
    _csv(evaluation / "classes.csv", ["class", "n", "precision", "recall", "f1"], by_class)
    f1 = float(np.mean([row[-1] for row in by_class]))
    chance = 1 / len(classes)
    mcc = (right - chance) / (1 - chance)
    if multilabel:
        header = ["model", "n", "macro_f1", "auroc", "average_precision", "log_loss"]
        rows = [["xlstm", len(names), f1, 0.5 + mcc / 2, f1, 0.31], ["kmer-6", len(names), 0.6, baseline, 0.58, 0.42]]
        _csv(evaluation / "comparison.csv", header, rows)
        return
    header = ["true", "predicted", "count"]
    size = range(len(classes))
    _csv(evaluation / "confusion.csv", header, ([classes[a], classes[b], pairs[a, b]] for a in size for b in size))
    spread = 1.96 * math.sqrt(right * (1 - right) / len(names))
    header = ["model", "n", "accuracy", "balanced_accuracy", "mcc", "f1", "auroc", "average_precision", "log_loss"]
    header += ["accuracy_lo", "accuracy_hi", "mcc_lo", "mcc_hi"]
    rows = []
    for model, score in (("xlstm", mcc), ("kmer-6", baseline), ("cnn", baseline - 0.04)):
        own = score * (1 - chance) + chance
        ends = [own - spread, own + spread, score - 2 * spread, score + 2 * spread]
        rows.append([model, len(names), own, own, score, own, 0.5 + score / 2, 0.5 + score / 2.1, 1.1 - score, *ends])
    _csv(evaluation / "comparison.csv", header, rows)
    sure, hits = p.max(1), predicted == truth
    bins = np.clip((sure * 10).astype(int), 0, 9)
    _csv(
        evaluation / "calibration.csv",
        ["bin", "confidence", "accuracy", "count"],
        (
            [b, sure[bins == b].mean(), hits[bins == b].mean(), (bins == b).sum()]
            for b in range(10)
            if (bins == b).any()
        ),
    )
    if len(classes) == 2:
        _csv(evaluation / "thresholds.csv", ["threshold", "tpr", "fpr", "precision"], _curve(p[:, 1], truth == 1))


def _curve(p: np.ndarray, truth: np.ndarray):
    yield [math.inf, 0.0, 0.0, ""]
    for threshold in sorted(set(p.tolist()), reverse=True):
        called = p >= threshold
        hits = (called & truth).sum()
        yield [threshold, hits / truth.sum(), (called & ~truth).sum() / (~truth).sum(), hits / called.sum()]


def _numbers(rng, evaluation, names, outputs, skill, baseline) -> None:
    share = min(skill, 1.0)
    header, columns, pearson = ["id"], [], 0.0
    for output in outputs:
        end = f"_{output}" if len(outputs) > 1 else ""
        target = rng.gamma(2.0, 1.4, len(names))
        predicted = 2.8 + share * (target - 2.8) + rng.normal(0, 0.7, len(names))
        header += [f"target{end}", f"predicted{end}"]
        columns += [target, predicted]
        pearson = float(np.corrcoef(target, predicted)[0, 1])
    _csv(
        evaluation / "predictions.csv",
        header,
        ([n, *v] for n, v in zip(names, zip(*columns, strict=True), strict=True)),
    )
    header = ["model", "n", "pearson", "spearman", "r2", "mae", "rmse", "pearson_lo", "pearson_hi"]
    rows = [
        [m, len(names), r, r - 0.02, r * r, 2 - r, 2.4 - r, r - 0.03, r + 0.025]
        for m, r in (("xlstm", pearson), ("one-hot-ridge", baseline), ("cnn", baseline - 0.06))
    ]
    _csv(evaluation / "comparison.csv", header, rows)


def _facts(task: str, status: str) -> dict[str, Any]:
    return {
        "task": task,
        "status": status,
        "seed": 0,
        "seconds": {"load": 1.4, "baseline": 3.2, "fit": 74.2, "evaluate": 11.9},
        "versions": {"python": "3.11.9", "xlstm-apps": "0.1.0", "torch": "2.13.0"},
        "device": "cpu",
        "parameters": 602_884,
        "best_epoch": 8,
        "command": "xlstm-apps sequence train --data.path sample:ecoli-k12 --seed 0",
    }


def _summary(near_copies: int, windows: int) -> dict[str, Any]:
    """The quality report of a corpus with its split and what leaked."""
    counts = {"A": 1_142_228, "C": 1_179_554, "G": 1_176_923, "T": 1_140_970, "N": 1_977}
    held = 1_024 * windows
    parts = {"train": LENGTH - 2 * held, "val": held, "test": held}
    return {
        "quality": {
            "alphabet": "dna",
            "sources": ["ecoli-k12.fa.gz"],
            "records": 1,
            "kept": 1,
            "left_out": {},
            "symbols": LENGTH,
            "definite": LENGTH - 1_977,
            "ambiguous": {"N": 1_977},
            "ambiguous_share": 0.000426,
            "soft_masked": 0,
            "synonyms": 0,
            "bad_characters": {},
            "composition": counts,
            "lengths": {"min": LENGTH, "median": float(LENGTH), "max": LENGTH},
            "examples": [],
            "notes": [],
            "exit_code": 0,
        },
        "split": {
            "rule": "stretch",
            **{k: {"records": 1, "symbols": n, "windows": max(n // 1_024, 1)} for k, n in parts.items()},
        },
        "leakage": {
            "checked": windows, "too_short": 0, "copies": near_copies, "share": near_copies / windows,
            "mean_overlap": 0.02, "k": 16, "scale": 16, "threshold": 0.5,
        },
        "context_length": 1_024,
        "notes": ["context_length 1,024 was chosen for the device"],
    }  # fmt: skip
