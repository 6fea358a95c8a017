"""Families from files, aligned or not: the query, likeness to it, weights, and what is drawn."""

import numpy as np
import pytest

from xlstm_apps.datasets.sequences.family_file import read_family, word_identity, word_weights

QUERY = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEV"
NEAR = QUERY.replace("ISFVK", "LSYVR")
FAR = QUERY[:16] + "DDNNDDNNDDNNDDNN"


def write(path, *sequences):
    path.write_text("".join(f">s{n} words\n{sequence}\n" for n, sequence in enumerate(sequences)))
    return path


def test_an_alignment_is_told_by_its_width(tmp_path):
    aligned = read_family(write(tmp_path / "f.fa", QUERY, NEAR, FAR))
    assert aligned.aligned and aligned.query.id == "s0" and aligned.notes == []
    np.testing.assert_allclose(aligned.identity, [1, 29 / 32, 0.5])
    assert read_family(write(tmp_path / "f.a3m", QUERY, f"mm{NEAR}")).records[1].sequence == f"MM{NEAR}".encode()
    loose = read_family(write(tmp_path / "g.fa", QUERY, NEAR[3:], f"{FAR.lower()}*"))
    assert not loose.aligned and loose.identity is None and loose.query is None and "not aligned" in loose.notes[0]
    assert loose.records[2].sequence == FAR.encode()
    assert not read_family(tmp_path / "f.fa", aligned=False).aligned
    with pytest.raises(ValueError, match=r"line 3: record 's1' has 29 columns .* the first sequence 32"):
        read_family(tmp_path / "g.fa", aligned=True)
    with pytest.raises(ValueError, match=r"r.a3m line 3: record 's1' has 29 columns"):
        read_family(write(tmp_path / "r.a3m", QUERY, NEAR[3:]))


def test_the_query_may_stand_anywhere_or_nowhere(tmp_path):
    path = write(tmp_path / "f.a3m", FAR, NEAR, QUERY)
    there = read_family(path, QUERY.lower())
    assert there.query.id == "s2"
    np.testing.assert_allclose(there.identity, [0.5, 29 / 32, 1])
    assert there.draw(np.random.default_rng(0)) == [0, 1]
    absent = read_family(write(tmp_path / "g.a3m", FAR, NEAR), QUERY)
    assert absent.query.id == "query" and "not in the alignment" in absent.notes[0]
    assert 0.5 < absent.identity[0] < absent.identity[1] < 1


def test_draws_leave_out_the_query_its_copies_and_what_is_out_of_bounds(tmp_path):
    rng = np.random.default_rng(0)
    family = read_family(write(tmp_path / "f.fa", QUERY, QUERY, NEAR, NEAR, FAR), None)
    assert family.draw(rng) == [4, 2]
    assert family.draw(rng, max_identity=0.8) == [4] and family.draw(rng, min_identity=0.8) == [2]
    assert len(family.draw(rng, max_symbols=40)) == 1 and family.draw(rng, 0) == []
    loose = read_family(write(tmp_path / "g.fa", NEAR, FAR[:20]))
    assert sorted(loose.draw(rng)) == [0, 1]
    with pytest.raises(ValueError, match="need a query; name it with --query"):
        loose.draw(rng, max_identity=0.5)
    assert read_family(tmp_path / "g.fa", NEAR).draw(rng) == [1]


@pytest.mark.parametrize(
    ("sequences", "count"), [([QUERY], 0), ([QUERY, QUERY], 0), (["M"], 1), (["M", "K"], 2), (["MK", "M", "M"], 2)]
)
def test_families_of_one_of_twins_and_of_single_residues(tmp_path, sequences, count):
    family = read_family(write(tmp_path / "f.fa", *sequences), QUERY)
    assert len(family.draw(np.random.default_rng(0), min_identity=0.0)) == count


def test_words_tell_relatives_from_strangers():
    rng = np.random.default_rng(0)
    strangers = [bytes(rng.choice(list(b"ACDEFGHIKLMNPQRSTVWY"), 300).tolist()) for _ in range(20)]
    first = np.frombuffer(strangers[0], np.uint8)
    for share in (0.95, 0.7):
        changed = first.copy()
        places = rng.choice(300, round(300 * (1 - share)), replace=False)
        changed[places] = np.where(changed[places] == ord("A"), ord("C"), ord("A"))
        assert word_identity(strangers[0], [changed.tobytes()])[0] == pytest.approx(share, abs=0.05)
    assert word_identity(strangers[0], strangers)[0] == 1 and word_identity(strangers[0], strangers)[1:].max() < 0.3
    np.testing.assert_allclose(word_weights([*strangers, strangers[0], changed.tobytes()])[[0, 1, 20]], [0.5, 1, 0.5])
    long = bytes(rng.choice(list(b"ACDEFGHIKLMNPQRSTVWY"), 9000).tolist())
    among = word_identity(strangers[0], [long, long[:4000] + strangers[0] + long[4000:], long[:4000] + strangers[0]])
    assert among[0] < 0.35 and among[1:].min() > 0.8  # a domain among others
    assert word_identity(b"MK", [b"MK", b"MKT", b""]).tolist() == [1, 0, 0] and word_weights([b"", b"MK"]).tolist() == [
        1,
        1,
    ]


def test_real_families(shared_data):
    family = read_family(shared_data("protein/globins45.fa"))
    assert len(family) == 45 and not family.aligned and 10 < family.weights.sum() < 30
    kinases = read_family(shared_data("protein/Pkinase.sto"))
    assert kinases.aligned and kinases.draw(np.random.default_rng(0), 5, max_symbols=2000)
