"""Molecules that hold a scaffold: its spellings, what is attached at its points, and what a model makes there."""

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.cli import main
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.molecules.chemistry import chemistry
from xlstm_apps.datasets.molecules.scaffolds import attach, open_scaffold, spellings
from xlstm_apps.estimators import MoleculeGenerator
from xlstm_apps.estimators.molecule_decoration import decorate

pytest.importorskip("rdkit", reason="needs RDKit")
SMALL = {"embedding_dim": 16, "num_blocks": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C1CC", "'C1CC' is no molecule with points to attach at; write it as"),
        ("*", "is no molecule"),
        ("c1ccccc1", r"has no point to attach at; mark those as in c1ccc\(\*\)cc1, or give it as a prompt"),
        ("C=*", r"a point to attach at \(\*\) hangs on one single bond"),
        ("C*C", "hangs on one single bond"),
        ("C*.O", "has several parts"),
    ],
)
def test_what_is_no_scaffold(smiles, message):
    with pytest.raises(ValueError, match=message):
        open_scaffold(smiles)


@pytest.mark.parametrize(
    ("smiles", "grown"),
    [
        ("c1ccc(*)cc1", "c1ccccc1C(Cl)=O"),
        ("*n1cccc1", "n1(C(Cl)=O)cccc1"),
        ("F/C=C/*", "F/C=C/C(Cl)=O"),
        ("C[C@H](*)OC", "C[C@H](C(Cl)=O)OC"),
        ("*c1ccc2[nH]ccc2c1", "c1(C(Cl)=O)ccc2[nH]ccc2c1"),
        ("C[N+](C)(C)*", "C[N+](C)(C)C(Cl)=O"),
        ("O=C([*:2])N1CCC([*:1])C1", "O=CN1CCC(C(Cl)=O)C1"),  # hydrogen where nothing is yet
    ],
)
def test_every_spelling_goes_on_at_the_point(smiles, grown):
    Chem = chemistry()
    mol, points = open_scaffold(smiles)
    found = spellings(mol, 1, np.random.default_rng(0))
    assert found and {Chem.CanonSmiles(text + "C(Cl)=O") for text in found} == {Chem.CanonSmiles(grown)}
    joined = Chem.MolToSmiles(attach(mol, 1, "C(Cl)=O"))
    assert joined.count("*") == points - 1
    assert points > 1 or joined == Chem.CanonSmiles(grown)


def test_points_are_taken_in_order_and_centres_survive():
    Chem = chemistry()
    mol, points = open_scaffold("[*:7][C@H]1CC[C@@H]([*:3])CC1")
    assert points == 2
    both = attach(attach(mol, 1, "F"), 2, "Cl")
    assert Chem.MolToSmiles(both) == Chem.CanonSmiles("Cl[C@H]1CC[C@@H](F)CC1")


@pytest.mark.parametrize("branch", ["", ".C", "1CC1", "=O", "(C)C", "C1C", "C*", "C(C)(C)(C)C"])
def test_what_cannot_be_attached(branch):
    assert attach(open_scaffold("C*")[0], 1, branch) is None


def holds(smiles, scaffold):
    """Whether a molecule has the scaffold, with more neighbours at its points only."""
    Chem = chemistry()
    asked = Chem.AdjustQueryParameters.NoAdjustments()
    asked.adjustDegree, asked.makeDummiesQueries = True, True
    asked.adjustDegreeFlags = Chem.ADJUST_IGNOREDUMMIES
    pattern = Chem.AdjustQueryProperties(Chem.MolFromSmiles(scaffold), asked)
    return Chem.MolFromSmiles(smiles).HasSubstructMatch(pattern)


@pytest.mark.parametrize("scaffold", ["c1ccc(*)cc1", "O=C(*)N1CCC(*)C1"])
def test_what_is_made_holds_the_scaffold(scaffold):
    torch.manual_seed(0)
    model = SequenceModel(SequenceConfig(alphabet="smiles"), xLSTMConfig(**SMALL))  # knows nothing
    options = {"num_molecules": 5, "max_length": 6, "batch_size": 3, "seed": 1}
    made = [one for batch in decorate(model, scaffold, **options) for one in batch]
    assert len(made) == 5 and all(holds(one.text, scaffold) for one in made)
    assert len({one.text for one in made}) > 1 and all(one.log_likelihood < 0 and one.added > 0 for one in made)
    assert made == [one for batch in decorate(model, scaffold, **options) for one in batch]
    with pytest.raises(ValueError, match="temperature 0 always makes the same molecule"):
        next(decorate(model, scaffold, num_molecules=2, temperature=0))


def test_from_the_command_line_and_from_python(tmp_path, capsys):
    smiles = ["CCO", "CCN", "CCCO", "CCCN", "CC(C)O", "CC(C)N", "OCCO", "NCCN", "CCOC", "CCNC"]
    generator = MoleculeGenerator(embedding_dim=16, num_blocks=1, max_epochs=1).fit(smiles)
    assert all(holds(text, "c1ccc(*)cc1") for text in generator.generate(3, scaffold="c1ccc(*)cc1", max_length=6))
    with pytest.raises(ValueError, match="with a scaffold there is no prompt"):
        generator.generate(3, scaffold="c1ccc(*)cc1", prompt="CC")
    generator.save(tmp_path / "model")

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["sequence", "generate", str(tmp_path / "model"), *map(str, arguments)])
        return stopped.value.code

    made = tmp_path / "made.smi"
    assert run(made, "--scaffold", "c1ccc(*)cc1", "--num_sequences", 3, "--max_length", 6) == 0
    assert all(holds(line.split()[0], "c1ccc(*)cc1") for line in made.read_text().splitlines())
    assert "3 sequences" in capsys.readouterr().err
    assert run("--scaffold", "c1ccc(*)cc1", "--prompt", "CC") == 2
    assert "prompt, prompts_path and scaffold exclude each other" in capsys.readouterr().err
