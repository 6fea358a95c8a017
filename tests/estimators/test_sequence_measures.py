"""Measures of predictions about sequences, against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from xlstm_apps.estimators.sequence_measures import (
    calibration_rows,
    class_rows,
    confusion,
    label_rows,
    measures,
    threshold_rows,
)


def classes(count: int, seed: int = 0, size: int = 200):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, count, size)
    logits = generator.normal(0, 1, (size, count)) + 1.2 * np.eye(count)[truth]
    outputs = np.exp(logits)
    return truth, outputs / outputs.sum(1, keepdims=True)


@pytest.mark.parametrize("count", [2, 4])
def test_classes_as_scikit_learn_measures_them(count):
    truth, outputs = classes(count)
    with_missing = np.concatenate([truth, [-1]])
    row = measures("classification", with_missing, np.concatenate([outputs, outputs[:1]]))
    said = outputs.argmax(1)
    average = "binary" if count == 2 else "macro"
    assert row["n"] == 200
    assert row["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert row["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    assert row["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, said))
    assert row["f1"] == pytest.approx(metrics.f1_score(truth, said, average=average))
    assert row["log_loss"] == pytest.approx(metrics.log_loss(truth, outputs))
    scores = outputs[:, 1] if count == 2 else outputs
    assert row["auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores, multi_class="ovr"))
    assert row["accuracy_lo"] < row["accuracy"] < row["accuracy_hi"]
    assert row["mcc_lo"] < row["mcc"] < row["mcc_hi"]
    by_class = class_rows(confusion(truth, outputs), [str(n) for n in range(count)])
    expected = metrics.precision_recall_fscore_support(truth, said)
    found = [[each[name] for each in by_class] for name in ("precision", "recall", "f1", "n")]
    np.testing.assert_allclose(found, expected)


def test_intervals_are_as_wide_as_chance_is():
    truth = np.repeat([0, 1], 50)
    outputs = np.eye(2)[np.where(np.arange(100) % 5 == 0, 1 - truth, truth)]
    row = measures("classification", truth, outputs)
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 100)  # of a share of 80 in 100
    assert row["accuracy_lo"] == pytest.approx(0.8 - spread, abs=0.02)
    assert row["accuracy_hi"] == pytest.approx(0.8 + spread, abs=0.02)


def test_one_class_that_is_always_said_is_worth_nothing():
    truth = np.array([0] * 90 + [1] * 10)
    row = measures("classification", truth, np.tile([0.9, 0.1], (100, 1)))
    assert row["accuracy"] == pytest.approx(0.9) and row["mcc"] == 0 and row["auroc"] == 0.5
    assert row["balanced_accuracy"] == pytest.approx(0.5)
    only = measures("classification", np.zeros(5, int), np.tile([0.9, 0.1], (5, 1)))
    assert np.isnan(only["auroc"])


def test_numbers_and_labels():
    generator = np.random.default_rng(0)
    truth = generator.normal(5, 2, (300, 1)).round(1)
    said = truth + generator.normal(0, 1, (300, 1))
    row = measures("regression", truth, said)
    ranks = np.argsort(np.argsort(said[:, 0]))
    assert row["pearson"] == pytest.approx(np.corrcoef(truth[:, 0], said[:, 0])[0, 1])
    assert row["r2"] == pytest.approx(metrics.r2_score(truth, said))
    assert row["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said))
    assert row["pearson_lo"] < row["pearson"] < row["pearson_hi"] and row["spearman"] > 0.8
    assert measures("regression", ranks[:, None].astype(float), said)["spearman"] == pytest.approx(1)
    assert measures("regression", truth, np.full((300, 1), 5.0))["pearson"] == 0
    labels, p = (truth[:, :1] > 5).astype(float).repeat(2, 1), 1 / (1 + np.exp(5 - said)).repeat(2, 1)
    labels[:10, 1] = np.nan
    many = measures("multilabel", labels, p)
    each = [metrics.roc_auc_score(labels[a:, n], p[a:, n]) for n, a in ((0, 0), (1, 10))]
    assert many["n"] == 300 and many["auroc"] == pytest.approx(np.mean(each))
    assert [row["n"] for row in label_rows(labels, p, ["a", "b"])] == np.nansum(labels, 0).tolist()


def test_rows_to_plot():
    truth, outputs = classes(2)
    fpr, tpr, _ = metrics.roc_curve(truth, outputs[:, 1], drop_intermediate=False)
    rows = threshold_rows(truth, outputs[:, 1])
    np.testing.assert_allclose([row["tpr"] for row in rows], tpr[1:])
    np.testing.assert_allclose([row["fpr"] for row in rows], fpr[1:])
    assert rows[-1]["precision"] == pytest.approx(truth.mean())
    tied = threshold_rows(truth, np.full(200, 0.3))
    assert len(tied) == 1 and tied[0]["tpr"] == tied[0]["fpr"] == 1
    assert threshold_rows(np.ones(5, int), np.ones(5)) == []
    assert len(threshold_rows(np.tile(truth, 10), np.random.default_rng(0).random(2000))) <= 200
    confidence = outputs.max(1)
    bins = calibration_rows(outputs.argmax(1) == truth, confidence)
    assert sum(row["count"] for row in bins) == 200
    assert sum(row["count"] * row["confidence"] for row in bins) / 200 == pytest.approx(confidence.mean())
