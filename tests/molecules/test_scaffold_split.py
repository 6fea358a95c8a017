"""Molecules of one scaffold are never in two parts."""

import gzip

import pytest

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder
from xlstm_apps.datasets.files import resolve
from xlstm_apps.datasets.molecules.splitting import scaffolds_of
from xlstm_apps.datasets.sequences import load_corpus, split_corpus
from xlstm_apps.datasets.sequences.config import SequenceData

pytest.importorskip("rdkit", reason="needs RDKit")
ALPHABET = get_alphabet("smiles")


def corpus_of(folder, path, **options):
    data = SequenceData(path=[str(path)], split="scaffold", **options)
    return data, load_corpus(data, ALPHABET, folder / "corpus", encode=file_encoder(ALPHABET))


@pytest.fixture
def some(tmp_path):
    path = tmp_path / "some.smi"
    with gzip.open(resolve("sample:wehi-molecules"), "rt") as file:
        path.write_text("".join(line for line, _ in zip(file, range(200), strict=False)) + "CCCO chain\nCCN chain2\n")
    return path


def test_scaffolds_stay_together(some, tmp_path):
    data, corpus = corpus_of(tmp_path, some, val_fraction=0.2, test_fraction=0.2)
    split = split_corpus(data, corpus, whole=True)
    assert split.rule.startswith("scaffold; ")
    groups = scaffolds_of(corpus)
    parts = [{groups.get(corpus.ids[i]) for i in part.record} - {None} for part in (split.train, split.val, split.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert "chain" not in groups and sum(map(len, (split.train, split.val, split.test))) == len(corpus) == 202
    assert len(split.test) == pytest.approx(40, abs=2)


def test_another_seed_is_another_split(some, tmp_path):
    data, corpus = corpus_of(tmp_path, some)
    other = SequenceData(path=data.path, split="scaffold", split_seed=1)
    assert set(split_corpus(data, corpus).test.record) != set(split_corpus(other, corpus).test.record)


def test_what_has_no_scaffold_says_so(tmp_path):
    chains = tmp_path / "chains.smi"
    chains.write_text("CCO\nCCN\nCCC\nCCCO\n")
    data, corpus = corpus_of(tmp_path, chains)
    with pytest.raises(ValueError, match="needs molecules with rings"):
        split_corpus(data, corpus)


def test_only_molecules_have_scaffolds(tmp_path):
    path = tmp_path / "dna.fa"
    path.write_text(">a\nACGTACGT\n>b\nACGTTTGT\n>c\nAAGT\n")
    data = SequenceData(path=[str(path)], split="scaffold")
    corpus = load_corpus(data, get_alphabet("dna"), tmp_path / "corpus")
    with pytest.raises(ValueError, match="scaffold is for molecules, not for dna"):
        split_corpus(data, corpus)
