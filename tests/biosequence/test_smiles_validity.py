"""Sampling that emits nothing but molecules, and its grammar of beginnings."""

import csv
import gzip
from functools import partial

import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, get_tokenizer
from xlstm_apps.biosequence.alphabets import SMILES
from xlstm_apps.biosequence.smiles_prefix import Prefix
from xlstm_apps.biosequence.smiles_validity import ValidSmiles
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.sampling import sample

Chem = pytest.importorskip("rdkit.Chem", reason="needs RDKit")
TOKENIZER = get_tokenizer("smiles")

REAL = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "C[C@@H](O)/C=C/C",
    "CC(=O)[O-].[Na+]",
    "O=C1C=CC(=O)C=C1",
    "c1ccc2[nH]c3ccccc3c2c1",
    "C[N+](C)(C)CC(=O)[O-]",
    "[13CH4]",
    "C1CC2(C1)OCCO2",
    "CS(=O)(=O)Nc1ccc(-c2ccncc2)cc1",
    "C12C3C4C1C5C2C3C45",
    "c1ccc(CN2CCN(Cc3ccccc3)CC2)cc1",
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
    return SequenceModel(SequenceConfig(alphabet="smiles"), backbone).eval()


def push(text: str) -> Prefix | None:
    return Prefix().push_all([SMILES.tokens[i] for i in TOKENIZER.encode(text)])


def drawn(model, **options):
    return model.generate(
        [""] * options.pop("rows", 12), constraint=ValidSmiles(), temperature=1.0,
        generator=torch.Generator().manual_seed(options.pop("seed", 0)), **options,
    )  # fmt: skip


@pytest.mark.parametrize("text", REAL)
def test_every_token_of_a_molecule_is_taken(text):
    assert push(text).may_end and ValidSmiles().accepts(text)


@pytest.mark.parametrize(
    "text",
    ["C1CC", "c1cccc1", "CN(C)(C)C", "C(C", "CC)", "cC", "C=", "C..C", "C(.C)C", "C1C1", "F=C", "[C", "C()C", ""],
)
def test_what_is_no_molecule_is_not_taken(text):
    valid = ValidSmiles()
    row = Prefix().push_all(list(text))
    assert row is None or not row.may_end or not valid.is_molecule(text)


@pytest.mark.parametrize(
    ("text", "token", "taken"),
    [
        ("", ")", False), ("", "1", False), ("", "C", True), ("", "[", True), ("", "=", False),
        ("C", ")", False), ("C(", ")", False), ("C(", "=", True), ("C(C", ")", True), ("C(C", ".", False),
        ("C1", ".", False), ("C", ".", True), ("C.", "=", False), ("C=", "=", False), ("C=", "1", True),
        ("C", ":", False), ("C", "Sc", False), ("C", "*", False),
    ],
)  # fmt: skip
def test_the_grammar_of_beginnings(text, token, taken):
    assert (push(text).push(token) is not None) is taken


@pytest.mark.parametrize("inside", ["13C", "C@@H", "NH3+", "O-", "Fe+2", "nH", "se", "2H", "Cu+2"])
def test_the_grammar_within_brackets(inside):
    assert push(f"[{inside}]").may_end


def test_an_atom_without_room_is_not_bound_again():
    valid = ValidSmiles()
    assert not valid.accepts("CF(C)C") and not valid.accepts("O(C)(C)C") and not valid.accepts("c1cccc1")


@pytest.mark.parametrize("seed", range(2))
def test_a_model_that_knows_nothing_emits_molecules_only(model, seed):
    made = drawn(model, max_new_tokens=20, seed=seed, rows=6)
    assert len(set(made)) == 6
    for text in made:
        assert text and Chem.MolFromSmiles(text) is not None
        assert len(TOKENIZER.encode(text)) <= 20


def test_the_greatest_and_the_smallest_length_hold(model):
    assert all(len(TOKENIZER.encode(text)) == 1 for text in drawn(model, max_new_tokens=1, rows=4))
    made = drawn(model, max_new_tokens=14, min_new_tokens=10, rows=8)
    assert all(10 <= len(TOKENIZER.encode(text)) <= 14 and Chem.MolFromSmiles(text) for text in made)


def test_prompts_are_completed(model):
    made = model.generate(
        ["c1ccc(", "C[C@@H](", "CC(=O)N1C"], 20, constraint=ValidSmiles(), temperature=1.0,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    for prompt, text in zip(["c1ccc(", "C[C@@H](", "CC(=O)N1C"], made, strict=True):
        assert text.startswith(prompt) and Chem.MolFromSmiles(text) is not None


@pytest.mark.parametrize("prompt", ["CC)", "C(F)(F)(F)(F)F", "CC>>"])
def test_a_prompt_that_no_molecule_begins_with_is_named(model, prompt):
    with pytest.raises(ValueError, match="no molecule of at most 20 more tokens begins like this"):
        model.generate([prompt], 20, constraint=ValidSmiles())


def test_a_prompt_needs_room_to_end(model):
    with pytest.raises(ValueError, match=r"prompt 'c1ccc\(': no molecule of at most 2 more tokens"):
        model.generate(["c1ccc("], 2, constraint=ValidSmiles())


def test_what_remains_is_drawn_as_the_model_says():
    """Logits of three tokens, one of which leads nowhere: the others keep their odds."""
    valid = ValidSmiles()
    logits = torch.full((4000, len(SMILES)), -torch.inf)
    for token, weight in {"C": 1.0, "O": 3.0, ")": 6.0}.items():
        logits[:, SMILES.symbols[token]] = torch.tensor(weight).log()
    valid.begin([torch.tensor([SMILES.bos])] * 4000, 5)
    generator = torch.Generator().manual_seed(0)
    chosen = valid.choose(logits, partial(sample, temperature=1.0, generator=generator))
    share = (chosen == SMILES.symbols["O"]).double().mean().item()
    assert set(chosen.tolist()) == {SMILES.symbols["C"], SMILES.symbols["O"]} and abs(share - 0.75) < 0.025


def test_free_draws_are_kept_up_to_the_first_token_that_leads_nowhere():
    valid = ValidSmiles()
    rows = [torch.tensor([SMILES.bos, *TOKENIZER.encode(text)]) for text in ("CCF(C)C", "c1cccc1.C", "C(C")]
    kept = valid.resume(rows, [1, 3, 1], 8)
    assert [TOKENIZER.decode(ids) for ids in kept] == ["CCF", "c1cccc1", "C(C"]
    valid.begin(kept, 8)
    logits = torch.zeros(3, len(SMILES))
    chosen = valid.choose(logits, lambda rows: rows.argmax(-1))
    assert SMILES.tokens[chosen[0]] != "("  # where it would be the first of equals


def test_greedy_and_top_k_go_with_it(model):
    for options in ({"temperature": 0.0}, {"temperature": 1.0, "top_k": 1}, {"temperature": 1.0, "top_p": 0.3}):
        made = model.generate(["", "c1cc"], 16, constraint=ValidSmiles(), **options)
        assert all(Chem.MolFromSmiles(text) is not None for text in made)


def test_a_graph_and_a_constraint_exclude_each_other(model, monkeypatch):
    monkeypatch.setattr("xlstm_apps.core.language_model.check_cuda_graph", lambda *_: None)
    with pytest.raises(ValueError, match="excludes a constraint"):
        model.generate([""], 5, constraint=ValidSmiles(), cuda_graph=True)


def test_without_rdkit_there_is_advice(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ValueError, match=r"pip install 'xlstm-apps\[chem\]'"):
        ValidSmiles()


def test_real_molecules_pass_token_by_token(shared_data):
    with gzip.open(shared_data("smiles/moses_test.csv.gz"), "rt") as file:
        molecules = [row["SMILES"] for row, _ in zip(csv.DictReader(file), range(20), strict=False)]
    assert all(ValidSmiles().accepts(text) for text in molecules)
