"""Published Chem-xLSTM folders: their own tokens, their own logits, and every verb that takes a model of molecules."""

import json

import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.biosequence.smiles_tokens import UnknownTokenError
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.biosequence.vocabularies import alphabet_of, learned_smiles, vocabulary_of
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.sequences import SequenceData, SequenceSource
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.interop import load_reference
from xlstm_apps.recipes import sequence
from xlstm_apps.training import FitConfig

TOKENS = ["[PAD]", "[BEG]", "C", "O", "[END]", "c", "1", "(", ")", "=", "N", "[", "]", "@", "H", ".", "%10", "Cl", "n",
          "2", "F", "+", "-", "/"]  # fmt: skip
LABELS = {token: n for n, token in enumerate(TOKENS)}
ARGUMENTS = {"mode": "smiles", "model_dim": 32, "state_dim": 64, "n_layers": 3, "n_heads": 1, "dropout": 0.25,
             "vocab_size": 37, "sequence_length": 99, "token2label": LABELS, "warned_about_token": []}  # fmt: skip


@pytest.fixture
def published(golden, tmp_path):
    """A folder as published: there is no golden one, but the weights are those of the language model."""
    tensors, meta = golden("xlstm_lm")
    weights = {f"model.{key.removeprefix('sd.')}": x for key, x in tensors.items() if key.startswith("sd.")}
    folder = tmp_path / "chem"
    folder.mkdir()
    (folder / "init_arguments.json").write_text(json.dumps(ARGUMENTS))
    torch.save(weights, folder / "model.pt")
    return folder, load_reference("xlstm-lm", meta, tensors)


def test_tokens_are_cut_as_published():
    alphabet = learned_smiles(vocabulary_of(LABELS, 30))
    assert alphabet.tokens[24:] == tuple(f"[unused {n}]" for n in range(24, 30))
    assert (alphabet.pad, alphabet.bos, alphabet.end) == (0, 1, 4)
    tokenizer = Tokenizer(alphabet)
    for text in ("C[C@@H](N)Cl", "c%10ccc%10", "C[NH+]C.[Cl-]", "Cn1cnc2c1"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and not set(ids) & set(alphabet.specials)
    assert [TOKENS[i] for i in tokenizer.encode("C[C@@H]%10")] == ["C", "[", "C", "@", "@", "H", "]", "%10"]
    with pytest.raises(ValueError, match=r"'\\\\' at position 5 is no token of this model, which learned 21"):
        tokenizer.encode("F/C=\\F".replace("/C=", "/CC"))
    with pytest.raises(UnknownTokenError, match="'Br' at position 2") as unknown:
        tokenizer.encode("CBrC")
    assert unknown.value.symbol == "Br"
    for wrong, message in (
        (["[PAD]", "C"], r"has no \[BEG\], \[END\]"),
        (["[PAD]", "[BEG]", "[END]", "C", "C"], "a token twice"),
    ):
        with pytest.raises(ValueError, match=message):
            learned_smiles(tuple(wrong))
    for labels in ({"C": 0, "O": 0}, {"C": 5}, {"C": "1"}):
        with pytest.raises(ValueError, match="ids are numbers below 5, one for each token"):
            vocabulary_of(labels, 5)


def test_vocabularies_are_for_causal_models_of_molecules():
    for options in ({"alphabet": "dna"}, {"objective": "masked"}, {"sets": True}):
        with pytest.raises(ValueError, match="vocabulary is for causal models of molecules"):
            SequenceConfig(**{"alphabet": "smiles", "vocabulary": tuple(TOKENS), **options})


def test_the_folder_answers_as_published_and_is_saved(published, tmp_path):
    folder, reference = published
    model = load_sequence_model(folder, "cpu")
    ids = torch.tensor([[1, 2, 10, 7, 3, 8, 2]])
    assert torch.equal(model(ids), reference(ids)) and model.vocab_size == 50
    expected = reference(ids).log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(-model.score("CN(O)C"), expected, rtol=1e-5, atol=1e-5)
    model.save_pretrained(tmp_path / "ours")
    again = SequenceModel.from_pretrained(tmp_path / "ours")
    assert again.sequence.vocabulary == model.sequence.vocabulary and torch.equal(again(ids), model(ids))
    made = model.generate(["CCO.", "C"], 6, generator=torch.Generator().manual_seed(0))
    assert made[0].startswith("CCO.") and not any("[unused" in text for text in made)


def test_folders_that_do_not_say_what_ids_mean(published):
    folder, _ = published
    for options, message in (({"token2label": None}, "no token2label"), ({"mode": "fasta"}, "mode='fasta'")):
        (folder / "init_arguments.json").write_text(json.dumps({**ARGUMENTS, **options}))
        with pytest.raises(ValueError, match=message):
            load_sequence_model(folder, "cpu")


def test_verbs_take_the_folder(published, tmp_path, capsys):
    pytest.importorskip("rdkit", reason="needs RDKit")
    folder, given = str(published[0]), tmp_path / "m.smi"
    given.write_text("".join("C" * a + "O" * b + "C\n" for a in range(1, 7) for b in (1,)) + "c1ccccc1N(C)C aniline\n")
    data = SequenceSource(path=[str(given)])
    sequence.score(folder, data, str(tmp_path / "s.tsv"))
    assert (tmp_path / "s.tsv").read_text().count("\tok") == 7
    sequence.embed(folder, data, str(tmp_path / "e.npz"))
    sequence.generate(folder, str(tmp_path / "g.tsv"), prompt="CC", num_sequences=2, max_length=3, valid=True)
    chem = __import__("rdkit.Chem").Chem
    rows = (tmp_path / "g.tsv").read_text().splitlines()[1:]
    assert len(rows) == 2 and all(chem.MolFromSmiles(row.split("\t")[2]) is not None for row in rows)
    with pytest.raises(ValueError, match=r"scaffold 'C\(Br\)\*' cannot be written for this model: .*is no token"):
        sequence.generate(folder, scaffold="C(Br)*")
    with pytest.raises(ValueError, match=r"a dot parts the molecules.*`sequence generate` takes them as --prompt"):
        sequence.generate(folder, context=str(given))
    fit = FitConfig(max_epochs=1, steps_per_epoch=1, batch_size=2)
    data = SequenceData(path=[str(given)], randomise=1.0, val_fraction=0.2, test_fraction=0.2)
    sequence.train(data, fit=fit, from_model=folder, run_dir=str(tmp_path / "run"))
    model = load_sequence_model(tmp_path / "run", "cpu")
    assert model.sequence.vocabulary[:3] == ("[PAD]", "[BEG]", "C")
    from xlstm_apps.recipes._sequence_evaluate import parts_of_run

    train, test = parts_of_run(tmp_path / "run")
    assert all(chem.MolFromSmiles(text) is not None for text in (*train, *(test or ())))
    given.write_text("C/C=C\\C\n")
    with pytest.raises(ValueError, match=r"m\.smi line 1: .*is no token of this model"):
        sequence.score(folder, SequenceSource(path=[str(given)]), str(tmp_path / "s.tsv"))


def test_estimators_refuse_tokens_of_their_own(published):
    from xlstm_apps.estimators import SequenceClassifier

    classifier = SequenceClassifier(alphabet="smiles", from_model=str(published[0]), max_epochs=1)
    with pytest.raises(ValueError, match="reads tokens of its own, as published"):
        classifier.fit(["CCO", "CCN", "CCC", "OCC"] * 3, [0, 1, 0, 1] * 3)


def test_models_of_this_package_have_its_alphabet():
    model = SequenceModel(SequenceConfig(alphabet="smiles"), xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2))
    assert alphabet_of(model.sequence) is model.alphabet
