"""Scores of records and regions: batched, in chunks, in windows, on either strand; what a loop over the model gives."""

import math

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.estimators.sequence_scores import Totals, score_stretches
from xlstm_apps.estimators.sequence_stretches import open_stretches
from xlstm_apps.estimators.sequence_track import Track

CLOSE = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}


def tiny(direction: str = "causal", **options) -> SequenceModel:
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=2, num_heads=2, slstm_at=(1,), direction=direction)
    objective = "causal" if direction == "causal" else "masked"
    model = SequenceModel(SequenceConfig(objective=objective, **options), backbone)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def genome(tmp_path):
    """A FASTA file and its sequences: lengths 1 to 90, with lower case and N."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGTACGTacgtN"), size)) for size in (40, 7, 90, 1, 23, 23)]
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">c{i}\n{text}\n" for i, text in enumerate(texts)))
    return str(path), [text.upper() for text in texts]


def collected(model, data, before=0, after=0, **options):
    """Rows of scores, and totals."""
    with open_stretches(data, model.alphabet, before=before, after=after) as stretches:
        totals, rows = Totals(len(stretches)), [np.full(n, 99, np.float32) for n in stretches.asked]
        for piece in score_stretches(model, stretches, **options):
            totals.add(piece)
            part = rows[piece.stretch][piece.place : piece.place + len(piece.nll)]
            assert len(part) == len(piece.nll)
            part[:] = piece.nll if piece.first else part + piece.nll
        return rows, totals, stretches.places()


def by_hand(model, text, strands="own"):
    """A symbol at a time over plain logits."""

    def one(text):
        ids = [model.alphabet.symbols[c] for c in text]
        read = [model.alphabet.bos, *ids] if model.begins else ids
        logits = model(torch.tensor([read])).log_softmax(-1)[0]
        shift = 0 if model.begins else 1
        out = [math.nan] * shift
        return np.array(out + [-logits[t, ids[t + shift]].item() for t in range(len(ids) - shift)])

    with torch.no_grad():
        nll = one(text)
        if strands == "both":
            turned = text[::-1].translate(str.maketrans("ACGT", "TGCA"))
            nll = (nll + one(turned)[::-1]) / 2
    nll[[c == "N" for c in text]] = math.nan
    return nll


@pytest.mark.parametrize("strands", ["own", "both"])
@pytest.mark.parametrize("begin_token", [True, False])
def test_batches_and_chunks_give_what_a_plain_loop_gives(genome, strands, begin_token):
    path, texts = genome
    model = tiny(begin_token=begin_token)
    expected = [by_hand(model, text, strands) for text in texts]
    for limit in (16, 64, None):  # nearly all streamed, some, none
        rows, totals, _ = collected(model, SequenceSource(path=[path]), strands=strands, batch_symbols=limit)
        for row, truth in zip(rows, expected, strict=True):
            np.testing.assert_allclose(row, truth, **CLOSE)
        np.testing.assert_allclose(totals.nll, [np.nansum(t) for t in expected], rtol=1e-4, atol=1e-4)
        assert totals.scored.tolist() == [int(np.isfinite(t).sum()) for t in expected]
        assert totals.ambiguous.tolist() == [text.count("N") for text in texts]


def test_a_posthoc_model_reads_both_strands_unless_told(genome):
    path, texts = genome
    model = tiny(symmetry="posthoc")
    for limit in (16, None):
        rows, _, _ = collected(model, SequenceSource(path=[path]), batch_symbols=limit)
        np.testing.assert_allclose(rows[2], by_hand(model, texts[2], "both"), **CLOSE)
        rows, _, _ = collected(model, SequenceSource(path=[path]), strands="own", batch_symbols=limit)
        np.testing.assert_allclose(rows[2], by_hand(model, texts[2]), **CLOSE)


def test_regions_are_read_on_their_strand_behind_their_flank(genome, tmp_path):
    path, texts = genome
    bed = tmp_path / "r.bed"
    bed.write_text("c2\t10\t30\tright\t0\t+\nc2\t10\t30\tleft\t0\t-\nc0\t0\t5\tbegin\t0\t+\nc2\t50\t90\tend\t0\t-\n")
    data, model = SequenceSource(path=[path], regions_path=str(bed)), tiny()
    turned = texts[2][::-1].translate(str.maketrans("ACGT", "TGCA"))
    for flank in (0, 8):
        expected = [
            by_hand(model, texts[2][10 - flank : 30])[flank:],
            by_hand(model, turned[60 - flank : 80])[flank:],
            by_hand(model, texts[0][:5]),
            by_hand(model, turned[:40]),
        ]
        for limit in (12, None):
            rows, _, places = collected(model, data, before=flank, batch_symbols=limit)
            for row, truth in zip(rows, expected, strict=True):
                np.testing.assert_allclose(row, truth, **CLOSE)
            assert places[0] == ["c2", "c2", "c0", "c2"]
            assert places[1].tolist() == [10, 10, 0, 50] and places[2].tolist() == [1, -1, 1, -1]
    both = {"before": 6, "after": 6, "strands": "both"}
    for limit in (12, None):
        rows, totals, _ = collected(model, data, **both, batch_symbols=limit)
        np.testing.assert_allclose(rows[0], by_hand(model, texts[2][4:36], "both")[6:26], **CLOSE)
        np.testing.assert_allclose(rows[1], rows[0][::-1], **CLOSE)
        assert totals.scored[0] == 20 - texts[2][10:30].count("N")
    with pytest.raises(ValueError, match=r"give data\.regions_path"):
        collected(model, SequenceSource(path=[path]), before=3)


def test_windows_of_a_causal_model_see_what_stands_in_them(genome):
    path, texts = genome
    model = tiny()
    rows, totals, _ = collected(model, SequenceSource(path=[path]), window=20, overlap=5)
    expected = np.concatenate(
        [by_hand(model, texts[2][:20])]
        + [by_hand(model, texts[2][b : b + 20])[5:] for b in (15, 30, 45, 60)]
        + [by_hand(model, texts[2][70:90])[10:]]
    )
    np.testing.assert_allclose(rows[2], expected, **CLOSE)
    assert totals.scored[2] == 90 - texts[2].count("N")


def test_a_masked_model_reads_long_stretches_in_windows_and_takes_their_middles(genome):
    path, texts = genome
    model = tiny("bidirectional")
    whole, _, _ = collected(model, SequenceSource(path=[path]), passes=4)
    for row, text in zip(whole, texts, strict=True):
        np.testing.assert_allclose(row, model.score(text, passes=4).numpy(), **CLOSE)
    rows, totals, _ = collected(model, SequenceSource(path=[path]), passes=4, window=30, overlap=10)
    first, second = (model.score(texts[2][b : b + 30], passes=4).numpy() for b in (0, 20))
    np.testing.assert_allclose(rows[2][:25], first[:25], **CLOSE)
    np.testing.assert_allclose(rows[2][25:45], second[5:25], **CLOSE)
    assert totals.scored[2] == 90 - texts[2].count("N") and all((row != 99).all() for row in rows)


def test_options_that_do_not_go_together_are_refused(genome):
    data = SequenceSource(path=[genome[0]])
    for model, options, message in (
        (tiny(), {"passes": 3}, "passes is for masked models"),
        (tiny(), {"overlap": 3}, "overlap is for windows"),
        (tiny(), {"window": 4, "overlap": 4}, "cannot overlap by 4"),
        (tiny(), {"batch_symbols": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            collected(model, data, **options)


def test_a_track_gives_back_in_order_what_came_in_any(tmp_path):
    with Track(np.array([3, 0, 5]), tmp_path, width=2) as track:
        track.put(2, 1, np.arange(8).reshape(4, 2))
        track.put(0, 0, np.full((3, 2), 7.0))
        track.put(2, 0, np.ones((1, 2)))
        track.put(2, 3, np.full((2, 2), 0.5), add=True)
        assert [block.tolist() for block in track.blocks(2, size=4)] == [
            [[1, 1], [0, 1], [2, 3], [4.5, 5.5]],
            [[6.5, 7.5]],
        ]
        assert [block[:, 1].tolist() for block in track.blocks(2, size=3, backwards=True)] == [[7.5, 5.5], [3, 1, 1]]
        assert list(track.blocks(1)) == [] and track.mapped().shape == (8, 2) and track.mapped()[0, 0] == 7
    assert list(tmp_path.iterdir()) == []
