"""Predictions about sequences: symmetry, padding, losses with missing targets, metrics, training."""

import math

import numpy as np
import pytest
import torch
from sequence_models import STACKS, bases, causal, layers, masked
from sklearn.metrics import accuracy_score, matthews_corrcoef

from xlstm_apps.biosequence.config import HeadConfig, SequenceConfig
from xlstm_apps.biosequence.heads import SequencePredictor
from xlstm_apps.biosequence.metrics import Confusion, Correlation
from xlstm_apps.biosequence.module import PredictorModule
from xlstm_apps.training import BatchLoader, FitConfig, fit

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def predictor(model=None, **head):
    built = SequencePredictor.from_model(masked(symmetry="shared") if model is None else model, HeadConfig(**head))
    torch.nn.init.normal_(built.head.weight)
    return built.eval()


@pytest.mark.parametrize("symmetry", ["shared", "posthoc"])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
def test_both_strands_are_told_the_same(pooling, stack, symmetry):
    built = predictor(masked(stack, symmetry=symmetry), pooling=pooling)
    ids = bases(3, 9)
    twins = built.model.complement[ids.flip(1)]
    torch.testing.assert_close(built(twins), built(ids), **CLOSE)
    each = predictor(built.model, per_symbol=True)
    torch.testing.assert_close(each(twins).flip(1), each(ids), **CLOSE)


@pytest.mark.parametrize("model", [causal, lambda: masked(symmetry="shared")])
@pytest.mark.parametrize("pooling", ["mean", "last", "max", None])
def test_padding_is_neither_read_nor_pooled(model, pooling):
    built = predictor(model(), per_symbol=True) if pooling is None else predictor(model(), pooling=pooling)
    ids = bases(2, 9)
    ids[0, 5:] = 4
    outputs = built(ids, lengths=[5, 9])
    parts = [built(ids[:1, :5]), built(ids[1:])]
    if pooling is not None:
        torch.testing.assert_close(outputs, torch.cat(parts), **CLOSE)
    else:
        torch.testing.assert_close(outputs[:1, :5], parts[0], **CLOSE)
        torch.testing.assert_close(outputs[1:], parts[1], **CLOSE)
        assert not outputs[0, 5:].any()


@pytest.mark.parametrize("symmetry", ["none", "shared"])
def test_places_have_weights_of_their_own(symmetry, tmp_path):
    built = predictor(masked(symmetry=symmetry), pooling="places", length=9)
    ids = bases(3, 9)
    outputs = built(ids)
    torch.testing.assert_close(built(ids, lengths=[9, 9, 9]), outputs, **CLOSE)
    features = torch.cat(built.model.encode(ids), -1)
    narrow = torch.nn.functional.gelu(built.places.narrow(features))
    weight = built.head.weight.view(2, 9, -1)
    expected = torch.einsum("btw,otw->bo", narrow, weight) + built.head.bias
    torch.testing.assert_close(outputs, expected, **CLOSE)
    built.save_pretrained(tmp_path / "kept")
    again = SequencePredictor.from_pretrained(tmp_path / "kept").double()
    torch.testing.assert_close(again(ids), outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lengths", [None, [9, 8, 9]])
def test_places_are_those_of_one_length(lengths):
    built = predictor(pooling="places", length=10)
    with pytest.raises(ValueError, match="trained on sequences of length 10, not"):
        built(bases(3, 9), lengths=lengths)


def test_places_of_sequences_that_are_turned_over_mean_nothing():
    for symmetry in ("augment", "posthoc"):
        with pytest.raises(ValueError, match="take symmetry 'none' or 'shared'"):
            predictor(masked(symmetry=symmetry), pooling="places", length=9)
    with pytest.raises(ValueError, match="needs the length"):
        predictor(pooling="places")


def test_missing_targets_do_not_count():
    outputs = torch.randn(4, 3)
    classes = torch.tensor([0, 2, -1, 1])
    total, count = predictor(num_outputs=3).loss_sums(outputs, classes)
    known = torch.tensor([0, 1, 3])
    expected = torch.nn.functional.cross_entropy(outputs[known], classes[known], reduction="sum")
    torch.testing.assert_close(total, expected)
    assert count == 3
    numbers = torch.randn(4, 3)
    numbers[1, 2] = math.nan
    total, count = predictor(task="regression", num_outputs=3).loss_sums(outputs, numbers)
    assert count == 11
    torch.testing.assert_close(total, (outputs - numbers).square().nansum())
    labels = (numbers > 0).float().masked_fill(numbers.isnan(), math.nan)
    total, count = predictor(task="multilabel", num_outputs=3).loss_sums(outputs, labels)
    p = outputs.sigmoid()
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).nansum()
    torch.testing.assert_close(total, expected)


def test_weights_of_symbols():
    built = predictor(task="regression", num_outputs=1, per_symbol=True)
    outputs, targets, weights = torch.randn(2, 5, 1), torch.randn(2, 5, 1), torch.rand(2, 5)
    total, count = built.loss_sums(outputs, targets, weights)
    torch.testing.assert_close(total, ((outputs - targets).square()[..., 0] * weights).sum())
    torch.testing.assert_close(count, weights.sum())


class Marked(torch.utils.data.Dataset):
    """Sequences and the places of their G and C, which are the same on both strands."""

    def __init__(self, count: int, task: str, per_symbol: bool):
        generator = torch.Generator().manual_seed(count)
        self.ids = torch.randint(7, 11, (count, 12), generator=generator)
        at = (self.ids == 8) | (self.ids == 9)
        if per_symbol:
            self.targets = at.long() if task == "classification" else at.float()[..., None]
        else:
            truth = at.float().mean(1, keepdim=True)
            self.targets = (truth[:, 0] > 0.5).long() if task == "classification" else truth
            self.targets = (truth > 0.5).float() if task == "multilabel" else self.targets

    def __len__(self):
        return len(self.ids)

    def __getitems__(self, indices):
        return {"ids": self.ids[indices], "label": self.targets[indices]}


@pytest.mark.parametrize("per_symbol", [False, True])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_few_steps_learn(task, per_symbol):
    torch.manual_seed(0)
    sequence = SequenceConfig(objective="masked", symmetry="augment")
    head = HeadConfig(task=task, num_outputs=2 if task == "classification" else 1, per_symbol=per_symbol, dropout=0)
    built = SequencePredictor(head, sequence, layers(direction="bidirectional", num_blocks=1, slstm_at=()))
    module = PredictorModule(built)
    train, valid = (BatchLoader(Marked(n, task, per_symbol), 16, shuffle=n > 50) for n in (96, 30))
    result = fit(module, train, valid, FitConfig(max_epochs=6, learning_rate=0.02, accelerator="cpu", patience=None))
    assert result.history[-1]["val_loss"] < 0.8 * result.history[0]["val_loss"]
    name = {"classification": "val_mcc", "multilabel": "val_accuracy", "regression": "val_pearson"}[task]
    assert result.history[-1][name] > 0.6


def test_padding_and_batches_change_no_measure():
    built = predictor(per_symbol=True, num_outputs=2)
    module = PredictorModule(built).eval()
    ids, targets = bases(6, 9), torch.randint(-1, 2, (6, 9))
    lengths = torch.tensor([9, 4, 7, 1, 9, 2])
    real = torch.arange(9) < lengths[:, None]
    ids, targets = torch.where(real, ids, 4), torch.where(real, targets, -1)
    seen = []
    for size in (6, 4):
        module.on_validation_epoch_start()
        for start in range(0, 6, size):
            part = slice(start, start + size)
            batch = {"ids": ids[part], "label": targets[part], "lengths": lengths[part]}
            module.validation_step(batch, start)
        seen.append((module._total, module._count, module._confusion.mcc))
    assert seen[0] == pytest.approx(seen[1])
    known = targets >= 0
    outputs = built(ids, lengths=lengths).argmax(-1)
    assert seen[0][1] == known.sum()
    assert seen[0][2] == pytest.approx(matthews_corrcoef(targets[known], outputs[known]))


def test_a_frozen_model_stays_as_it_is():
    built = predictor(causal(embedding_dropout=0.5).float())
    before = {name: p.clone() for name, p in built.model.named_parameters()}
    module = PredictorModule(built, head_only=True)
    data = Marked(32, "classification", False)
    loader = BatchLoader(data, 32)
    features = built.model.embed(data.ids)
    seen = []
    encode = built.model.encode
    built.model.encode = lambda ids, **options: seen.append(encode(ids, **options)[0]) or encode(ids, **options)
    head = built.head.weight.clone()
    fit(module, loader, None, FitConfig(max_epochs=1, learning_rate=0.1, accelerator="cpu"))
    assert all(torch.equal(p, before[name]) for name, p in built.model.named_parameters())
    assert not torch.equal(built.head.weight, head)
    torch.testing.assert_close(seen, [features])  # no dropout


def test_saving_and_loading(tmp_path):
    built, ids = predictor(num_outputs=3).float(), bases(2, 9)
    built.save_pretrained(tmp_path)
    again = SequencePredictor.from_pretrained(tmp_path)
    assert torch.equal(again(ids), built(ids)) and again.head_config == built.head_config


def test_measures_are_those_of_the_whole_part():
    generator = np.random.default_rng(0)
    truth, predicted = torch.from_numpy(generator.integers(0, 3, (2, 200)))
    confusion = Confusion(3)
    for rows in (slice(0, 7), slice(7, 190), slice(190, 200)):
        confusion.add(truth[rows], predicted[rows])
    assert confusion.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert confusion.mcc == pytest.approx(matthews_corrcoef(truth, predicted))
    constant = Confusion(2)
    constant.add(torch.tensor([0, 0]), torch.tensor([0, 1]))
    assert constant.mcc == 0
    x = torch.from_numpy(generator.normal(1e4, 1, 200))
    y, correlation = x + torch.from_numpy(generator.normal(0, 1, 200)), Correlation()
    for rows in (slice(0, 1), slice(1, 1), slice(1, 150), slice(150, 200)):
        correlation.add(x[rows], y[rows])
    assert correlation.pearson == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert Correlation().pearson == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "classification", "num_outputs": 1}, "at least 2"),
        ({"names": ("a", "b", "a")}, "differ"),
        ({"names": ("a", "b"), "num_outputs": 3}, "2 names for 3"),
        ({"task": "ranking"}, "task is one of classification"),
        ({"pooling": "sum"}, "pooling is one of mean"),
        ({"pooling": "places", "per_symbol": True}, "for whole sequences"),
        ({"length": 9}, "for pooling='places' alone"),
        ({"pooling": "places", "length": 0}, "a number above 0"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_heads_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        HeadConfig(**options)
    with pytest.raises(ValueError, match="exclude each other"):
        predictor()(bases(1, 4), lengths=[4], cu_seqlens=torch.tensor([0, 4]))


def test_numbers_come_back_in_their_own_units():
    built = predictor(task="regression", num_outputs=2)
    ids = bases(5, 9)
    raw = built(ids).detach()
    built.target_mean, built.target_std = torch.tensor([10.0, -3.0]), torch.tensor([2.0, 0.5])
    expected = torch.stack([raw[:, 0] * 2 + 10, raw[:, 1] * 0.5 - 3], 1)
    torch.testing.assert_close(built.predict(ids), expected)
    total, count = built.loss_sums(raw, expected)  # what is predicted right costs nothing, in any unit
    assert total.item() == pytest.approx(0, abs=1e-9) and count == 10
    probabilities = predictor(num_outputs=3).predict(ids)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("per_symbol", [False, True])
def test_a_sequence_counts_as_often_as_its_importance_says(per_symbol):
    module = PredictorModule(predictor(per_symbol=per_symbol)).eval()
    ids, targets = bases(3, 6), torch.randint(0, 2, (3, 6) if per_symbol else (3,))
    lengths = torch.tensor([6, 2, 4])
    rows = [0, 0, 1, 1, 1]

    def total(**batch):
        module.on_validation_epoch_start()
        module.validation_step(batch, 0)
        return module._total, module._count

    weighed = total(ids=ids, label=targets, lengths=lengths, importance=torch.tensor([2.0, 3.0, 0.0]))
    repeated = total(ids=ids[rows], label=targets[rows], lengths=lengths[rows])
    assert weighed == pytest.approx(repeated)


def test_what_is_left_open_is_decided():
    assert HeadConfig(names=["b", "a", "c"]).decided() == HeadConfig(
        task="classification", num_outputs=3, names=("b", "a", "c")
    )
    with pytest.raises(ValueError, match="at least 2"):
        HeadConfig(num_outputs=1).decided()
