"""In-context learning: members of families that a model never saw are predicted better behind their homologs."""

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule, get_alphabet
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets.sequences import Corpus, Record, Spans
from xlstm_apps.datasets.sequences.families import Families, FamilyWindows
from xlstm_apps.estimators.sequence_families import homolog_rows, ladder

PROTEIN = get_alphabet("protein")


def families(path, count, members, length, letters="LAGVSERT", identity=0.9):
    rng, records = np.random.default_rng(0), []
    for f in range(count):
        first = rng.choice(list(letters), length)
        for n in range(members):
            text = np.where(rng.random(length) < identity, first, rng.choice(list(letters), length))
            records.append(Record(id=f"{f}-{n}", sequence="".join(text).encode(), group=str(f)))
    return Corpus.build(records, path, PROTEIN)


def test_homologs_are_learnt_from(tmp_path):
    corpus = families(tmp_path / "corpus", 1500, 4, 8)
    spans = Spans.whole(corpus)
    train, test = spans[:-160], spans[-160:]
    data = FamilyWindows(corpus, Families.of(corpus, train), 36, PROTEIN.end, alone=0.0)
    torch.manual_seed(0)
    model = SequenceModel(
        SequenceConfig(alphabet="protein"),
        xLSTMConfig(embedding_dim=32, num_blocks=1, num_heads=4, rotary_base=10_000.0),
    )
    module, rng = SequenceModule(model), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    for _ in range(220):
        loss = module.training_step(data.draw(rng.integers(len(data), size=8), rng), 0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    found = ladder(corpus, train, test, 36, 20_000)
    assert found.counts == [0, 1, 2] and len(found.targets) > 100  # the others have a twin, which is not shown
    rows = homolog_rows(model, corpus, found, torch.device("cpu"), 4000)
    bits = {(row["homologs"], row["control"]): row["bits"] for row in rows}
    assert {row["symbols"] for row in rows} == {len(found.targets) * 8}
    assert all(row["perplexity"] == pytest.approx(2 ** row["bits"]) for row in rows)
    assert bits[0, "real"] == pytest.approx(3, abs=0.5)  # eight letters: nothing is known of a family not seen yet
    assert bits[2, "real"] < bits[1, "real"] - 0.1 < bits[0, "real"] - 0.6
    assert min(bits[1, "shuffled"], bits[2, "shuffled"]) > bits[0, "real"] - 0.4


def test_the_ladder_is_of_the_same_proteins(tmp_path):
    corpus = families(tmp_path / "corpus", 12, 6, 20)
    spans = Spans.whole(corpus)
    found = ladder(corpus, spans[:36], spans[36:], 200, 10**9)
    assert found.counts == [0, 1, 2, 4] and len(found.targets) == 36 and all(len(row) >= 4 for row in found.shown)
    groups = [{corpus.groups[int(found.pool.record[n])] for n in row} for row in found.shown]
    assert groups == [{corpus.groups[record]} for record in found.targets.record.tolist()]
    few = ladder(corpus, spans[:36], spans[36:], 200, 10)
    assert len(few.targets) == 20  # evenly spread, but never fewer
    assert ladder(corpus, spans[:36], spans[36:], 30, 10**9) is None  # no room for a protein and a homolog
    lonely = families(tmp_path / "lonely", 30, 1, 20)
    assert ladder(lonely, Spans.whole(lonely)[:20], Spans.whole(lonely)[20:], 200, 10**9) is None
