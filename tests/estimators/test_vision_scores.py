"""The numbers about a classifier of images."""

import numpy as np
import pytest

from xlstm_apps.estimators.vision_scores import chance, row, tables, top_k


def test_scores_of_a_few_images():
    truth = np.array([0, 1, 2, 2])
    said = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8], [0.8, 0.15, 0.05]], np.float32)
    found = row("m", truth, said, parameters=3)
    assert found["accuracy"] == 0.5 and found["top2"] == 0.75 and found["n"] == 4 and found["parameters"] == 3
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.4, 0.8, 0.05]).mean(), rel=1e-4)
    files = tables(truth, said, ["a", "b", "c"], ["w", "x", "y", "z"])
    assert files.mistakes == [3, 1]  # the surest first
    assert files.tables["predictions"][1] == {
        "id": "x",
        "label": "b",
        "predicted": "a",
        "p_a": 0.5,
        "p_b": 0.4,
        "p_c": 0.1,
    }
    assert sum(r["count"] for r in files.tables["confusion"]) == 4 and "thresholds" not in files.tables
    assert [top_k(n) for n in (2, 3, 6, 10, 1000)] == [0, 2, 3, 5, 5]


def test_of_equal_probabilities_the_first_counts():
    found = row("chance", np.arange(10), np.full((10, 10), 0.1, np.float32))
    assert found["top5"] == 0.5 and found["accuracy"] == 0.1  # not 1: who says nothing guesses


def test_many_classes_take_little_room():
    truth = np.arange(300) % 150
    said = np.eye(150, dtype=np.float32)[(truth + (np.arange(300) > 290)) % 150]
    files = tables(truth, said, [str(n) for n in range(150)], [str(n) for n in range(300)]).tables
    assert set(files["predictions"][0]) == {"id", "label", "predicted", "p_predicted"} and len(files["confusion"]) < 300
    assert row("m", truth, said)["accuracy"] == pytest.approx(291 / 300)


def test_chance_is_right_as_often_as_there_are_classes_whatever_their_order():
    found = chance(np.array([0, 0, 0, 0, 1, 2]), 3)
    assert found["accuracy"] == pytest.approx(1 / 3) and found["top2"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(np.log(3)) and "top3" not in found
