"""Interpolated Markov models against counts by hand, on alphabets of any size."""

import numpy as np
import pytest

from xlstm_apps.biosequence import get_alphabet
from xlstm_apps.biosequence.baselines.markov import MarkovModel

DNA, PROTEIN = get_alphabet("dna"), get_alphabet("protein")


def ids(text, alphabet=DNA):
    return alphabet.byte_table[np.frombuffer(text.encode(), np.uint8)]


def test_counts_by_hand():
    model = MarkovModel.fit([ids("AACA"), ids("CNA")], [], DNA, max_order=1)
    # Order 0: A 4 times, C twice, of 6; drawn to a uniform quarter with a strength of 1.
    p0 = {"A": (4 + 0.25) / 7, "C": (2 + 0.25) / 7, "G": 0.25 / 7}
    # Order 1, within records and not over N: A -> A 1, C 1; C -> A 1.
    expected = [p0["A"], (1 + p0["A"]) / 3, (1 + p0["C"]) / 3, p0["G"] / 2, np.nan, p0["A"]]
    np.testing.assert_allclose(np.exp(-model.score(ids("AACGNA"))), expected)
    assert model.order == 1 and model.name == "markov-1" and model.lower(0).name == "unigram"
    assert model.parameters == 3 * (1 + 2)


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=["dna", "protein"])
def test_probabilities_sum_to_one_and_give_the_scores(alphabet):
    rng = np.random.default_rng(0)
    symbols = np.array([*alphabet.definite, alphabet.wildcard], np.uint8)
    draw = [symbols[rng.integers(0, len(symbols), 500)] for _ in range(3)]
    model = MarkovModel.fit(draw[:1], draw[1:2], alphabet, max_order=7)
    p, nll = model.probabilities(draw[2]), model.score(draw[2])
    np.testing.assert_allclose(p.sum(1), 1)
    known = ~np.isnan(nll)
    assert (known == (draw[2] != alphabet.wildcard)).all()
    rank = np.searchsorted(model.symbols, draw[2][known])
    np.testing.assert_allclose(-np.log(p[known, rank]), nll[known])


def test_order_is_that_of_the_source():
    rng = np.random.default_rng(1)
    table = rng.dirichlet(np.full(4, 0.3), 64)  # a source that looks three symbols back
    x = list(rng.integers(0, 4, 3))
    for _ in range(30_000):
        x.append(rng.choice(4, p=table[x[-3] * 16 + x[-2] * 4 + x[-1]]))
    sequence = np.array(DNA.definite, np.uint8)[x]
    model = MarkovModel.fit([sequence[:20_000]], [sequence[20_000:25_000]], DNA)
    truth = [table[x[t - 3] * 16 + x[t - 2] * 4 + x[t - 1], x[t]] for t in range(25_003, 30_003)]
    assert model.order in (3, 4)
    assert abs(model.score(sequence[25_000:])[3:].mean() + np.log(truth).mean()) < 0.01


def test_rare_contexts_are_kept_sparse(monkeypatch):
    rng = np.random.default_rng(2)
    train, valid, test = (np.array(DNA.definite, np.uint8)[rng.integers(0, 4, n)] for n in (3000, 3000, 300))
    train[1500:], valid[:1500] = train[:1500], train[:1500]
    dense = MarkovModel.fit([train], [valid], DNA)
    monkeypatch.setattr("xlstm_apps.biosequence.baselines.markov._DENSE", 64)
    sparse = MarkovModel.fit([train], [valid], DNA)
    assert sparse.order == dense.order > 4 and sparse.parameters == dense.parameters
    np.testing.assert_allclose(sparse.score(test), dense.score(test))


def test_both_strands_where_that_helps():
    rng = np.random.default_rng(3)
    train = np.array(DNA.definite, np.uint8)[rng.choice(4, 4000, p=[0.6, 0.1, 0.1, 0.2])]
    other = DNA.reverse_complement(train)
    assert MarkovModel.fit([train], [other], DNA).both_strands
    assert not MarkovModel.fit([train], [train], DNA).both_strands
    with pytest.raises(ValueError, match="protein alphabet has no second strand"):
        MarkovModel.fit([], [], PROTEIN, both_strands=True)


def test_nothing_to_count_and_orders_beyond_reach():
    empty = MarkovModel.fit([ids("NNN")], [], DNA)
    np.testing.assert_allclose(empty.score(ids("AC")), np.log(4))
    text = get_alphabet("text")
    sentence = np.frombuffer(b"abracadabra " * 20, np.uint8)
    assert MarkovModel.fit([sentence], [sentence], text, max_order=12).order <= 6
    with pytest.raises(ValueError, match="0 or more"):
        MarkovModel.fit([], [], DNA, max_order=-1)
