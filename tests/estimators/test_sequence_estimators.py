"""SequenceClassifier and SequenceRegressor as a user of scikit-learn uses them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.estimators import SequenceClassifier, SequenceRegressor

SMALL = {"embedding_dim": 16, "num_blocks": 1, "accelerator": "cpu", "batch_size": 8, "learning_rate": 0.02}


def sequences(count: int, seed: int = 0) -> list[str]:
    """Bases, half of them rich in A."""
    generator = np.random.default_rng(seed)
    shares = [(0.55, 0.15, 0.15, 0.15), (0.15, 0.15, 0.15, 0.55)]
    return ["".join(generator.choice(list("ACGT"), generator.integers(8, 20), p=shares[n % 2])) for n in range(count)]


def kinds(count: int) -> np.ndarray:
    return np.array(["rich", "poor"] * (count // 2))


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    return SequenceClassifier(**SMALL, max_epochs=5).fit(sequences(64), kinds(64))


def test_learns_silently_and_writes_nothing(fitted, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    again = clone(fitted).fit(sequences(64), kinds(64))
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())
    assert list(again.classes_) == ["poor", "rich"]
    assert again.score(sequences(40, 1), kinds(40)) > 0.85
    probabilities = again.predict_proba(sequences(40, 1))
    assert probabilities.shape == (40, 2) and np.allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(again.predict(sequences(40, 1)), again.classes_[probabilities.argmax(1)])
    np.testing.assert_allclose(probabilities, fitted.predict_proba(sequences(40, 1)))  # the same seed, the same model


def test_whatever_holds_strings(fitted):
    texts = sequences(6, 2)
    expected = fitted.predict_proba(texts)
    forms = (
        tuple(texts),
        np.array(texts),
        np.array(texts, object).reshape(-1, 1),
        pd.Series(texts, index=range(10, 16)),
        pl.Series(texts),
        pd.DataFrame({"sequence": texts}),
        [f" {text.lower()}\n" for text in texts],
        [text.replace("T", "U") for text in texts],
        [text.encode() for text in texts],
    )
    for form in forms:
        np.testing.assert_allclose(fitted.predict_proba(form), expected, atol=1e-6)
    alone = np.concatenate([fitted.predict_proba([text]) for text in texts])  # padding changes nothing
    np.testing.assert_allclose(alone, expected, atol=1e-5)


def test_scikit_learn_can_clone_and_cross_validate():
    classifier = SequenceClassifier(**SMALL, max_epochs=1, class_weight="balanced")
    assert clone(classifier).get_params() == classifier.get_params()
    scores = cross_val_score(classifier, sequences(24), kinds(24), cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    assert not hasattr(classifier, "model_")


def test_what_lies_at_a_place_is_found_there():
    letters = np.random.default_rng(0).choice(list("ACGT"), (240, 15))
    texts, kind = ["".join(row) for row in letters], np.where(np.isin(letters[:, 6], ["A", "C"]), "on", "off")
    built = SequenceClassifier(**SMALL, max_epochs=10, linear=False, pooling="places")
    assert built.fit(texts[:180], kind[:180]).score(texts[180:], kind[180:]) > 0.9
    assert built.model_.head_config.length == 15
    options = {"pooling": "places", "head_only": True, "max_epochs": 1, "linear": False, "accelerator": "cpu"}
    further = SequenceClassifier(from_model=built.model_, **options)
    assert further.fit(texts[:20], kind[:20]).score(texts[180:], kind[180:]) > 0.9  # the weights of places went on
    assert built.embed(texts[:2]).shape == (2, 16)
    with pytest.raises(ValueError, match="trained on sequences of length 15, not 14"):
        built.predict([text[1:] for text in texts])
    with pytest.raises(ValueError, match="for sequences of one length, and these have 14 to 15 symbols: cut them"):
        built.fit([*texts[:20], texts[20][1:]], kind[:21])


def test_saving_and_loading(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    again = SequenceClassifier.load(tmp_path / "saved")
    texts = sequences(6, 3)
    np.testing.assert_array_equal(again.predict_proba(texts), fitted.predict_proba(texts))
    assert again.predict(texts).tolist() == fitted.predict(texts).tolist()
    assert again.get_params() == fitted.get_params() and again.history_ == fitted.history_
    again.from_model = fitted  # its weights are among those that are saved
    again.save(tmp_path / "later")
    assert SequenceClassifier.load(tmp_path / "later").from_model is None
    with pytest.raises(ValueError, match=r"SequenceClassifier\.load"):
        SequenceRegressor.load(tmp_path / "saved")
    with pytest.raises(ValueError, match="no saved estimator"):
        SequenceClassifier.load(tmp_path)


def test_linear_models_answer_along_unless_switched_off(tmp_path):
    """A symbol at one place among many is what a linear model of places sees at once, and a tiny network does not."""
    generator = np.random.default_rng(5)
    rows = generator.choice(list("ACGT"), (160, 30))
    texts, y = ["".join(row) for row in rows], (rows[:, 17] == "G").astype(int)
    options = {**SMALL, "max_epochs": 1, "val_fraction": 0.25}
    classifier = SequenceClassifier(**options).fit(texts[:120], y[:120])
    assert classifier.score(texts[120:], y[120:]) > 0.9
    assert max(classifier.weights_, key=classifier.weights_.get) == "place-logistic"
    alone = SequenceClassifier(**options, linear=False).fit(texts[:120], y[:120])
    assert alone.weights_ == {"network": 1.0} and alone.model_.linear is None
    member = classifier.model_.linear
    assert member.share.item() == pytest.approx(classifier.weights_["network"])
    classifier.model_.linear = None
    np.testing.assert_array_equal(classifier.predict_proba(texts[:5]), alone.predict_proba(texts[:5]))
    classifier.model_.linear = member
    classifier.save(tmp_path / "saved")
    again = SequenceClassifier.load(tmp_path / "saved")
    assert again.weights_ == classifier.weights_
    np.testing.assert_array_equal(again.predict_proba(texts[:5]), classifier.predict_proba(texts[:5]))
    assert again.predict(["ACG", texts[0] * 2]).shape == (2,)  # other lengths can be asked for, too


def test_the_members_without_validation_and_for_numbers():
    texts = sequences(40)
    y = np.array([1000.0 + 50 * text.count("A") / len(text) for text in texts])
    even = SequenceRegressor(**SMALL, max_epochs=1, val_fraction=0).fit(texts, y)
    assert list(even.weights_.values()) == [0.5, 0.5]
    chosen = SequenceRegressor(**SMALL, max_epochs=1, val_fraction=0.3).fit(texts, y)
    network, linear = chosen.weights_.values()
    assert linear > network and np.corrcoef(chosen.predict(texts), y)[0, 1] > 0.9


def test_numbers_in_their_own_units():
    texts = sequences(64)
    y = np.array([1000.0 + 50 * text.count("A") / len(text) for text in texts])
    regressor = SequenceRegressor(**SMALL, max_epochs=6).fit(texts, y)
    assert regressor.score(texts, y) > 0.5
    assert regressor.predict(texts).shape == (64,)
    two = SequenceRegressor(**SMALL, max_epochs=1).fit(texts, np.stack([y, np.where(y > 1020, np.nan, y)], 1))
    assert two.predict(texts[:3]).shape == (3, 2)


def test_several_labels(tmp_path):
    texts = sequences(40)
    y = np.array([[text.count("A") > 5, text.count("T") > 5] for text in texts]).astype(float)
    y[3, 1] = np.nan
    several = SequenceClassifier(**SMALL, max_epochs=2).fit(texts, y)
    assert several.predict(texts).shape == (40, 2) and set(np.unique(several.predict(texts))) <= {0, 1}
    several.save(tmp_path / "several")
    again = SequenceClassifier.load(tmp_path / "several")
    np.testing.assert_array_equal(again.predict(texts), several.predict(texts))


def test_going_on_from_a_trained_model(fitted):
    torch.manual_seed(0)
    layers = xLSTMConfig(embedding_dim=16, num_blocks=1, direction="bidirectional")
    trained = SequenceModel(SequenceConfig(objective="masked"), layers)
    before = {name: p.clone() for name, p in trained.state_dict().items()}
    options = {"max_epochs": 1, "accelerator": "cpu", "from_model": trained}
    frozen = SequenceClassifier(**options, head_only=True).fit(sequences(24), kinds(24))
    assert all(torch.equal(p, before[name]) for name, p in frozen.model_.model.state_dict().items())
    moved = SequenceClassifier(**options).fit(sequences(24), kinds(24))
    assert not torch.equal(moved.model_.model.embedding.weight, before["embedding.weight"])
    assert all(torch.equal(p, before[name]) for name, p in trained.state_dict().items())  # a copy was trained
    with pytest.raises(ValueError, match="embedding_dim is 32"):
        SequenceClassifier(**options, embedding_dim=32).fit(sequences(24), kinds(24))
    with pytest.raises(ValueError, match="reads dna"):
        SequenceClassifier("protein", **options).fit(["MKV", "MLA"] * 6, [0, 1] * 6)
    further = SequenceClassifier(max_epochs=1, accelerator="cpu", from_model=fitted).fit(sequences(24), kinds(24))
    assert any("its head goes on" in note for note in further.notes_)


def test_rare_classes_can_count_more():
    texts, y = ["ACGT"] * 40, np.array(["rare" if n % 10 == 0 else "common" for n in range(40)])
    options = {**SMALL, "max_epochs": 3, "val_fraction": 0, "batch_size": 20, "patience": None}

    def share(sample_weight=None, **more):
        return SequenceClassifier(**options, **more).fit(texts, y, sample_weight).predict_proba(texts)[0, 1]

    assert share() < 0.25  # one in ten, and nothing to tell them by
    assert 0.35 < share(class_weight="balanced") < 0.65
    weighed = share(sample_weight=np.where(y == "rare", 9, 1))
    assert 0.35 < weighed < 0.65
    assert share(class_weight={"rare": 9}) == pytest.approx(weighed, abs=1e-5)


def test_both_strands_are_told_the_same():
    texts = sequences(16)
    shared = SequenceClassifier(**SMALL, max_epochs=1, symmetry="shared").fit(texts, kinds(16))
    twins = [text[::-1].translate(str.maketrans("ACGT", "TGCA")) for text in texts]
    np.testing.assert_allclose(shared.predict_proba(texts), shared.predict_proba(twins), atol=1e-6)


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        ("ACGT", [0], {}, "X is one string"),
        (["ACGT", "AC!T"], [0, 1], {}, r"X\[1\]: '!' at position 3"),
        (["ACGT", ""], [0, 1], {}, r"X\[1\] is empty"),
        (["ACGT", None], [0, 1], {}, r"X\[1\] is missing"),
        (["ACGT", 5], [0, 1], {}, r"X\[1\] is of the type int"),
        ([], [], {}, "no sequence"),
        (["ACGT", "ACG"], [0, 0], {}, "one class, '0'"),
        (["ACGT", "ACG"], [0, 1, 1], {}, "2 sequences and y 3"),
        (["ACGT", "ACG"], ["a", "a"], {}, "one class, 'a'"),
        (["ACGT", "ACG"], [0.5, 1], {}, "SequenceRegressor"),
        (["ACGT", "ACG"], ["a", None], {}, "missing values"),
        (["ACGT", "ACG"], [0, 1], {"max_length": 3}, r"X\[0\] has 4 symbols"),
        (["ACGT", "ACG"], [0, 1], {"alphabet": "rna"}, "no alphabet 'rna'"),
        (["ACGT", "ACG"], [0, 1], {"pooling": "sum"}, "pooling"),
        (["ACGT", "ACG"], [0, 1], {"val_fraction": 1.5}, "val_fraction"),
        (["ACGT", "ACG"], [0, 1], {"head_only": True}, "never trained"),
        (["ACGT", "ACG"], [0, 1], {"backbone": {"heads": 2}}, "backbone.heads"),
        (["ACGT", "ACG"], [0, 1], {"class_weight": {"z": 2}}, "no class 'z'"),
        (["ACGT", "ACG"], [0, 1], {"from_model": "no/where/at/all"}, "no such folder"),
    ],
)
def test_mistakes_are_told_in_one_line(X, y, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        SequenceClassifier(**options).fit(X, y)
    assert "\n" not in str(caught.value)


def test_what_comes_before_fit():
    with pytest.raises(NotFittedError, match="call fit"):
        SequenceClassifier().predict(["ACGT"])
    with pytest.raises(ValueError, match="no number"):
        SequenceRegressor().fit(["ACGT"], ["high"])


def test_molecules_are_read_as_in_files():
    pytest.importorskip("rdkit", reason="needs RDKit")
    model = SequenceClassifier("smiles", embedding_dim=16, num_blocks=1, max_epochs=1)
    model.fit(["CCO", "CCN", "CCCO", "CCCN"] * 5, ["alcohol", "amine"] * 10)
    np.testing.assert_array_equal(model.predict_proba(["OCC"]), model.predict_proba(["CCO"]))
    with pytest.raises(ValueError, match=r"X\[1\]: syntax: unclosed ring"):
        model.predict(["CCO", "C1CC"])
