"""Contexts of homologs and scores of mutants from the command line: files, numbers, and one line for every mistake."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from protein_models import FAMILY, WILD, build, mistake, run, write_family
from scipy.stats import spearmanr

from xlstm_apps.biosequence import FamilyContext, SequenceModel, get_tokenizer, read_homologs
from xlstm_apps.biosequence.family import family_facts
from xlstm_apps.biosequence.fitness import forward_scores, site_scores
from xlstm_apps.estimators.sequence_fitness import agreement


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a model, a family and its context of two draws, where the command runs."""
    monkeypatch.chdir(tmp_path)
    model = build("m")
    write_family(Path("f.a3m"))
    return model


def ids(*texts):
    return [np.array(get_tokenizer("protein").encode(text)) for text in texts]


def mutants(*rows, path="d.csv", head="mutant,DMS_score"):
    Path(path).write_text("\n".join([head, *rows]) + "\n")
    return path


def test_a_context_remembers_where_it_comes_from(work, capsys):
    run("context", "m", "f.a3m", "--draws", "2", "--num_homologs", "2", "--seed", "4", "--min_identity", "0")
    facts = family_facts("family.state.safetensors")
    assert (facts["model"], facts["source"], facts["query"], facts["seed"]) == ("m", "f.a3m", "query", 4)
    assert len(facts["source_sha256"]) == 64 and facts["sequences"] == 5 and facts["aligned"]
    shown = [fact["homologs"] for fact in facts["contexts"]]
    assert all(len(names) == 2 and not {"query", "copy"} & {*names} for names in shown)
    saved = FamilyContext.load("family.state.safetensors", SequenceModel.from_pretrained("m"))
    expected = read_homologs(work, [ids(*(FAMILY[name] for name in names)) for names in shown])
    np.testing.assert_allclose(saved.begin(work).logits, expected.begin(work).logits, atol=1e-5)
    said = capsys.readouterr().err
    assert "drawn from 5 sequences" in said and "context in family.state.safetensors" in said
    run(
        "context",
        "m",
        "f.a3m",
        "--num_homologs",
        "2",
        "--seed",
        "4",
        "--min_identity",
        "0",
        "--output",
        "b.safetensors",
    )
    assert family_facts("b.safetensors")["contexts"] == facts["contexts"][:1]
    run("context", "m", "f.a3m", "--with_query", "--query", FAMILY["near"], "--output", "c.safetensors")
    assert family_facts("c.safetensors")["contexts"][0]["homologs"][-1] == "near"
    written = {"family.state.safetensors", "b.safetensors", "c.safetensors"}
    assert {path.name for path in Path().iterdir()} == {"m", "f.a3m", *written}


@pytest.mark.parametrize("names", [("query",), ("query", "copy")])
def test_a_family_without_homologs_gives_an_empty_context(work, capsys, names):
    run("context", "m", str(write_family(Path("one.a3m"), names)))
    assert "no homolog to show in one" in capsys.readouterr().err
    run("context", "m", "f.a3m", "--max_symbols", "3", "--output", "short.state.safetensors")
    assert "and of max_symbols (3; the shortest has" in " ".join(capsys.readouterr().err.split())
    context = ("--context", "family.state.safetensors", "--show_wild_type", "false")
    run("fitness", "m", mutants("K2G,"), "--wild_type", WILD, *context, "--output", "a.csv")
    run("fitness", "m", "d.csv", "--wild_type", WILD, "--output", "b.csv")
    assert pl.read_csv("a.csv").equals(pl.read_csv("b.csv"))


def test_notes_on_families(work, capsys):
    run("context", "m", "f.a3m", "--draws", "2")
    assert "all draws hold the same homologs" in capsys.readouterr().err
    Path("loose.fa").write_text(">a\nMKTAYIAKQR\n>b\nMKTAYIAKQ\n")
    run("context", "m", "loose.fa")
    said = capsys.readouterr().err
    assert "the sequences are not aligned" in said and "not known" in said
    Path("odd.fa").write_text(">a\nMKTA*YIAKQR\n>b\nMKTAYIAKQ\n")
    assert "odd.fa line 1: record 'a': '*' at position 5" in mistake(capsys, "context", "m", "odd.fa")
    run("context", "m", "odd.fa", "--on_bad", "skip")
    assert "characters that no protein holds: 1 (first: a)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("m", "none.a3m"), "none.a3m: no such file"),
        (("m", "f.a3m", "--output", "x.bin"), "write to a .safetensors file"),
        (("m", "f.a3m", "--output", "no/x.safetensors"), "the folder no does not exist"),
        (("m", "f.a3m", "--draws", "0"), "draws 0 must be at least 1"),
        (("m", "f.a3m", "--min_identity", "1.5"), "min_identity 1.5 is a share"),
        (("m", "f.a3m", "--min_identity", "0.9", "--max_identity", "0.5"), "must rise from 0 to 1"),
        (("m", "f.a3m", "--query", "MK1"), "MK1: no such file"),
        (("m", "f.a3m", "--query", "f.a3m"), "query f.a3m: holds 5 sequences"),
        (("m", "loose.fa", "--max_identity", "0.5"), "need a query; name it with --query"),
        (("m", "loose.fa", "--with_query"), "with_query needs a query"),
        (("d", "f.a3m"), "models of proteins, and this one reads dna"),
        (("b", "f.a3m"), "causal model with a begin token"),
    ],
)
def test_mistakes_of_contexts_are_told_in_one_line(work, capsys, words, message):
    Path("loose.fa").write_text(">a\nMKTAYIAKQR\n>b\nMKTAYIAKQ\n")
    if words[0] != "m":
        build(words[0], **({"alphabet": "dna"} if words[0] == "d" else {"objective": "masked"}))
    assert message in mistake(capsys, "context", *words)
    assert not [*Path().glob("*.safetensors")]


def test_mutants_are_scored_by_sites_and_whole(work, capsys):
    table = mutants("K2G,1", "K2G:Q9W,2", "K2K,0", "WT,", "K2*,5", "K2X,", "Q9W_K16A,-1", "A4G,3")
    run("fitness", "m", table, "--wild_type", WILD, "--output", "o.csv")
    found = pl.read_csv("o.csv")
    assert found.columns == ["mutant", "DMS_score", "xlstm_score", "xlstm_score_status"]
    sites = site_scores(work, *ids(WILD), range(16))

    def at(place, letter):
        return sites[place - 1, work.alphabet.definite.index(work.alphabet.symbols[letter])]

    expected = [at(2, "G"), at(2, "G") + at(9, "W"), 0, 0, None, None, at(9, "W") + at(16, "A"), at(4, "G")]
    status = ["ok", "ok", "synonymous", "synonymous", "stop", "ambiguous", "ok", "ok"]
    assert found["xlstm_score_status"].to_list() == status
    for given, wanted in zip(found["xlstm_score"], expected, strict=True):
        assert given == (None if wanted is None else pytest.approx(wanted, abs=1e-5))
    said = capsys.readouterr().err
    known = [n for n, value in enumerate(expected) if value is not None and n != 3]
    rho = spearmanr([expected[n] for n in known], [[1, 2, 0, None, 5, None, -1, 3][n] for n in known]).statistic
    assert f"{rho:+.4f}" in said and "1 without a score, stop" in said and "no homologs shown" in said
    run("fitness", "m", table, "--wild_type", WILD, "--method", "forward", "--column", "fw")
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    texts = [WILD.replace("MK", "MG"), "MGTAYIAKWRQISFVK"]
    forward = forward_scores(work, *ids(WILD), ids(*texts))
    assert [float(row[2]) for row in rows[1:3]] == pytest.approx(forward.tolist(), abs=1e-4)
    assert rows[0][-1] == "fw_status"


def test_contexts_are_averaged_and_told(work, capsys):
    run("context", "m", "f.a3m", "--draws", "3", "--num_homologs", "1")
    family = FamilyContext.load("family.state.safetensors", work)
    Path("wt.fa").write_text(f">wt\n{WILD}*\n")
    mutants("K25G", "K2GX", head="what", path="d.tsv")
    options = ("--wild_type", "wt.fa", "--context", "family.state.safetensors", "--offset", "23")
    options = (*options, "--mutant_column", "what", "--on_bad", "skip")
    run("fitness", "m", "d.tsv", *options, "--output", "o.parquet")
    row = pl.read_parquet("o.parquet").row(0, named=True)
    glycine = work.alphabet.definite.index(work.alphabet.symbols["G"])
    wild = ids(WILD)[0]
    each = [site_scores(work, wild, [1], family.begin(work, n), show_wild_type=True)[0, glycine] for n in range(3)]
    assert row["xlstm_score"] == pytest.approx(np.mean(each), abs=1e-5)
    assert row["xlstm_score_sd"] == pytest.approx(np.std(each, ddof=1), abs=1e-5)
    assert "mean of 3 contexts" in capsys.readouterr().err
    assert pl.read_parquet("o.parquet")["xlstm_score_status"].to_list() == ["ok", "unreadable"]
    run("fitness", "m", "d.tsv", *options, "--method", "forward", "--show_wild_type", "true", "--output", "p.csv")
    shown = torch.tensor([[*wild.tolist(), work.alphabet.bos]])
    behind = [work.read(shown, family.begin(work, n)) for n in range(3)]
    forward = [forward_scores(work, wild, ids(WILD.replace("MK", "MG")), context)[0] for context in behind]
    assert pl.read_csv("p.csv")["xlstm_score"][0] == pytest.approx(np.mean(forward), abs=1e-4)


@pytest.mark.parametrize("method", ["forward", "infill"])
def test_tables_without_anything_to_score(work, capsys, method):
    run("fitness", "m", mutants("K2*,1", "K2X,2"), "--wild_type", WILD, "--method", method, "--output", "o.csv")
    found = pl.read_csv("o.csv")
    assert found["xlstm_score"].null_count() == 2 and found["xlstm_score_status"].to_list() == ["stop", "ambiguous"]
    run("fitness", "m", mutants("WT,1", "K2K,2"), "--wild_type", WILD, "--method", method, "--output", "o.csv")
    assert pl.read_csv("o.csv")["xlstm_score"].to_list() == [0, 0]


def test_insertions_and_deletions_are_read_forward(work, capsys):
    table = mutants(
        "K2del,MTAYIAKQRQISFVK", "ins,MKKTAYIAKQRQISFVK", "K2G,MGTAYIAKQRQISFVK", head="mutant,mutated_sequence"
    )
    run("fitness", "m", table, "--method", "forward", "--output", "o.csv")
    assert pl.read_csv("o.csv")["xlstm_score_status"].to_list() == ["ok"] * 3
    assert "the wild type, 16 residues" in capsys.readouterr().err
    run("fitness", "m", table, "--output", "o.csv")
    assert pl.read_csv("o.csv")["xlstm_score_status"].to_list() == ["length", "length", "ok"]
    assert "use --method forward" in capsys.readouterr().err


def test_other_models(work, capsys):
    build("b", objective="masked")
    build("c", infill_spans=0.0)
    table = mutants("K2G,", "T3P,")
    for name in "bc":
        run("fitness", name, table, "--wild_type", WILD, "--output", f"{name}.csv")
        assert pl.read_csv(f"{name}.csv")["xlstm_score"].null_count() == 0
    said = capsys.readouterr().err
    assert "each site hidden" in said and "read forward" in said
    fill = mistake(capsys, "fitness", "c", table, "--wild_type", WILD, "--method", "infill")
    assert "trained without gaps to fill" in fill and "infill_spans" in fill
    assert "cannot read forward" in mistake(capsys, "fitness", "b", table, "--wild_type", WILD, "--method", "forward")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--wild_type", "MRTAYIAKQRQISFVK"), "d.csv line 2: K2G: position 2 of the wild type is R"),
        (("--wild_type", WILD, "--offset", "1"), "with --offset 0 all of the positions fit"),
        ((), "give --wild_type"),
        (("--wild_type", "no.fa"), "no.fa: no such file"),
        (("--wild_type", "MK*TA"), "wild_type: '*' at position 3"),
        (("--wild_type", WILD, "--column", "DMS_score"), "there is a column 'DMS_score' already"),
        (("--wild_type", WILD, "--mutant_column", "x"), "no column 'x'; there are mutant, DMS_score"),
        (("--wild_type", WILD, "--context", "other.safetensors"), "made with another model (n)"),
        (("--wild_type", WILD, "--context", "f.a3m"), "no saved context of a family"),
        (("--wild_type", WILD, "--batch_symbols", "0"), "batch_symbols 0 must be at least 1"),
        (("--wild_type", WILD, "--output", "x.txt"), "write to a .csv, .tsv or .parquet file"),
    ],
)
def test_mistakes_of_fitness_are_told_in_one_line(work, capsys, words, message):
    mutants("K2G,1", "T3P,2", "A4G,3", "Y5F,4")
    if "other.safetensors" in words:
        build("n", seed=1)
        run("context", "n", "f.a3m", "--output", "other.safetensors")
        shutil.rmtree("n")
        capsys.readouterr()
    assert message in mistake(capsys, "fitness", "m", "d.csv", *words)
    assert not Path("x.txt").exists()


def test_rank_correlation():
    score, measured = np.array([1, 2, 3, np.nan, 5]), np.array([2, 2, 1, 4, np.nan])
    assert agreement(score, measured) == (3, pytest.approx(spearmanr([1, 2, 3], [2, 2, 1]).statistic))
    assert agreement(score[:2], measured[:2]).both == 2 and np.isnan(agreement(score[:2], measured[:2]).spearman)
    assert np.isnan(agreement(np.ones(4), np.arange(4.0)).spearman)
