"""Odd files of proteins: every kind is read in one documented way, counted, or refused in one line."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from protein_models import WILD, build, mistake, run


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return build("m")


def write(path, *sequences):
    Path(path).write_text("".join(f">s{n}\n{sequence}\n" for n, sequence in enumerate(sequences)))
    return path


def scores(path, *words):
    run("score", "m", "--data.path", path, "--output", "s.tsv", *words)
    return pl.read_csv("s.tsv", separator="\t").to_dicts()


def test_letters_that_say_several_things_are_read_but_not_scored(model):
    rows = scores(write("p.fa", "MKXBZUOJTA", "mktayi", "MKTAYI", "XXX", "MKJA", "MKXA"))
    assert [row["n_scored"] for row in rows] == [4, 6, 6, 0, 3, 3]
    assert [row["n_ambiguous"] for row in rows] == [6, 0, 0, 3, 1, 1]
    assert rows[1]["nll"] == rows[2]["nll"] and rows[3]["status"] == "ambiguous"
    assert rows[4]["nll"] == rows[5]["nll"]  # J is read as X


def test_stops_at_the_end_are_taken_off_and_others_named(model, capsys):
    rows = scores(write("p.fa", "MKTA*", "MKTA"))
    assert rows[0]["nll"] == rows[1]["nll"] and rows[0]["length"] == 4
    assert "final * was taken off: 1" in capsys.readouterr().err
    said = mistake(capsys, "score", "m", "--data.path", write("q.fa", "MKTA", "MK*TA"))
    assert "q.fa line 3: record 's1': '*' at position 3" in said and "'skip' or 'fix'" in said
    fixed = scores("q.fa", "--data.on_bad", "fix")
    assert fixed[1]["n_ambiguous"] == 1 and len(scores("q.fa", "--data.on_bad", "skip")) == 1


def test_gaps_of_alignments_are_taken_out_and_counted(model, capsys):
    rows = scores(write("p.fa", "MK-T..A", "MKTA", "-M-K1TA"), "--data.on_bad", "skip")
    assert len(rows) == 2 and rows[0]["nll"] == rows[1]["nll"] and rows[0]["length"] == 4
    assert "gaps (- and .) were taken out" in capsys.readouterr().err
    write("f.a3m", "MKTA", "M-TAgg", "..mmKTAYw".replace("KTAY", "KTA-"))
    assert [row["length"] for row in scores("f.a3m")] == [4, 5, 6]  # insertions are residues
    assert (
        run("validate", "--data.path", write("g.fa", "MK-TA", "---"), "--alphabet", "protein", "--output", "r.json")
        == 1
    )
    report = json.loads(Path("r.json").read_text())
    assert report["gapped"] == 2 and report["kept"] == 1 and report["composition"] == {"A": 1, "K": 1, "M": 1, "T": 1}


def test_other_alphabets_are_told(model, capsys):
    dna = write("d.fa", "ACGTTGCATTACGGTACCATTGACAATGCA")
    assert "look like DNA; use the alphabet 'dna'" in mistake(capsys, "score", "m", "--data.path", dna)
    Path("s.fa").write_text(">x\nC1=CC(=O)C(=O)C=C1CC(N)C(=O)O\n")
    assert "look like SMILES" in mistake(capsys, "score", "m", "--data.path", "s.fa")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 2100])
def test_peptides_and_long_proteins_go_through_every_verb(model, length):
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
    assert scores(write("p.fa", text))[0]["n_scored"] == length
    run("embed", "m", "--data.path", "p.fa", "--output", "e.npz")
    assert np.isfinite(np.load("e.npz")["features"]).all()
    Path("d.csv").write_text(f"mutant\n{text[-1]}{length}{'A' if text[-1] != 'A' else 'C'}\n")
    run("fitness", "m", "d.csv", "--wild_type", "p.fa", "--output", "o.csv")
    assert pl.read_csv("o.csv")["xlstm_score"].null_count() == 0
    run("infill", "m", f"{text}[2]", "--output", "i.fa")
    run("generate", "m", "--prompt", text, "--max_length", "2", "--output", "g.fa")
    assert Path("g.fa").read_text().split("\n", 1)[1].replace("\n", "").startswith(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "nothing but white space"),
        (">a\n", "nothing to build a corpus from: 1 empty"),
        ("MKTAYI\n>a\nMKTA\n", "stands before the first header"),
        (">a\nMKTA\n>a\nMKTAY\n", "share a name"),
        (">a\nMKTA1\n", "'1' at position 5"),
        (">a\nMK\u0422A\n", "position 3"),  # a Cyrillic letter that looks like T
    ],
)
def test_files_that_cannot_be_used(model, capsys, text, message):
    Path("p.fa").write_text(text, encoding="utf-8")
    assert message in mistake(capsys, "score", "m", "--data.path", "p.fa")


def test_a_ragged_alignment_is_named(model, capsys):
    said = mistake(capsys, "context", "m", write("r.a3m", WILD, WILD[:-1]))
    assert "r.a3m line 3: record 's1' has 15 columns" in said
