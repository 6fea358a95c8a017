"""Mutants as people write them, against the wild type: what fits, what does not, and what is said about it."""

import gzip

import numpy as np
import polars as pl
import pytest

from xlstm_apps.datasets.sequences.mutant_table import MutantColumns, read_mutants
from xlstm_apps.datasets.sequences.mutations import (
    Mutation,
    check_mutant,
    fitting_offset,
    parse_mutations,
    reverted,
)

WILD = "MKTAYIAKQR"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("K2G", ["K2G"]),
        (" k2g ", ["K2G"]),
        *((f"K2G{mark}T3P", ["K2G", "T3P"]) for mark in (":", ",", ";", "_", "/", "+", " ", " : ")),
        ("T3P:K2G:Y5W", ["T3P", "K2G", "Y5W"]),
        ("p.Lys2Gly", ["K2G"]),
        ("p.(Lys2Gly)", ["K2G"]),
        ("NP_000001.1:p.Lys2Gly", ["K2G"]),
        ("P12345:p.[Lys2Gly;Thr3Pro]", ["K2G", "T3P"]),
        ("K2G:p.Thr3Pro", ["K2G", "T3P"]),
        ("p.[Lys2Gly;Thr3Pro]", ["K2G", "T3P"]),
        ("p.Lys2Gly;p.Thr3Pro", ["K2G", "T3P"]),
        ("p.Lys2=", ["K2K"]),
        ("p.Lys2Ter", ["K2*"]),
        ("K2*", ["K2*"]),
        ("K2del", ["K2del"]),
        ("K2-", ["K2del"]),
        ("K-1G", ["K-1G"]),
        ("K2U", ["K2U"]),
        ("WT", []),
        ("_wt", []),
        ("wild type", []),
        ("p.=", []),
    ],
)
def test_mutations_are_read_however_they_are_written(text, expected):
    assert [str(mutation) for mutation in parse_mutations(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no mutation"),
        ("K2", "'K2' is no mutation such as A10G"),
        ("2K", "'2K' is no mutation"),
        ("Lys2Foo", "'LYS2FOO' is no mutation"),
        ("K2G:K2R", "changes position 2 twice"),
        ("Lys2_Thr3insAla", "is no mutation"),
        ("K2fs", "is no mutation"),
    ],
)
def test_what_is_no_mutation_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse_mutations(text)


@pytest.mark.parametrize(
    ("text", "sequence", "offset", "status", "result"),
    [
        ("K2G", None, 0, "ok", "MGTAYIAKQR"),
        ("K2G:R10A", None, 0, "ok", "MGTAYIAKQA"),
        ("K25G", None, 23, "ok", "MGTAYIAKQR"),
        ("K1G", None, -1, "ok", "MGTAYIAKQR"),  # counted from 0
        ("K2G", "mgtay-iakqr*", 0, "ok", "MGTAYIAKQR"),
        (None, "MGTAYIAKQR", 0, "ok", "MGTAYIAKQR"),
        (None, "MTAYIAKQR", 0, "ok", "MTAYIAKQR"),
        ("K2del", "MTAYIAKQR", 0, "ok", "MTAYIAKQR"),
        ("K2del", None, 0, "ok", "MTAYIAKQR"),
        ("p.Lys2_Thr3insAla", "MKATAYIAKQR", 0, "ok", "MKATAYIAKQR"),
        ("K2K", None, 0, "synonymous", WILD),
        ("WT", None, 0, "synonymous", WILD),
        (None, WILD, 0, "synonymous", WILD),
        ("K2*", None, 0, "stop", "M*TAYIAKQR"),
        ("K2*", "M*", 0, "stop", "M*TAYIAKQR"),
        ("R10*", None, 0, "stop", "MKTAYIAKQ*"),
        (None, "MKT*YIAKQR", 0, "stop", "MKT*YIAKQR"),
        ("K2X", None, 0, "ambiguous", "MXTAYIAKQR"),
        ("K2U", None, 0, "ambiguous", "MUTAYIAKQR"),
        (None, "MKTAYJAKQR", 0, "ambiguous", "MKTAYJAKQR"),
        ("A2G", None, 0, "mismatch", ""),
        ("K0G", None, 0, "beyond", ""),
        ("K11G", None, 0, "beyond", ""),
        ("K2", None, 0, "unreadable", ""),
        ("", "", 0, "unreadable", ""),
        (None, "MK1AYIAKQR", 0, "unreadable", ""),
        ("K2G", "MRTAYIAKQR", 0, "disagrees", ""),
        ("K2G", "MGTAYIAKQ", 0, "disagrees", ""),
    ],
)
def test_every_mutant_has_a_status(text, sequence, offset, status, result):
    found = check_mutant(text, sequence, WILD, offset)
    assert (found.status, found.sequence) == (status, result)
    assert bool(found.problem) == (result == "")


def test_the_letter_that_was_expected_is_printed():
    assert check_mutant("A2G", None, WILD).problem == "A2G: position 2 of the wild type is K"
    assert check_mutant("A25G", None, WILD, 23).problem == "A25G: position 25 of the wild type is K"
    assert check_mutant("K99G", None, WILD, 23).problem == "K99G: the wild type has positions 24 to 33"


def test_an_unknown_residue_of_the_wild_type_may_stay_but_not_change():
    assert check_mutant("K2G", None, "MKX").status == "ok"
    assert check_mutant("X3G", None, "MKX").status == "ambiguous"


def test_the_wild_type_is_what_a_mutant_came_from():
    assert reverted("G2K:P3T", "MKTA") == "MGPA"
    assert reverted("G25K", "MKTA", 23) == "MGTA"
    assert reverted("G2K", "MRTA") is None and reverted("G9K", "MKTA") is None and reverted("?", "MKTA") is None


def test_an_offset_that_fits_is_found():
    mutations = [Mutation(ref, n + 24, "G") for n, ref in enumerate(WILD)]
    assert fitting_offset(mutations, WILD) == (23, 1.0)
    assert fitting_offset(mutations[:2], WILD) is None
    assert fitting_offset([Mutation(ref, n, "G") for n, ref in enumerate(WILD)], WILD) == (-1, 1.0)
    assert fitting_offset([Mutation("W", n, "G") for n in range(5)], WILD)[1] == 0


def table(path, text):
    path.write_text(text)
    return path


def test_a_table_of_proteingym(tmp_path):
    text = "mutant,mutated_sequence,DMS_score,note\nK2G,MGTAYIAKQR,-1.5,a\nK2G:T3P,MGPAYIAKQR,,b\nWT,MKTAYIAKQR,0,c\n"
    found = read_mutants(table(tmp_path / "d.csv", text))
    assert found.wild_type == WILD and [m.status for m in found.mutants] == ["ok", "ok", "synonymous"]
    np.testing.assert_array_equal(found.measured, [-1.5, np.nan, 0])
    assert found.frame.columns == ["mutant", "mutated_sequence", "DMS_score", "note"]
    assert "10 residues" in found.notes[0] and found.statuses["ok"] == 2
    packed = tmp_path / "d.csv.gz"
    packed.write_bytes(gzip.compress(text.replace("\n", "\r\n").encode()))
    assert [m.sequence for m in read_mutants(packed).mutants] == [m.sequence for m in found.mutants]
    pl.read_csv(tmp_path / "d.csv").write_parquet(tmp_path / "d.parquet")
    again = read_mutants(tmp_path / "d.parquet", WILD)
    np.testing.assert_array_equal(again.measured, found.measured)
    assert again.notes == []


def test_columns_by_name_and_duplicates_told(tmp_path):
    path = table(tmp_path / "d.tsv", "what\tlevel\nK2G\t1\nK2G\t2\nT3P\t3\n")
    columns = MutantColumns(mutant="what", measured="level")
    found = read_mutants(path, WILD, columns=columns)
    assert found.measured.tolist() == [1, 2, 3] and found.notes == ["rows that repeat a mutant: 1; each has its score"]
    assert read_mutants(table(tmp_path / "p.csv", "HGVS_pro\np.Lys2Gly\n"), WILD).measured is None


def test_rows_that_do_not_fit_are_refused_or_told(tmp_path):
    path = table(tmp_path / "d.csv", "mutant\nK2G\nA2G\nK99G\nwhat?\n")
    with pytest.raises(ValueError, match=r"d.csv line 3: A2G: position 2 of the wild type is K; 3 of 4 .*'skip'"):
        read_mutants(path, WILD)
    found = read_mutants(path, WILD, on_bad="skip")
    assert [m.status for m in found.mutants] == ["ok", "mismatch", "beyond", "unreadable"]
    shifted = table(tmp_path / "s.csv", "mutant\n" + "".join(f"{ref}{n + 24}G\n" for n, ref in enumerate(WILD)))
    with pytest.raises(ValueError, match=r"positions 1 to 10; 10 of 10 .*; with --offset 23 all of the positions fit$"):
        read_mutants(shifted, WILD, on_bad="skip")
    assert read_mutants(shifted, WILD, offset=23).statuses["ok"] == 10


@pytest.mark.parametrize(
    ("text", "wild_type", "columns", "message"),
    [
        ("a,b\n1,2\n", WILD, None, "no column of mutants such as A10G, .* of a, b"),
        ("mutant\n", WILD, None, "has no rows"),
        (">a\nMKT\n", WILD, None, "d.csv: this is FASTA; mutants come as a table"),
        ("", WILD, None, "the file is empty"),
        ("mutant\nK2G\n", None, None, "give --wild_type"),
        ("mutant,sequence\nK2G,MRTA\nK2R,MGTA\n", None, None, "agree on no wild type"),
        ("mutant\nK2G\n", WILD, MutantColumns(mutant="nothing"), "no column 'nothing'; there are mutant"),
        ("mutant,DMS_score\nK2G,1\nT3G,high\n", WILD, None, "line 3: 'high' in column 'DMS_score' is no number"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, wild_type, columns, message):
    with pytest.raises(ValueError, match=message):
        read_mutants(table(tmp_path / "d.csv", text), wild_type, columns=columns)
