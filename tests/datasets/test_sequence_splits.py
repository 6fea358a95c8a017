"""Parts of a split hold what they should and no more, and near copies between them are found."""

import numpy as np
import pytest

from xlstm_apps.biosequence import get_alphabet
from xlstm_apps.datasets.sequences import (
    Corpus,
    Record,
    Spans,
    leakage,
    read_clusters,
    read_records,
    split_at_random,
    split_by_contig,
    split_by_group,
    split_by_parts,
    split_by_region,
    split_by_stretch,
    windows,
)

DNA = get_alphabet("dna")


@pytest.fixture
def build(tmp_path):
    def build_(sequences, groups=None, name="c"):
        records = [
            Record(id=key, sequence=s if isinstance(s, bytes) else s.encode(), group=groups and groups[i])
            for i, (key, s) in enumerate(sequences.items())
        ]
        return Corpus.build(records, tmp_path / name, DNA)

    return build_


def covered(spans):
    return {(int(r), p) for r, a, b in zip(spans.record, spans.start, spans.stop, strict=True) for p in range(a, b)}


def test_by_contig(build):
    corpus = build({"chr1": "ACGT", "chr2": "AC", "chr3": "A"})
    split = split_by_contig(corpus, val=["2"], test=["chr3"])
    assert [s.record.tolist() for s in (split.train, split.val, split.test)] == [[0], [1], [2]]
    with pytest.raises(ValueError, match="named for validation and for the test"):
        split_by_contig(corpus, val=["chr2"], test=["2"])
    with pytest.raises(ValueError, match="no record 'chrX'"):
        split_by_contig(corpus, test=["chrX"])
    with pytest.raises(ValueError, match="nothing is left to train on"):
        split_by_contig(corpus, test=["1", "2", "3"])


@pytest.mark.parametrize("margin", [0, 2])
def test_by_region_parts_are_apart(build, margin):
    corpus = build({"a": "ACGT" * 5, "b": "ACGT"})
    split = split_by_region(corpus, val=[("a", 4, 8)], test=[("a", 12, 16)], margin=margin)
    train, val, test = covered(split.train), covered(split.val), covered(split.test)
    assert val == {(0, p) for p in range(4, 8)} and test == {(0, p) for p in range(12, 16)}
    near = {(0, p) for a, b in ((4, 8), (12, 16)) for p in range(a - margin, b + margin)}
    assert train == {(0, p) for p in range(20)} - near | {(1, p) for p in range(4)}
    with pytest.raises(ValueError, match="overlap at a:8-8"):
        split_by_region(corpus, val=[("a", 4, 8)], test=[("a", 7, 9)])
    with pytest.raises(ValueError, match="a:11-21 is no stretch of its 20 symbols"):
        split_by_region(corpus, test=[("a", 10, 21)])


def test_by_stretch(build):
    corpus = build({"a": "A" * 100, "b": "C" * 40})
    split = split_by_stretch(corpus, 0.1, 0.2, margin=5)
    assert list(zip(split.test.start, split.test.stop, strict=True)) == [(80, 100), (32, 40)]
    assert list(zip(split.val.start, split.val.stop, strict=True)) == [(70, 80), (28, 32)]
    assert list(zip(split.train.start, split.train.stop, strict=True)) == [(0, 65), (0, 23)]
    with pytest.raises(ValueError, match="sum below 1"):
        split_by_stretch(corpus, 0.5, 0.5)


def test_groups_stay_together(build, tmp_path):
    names = [f"r{i}" for i in range(60)]
    groups = [f"g{i // 3}" if i < 54 else None for i in range(60)]
    corpus = build(dict.fromkeys(names, "ACGT"), groups)
    for seed in range(5):
        split = split_by_group(corpus, 0.2, 0.2, seed)
        parts = [{groups[i] or names[i] for i in s.record} for s in (split.train, split.val, split.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert 8 <= len(split.test) <= 12 and 8 <= len(split.val) <= 12 and sum(map(len, parts)) == 18 + 6
    path = tmp_path / "clusters.tsv"
    path.write_text("".join(f"r{i // 10 * 10}\tr{i}\n" for i in range(60)))
    split = split_by_group(corpus, 0.2, 0.2, clusters=read_clusters(path))
    assert len(split.test) == 10 and len({i // 10 for i in split.test.record}) == 1
    with pytest.raises(ValueError, match="no group fits into the test part of 6 records, the smallest has 10"):
        split_by_group(corpus, 0.0, 0.1, clusters=read_clusters(path))
    with pytest.raises(ValueError, match="none of the records is in the cluster file"):
        split_by_group(corpus, clusters={"x": "y"})
    path.write_text("r1\n")
    with pytest.raises(ValueError, match="line 1: a line is representative and member"):
        read_clusters(path)
    path.write_text("".join(f"r{i // 10 * 10}\tr{i}\n" for i in range(50)))
    told = split_by_group(corpus, 0.2, 0.2, clusters=read_clusters(path)).rule
    assert told == "cluster; 10 of 60 records are in no cluster, and stand by themselves"
    path.write_text("r1\tr1\nr1\tr2\nr3\tr2\n")
    with pytest.raises(ValueError, match="line 3: 'r2' is in the cluster 'r1' already"):
        read_clusters(path)


def test_at_random_and_by_the_data(build):
    corpus = build({f"r{i}": "ACGT" for i in range(20)})
    split = split_at_random(corpus, 0.1, 0.2, seed=1)
    records = [s.record.tolist() for s in (split.train, split.val, split.test)]
    assert [len(r) for r in records] == [14, 2, 4] and sorted(i for r in records for i in r) == list(range(20))
    assert split_at_random(corpus, 0.1, 0.2, seed=1).test.record.tolist() == records[2]
    assert split_at_random(corpus, 0.1, 0.2, seed=2).test.record.tolist() != records[2]
    parts = ["training"] * 18 + ["validation", "test"]
    assert split_by_parts(corpus, parts).val.record.tolist() == [18]
    with pytest.raises(ValueError, match="part 'holdout' is none of"):
        split_by_parts(corpus, ["holdout"] * 20)
    with pytest.raises(ValueError, match="have no groups"):
        split_by_group(corpus)


def test_leakage_finds_copies_on_either_strand(build):
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)
    genome = rng.choice(letters, 20_000)
    mutated = genome[5_000:5_500].copy()
    mutated[::100] = [letters[(list(b"ACGT").index(c) + 1) % 4] for c in mutated[::100]]
    pieces = {
        "copy": genome[1_000:1_500],
        "other strand": letters[3 - np.searchsorted(letters, genome[2_000:2_500][::-1])],
        "one in a hundred changed": mutated,
        "new": rng.choice(letters, 500),
        "half new": np.concatenate([genome[8_000:8_100], rng.choice(letters, 400)]),
        "short": genome[:10],
        "unknown": np.full(500, ord("N"), np.uint8),
    }
    corpus = build({"genome": genome.tobytes(), **{k: v.tobytes() for k, v in pieces.items()}})
    spans = Spans.whole(corpus)

    def found(scale, name):
        i = corpus.find(name)
        return leakage(corpus, spans[:1], spans[i : i + 1], scale=scale)

    for scale in (1, 8):
        assert found(scale, "copy").mean_overlap == found(scale, "other strand").mean_overlap == 1
        assert found(scale, "one in a hundred changed").copies == 1
        assert found(scale, "new").mean_overlap == 0 and found(scale, "half new").copies == 0
        assert found(scale, "short").too_short == 1 and found(scale, "unknown").checked == 0
    report = leakage(corpus, spans[:1], spans[1:])
    assert (report.checked, report.copies, report.too_short) == (5, 3, 2) and "60.0%" in report.summary()
    assert report.to_dict()["share"] == report.share
    with pytest.raises(ValueError, match="threshold 0"):
        leakage(corpus, spans[:1], spans[1:], threshold=0)


def test_blocks_of_training_lose_no_kmer(build, monkeypatch):
    from xlstm_apps.datasets.sequences import minhash

    rng = np.random.default_rng(0)
    corpus = build({"a": rng.choice(np.frombuffer(b"ACGT", np.uint8), 300).tobytes()})
    spans = Spans.whole(corpus)
    monkeypatch.setattr(minhash, "_BLOCK", 50)
    assert leakage(corpus, spans, windows(spans, 40, 7), scale=1).mean_overlap == 1


def test_genomes_of_two_strains_share_most_of_their_windows(shared_data, tmp_path):
    pytest.importorskip("Bio", reason="needs Biopython")
    corpora = [
        Corpus.build(read_records(shared_data(f"dna/{name}.gbk.gz")), tmp_path / name, DNA)
        for name in ("NC_000913", "NC_002695")
    ]
    k12, o157 = (Spans.whole(corpus) for corpus in corpora)
    cut = windows(o157, 1024)[::20]
    assert 0.5 < leakage(corpora[0], k12, cut, other=corpora[1]).share < 0.95
    split = split_by_stretch(corpora[0], 0.0, 0.05)
    assert leakage(corpora[0], split.train, windows(split.test, 1024)).share < 0.05
