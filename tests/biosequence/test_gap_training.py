"""Spans taken out of sequences in training: what is asked, with which weight, and that it can be learnt and resumed."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sequence_models import layers, make

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule, get_alphabet, get_tokenizer, objective
from xlstm_apps.biosequence.infilling import lay_out, lay_out_family, reorder
from xlstm_apps.biosequence.objective import ask, ask_gaps, default_weights, loss_sums

PROTEIN, TOKENIZER = get_alphabet("protein"), get_tokenizer("protein")
GAPPY = SequenceConfig(alphabet="protein", infill_spans=2.0, infill_share=0.5)
MASKS = range(33, 38)


def ids_of(*texts):
    """Homologs in one row, each closed."""
    return torch.tensor([i for text in texts for i in (*TOKENIZER.encode(text), PROTEIN.bos)])[None]


def lines_of(asked):
    """Whole documents, begin token and last target with them."""
    question, borders = asked.question, asked.cu_seqlens.tolist()
    pairs = pairwise(borders)
    return [torch.cat([question.inputs[0, a:b], question.targets[0, b - 1 : b]]).numpy() for a, b in pairs]


def test_documents_come_back_whole_and_closed():
    texts = [["MKTAYIAKQRQISFVK", "MKSA"], ["GGSLLVPRGSHM", "A", "LLLKKK"]]
    ids = torch.cat([ids_of(*group) for group in texts], 1)
    borders = torch.tensor([0, ids_of(*texts[0]).shape[1], ids.shape[1]], dtype=torch.int32)
    for seed in range(20):
        asked = ask_gaps(GAPPY, PROTEIN, ids, torch.ones(ids.shape), borders, torch.Generator().manual_seed(seed))
        assert asked.cu_seqlens.dtype == torch.int32
        for line, group in zip(lines_of(asked), texts, strict=True):
            assert line[0] == line[-1] == PROTEIN.bos
            assert [TOKENIZER.decode(symbols) for symbols in reorder(line, PROTEIN)] == [*group, ""]


def test_weights_follow_their_symbols():
    ids = ids_of("MKTAYXAK", "LLLLLL")
    weights = default_weights(ids, PROTEIN) * 0.5
    weights[0, 9:] = 0  # the second homolog is not asked for
    weights[0, 8] = 0.25  # the end of the first
    generator = torch.Generator().manual_seed(4)
    asked = ask_gaps(GAPPY, PROTEIN, ids, weights, generator=generator)
    question = asked.question
    line = torch.cat([question.inputs[0, :1], question.targets[0]])
    ends = (line[1:] == PROTEIN.bos).nonzero()[:, 0]
    first, counted = question.targets[0, : ends[0]], question.weights[0, : ends[0]]
    masks = torch.isin(first, torch.tensor([*MASKS, PROTEIN.eos]))
    assert bool(masks.any()) and (counted[masks] == 0.5).all()
    assert (counted[~masks] == torch.where(first[~masks] == PROTEIN.wildcard, 0.0, 0.5)).all()
    assert question.weights[0, ends[0]] == 0.25 and (question.weights[0, ends[0] + 1 :] == 0).all()


def test_the_layout_is_that_of_published_models(monkeypatch):
    spans = [(2, 5), (5, 6), (9, 12)]
    monkeypatch.setattr(objective, "draw_spans", lambda length, *_, **__: spans if length == 16 else [])
    ids = ids_of("MKTAYIAKQRQISFVK", "MKSA")
    asked = ask_gaps(GAPPY, PROTEIN, ids, torch.ones(ids.shape))
    symbols = ids[0].numpy()
    expected = lay_out_family([(symbols[:16], spans), (symbols[17:21], [])], PROTEIN, closed=True)
    assert lines_of(asked)[0].tolist() == expected.ids.tolist()
    assert asked.positions[0].tolist() == expected.positions[:-1].tolist()


def test_a_sequence_without_gaps_is_asked_as_before():
    rare = SequenceConfig(alphabet="protein", infill_spans=1e-9)
    ids = torch.stack([ids_of("MKTAYIAK")[0], ids_of("GGSLLVPR")[0]])
    weights = torch.rand(ids.shape)
    asked = ask_gaps(rare, PROTEIN, ids, weights)
    plain = ask(rare, PROTEIN, ids, weights)
    for name in ("inputs", "targets", "weights"):
        assert torch.equal(getattr(asked.question, name)[0], getattr(plain, name).flatten())
    assert asked.positions.tolist() == [[*range(9), *range(9)]] and asked.cu_seqlens.tolist() == [0, 9, 18]


@pytest.mark.parametrize("rotary", [None, 100.0])
def test_only_training_takes_spans_out(rotary):
    model = make(GAPPY, layers("mlstm", num_blocks=1, rotary_base=rotary)).float()
    module, ids = SequenceModule(model), torch.stack([ids_of("MKTAYIAKQRQISFVK")[0]] * 2)
    batch = {"ids": ids, "weights": torch.ones(ids.shape)}
    torch.manual_seed(0)
    module.train()
    losses = [float(module.training_step(batch, 0).detach()) for _ in range(2)]
    torch.manual_seed(0)
    assert [float(module.training_step(batch, 0).detach()) for _ in range(2)] == losses and losses[0] != losses[1]
    module.eval()
    module.validation_step(batch, 0)
    question = ask(GAPPY, PROTEIN, ids, batch["weights"])
    with torch.no_grad():
        expected = loss_sums(model(question.inputs), question)
    assert module._total == pytest.approx(float(expected[0])) and module._count == 2 * 17


def test_gaps_are_learnt_from_both_sides(monkeypatch):
    """All symbols of a sequence are one, which nothing but the end behind the gap tells."""
    monkeypatch.setattr(objective, "draw_spans", lambda length, *_, **__: [(0, 2)] if length else [])
    torch.manual_seed(0)
    model = SequenceModel(GAPPY, layers("mlstm", num_blocks=1, rotary_base=100.0, embedding_dim=32))
    module, rng = SequenceModule(model), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02)
    for _ in range(40):
        chosen = rng.choice(PROTEIN.definite[:4], (16, 1))
        ids = torch.from_numpy(np.concatenate([np.repeat(chosen, 4, 1), np.zeros((16, 1), np.int64)], 1))
        loss = module.training_step({"ids": ids, "weights": torch.ones(ids.shape)}, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    for symbol in PROTEIN.definite[:4]:
        line = lay_out(np.full(4, symbol), [(0, 2)], PROTEIN)  # <cls> <mask-1> s s <eos> <mask-1> s s
        with torch.no_grad():
            logits = model(torch.from_numpy(line.ids)[None], positions=torch.from_numpy(line.positions)[None])
        assert logits[0, 5:7].argmax(-1).tolist() == [symbol] * 2
