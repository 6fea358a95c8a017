"""SELFIES read wherever SMILES are, and written to lists."""

import sys

import pytest

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder, get_tokenizer
from xlstm_apps.cli import main
from xlstm_apps.datasets.molecules.selfies_notation import is_selfies, list_line, to_selfies
from xlstm_apps.datasets.molecules.standardise import Rejected, Standardiser
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.datasets.sequences.loading import load_corpus

pytest.importorskip("rdkit", reason="needs RDKit")
pytest.importorskip("selfies", reason="needs selfies")
SMILES = get_alphabet("smiles")


@pytest.mark.parametrize(
    "text", ["[C][C][O]", "[C][=C][Foo]", "[N][N]", "[O][=C]", "[C][O-1].[Na+1]", "[F][/C][=C][/F]"]
)
def test_what_is_selfies(text):
    assert is_selfies(text)


@pytest.mark.parametrize(
    "text", ["[C]", "[Na+].[Cl-]", "[2H][O][2H]", "[C-]#[O+]", "C[C]", "[Fe][Fe]", "", "[", "[C][N"]
)
def test_what_is_smiles(text):
    assert not is_selfies(text)


def test_molecules_go_there_and_back():
    canonical = Standardiser()
    for smiles in ("CCO", "c1ccccc1", "C[C@H](N)C(=O)O", "F/C=C/F", "CC(=O)[O-].[Na+]", "[13CH3]C"):
        text = to_selfies(smiles)
        assert text is not None and is_selfies(text) and canonical(text) == canonical(smiles)
    for smiles in ("N->[Cu]", "*C", "OCl(=O)(=O)=O", "C1CC"):
        assert to_selfies(smiles) is None and list_line(smiles, "x", ".selfies") is None
    assert list_line("*C", "x", ".smi") == "*C x\n"
    with pytest.raises(Rejected, match="notation: SELFIES with invalid symbol"):
        canonical("[C][=C][Foo]")
    with pytest.raises(Rejected, match="empty: SELFIES of no atom"):
        canonical("[Ring1][Ring1]")


def test_files_of_selfies_are_read_and_written(tmp_path, capsys):
    given, kept = tmp_path / "given.selfies", tmp_path / "kept.selfies"
    given.write_text("selfies name\n[C][C][O] ethanol\nOCC again\n[C][C][Branch1][C][O] other\n*C any\nc1ccccc1 ring\n")
    corpus = load_corpus(SequenceSource(path=[str(given)]), SMILES, tmp_path / "c", encode=file_encoder(SMILES))
    assert [get_tokenizer("smiles").decode(row) for row in corpus] == ["CCO", "*C", "c1ccccc1"]
    assert "1 molecules written anew, canonically, 1 of them from SELFIES" in corpus.report["notes"]
    with pytest.raises(SystemExit) as stopped:
        main(["sequence", "filter", "--data.path", str(given), "--output", str(kept)])
    assert stopped.value.code == 0
    assert kept.read_text() == "[C][C][O] ethanol\n[C][=C][C][=C][C][=C][Ring1][=Branch1] ring\n"
    assert "1 of them have no SELFIES and are not in the file" in capsys.readouterr().err


def test_without_the_package_there_is_advice(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "selfies", None)
    with pytest.raises(Rejected, match=r"notation: this is SELFIES, for which: pip install 'xlstm-apps\[selfies\]'"):
        Standardiser()("[C][C][O]")
