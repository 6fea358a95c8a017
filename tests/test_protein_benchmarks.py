"""What the protein benchmarks rest on: similar proteins on one side, batches that lose little, folds, masked states."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import protein_data as data
import protein_families as families
import protein_finetune as finetune
import protein_language as language
import sequence_networks as networks


def residues(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, 24, count).astype(np.uint8)


def test_whole_groups_are_dealt_in_the_shares_asked_for():
    group = np.repeat(np.arange(500), 4)
    part = data.deal(group, np.ones(2000), [0.9, 0.04, 0.06], seed=1)
    assert all(len(set(part[group == g].tolist())) == 1 for g in range(500))
    assert np.bincount(part).tolist() == [1800, 80, 120]


def test_every_residue_is_in_one_piece_and_every_piece_in_one_batch():
    rows = [residues(n, n) for n in (5, 40, 100, 33)]
    pieces = language.Pieces(rows, 32)
    np.testing.assert_array_equal(np.concatenate(pieces.rows), np.concatenate(rows))
    batches = pieces.batches(64)
    assert sorted(n for batch in batches for n in batch) == list(range(len(pieces)))
    assert all(len(batch) * max(len(pieces.rows[n]) for n in batch) <= 64 for batch in batches)
    assert language.Pieces(rows, None).spread(80).residues <= 105


def test_training_batches_are_cut_to_the_shortest_row_and_labels_with_them():
    rows = [residues(n, n) for n in (30, 32, 31)]
    states = [np.full(len(row), n, np.uint8) for n, row in enumerate(rows)]
    states[0][:2] = data.UNKNOWN
    batch = finetune.Even(finetune.Labelled(rows, states), 96, cut=True).__getitems__([0])
    assert batch["ids"].shape == batch["label"].shape == (3, 30) and set(batch) == {"ids", "label"}
    assert (batch["label"][0, :2] == -1).all() and (batch["label"][0, 2:] == 0).all()
    padded = finetune.Labelled(rows, states).__getitems__([0, 1])["label"]
    assert (padded[0, 30:] == -1).all()


def test_folds_keep_groups_whole_and_test_each_protein_once():
    group, fold = np.repeat(np.arange(100), 2), np.repeat(np.arange(100) % finetune.FOLDS, 2)
    tested = np.zeros(200, int)
    for seed in range(finetune.FOLDS):
        part = finetune.folded(fold, group, seed)
        tested += part == 2
        assert 0 < (part == 1).sum() < (part == 0).sum()
        assert all(len(set(part[group == g].tolist())) == 1 for g in range(100))
    assert (tested == 1).all()


def test_perplexity_is_that_of_all_residues_however_they_are_batched():
    import torch

    from xlstm_apps.biosequence import SequenceConfig, SequenceModel
    from xlstm_apps.core.config import xLSTMConfig

    model = SequenceModel(SequenceConfig(alphabet="protein"), xLSTMConfig(embedding_dim=16, num_blocks=1)).eval()
    rows = [residues(n, n) for n in (9, 20, 14)]
    rows[1][3] = 24  # X: not scored
    scores = np.concatenate([model.score(torch.from_numpy(row.astype(np.int64))[None])[0].numpy() for row in rows])
    pieces = language.Pieces(rows, None)
    for symbols in (20, 1000):
        found = language.perplexity(model, pieces, symbols, "32-true")
        assert found == pytest.approx(np.exp(np.nanmean(scores)), rel=1e-5)


def test_lines_are_drawn_from_one_family_at_a_time_and_fill_their_rows():
    own = [[np.full(n, 4 + f, np.uint8) for n in (7, 9, 5)] for f in range(3)]
    lines = families.Lines(own, 40, 120, 6, seed=2)
    batch = lines.__getitems__([4])
    assert batch["ids"].shape == (3, 40) and (batch["weights"] == 1).all()
    assert (batch["ids"] == lines.__getitems__([4])["ids"]).all()
    assert (batch["ids"] != lines.__getitems__([5])["ids"]).any()
    row = batch["ids"][0].numpy()
    pieces = np.split(row, np.flatnonzero(row == 0))
    assert all(len(np.unique(piece[piece > 0])) == 1 for piece in pieces if (piece > 0).any())
    assert len({piece[-1] for piece in pieces[:3]}) == 1 and sorted(map(len, pieces[:3])) == [6, 8, 9]


def test_a_context_that_is_read_once_gives_what_reading_everything_does():
    import torch

    from xlstm_apps.biosequence import SequenceConfig, SequenceModel
    from xlstm_apps.biosequence.family import read_homologs
    from xlstm_apps.biosequence.fitness import forward_scores
    from xlstm_apps.core.config import xLSTMConfig

    torch.manual_seed(0)
    layers = xLSTMConfig(embedding_dim=16, num_blocks=1)
    model = SequenceModel(SequenceConfig(alphabet="protein", end_token=False), layers).eval()
    wild, homologs = residues(12), [residues(9, 1), residues(7, 2)]
    mutants = [np.where(np.arange(12) == n, 4 + (wild - 3) % 20, wild).astype(np.uint8) for n in (0, 5, 11)]
    fast = forward_scores(model, wild, mutants, read_homologs(model, [homologs]).begin(model))
    slow = families.everything(model, homologs, [wild, *mutants])
    np.testing.assert_allclose(fast, slow[1:] - slow[0], atol=1e-4)


def test_perplexity_behind_nothing_is_that_of_the_protein_alone():
    from xlstm_apps.biosequence import SequenceConfig, SequenceModel
    from xlstm_apps.core.config import xLSTMConfig

    model = SequenceModel(SequenceConfig(alphabet="protein"), xLSTMConfig(embedding_dim=16, num_blocks=1)).eval()
    members = [residues(10, n) for n in range(4)]
    rows = families.in_context(model, "uniprot", [members], seed=0)
    alone = language.perplexity(model, language.Pieces(members[-1:], None), 64, "32-true")
    found = {(row["control"], row["homologs"]): row["perplexity"] for row in rows}
    assert found["real", 0] == found["shuffled", 0] == pytest.approx(alone, rel=1e-5)
    assert found["real", 1] != found["shuffled", 1] and len(found) == 8


def test_the_shipped_rows_are_read_back(tmp_path):
    group = language.BENCHMARK.group_of(Namespace(size="65k", steps=5, symbols=64, context=16), "lstm")
    row = {**group, "learning_rate": 1e-3, "seed": 0, "val_perplexity": 17.5}
    language.GRID.write(tmp_path, [row])
    assert language.GRID.rate(language.GRID.rows(tmp_path), group, [1e-3]) == 1e-3


def test_groups_of_tasks_say_what_they_are_and_leave_out_what_does_not_go_together(monkeypatch):
    options = Namespace(
        tasks=["structure", "location"],
        networks=["xlstm", "kmers"],
        steps=5,
        symbols=64,
        context=16,
        rates=[1e-3, 3e-3],
    )
    made = []
    monkeypatch.setattr(
        type(finetune.GRID), "measure", lambda self, own, groups, before: made.append((own.rates, groups)) or 0
    )
    assert finetune.BENCHMARK.measure(options) == 0
    assert [(rates, [(g["task"], g["network"], g["steps"]) for g in groups]) for rates, groups in made] == [
        ([0.0], [("location", "kmers", "")]),
        ([1e-3, 3e-3], [("structure", "xlstm", 5), ("location", "xlstm", 5)]),
    ]


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_of_proteins_are_of_one_size(name):
    import torch

    with torch.device("meta"):
        size = "2m" if name == "xlstm-wide" else "65k"  # in smaller ones the taps weigh more
        counts = [networks.build(other, size, alphabet="protein")[1] for other in (name, "xlstm-mlstm")]
    assert counts[0] == pytest.approx(counts[1], rel=0.02)
