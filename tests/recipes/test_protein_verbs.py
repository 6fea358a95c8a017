"""Behind homologs: score, generate, infill and scan of proteins from the command line."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from protein_models import FAMILY, WILD, build, mistake, run, write_family

from xlstm_apps.biosequence import FamilyContext, get_tokenizer
from xlstm_apps.biosequence.fitness import forward_scores, site_scores

STATE = "family.state.safetensors"


@pytest.fixture
def work(tmp_path, monkeypatch, capsys):
    """A folder with a model and the context of two draws, and the model."""
    monkeypatch.chdir(tmp_path)
    model = build("m")
    run("context", "m", str(write_family(Path("f.a3m"))), "--draws", "2", "--num_homologs", "1")
    Path("p.fa").write_text(f">a\n{WILD}\n>b\nMKX{FAMILY['far'][3:]}\n")
    capsys.readouterr()
    return model, FamilyContext.load(STATE, model)


def test_scores_behind_homologs_are_means_over_the_draws(work, capsys):
    model, family = work
    run("score", "m", "--data.path", "p.fa", "--context", STATE, "--output", "s.tsv", "--per_base", "t.npz")
    rows = pl.read_csv("s.tsv", separator="\t")
    texts = [WILD, f"MKX{FAMILY['far'][3:]}"]
    nll = [np.mean([model.score(text, context=family.begin(model, n)).numpy() for n in range(2)], 0) for text in texts]
    assert rows["nll"].to_list() == pytest.approx([np.nansum(x) for x in nll], abs=1e-4)
    assert rows["n_scored"].to_list() == [16, 15] and rows["n_ambiguous"].to_list() == [0, 1]
    np.testing.assert_allclose(np.load("t.npz")["bits"], np.concatenate(nll) / np.log(2), atol=1e-5)
    assert "mean of 2 contexts" in capsys.readouterr().err
    run("score", "m", "--data.path", "p.fa", "--context", STATE, "--output", "u.tsv", "--batch_symbols", "5")
    np.testing.assert_allclose(pl.read_csv("u.tsv", separator="\t")["nll"], rows["nll"], atol=1e-4)
    assert "leave window out" in mistake(
        capsys, "score", "m", "--data.path", "p.fa", "--context", STATE, "--window", "8"
    )


@pytest.mark.parametrize("prompt", [None, "M", "MK", "MKT"])
def test_proteins_are_made_up_behind_homologs(work, prompt):
    model, family = work
    words = [] if prompt is None else ["--prompt", prompt]
    run("generate", "m", "--context", STATE, "--num_sequences", "3", "--max_length", "9", *words, "--output", "g.tsv")
    made = pl.read_csv("g.tsv", separator="\t", null_values=[])
    for n, row in enumerate(made.iter_rows(named=True)):
        text = row["sequence"] or ""
        assert text.startswith(prompt or "") and row["added"] == len(text) - len(prompt or "")
        if row["added"]:
            nll = model.score(text, context=family.begin(model, n % 2))[len(prompt or "") :]
            assert row["log_likelihood"] == pytest.approx(-float(nll.sum()), abs=1e-3)


def test_gaps_are_filled_from_the_command_line(work, capsys):
    options = ("--num_sequences", "5", "--batch_size", "2", "--max_gap", "4")
    run("infill", "m", "MKT[2-3]GG[*]", "a.fa", *options)
    run("infill", "m", "MKT[2-3]GG[*]", "--output", "b.tsv", *options)
    table = pl.read_csv("b.tsv", separator="\t")
    assert table.columns == ["id", "pattern", "sequence", "fillings", "added", "log_likelihood", "bits_per_token"]
    records = [record.split("\n", 1) for record in Path("a.fa").read_text().split(">")[1:]]
    assert len(records) == len(table) == 5
    for (header, text), row in zip(records, table.iter_rows(named=True), strict=True):
        first, second = row["fillings"].split(",")
        assert 2 <= len(first) <= 3 and 1 <= len(second) <= 4 and row["sequence"] == f"MKT{first}GG{second}"
        assert text.strip() == row["sequence"] and f"fillings={first},{second} " in header
        assert row["bits_per_token"] == pytest.approx(-row["log_likelihood"] / row["added"] / np.log(2), abs=1e-5)
    said = capsys.readouterr().err
    assert "5 proteins" in said and "most expected: filled_" in said
    Path("w.fa").write_text(">one\nMK[2]\n>two\n[1]MK\n[2]TA\n")
    run("infill", "m", "--patterns_path", "w.fa", "--context", STATE, "--temperature", "0")
    shown = capsys.readouterr()
    headers = [line for line in shown.out.splitlines() if line.startswith(">")]
    assert [header.split()[1] for header in headers] == ["pattern=one", "pattern=two"] and "2 proteins" in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("infill", "m", "MKT"), "pattern: names no gap"),
        (("infill", "m"), "give a pattern such as 'MKT[5-12]GG[*]'"),
        (("infill", "m", "M[5]", "--patterns_path", "p.fa"), "give a pattern such as"),
        (("infill", "m", "--patterns_path", "p.fa"), "p.fa line 1: record 'a': names no gap"),
        (("infill", "m", "M[9-5]"), "pattern: gap [9-5] at position 2 falls from 9 to 5"),
        (("infill", "m", "M[5]", "--temperature", "0", "--num_sequences", "2"), "leave num_sequences out"),
        (("infill", "m", "M[5]", "--top_k", "0"), "top_k=0 must be at least 1"),
        (("infill", "m", "M[5]", "--num_sequences", "0"), "must be at least 1"),
        (("infill", "m", "M[5]", "--output", "x.txt"), "write to a .fa"),
        (("infill", "c", "M[5]"), "c: this model was trained without gaps to fill"),
        (("infill", "b", "M[5]"), "b: a masked model cannot fill gaps"),
        (("infill", "d", "M[5]"), "this model reads dna"),
        (("generate", "d", "--context", STATE), "homologs are for models of proteins, and this one reads dna"),
        (("score", "b", "--data.path", "p.fa", "--context", STATE), "needs a causal model with a begin token"),
        (("score", "c", "--data.path", "p.fa", "--context", STATE), "made with another model (m)"),
        (("scan", "m", "--data.path", "p.fa", "--context", STATE, "--downstream", "3"), "downstream does not go with"),
        (("scan", "m", "--data.path", "p.fa", "--method", "forward", "--deletions"), "deletions does not go with"),
        (("scan", "m", "--data.path", "p.fa", "--method", "auto", "--batch_symbols", "0"), "batch_symbols 0 must be"),
        (("scan", "c", "--data.path", "p.fa", "--method", "infill"), "trained without gaps to fill"),
    ],
)
def test_mistakes_are_told_in_one_line(work, capsys, words, message):
    if words[1] != "m":
        options = {"b": {"objective": "masked"}, "c": {"infill_spans": 0.0, "seed": 1}, "d": {"alphabet": "dna"}}
        build(words[1], **options[words[1]])
    assert message in mistake(capsys, *words)
    assert not Path("scan").exists() and not Path("x.txt").exists()


@pytest.mark.parametrize("method", ["forward", "infill"])
def test_a_scan_of_a_protein_behind_homologs(work, capsys, method):
    model, family = work
    run(
        "scan",
        "m",
        "--data.path",
        "p.fa",
        "--context",
        STATE,
        "--method",
        method,
        "--regions",
        "b:2-4",
        "--output",
        "s",
    )
    rows = pl.read_csv("s/effects.tsv", separator="\t")
    assert rows["position"].unique().to_list() == [2, 4] and len(rows) == 38  # nothing is known of X
    wild = np.array(get_tokenizer("protein").encode(f"MKX{FAMILY['far'][3:]}"))
    contexts = [family.begin(model, n) for n in range(2)]
    for row in rows.filter(pl.col("position") == 4).iter_rows(named=True):
        mutant, residue = wild.copy(), model.alphabet.symbols[row["alt"]]
        mutant[3] = residue
        if method == "forward":
            expected = [forward_scores(model, wild, [mutant], context)[0] for context in contexts]
        else:
            place = model.alphabet.definite.index(residue)
            expected = [site_scores(model, wild, [3], context, show_wild_type=True)[0, place] for context in contexts]
        assert row["score"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert Path("s/scan.html").is_file() and "38 replacements at 3 positions" in capsys.readouterr().err
