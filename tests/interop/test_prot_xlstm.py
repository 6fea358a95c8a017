"""Prot-xLSTM checkpoints: the golden file, positions of several homologs, short prompts, refusals."""

import pytest
import torch
from test_xlstm import relative, weights_of

from xlstm_apps.interop import load_reference


@pytest.fixture
def model(golden):
    tensors, meta = golden("prot_xlstm")
    return load_reference("prot-xlstm", meta, tensors)


@pytest.mark.parametrize("prefix", ["", "backbone.", "sd."])
@pytest.mark.parametrize("nested", [False, True])
def test_golden_logits(golden, prefix, nested):
    tensors, meta = golden("prot_xlstm")
    weights = {prefix + key: tensor for key, tensor in weights_of(tensors).items()}
    model = load_reference("prot-xlstm", meta if nested else meta["config"], weights)
    assert relative(model(tensors["ids"], position_ids=tensors["position_ids"]), tensors["logits"]) < 1e-5
    assert relative(model(tensors["ids"]), tensors["logits"]) > 0.01  # counted through, not begun again


def test_golden_logits_in_segments_and_step_by_step(model, golden):
    tensors, _ = golden("prot_xlstm")
    ids, positions = tensors["ids"], tensors["position_ids"]
    first, state = model(ids[:, :11], position_ids=positions[:, :11], return_state=True)
    second = model(ids[:, 11:], state, position_ids=positions[:, 11:])
    assert relative(torch.cat([first, second], 1), tensors["logits"]) < 1e-5
    state, steps = None, []
    for t in range(ids.shape[1]):
        logits, state = model.step(ids[:, t], state, position_ids=positions[:, t])
        steps.append(logits)
    assert relative(torch.stack(steps, 1), tensors["logits"]) < 1e-5


@pytest.mark.parametrize("length", [1, 2, 3, 4, 13])
def test_prompts_of_any_length_are_continued_right(model, golden, length):
    tensors, _ = golden("prot_xlstm")
    ids, positions = tensors["ids"][:, :length], tensors["position_ids"][:, :length]
    text = model.generate(ids, max_new_tokens=6)
    assert text.shape == (2, length + 6)
    assert torch.equal(text[:, length:], model(text[:, :-1])[:, length - 1 :].argmax(-1))
    text = model.generate(ids, max_new_tokens=6, position_ids=positions)
    after = torch.cat([positions, positions[:, -1:] + torch.arange(1, 6)], 1)
    logits = model(text[:, :-1], position_ids=after)
    assert torch.equal(text[:, length:], logits[:, length - 1 :].argmax(-1))


def test_positions_have_no_limit(model):
    ids = torch.arange(24)[None] % 20 + 4
    near, far = (model(ids, position_ids=torch.arange(24)[None] + shift) for shift in (0, 10**6))
    assert torch.isfinite(far).all()
    assert relative(far, near) > 1e-4  # the gates read the turned queries and keys, so the place itself counts


def test_config_of_the_published_folder(golden):
    tensors, meta = golden("prot_xlstm")
    config = {**meta["config"], "slstm_block": {"slstm": {"num_heads": 8}}, "slstm_at": [], "_block_map": "0,0"}
    model = load_reference("prot-xlstm", config, tensors)
    assert relative(model(tensors["ids"], position_ids=tensors["position_ids"]), tensors["logits"]) < 1e-5
    assert model.config.rotary_base == 500_000


def test_what_cannot_be_reproduced_is_refused(golden):
    tensors, meta = golden("prot_xlstm")
    for options, message in (
        ({"position_embeddings": "abs_1d"}, "position_embeddings='abs_1d' is not supported, only 'rot_1d' and 'none'"),
        ({"position_embeddings": "rot_2d"}, "is not supported"),
        ({"vocab_size": 40}, "config says vocab_size=40, the weights have 38"),
        ({"embedding_dim": 32}, "config says embedding_dim=32"),
    ):
        with pytest.raises(ValueError, match=message):
            load_reference("prot-xlstm", {**meta["config"], **options}, tensors)
    bare = load_reference("prot-xlstm", {**meta["config"], "position_embeddings": "none"}, tensors)
    with pytest.raises(ValueError, match="positions were given to a backbone without them"):
        bare(tensors["ids"], position_ids=tensors["position_ids"])
