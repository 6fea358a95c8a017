"""What the benchmark of sets rests on: lines of one set, perplexity of what is asked, copies that do not count."""

import gzip
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import molecule_data as data
import molecule_sets as benchmark
from grid import read

from xlstm_apps.biosequence import get_tokenizer
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.core.config import xLSTMConfig

ACIDS = ["CC(=O)O", "CCC(=O)O", "CCCC(=O)O", "CCCCC(=O)O", "CCCCCC(=O)O"]
RINGS = ["Cc1ccccc1", "CCc1ccccc1", "CCCc1ccccc1", "CCCCc1ccccc1", "CCCCCc1ccccc1"]
ETHERS, SULPHIDES = ["COC", "CCOC", "CCOCC"], ["CSC", "CCSC"]
AMINES = ["CN", "CCN", "CCCN", "CCCCN"]


@pytest.fixture
def folder(tmp_path):
    encode = get_tokenizer("smiles").encode

    def ids(smiles):
        return np.concatenate([np.append(encode(text), data.END) for text in smiles]).astype(np.uint8)

    smiles = [*ACIDS, *RINGS, *AMINES]
    sizes = [len(ACIDS), len(RINGS), len(AMINES), len(AMINES)]
    facts = {
        "molecule": np.concatenate([np.arange(14), np.arange(10, 14)]).astype(np.int32),
        "set": np.repeat(np.arange(4, dtype=np.uint8), sizes),
        "part": np.array([2, 2, 0, 1], np.uint8),
        "group": np.arange(4, dtype=np.uint8),
    }
    np.savez(tmp_path / "sets.npz", ids=ids(smiles), **facts)
    series = {"series": np.array([-1, *[0] * len(ETHERS), *[1] * len(SULPHIDES)], np.int32)}
    np.savez(tmp_path / "chembl.npz", ids=ids(["CCCCCCC(=O)O", *ETHERS, *SULPHIDES]), **series)
    return tmp_path


def model():
    torch.manual_seed(0)
    layers = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
    return SequenceModel(SequenceConfig(alphabet="smiles", sets=True), layers).eval()


def made(sets, row):
    """Whole molecules of a line."""
    return "".join(sets.alphabet.tokens[i] for i in row.tolist() if i != sets.alphabet.pad).split("[SEP]")[:-1]


def test_a_line_of_validation_holds_molecules_of_one_set(folder):
    sets = benchmark.Sets(folder)
    assert sets.of(0) == [2] and sets.of(2) == [0, 1] and sets.text(0) == ACIDS[0]
    lines = benchmark.Lines(sets, 2, 24, 96, 20, seed=1, train=False)
    for n in (0, 1, 7):
        batch = lines.__getitems__([n])
        assert batch["ids"].shape == batch["weights"].shape
        assert batch["weights"].eq(0).equal(batch["ids"].eq(sets.alphabet.pad))
        for row in batch["ids"]:
            whole = made(sets, row)
            assert whole and (set(whole) <= set(ACIDS) or set(whole) <= set(RINGS))


def test_lines_of_training_hold_sets_and_series_and_some_batches_single_molecules(folder):
    sets = benchmark.Sets(folder)
    lines, seen = benchmark.Lines(sets, 0, 24, 96, 20, seed=1, train=True), set()
    for n in range(1, 10):
        for place, row in enumerate(lines.__getitems__([n])["ids"]):
            whole = set(made(sets, row))
            assert whole <= ({*ETHERS, *SULPHIDES} if place % 2 else {*AMINES}) and whole
            seen |= whole
    assert seen == {*ETHERS, *SULPHIDES, *AMINES}
    assert {len(made(sets, row)) for row in lines.__getitems__([0])["ids"]} == {1}


def test_series_share_a_scaffold_and_are_neither_few_nor_many(monkeypatch):
    pytest.importorskip("rdkit", reason="needs RDKit")
    monkeypatch.setattr(data, "SERIES", (2, 3))
    pyridines, phenols = ["c1ccncc1C", "c1ccncc1O"], ["Oc1ccccc1", "Cc1ccccc1", "Nc1ccccc1", "Sc1ccccc1"]
    smiles = [*pyridines, *phenols, "CCO", "CCN", "C1CC1", "C1CCCC1C", "C1CCCC1O", "not a molecule"]
    assert data.series_of(smiles).tolist() == [1, 1, *[-1] * 4, -1, -1, -1, 0, 0, -1]


def test_only_what_is_asked_about_counts(folder):
    sets, own = benchmark.Sets(folder), model()
    value = benchmark.nll_of(own, sets, [([1, 2], 3), ([], 7)], batch=2)
    alone = [benchmark.nll_of(own, sets, [line], batch=1) for line in (([1, 2], 3), ([], 7))]
    sizes = [len(sets.molecules[n]) for n in (3, 7)]
    assert value == pytest.approx(np.average(alone, weights=sizes), rel=1e-5)
    line = np.concatenate([[sets.alphabet.bos], *(sets.molecules[n] for n in (1, 2, 3))]).astype(np.int64)
    with torch.no_grad():
        logp = own(torch.from_numpy(line)[None, :-1]).log_softmax(-1)[0]
    places = range(len(line) - 1 - sizes[0], len(line) - 1)
    assert alone[0] == pytest.approx(-np.mean([float(logp[t, line[t + 1]]) for t in places]), rel=1e-5)


def test_perplexity_of_the_same_molecules_at_every_number_shown(folder, monkeypatch):
    monkeypatch.setattr(benchmark, "COUNTS", (0, 2))
    found = benchmark.perplexity(model(), benchmark.Sets(folder), Namespace(seed=0, targets=4, batch=4))
    assert [(row["control"], row["molecules"], row["targets"]) for row in found] == [
        ("real", 0, 4), ("other", 0, 4), ("real", 2, 4), ("other", 2, 4),
    ]  # fmt: skip
    assert found[0]["perplexity"] == found[1]["perplexity"] and math.isfinite(found[3]["perplexity"])


def test_draws_are_judged_by_what_is_new(folder):
    pytest.importorskip("rdkit", reason="needs RDKit")
    options = Namespace(data=folder, output=folder, draws=4)
    drawn = {
        "0": ["CCCCCCCC(=O)O", "CCCCCCCC(=O)O", ACIDS[0], "CCCCCCC(=O)O"],  # new, again, a copy, known from training
        "1": ["CCCCCCc1ccccc1", "C1CC", AMINES[1], RINGS[1]],
        benchmark.NOTHING: ["CCCCCCO", "CCCCCCS", "CCCCCCF", "CCCCCCCl"],
    }
    with gzip.open(folder / "sets.tokens.gz", "wt") as file:
        for name, texts in drawn.items():
            shown = "" if name == benchmark.NOTHING else str(5 * int(name))
            file.writelines(f"{name}\t{shown}\t{' '.join(text)}\n" for text in texts)
    benchmark.score(options)
    found = {row["control"]: row for row in read(folder / benchmark.NAME)}
    assert set(found) == {"own", "other", "none"} and all(row["sets"] == "2" for row in found.values())
    own = found["own"]
    assert float(own["to_rest"]) > float(found["other"]["to_rest"]) and found["other"]["sets_behind"] == "2"
    expected = {"valid": 7 / 8, "new": 1 / 2, "copies": 1 / 6, "known": 1 / 3}
    assert {name: float(own[name]) for name in expected} == pytest.approx(expected, abs=1e-4)
    benchmark.score(options)  # again, and the rows are the same
    assert {row["control"]: row for row in read(folder / benchmark.NAME)} == found


def test_draws_of_a_model_are_written_with_what_was_shown(folder):
    options = Namespace(output=folder, draws=3, orders=2, shown=2, seed=0)
    sets = benchmark.Sets(folder)
    benchmark.generate(model(), sets, options)
    with gzip.open(folder / "sets.tokens.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert [row[0] for row in rows] == [benchmark.NOTHING] * 3 + ["0"] * 6 + ["1"] * 6
    for row in rows[3:9]:
        shown = {int(n) for n in row[1].split(",")}
        assert len(shown) == 2 and shown <= set(range(5))
