"""Molecules in random spellings: the same molecule, drawn by generator alone, in training only, resumed exactly."""

import numpy as np
import polars as pl
import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule, get_tokenizer
from xlstm_apps.biosequence.alphabets import SMILES, SMILES_SETS
from xlstm_apps.biosequence.config import HeadConfig
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.molecules.respelling import Respelled, Respelling, random_smiles
from xlstm_apps.datasets.sequences import Corpus, Record, SequenceData, SequenceDataset, Spans
from xlstm_apps.datasets.sequences.families import Families, FamilyWindows
from xlstm_apps.recipes import sequence
from xlstm_apps.training import BatchLoader, FitConfig

chem = pytest.importorskip("rdkit.Chem", reason="needs RDKit")
TOKENIZER = get_tokenizer("smiles")
TINY = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
FIT = FitConfig(max_epochs=2, steps_per_epoch=2, batch_size=4, checkpoint_seconds=0)
MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)[O-].[Na+]",
    "F/C=C\\F",
    "[13CH3]C(Br)=O",
    "C1CC2(C1)CC2",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
]


def canonical(smiles):
    return chem.MolToSmiles(chem.MolFromSmiles(smiles))


@pytest.fixture
def corpus(tmp_path):
    records = [Record(id=str(n), sequence=text.encode(), group="g") for n, text in enumerate(MOLECULES)]
    return Corpus.build(records, tmp_path / "corpus", SMILES, encode=TOKENIZER.encode_bytes)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_another_spelling_is_the_same_molecule(smiles):
    rng = np.random.default_rng(0)
    found = [random_smiles(smiles, rng) for _ in range(20)]
    assert {canonical(text) for text in found} == {canonical(smiles)} and len(set(found)) > 1
    again = np.random.default_rng(0)
    assert found == [random_smiles(smiles, again) for _ in range(20)]


def test_what_is_no_molecule_stays():
    rng = np.random.default_rng(0)
    assert random_smiles("C1CC", rng) == "C1CC" and random_smiles("", rng) == ""


def spelled(batch, end=SMILES.eos):
    rows = [ids[:n].tolist() for ids, n in zip(batch["ids"], batch["lengths"].tolist(), strict=True)]
    assert all(row.count(end) == 1 and row[-1] == end for row in rows)
    return [TOKENIZER.decode(row[:-1]) for row in rows]


def test_batches_are_spelled_anew_and_follow_from_the_batch_number(corpus):
    base = SequenceDataset(corpus, Spans.whole(corpus), end=SMILES.eos)
    data = Respelled(base, corpus, Respelling(SMILES.tokens, TOKENIZER.encode_bytes, 1.0), 40)
    batch = data.draw(range(6), np.random.default_rng(0))
    texts = spelled(batch)
    assert texts != MOLECULES and [canonical(text) for text in texts] == [canonical(text) for text in MOLECULES]
    places = torch.arange(batch["ids"].shape[1]) < batch["lengths"][:, None]
    assert torch.equal(batch["weights"], places.float()) and bool((batch["ids"][~places] == SMILES.pad).all())
    loader = BatchLoader(data, 6, seed=3, shuffle=True)
    first, second = spelled(next(iter(loader))), spelled(next(iter(loader)))
    assert sorted(map(canonical, first)) == sorted(map(canonical, second)) and set(first) != set(second)
    again = BatchLoader(data, 6, seed=3, shuffle=True)
    again.load_state_dict({"position": 1})
    assert spelled(next(iter(again))) == second
    none = Respelled(base, corpus, Respelling(SMILES.tokens, TOKENIZER.encode_bytes, 0.0), 40)
    assert spelled(none.draw(range(6), np.random.default_rng(0))) == MOLECULES
    tight = Respelled(base, corpus, Respelling(SMILES.tokens, TOKENIZER.encode_bytes, 1.0), 1)
    for seed in range(10):  # a spelling that is longer than the row is not taken
        lengths = tight.draw(range(6), np.random.default_rng(seed))["lengths"].numpy()
        assert (lengths <= corpus.lengths + 1).all()


def test_windows_of_sets_never_overflow(corpus):
    respelling = Respelling(SMILES.tokens, TOKENIZER.encode_bytes, 1.0)
    whole = int(corpus.lengths.sum()) + len(corpus)
    families, end = Families.of(corpus, Spans.whole(corpus)), SMILES_SETS.end
    for length in (whole, whole + 3):
        data, seen = FamilyWindows(corpus, families, length, end, alone=0.0, respell=respelling), set()
        for seed in range(10):
            batch = data.draw([0], np.random.default_rng(seed))
            assert int(batch["lengths"][0]) <= length
            row = "".join("|" if i == end else SMILES.tokens[i] for i in batch["ids"][0].tolist()).split("|")[:-1]
            assert {canonical(text) for text in row} == {canonical(text) for text in MOLECULES}
            seen.update(row)
        assert len(seen) > 2 * len(MOLECULES)


def molecules(path):
    rng = np.random.default_rng(0)
    texts = dict.fromkeys("C" * int(a) + "Oc1ccc(N)cc1" + "C" * int(b) for a, b in rng.integers(0, 9, (80, 2)))
    pl.DataFrame({"smiles": [*texts], "label": [len(text) % 2 for text in texts]}).write_csv(path)
    return SequenceData(path=[str(path)], sequence_column="smiles", randomise=0.8)


def test_a_killed_run_is_resumed_to_the_same_spellings(tmp_path, power_cut, capsys):
    data, config = molecules(tmp_path / "m.csv"), SequenceConfig(alphabet="smiles")
    sequence.train(data, config, TINY, FIT, run_dir=str(tmp_path / "whole"))
    assert "80% of the training molecules are spelled anew each time" in capsys.readouterr().err
    with power_cut(SequenceModule, step=4):
        sequence.train(data, config, TINY, FIT, run_dir=str(tmp_path / "broken"))
    sequence.train(data, config, TINY, FIT, run_dir=str(tmp_path / "broken"), resume=True)
    whole, again = (
        SequenceModel.from_pretrained(tmp_path / name / "model").state_dict() for name in ("whole", "broken")
    )
    assert all((whole[name] == again[name]).all() for name in whole)


def test_properties_are_learned_from_random_spellings(tmp_path, capsys):
    data = molecules(tmp_path / "m.csv")
    config = SequenceConfig(alphabet="smiles", objective="masked")
    head = HeadConfig(linear=False)
    sequence.finetune(data, head, config, TINY, FIT, baselines=False, run_dir=str(tmp_path / "run"))
    assert "80% of the training molecules are spelled anew each time" in capsys.readouterr().err


def test_mistakes_leave_no_folder(tmp_path, monkeypatch):
    (tmp_path / "a.fa").write_text(">a\nACGTACGT\n>b\nACGTACGA\n>c\nACGTACGG\n")
    data = SequenceData(path=[str(tmp_path / "a.fa")], randomise=0.5)
    with pytest.raises(ValueError, match=r"data\.randomise is for molecules, and the alphabet is dna"):
        sequence.train(data, SequenceConfig(), TINY, FIT, run_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"data\.randomise lies between 0 and 1"):
        SequenceData(path=["x"], randomise=2.0)
    (tmp_path / "m.smi").write_text("\n".join("C" * n for n in range(1, 30)) + "\n")
    monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
    data = SequenceData(path=[str(tmp_path / "m.smi")], randomise=0.5, standardise=False)
    with pytest.raises(ValueError, match="pip install 'xlstm-apps"):
        sequence.train(data, SequenceConfig(alphabet="smiles"), TINY, FIT, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
