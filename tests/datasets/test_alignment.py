"""Families: gaps and insertions of A3M and Stockholm, weights and draws of homologs, and what is refused."""

import gzip

import numpy as np
import pytest

from xlstm_apps.datasets.sequences import read_alignment, read_records
from xlstm_apps.datasets.sequences.alignment import GAP, Alignment, read_a3m, read_stockholm
from xlstm_apps.datasets.sequences.homologs import homolog_weights, identity_to_query, sample_homologs
from xlstm_apps.datasets.sequences.record import Record

A3M = "#3\t1\n>ss_pred\nCCCC\n>ss_conf\n9941\n>query some words\nMK\nTA\n>one\nmmM-TAgg\n>two\n..-KX-\n"
STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID   Family
#=GF AC   PF1
#=GS b/1-3 DE second of them

a/1-4     MK.T
b/1-3     .KxT
#=GR a/1-4 SS HH.E

a/1-4     A-
b/1-3     -G
#=GC SS_cons HHHHEE
//
"""


def write(path, text):
    path.write_text(text)
    return path


def rows(alignment):
    return [row.tobytes().decode() for row in alignment.rows]


def family(*sequences):
    cells = np.stack([np.frombuffer(s.encode(), np.uint8) for s in sequences])
    records = [Record(id=str(n), sequence=s.replace("-", "").encode()) for n, s in enumerate(sequences)]
    return Alignment(name="family", records=records, rows=cells)


def test_a3m_tells_gaps_from_insertions(tmp_path):
    alignment = read_alignment(write(tmp_path / "family.a3m", A3M))
    assert rows(alignment) == ["MKTA", "M-TA", "-KX-"]
    assert [r.sequence for r in alignment.records] == [b"MKTA", b"MMMTAGG", b"KX"]
    assert [r.id for r in alignment.records] == ["query", "one", "two"]
    assert alignment.records[0].description == "some words"
    assert (alignment.records[1].line, alignment.name, len(alignment)) == (9, "family", 3)


def test_odd_endings_and_packing(tmp_path):
    path = tmp_path / "family.a3m.gz"
    path.write_bytes(gzip.compress(A3M.strip().replace("\n", "\r\n").encode()))
    assert rows(read_a3m(path)) == ["MKTA", "M-TA", "-KX-"]


def test_stockholm_in_blocks(tmp_path):
    (alignment,) = read_stockholm(write(tmp_path / "family.sto", STOCKHOLM))
    assert rows(alignment) == ["MKTA-", "-KT-G"]  # the third column holds insertions alone
    assert [r.sequence for r in alignment.records] == [b"MKTA", b"KXTG"]
    assert (alignment.name, alignment.records[1].description) == ("Family", "second of them")
    marked = STOCKHOLM.replace("//", "#=GC RF xx.x.x\n//")
    assert rows(read_alignment(write(tmp_path / "rf.sto", marked))) == ["MKT-", "-KTG"]


def test_several_alignments_in_a_file(tmp_path):
    path = write(tmp_path / "two.sto", STOCKHOLM + STOCKHOLM.replace("Family", "Other"))
    assert [alignment.name for alignment in read_stockholm(path)] == ["Family", "Other"]
    with pytest.raises(ValueError, match=r"2 alignments \(Family, Other"):
        read_alignment(path)
    assert len([*read_records(path)]) == 4


def test_they_are_read_as_records_too(tmp_path):
    for name, text in (("family.a3m", A3M), ("family.A3M", A3M), ("family.sto", STOCKHOLM), ("family.txt", STOCKHOLM)):
        records = [*read_records(write(tmp_path / name, text))]
        assert all(GAP not in r.sequence and r.sequence.isupper() for r in records)
        assert len(records) == (3 if "A3M" in name.upper() else 2)
    aligned = write(tmp_path / "family.fasta", ">a\nMK\n>b\nM-\n")
    assert [r.sequence for r in read_records(aligned, "a3m")] == [b"MK", b"M"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.a3m", ">a\nMK\n>b\nMKT\n", r"x.a3m line 3: record 'b' has 3 columns .*, the first sequence 2"),
        ("x.a3m", "MK\n>b\nMKT\n", r"x.a3m line 1: 'MK' stands before the first header"),
        ("x.a3m", ">a\nM1\n", "x.a3m line 2: '1' stands in no row"),
        ("x.a3m", ">a\nmk\n", "has no column in upper case"),
        ("x.a3m", "#3\n", "no sequence in this alignment"),
        ("x.sto", STOCKHOLM.replace("//\n", ""), "the file is cut short"),
        ("x.sto", STOCKHOLM.replace("A-\n", "A--\n"), r"line 7: record 'b/1-3' has 6 columns, the first sequence 7"),
        ("x.sto", STOCKHOLM.replace("//", "#=GC RF xx\n//"), "marks 2 columns, the rows have 6"),
        ("x.sto", "# STOCKHOLM 1.0\n//\n", "alignment 1 has no sequence"),
        ("x.sto", "# STOCKHOLM 1.0\n", "no alignment in this Stockholm file"),
        ("x.sto", "# STOCKHOLM 1.0\nname\n//\n", "line 2: expected a name and its row, found 'name'"),
    ],
)
def test_what_is_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_alignment(write(tmp_path / name, text))


def test_weights_are_one_over_the_number_alike():
    alignment = family("ACDEFGHIKL", "ACDEFGHIKM", "ACDEFGHIMM", "ACDEFGHMMM", "WWWWWWWWWW", "ACDEF-----", "----------")
    # Within two of ten symbols of the first: itself and the next two. Half a sequence is alike to all that hold it.
    expected = [1 / 3, 1 / 4, 1 / 4, 1 / 3, 1, 1 / 5, 1]
    np.testing.assert_allclose(homolog_weights(alignment), expected)
    np.testing.assert_allclose(homolog_weights(alignment, 0.0)[:5], 1)
    np.testing.assert_allclose(identity_to_query(alignment), [1, 0.9, 0.8, 0.7, 0, 0.5, 0])
    np.testing.assert_allclose(identity_to_query(family("A-C", "AAC", "A-D")), [1, 1, 0.5])


def test_homologs_are_drawn_by_weight_the_least_alike_first():
    alignment = family("ACDEFGHIKL", "ACDEFGHIKM", "ACDEFGHIMM", "ACDEFGHMMM", "WWWWWWWWWW", "ACDEFWWWWW")
    rng = np.random.default_rng(0)
    assert sample_homologs(alignment, rng).tolist() == [5, 3, 2, 1]
    assert sample_homologs(alignment, rng, min_identity=0.0, max_identity=0.8).tolist() == [4, 5, 3, 2]
    assert sample_homologs(alignment, rng, max_symbols=23).size == 2
    assert sample_homologs(alignment, rng, 1, max_symbols=100).size == 1
    assert sample_homologs(alignment, rng, 0).size == 0
    weights = np.array([1, 0, 0.3, 0.1, 1, 0.6])
    drawn = [sample_homologs(alignment, rng, 1, weights=weights).item() for _ in range(2000)]
    shares = np.bincount(drawn, minlength=6) / 2000
    np.testing.assert_allclose(shares, [0, 0, 0.3, 0.1, 0, 0.6], atol=0.04)


def test_families_of_one_and_of_twins():
    rng = np.random.default_rng(0)
    assert sample_homologs(family("ACDE"), rng, 5).tolist() == []
    twins = family("ACDE", "ACDE", "ACDF", "ACDF", "----")
    assert sample_homologs(twins, rng, 5, max_identity=1.0, min_identity=0.0).tolist() == [2]
    for options, message in (
        ({"count": -1}, "count is a number"),
        ({"min_identity": 0.9, "max_identity": 0.5}, "must rise from 0 to 1"),
        ({"weights": np.ones(3)}, "weights must be 5 numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            sample_homologs(twins, rng, **options)
    with pytest.raises(ValueError, match="share of differing symbols"):
        homolog_weights(twins, 1.5)


def test_real_families(shared_data):
    alignment = read_alignment(shared_data("protein/A0A1C5UJ41.a3m"))
    assert len(alignment) == 1776
    assert alignment.rows.shape[1] == len(alignment.records[0].sequence)
    drawn = sample_homologs(alignment, np.random.default_rng(0), 20, weights=np.ones(1776))
    assert len(set(drawn.tolist())) == 20 and (np.diff(identity_to_query(alignment)[drawn]) >= 0).all()
    kinases = read_alignment(shared_data("protein/Pkinase.sto"))
    assert (len(kinases), kinases.name) == (38, "Pkinase")
    assert 30 < homolog_weights(kinases).sum() <= 38
