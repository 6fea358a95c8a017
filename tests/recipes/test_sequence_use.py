"""score, embed and generate from the command line: numbers, files, and one line for every mistake."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from xlstm_apps import cli
from xlstm_apps.biosequence import HeadConfig, SequenceConfig, SequenceModel, SequencePredictor
from xlstm_apps.core import xLSTMConfig

TEXTS = ["ACGTTGCAnnACGGT", "TT", "NNN", "ACGTTGCATTACGGTACCA"]


def build(folder, **options):
    torch.manual_seed(0)
    direction = "bidirectional" if options.get("objective") == "masked" else "causal"
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, direction=direction)
    model = SequenceModel(SequenceConfig(**options), backbone)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a model and a FASTA file, where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text("".join(f">r{i}\n{text}\n" for i, text in enumerate(TEXTS)))
    (tmp_path / "r.bed").write_text("r3\t2\t8\tright\t0\t+\nr3\t10\t16\tleft\t0\t-\nr0\t0\t12\twhole\t0\t+\n")
    return build("m")


def run(*words):
    return cli.run(["sequence", *words])


def mistake(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sequence", *words])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_a_row_of_scores_per_record(work, capsys):
    run("score", "m", "--data.path", "g.fa", "--output", "s.tsv", "--device", "cpu")
    table = pl.read_csv("s.tsv", separator="\t")
    columns = "id start length n_scored nll nll_per_token ppl bits_per_token mode strand n_ambiguous status"
    assert " ".join(table.columns) == columns
    for row, text in zip(table.iter_rows(named=True), TEXTS, strict=True):
        nll = work.score(text)
        known = nll[~nll.isnan()].double()
        assert (row["length"], row["n_scored"]) == (len(text), len(known))
        assert row["n_ambiguous"] == text.upper().count("N")
        if len(known):
            assert row["nll"] == pytest.approx(known.sum().item(), abs=1e-4) and row["status"] == "ok"
            assert row["nll_per_token"] == pytest.approx(known.mean().item(), abs=1e-5)
            assert row["ppl"] == pytest.approx(known.mean().exp().item(), abs=1e-4)
            assert row["bits_per_token"] == pytest.approx(known.mean().item() / np.log(2), abs=1e-5)
        else:
            assert row["nll"] is None and row["ppl"] is None and row["status"] == "ambiguous"
    assert set(table["mode"]) == {"causal"} and set(table["strand"]) == {"+"}
    shown = capsys.readouterr()
    assert "all 4 records" in shown.err and "records without a score: 1" in shown.err and "scores in s.tsv" in shown.err
    run("score", "m", "--data.path", "g.fa")
    assert capsys.readouterr().out == Path("s.tsv").read_text()
    run("score", "m", "--data.path", "g.fa", "--output", "s.parquet", "--batch_symbols", "6")
    again = pl.read_parquet("s.parquet")
    np.testing.assert_allclose(again["nll"].to_numpy(), table["nll"].to_numpy(), atol=2e-5)
    assert again.drop("nll", "nll_per_token", "ppl", "bits_per_token").equals(
        table.drop("nll", "nll_per_token", "ppl", "bits_per_token")
    )


def test_tracks_of_every_symbol_as_bedgraph_and_as_arrays(work, tmp_path):
    options = ("--data.path", "g.fa", "--output", "s.tsv")
    run("score", "m", *options, "--per_base", "t.bedgraph")
    first, *rest = Path("t.bedgraph").read_text().splitlines()
    assert first.startswith("track type=bedGraph")
    bits = {(r, int(a)): float(v) for r, a, b, v in (line.split("\t") for line in rest) if int(b) == int(a) + 1}
    expected = {
        (f"r{i}", place): value / np.log(2)
        for i, text in enumerate(TEXTS)
        for place, value in enumerate(work.score(text).tolist())
        if value == value
    }
    assert len(bits) == len(rest) and bits == pytest.approx(expected, abs=1e-4)
    run("score", "m", *options, "--data.regions_path", "r.bed", "--per_base", "t.npz")
    arrays = np.load("t.npz")
    assert arrays["offsets"].tolist() == [0, 6, 12, 24] and arrays["strand"].tolist() == ["+", "-", "+"]
    assert arrays["name"].tolist() == ["right", "left", "whole"] and arrays["start"].tolist() == [2, 10, 0]
    turned = TEXTS[3][10:16][::-1].translate(str.maketrans("ACGT", "TGCA"))
    np.testing.assert_allclose(arrays["bits"][6:12], work.score(turned) / np.log(2), atol=1e-5)
    run("score", "m", *options, "--data.regions_path", "r.bed", "--per_base", "t.bedgraph.gz")
    rows = [line.split("\t") for line in gzip.decompress(Path("t.bedgraph.gz").read_bytes()).decode().splitlines()[1:]]
    left = [float(value) for name, start, _, value in rows if name == "r3" and int(start) >= 10]
    np.testing.assert_allclose(left, arrays["bits"][6:12][::-1], atol=1e-4)
    assert [(name, int(start)) for name, start, *_ in rows] == sorted((name, int(start)) for name, start, *_ in rows)
    assert {path.name for path in tmp_path.iterdir()} == {
        "g.fa", "m", "r.bed", "s.tsv", "t.bedgraph", "t.bedgraph.gz", "t.npz"
    }  # fmt: skip


def test_regions_have_names_strands_and_contexts(work, capsys):
    run("score", "m", "--data.path", "g.fa", "--data.regions_path", "r.bed", "--context_length", "2")
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:4] == ["id", "name", "start", "length"] and [row[1] for row in rows[1:]] == [
        "right",
        "left",
        "whole",
    ]
    assert float(rows[1][5]) == pytest.approx(work.score(TEXTS[3][:8])[2:].sum().item(), abs=1e-4)
    assert [row[-3] for row in rows[1:]] == ["+", "-", "+"]


def test_masked_models_score_by_hiding(work, capsys):
    model = build("b", objective="masked", symmetry="shared")
    run("score", "b", "--data.path", "g.fa", "--passes", "3")
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert {tuple(row[8:10]) for row in rows} == {("pll", "both")}
    assert float(rows[3][4]) == pytest.approx(model.score(TEXTS[3], passes=3).sum().item(), abs=1e-4)


def test_vectors_of_records_and_of_symbols(work, capsys):
    run("embed", "m", "--data.path", "g.fa", "--output", "e.npz", "--pooling", "max", "--layer", "0")
    arrays = np.load("e.npz")
    expected = work.embed([text.upper() for text in TEXTS], 0, pooling="max").numpy()
    np.testing.assert_allclose(arrays["features"], expected, atol=1e-5)
    assert arrays["id"].tolist() == ["r0", "r1", "r2", "r3"] and "offsets" not in arrays
    assert "4 records: 16 features of the embedding, max over the symbols of each" in capsys.readouterr().err
    each = ("--data.path", "g.fa", "--pooling", "none", "--dtype", "float16")
    run("embed", "m", *each, "--output", "p.npz")
    arrays = np.load("p.npz")
    assert arrays["features"].dtype == np.float16 and arrays["offsets"].tolist() == [0, 15, 17, 20, 39]
    np.testing.assert_allclose(arrays["features"][20:], work.embed(TEXTS[3]).numpy(), atol=2e-2)
    run("embed", "m", *each, "--data.regions_path", "r.bed", "--output", "p.parquet")
    table = pl.read_parquet("p.parquet")
    assert table["position"].to_list() == [*range(3, 9), *range(16, 10, -1), *range(1, 13)]
    assert table["name"].to_list() == ["right"] * 6 + ["left"] * 6 + ["whole"] * 12
    assert table.schema["features"] == pl.Array(pl.Float16, 16)


def test_a_fine_tuned_model_embeds_but_does_not_score(work, capsys):
    predictor = SequencePredictor.from_model(work, HeadConfig(task="classification", num_outputs=2))
    predictor.save_pretrained("f/model")
    Path("f/run.json").write_text(json.dumps({"task": "sequence-finetune"}))
    run("embed", "f", "--data.path", "g.fa", "--output", "e.parquet")
    table = pl.read_parquet("e.parquet")
    np.testing.assert_allclose(table["features"].to_numpy()[3], work.embed(TEXTS[3], pooling="mean").numpy(), atol=1e-5)
    assert "fine-tuned" in mistake(capsys, "score", "f", "--data.path", "g.fa")
    assert "fine-tuned" in mistake(capsys, "generate", "f")


def test_made_up_sequences_with_their_likelihoods(work, capsys):
    (options := ["--num_sequences", "3", "--min_length", "4", "--max_length", "9", "--batch_size", "2"])
    run("generate", "m", "--prompt", "ACG", "--output", "a.fa", *options)
    run("generate", "m", "--prompt", "ACG", "--output", "b.fa", *options)
    run("generate", "m", "--prompt", "ACG", "--output", "c.fa", *options, "--seed", "1")
    made = Path("a.fa").read_text()
    assert made == Path("b.fa").read_text() != Path("c.fa").read_text()
    records = [record.split("\n", 1) for record in made.split(">")[1:]]
    assert len(records) == 3
    for header, text in records:
        text, facts = text.strip(), dict(word.split("=") for word in header.split()[1:])
        assert text.startswith("ACG") and 4 <= len(text) - 3 <= 9 and int(facts["added"]) == len(text) - 3
        expected = -work.score(text)[3:].sum().item()
        assert float(facts["log_likelihood"]) == pytest.approx(expected, abs=1e-3)
        assert float(facts["bits_per_token"]) == pytest.approx(-expected / (len(text) - 3) / np.log(2), abs=1e-3)
    run("generate", "m", "--prompts_path", "g.fa", "--output", "p.tsv", "--temperature", "0", "--max_length", "5")
    table = pl.read_csv("p.tsv", separator="\t")
    assert table["prompt"].to_list() == ["r0", "r1", "r2", "r3"]
    for row, text in zip(table.iter_rows(named=True), TEXTS, strict=True):
        assert row["sequence"] == work.generate(text, 5) and row["added"] == len(row["sequence"]) - len(text)
    capsys.readouterr()
    run("generate", "m", "--num_sequences", "70", "--max_length", "3")
    assert capsys.readouterr().out.count(">generated_") == 70


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("score", "m", "--data.path", "g.fa", "--output", "s.xls"), "output s.xls: write to a .csv, .tsv or .parquet"),
        (("score", "m", "--data.path", "g.fa", "--output", "no/s.tsv"), "the folder no does not exist"),
        (("score", "m", "--data.path", "g.fa", "--per_base", "t.bw"), "per_base t.bw: write to a .bedgraph"),
        (("score", "m", "--data.path", "no.fa"), "no.fa: no such file"),
        (("score", "no", "--data.path", "g.fa"), "no: no such folder"),
        (("score", "g.fa", "--data.path", "g.fa"), "g.fa is a file; give the folder it lies in"),
        (("score", "m", "--data.path", "g.fa", "--context_length", "4"), "give data.regions_path"),
        (("score", "m", "--data.path", "g.fa", "--device", "mps"), "device mps is not on this machine"),
        (("embed", "m", "--data.path", "g.fa", "--output", "e.tsv"), "write to a .npz or .parquet file"),
        (
            ("embed", "m", "--data.path", "g.fa", "--output", "e.npz", "--layer", "2"),
            "layer 2: give 0 (embeddings) to 1",
        ),
        (("generate", "m", "--prompt", "ACX"), "prompt: 'X' at position 3 is no symbol of the dna alphabet"),
        (("generate", "m", "--prompt", "A", "--prompts_path", "g.fa"), "exclude each other"),
        (("generate", "m", "--output", "a.smi"), "a list is of molecules, and this model makes dna"),
        (("generate", "m", "--temperature", "0", "--num_sequences", "2"), "temperature 0 always takes"),
        (
            ("generate", "m", "--min_length", "5", "--max_length", "4"),
            "min_length 5 must lie between 0 and max_length 4",
        ),
        (("generate", "m", "--temperature", "0", "--top_k", "2"), "top_k and top_p have no effect at temperature 0"),
    ],
)
def test_every_mistake_gets_one_line(work, capsys, words, message, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    assert message in mistake(capsys, *words)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_folder_that_may_not_be_written_to_is_told_before_any_work(work, capsys, tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    error = mistake(capsys, "score", "nowhere", "--data.path", "g.fa", "--output", str(closed / "s.tsv"))
    assert "closed may not be written to; name another" in error


def test_overlapping_regions_do_not_go_into_a_bedgraph(work, capsys):
    Path("o.bed").write_text("r3\t2\t8\nr3\t7\t9\n")
    error = mistake(
        capsys, "score", "m", "--data.path", "g.fa", "--data.regions_path", "o.bed", "--per_base", "t.bedgraph"
    )
    assert "regions overlap at r3:8" in error


def test_models_that_cannot_generate_say_so(work, capsys):
    build("b", objective="masked")
    build("n", begin_token=False)
    assert "a masked model cannot generate" in mistake(capsys, "generate", "b")
    assert "give --prompt" in mistake(capsys, "generate", "n")
