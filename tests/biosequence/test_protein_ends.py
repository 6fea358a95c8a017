"""How a protein ends: with the begin of the next, in training, scores, generation and published weights."""

import numpy as np
import pytest
import torch
from sequence_models import layers, make
from test_sequence_training import total

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule, get_alphabet, get_tokenizer
from xlstm_apps.biosequence.infilling import lay_out_family
from xlstm_apps.biosequence.objective import ask_line, loss_sums
from xlstm_apps.datasets.sequences import Corpus, Record, SequenceDataset, Spans, windows
from xlstm_apps.estimators.sequence_generation import generate_sequences

PROTEIN = get_alphabet("protein")


def proteins(**options) -> SequenceModel:
    return make(SequenceConfig(alphabet="protein", **options), layers("mlstm", rotary_base=100.0))


@pytest.fixture
def corpus(tmp_path):
    records = [Record(id=text, sequence=text.encode()) for text in ("MKTAYIAKQR", "MA", "GGSLLVPR")]
    return Corpus.build(records, tmp_path / "corpus", PROTEIN)


@pytest.mark.parametrize(("name", "end"), [("dna", 1), ("protein", 0), ("smiles", 2), ("text", 0xFD)])
def test_what_ends_a_sequence(name, end):
    alphabet = get_alphabet(name)
    assert alphabet.end == end
    assert SequenceConfig(alphabet=name).ends == (name in ("protein", "smiles"))
    assert [SequenceConfig(alphabet=name, end_token=wanted).ends for wanted in (True, False)] == [True, False]


def test_training_asks_for_the_end_of_records_but_not_of_windows(corpus):
    cut = windows(Spans.whole(corpus), 8)
    batch = SequenceDataset(corpus, cut, end=PROTEIN.end).__getitems__(range(len(cut)))
    ends = (batch["ids"] == PROTEIN.bos).sum(1).tolist()
    assert ends == [0, 1, 1, 1] and cut.stop.tolist() == [8, 10, 2, 8]
    assert batch["weights"][1].tolist() == [1.0] * 9 and batch["weights"][2, :4].tolist() == [1, 1, 1, 0]


def test_the_loss_of_closed_records_is_that_of_a_closed_line_and_of_their_scores(corpus):
    model = proteins()
    dataset = SequenceDataset(corpus, Spans.whole(corpus), end=PROTEIN.end)
    loss, count = total(SequenceModule(model), dataset, 2)
    expected = scored = 0.0
    for n in range(3):
        symbols = corpus[n].astype(np.int64)
        line = lay_out_family([(symbols, [])], PROTEIN, closed=True)
        question, positions = ask_line(line, PROTEIN)
        with torch.no_grad():
            expected += float(loss_sums(model(question.inputs, positions=positions), question)[0])
        ids = torch.from_numpy(line.ids[1:])[None]
        nll = model.score(ids, torch.ones(ids.shape))[0]
        assert nll[:-1] == pytest.approx(model.score(get_tokenizer("protein").decode(symbols)).numpy())
        scored += float(nll.sum())
    assert count == 10 + 2 + 8 + 3
    assert loss == pytest.approx(expected) and loss == pytest.approx(scored, rel=1e-6)


def test_generation_of_a_protein_stops_where_the_next_would_begin():
    model = proteins()
    with torch.no_grad():
        model.head.weight[:] = 0  # every token is as probable as any other
        model.embedding.weight[:] = model.embedding.weight[:1]
    generator = torch.Generator().manual_seed(0)
    made = model.generate(None, 200, num_sequences=30, temperature=1.0, generator=generator)
    ended = [row for row in made if row[-1] == PROTEIN.bos]
    assert len(ended) > 25 and all(PROTEIN.bos not in row[:-1].tolist() for row in made)
    allowed = {*PROTEIN.definite, PROTEIN.bos}
    assert all(set(row.tolist()) <= allowed for row in made)  # no gap, and no <eos>, behind which fillings would follow
    held = model.generate(None, 40, num_sequences=30, min_new_tokens=12, temperature=1.0, generator=generator)
    assert all(PROTEIN.bos not in row[:12].tolist() for row in held)
    batch = next(iter(generate_sequences(model, ["MK"] * 20, max_length=50, seed=1)))
    assert any(m.ended for m in batch) and all(set(m.text) <= set("LAGVSERTIDPKQNFYMHWC") for m in batch)
    assert all(m.added == len(m.text) - 2 == m.scored for m in batch)


def test_published_weights_as_a_model_of_this_package(golden, tmp_path):
    tensors, meta = golden("prot_xlstm")
    weights = {key.removeprefix("sd."): value for key, value in tensors.items() if key.startswith("sd.")}
    model = SequenceModel.from_published(meta["config"], weights)
    assert model.sequence.alphabet == "protein" and model.begins and model.sequence.infills and model.sequence.ends
    logits = model(tensors["ids"], positions=tensors["position_ids"])
    torch.testing.assert_close(logits, tensors["logits"], rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path)
    torch.testing.assert_close(again.score("MKTAYIAK"), model.score("MKTAYIAK"))
    begins = tensors["ids"] == PROTEIN.bos
    if bool(begins[:, 0].all()) and not bool(torch.isin(tensors["ids"], torch.arange(32, 38)).any()):
        torch.testing.assert_close(model(tensors["ids"]), logits)  # positions begin again at every begin token


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphabet": "dna", "infill_spans": 1.0}, "causal models of proteins"),
        ({"alphabet": "protein", "objective": "masked", "infill_spans": 1.0}, "causal models of proteins"),
        ({"alphabet": "protein", "infill_spans": -1.0}, "must not be negative"),
        ({"alphabet": "protein", "infill_share": 1.5}, "infill_share=1.5 is a share"),
        ({"alphabet": "protein", "objective": "masked", "end_token": True}, "end_token is for objective='causal'"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        SequenceConfig(**options)
