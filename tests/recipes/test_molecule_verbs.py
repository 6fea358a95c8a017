"""`sequence filter` and `sequence evaluate` as a chemist uses them."""

import polars as pl
import pytest

from xlstm_apps.cli import main

pytest.importorskip("rdkit")

GIVEN = """CCO ethanol
OCC again
C1CC open
CC(=O)Oc1ccccc1C(=O)O aspirin
O=C1C=CC(=O)C=C1 quinone
CCCCCCCCCCCCCCCCCCCCCCCCCC wax
CC(=O)[O-].[Na+] salt
"""


@pytest.fixture
def given(tmp_path):
    path = tmp_path / "given.smi"
    path.write_text(GIVEN)
    return path


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["sequence", *map(str, arguments)])
    return stopped.value.code


def test_filter_keeps_what_passes_and_says_where_the_rest_went(given, tmp_path, capsys):
    kept, rejects = tmp_path / "kept.csv", tmp_path / "rejects.tsv"
    options = ["--keep", "mw<=300,logp<5", "--alerts", "pains", "--data.salts", "largest", "--lacks", "[Cl,Br] [I]"]
    assert run("filter", "--data.path", given, *options, "--output", kept, "--rejects", rejects) == 0
    rows = pl.read_csv(kept)
    assert rows.columns == ["id", "smiles", "mw", "logp"]
    assert rows["id"].to_list() == ["ethanol", "aspirin", "salt"]
    assert rows["smiles"].to_list() == ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "CC(=O)[O-]"]
    reasons = dict(pl.read_csv(rejects, separator="\t").select("id", "reason").iter_rows())
    assert reasons == {"again": "repeated", "open": "syntax", "quinone": "no pains alert", "wax": "mw<=300"}
    told = capsys.readouterr().err
    assert "3 of 7 molecules pass" in told and "no pains alert" in told


def test_filter_to_a_list_without_what_is_known(given, tmp_path):
    known, kept = tmp_path / "known.smi", tmp_path / "kept.smi"
    known.write_text("OCC\n")
    assert run("filter", "--data.path", given, "--exclude", known, "--contains", "c1ccccc1", "--output", kept) == 0
    assert kept.read_text() == "CC(=O)Oc1ccccc1C(=O)O aspirin\n"


def test_filter_writes_to_the_standard_output(given, capsys):
    assert run("filter", "--data.path", given, "--properties", "qed") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id\tsmiles\tqed" and len(lines) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep", "weight<3"], "no property 'weight'; there are mw"),
        (["--output", "kept.txt"], "write to a .smi, .csv, .tsv or .parquet file"),
        (["--output", "kept.smi", "--properties", "mw"], "a .smi file has no room for properties"),
        (["--contains", "C1("], "'C1(' is no SMARTS"),
        (["--exclude", "nowhere.smi"], "nowhere.smi: no such file"),
    ],
)
def test_filter_names_mistakes(given, options, message, capsys):
    assert run("filter", "--data.path", given, *options) == 2
    assert message in capsys.readouterr().err


def test_evaluate_beside_molecules_of_training(given, tmp_path, capsys):
    training, reference, output = tmp_path / "train.smi", tmp_path / "test.csv", tmp_path / "metrics.csv"
    training.write_text("OCC\nCCN\nCCCO\nc1ccccc1O\n")
    reference.write_text("smiles\nCCO\nCC(=O)Oc1ccccc1C(=O)O\n")
    options = ["--training", training, "--reference", reference, "--output", output]
    assert run("evaluate", given, *options) == 0
    rows = {row["metric"]: row for row in pl.read_csv(output).iter_rows(named=True)}
    assert rows["valid"]["value"] == pytest.approx(6 / 7) and rows["valid"]["n"] == 7
    assert rows["unique"]["value"] == pytest.approx(5 / 6) and rows["novel"]["value"] == pytest.approx(4 / 5)
    assert rows["novel"]["training_sample"] == 0 and rows["scaf"]["value"] is None
    assert rows["snn"]["value"] > rows["snn"]["training_sample"]
    told = capsys.readouterr()
    assert "drawn from training" in told.out and "6 valid molecules are few" in told.err


def test_evaluate_without_anything_to_compare_with(given, capsys):
    assert run("evaluate", given) == 0
    told = capsys.readouterr()
    assert "int_div" in told.out and "snn" not in told.out and "give training to have it" in told.err
    assert run("evaluate", given, "--max_reference", 5) == 2
    assert "give reference, or a run as training" in capsys.readouterr().err


def test_evaluate_reads_what_generate_writes(tmp_path, capsys):
    made = tmp_path / "made.fa"
    made.write_text(">generated_1 added=3\nCCO\n>generated_2 added=4\nC1CC\n")
    assert run("evaluate", made) == 0
    assert "0.5000" in capsys.readouterr().out
