"""Scores: the same however the sequence is cut, continued, padded, or put on the other strand."""

import math

import pytest
import torch
from sequence_models import STACKS, bases, causal, masked

CLOSE = {"rtol": 1e-5, "atol": 1e-5, "equal_nan": True}


def by_hand(model, ids):
    """One pass, begin token first."""
    begin = torch.full((len(ids), 1), model.alphabet.bos)
    logits = model(torch.cat([begin, ids[:, :-1]], 1))
    nll = -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return nll.masked_fill(ids == 11, math.nan).float()


def complemented(model, ids):
    return model.complement[ids.flip(1)]


@pytest.mark.parametrize("stack", STACKS)
def test_chunks_of_any_length_give_the_same_scores(stack):
    model, ids = causal(stack), bases(2, 13)
    expected = by_hand(model, ids)
    for chunk_length in (1, 2, 5, 6, 7, 12, 13, 14):
        torch.testing.assert_close(model.score(ids, chunk_length=chunk_length), expected, **CLOSE)
    torch.testing.assert_close(model.score(ids.to(torch.uint8)), expected, **CLOSE)


def test_reading_the_left_flank_once_is_reading_it_every_time():
    model, flank = causal(), bases(1, 9)
    ends = bases(4, 6)
    context = model.read(flank)
    expected = model.score(torch.cat([flank.expand(4, -1), ends], 1))[:, 9:]
    torch.testing.assert_close(model.score(ends, context=context.select([0] * 4)), expected, **CLOSE)
    again = model.read(flank[:, 4:], model.read(flank[:, :4]))
    torch.testing.assert_close(model.score(ends, context=again.select([0] * 4)), expected, **CLOSE)
    nothing = model.read(flank[:, :0])
    torch.testing.assert_close(model.score(flank, context=nothing), model.score(flank), **CLOSE)


def test_probabilities_of_all_short_sequences_sum_to_one():
    model = causal()
    ids = torch.cartesian_prod(torch.arange(12), torch.arange(12))
    nll = model.score(ids, torch.ones(144, 2))
    assert (-nll.sum(1)).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_without_a_begin_token_the_first_symbol_has_no_score():
    model, ids = causal(begin_token=False), torch.randint(7, 11, (2, 6))
    nll = model.score(ids, chunk_length=4)
    assert nll[:, 0].isnan().all() and nll[:, 1:].isfinite().all()
    expected = -model(ids)[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(nll[:, 1:], expected.float(), **CLOSE)
    with pytest.raises(ValueError, match="something to read"):
        model.read(ids[:, :0])


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_scores_of_both_strands(objective):
    model = causal(symmetry="posthoc") if objective == "causal" else masked("mixed", symmetry="posthoc")
    ids = bases(2, 11)
    nll, twin = model.score(ids, passes=None if objective == "causal" else 11), None
    twin = model.score(complemented(model, ids), passes=None if objective == "causal" else 11)
    torch.testing.assert_close(twin.flip(1), nll, **CLOSE)
    if objective == "causal":
        own = [model.score(x, strands="own") for x in (ids, complemented(model, ids))]
        torch.testing.assert_close((own[0] + own[1].flip(1)) / 2, nll, **CLOSE)
        assert (own[0] - nll).abs().nan_to_num().max() > 0.01
        plain = causal()
        plain.load_state_dict(model.state_dict())
        torch.testing.assert_close(plain.score(ids, strands="both"), nll, **CLOSE)


@pytest.mark.parametrize("model", [lambda: causal(symmetry="posthoc"), lambda: masked(symmetry="shared")])
def test_padding_is_not_read(model):
    model, ids = model(), bases(1, 5)
    padded = torch.cat([torch.cat([ids, torch.full((1, 3), 4)], 1), bases(1, 8)])
    nll = model.score(padded, lengths=[5, 8])
    torch.testing.assert_close(nll[:1, :5], model.score(ids), **CLOSE)
    torch.testing.assert_close(nll[1:], model.score(padded[1:]), **CLOSE)
    assert nll[0, 5:].isnan().all()


def test_masked_scores_hide_each_symbol_once():
    model, ids = masked(), torch.randint(7, 11, (2, 6))
    exact = model.score(ids, passes=6)
    for place in range(6):
        hidden = ids.clone()
        hidden[:, place] = model.alphabet.mask
        expected = -model(hidden)[:, place].log_softmax(-1).gather(-1, ids[:, place, None])[:, 0]
        torch.testing.assert_close(exact[:, place], expected.float(), **CLOSE)
    assert model.score(ids).isfinite().all() and model.score(ids, passes=1).isfinite().all()


def test_what_has_no_weight_is_read_but_not_scored():
    model, ids = causal(), torch.randint(7, 11, (1, 6))
    weights = torch.tensor([[1.0, 0, 1, 1, 0.1, 0]])
    nll = model.score(ids, weights)
    assert nll.isnan().tolist() == [[False, True, False, False, False, True]]
    torch.testing.assert_close(nll[~nll.isnan()], model.score(ids)[~nll.isnan()], **CLOSE)


def test_scoring_leaves_the_mode_of_the_model():
    model = causal(symmetry="posthoc", embedding_dropout=0.5).train()
    ids = bases(1, 6)
    torch.testing.assert_close(model.score(ids), model.score(ids), **CLOSE)
    assert model.training


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (causal, {"passes": 2}, "passes is for masked"),
        (causal, {"chunk_length": 0}, "at least 1"),
        (causal, {"weights": torch.ones(1, 3)}, "same shape"),
        (lambda: causal(alphabet="protein"), {"strands": "both"}, "protein has one strand"),
        (lambda: masked(symmetry="shared"), {"strands": "own"}, "reads both strands"),
    ],
)
def test_scores_that_cannot_be(model, options, message):
    with pytest.raises(ValueError, match=message):
        model().score(torch.full((1, 4), 7), **options)


def test_contexts_that_cannot_be():
    model, ids = causal(), bases(1, 4)
    context = model.read(ids)
    with pytest.raises(ValueError, match="a context is of one strand"):
        model.score(ids, context=context, strands="both")
    with pytest.raises(ValueError, match="no context"):
        masked().score(ids, context=context)
    with pytest.raises(ValueError, match="keeps no context"):
        masked().read(ids)
    with pytest.raises(ValueError, match="time >= 1"):
        model.score(ids[:, :0])
