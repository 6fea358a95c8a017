"""Clusters of proteins that are alike, and splits by them: no relative across a border."""

import numpy as np
import pytest

from xlstm_apps.biosequence import get_tokenizer
from xlstm_apps.datasets.sequences import Corpus, Record, SequenceData, identity_clusters, split_corpus
from xlstm_apps.datasets.sequences import identity as module

PROTEIN = get_tokenizer("protein").alphabet


def family(rng, length, members, identity):
    """A protein and others with that share of its residues, the rest drawn anew."""
    first = rng.choice(PROTEIN.definite, length).astype(np.uint8)
    rows = [first]
    for _ in range(members - 1):
        row = first.copy()
        changed = rng.random(length) > identity
        row[changed] = rng.choice(PROTEIN.definite, int(changed.sum()))
        rows.append(row)
    return rows


@pytest.fixture
def families():
    rng = np.random.default_rng(0)
    return [row for _ in range(12) for row in family(rng, int(rng.integers(80, 400)), 5, 0.8)]


def test_families_are_found_whatever_their_order(families):
    found = identity_clusters(families, PROTEIN.definite)
    assert found.tolist() == np.repeat(np.arange(12), 5).tolist()
    order = np.random.default_rng(1).permutation(60)
    shuffled = identity_clusters([families[i] for i in order], PROTEIN.definite)
    same = lambda x: x[:, None] == x[None]  # noqa: E731
    assert (same(shuffled) == same(found[order])).all() and shuffled[0] == 0


def test_relatives_below_the_identity_are_left_apart():
    rows = family(np.random.default_rng(0), 300, 2, 0.7)
    assert identity_clusters(rows, PROTEIN.definite, 0.5).tolist() == [0, 0]
    assert identity_clusters(rows, PROTEIN.definite, 0.95).tolist() == [0, 1]
    part = [rows[0], rows[0][50:200]]
    assert identity_clusters(part, PROTEIN.definite, 1.0).tolist() == [0, 0]  # a fragment is alike


def test_a_crowd_of_relatives_is_one_cluster(monkeypatch):
    monkeypatch.setattr(module, "_ROOM", 500)  # tallied in many parts
    rows = family(np.random.default_rng(0), 120, 150, 0.95)
    assert identity_clusters(rows, PROTEIN.definite).max() == 0


def test_strangers_short_and_unknown_sequences():
    rng = np.random.default_rng(0)
    rows = [rng.choice(PROTEIN.definite, int(n)).astype(np.uint8) for n in rng.integers(3, 900, 200)]
    assert len(set(identity_clusters(rows, PROTEIN.definite).tolist())) == 200
    unknown = np.full(40, PROTEIN.wildcard, np.uint8)
    short = rows[0][:2]
    assert identity_clusters([short, unknown, short, unknown[:30]], PROTEIN.definite).tolist() == [0, 1, 0, 2]
    assert identity_clusters([], PROTEIN.definite).tolist() == []


def corpus_of(rows, path):
    text = get_tokenizer("protein").decode
    return Corpus.build([Record(id=f"p{n}", sequence=text(ids).encode()) for n, ids in enumerate(rows)], path, PROTEIN)


def test_no_family_is_cut_by_the_split(families, tmp_path):
    corpus = corpus_of(families, tmp_path / "c")
    split = split_corpus(SequenceData(path=["x"]), corpus)
    assert split.rule == "identity; 12 clusters of about 50% identity, the largest of 5 proteins"
    parts = [set((part.record // 5).tolist()) for part in (split.train, split.val, split.test)]
    assert sum(len(part) for part in parts) == 12 and all(parts)
    assert split_corpus(SequenceData(path=["x"]), corpus, whole=True).rule == "random"
    named = SequenceData(path=["x"], identity=0.99)
    assert split_corpus(named, corpus, whole=True).rule.startswith("identity; 60 clusters")


def test_proteins_that_are_all_alike(tmp_path):
    corpus = corpus_of(family(np.random.default_rng(0), 100, 30, 0.9), tmp_path / "c")
    assert split_corpus(SequenceData(path=["x"]), corpus).rule.startswith("random; the proteins are too much alike")
    with pytest.raises(ValueError, match="no group fits into the test part"):
        split_corpus(SequenceData(path=["x"], split="identity"), corpus)


def test_mistakes(tmp_path, monkeypatch):
    dna = get_tokenizer("dna").alphabet
    corpus = Corpus.build([Record(id=str(n), sequence=b"ACGT") for n in range(30)], tmp_path / "d", dna)
    with pytest.raises(ValueError, match="identity is for proteins, not dna"):
        split_corpus(SequenceData(path=["x"], split="identity"), corpus)
    with pytest.raises(ValueError, match=r"data\.identity is a share"):
        SequenceData(path=["x"], identity=50)
    with pytest.raises(ValueError, match="identity is a share"):
        identity_clusters([], PROTEIN.definite, 0)
    with pytest.raises(ValueError, match="cluster and identity are given"):
        split_corpus(SequenceData(path=["x"], identity=0.5, clusters_path="y"), corpus)
    monkeypatch.setattr(module, "MOST_SYMBOLS", 10)
    with pytest.raises(ValueError, match="cluster them with MMseqs2"):
        identity_clusters([np.zeros(11, np.uint8)], PROTEIN.definite)
