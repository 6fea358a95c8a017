"""More like these: the copy learns, the model stays, and what is known is never a candidate."""

import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.molecules import molecule
from xlstm_apps.estimators.molecule_likeness import Turning, draw_new, turn

pytest.importorskip("rdkit", reason="needs RDKit")
GIVEN = ["CCOC(C)=O", "CCCOC(C)=O", "CCOC(=O)CC"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, slstm_at="all")
    return SequenceModel(SequenceConfig(alphabet="smiles"), backbone).eval()


@pytest.fixture(scope="module")
def turned(model):
    return turn(model, GIVEN, Turning(passes=40, learning_rate=0.02))


def mean_nll(model):
    return torch.cat(list(model.score(GIVEN))).mean().item()


def test_the_copy_knows_the_molecules_and_the_model_stays(model, turned):
    assert mean_nll(turned) < 1.5 < 4 < mean_nll(model)
    assert not turned.training


def test_the_copy_makes_more_like_these(model, turned):
    turning = Turning(draws=30, max_length=12, temperature=1.5, seed=1)
    after = draw_new(turned, GIVEN, turning, exclude={"CCO"})
    assert after.draws == 30 and after.known + after.repeated + len(after.candidates) == 30 and after.known > 0
    assert not {candidate.smiles for candidate in after.candidates} & {*GIVEN, "CCO"}
    assert all(molecule(candidate.smiles) is not None for candidate in after.candidates)
    similarities = [candidate.similarity for candidate in after.candidates]
    assert similarities == sorted(similarities, reverse=True)
    before = draw_new(model, GIVEN, Turning(draws=6, max_length=8, seed=1))
    assert after.similarity > before.similarity


@pytest.mark.parametrize("name", ["passes", "draws", "learning_rate", "temperature"])
def test_settings_that_make_no_sense(name):
    with pytest.raises(ValueError, match=name):
        Turning(**{name: 0})
