"""Features of records and regions: batched, with the state carried on, blended where windows overlap, pooled."""

import numpy as np
import pytest
import torch
from test_sequence_scores import genome, tiny  # noqa: F401 - the fixture

from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.estimators.sequence_features import Pooled, feature_blocks
from xlstm_apps.estimators.sequence_stretches import open_stretches

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def collected(model, data, pooling=None, before=0, after=0, **options):
    """A list of [T, E], or of [E] where pooled; every symbol must come once, in order."""
    with open_stretches(data, model.alphabet, before=before, after=after) as stretches:
        rows, pools = [[] for _ in range(len(stretches))], [Pooled(pooling or "mean") for _ in range(len(stretches))]
        for block in feature_blocks(model, stretches, **options):
            assert block.place == pools[block.stretch].count
            pools[block.stretch].add(block)
            rows[block.stretch].append(torch.stack(block.strands).mean(0))
        assert [pool.count for pool in pools] == stretches.asked.tolist()
    if pooling is not None:
        return [pool.result() for pool in pools]
    return [torch.cat(row).numpy() for row in rows]


@pytest.mark.parametrize("kind", ["causal", "posthoc", "bidirectional"])
def test_features_are_those_of_each_record_alone(genome, kind):  # noqa: F811
    path, texts = genome
    model = (
        tiny("bidirectional") if kind == "bidirectional" else tiny(symmetry="posthoc" if kind == "posthoc" else "none")
    )
    data = SequenceSource(path=[path])
    for layer in (-1, 0, 1):
        expected = [model.embed(text, layer).numpy() for text in texts]
        for row, truth in zip(collected(model, data, layer=layer), expected, strict=True):
            np.testing.assert_allclose(row, truth, **CLOSE)
    for pooling in ("mean", "max", "last"):
        expected = [model.embed(text, pooling=pooling).numpy() for text in texts]
        np.testing.assert_allclose(collected(model, data, pooling), expected, **CLOSE)
        if kind == "causal":  # streamed
            np.testing.assert_allclose(collected(model, data, pooling, batch_symbols=16), expected, **CLOSE)


def test_a_causal_model_carries_its_state_through_long_records(genome):  # noqa: F811
    path, texts = genome
    for begin_token in (True, False):
        model = tiny(begin_token=begin_token)
        for layer in (-1, 0, 1):
            rows = collected(model, SequenceSource(path=[path]), layer=layer, batch_symbols=16)
            for row, text in zip(rows, texts, strict=True):
                np.testing.assert_allclose(row, model.embed(text, layer).numpy(), **CLOSE)


@pytest.mark.parametrize("kind", ["causal", "bidirectional"])
@pytest.mark.parametrize("limit", [30, 70])
def test_where_windows_overlap_features_are_the_mean(genome, kind, limit):  # noqa: F811
    path, texts = genome
    model = tiny(kind)
    rows = collected(model, SequenceSource(path=[path]), window=30, overlap=12, batch_symbols=limit)
    total, counts = np.zeros((90, 16)), np.zeros((90, 1))
    for begin in (0, 18, 36, 54, 60):
        total[begin : begin + 30] += model.embed(texts[2][begin : begin + 30]).numpy()
        counts[begin : begin + 30] += 1
    assert counts.max() == 3  # the last window is moved back to end with the record
    np.testing.assert_allclose(rows[2], total / counts, **CLOSE)
    np.testing.assert_allclose(rows[1], model.embed(texts[1]).numpy(), **CLOSE)


def test_both_strands_are_blended_and_pooled_each_in_its_own_direction(genome):  # noqa: F811
    path, texts = genome
    model = tiny(symmetry="posthoc")
    mirrored = str.maketrans("ACGT", "TGCA")
    windows = [texts[2][b : b + 50] for b in (0, 40)]
    pooled = collected(model, SequenceSource(path=[path]), "last", window=50, overlap=10)
    with torch.no_grad():
        ends = model.encode(torch.tensor([[model.alphabet.symbols[c] for c in windows[1]]]))[0][0, -1]
        turned = windows[0][::-1].translate(mirrored)
        begins = model.encode(torch.tensor([[model.alphabet.symbols[c] for c in turned]]))[0][0, -1]
    np.testing.assert_allclose(pooled[2], ((ends + begins) / 2).numpy(), **CLOSE)


def test_regions_with_flanks_give_their_own_symbols_only(genome, tmp_path):  # noqa: F811
    path, texts = genome
    bed = tmp_path / "r.bed"
    bed.write_text("c2\t10\t30\ta\t0\t+\nc2\t10\t30\tb\t0\t-\nc2\t0\t90\tall\t0\t+\n")
    data, model = SequenceSource(path=[path], regions_path=str(bed)), tiny()
    turned = texts[2][::-1].translate(str.maketrans("ACGT", "TGCA"))
    expected = [model.embed(texts[2][4:30])[6:], model.embed(turned[54:80])[6:], model.embed(texts[2])]
    for limit in (11, None):
        for row, truth in zip(collected(model, data, before=6, batch_symbols=limit), expected, strict=True):
            np.testing.assert_allclose(row, truth.numpy(), **CLOSE)
    both = tiny("bidirectional")
    rows = collected(both, data, before=6, after=6, window=20, overlap=10)
    first, second = (both.embed(texts[2][b : b + 20]).numpy() for b in (4, 14))
    third = both.embed(texts[2][16:36]).numpy()
    np.testing.assert_allclose(rows[0][:4], first[6:10], **CLOSE)
    np.testing.assert_allclose(rows[0][4], (first[10] + second[0]) / 2, **CLOSE)
    np.testing.assert_allclose(rows[0][7], (first[13] + second[3] + third[1]) / 3, **CLOSE)


def test_options_that_cannot_be_are_refused(genome):  # noqa: F811
    data = SequenceSource(path=[genome[0]])
    for options, message in (
        ({"layer": 3}, "layer 3: give 0"),
        ({"window": 8, "overlap": 8}, "cannot overlap by 8"),
        ({"overlap": 8}, "overlap is for windows"),
        ({"window": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            collected(tiny(), data, **options)
