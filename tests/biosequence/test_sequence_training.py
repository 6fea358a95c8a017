"""From records to a trained model: the batches of the data set, padded or packed, and a run that is broken off."""

import numpy as np
import pytest
import torch
from sequence_models import causal, layers, masked

from xlstm_apps.biosequence import (
    HeadConfig,
    PredictorModule,
    SequenceConfig,
    SequenceModel,
    SequenceModule,
    SequencePredictor,
    get_alphabet,
)
from xlstm_apps.datasets.sequences import Corpus, Record, SequenceDataset, Spans, windows
from xlstm_apps.training import BatchLoader, FitConfig, fit


@pytest.fixture
def corpus(tmp_path):
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("ACGTN"), n)) for n in (7, 31, 12, 50, 3)]
    records = [Record(id=f"r{n}", sequence=text.encode()) for n, text in enumerate(texts)]
    return Corpus.build(records, tmp_path / "corpus", get_alphabet("dna"))


def total(module, dataset, batch_size):
    module.eval().on_validation_epoch_start()
    for number, batch in enumerate(BatchLoader(dataset, batch_size)):
        module.validation_step(batch, number)
    return module._total, module._count


@pytest.mark.parametrize("symmetry", ["none", "posthoc"])
def test_padded_and_packed_batches_give_the_same_loss(corpus, symmetry):
    module, spans = SequenceModule(causal(symmetry=symmetry)), windows(Spans.whole(corpus), 10, score_once=True)
    padded = total(module, SequenceDataset(corpus, spans), 4)
    assert padded == pytest.approx(total(module, SequenceDataset(corpus, spans, layout="pack", pack_length=25), 2))
    whole = torch.cat([module.model.score(torch.tensor(corpus[n].astype(int))[None])[0] for n in range(5)])
    assert padded[1] == whole.isfinite().sum()
    if symmetry == "none":
        entire = total(module, SequenceDataset(corpus, Spans.whole(corpus), layout="pack"), 5)
        assert entire[0] == pytest.approx(whole.nansum().item(), rel=1e-5)


def test_labels_of_packed_and_padded_batches(corpus):
    built = SequencePredictor.from_model(masked(symmetry="shared"), HeadConfig(pooling="max"))
    spans, labels = Spans.whole(corpus), np.array([0, 1, 1, 0, 1])
    padded = total(PredictorModule(built), SequenceDataset(corpus, spans, labels=labels), 2)
    packed = total(PredictorModule(built), SequenceDataset(corpus, spans, labels=labels, layout="pack"), 5)
    assert padded == pytest.approx(packed)


@pytest.mark.parametrize("symmetry", ["posthoc", "shared"])
def test_a_run_that_is_broken_off_ends_with_the_same_weights(corpus, tmp_path, power_cut, symmetry):
    config = SequenceConfig(objective="masked", symmetry=symmetry, embedding_dropout=0.1)
    dataset = SequenceDataset(corpus, windows(Spans.whole(corpus), 10))
    options = FitConfig(max_epochs=2, learning_rate=0.01, accelerator="cpu", checkpoint_seconds=0)

    def run(name, resume=False):
        torch.manual_seed(0)
        module = SequenceModule(SequenceModel(config, layers(direction="bidirectional", num_blocks=1, slstm_at=())))
        train, valid = BatchLoader(dataset, 4, seed=1, shuffle=True), BatchLoader(dataset, 4)
        fit(module, train, valid, options, seed=1, run_dir=tmp_path / name, resume=resume)
        return module.state_dict()

    whole = run("whole")
    with power_cut(SequenceModule, step=3):
        run("broken")
    again = run("broken", resume=True)
    assert all(torch.equal(again[name], value) for name, value in whole.items())
