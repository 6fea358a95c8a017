"""`sequence filter` and `sequence evaluate` as a chemist uses them."""

import polars as pl
import pytest

from xlstm_apps.cli import main

pytest.importorskip("rdkit", reason="needs RDKit")

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
    picture = tmp_path / "kept.svg"
    page = tmp_path / "kept.html"
    files = ["--output", kept, "--rejects", rejects, "--picture", picture, "--page", page]
    assert run("filter", "--data.path", given, *options, *files) == 0
    assert picture.read_text().startswith("<?xml") and "legend" in picture.read_text()
    assert "3 of 7" in page.read_text().replace("\xa0", " ") and "no pains alert" in page.read_text()
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
        (["--picture", "kept.png"], "picture kept.png: write to a .svg file"),
        (["--page", "kept.htm"], "page kept.htm: write to a .html file"),
        (["--output", "kept.txt"], "write to a .smi, .selfies, .csv, .tsv or .parquet file"),
        (["--output", "kept.smi", "--properties", "mw"], "a list has no room for properties"),
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
    page = tmp_path / "metrics.html"
    options = ["--training", training, "--reference", reference, "--output", output, "--page", page]
    assert run("evaluate", given, *options) == 0
    assert "wasserstein_logp" in page.read_text() and "<svg" in page.read_text()
    rows = {row["metric"]: row for row in pl.read_csv(output).iter_rows(named=True)}
    assert rows["valid"]["value"] == pytest.approx(6 / 7) and rows["valid"]["n"] == 7
    assert rows["unique"]["value"] == pytest.approx(5 / 6) and rows["novel"]["value"] == pytest.approx(4 / 5)
    assert rows["novel"]["training_sample"] == 0 and rows["scaf"]["value"] is None
    assert rows["snn"]["value"] > rows["snn"]["training_sample"]
    told = capsys.readouterr()
    assert "drawn from training" in told.out and "few valid molecules (6)" in told.err


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


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    import torch

    from xlstm_apps.biosequence import SequenceConfig, SequenceModel
    from xlstm_apps.core.config import xLSTMConfig

    torch.manual_seed(0)
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, slstm_at="all")
    folder = tmp_path_factory.mktemp("model")
    SequenceModel(SequenceConfig(alphabet="smiles"), backbone).save_pretrained(folder)
    return folder


def test_like_writes_new_molecules_and_compares(small_model, given, tmp_path, capsys):
    actives, output = tmp_path / "actives.smi", tmp_path / "new.csv"
    actives.write_text("CCOC(C)=O a\nCCCOC(C)=O b\nCCOC(=O)CC c\n")
    options = ["--passes", 20, "--learning_rate", 0.02, "--draws", 20, "--max_length", 8, "--keep", "mw<=300"]
    call = ["like", small_model, "--data.path", actives, "--exclude", given, *options]
    page = tmp_path / "new.html"
    assert run(*call, "--num_candidates", 4, "--output", output, "--page", page) == 0
    assert "4 new molecules like 3 given ones" in page.read_text().replace("\xa0", " ")
    rows = pl.read_csv(output)
    assert rows.columns[:4] == ["rank", "smiles", "similarity", "nearest"] and rows["rank"].to_list() == [1, 2, 3, 4]
    assert rows["similarity"].is_sorted(descending=True) and rows["mw"].max() <= 300
    assert not set(rows["smiles"]) & {"CCOC(C)=O", "CCO"} and set(rows["nearest"]) <= {"a", "b", "c"}
    told = capsys.readouterr().err
    assert "of the model as it was" in told and "3 molecules say little" in told


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("C1CC bad\n", [], "record 'bad': syntax: unclosed ring; take it out, or let `xlstm-apps sequence filter`"),
        ("CCO\n", ["--num_candidates", "0"], "num_candidates must be at least 1"),
        ("CCO\n", ["--passes", "0"], "passes must be at least 1"),
        ("CCO\n", ["--output", "x.smi"], "write to a .csv, .tsv or .parquet file"),
    ],
)
def test_like_names_mistakes(small_model, tmp_path, text, options, message, capsys):
    actives = tmp_path / "actives.smi"
    actives.write_text(text)
    assert run("like", small_model, "--data.path", actives, *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["filter", "--data.path", "table.csv"], "name one with data.smiles_column, of drug"),
        (
            ["filter", "--data.path", "good.smi", "--exclude", "table.csv"],
            "call the one that holds them smiles, of drug",
        ),
        (["evaluate", "table.csv"], "name one with smiles_column, of drug"),
        (["evaluate", "list.txt"], "a list of SMILES needs format smi"),
        (["evaluate", "good.smi", "--training", "list.txt"], "a list of SMILES has the ending .smi"),
    ],
)
def test_mends_are_options_of_the_verb(tmp_path, monkeypatch, options, message, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in {"table.csv": "drug\nCCO\n", "good.smi": "CCO\n", "list.txt": "CCO\n"}.items():
        (tmp_path / name).write_text(text)
    assert run(*options) == 2
    assert message in capsys.readouterr().err


def test_generate_valid_from_the_command_line(small_model, tmp_path):
    from rdkit import Chem

    output = tmp_path / "made.tsv"
    assert run("generate", small_model, output, "--num_sequences", 3, "--max_length", 8, "--valid") == 0
    made = pl.read_csv(output, separator="\t")["sequence"].to_list()
    assert len(made) == 3 and all(Chem.MolFromSmiles(text) is not None for text in made)


def test_generate_writes_a_list_and_stops_at_lengths_of_molecules(small_model, tmp_path):
    output = tmp_path / "made.smi"
    assert run("generate", small_model, output, "--num_sequences", 2, "--min_length", 198) == 0
    made = [line.split(" ") for line in output.read_text().splitlines()]
    assert [name for _, name in made] == ["generated_1", "generated_2"] and all(len(text) <= 400 for text, _ in made)


def test_generate_writes_selfies_of_molecules_only(small_model, tmp_path, capsys):
    pytest.importorskip("selfies", reason="needs selfies")
    output = tmp_path / "made.selfies"
    assert run("generate", small_model, output) == 2 and "draw them with --valid" in capsys.readouterr().err
    assert run("generate", small_model, output, "--max_length", 8, "--valid") == 0
    assert output.read_text().startswith("[") and output.read_text().endswith("] generated_1\n")
