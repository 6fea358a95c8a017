"""What the DNA benchmarks rest on: fair windows, near copies found and kept together, a grid that goes on."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import dna_data as data
import dna_finetune as finetune
import dna_language as language
import sequence_networks as networks


def bases(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(7, 11, count).astype(np.uint8)


def test_kmers_are_those_of_either_strand():
    ids = bases(40)
    ids[20] = data.N
    own, other = data.kmers(ids), data.kmers(data.reverse_complement(ids))
    np.testing.assert_array_equal(own, other[::-1])
    unknown = own == 2**63
    assert unknown.sum() == data.K and unknown[20 - data.K + 1 : 21].all()


def test_a_copy_on_the_other_strand_is_known():
    train, fresh = bases(400), bases(100, 1)
    held = np.concatenate([data.reverse_complement(train[100:200]), fresh])
    known = np.isin(data.kmers(held), data.kmers(train))
    share = data.overlap(known, np.array([[0, 100], [100, 200], [50, 150]]))
    assert share[0] == 1 and share[1] == 0 and 0.3 < share[2] < 0.5


def test_training_holds_nothing_of_what_is_tested():
    genome = np.arange(1000) % 4 + 7
    part = data.parts(genome.astype(np.uint8))
    assert {name: len(ids) for name, ids in part.items()} == {"train": 851, "val": 50, "test": 100}
    assert (part["train"] == data.N).sum() == 1


@pytest.mark.parametrize("mode", ["windows", "sliding", "carried"])
@pytest.mark.parametrize("length", [64, 100, 257])
def test_every_base_is_scored_once(mode, length):
    starts, skip, size = language.plan(length, 16, mode)
    times = np.zeros(length, int)
    for start, unread in zip(starts, skip, strict=True):
        assert start + size <= length
        times[start + unread : start + size] += 1
        assert mode != "sliding" or start == 0 or unread >= 8
    assert (times >= 1).all() and (mode == "carried" or (times == 1).all())


def test_all_networks_draw_the_same_windows():
    draws = [language.Draws(bases(300), 8, 20, seed=3).__getitems__([0, 5])["ids"] for _ in range(2)]
    assert (draws[0] == draws[1]).all()


def test_near_copies_stay_on_one_side():
    group, label = np.repeat(np.arange(100), 3), np.repeat(np.arange(100) % 2, 3)
    names = finetune.split(group, label, seed=1)
    assert all(len(set(names[group == g])) == 1 for g in range(100))
    assert {name: int((names == name).sum()) for name in ("train", "val", "test")} == pytest.approx(
        {"train": 210, "val": 30, "test": 60}, abs=6
    )
    overlapping = bases(120)
    ids = np.stack([overlapping[:80], overlapping[10:90], data.reverse_complement(overlapping[20:100]), bases(80, 9)])
    found = data.clusters(ids)
    assert found[0] == found[1] == found[2] != found[3]


def test_measures_of_classes_are_those_of_scikit_learn():
    from sklearn.metrics import matthews_corrcoef, roc_auc_score

    draw = np.random.default_rng(0)
    truth, p = draw.integers(0, 2, 50), draw.random(50)
    found = finetune.judged(truth, p)
    assert found["mcc"] == pytest.approx(matthews_corrcoef(truth, p > 0.5))
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, p))


def test_the_grid_chooses_on_validation_and_goes_on(tmp_path):
    grid, group = language.GRID, language.group_of(Namespace(size="2m", steps=5, batch=2, context=16), "lstm")
    rates = [1e-3, 2e-3]
    assert len(grid.todo([], [group], rates, 3, set())) == 2
    rows = [{**group, "learning_rate": rate, "seed": 0, "val_bits": bits} for rate, bits in ((1e-3, 1.9), (2e-3, 1.8))]
    grid.write(tmp_path, rows)
    left = grid.todo(grid.rows(tmp_path), [group], rates, 3, set())
    assert [(cell["learning_rate"], cell["seed"]) for cell in left] == [(2e-3, 1), (2e-3, 2)]


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_are_of_one_size(name):
    import torch

    with torch.device("meta"):
        counts = [networks.build(other, "500k")[1] for other in (name, "xlstm-mlstm")]
    assert counts[0] == pytest.approx(counts[1], rel=0.02)
