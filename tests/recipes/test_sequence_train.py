"""Sequence recipes from file to report: trained, resumed, gone on from, and fed with what they must refuse."""

import csv
import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from xlstm_apps import cli
from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule, named_size
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets.sequences import Corpus, SequenceData
from xlstm_apps.recipes import sequence
from xlstm_apps.recipes.catalog import recipe_path
from xlstm_apps.training import FitConfig

BACKBONE = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
FIT = FitConfig(max_epochs=2, steps_per_epoch=2, batch_size=4, checkpoint_seconds=0)


def letters(count, seed=0, alphabet="ACGT"):
    return "".join(np.random.default_rng(seed).choice(list(alphabet), count))


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa.gz"
    path.write_bytes(
        gzip.compress(f">chr1\r\n{letters(2000)}\r\n>chr2 plasmid\r\n{letters(500, 1).lower()}\r\n".encode())
    )
    return path


def train(path, run_dir, *, data=None, fit=FIT, backbone=BACKBONE, **options):
    source = SequenceData(path=[str(path)], **{"context_length": 64, **(data or {})})
    sequence.train(source, backbone=backbone, fit=fit, run_dir=str(run_dir), **options)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_train_leaves_what_the_report_reads(genome, tmp_path, capsys):
    run = tmp_path / "run"
    train(genome, run)
    shown = capsys.readouterr()
    assert "bits per base" in shown.out and "xlstm" in shown.out and str(run) in shown.out
    assert "chr" not in shown.err and "by stretch: train 2,000, val 250, test 250" in shown.err
    facts, found = json.loads((run / "run.json").read_text()), json.loads((run / "data_summary.json").read_text())
    assert (facts["task"], facts["status"]) == ("sequence", "finished")
    assert facts["resolved"]["data"]["context_length"] == 64 and facts["resolved"]["backbone"]["embedding_dim"] == 16
    assert set(facts["seconds"]) == {"load", "fit", "evaluate", "report"}
    assert found["quality"]["soft_masked"] == 500 and found["context_length"] == 64
    assert found["split"]["rule"] == "stretch" and found["split"]["train"]["windows"] == 25 + 7
    assert found["leakage"]["near_copies"] == 0
    comparison = rows(run / "evaluation" / "comparison.csv")
    assert comparison[0]["model"] == "xlstm" and comparison[-1]["model"] == "unigram"
    assert {row["num_symbols"] for row in comparison} == {"250"}
    records = rows(run / "evaluation" / "records.csv")
    assert sum(int(row["num_scored"]) for row in records) == 250 and records[0]["id"] == "chr1"
    total = sum(float(row["nll"]) for row in records)
    assert total / 250 == pytest.approx(float(comparison[0]["nll"]), rel=1e-6)
    positions = rows(run / "evaluation" / "positions.csv")
    assert positions[0]["position"] == "0" and positions[-1]["position_end"] == "63"
    symbols = rows(run / "evaluation" / "symbols.csv")
    assert [row["symbol"] for row in symbols] == list("ACGT")
    assert sum(float(symbols[0][f"p_{s}"]) for s in "ACGT") <= 1 + 1e-6
    assert (run / "report.html").stat().st_size > 10_000 and (run / "model" / "README.md").is_file()
    # The scores are those of the saved model.
    model, corpus = SequenceModel.from_pretrained(run / "model"), Corpus(run / "corpus")
    ids = torch.from_numpy(corpus.fetch(0, 1800, 1864).astype(np.int64))[None]
    assert float(model.score(ids).sum()) == pytest.approx(float(records[0]["nll"]), rel=1e-4)


def test_resume_gives_the_same_weights(genome, tmp_path, power_cut):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit = replace(FIT, max_epochs=3)
    train(genome, whole, fit=fit)
    with power_cut(SequenceModule, step=4):
        train(genome, broken, fit=fit)
    assert json.loads((broken / "run.json").read_text())["status"] == "running"
    with pytest.raises(ValueError, match=r"cannot resume .* fit.max_epochs \(was 3, is 2\)"):
        train(genome, broken, resume=True)
    train(genome, broken, fit=fit, resume=True)
    one, other = (SequenceModel.from_pretrained(run / "model").state_dict() for run in (whole, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)
    text = gzip.decompress(genome.read_bytes()).replace(b"chr2", b"chr3")
    genome.write_bytes(gzip.compress(text))
    with pytest.raises(ValueError, match="data_fingerprint changed"):
        train(genome, broken, fit=fit, resume=True)


def test_go_on_from_a_model_on_prepared_sequences(genome, tmp_path, capsys):
    sequence.prepare(SequenceData(path=[str(genome)], softmask="ignore"), str(tmp_path / "prepared"))
    assert "2 of 2 records" in capsys.readouterr().out
    train(tmp_path / "prepared", tmp_path / "first")
    assert not (tmp_path / "first" / "corpus").exists()
    small = xLSTMConfig(embedding_dim=64, num_blocks=2)
    train(tmp_path / "prepared", tmp_path / "next", from_model=str(tmp_path / "first"), backbone=small)
    facts = json.loads((tmp_path / "next" / "run.json").read_text())
    assert facts["resolved"]["backbone"]["embedding_dim"] == 16
    assert facts["resolved"]["fit"]["learning_rate"] == pytest.approx(4e-3 / 3)
    with pytest.raises(ValueError, match=r"backbone\.num_heads is 8, and the model of"):
        train(genome, tmp_path / "x", from_model=str(tmp_path / "first"), backbone=replace(small, num_heads=8))
    with pytest.raises(ValueError, match="is prepared already"):
        sequence.prepare(SequenceData(path=[str(tmp_path / "prepared")]), str(tmp_path / "again"))


def test_masked_proteins_of_many_lengths_beside_an_lstm(tmp_path):
    path = tmp_path / "p.faa"
    path.write_text("".join(f">p{i}\nM{letters(5 + 3 * i, i, 'ACDEFGHIKLMNPQRSTVWY')}X*\n" for i in range(30)))
    sequence.train(
        SequenceData(path=[str(path)]),
        SequenceConfig(alphabet="protein", objective="masked"),
        replace(BACKBONE, embedding_dim=32),
        replace(FIT, max_epochs=1),
        baselines=["lstm"],
        run_dir=str(tmp_path / "run"),
    )
    comparison = rows(tmp_path / "run" / "evaluation" / "comparison.csv")
    assert [row["model"] for row in comparison[:2]] == ["xlstm", "lstm"]
    assert int(comparison[1]["parameters"]) == pytest.approx(int(comparison[0]["parameters"]), rel=0.05)
    notes = json.loads((tmp_path / "run" / "data_summary.json").read_text())["notes"]
    assert any("backbone.direction is bidirectional" in note for note in notes)
    assert any("says little" in note for note in notes)


def test_mistakes_leave_no_folder(genome, tmp_path):
    run = tmp_path / "run"
    for options, words in (
        ({"data": {"stride": 100}}, "stride 100 leaves symbols between windows of 64"),
        ({"data": {"test_contigs": ["chrX"]}}, "no record 'chrX'"),
        ({"data": {"min_length": 5000}}, "nothing to build a corpus from: 2 shorter than 5000"),
        ({"backbone": replace(BACKBONE, direction="bidirectional")}, "needs backbone.direction='causal'"),
        ({"from_model": str(tmp_path)}, "config.json"),
    ):
        with pytest.raises(ValueError, match=words):
            train(genome, run, **options)
        assert not run.exists() and not list(tmp_path.glob(".run*"))


def test_a_part_in_which_nothing_counts_is_refused(tmp_path):
    path, run = tmp_path / "masked.fa", tmp_path / "run"
    path.write_text(f">a\n{letters(800, 1)}{letters(400, 2).lower()}\n")  # validation and test are its end
    with pytest.raises(
        ValueError, match="softmask_weight 0 leaves nothing of the val part: all of it is in lower case"
    ):
        train(path, run, data={"softmask_weight": 0.0})
    assert not run.exists()


def test_no_test_part_and_no_validation(genome, tmp_path, capsys):
    train(genome, tmp_path / "run", data={"val_fraction": 0, "test_fraction": 0})
    assert "no test part" in capsys.readouterr().err
    assert not (tmp_path / "run" / "evaluation").exists() and (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("name", ["ecoli-k12", "any-fasta", "dna-500k"])
def test_shipped_recipes_train_two_steps(name, genome, tmp_path):
    flags = ["--fit.max_steps=2", "--fit.steps_per_epoch=2", "--backbone.embedding_dim=16", "--backbone.num_blocks=1"]
    flags += ["--data.path", str(genome), "--data.context_length=64", "--run_dir", str(tmp_path / "run")]
    cli.run(["sequence", "train", "--config", f"sequence/{name}", *flags])
    assert (tmp_path / "run" / "report.html").is_file()


def test_new_causal_models_of_dna_have_wide_convolutions(genome, tmp_path):
    def taps(run, **options):
        train(genome, tmp_path / run, **options)
        return SequenceModel.from_pretrained(tmp_path / run / "model").config.option("conv1d_kernel_size")

    assert taps("new") == 16
    assert taps("masked", sequence=SequenceConfig(objective="masked")) == 4
    narrow = replace(BACKBONE, conv1d_kernel_size=4)
    assert taps("narrow", backbone=narrow) == 4
    assert taps("further", backbone=narrow, from_model=str(tmp_path / "narrow")) == 4


@pytest.mark.parametrize("name", ["dna-500k", "dna-2m", "prot-26m", "prot-102m"])
def test_recipes_of_the_paper_have_its_layers(name):
    recipe = yaml.safe_load(recipe_path(f"sequence/{name}").read_text())
    direction = "bidirectional" if name.startswith("dna") else "causal"
    assert xLSTMConfig.from_dict(recipe["backbone"]) == named_size(name, direction=direction)
    SequenceConfig(**recipe["sequence"])


def test_validate_exit_codes(tmp_path, capsys):
    def code(text, *options):
        (tmp_path / "x.fa").write_text(text)
        return cli.run(["sequence", "validate", "--data.path", str(tmp_path / "x.fa"), *options])

    assert code(f">a\n{letters(40)}\n>b\n{letters(40)}\n") == 0
    assert code(f">a\n{letters(40)}\n>a\n{letters(40)}\n") == 1
    assert code(f">a\n{letters(40)}!\n>b\n{letters(40)}\n", "--output", str(tmp_path / "r.json")) == 1
    assert "position 41" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["left_out"] == {"bad characters": 1}
    assert code(">a\n>b\n") == 2
    assert code(f">a\n{'N' * 40}\n") == 2 and "every symbol is ambiguous" in capsys.readouterr().out
    assert code(f">a\n 1 {letters(9)}\n11 {letters(9)}\n21 {letters(9)}\n") == 2  # digits do not make it SMILES
    with pytest.raises(ValueError, match="look like protein"):
        code(f">a\n{letters(200, alphabet='EFILPQ')}\n", "--output", str(tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text())["exit_code"] == 2


def test_contigs_may_be_called_by_number(genome, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(sequence, "train", lambda data: seen.update(contigs=data.test_contigs))
    sequence.train.__annotations__["data"] = SequenceData
    cli.run(["sequence", "train", "--data.path", str(genome), "--data.test_contigs", "2,X"])
    assert seen == {"contigs": ["2", "X"]}


def test_a_shell_may_expand_patterns(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.fa").write_text(f">{name}\n{letters(40)}\n")
    assert cli.run(["sequence", "validate", "--data.path", f"{tmp_path}/a.fa", f"{tmp_path}/b.fa"]) == 0
