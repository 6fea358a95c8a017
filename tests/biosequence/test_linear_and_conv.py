"""Baselines of predictions: linear models of k-mers and places, and the convolutional network."""

import numpy as np
import pytest
import torch
from sequence_models import bases

from xlstm_apps.biosequence.alphabets import DNA, PROTEIN
from xlstm_apps.biosequence.baselines.conv import ConvConfig, ConvPredictor, trained_weights
from xlstm_apps.biosequence.baselines.kmers import LinearChoice, LinearModel
from xlstm_apps.biosequence.config import HeadConfig, SequenceConfig
from xlstm_apps.biosequence.tokenizer import get_tokenizer


def ids(*texts):
    tokenizer = get_tokenizer("dna")
    return [np.array(tokenizer.encode(text), np.uint8) for text in texts]


def random_bases(count, seed, length=24):
    generator = np.random.default_rng(seed)
    return [generator.integers(7, 11, length).astype(np.uint8) for _ in range(count)]


def test_counts_of_k_mers():
    model = LinearModel(DNA, "classification")
    model.choice = LinearChoice(2, 1.0)
    (table,) = model._counts(ids("ACNACC")).toarray()
    expected = dict.fromkeys(range(4 + 16), 0)
    expected |= {0: 2, 1: 3, 4 + 0 * 4 + 1: 2, 4 + 1 * 4 + 1: 1}  # A, C; AC, CC; nothing reaches over the N
    assert table.tolist() == list(expected.values())
    both = LinearModel(DNA, "classification", both_strands=True)
    both.choice = LinearChoice(3, 1.0)
    one, other = both._table(ids("ACGGT", "ACCGT")).toarray()
    np.testing.assert_allclose(one, other)
    assert model._longest() == 5 or model._longest() == 6
    assert LinearModel(PROTEIN, "classification")._longest() == 2


def test_a_motif_is_found_by_k_mers_and_a_place_by_places():
    train, held = random_bases(300, 0), random_bases(100, 1)
    motif, place = ids("TATAAT")[0], 5
    for part in (train, held):
        for n, row in enumerate(part):
            if n % 2:
                row[n % 17 : n % 17 + 6] = motif
    y = np.arange(300) % 2
    model = LinearModel(DNA, "classification").fit(train, y, held, y[:100])
    assert (model.predict(held).argmax(1) == y[:100]).mean() > 0.9
    at = (
        np.array([row[place] == 7 for row in train]).astype(int),
        np.array([row[place] == 7 for row in held]).astype(int),
    )
    places = LinearModel(DNA, "classification", features="places").fit(train, at[0], held, at[1])
    assert (places.predict(held).argmax(1) == at[1]).mean() > 0.95 and places.name == "place-logistic"


def test_numbers_labels_and_what_is_missing():
    train, held = random_bases(200, 0), random_bases(50, 1)
    y = [np.array([[(row == 7).mean()] for row in part]) for part in (train, held)]
    y[0][3] = np.nan
    ridge = LinearModel(DNA, "regression").fit(train, y[0], held, y[1])
    assert np.corrcoef(ridge.predict(held)[:, 0], y[1][:, 0])[0, 1] > 0.9 and ridge.name.endswith("-mer-ridge")
    labels = [np.concatenate([part > 0.25, np.ones_like(part)], 1).astype(float) for part in y]
    labels[0][5, 0] = np.nan
    said = LinearModel(DNA, "multilabel").fit(train, labels[0], [], labels[1][:0]).predict(held)
    assert said.shape == (50, 2) and (said[:, 1] == 1).all()  # what never varies is said as it is
    classes = np.where(np.arange(200) % 50 == 0, -1, np.arange(200) % 3)
    assert LinearModel(DNA, "classification").fit(train, classes, [], classes[:0]).predict(held).shape == (50, 3)
    with pytest.raises(ValueError, match="both_strands"):
        LinearModel(PROTEIN, "classification", both_strands=True)


def network(**head):
    made = ConvPredictor(
        HeadConfig(pooling="max", **head), SequenceConfig(objective="masked"), ConvConfig(embedding_dim=8)
    )
    return made.eval()


def test_padding_and_packing_change_nothing_for_the_network():
    built, rows = network(), bases(3, 20)
    lengths = torch.tensor([20, 3, 11])
    alone = torch.cat([built(rows[n : n + 1, : lengths[n]]) for n in range(3)])
    torch.testing.assert_close(built(rows, lengths=lengths), alone)
    each = network(per_symbol=True)
    torch.testing.assert_close(each(rows, lengths=lengths)[1:2, :3], each(rows[1:2, :3]))


@pytest.mark.parametrize("wanted", [6_000, 60_000])
def test_the_network_is_as_large_as_asked(wanted):
    head, sequence = HeadConfig(num_outputs=2), SequenceConfig(objective="masked")
    made = ConvPredictor.matched(head, sequence, wanted, ConvConfig())
    assert abs(trained_weights(made) / wanted - 1) < 0.2
    assert not any(p.is_meta for p in made.parameters())
