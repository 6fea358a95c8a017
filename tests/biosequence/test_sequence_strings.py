"""Strings in the place of ids, streams of chunks, and contexts kept on disk."""

import pytest
import torch
from sequence_models import bases, causal, masked

from xlstm_apps.biosequence import SequenceModel
from xlstm_apps.biosequence.scoring import Context, stream_features, stream_scores
from xlstm_apps.biosequence.strings import by_length

TEXTS = ["ACGTTGCA", "G", "ACGTNACGTTTAC", "TTGCA", "CC"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5, "equal_nan": True}


def ids_of(model, text):
    return torch.tensor([[model.alphabet.symbols[symbol] for symbol in text]])


@pytest.mark.parametrize("make", [causal, masked])
def test_scores_of_strings_are_those_of_their_ids_one_by_one(make, monkeypatch):
    model = make()
    expected = [model.score(ids_of(model, text))[0] for text in TEXTS]
    torch.testing.assert_close(model.score(TEXTS), expected, **CLOSE)
    torch.testing.assert_close(model.score(TEXTS[2]), expected[2], **CLOSE)
    assert model.score("ACGTNACG").isnan().tolist().index(True) == 4
    monkeypatch.setattr("xlstm_apps.biosequence.strings.BATCH_SYMBOLS", 9)
    torch.testing.assert_close(model.score(TEXTS), expected, **CLOSE)


def test_strings_are_read_as_files_are_and_refused_by_place():
    model = causal()
    torch.testing.assert_close(model.score("acgur"), model.score("ACGTN"), **CLOSE)
    with pytest.raises(ValueError, match="string 2: 'E' at position 3 is no symbol of the dna alphabet"):
        model.score(["ACGT", "ACEG"])
    with pytest.raises(ValueError, match="string 2: empty"):
        model.score(["ACGT", ""])
    with pytest.raises(ValueError, match="exclude each other"):
        model.score("ACGT", lengths=[4])
    with pytest.raises(ValueError, match="position 2 is no symbol"):
        model.score("AéG")


@pytest.mark.parametrize("make", [causal, masked])
def test_features_of_strings_are_those_of_their_ids(make):
    model = make()
    for layer in (-1, 1):
        expected = [model.embed(ids_of(model, text), layer)[0] for text in TEXTS]
        torch.testing.assert_close(model.embed(TEXTS, layer), expected, rtol=1e-9, atol=1e-9)
    pooled = model.embed(TEXTS, pooling="mean")
    assert pooled.shape == (5, 24)
    with pytest.raises(ValueError, match="pooling='none': give 'mean', 'last' or 'max', or None"):
        model.embed("ACGT", pooling="none")
    torch.testing.assert_close(pooled[3], model.embed("TTGCA", pooling="mean"), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(pooled[3], model.embed(ids_of(model, "TTGCA"), pooling="mean")[0])


def test_prompts_of_strings_are_continued_as_strings():
    model = causal()
    made = model.generate(["ACG", "TTTTT", ""], 12, min_new_tokens=12)
    assert [len(text) for text in made] == [15, 17, 12] and made[0].startswith("ACG") and made[1].startswith("TTTTT")
    assert set("".join(made)) <= set("ACGT")
    rows = model.generate([ids_of(model, "ACG")[0]], 12, min_new_tokens=12)
    assert made[0] == model.generate("ACG", 12, min_new_tokens=12)
    assert "".join(model.alphabet.tokens[i] for i in rows[0]) == made[0]
    with pytest.raises(ValueError, match="empty; give at least one symbol"):
        causal(begin_token=False).generate("", 5)


def test_no_sequence_ends_before_its_least_length():
    model = causal(end_token=True)
    with torch.no_grad():  # the end is what it likes best
        model.head.weight[model.alphabet.eos] = 0
        model.head.weight[list(model.alphabet.definite)] = 0
        model.embedding.weight[:] = model.embedding.weight[:1]
    ends = model.alphabet.eos
    generator = torch.Generator().manual_seed(1)
    free = [len(row) for row in model.generate([bases(2)] * 40, 10, temperature=1.0, generator=generator)]
    held = model.generate([bases(2)] * 40, 10, min_new_tokens=6, temperature=1.0, generator=generator)
    assert min(free) < 8 and min(len(row) for row in held) >= 8 and max(len(row) for row in held) <= 12
    assert all(ends not in row[:8].tolist() for row in held) and any(len(row) < 12 for row in held)
    with pytest.raises(ValueError, match="between 0 and max_new_tokens=4"):
        model.generate("AC", 4, min_new_tokens=5)
    with pytest.raises(ValueError, match="not with padded rows"):
        model.generate(bases(2, 3), 4, min_new_tokens=2, lengths=[3, 2])


def test_a_model_that_has_learned_no_end_does_not_end():
    model = causal()
    with torch.no_grad():  # a logit that nothing has ever pushed down
        model.head.weight[list(model.alphabet.definite)] = 0
    for prompt in ("ACGNNN", "A"):
        assert len(model.generate(prompt, 20, temperature=1.0)) == len(prompt) + 20


def test_a_context_is_kept_on_disk_and_shared_by_strings(tmp_path):
    model = causal()
    model.read("ACGTTGCA").save(tmp_path / "flank.safetensors")
    context = Context.load(tmp_path / "flank.safetensors")
    ends = ["ACG", "T", "GGTA"]
    expected = [model.score("ACGTTGCA" + end)[8:] for end in ends]
    torch.testing.assert_close(model.score(ends, context=context), expected, **CLOSE)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match="no such file"):
        Context.load(tmp_path / "none")
    (tmp_path / "other").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a context written by"):
        Context.load(tmp_path / "other")
    with pytest.raises(ValueError, match="2 rows for 3 strings"):
        model.score(ends, context=context.select([0, 0]))


def test_a_saved_model_scores_embeds_and_generates_strings(tmp_path):
    model = causal().float()
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(str(tmp_path))
    torch.testing.assert_close(again.score("ACGTT"), model.score("ACGTT"))
    assert again.embed("ACGTT", pooling="max").shape == (24,) and len(again.generate("A", 5, min_new_tokens=5)) == 6


@pytest.mark.parametrize("begin_token", [True, False])
def test_streams_are_the_whole_in_pieces(begin_token):
    model, ids = causal(begin_token=begin_token), torch.randint(7, 11, (1, 23))
    for length in (1, 4, 23):
        scores = torch.cat(list(stream_scores(model, ids.split(length, 1))), 1)
        torch.testing.assert_close(scores, model.score(ids), **CLOSE)
        for layer in (-1, 0, 1, 2):
            features = torch.cat(list(stream_features(model, ids.split(length, 1), layer)), 1)
            torch.testing.assert_close(features, model.embed(ids, layer), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="a masked model"):
        next(stream_features(masked(), [ids]))


def test_batches_hold_what_is_alike_and_no_more_than_fits():
    lengths = [5, 1, 9, 4, 5, 2]
    batches = list(by_length(lengths, 10))
    assert sorted(i for batch in batches for i in batch) == list(range(6)) and batches[0] == [2]
    assert all(len(batch) * max(lengths[i] for i in batch) <= 10 for batch in batches)
