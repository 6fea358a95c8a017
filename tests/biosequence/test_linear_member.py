"""The linear member of a predictor says what the fitted linear models say, on any packing; its weight is chosen."""

import numpy as np
import pytest
import torch
from sequence_models import bases, masked

from xlstm_apps.biosequence.alphabets import DNA
from xlstm_apps.biosequence.baselines.kmers import LinearModel
from xlstm_apps.biosequence.config import HeadConfig, LinearConfig
from xlstm_apps.biosequence.heads import SequencePredictor
from xlstm_apps.biosequence.linear import LinearMember, weights_of_members


def random_bases(count, seed, length=24):
    generator = np.random.default_rng(seed)
    rows = generator.integers(7, 11, (count, length)).astype(np.uint8)
    rows[0, 3] = DNA.wildcard
    return list(rows)


def member_of(model, length=0):
    """A member that holds the weights of one fitted model."""
    kmers = model.features == "kmers"
    config = LinearConfig(k=model.choice.k, places=0 if kmers else length, both_strands=model.both_strands)
    member = LinearMember(config, DNA, model.outputs).double()
    table, bias = model.weights()
    (member.kmers if kmers else member.places).copy_(torch.from_numpy(table))
    member.bias.copy_(torch.from_numpy(bias))
    return member


@pytest.mark.parametrize("features, both", [("kmers", False), ("kmers", True), ("places", False)])
@pytest.mark.parametrize("classes", [2, 3])
def test_it_says_what_the_fitted_model_says(features, both, classes):
    train, held = random_bases(60, 0), random_bases(20, 1)
    model = LinearModel(DNA, "classification", features=features, both_strands=both)
    model.fit(train, np.arange(60) % classes, [], np.zeros(0, int))
    ids = torch.from_numpy(np.stack(held)).long()
    said = member_of(model, 24)(torch.zeros(20, classes, dtype=torch.double), ids)
    np.testing.assert_allclose(said.softmax(1).numpy(), model.predict(held), atol=1e-9)
    np.testing.assert_allclose(said.numpy(), model.scores(held), atol=1e-9)


@pytest.mark.parametrize("config", [LinearConfig(k=3), LinearConfig(k=2, both_strands=True), LinearConfig(places=9)])
def test_packing_changes_nothing(config):
    member = LinearMember(config, DNA, 3)
    for weight in member.parameters():
        torch.nn.init.normal_(weight)
    rows, lengths = bases(3, 12), [12, 1, 7]
    outputs = torch.randn(3, 3)
    alone = torch.cat([member(outputs[n : n + 1], rows[n : n + 1, : lengths[n]]) for n in range(3)])
    packed = torch.cat([rows[n, : lengths[n]] for n in range(3)])[None]
    torch.testing.assert_close(member(outputs, packed, torch.tensor([0, 12, 13, 20])), alone)
    unknown = torch.full((2, 4), DNA.wildcard)
    torch.testing.assert_close(member(outputs[:2], unknown), outputs[:2] * member.share + member.bias)


@pytest.mark.parametrize("symmetry", ["shared", "posthoc"])
def test_both_strands_are_told_the_same_and_it_is_saved(symmetry, tmp_path):
    network = SequencePredictor.from_model(masked(symmetry=symmetry), HeadConfig(num_outputs=2)).eval()
    built = network.joined(LinearConfig(k=3, both_strands=True))
    ids = bases(4, 15)
    torch.testing.assert_close(built(ids), network(ids))  # nought until its weights are set
    torch.nn.init.normal_(built.linear.kmers)
    assert (built(ids) - network(ids)).abs().min() > 1e-3
    torch.testing.assert_close(built(built.model.complement[ids.flip(1)]), built(ids), rtol=1e-9, atol=1e-11)
    built.float().save_pretrained(tmp_path)
    again = SequencePredictor.from_pretrained(tmp_path)
    torch.testing.assert_close(again.predict(ids), built.predict(ids), rtol=0, atol=0)
    assert again.linear.config == built.linear.config
    with pytest.raises(ValueError, match="whole sequences"):
        SequencePredictor(HeadConfig(per_symbol=True), network.model.sequence, network.model.config, LinearConfig(k=2))


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_members_that_know_more_count_more(task):
    generator = np.random.default_rng(0)
    signal = generator.normal(size=(200, 2))
    noisy = signal[..., None] + generator.normal(size=(200, 2, 2)) * np.array([0.3, 3.0])
    truth = {
        "classification": (signal[:, 1] > signal[:, 0]).astype(np.int64),
        "multilabel": (signal > 0).astype(np.float32),
        "regression": signal.astype(np.float32),
    }[task]
    built = SequencePredictor.from_model(masked(), HeadConfig(task=task, num_outputs=2))
    members = [noisy[..., 0], noisy[..., 1], -signal]
    found = weights_of_members(built, members, truth)
    assert found[0] > 5 * found[1] and found[2] == 0
    np.testing.assert_array_equal(weights_of_members(built, [x[:0] for x in members], truth[:0]), np.full(3, 1 / 3))
    few = weights_of_members(built, [x[:2] for x in members], truth[:2])
    assert np.abs(few - 1 / 3).max() < np.abs(found - 1 / 3).max()


def test_members_that_examples_cannot_tell_apart_count_alike():
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 2, 60)
    built = SequencePredictor.from_model(masked(), HeadConfig(task="classification", num_outputs=2))

    def says(noise):
        return np.stack([-truth, truth], 1) * 0.5 + noise * draw.standard_normal((60, 2))

    alike = weights_of_members(built, [says(0.7), says(0.7)], truth)
    apart = weights_of_members(built, [says(0.7), says(4.0)], truth)
    assert np.abs(alike - alike.mean()).max() < 0.1
    assert apart[0] > 3 * apart[1]
