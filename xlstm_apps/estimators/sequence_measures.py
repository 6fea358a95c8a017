"""How good predictions about sequences are: measures over a whole part, with what chance alone could change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from xlstm_apps.biosequence.heads import MISSING
from xlstm_apps.thinning import evenly

_DRAWS = 1000
_TINY = 1e-9
_BINS = 10
_MOST_THRESHOLDS = 200
_MOST_DRAWN = 100
"""Classes up to which tables of their counts are drawn, which take room by the square."""


def measures(task: str, truth: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    """One row of a comparison.

    Args:
        task: As in `HeadConfig`.
        truth: Classes [N], -1 = missing; labels or numbers [N, O], NaN = missing.
        outputs: Probabilities or numbers, [N, O].
    """
    if task == "classification":
        known = truth != MISSING
        return _of_classes(truth[known], outputs[known])
    pairs = [(truth[:, n], outputs[:, n]) for n in range(truth.shape[1])]
    pairs = [(t[~np.isnan(t)], o[~np.isnan(t)]) for t, o in pairs]
    each = [_of_label(t, o) if task == "multilabel" else _of_number(t, o) for t, o in pairs if len(t)]
    row: dict[str, Any] = {"n": int((~np.isnan(truth)).any(1).sum())}
    for name in each[0] if each else ():
        values = [one[name] for one in each if np.isfinite(one[name])]
        row[name] = float(np.mean(values)) if values else float("nan")
    if task == "regression" and len(pairs) == 1:
        row |= dict(zip(("pearson_lo", "pearson_hi"), _pearson_interval(*pairs[0]), strict=True))
    return row


def confusion(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Counts of (true, predicted) classes: int64 [C, C]."""
    classes = outputs.shape[1]
    known = truth != MISSING
    pairs = truth[known] * classes + outputs[known].argmax(1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confusion_rows(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of confusion.csv."""
    return [
        {"true": a, "predicted": b, "count": int(counts[i, j])}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    ]


def class_rows(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of classes.csv."""
    rows = []
    for n, name in enumerate(names):
        right, true, said = int(counts[n, n]), int(counts[n].sum()), int(counts[:, n].sum())
        precision, recall = right / said if said else 0.0, right / true if true else 0.0
        both = precision + recall
        f1 = 2 * precision * recall / both if both else 0.0
        rows.append({"class": name, "n": true, "precision": precision, "recall": recall, "f1": f1})
    return rows


def label_rows(truth: np.ndarray, outputs: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of classes.csv for several labels."""
    rows = []
    for n, name in enumerate(names):
        known = ~np.isnan(truth[:, n])
        t, said = truth[known, n] > 0.5, outputs[known, n] > 0.5
        precision = float(t[said].mean()) if said.any() else 0.0
        recall = float(said[t].mean()) if t.any() else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append({"class": name, "n": int(t.sum()), "precision": precision, "recall": recall, "f1": f1})
    return rows


def calibration_rows(right: np.ndarray, confidence: np.ndarray) -> list[dict[str, Any]]:
    """Rows of calibration.csv: how often what was said with some confidence is right.

    Args:
        right: Whether each prediction was right: bool [N].
        confidence: Probability it was given: [N].
    """
    place = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    rows = []
    for n in range(_BINS):
        inside = place == n
        if inside.any():
            rows.append(
                {
                    "bin": f"{n / _BINS:.1f}-{(n + 1) / _BINS:.1f}",
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(right[inside].mean()),
                    "count": int(inside.sum()),
                }
            )
    return rows


def threshold_rows(truth: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    """Rows of thresholds.csv: ROC and precision of two classes, at so many thresholds as a plot can show.

    Args:
        truth: 0 or 1, [N].
        probability: Of 1, [N].
    """
    if len(np.unique(truth)) < 2:
        return []
    order = np.argsort(-probability, kind="stable")
    hits, said = np.cumsum(truth[order] == 1), np.arange(1, len(order) + 1)
    score = probability[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # ties are taken together
    ends = ends[evenly(len(ends), _MOST_THRESHOLDS)]
    positives = int(hits[-1])
    return [
        {
            "threshold": float(score[i]),
            "tpr": float(hits[i] / positives),
            "fpr": float((said[i] - hits[i]) / (len(order) - positives)),
            "precision": float(hits[i] / said[i]),
        }
        for i in ends.tolist()
    ]


def _of_classes(truth: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    counts = confusion(truth, outputs)
    present = [row for row in class_rows(counts, [str(n) for n in range(len(counts))]) if row["n"]]
    two = outputs.shape[1] == 2
    # Of two classes the second is the one looked for; of several the mean over the classes is told.
    f1 = class_rows(counts, ["0", "1"])[1]["f1"] if two else float(np.mean([row["f1"] for row in present]))
    areas = []
    for n in (1,) if two else range(outputs.shape[1]):
        own = truth == n
        if own.any() and not own.all():
            areas.append(
                (metrics.roc_auc_score(own, outputs[:, n]), metrics.average_precision_score(own, outputs[:, n]))
            )
    auroc, precision = np.mean(areas, 0).tolist() if areas else (float("nan"), float("nan"))
    row = {
        "n": len(truth),
        "accuracy": float(counts.trace() / max(1, counts.sum())),
        "balanced_accuracy": float(np.mean([row["recall"] for row in present])) if present else float("nan"),
        "mcc": float(_mcc(counts[None].astype(np.float64))[0]),
        "f1": f1,
        "auroc": auroc,
        "average_precision": precision,
        "log_loss": float(-np.log(outputs[np.arange(len(truth)), truth] + _TINY).mean())
        if len(truth)
        else float("nan"),
    }
    return row | _class_intervals(counts)


def _class_intervals(counts: np.ndarray) -> dict[str, float]:
    """What accuracy and MCC could be had other sequences been drawn: drawing examples again is drawing the table of
    their counts from a multinomial (Efron 1979)."""
    total = int(counts.sum())
    if total == 0 or len(counts) > _MOST_DRAWN:
        return {}
    drawn = np.random.default_rng(0).multinomial(total, counts.ravel() / total, size=_DRAWS)
    drawn = drawn.reshape(_DRAWS, *counts.shape).astype(np.float64)
    found = {"accuracy": np.trace(drawn, axis1=1, axis2=2) / total, "mcc": _mcc(drawn)}
    return {
        f"{name}_{end}": float(np.quantile(values, q))
        for name, values in found.items()
        for end, q in (("lo", 0.025), ("hi", 0.975))
    }


def _mcc(counts: np.ndarray) -> np.ndarray:
    """Matthews correlation of tables [D, C, C] (Gorodkin 2004); 0 where truth or prediction never varies."""
    true, said, total = counts.sum(2), counts.sum(1), counts.sum((1, 2))
    covariance = np.trace(counts, axis1=1, axis2=2) * total - (true * said).sum(1)
    spread = (total**2 - (true**2).sum(1)) * (total**2 - (said**2).sum(1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def _of_label(truth: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    both = 0 < truth.sum() < len(truth)
    said, true = probability > 0.5, truth > 0.5
    hits = float((said & true).sum())
    loss = -(truth * np.log(probability + _TINY) + (1 - truth) * np.log(1 - probability + _TINY)).mean()
    return {
        "accuracy": float((said == true).mean()),
        "f1": 2 * hits / max(1.0, float(said.sum() + true.sum())),
        "auroc": float(metrics.roc_auc_score(true, probability)) if both else float("nan"),
        "average_precision": float(metrics.average_precision_score(true, probability)) if both else float("nan"),
        "log_loss": float(loss),
    }


def _of_number(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    truth, predicted = truth.astype(np.float64), predicted.astype(np.float64)
    error, spread = truth - predicted, ((truth - truth.mean()) ** 2).sum()
    return {
        "pearson": _pearson(truth, predicted),
        "spearman": _pearson(_ranks(truth), _ranks(predicted)),
        "r2": float(1 - (error**2).sum() / spread) if spread > 0 else float("nan"),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
    }


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; 0 where either never varies, as for one who always says the same."""
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / spread) if spread > 1e-12 else 0.0


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks, those of equal values averaged."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def _pearson_interval(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """95 % of what other draws of examples give; of many examples fewer draws, which vary less."""
    generator = np.random.default_rng(0)
    draws = int(np.clip(2e7 // max(1, len(truth)), 100, _DRAWS))
    found = []
    for _ in range(draws):
        rows = generator.integers(0, len(truth), len(truth))
        found.append(_pearson(truth[rows].astype(np.float64), predicted[rows].astype(np.float64)))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def best_of(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The best value of a column; larger is better but for errors and losses."""
    values = [row[key] for row in rows if isinstance(row.get(key), float) and np.isfinite(row[key])]
    if not values:
        return None
    return min(values) if key in ("log_loss", "mae", "rmse") else max(values)
