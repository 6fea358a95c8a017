"""MoleculeGenerator: fit, generate, like, evaluate, save and load."""

import gzip

import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from xlstm_apps.datasets.files import resolve
from xlstm_apps.datasets.molecules import molecule
from xlstm_apps.estimators import MoleculeGenerator

pytest.importorskip("rdkit", reason="needs RDKit")


@pytest.fixture(scope="module")
def smiles():
    with gzip.open(resolve("sample:wehi-molecules"), "rt") as file:
        return [line.split()[0] for line, _ in zip(file, range(120), strict=False)]


@pytest.fixture(scope="module")
def fitted(smiles):
    generator = MoleculeGenerator(embedding_dim=16, num_blocks=1, max_epochs=1, batch_size=16)
    return generator.fit([*smiles, smiles[0], "C1CC"])


def test_fit_takes_each_molecule_once_and_tells_what_it_left_out(fitted, smiles):
    assert fitted.training_ == set(smiles)
    assert [reject.reason for reject in fitted.rejects_] == ["repeated", "syntax"]
    assert fitted.history_[0]["val_loss"] < 5.2  # log of the vocabulary


def test_generate_gives_molecules(fitted):
    made = fitted.generate(4, max_length=15, prompt="c1cc")
    assert len(made) == 4 and all(text.startswith("c1cc") and molecule(text) is not None for text in made)
    assert made == fitted.generate(4, max_length=15, prompt="c1cc")
    assert fitted.generate(2, max_length=10, valid=False, seed=1) != fitted.generate(2, max_length=10, valid=False)


def test_perplexity_is_of_the_canonical_string(fitted):
    first, second = fitted.perplexity(["OCC", "CCO"])
    assert first == pytest.approx(second) and first > 1
    with pytest.raises(ValueError, match="string 2: syntax: unclosed ring"):
        fitted.perplexity(["CC", "C1CC"])


def test_like_and_evaluate(fitted, smiles):
    found = fitted.like(smiles[:3], 3, draws=6, passes=1, max_length=10)
    assert 0 < len(found) <= 3 and not {candidate.smiles for candidate in found} & fitted.training_
    measured = fitted.evaluate([candidate.smiles for candidate in found] + ["C1"], smiles[:20])
    assert measured["novel"] == 1 and measured["valid"] == len(found) / (len(found) + 1) and "snn" in measured


def test_save_and_load(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = MoleculeGenerator.load(tmp_path / "model")
    assert again.training_ == fitted.training_ and again.get_params() == fitted.get_params()
    assert again.generate(2, max_length=8) == fitted.generate(2, max_length=8)
    with pytest.raises(ValueError, match="no saved MoleculeGenerator"):
        MoleculeGenerator.load(tmp_path)


def test_mistakes_are_named(fitted):
    with pytest.raises(NotFittedError, match="call fit with SMILES"):
        clone(fitted).generate()
    with pytest.raises(ValueError, match="expected several SMILES, got one string"):
        MoleculeGenerator().fit("CCO")
    with pytest.raises(ValueError, match="salts is one of keep, largest, drop, not 'most'"):
        MoleculeGenerator(salts="most").fit(["CCO", "CC"])


def test_sets_are_learned_and_shown(tmp_path):
    smiles = ["C" * n + tail for tail in ("O", "N", "F") for n in range(1, 9)] + ["CO"]
    groups = [tail for tail in "ONF" for _ in range(8)] + ["N"]  # methanol is of two sets
    generator = MoleculeGenerator(
        embedding_dim=16, num_blocks=1, max_epochs=1, context_length=64, randomise=0.5, val_fraction=0.2
    )
    generator.fit(smiles, groups=groups)
    assert generator.model_.sequence.sets and generator.context_length_ == 64 and not generator.rejects_
    shown = generator.generate(9, context=["OCC", "CO"], max_length=8)
    assert shown != generator.generate(9, max_length=8) and all(molecule(text) is not None for text in shown)
    generator.save(tmp_path / "model")
    again = MoleculeGenerator.load(tmp_path / "model")
    assert again.generate(9, context=["CCO", "CO"], max_length=8) == shown
    found = generator.like(["CCO", "CO"], draws=6, max_length=8)
    assert not {candidate.smiles for candidate in found} & generator.training_
    with pytest.raises(ValueError, match="passes is for method='train'"):
        generator.like(["CCO"], passes=3)
    with pytest.raises(ValueError, match="25 molecules and 2 groups"):
        MoleculeGenerator().fit(smiles, groups=["a", "b"])
    with pytest.raises(ValueError, match="string 2: syntax"):
        generator.generate(1, context=["CO", "C1CC"])


def test_molecules_are_shown_to_models_of_sets_only(fitted):
    with pytest.raises(ValueError, match="learned from single molecules"):
        fitted.generate(1, context=["CO"])
    with pytest.raises(ValueError, match="method 'most' is not one of"):
        fitted.like(["CCO"], method="most")
