"""`generate --valid`: molecules only, and those drawn freely that are molecules stay as they are."""

import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, get_tokenizer, strings
from xlstm_apps.biosequence.smiles_validity import ValidSmiles
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.estimators import sequence_generation
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


@pytest.mark.parametrize("drawn", ["CCO", "C1CC"])
def test_strings_are_drawn_anew_as_a_whole_while_that_helps(monkeypatch, drawn):
    model, turns = untrained("smiles"), []
    ids = {text: torch.tensor([*get_tokenizer("smiles").encode(text), model.alphabet.end]) for text in ("C(", drawn)}

    def generate_ids(model, prompts, *options):
        turns.append(len(prompts))
        return [ids["C(" if len(turns) == 1 else drawn]] * len(prompts)

    monkeypatch.setattr(strings, "generate_ids", generate_ids)
    (batch,) = generate_sequences(model, [""], per_prompt=4, max_length=9, valid=True)
    assert turns == [4, 4]  # an untrained model never helps itself: what is left is mended
    if drawn == "CCO":
        assert [m.text for m in batch] == ["CCO"] * 4
    else:
        assert all(ValidSmiles().is_molecule(m.text) and m.text.startswith("C1CC") for m in batch)


def test_what_was_read_before_goes_with_its_row(monkeypatch):
    model, seen = untrained("smiles"), []
    bad = torch.tensor(get_tokenizer("smiles").encode("C("))

    def generate_ids(model, prompts, least, most, options, before):
        seen.append(before)
        return [bad] * len(prompts)

    class State:
        def select(self, rows):
            return ("of", rows)

    monkeypatch.setattr(strings, "generate_ids", generate_ids)
    monkeypatch.setattr(sequence_generation, "mend", lambda model, prompts, rows, *rest: rest[-1])
    rows = [torch.tensor(get_tokenizer("smiles").encode(text)) for text in ("CCO", "C(", "CC(")]
    before = State()
    found = sequence_generation.only_molecules(model, [""] * 3, rows, ValidSmiles(), 0, 9, {}, before)
    assert seen == [("of", [1, 2])] and found is before


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
