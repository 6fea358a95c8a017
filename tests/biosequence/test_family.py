"""Families as context: one state for all that comes behind it, saved with its origin; prompts of any length."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sequence_models import causal, layers, make

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, get_alphabet, get_tokenizer
from xlstm_apps.biosequence.family import FamilyContext, family_facts, model_sha, read_homologs
from xlstm_apps.biosequence.scoring import Context

PROTEIN = get_alphabet("protein")
TOKENIZER = get_tokenizer("protein")
HOMOLOGS = ["MKTAYIAKQR", "MA", "MKSAYLAKQ"]


def protein(seed: int = 0, **options) -> SequenceModel:
    torch.manual_seed(seed)
    return make(SequenceConfig(alphabet="protein", **options), layers("mlstm", rotary_base=100.0))


def ids(*texts):
    return [np.array(TOKENIZER.encode(text)) for text in texts]


def test_what_comes_behind_is_scored_as_in_one_line():
    model, target = protein(), "MKTWYIA"
    family = read_homologs(model, [ids(*HOMOLOGS), ids(HOMOLOGS[0]), []])
    assert len(family) == 3 and family.about["model_sha"] == model_sha(model)
    for draw, homologs in enumerate((HOMOLOGS, HOMOLOGS[:1], [])):
        line = [PROTEIN.bos]
        for homolog in homologs:
            line += [*TOKENIZER.encode(homolog), PROTEIN.bos]
        whole = torch.tensor([[*line, *TOKENIZER.encode(target)]])
        nll = -model(whole).log_softmax(-1)[0, :-1].gather(-1, whole[0, 1:, None])[-len(target) :, 0]
        given = family.begin(model, draw)
        torch.testing.assert_close(model.score(target, context=given), nll.float())
        torch.testing.assert_close(given.logits, model(torch.tensor([line]))[:, -1])
    every = family.begin(model)
    assert every.logits.shape[0] == 3 and torch.allclose(every.logits[0], family.begin(model, 0).logits)
    torch.testing.assert_close(model.score(target, context=family.begin(model, 2)), model.score(target))


def test_the_file_comes_back_and_belongs_to_its_model(tmp_path):
    model, path = protein(), tmp_path / "family.state.safetensors"
    family = read_homologs(model, [ids(*HOMOLOGS)], {"model": "runs/a", "seed": 3})
    family.save(path)
    assert family_facts(path) == {"model_sha": model_sha(model), "model": "runs/a", "seed": 3}
    again = FamilyContext.load(path, model)
    torch.testing.assert_close(again.begin(model).logits, family.begin(model).logits)
    longer = read_homologs(model, [ids(*HOMOLOGS * 20)])
    longer.save(tmp_path / "longer.safetensors")
    assert abs((tmp_path / "longer.safetensors").stat().st_size - path.stat().st_size) < 64
    with pytest.raises(ValueError, match=r"made with another model \(runs/a\).*make it again"):
        FamilyContext.load(path, protein(1))
    assert {p.name for p in tmp_path.iterdir()} == {"family.state.safetensors", "longer.safetensors"}


def test_what_is_no_such_file_is_refused(tmp_path):
    model, path = protein(), tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match="no such file"):
        FamilyContext.load(path, model)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="no saved context of a family"):
        FamilyContext.load(path, model)
    model.read("MKT").save(path)  # a context of one sequence is something else
    with pytest.raises(ValueError, match="no saved context of a family"):
        FamilyContext.load(path, model)
    family = read_homologs(model, [ids("MK")])
    family.save(path)
    with pytest.raises(ValueError, match="not a context written by Context"):
        Context.load(path)
    with safe_open(path, "pt") as file:
        about = json.dumps(family.about)
        kept = {name: file.get_tensor(name) for name in [*file.keys()][:1]}
    save_file(kept, path, metadata={"format": "xlstm-apps family", "about": about})
    with pytest.raises(ValueError, match="no saved context of a family"):
        FamilyContext.load(path, model)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="models of proteins, and this one reads dna"):
        read_homologs(causal(), [[]])
    backbone = layers("mlstm", direction="bidirectional")
    with pytest.raises(ValueError, match="causal model with a begin token"):
        read_homologs(make(SequenceConfig(alphabet="protein", objective="masked"), backbone), [[]])
    with pytest.raises(ValueError, match="causal model with a begin token"):
        read_homologs(protein(begin_token=False), [[]])


def test_any_weight_tells_models_apart():
    model = protein()
    before = model_sha(model)
    assert before == model_sha(protein()) == model_sha(model.train()) and len(before) == 64
    with torch.no_grad():
        model.head.weight[3, 3] += 1e-6
    assert model_sha(model) != before


@pytest.mark.parametrize("length", range(9))
def test_prompts_of_any_length_decode_right(length):
    """Published decoding is wrong below four symbols: the window of the convolution was not filled."""
    model, prompt = protein(), "MKTAYIAK"[:length]
    family = read_homologs(model, [ids(*HOMOLOGS)])
    given = torch.tensor([[PROTEIN.bos, *TOKENIZER.encode(prompt)]])
    for state in (None, family.state):
        made = super(SequenceModel, model).generate(given, 6, state=state, eos_id=[])
        before = [] if state is None else [i for h in HOMOLOGS for i in (PROTEIN.bos, *TOKENIZER.encode(h))]
        for n in range(given.shape[1], made.shape[1]):
            line = torch.cat([torch.tensor([before], dtype=torch.long), made[:, :n]], 1)
            assert made[0, n] == model(line)[0, -1].argmax()
