"""xLSTMLanguageModel: logits, and generation that does not depend on who else is in the batch."""

import itertools

import pytest
import torch

from xlstm_apps.core import xLSTMConfig, xLSTMLanguageModel
from xlstm_apps.core.sampling import sample

VOCAB = 13


def make(family="xlstm", **options):
    config = xLSTMConfig(family=family, embedding_dim=24, num_blocks=2, num_heads=2, slstm_at=(1,), proj_round_to=8)
    model = xLSTMLanguageModel(config, VOCAB, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(params=["xlstm", "xlstm-large"])
def model(request):
    return make(request.param)


def greedy(model, prompt, steps):
    """The definition: the whole text again for every token."""
    text = prompt
    for _ in range(steps):
        text = torch.cat([text, model(text[None])[0, -1].argmax()[None]])
    return text


def test_state_steps_and_packing_agree_with_one_pass(model):
    ids = torch.randint(VOCAB, (2, 9))
    logits = model(ids)
    head, state = model(ids[:, :4], return_state=True)
    tail = []
    for t in range(4, 9):
        step, state = model.step(ids[:, t], state)
        tail.append(step)
    torch.testing.assert_close(torch.cat([head, torch.stack(tail, 1)], 1), logits)
    packed = model(ids.view(1, -1), cu_seqlens=torch.tensor([0, 9, 18]))
    torch.testing.assert_close(packed.view_as(logits), logits)
    torch.testing.assert_close(model(ids, model.initial_state(2)), logits)


def test_greedy_continuation_is_the_definition(model):
    ids = torch.randint(VOCAB, (3, 4))
    expected = torch.stack([greedy(model, row, 6) for row in ids])
    assert torch.equal(model.generate(ids, 6), expected)
    assert torch.equal(model.generate(ids[0], max_new_tokens=6), expected[0])
    assert torch.equal(model.generate(ids, 0), ids)


def test_unequal_prompts_in_one_batch_equal_prompts_alone(model):
    prompts = [torch.randint(VOCAB, (n,)) for n in (5, 1, 8, 5, 2)]
    expected = [model.generate(prompt, 7) for prompt in prompts]
    texts = model.generate(prompts, 7)
    assert all(torch.equal(text, alone) for text, alone in zip(texts, expected, strict=True))

    padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=3)
    out = model.generate(padded, 7, lengths=[len(p) for p in prompts], pad_id=11)
    for row, alone in zip(out, expected, strict=True):
        assert torch.equal(row[: len(alone)], alone)
        assert (row[len(alone) :] == 11).all()


def test_texts_end_at_their_eos(model):
    ids = torch.randint(VOCAB, (4, 3))
    free = model.generate(ids, 12)
    ends = [int(free[0, 5]), int(free[2, 8])]  # so that some row ends before the last step
    model.eos_id = ends
    out, texts = model.generate(ids, 12, pad_id=9), model.generate(list(ids), 12)
    for row, text, whole in zip(out, texts, free, strict=True):
        new = whole[3:].tolist()
        kept = next((n + 1 for n, token in enumerate(new) if token in ends), 12)
        assert text.tolist() == whole[: 3 + kept].tolist()
        assert row.tolist() == whole[: 3 + kept].tolist() + [9] * (out.shape[1] - 3 - kept)
    assert torch.equal(model.generate(ids, 12, eos_id=[]), free)


def test_a_state_stands_for_the_text_before(model):
    context, prompts = torch.randint(VOCAB, (1, 6)), torch.randint(VOCAB, (3, 2))
    _, state = model(context, return_state=True)
    whole = model.generate(torch.cat([context.expand(3, -1), prompts], 1), 5)
    assert torch.equal(model.generate(prompts, 5, state=state), whole[:, 6:])


def test_sampling_is_reproducible_and_leaves_the_model_as_it_was(model):
    ids = torch.randint(VOCAB, (2, 3))
    model.train()
    draws = [
        model.generate(ids, 20, temperature=1.5, top_p=0.9, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert model.training


def test_sampling_follows_the_probabilities():
    p = torch.tensor([0.1, 0.5, 0.15, 0.25])
    logits, generator = p.log().expand(20000, 4), torch.Generator().manual_seed(0)

    def frequencies(**options):
        return sample(logits, generator=generator, **options).bincount(minlength=4) / len(logits)

    torch.testing.assert_close(frequencies(temperature=1.0), p, atol=0.02, rtol=0)
    torch.testing.assert_close(frequencies(temperature=0.5), p**2 / (p**2).sum(), atol=0.02, rtol=0)
    top2 = torch.tensor([0.0, 2 / 3, 0.0, 1 / 3])
    torch.testing.assert_close(frequencies(temperature=1.0, top_k=2), top2, atol=0.02, rtol=0)
    torch.testing.assert_close(frequencies(temperature=1.0, top_p=0.7), top2, atol=0.02, rtol=0)
    assert frequencies(temperature=1.0, top_p=1e-6)[1] == 1
    assert (sample(logits) == 1).all()


def test_tied_weights_are_one_parameter():
    model = make(tie_weights=True)
    assert model.head.weight is model.embedding.weight
    assert sum(p.shape == (VOCAB, 24) for p in model.parameters()) == 1


def test_large_models_cap_their_logits():
    model = make("xlstm-large")
    model.head.weight.data.mul_(1e3)
    assert model(torch.randint(VOCAB, (1, 5))).abs().max() <= 30
    assert make("xlstm").logit_soft_cap == make("xlstm-large", logit_soft_cap=0).logit_soft_cap == 0


def test_mistakes_are_explained():
    model, ids = make(), torch.randint(VOCAB, (2, 3))
    for call, message in (
        (lambda: model.generate([ids[0], ids[0, :0]], 2), "every prompt needs at least one token"),
        (lambda: model.generate([], 2), "every prompt needs at least one token"),
        (lambda: model.generate(ids + VOCAB, 2), "ids outside 0 to 12"),
        (lambda: model.generate(ids, 2, lengths=[1, 4]), r"lengths \[1, 4\] do not fit"),
        (lambda: model.generate(list(ids), 2, lengths=[1, 2]), "lengths belong to a padded"),
        (lambda: model.generate(ids, 2, top_k=3), "have no effect at temperature 0"),
        (lambda: model.generate(ids, 2, temperature=-1), "temperature=-1 must not be negative"),
        (lambda: model.generate(ids, 2, temperature=1, top_k=0), "top_k=0 must be at least 1"),
        (lambda: model.generate(ids, 2, temperature=1, top_p=1.5), r"top_p=1.5 must lie in \(0, 1\]"),
        (lambda: model.generate(ids, -1), "max_new_tokens=-1"),
        (lambda: xLSTMLanguageModel(model.config, 0), "vocab_size=0 must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_every_parameter_learns():
    model = xLSTMLanguageModel(make().config, VOCAB)
    ids = torch.arange(VOCAB).view(1, -1)
    torch.nn.functional.cross_entropy(model(ids)[0, :-1], ids[0, 1:]).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []


@pytest.mark.parametrize("lengths", list(itertools.permutations([1, 2, 4])))
def test_order_of_prompts_does_not_matter(lengths):
    model = make()
    prompts = [torch.arange(n) for n in lengths]
    for text, prompt in zip(model.generate(prompts, 3), prompts, strict=True):
        assert torch.equal(text, greedy(model, prompt, 3))
