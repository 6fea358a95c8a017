"""`generate --valid`: molecules only, and those drawn freely that are molecules stay as they are."""

import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.biosequence.smiles_validity import ValidSmiles
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.estimators.sequence_generation import generate_sequences

pytest.importorskip("rdkit", reason="needs RDKit")


def untrained(alphabet: str) -> SequenceModel:
    torch.manual_seed(0)
    return SequenceModel(
        SequenceConfig(alphabet=alphabet), xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
    ).eval()


def made(prompts, **options):
    batches = generate_sequences(untrained("smiles"), prompts, max_length=9, batch_size=8, seed=3, **options)
    return [sequence for batch in batches for sequence in batch]


def test_molecules_only_and_free_ones_as_they_were():
    valid = ValidSmiles()
    free, only = made([""], per_prompt=5), made([""], per_prompt=5, valid=True)
    assert all(valid.is_molecule(m.text) for m in only) and not all(valid.is_molecule(m.text) for m in free)
    assert [m.added for m in only] == [m.scored for m in only] and all(m.added <= 9 for m in only)
    for before, after in zip(free, only, strict=True):
        if valid.is_molecule(before.text):
            assert after.text == before.text and after.log_likelihood == pytest.approx(before.log_likelihood, abs=1e-4)


def test_prompts_stay_and_the_same_seed_gives_the_same():
    first, second = (made(["c1cc(", "CC"], per_prompt=2, valid=True) for _ in range(2))
    assert [m.text for m in first] == [m.text for m in second]
    assert all(m.text.startswith(("c1cc(", "CC")) and ValidSmiles().is_molecule(m.text) for m in first)


def test_least_length_holds_for_what_is_mended():
    found = made([""], per_prompt=2, valid=True, min_length=6)
    assert all(m.added >= 6 and ValidSmiles().is_molecule(m.text) for m in found)


def test_other_alphabets_have_no_valid():
    with pytest.raises(ValueError, match="valid is for molecules, and this model makes dna"):
        next(generate_sequences(untrained("dna"), [""], valid=True))


def test_a_prompt_that_leads_nowhere_is_named():
    with pytest.raises(ValueError, match="prompt 'CC\\)': no molecule begins like this"):
        made(["CC)"], valid=True)
