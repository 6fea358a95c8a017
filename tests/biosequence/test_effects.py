"""Effects of changes against whole windows written by hand: plain strings, a plain forward pass, one at a time."""

import numpy as np
import pytest
import torch
from sequence_models import causal, layers, make, masked

from xlstm_apps.biosequence import HeadConfig, SequenceConfig, SequencePredictor, get_tokenizer
from xlstm_apps.biosequence.effects import Change, change_effects
from xlstm_apps.biosequence.effects_causal import STRIDE

DNA = get_tokenizer("dna")
PAIRS = str.maketrans("ACGTN", "TGCAN")
rng = np.random.default_rng(0)
GENOME = ["".join(rng.choice(list("ACGT"), n)) for n in (150, 90, 7)]
GENOME[1] = GENOME[1][:40] + "NNN" + GENOME[1][43:]


class Strings:
    """Sequences from strings."""

    def __init__(self, texts, tokenizer=DNA):
        self.texts, self.tokenizer = texts, tokenizer
        self.lengths = np.array([len(text) for text in texts])

    def fetch(self, index, start, stop, strand=1):
        assert 0 <= start <= stop <= len(self.texts[index])
        text = self.texts[index][start:stop]
        return np.array(self.tokenizer.encode(other(text) if strand < 0 else text), np.uint8)


def other(text):
    return text.translate(PAIRS)[::-1]


def change(record, start, length, alt, texts=GENOME, tokenizer=DNA):
    ref = texts[record][start : start + length]
    return Change(record, start, *(bytes(tokenizer.encode(allele)) for allele in (ref, alt)))


# (record, place from 0, symbols replaced, what stands there then)
CASES = {
    "snv": (0, 70, 1, "A"),
    "snv-beside": (0, 71, 1, "C"),
    "snv-first": (0, 0, 1, "G"),
    "snv-last": (0, 149, 1, "T"),
    "snv-in-second-cell": (0, 33, 1, "G"),
    "mnv": (0, 64, 3, "GTA"),
    "insertion": (0, 40, 1, GENOME[0][40] + "ACGTACGTACGT"),
    "insertion-at-end": (0, 149, 1, GENOME[0][149] + "GG"),
    "bare-insertion": (0, 40, 0, "TT"),
    "deletion": (0, 100, 5, GENOME[0][100]),
    "deletion-at-begin": (0, 0, 4, GENOME[0][3]),
    "bare-deletion": (0, 149, 1, ""),
    "delins": (0, 120, 4, "TG"),
    "beside-n": (1, 39, 1, "A"),
    "behind-n": (1, 60, 2, "AC"),
    "short-contig": (2, 3, 1, "T"),
}


def differs(case):
    record, start, length, alt = case
    return GENOME[record][start : start + length] != alt


CASES = {name: case if differs(case) else (*case[:3], "C") for name, case in CASES.items()}


def alleles(case, strand, before, behind):
    """Both windows as strings, and the part of each that counts: from `before` symbols on the left to `behind`."""
    record, start, length, alt = case
    text = GENOME[record]
    stop = start + length
    if strand < 0:
        text, start, stop, alt = other(text), len(text) - stop, len(text) - start, other(alt)
    left = text[before(start) : start]
    right = text[stop : stop + behind]
    return [(left, allele, right) for allele in (text[start:stop], alt)]


def log_p(model, left, counted):
    """log p of `counted` behind `left`, all in one pass."""
    ids = DNA.encode(left + counted)
    read = torch.tensor([[DNA.bos_id, *ids] if model.begins else ids])
    with torch.no_grad():
        p = model(read)[0].log_softmax(-1)
    if not model.begins:
        p = torch.cat([torch.full_like(p[:1], torch.nan), p])
    places = [n for n in range(len(left), len(ids)) if (left + counted)[n] != "N" and not p[n].isnan().any()]
    return sum(float(p[n, ids[n]]) for n in places), len(places)


@pytest.mark.parametrize("context_length", [32, None])
@pytest.mark.parametrize("stack", ["mlstm", "slstm"])
def test_causal_effects_are_those_of_whole_windows(stack, context_length):
    torch.manual_seed(1)
    model = causal(stack)
    changes = [change(*case) for case in CASES.values()]
    found = change_effects(model, Strings(GENOME), changes, context_length=context_length, downstream=20, tokens=400)

    def before(start):  # at least 32 symbols, from the grid
        return 0 if context_length is None else max(0, start // 32 * 32 - 32)

    for column, strand in enumerate((1, -1)):
        for n, (name, case) in enumerate(CASES.items()):
            ref, alt = (
                log_p(model, left, allele + right)[0] for left, allele, right in alleles(case, strand, before, 20)
            )
            assert found.delta[n, column, 0] == pytest.approx(alt - ref, abs=2e-5), (name, strand)
    assert found.names == ("",) and np.abs(found.delta).max() > 0.1
    assert found.mean[:, 0] == pytest.approx(found.delta[:, :, 0].mean(1))


def test_a_model_without_begin_token_leaves_the_first_symbol_out():
    torch.manual_seed(1)
    model = causal("mixed", begin_token=False)
    for name in ("snv-first", "snv", "deletion-at-begin", "snv-last"):
        found = change_effects(model, Strings(GENOME), [change(*CASES[name])], context_length=None, downstream=9)
        for column, strand in enumerate((1, -1)):
            windows = alleles(CASES[name], strand, lambda start: 0, 9)
            ref, alt = (log_p(model, left, allele + right)[0] for left, allele, right in windows)
            assert found.delta[0, column, 0] == pytest.approx(alt - ref, abs=2e-5), name


def test_per_symbol_effects_are_means():
    torch.manual_seed(1)
    model = causal()
    case = CASES["insertion"]
    found = change_effects(model, Strings(GENOME), [change(*case)], context_length=32, downstream=20, per_symbol=True)
    (ref, n), (alt, m) = (
        log_p(model, left, allele + right) for left, allele, right in alleles(case, 1, lambda start: 0, 20)
    )
    assert (n, m) == (21, 33) and found.delta[0, 0, 0] == pytest.approx(alt / m - ref / n, abs=2e-5)


def test_the_other_strand_is_the_first_one_of_the_turned_genome():
    torch.manual_seed(1)
    model = causal()
    turned = [other(text) for text in GENOME]
    there = []
    for record, start, length, alt in CASES.values():
        there.append(change(record, len(GENOME[record]) - start - length, length, other(alt), turned))
    here = change_effects(model, Strings(GENOME), [change(*case) for case in CASES.values()], context_length=16)
    mirrored = change_effects(model, Strings(turned), there, context_length=16)
    np.testing.assert_allclose(here.delta, mirrored.delta[:, ::-1], atol=2e-5)


def test_effects_do_not_depend_on_company_order_or_batches():
    torch.manual_seed(1)
    model = causal()
    changes = [change(*case) for case in CASES.values()]
    together = change_effects(model, Strings(GENOME), changes * 2, context_length=32, downstream=STRIDE)
    done = []
    apart = [
        change_effects(
            model, Strings(GENOME), [c], context_length=32, downstream=STRIDE, tokens=50, advance=done.append
        )
        for c in reversed(changes)
    ]
    apart = np.concatenate([effect.delta for effect in apart])[::-1]
    np.testing.assert_allclose(together.delta, np.concatenate([apart, apart]), atol=2e-5)
    assert sum(done) == len(changes)


def hidden_log_p(model, window, places):
    """log p of the symbols at `places` of a string while they are hidden, by symbol: {place: {symbol: log p}}."""
    ids = torch.tensor([DNA.encode(window)])
    ids[0, places] = DNA.mask_id
    with torch.no_grad():
        p = model(ids)[0].log_softmax(-1)
    return {place: {base: float(p[place, DNA.encode(base)[0]]) for base in "ACGT"} for place in places}


@pytest.mark.parametrize("symmetry", ["none", "shared"])
def test_masked_effects_are_those_of_whole_windows(symmetry):
    torch.manual_seed(2)
    model = masked("mixed", symmetry=symmetry)
    changes = [change(*case) for case in CASES.values()]
    found = change_effects(model, Strings(GENOME), changes, context_length=25, downstream=4, tokens=2000)
    for column, strand in enumerate((1, -1)):
        for n, (name, case) in enumerate(CASES.items()):
            (left, ref, _), (_, alt, right) = alleles(case, strand, lambda start: max(0, start - 25), 25)
            if len(ref) == len(alt):
                places = [len(left) + i for i in range(len(ref)) if ref[i] != alt[i]]
                p = hidden_log_p(model, left + ref + right, places)
                expected = sum(p[i][alt[i - len(left)]] - p[i][ref[i - len(left)]] for i in places)
            else:
                totals = []
                for allele in (ref, alt):
                    window = left + allele + right
                    near = range(max(0, len(left) - 4), min(len(window), len(left) + len(allele) + 4))
                    totals.append(sum(hidden_log_p(model, window, [i])[i][window[i]] for i in near if window[i] != "N"))
                expected = totals[1] - totals[0]
            assert found.delta[n, column, 0] == pytest.approx(expected, abs=2e-5), (name, strand)
    if symmetry == "shared":
        np.testing.assert_array_equal(found.delta[:, 0], found.delta[:, 1])
    else:
        assert np.abs(found.delta[:, 0] - found.delta[:, 1]).max() > 0.01


HEADS = {
    "two classes": (HeadConfig(), lambda y: y[1:] - y[:1]),
    "three classes": (HeadConfig(num_outputs=3), lambda y: y.log_softmax(-1)),
    "labels": (HeadConfig(task="multilabel", num_outputs=2), lambda y: y),
    "a number": (HeadConfig(task="regression", num_outputs=1), lambda y: y),
}


@pytest.mark.parametrize("head", HEADS)
def test_predictors_are_compared_by_their_answers(head):
    torch.manual_seed(3)
    config, scale = HEADS[head]
    predictor = SequencePredictor.from_model(make(SequenceConfig(), layers("mixed")), config).eval()
    changes = [change(*case) for case in CASES.values()]
    found = change_effects(predictor, Strings(GENOME), changes, strands="both", context_length=25, tokens=300)
    for column, strand in enumerate((1, -1)):
        for n, case in enumerate(CASES.values()):
            windows = ["".join(parts) for parts in alleles(case, strand, lambda start: max(0, start - 25), 25)]
            with torch.no_grad():
                ref, alt = (scale(predictor(torch.tensor([DNA.encode(text)]))[0]) for text in windows)
            np.testing.assert_allclose(found.delta[n, column], (alt - ref).numpy(), atol=1e-9)
    alone = change_effects(predictor, Strings(GENOME), changes, context_length=25)
    assert np.isnan(alone.delta[:, 1]).all()  # a predictor answers for the strand it is given
    np.testing.assert_allclose(alone.mean, found.delta[:, 0], atol=1e-9)


def test_proteins_have_one_strand():
    protein = get_tokenizer("protein")
    torch.manual_seed(4)
    model = make(SequenceConfig(alphabet="protein"), layers("mlstm"))
    texts = ["MKTAYIAKQR"]
    found = change_effects(model, Strings(texts, protein), [change(0, 3, 1, "W", texts, protein)])
    assert np.isfinite(found.delta[0, 0]) and np.isnan(found.delta[0, 1])
    with pytest.raises(ValueError, match="the protein alphabet has one strand; use 'forward'"):
        change_effects(model, Strings(texts, protein), [], strands="both")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_length": 0}, "context_length 0 must be at least 1"),
        ({"downstream": -1}, "downstream -1"),
        ({"strands": "up"}, "strands='up' is not one of"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        change_effects(causal(), Strings(GENOME), [], **options)


def test_predictors_of_symbols_and_options_of_other_models_are_refused():
    model = make(SequenceConfig(), layers("mlstm"))
    with pytest.raises(ValueError, match="predicts something of every symbol"):
        change_effects(
            SequencePredictor.from_model(model, HeadConfig(per_symbol=True)), Strings(GENOME), [change(*CASES["snv"])]
        )
    with pytest.raises(ValueError, match="are for language models"):
        change_effects(SequencePredictor.from_model(model, HeadConfig()), Strings(GENOME), [], downstream=3)
