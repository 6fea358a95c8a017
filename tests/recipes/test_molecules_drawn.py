"""A training on molecules leaves what its model makes up; one on something else, or without RDKit, does not."""

import subprocess
import sys

import polars as pl
import pytest

from xlstm_apps.cli import main

pytest.importorskip("rdkit", reason="needs RDKit")

OPTIONS = [
    "--backbone.embedding_dim", "16", "--backbone.num_blocks", "1", "--backbone.num_heads", "2",
    "--fit.max_epochs", "1", "--fit.steps_per_epoch", "2", "--fit.batch_size", "8",
    "--data.val_fraction", "0.2", "--data.test_fraction", "0.2",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    tails = ("O", "N", "Cl", "C(=O)O", "c1ccccc1", "C#N")
    (folder / "mols.smi").write_text("".join(f"{'C' * n}{tail}\n" for n in range(1, 9) for tail in tails))
    with pytest.raises(SystemExit) as stopped:
        main([
            "sequence", "train", "--sequence.alphabet", "smiles", "--data.path", str(folder / "mols.smi"), *OPTIONS,
            "--run_dir", str(folder / "run"),
        ])  # fmt: skip
    assert stopped.value.code == 0
    return folder / "run"


def test_strings_drawn_stand_beside_held_out_molecules(run):
    rows = pl.read_csv(run / "evaluation" / "molecules.csv")
    assert rows.columns == ["set", "smiles", "molecule", "new", "logp", "sa", "qed", "mw"]
    counts = dict(rows["set"].value_counts().iter_rows())
    assert counts["drawn"] == 200 and 5 <= counts["held-out"] <= 15
    held_out = rows.filter(pl.col("set") == "held-out")
    assert held_out["molecule"].min() == held_out["new"].min() == 1 and held_out["mw"].null_count() == 0
    drawn = rows.filter(pl.col("set") == "drawn")
    assert ((drawn["molecule"] == 0) == drawn["mw"].is_null()).all()
    assert "What it makes up" in (run / "report.html").read_text()


def test_a_report_can_be_read_where_rdkit_is_missing(run):
    code = (
        "import sys\nsys.modules['rdkit'] = None\nfrom xlstm_apps.report.run import Run\n"
        "from xlstm_apps.report.sequence_molecules import molecules\n"
        f"section = molecules(Run({str(run)!r}))\n"
        "assert section is not None and all(block.kind != 'picture' for block in section.blocks)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_generate_writes_a_page_beside_training(run, tmp_path, capsys):
    page = tmp_path / "made.html"
    call = ["sequence", "generate", str(run), "--num_sequences", "6", "--max_length", "8", "--valid", "--seed", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([*call, "--output", str(tmp_path / "made.tsv"), "--page", str(page)])
    assert stopped.value.code == 0 and f"page in {page}" in capsys.readouterr().err
    text = page.read_text().replace("\xa0", " ").replace("\u202f", " ")
    assert "100.0 % of 6 strings are molecules" in text and "not in training" in text and "<svg" in text
    with pytest.raises(SystemExit) as stopped:
        main([*call, "--page", "made.png"])
    assert stopped.value.code == 2 and "page made.png: write to a .html file" in capsys.readouterr().err
