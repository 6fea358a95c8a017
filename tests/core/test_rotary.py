"""Rotary positions: what they turn, where they are counted, given, carried and refused."""

import dataclasses

import pytest
import torch
from stacks import make

from xlstm_apps.core import xLSTMConfig, xLSTMLanguageModel, xLSTMState
from xlstm_apps.core.rotary import rotation_at

CLOSE = {"rtol": 1e-9, "atol": 1e-11}
POSITIONS = torch.tensor([[0, 1, 2, 2, 0, 0, 1, 2, 3], [5, 6, 0, 1, 2, 3, 0, 0, 1]])


def language_model(**options):
    torch.manual_seed(3)
    config = xLSTMConfig(embedding_dim=16, num_blocks=2, num_heads=2, rotary_base=100.0, **options)
    model = xLSTMLanguageModel(config, vocab_size=11).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def test_products_of_turned_features_depend_on_distance_only():
    q, k = torch.randn(2, 1, 1, 12).double()

    def product(at, other):
        turn, back = (rotation_at(torch.tensor([[n]]), 12, 500.0, torch.float64) for n in (at, other))
        return (turn(q) * back(k)).sum()

    torch.testing.assert_close(product(7, 3), product(1004, 1000), **CLOSE)
    torch.testing.assert_close(product(0, 0), (q * k).sum(), **CLOSE)
    assert not torch.isclose(product(7, 3), product(7, 4))


def test_pair_n_turns_by_position_times_its_frequency():
    x = torch.tensor([[[1.0, 0.0, 0.0, 2.0]]]).double()
    turned = rotation_at(torch.tensor([[3]]), 4, 100.0, x.dtype)(x)[0, 0]
    expected = torch.tensor([3.0, 3.0, 0.3, 0.3]).double()
    expected = torch.stack([expected[0].cos(), expected[1].sin(), -2 * expected[2].sin(), 2 * expected[3].cos()])
    torch.testing.assert_close(turned, expected)


def test_far_positions_keep_their_distances_in_single_precision():
    q, k = torch.randn(2, 1, 1, 64)

    def product(shift):
        turn, back = (rotation_at(torch.tensor([[n + shift]]), 64, 5e5, q.dtype) for n in (9, 2))
        return (turn(q) * back(k)).sum()

    torch.testing.assert_close(product(10**9), product(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("direction", ["causal", "bidirectional", "alternating"])
def test_counting_is_the_default_and_matters(direction):
    backbone, x = make("rotary", direction=direction), torch.randn(2, 9, 24).double()
    counted = torch.arange(9).expand(2, 9)
    y = backbone(x)
    torch.testing.assert_close(backbone(x, positions=counted), y, **CLOSE)
    assert (backbone(x, positions=counted.flip(1)) - y).abs().max() > 1e-3
    bare = make("rotary", direction=direction, rotary_base=None)
    bare.load_state_dict(backbone.state_dict())
    assert (bare(x) - y).abs().max() > 1e-3
    torch.testing.assert_close(backbone(x, positions=torch.zeros_like(counted)), bare(x), **CLOSE)


@pytest.mark.parametrize("inplace", [False, True])
def test_given_positions_step_by_step_equal_one_pass(inplace):
    backbone, x = make("rotary"), torch.randn(2, 9, 24).double()
    y, last = backbone(x, positions=POSITIONS, return_state=True)
    state = backbone.initial_state(2)
    for t in range(9):
        with torch.set_grad_enabled(not inplace):
            y_t, state = backbone.step(x[:, t], state, positions=POSITIONS[:, t], inplace=inplace)
        torch.testing.assert_close(y_t, y[:, t], **CLOSE)
    assert state.position.tolist() == last.position.tolist() == [4, 2]


@pytest.mark.parametrize("inplace", [False, True])
def test_counting_goes_on_from_the_last_position(inplace):
    backbone, x = make("rotary"), torch.randn(2, 9, 24).double()
    ahead = torch.cat([POSITIONS[:, :5], torch.tensor([[1, 2, 3, 4], [3, 4, 5, 6]])], 1)
    y = backbone(x, positions=ahead)
    _, state = backbone(x[:, :5], positions=POSITIONS[:, :5], return_state=True)
    torch.testing.assert_close(backbone(x[:, 5:], state), y[:, 5:], **CLOSE)
    with torch.no_grad():
        state = state.clone()
        for t in range(5, 9):
            y_t, state = backbone.step(x[:, t], state, inplace=inplace)
            torch.testing.assert_close(y_t, y[:, t], **CLOSE)


@pytest.mark.parametrize("direction", ["causal", "bidirectional", "alternating"])
def test_given_positions_of_packed_documents(direction):
    backbone, x = make("rotary", direction=direction), torch.randn(1, 9, 24).double()
    packed = backbone(x, cu_seqlens=torch.tensor([0, 2, 9]), positions=POSITIONS[:1])
    alone = [backbone(x[:, a:b], positions=POSITIONS[:1, a:b]) for a, b in ((0, 2), (2, 9))]
    torch.testing.assert_close(packed, torch.cat(alone, 1), **CLOSE)


def test_the_position_is_saved_moved_and_cast_with_the_state(tmp_path):
    backbone, x = make("rotary"), torch.randn(2, 9, 24).double()
    _, state = backbone(x, positions=POSITIONS + 2**53 - 20, return_state=True)
    assert state.to(torch.float16).position.tolist() == state.position.tolist()
    assert state.to("cpu").detach().clone().select([1]).position.tolist() == state.position.tolist()[1:]
    state.save(tmp_path / "state.safetensors")
    loaded = xLSTMState.load(tmp_path / "state.safetensors")
    assert torch.equal(backbone(x, loaded), backbone(x, state))
    assert (
        xLSTMState.concat([state.select([1]), state.select([0])]).position.tolist() == state.position.flip(0).tolist()
    )


@pytest.mark.parametrize("cu_seqlens", [None, torch.tensor([0, 4, 9])])
def test_packed_state_counts_for_every_document(cu_seqlens):
    _, state = make("rotary")(torch.randn(1, 9, 24).double(), cu_seqlens=cu_seqlens, return_state=True)
    assert state.position.tolist() == ([9] if cu_seqlens is None else [4, 5])


def test_prompts_of_any_length_continue_as_alone_and_as_one_pass():
    model = language_model()
    prompts = [torch.tensor([3]), torch.tensor([1, 4]), torch.tensor([5, 1, 2]), torch.tensor([9, 8, 7, 6, 5])]
    together = model.generate(prompts, 6)
    for prompt, text in zip(prompts, together, strict=True):
        logits = model(text[None, :-1])[0]
        assert torch.equal(text[len(prompt) :], logits[len(prompt) - 1 :].argmax(-1))
        assert torch.equal(text, model.generate(prompt, 6))


def test_positions_of_prompts():
    model, ids = language_model(), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    positions = torch.tensor([[0, 1, 0, 1], [7, 8, 9, 0]])
    text = model.generate(ids, 5, positions=positions)
    after = torch.cat([positions, positions[:, -1:] + torch.arange(1, 5)], 1)
    logits = model(text[:, :-1], positions=after)
    assert torch.equal(text[:, 4:], logits[:, 3:].argmax(-1))
    uneven = model.generate([ids[0], ids[1, :2]], 5, positions=[positions[0], positions[1, :2]])
    assert torch.equal(uneven[0], text[0])
    assert torch.equal(uneven[1], model.generate(ids[1, :2], 5, positions=positions[1, :2]))
    logits, state = model.step(ids[:, 0], positions=positions[:, 0])
    torch.testing.assert_close(logits, model(ids[:, :1], positions=positions[:, :1])[:, 0], **CLOSE)
    assert state.position.tolist() == [1, 8]


def test_saved_configurations_keep_the_base(tmp_path):
    model = language_model().float()
    model.save_pretrained(tmp_path)
    loaded = xLSTMLanguageModel.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(loaded(ids), model(ids))
    assert xLSTMConfig().rotary_base is None


def test_mistakes_are_explained():
    backbone, bare, x = make("rotary"), make("mlstm"), torch.randn(2, 9, 24).double()
    _, state = backbone(x, return_state=True)
    model, ids = language_model(), torch.tensor([[1, 2], [3, 4]])
    for call, message in (
        (lambda: bare(x, positions=POSITIONS), "a backbone without them; set rotary_base"),
        (lambda: backbone(x, positions=POSITIONS[:1]), r"whole numbers of shape \[2, 9\], got \[1, 9\]"),
        (lambda: backbone(x, positions=POSITIONS.float()), "must be whole numbers"),
        (lambda: backbone(x, state._replace(position=None)), "it has no position, while this one counts them"),
        (lambda: make("mixed", num_blocks=3)(x, state), "it has a position, while this one does not count them"),
        (lambda: model.generate(ids, 2, positions=ids[:, :1]), "one for every token"),
        (lambda: model.generate(ids, 2, positions=ids[:1]), "one for every token"),
        (lambda: xLSTMConfig(rotary_base=1e4, slstm_at="all"), "needs an mLSTM block"),
        (lambda: xLSTMConfig(rotary_base=0.0), "must be positive"),
        (lambda: xLSTMConfig(family="xlstm-large", rotary_base=1e4), "no option of family"),
        (lambda: dataclasses.replace(xLSTMConfig(), rotary_base=1e4, embedding_dim=5, num_heads=1, qkv_block_size=1,
                                     mlstm_proj_factor=1.0, proj_round_to=1), "must be a multiple of a rotated pair"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
