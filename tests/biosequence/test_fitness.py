"""Scores of mutants: whole sequences and single sites, as if each were read by itself."""

import numpy as np
import pytest
import torch
from sequence_models import layers, make
from test_family import HOMOLOGS, PROTEIN, TOKENIZER, ids, protein

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, fitness
from xlstm_apps.biosequence.family import read_homologs
from xlstm_apps.biosequence.fitness import forward_scores, site_scores
from xlstm_apps.biosequence.infilling import lay_out, lay_out_family
from xlstm_apps.interop import load_reference

WILD = "MKTAYIAKQRXISFVK"


def closed(model, text, context):
    """log p of a whole sequence and its end."""
    row = torch.tensor([[*TOKENIZER.encode(text), PROTEIN.end]])
    nll = model.score(row, torch.ones(row.shape), context=context)[0]
    return -float(nll[row[0] != PROTEIN.wildcard].double().sum())


@pytest.fixture(params=[2, 5, 64])
def stride(request, monkeypatch):
    monkeypatch.setattr(fitness, "STRIDE", request.param)


@pytest.mark.parametrize("with_family", [False, True])
def test_whole_sequences_are_scored_as_each_by_itself(stride, with_family):
    model, told = protein(), []
    context = read_homologs(model, [ids(*HOMOLOGS)]).begin(model) if with_family else None
    texts = [WILD, "MKTAYIAKQRXISFVG", "WKTAYIAKQRXISFVK", "MKTAYWAKGRXISFVK", "MKTAYIAKQRXISFV", "MK", f"{WILD}AA",
             "AAA", "WKTAYIAKQRXISFVK"]  # fmt: skip
    scores = forward_scores(model, *ids(WILD), ids(*texts), context, tokens=40, advance=told.append)
    expected = [closed(model, text, context) - closed(model, WILD, context) for text in texts]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores[0] == 0 and sum(told) == len(texts) and scores[2] == scores[-1]


def test_without_begin_and_end():
    model = protein(begin_token=False, end_token=False)
    scores = forward_scores(model, *ids("MKTA"), ids("MKTW", "WKTA"))
    total = [-float(model.score(text).nansum()) for text in ("MKTA", "MKTW", "WKTA")]  # the first is not expected
    np.testing.assert_allclose(scores, np.array(total[1:]) - total[0], atol=1e-5)


@pytest.mark.parametrize("show", [False, True])
def test_sites_are_gaps_of_one(stride, show):
    model = protein(infill_spans=1.0)
    family = read_homologs(model, [ids(*HOMOLOGS)])
    wild, sites = ids(WILD)[0], [15, 0, 3, 4, 10]
    scores = site_scores(model, wild, sites, family.begin(model), show_wild_type=show, tokens=40)
    assert scores.shape == (5, 20) and np.isnan(scores[4]).all()
    before = [i for h in [*HOMOLOGS, *[WILD] * show] for i in (PROTEIN.bos, *TOKENIZER.encode(h))]
    for site, row in zip(sites[:4], scores, strict=False):
        line = lay_out(wild, [(site, site + 1)], PROTEIN)
        tokens = torch.tensor([[*before, *line.ids[:-1]]])
        begins = np.arange(len(before)) - np.maximum.accumulate(
            np.where(np.array(before) == PROTEIN.bos, np.arange(len(before)), 0)
        )
        places = torch.tensor([[*begins.tolist(), *line.positions[:-1]]])
        chances = model(tokens, positions=places)[0, -1, list(PROTEIN.definite)].log_softmax(-1).detach().numpy()
        own = PROTEIN.definite.index(int(wild[site]))
        np.testing.assert_allclose(row, chances - chances[own], atol=1e-6)
        assert row[own] == 0


def test_masked_models_hide_the_site_in_its_place():
    torch.manual_seed(0)
    model = make(SequenceConfig(alphabet="protein", objective="masked"), layers(direction="bidirectional"))
    wild = ids("MKTAYI")[0]
    scores = site_scores(model, wild, [0, 1, 5], tokens=12)
    hidden = torch.from_numpy(wild)[None].clone()
    hidden[0, 5] = PROTEIN.mask
    chances = model(hidden)[0, 5, list(PROTEIN.definite)].log_softmax(-1).detach().numpy()
    np.testing.assert_allclose(scores[2], chances - chances[PROTEIN.definite.index(int(wild[5]))])


def test_a_model_that_knows_one_side_only_is_refused():
    with pytest.raises(ValueError, match=r"without gaps to fill.*--sequence.infill_spans 1"):
        site_scores(protein(), *ids("MKT"), [0])


@pytest.mark.parametrize("text", ["M", "MK", "MKT"])
def test_peptides(text):
    model = protein(infill_spans=1.0)
    assert np.isfinite(site_scores(model, *ids(text), range(len(text)))).all()
    assert np.isfinite(forward_scores(model, *ids(text), ids("W", "MKTA"))).all()


def test_proteins_beyond_the_published_limit_of_positions():
    rng = np.random.default_rng(0)
    wild = rng.choice(PROTEIN.definite, 2100)
    mutant = wild.copy()
    mutant[2090] = PROTEIN.definite[int(mutant[2090] == PROTEIN.definite[0])]
    model = protein(infill_spans=1.0).float()
    later, first = forward_scores(model, wild, [mutant])[0], forward_scores(model, wild[1000:], [mutant[1000:]])[0]
    assert np.isfinite(later) and later != first
    assert np.isfinite(site_scores(model, wild, [2090])).all()


def test_published_weights_are_asked_as_published(golden):
    """Homologs, the wild type, and the wild type with a gap at the site, in one line of the published model."""
    tensors, meta = golden("prot_xlstm")
    model = SequenceModel.from_published(meta["config"], {k[3:]: v for k, v in tensors.items() if k.startswith("sd.")})
    wild = ids("MKTAYIAKQR")[0]
    context = read_homologs(model, [ids(*HOMOLOGS)]).begin(model)
    found = site_scores(model, wild, [4], context, show_wild_type=True)[0]
    line = lay_out_family([*((h, []) for h in ids(*HOMOLOGS)), (wild, []), (wild, [(4, 5)])], PROTEIN)
    published = load_reference("prot-xlstm", meta, tensors)
    tokens, places = (torch.from_numpy(column[:-1])[None] for column in (line.ids, line.positions))
    with torch.no_grad():
        chances = published(tokens, position_ids=places)[0, -1, 4:24].double().log_softmax(-1).numpy()
    np.testing.assert_allclose(found, chances - chances[wild[4] - 4], atol=1e-4)
