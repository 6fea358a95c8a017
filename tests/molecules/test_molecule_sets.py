"""Sets of molecules in one line: how they are read, that a model learns from those shown first, what it is asked."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule, get_alphabet, get_tokenizer
from xlstm_apps.biosequence.alphabets import SMILES, SMILES_SETS
from xlstm_apps.biosequence.smiles_validity import ValidSmiles
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.sequences import Corpus, Record, SequenceData, Spans, load_corpus
from xlstm_apps.datasets.sequences.families import Families, FamilyWindows
from xlstm_apps.estimators.molecule_context import read_set
from xlstm_apps.estimators.molecule_sets import begin_with, set_ladder, set_rows, unknown
from xlstm_apps.recipes import sequence
from xlstm_apps.training import FitConfig

pytest.importorskip("rdkit", reason="needs RDKit")
TOKENIZER = get_tokenizer("smiles")
ENCODE = TOKENIZER.encode_bytes
TINY = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
FIT = FitConfig(max_epochs=2, steps_per_epoch=2, batch_size=4, checkpoint_seconds=0)


def sets_model(seed=0, **options):
    torch.manual_seed(seed)
    return SequenceModel(SequenceConfig(alphabet="smiles", sets=True, **options), TINY).eval()


def corpus_of(path, sets):
    records = [
        Record(id=f"{name}-{n}", sequence=text.encode(), group=name)
        for name, molecules in sets.items()
        for n, text in enumerate(molecules)
    ]
    return Corpus.build(records, path, SMILES, encode=ENCODE)


def test_the_token_between_molecules_is_no_dot():
    assert SMILES_SETS.bos == SMILES_SETS.end == SMILES.separator != TOKENIZER.encode(".")[0]
    assert SMILES_SETS.sha == SMILES.sha  # a corpus of one serves the other
    assert get_alphabet("smiles") is SMILES and get_alphabet("smiles", sets=True) is SMILES_SETS
    for wrong in ({"alphabet": "protein"}, {"alphabet": "smiles", "end_token": False}):
        with pytest.raises(ValueError, match="sets is for causal models of molecules"):
            SequenceConfig(sets=True, **wrong)


def test_lines_files_and_columns_are_sets(tmp_path):
    (tmp_path / "lines.smi").write_text("CCO.CCN.OCC named\nCCO.c1ccccc1\n")
    data = SequenceData(path=[str(tmp_path / "lines.smi")], families="line")
    corpus = load_corpus(data, SMILES, tmp_path / "c1", encode=ENCODE)
    assert list(zip(corpus.ids, corpus.groups, strict=True)) == [
        ("named:1", "named"),
        ("named:2", "named"),
        ("lines:line_2:1", "lines:line_2"),  # ethanol again, but of another set
        ("lines:line_2:2", "lines:line_2"),
    ]
    (tmp_path / "a.smi").write_text("CCO\nCC(=O)[O-].[Na+] salt\n")
    (tmp_path / "b.csv").write_text("smiles,id\nCCO,salt\nCCC,x\n")
    data = SequenceData(path=[str(tmp_path / "a.smi"), str(tmp_path / "b.csv")], families="file")
    corpus = load_corpus(data, SMILES, tmp_path / "c2", encode=ENCODE)
    assert corpus.ids == ["a:line_1", "salt", "salt_2", "x"] and corpus.groups == ["a", "a", "b", "b"]
    assert [TOKENIZER.decode(corpus[n]) for n in range(4)] == ["CCO", "CC(=O)[O-].[Na+]", "CCO", "CCC"]
    for path, options, message in (
        ("b.csv", {"families": "line"}, "line is for lists of SMILES, and this is table"),
        ("b.csv", {"families": "file", "group_column": "id"}, "file takes a file for a family"),
    ):
        with pytest.raises(ValueError, match=message):
            data = SequenceData(path=[str(tmp_path / path)], **options)
            load_corpus(data, SMILES, tmp_path / "c3", encode=ENCODE)


def test_what_was_prepared_without_sets_lacks_molecules_of_several(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("smiles,assay\nCCO,a\nCCN,a\nOCC,b\nOCC,b\nCCC,b\n")
    data = SequenceData(path=[str(table)], group_column="assay")
    alone = load_corpus(data, SMILES, tmp_path / "alone", encode=ENCODE)
    assert alone.report["left_out"] == {"repeated in another group": 2} and len(alone) == 3
    with pytest.raises(ValueError, match=r"2 molecules of .*alone are of several groups .*`prepare`"):
        load_corpus(SequenceData(path=[str(alone.path)], families="group"), SMILES, tmp_path / "x", encode=ENCODE)
    whole = load_corpus(replace(data, families="group"), SMILES, tmp_path / "whole", encode=ENCODE)
    assert whole.report["left_out"] == {"repeated": 1}
    again = load_corpus(SequenceData(path=[str(whole.path)], families="group"), SMILES, tmp_path / "x", encode=ENCODE)
    assert list(again.groups) == ["a", "a", "b", "b"]
    alone = SequenceData(path=[str(whole.path)])  # CCO is in both sets: it could fall into training and test
    with pytest.raises(ValueError, match=r"was prepared with families, and holds molecules of several \(1\)"):
        load_corpus(alone, SMILES, tmp_path / "x", encode=ENCODE)
    assert len(load_corpus(alone, SMILES, tmp_path / "x", encode=ENCODE, repeats=True)) == 4  # to score each


def test_molecules_shown_first_are_read_as_in_training(tmp_path):
    model, given = sets_model(), ["CC(=O)[O-].[Na+]", "CCO", "c1ccccc1"]
    context = read_set(model, given, draws=3, seed=1)
    assert [sorted(fact["molecules"]) for fact in context.about["contexts"]] == [sorted(given)] * 3
    order = context.about["contexts"][1]["molecules"]
    line = [token for text in order for token in (*TOKENIZER.encode(text), SMILES.separator)]
    whole = model.score(torch.tensor([line + TOKENIZER.encode("CCN")]), torch.ones(1, len(line) + 3))
    behind = model.score("CCN", context=context.begin(model, 1))
    assert torch.allclose(whole[0, -3:], behind, atol=1e-5)
    few = read_set(model, given, draws=2, max_symbols=9).about["contexts"]
    assert all(fact["symbols"] + len(fact["molecules"]) <= 9 and fact["molecules"] for fact in few)
    with pytest.raises(ValueError, match="none of the 3 molecules fits into 3 tokens; the shortest has 4"):
        read_set(model, given, max_symbols=3)
    with pytest.raises(ValueError, match="learned from single molecules"):
        read_set(SequenceModel(SequenceConfig(alphabet="smiles"), TINY), given)


def test_what_is_made_up_ends_with_the_token_between():
    model = sets_model()
    rows = model.generate(num_sequences=20, max_new_tokens=400, generator=torch.Generator().manual_seed(0))
    ended = [row for row in rows if row[-1] == SMILES.separator]
    assert ended and not any((row[:-1] < 6).any() for row in rows)
    made = model.generate(["", "c1ccc"], 12, constraint=ValidSmiles(), temperature=1.0)
    assert all(ValidSmiles().is_molecule(text) for text in made)


def test_a_model_of_single_molecules_goes_on_with_sets():
    start = SequenceModel(SequenceConfig(alphabet="smiles"), TINY).eval()
    model = sets_model(1)
    begin_with(model, start)
    alone, among = start(torch.tensor([[SMILES.bos, 8, 9]])), model(torch.tensor([[SMILES.separator, 8, 9]]))
    assert torch.allclose(alone[..., 6:], among[..., 6:], atol=1e-6)
    assert torch.allclose(alone[..., SMILES.eos], among[..., SMILES.separator], atol=1e-6)


def test_molecules_of_the_same_set_are_worth_more_than_others(tmp_path):
    rng, letters = np.random.default_rng(0), ["C", "N", "O", "S", "F", "P", "B", "I"]
    sets = {}
    for number in range(420):  # of two elements each
        two = rng.choice(letters, 2, replace=False)
        sets[f"s{number}"] = ["".join(rng.choice(two, 9)) for _ in range(5)]
    corpus = corpus_of(tmp_path / "corpus", sets)
    spans = Spans.whole(corpus)
    train, test = spans[:2000], unknown(corpus, spans[:2000], spans[2000:])
    assert 50 < len(test) < 100
    data = FamilyWindows(corpus, Families.of(corpus, train), 50, SMILES_SETS.end, alone=0.1)
    torch.manual_seed(0)
    backbone = xLSTMConfig(embedding_dim=32, num_blocks=1, num_heads=4)
    model = SequenceModel(SequenceConfig(alphabet="smiles", sets=True), backbone)
    module, rng = SequenceModule(model), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    for _ in range(100):
        loss = module.training_step(data.draw(rng.integers(len(data), size=8), rng), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = set_ladder(corpus, train, test, 50, 10_000)
    assert found is not None and found.own.counts == [0, 1, 2, 4] and {len(row) for row in found.other} == {4}
    groups = np.array(corpus.groups)[found.own.pool.record]
    own = np.array(corpus.groups)[found.own.targets.record]
    assert all(
        set(groups[real]) == {name} and name not in groups[other]
        for real, other, name in zip(found.own.shown, found.other, own, strict=True)
    )
    rows = set_rows(model, corpus, found, torch.device("cpu"), 10_000)
    bits = {(row["molecules"], row["control"]): row["bits"] for row in rows}
    assert bits[0, "real"] == bits[0, "other"] > bits[1, "real"] + 0.5
    assert bits[4, "real"] < bits[1, "real"] and bits[4, "other"] > bits[4, "real"] + 0.7


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on twelve sets of nine, one molecule shared by all."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    lines = [".".join(["CCO", *("C" * n + "OC" + str(rng.choice(["N", "O", "S"])) * (s + 1) for n in range(1, 9))])
             for s in range(12)]  # fmt: skip
    (folder / "sets.smi").write_text("\n".join(lines) + "\n")
    data = SequenceData(path=[str(folder / "sets.smi")], families="line", context_length=96)
    sequence.train(data, SequenceConfig(alphabet="smiles"), TINY, FIT, run_dir=str(folder / "run"))
    return folder


def test_a_run_on_sets_leaves_what_they_are_worth(trained):
    rows = list(csv.DictReader((trained / "run" / "evaluation" / "sets.csv").read_text().splitlines()))
    assert [(row["molecules"], row["control"]) for row in rows][:4] == [
        ("0", "real"),
        ("0", "other"),
        ("1", "real"),
        ("1", "other"),
    ]
    assert rows[0]["bits"] == rows[1]["bits"] and rows[2]["bits"] != rows[3]["bits"]
    model = SequenceModel.from_pretrained(trained / "run" / "model")
    assert model.sequence.sets and model.alphabet.end == SMILES.separator
    assert "1 molecules left out that are in training" in (trained / "run" / "data_summary.json").read_text()


def test_a_file_of_molecules_is_a_prompt(trained, tmp_path, capsys):
    run, given = str(trained / "run"), tmp_path / "given.smi"
    given.write_text("CCO one\nOCC one\nCCN two\n")
    options = {"num_sequences": 4, "max_length": 9, "valid": True, "output": str(tmp_path / "made.tsv")}
    sequence.generate(run, context=str(given), **options)
    assert "1 come again" in capsys.readouterr().err
    first = (tmp_path / "made.tsv").read_text()
    sequence.generate(run, **options)
    assert (tmp_path / "made.tsv").read_text() != first
    from xlstm_apps.recipes.sequence_family import context

    saved = str(tmp_path / "given.state.safetensors")
    context(run, str(given), saved, draws=8)
    sequence.generate(run, context=saved, **options)
    assert (tmp_path / "made.tsv").read_text() == first
    given.write_text("CCO\nC1CC\n")
    with pytest.raises(ValueError, match=r"given\.smi line 2: .*unclosed ring; take it out, or .* --on_bad skip"):
        sequence.generate(run, context=str(given), **options)
    context(run, str(given), saved, on_bad="skip")
    assert "1 left out (syntax)" in capsys.readouterr().err
    for name, value in (("query", "MKT"), ("aligned", True), ("max_identity", 0.5), ("with_query", True)):
        with pytest.raises(ValueError, match=f"{name} is for proteins"):
            context(run, str(given), saved, **{name: value})


def test_like_shows_the_molecules_to_a_model_of_sets(trained, tmp_path, capsys):
    from xlstm_apps.datasets.molecules.config import MoleculeSource
    from xlstm_apps.recipes.molecules import like

    given = tmp_path / "given.smi"
    given.write_text("CCOCN\nCCOCO\n")
    run, data = str(trained / "run"), MoleculeSource(path=[str(given)])
    like(run, data, str(tmp_path / "new.csv"), draws=4, max_length=9)
    assert "shown to the model, 2 of 2 at a time, in 8 orders" in capsys.readouterr().err
    with pytest.raises(ValueError, match="passes is for method train"):
        like(run, data, passes=3)
    like(run, data, str(tmp_path / "new.csv"), draws=4, max_length=9, method="train", passes=1)
    assert "shown" not in capsys.readouterr().err


def test_mistakes_of_sets_leave_no_folder(trained, tmp_path):
    (tmp_path / "m.smi").write_text("CCO\nCCN\nCCC\nCCCC\n")
    data = SequenceData(path=[str(tmp_path / "m.smi")])
    for config, options, message in (
        (SequenceConfig(alphabet="smiles", sets=True), {}, "say with data.families which belong together"),
        (SequenceConfig(alphabet="smiles"), {"from_model": str(trained / "run")}, "data.families"),
    ):
        with pytest.raises(ValueError, match=message):
            sequence.train(data, config, TINY, FIT, run_dir=str(tmp_path / "run"), **options)
    assert not (tmp_path / "run").exists()


def test_sets_are_learned_after_single_molecules(trained, tmp_path):
    (tmp_path / "m.smi").write_text("\n".join("C" * n + "O" for n in range(1, 20)) + "\n")
    data = SequenceData(path=[str(tmp_path / "m.smi")])
    sequence.train(data, SequenceConfig(alphabet="smiles"), TINY, FIT, run_dir=str(tmp_path / "one"))
    data = SequenceData(path=[str(trained / "sets.smi")], families="line", context_length=96)
    sequence.train(data, fit=FIT, from_model=str(tmp_path / "one"), run_dir=str(tmp_path / "two"))
    assert SequenceModel.from_pretrained(tmp_path / "two" / "model").sequence.sets
