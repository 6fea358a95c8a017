"""Spans taken out and put back: layout and positions as published, any number of them, any length, and the way back."""

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence.alphabets import DNA, PROTEIN
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.infilling import draw_spans, lay_out, lay_out_family, reorder, span_tokens
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.objective import ask_line, loss_sums
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.core import xLSTMConfig

TOKENIZER = Tokenizer(PROTEIN)
ENCODED = np.array(TOKENIZER.encode("LAGVSER"))


def written(ids):
    return TOKENIZER.decode(ids, specials=True)


def test_layout_and_positions_are_the_published_ones():
    line = lay_out(ENCODED, [(2, 4), (5, 6)], PROTEIN)
    assert written(line.ids) == "<cls>LA<mask-1>S<mask-2>R<eos><mask-1>GV<mask-2>E"
    assert line.positions.tolist() == [0, 1, 2, 3, 5, 6, 7, 0, 3, 3, 4, 6, 6]
    assert np.flatnonzero(line.in_span).tolist() == [9, 10, 12]


def test_spans_at_the_ends_beside_each_other_and_empty():
    line = lay_out(ENCODED, [(0, 1), (1, 3), (5, 5), (6, 7)], PROTEIN)
    assert written(line.ids) == "<cls><mask-1><mask-2>VS<mask-3>E<mask-4><eos><mask-1>L<mask-2>AG<mask-3><mask-4>R"
    assert line.positions.tolist() == [0, 1, 2, 4, 5, 6, 6, 7, 0, 1, 1, 2, 2, 3, 6, 7, 7]
    assert np.array_equal(reorder(line.ids, PROTEIN)[0], ENCODED)
    everything = lay_out(ENCODED, [(0, 7)], PROTEIN)
    assert written(everything.ids) == "<cls><mask-1><eos><mask-1>LAGVSER"


def test_without_spans_a_sequence_stays_as_it_is():
    assert lay_out(ENCODED, [], PROTEIN).ids.tolist() == [PROTEIN.bos, *ENCODED]
    assert lay_out(ENCODED, [], PROTEIN).positions.tolist() == [*range(8)]
    assert lay_out([], [], PROTEIN).ids.tolist() == [PROTEIN.bos]


def test_homologs_follow_one_another_and_positions_begin_again():
    line = lay_out_family([(ENCODED[:3], [(1, 2)]), ([], []), (ENCODED[:2], [])], PROTEIN, closed=True)
    assert written(line.ids) == "<cls>L<mask-1>G<eos><mask-1>A<cls><cls>LA<cls>"
    assert line.positions.tolist() == [0, 1, 2, 3, 0, 2, 2, 0, 0, 1, 2, 0]
    assert [s.tolist() for s in reorder(line.ids, PROTEIN)] == [[*ENCODED[:3]], [], [*ENCODED[:2]], []]
    assert lay_out_family([], PROTEIN).ids.tolist() == [PROTEIN.bos]


def test_more_spans_than_tokens_use_them_in_turn():
    spans = [(n, n + 1) for n in range(7)]
    line = lay_out(ENCODED, spans, PROTEIN)
    assert written(line.ids).startswith("<cls><mask-1><mask-2><mask-3><mask-4><mask-5><mask-1><mask-2><eos><mask-1>L")
    assert np.array_equal(reorder(line.ids, PROTEIN)[0], ENCODED)


@pytest.mark.parametrize("length", range(51))
def test_reorder_is_the_inverse(length):
    rng = np.random.default_rng(length)
    for most in (0, 1, 5, 12):
        symbols = rng.choice(PROTEIN.definite, length)
        spans = draw_spans(length, rng, mean=3.0, most=most, share=0.7)
        line = lay_out(symbols, spans, PROTEIN)
        assert len(spans) <= min(most, length)
        assert len(line.ids) == len(line.positions) == 1 + length + (1 + 2 * len(spans) if spans else 0)
        (back,) = reorder(line.ids, PROTEIN)
        assert np.array_equal(back, symbols)
        real = np.isin(line.ids, PROTEIN.definite)
        assert np.array_equal(np.sort(line.positions[real]), np.arange(1, length + 1))
        assert np.array_equal(symbols[line.positions[real] - 1], line.ids[real])
        assert line.in_span.sum() == sum(stop - start for start, stop in spans)


def test_spans_are_drawn_as_published():
    rng = np.random.default_rng(0)
    drawn = [draw_spans(200, rng) for _ in range(4000)]
    counts = np.bincount([len(spans) for spans in drawn], minlength=6) / len(drawn)
    poisson = np.exp(-1) / np.array([1, 1, 2, 6, 24, 120])
    assert np.abs(counts - poisson / poisson.sum()).max() < 0.03
    for spans in drawn:
        borders = [*(start for start, _ in spans), 200]
        for (start, stop), after in zip(spans, borders[1:], strict=True):
            assert 1 <= stop - start <= max(1, int((after - start) * 0.2) - 1)
    singles = [stop - start for spans in drawn if len(spans) == 1 for start, stop in spans if start < 10]
    assert max(singles) > 30


@pytest.mark.parametrize("length", range(6))
def test_short_sequences_never_fail(length):
    rng = np.random.default_rng(0)
    for _ in range(200):
        spans = draw_spans(length, rng, mean=2.0)
        assert len(spans) <= length
        assert all(0 <= start < stop <= length for start, stop in spans)
    assert len(draw_spans(length, rng, least=1)) >= min(1, length)


def test_mistakes_are_explained():
    for call, message in (
        (lambda: lay_out(ENCODED, [(2, 9)], PROTEIN), "within the 7 symbols"),
        (lambda: lay_out(ENCODED, [(2, 4), (3, 5)], PROTEIN), "must follow one another"),
        (lambda: lay_out([7, 8], [(0, 1)], DNA), "the dna alphabet has no tokens for spans"),
        (lambda: draw_spans(5, np.random.default_rng(0), mean=0), "mean=0 must be positive"),
        (lambda: draw_spans(5, np.random.default_rng(0), least=6), "least=6 at most most=5"),
        (lambda: reorder(ENCODED, PROTEIN), "begins with <cls>"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    whole = lay_out(ENCODED, [(2, 4), (5, 6)], PROTEIN).ids
    swapped = whole.copy()
    swapped[[8, 11]] = swapped[[11, 8]]
    stray = np.insert(whole, 8, ENCODED[0])
    twice = np.append(whole, PROTEIN.eos)
    for broken in (whole[:11], swapped, stray, twice, whole[whole != PROTEIN.eos]):
        with pytest.raises(ValueError, match=r"sequence 1: .* gaps"):
            reorder(broken, PROTEIN)
    assert span_tokens(PROTEIN) == (33, 34, 35, 36, 37)


def test_the_question_asks_for_the_next_token():
    line = lay_out_family([(TOKENIZER.encode("LAXV"), [(1, 2)])], PROTEIN, closed=True)
    question, positions = ask_line(line, PROTEIN)
    assert written(question.inputs[0].numpy()) == "<cls>L<mask-1>XV<eos><mask-1>A"
    assert written(question.targets[0].numpy()) == "L<mask-1>XV<eos><mask-1>A<cls>"
    assert question.weights[0].tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    assert positions[0].tolist() == line.positions[:-1].tolist()
    only, _ = ask_line(line, PROTEIN, only_spans=True)
    assert only.weights[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]


def test_a_model_learns_to_fill_gaps():
    torch.manual_seed(0)
    backbone = xLSTMConfig(embedding_dim=32, num_blocks=1, num_heads=2, rotary_base=500_000.0)
    model = SequenceModel(SequenceConfig(alphabet="protein"), backbone)
    question, positions = ask_line(lay_out_family([(ENCODED, [(2, 4)]), (ENCODED, [])], PROTEIN), PROTEIN)
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(40):
        total, count = loss_sums(model(question.inputs, positions=positions), question)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        losses.append((total / count).item())
    assert losses[-1] < 0.3 * losses[0]
    model.eval()
    counted = model(question.inputs)
    assert not torch.allclose(counted, model(question.inputs, positions=positions))
    ids, places = question.inputs.expand(2, -1), positions.expand(2, -1)
    padded = model(ids, positions=places, lengths=[ids.shape[1], 5])
    torch.testing.assert_close(padded[1, :5], model(ids[:1, :5], positions=places[:1, :5])[0], rtol=1e-4, atol=1e-5)


def test_positions_begin_again_at_every_homolog_however_they_are_read():
    torch.manual_seed(0)
    backbone = xLSTMConfig(embedding_dim=32, num_blocks=2, num_heads=2, rotary_base=100.0)
    model = SequenceModel(SequenceConfig(alphabet="protein"), backbone).eval()
    line = lay_out_family([(ENCODED, []), (ENCODED[:4], []), (ENCODED[2:], [])], PROTEIN)
    ids, positions = torch.from_numpy(line.ids)[None], torch.from_numpy(line.positions)[None]
    logits = model(ids, positions=positions)
    torch.testing.assert_close(model(ids), logits)
    assert not torch.allclose(model(ids, positions=torch.arange(ids.shape[1])[None]), logits, atol=1e-4)
    state, steps = model.initial_state(1), []
    with torch.no_grad():
        for t in range(ids.shape[1]):
            step, state = model.step(ids[:, t], state, inplace=True)
            steps.append(step)
    torch.testing.assert_close(torch.stack(steps, 1), logits, rtol=1e-4, atol=1e-5)
    context = model.read(ids[:, 1:5]), model.read(ids[:, 1:10])  # the begin token of the first comes by itself
    nll = -logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[:, 0]
    for part, start in zip(context, (5, 10), strict=True):
        scores = model.score(ids[:, start:], weights=torch.ones(1, ids.shape[1] - start), context=part)
        torch.testing.assert_close(scores[0], nll[start - 1 :], rtol=1e-4, atol=1e-5)
        assert part.state.position.item() == positions[0, start - 1] + 1
    torch.testing.assert_close(
        model.encode(ids[:, 1:])[0], model.backbone(model.embedding(ids), positions=positions)[:, 1:]
    )
    text = model.generate(ids[0, 1:], 3, eos_id=[])
    after = torch.cat([positions, positions[:, -1:] + torch.arange(1, 4)], 1)
    expected = model(torch.cat([ids[:, :1], text[None]], 1), positions=after)[0, ids.shape[1] - 1 : -1]
    assert torch.equal(text[ids.shape[1] - 1 :], expected.masked_fill(model.forbidden, -torch.inf).argmax(-1))
