"""What the molecule benchmarks rest on: batches that lose nothing, draws that end, scores put together from blocks."""

import itertools
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import molecule_data as data
import molecule_moses as moses
import molecule_properties as properties
import molecule_scores as scores
import sequence_networks as networks

from xlstm_apps.biosequence.baselines.network_config import NetworkConfig
from xlstm_apps.biosequence.baselines.networks import NetworkModel
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.core.config import xLSTMConfig


def strings(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = [np.append(rng.integers(6, 40, rng.integers(3, 30)), data.END) for _ in range(count)]
    return np.concatenate(rows).astype(np.uint8)


def test_every_molecule_is_in_one_batch_with_its_end_and_padding_does_not_count():
    ids = strings(500)
    batches = moses.Batches(ids, 32, seed=1)
    found, tokens, widths = [], [], []
    for n in range(len(batches)):
        batch = batches.__getitems__([n])
        assert batch["ids"].shape[1] % moses.WIDTH == 0
        lengths = batch["weights"].sum(1).int().tolist()
        found += [row[:n].tolist() for row, n in zip(batch["ids"], lengths, strict=True)]
        tokens.append(sum(lengths))
        widths.append((min(lengths), batch["ids"].shape[1]))
    assert sorted(found) == sorted(row.tolist() for row in data.rows(ids))
    # The loss is a mean over a batch: tokens count alike only if all batches have as many of them.
    assert len(batches) == round(500 / 32) and max(tokens) < 1.2 * min(tokens)
    assert all(shortest > width - moses.WIDTH for (_, width), (shortest, _) in itertools.pairwise(widths))


def test_validation_is_every_so_many_molecules():
    ids = strings(400)
    train, valid = map(data.rows, moses.parts(ids))
    every = data.rows(ids)
    assert len(valid) == 3 and len(train) == 397
    np.testing.assert_array_equal(valid[1], every[data.HELD_BACK])


@pytest.mark.parametrize("kind", ["xlstm", "lstm"])
def test_both_networks_are_drawn_from_in_one_way(kind):
    sequence = SequenceConfig(alphabet="smiles")
    if kind == "xlstm":
        model = SequenceModel(sequence, xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2))
    else:
        model = NetworkModel(sequence, NetworkConfig(family="lstm", embedding_dim=16, num_blocks=1, hidden_dim=16))
    made = moses.draw(model.eval(), 7, 4, seed=3)
    assert len(made) == 7 and all(0 < len(row) <= moses.LONGEST for row in made)
    symbols = {*model.alphabet.definite, data.END}
    assert all(set(row.tolist()) <= symbols and data.END not in row[:-1] for row in made)
    assert any(row[-1] == data.END for row in made) and len({row.tobytes() for row in made}) > 1


def test_a_network_that_is_sure_says_so_in_every_draw():
    model = SequenceModel(SequenceConfig(alphabet="smiles"), xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2))
    carbon = model.alphabet.symbols["C"]

    def step(ids, state):
        read = 0 if state is None else state
        logits = torch.full((len(ids), len(model.alphabet)), -50.0)
        logits[:, data.END if read == 5 else carbon] = 50.0
        return logits, read + 1

    model.step = step  # type: ignore[method-assign,assignment]
    assert [row.tolist() for row in moses.draw(model, 3, 2, 0)] == [[carbon] * 5 + [data.END]] * 3


def test_lstm_of_molecules_is_as_large_as_the_xlstm():
    counts = [networks.build(name, "65k", alphabet="smiles")[1] for name in moses.NETWORKS]
    assert abs(counts[1] / counts[0] - 1) < 0.02


def test_scores_of_blocks_put_together_are_those_of_all(tmp_path):
    pytest.importorskip("rdkit", reason="needs RDKit")

    class ChemNet:
        def get_predictions(self, smiles):
            return np.stack([np.random.default_rng(len(text)).normal(size=512) for text in smiles])

    smiles = ["CCO", "c1ccccc1C2CCCC2", "CC(=O)NCC", "c1ccc2ccccc2c1", "CCOC(=O)C1CC1"]
    paths = [tmp_path / f"{n}.npz" for n in range(2)]
    scores.Known.of(smiles[:2], ChemNet()).save(paths[0])
    scores.Known.of(smiles[2:], ChemNet()).save(paths[1])
    found, whole = scores.Known.load(paths), scores.Known.of(smiles, ChemNet())
    np.testing.assert_array_equal(found.fingerprints, whole.fingerprints)
    assert (found.fragments, found.scaffolds) == (whole.fragments, whole.scaffolds)
    x = ChemNet().get_predictions(smiles)
    np.testing.assert_allclose(found.activations["mu"], x.mean(0))
    np.testing.assert_allclose(found.activations["sigma"], np.cov(x.T), atol=1e-12)


def test_published_rows_have_a_number_for_every_field():
    for row in scores.published():
        assert row["source"] == "published" and {*row, "seconds"} == set(scores.FIELDS)


def test_molecules_with_properties_come_once_with_their_scaffolds_apart(tmp_path):
    pytest.importorskip("rdkit", reason="needs RDKit")
    rows = [
        "C1CCCCC1O",
        "OC1CCCCC1",
        "c1ccccc1O",
        "c1ccccc1N",
        "CCO",
        "CCN",
        "no molecule",
        *["C" * n for n in range(3, 30)],
    ]
    lines = [f"{n},{n / 10},{text}" for n, text in enumerate(rows)]
    (tmp_path / "lipo.csv").write_text("\n".join(["id,exp,smiles", *lines]))
    smiles, facts, told = data.labelled(tmp_path, "lipo")
    assert len(smiles) == len(rows) - 2 and "1 unreadable, 1 repeated with another label" in told
    assert facts["target"][0] == 0 and facts["fingerprint"].shape == (len(smiles), 256)
    at = [n for n, text in enumerate(smiles) if "c1ccccc1" in text]
    assert len(at) == 2 and (facts["part"][:, at[0]] == facts["part"][:, at[1]]).all()
    assert all(set(row.tolist()) == {0, 1, 2} for row in facts["part"])


def test_batches_of_molecules_with_properties_are_padded_and_say_their_lengths():
    ids = [np.arange(6, 6 + n, dtype=np.uint8) for n in (4, 2, 7)]
    batch = properties.Labelled(ids, np.array([0.5, 1.5, 2.5], np.float32), False).__getitems__([1, 2])
    assert batch["ids"].shape == (2, 7) and batch["lengths"].tolist() == [2, 7]
    assert batch["ids"][0, 2:].eq(0).all() and batch["label"].tolist() == [[1.5], [2.5]]
    classes = properties.Labelled(ids, np.array([0, 1, 1], np.float32), True).__getitems__([0, 1])["label"]
    assert classes.tolist() == [0, 1] and classes.dtype == torch.long


def test_a_forest_finds_the_bit_that_matters_and_the_mean_does_not():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (120, 20)).astype(np.uint8)
    target = bits[:, 3].astype(np.float32)
    parts = [(bits[:80], target[:80]), (bits[80:100], target[80:100]), (bits[100:], target[100:])]
    for is_class, name, good in ((True, "auc", 1.0), (False, "rmse", 0.0)):
        own, found = properties.forest(parts, is_class, 0, 1, trees=20)
        _, mean = properties.constant(parts, is_class, 0, 1)
        assert abs(properties.tested(parts[2][1], found, is_class)[name] - good) < 0.35 and own["val_loss"] < 0.5
        assert abs(properties.tested(parts[2][1], mean, is_class)[name] - good) > 0.4


def test_a_fine_tuned_model_begins_as_the_trained_one(tmp_path):
    layers = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)
    model = SequenceModel(SequenceConfig(alphabet="smiles"), layers)
    model.save_pretrained(tmp_path / "model")
    options = Namespace(pretrained=tmp_path / "model")
    made = properties.predictor(options, "pretrained", True)
    assert torch.equal(made.model.embedding.weight, model.embedding.weight) and made.head_config.num_outputs == 2
    assert properties.told_layers(tmp_path / "model") == "16x1"
    with pytest.raises(SystemExit, match="--pretrained is the folder of a model"):
        properties.told_layers(tmp_path)
