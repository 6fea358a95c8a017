"""The sequence model: symmetry, packing, features, generation, saving."""

import itertools

import pytest
import torch
from sequence_models import STACKS, bases, causal, layers, make, masked

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.sizes import SIZES, named_size

DIRECTIONS = ["causal", "bidirectional", "alternating"]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
BORDERS = torch.tensor([0, 1, 6, 13])


def reverse_complement(model, ids):
    return model.complement[ids.flip(1)]


def turned(model, logits):
    return logits.flip(1)[..., model.complement]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_shared_strands_are_exactly_equivariant(heads, stack, direction):
    model, ids = masked(stack, direction, heads, symmetry="shared").float(), bases(3, 17)
    logits = model(ids)
    assert logits.std() > 0.3
    torch.testing.assert_close(turned(model, model(reverse_complement(model, ids))), logits, rtol=0, atol=1e-5)
    features = model.embed(ids)
    torch.testing.assert_close(model.embed(reverse_complement(model, ids)).flip(1), features, rtol=0, atol=1e-5)
    for pooling in ("mean", "last", "max"):
        pooled = model.embed(ids, pooling=pooling)
        twin = model.embed(reverse_complement(model, ids), pooling=pooling)
        torch.testing.assert_close(twin, pooled, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_posthoc_averages_both_strands_out_of_training_only(stack):
    model, ids = masked(stack, "bidirectional", symmetry="posthoc"), bases(2, 9)
    logits = model(ids)
    torch.testing.assert_close(turned(model, model(reverse_complement(model, ids))), logits, **CLOSE)
    model.train()
    own = model(ids)
    assert (turned(model, model(reverse_complement(model, ids))) - own).abs().max() > 0.1
    torch.testing.assert_close((own + turned(model, model(reverse_complement(model, ids)))) / 2, logits, **CLOSE)


def test_every_symbol_of_a_masked_model_sees_every_other():
    for direction, symmetry in [("bidirectional", "none"), ("causal", "shared"), ("alternating", "shared")]:
        model, ids = masked("mixed", direction, symmetry=symmetry), torch.full((1, 9), 7)
        for place in range(9):
            other = ids.clone()
            other[0, place] = 8
            assert ((model(other) - model(ids)).abs().amax(-1) > 0).all(), (direction, place)


@pytest.mark.parametrize("symmetry", ["none", "posthoc", "shared"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_packed_and_padded_sequences_equal_separate_ones(direction, symmetry):
    if direction == "causal" and symmetry != "shared":
        model = causal(symmetry=symmetry)
    else:
        model = masked("mixed", direction, symmetry=symmetry)
    row = bases(1, 13)
    parts = [row[:, a:b] for a, b in itertools.pairwise(BORDERS.tolist())]
    padded = torch.nn.utils.rnn.pad_sequence([part[0] for part in parts], batch_first=True, padding_value=4)
    lengths = [1, 5, 7]
    for run in (model, model.embed, lambda ids, **kw: model.embed(ids, 1, **kw)):
        alone = [run(part) for part in parts]
        torch.testing.assert_close(run(row, cu_seqlens=BORDERS), torch.cat(alone, 1), **CLOSE)
        whole = run(padded, lengths=lengths)
        for n, (length, part) in enumerate(zip(lengths, alone, strict=True)):
            torch.testing.assert_close(whole[n : n + 1, :length], part, **CLOSE)
            assert not whole[n, length:].any()
    for pooling in ("mean", "last", "max"):
        alone = torch.cat([model.embed(part, pooling=pooling) for part in parts])
        torch.testing.assert_close(model.embed(row, pooling=pooling, cu_seqlens=BORDERS), alone, **CLOSE)
        torch.testing.assert_close(model.embed(padded, pooling=pooling, lengths=lengths), alone, **CLOSE)


@pytest.mark.parametrize("stack", STACKS)
def test_step_equals_chunks_equals_one_pass(stack):
    model, ids = causal(stack), bases(2, 12)
    logits = model(ids)
    for prompt in range(1, 9):
        first, state = model(ids[:, :prompt], return_state=True)
        rest, _ = model(ids[:, prompt:], state, return_state=True)
        torch.testing.assert_close(torch.cat([first, rest], 1), logits, **CLOSE)
        steps = []
        for t in range(prompt, 12):
            step, state = model.step(ids[:, t], state)
            steps.append(step)
        torch.testing.assert_close(torch.stack(steps, 1), logits[:, prompt:], **CLOSE)


@pytest.mark.parametrize("stack", STACKS)
def test_a_prompt_may_end_anywhere_around_the_border_of_a_chunk(stack):
    model, ids = causal(stack), bases(1, 68)
    logits = model(ids)
    for prompt in (63, 64, 65):
        first, state = model(ids[:, :prompt], return_state=True)
        step, _ = model.step(ids[:, prompt], state)
        rest, _ = model(ids[:, prompt:], state, return_state=True)
        torch.testing.assert_close(torch.cat([first, rest], 1), logits, **CLOSE)
        torch.testing.assert_close(step, logits[:, prompt], **CLOSE)


def test_features_of_every_layer():
    model, ids = masked(), bases(2, 9)
    torch.testing.assert_close(model.embed(ids, 0), model.embedding(ids))
    torch.testing.assert_close(model.backbone.final_norm(model.embed(ids, 2)), model.embed(ids))
    torch.testing.assert_close(super(SequenceModel, model).logits(model.embed(ids)), model(ids))
    with pytest.raises(ValueError, match="give 0"):
        model.embed(ids, 3)


def test_features_of_a_causal_model_begin_with_its_begin_token():
    model, ids = causal(), bases(2, 9)
    begin = torch.full((2, 1), model.alphabet.bos)
    torch.testing.assert_close(model.embed(ids), model.backbone(model.embedding(torch.cat([begin, ids], 1)))[:, 1:])
    bare = causal(begin_token=False)
    torch.testing.assert_close(bare.embed(ids), bare.backbone(bare.embedding(ids)))


@pytest.mark.parametrize("make_model", [causal, lambda: masked(symmetry="shared")])
def test_gradients_are_finite_and_reach_everything(make_model):
    model = make_model().train()
    model(bases(2, 9)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("make_model", [causal, lambda: masked(symmetry="shared", tie_weights=True)])
def test_saving_and_loading(tmp_path, make_model):
    model, ids = make_model().float(), bases(2, 9)
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path)
    assert again.sequence == model.sequence and again.config == model.config
    assert torch.equal(again(ids), model(ids))


def test_generation_goes_on_where_the_model_would():
    model = causal()
    prompts = [bases(3), bases(1), bases(5)]
    made = model.generate(prompts, 6)
    for prompt, text in zip(prompts, made, strict=True):
        ids = torch.cat([torch.tensor([model.alphabet.bos]), prompt])
        for _ in range(6):
            logits = model(ids[None])[0, -1].masked_fill(model.forbidden, -torch.inf)
            ids = torch.cat([ids, logits.argmax()[None]])
            if ids[-1] == model.alphabet.eos:
                break
        assert torch.equal(text, ids[1:])


def test_generated_sequences_hold_symbols_only():
    model = causal()
    generator = torch.Generator().manual_seed(1)
    made = model.generate(None, 40, num_sequences=5, temperature=3.0, generator=generator)
    allowed = {*model.alphabet.definite, model.alphabet.eos}
    assert len(made) == 5 and all(set(row.tolist()) <= allowed for row in made)
    assert len({tuple(row.tolist()) for row in made}) > 1
    assert model.generate(None, 4).dim() == 1
    assert torch.isfinite(model(bases(1, 3))).all()  # the restriction ends with the generation


@pytest.mark.parametrize(
    ("config", "direction", "message"),
    [
        ({"objective": "causal"}, "bidirectional", "would see what it is to predict"),
        ({"objective": "masked"}, "causal", "one side only"),
        ({"objective": "masked", "symmetry": "posthoc"}, "causal", "one side only"),
    ],
)
def test_objectives_and_directions_that_do_not_go_together(config, direction, message):
    with pytest.raises(ValueError, match=message):
        make(SequenceConfig(**config), layers(direction=direction))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symmetry": "shared"}, "use symmetry='posthoc'"),
        ({"alphabet": "protein", "symmetry": "augment"}, "second strand"),
        ({"objective": "both"}, "objective is one of causal, masked, not .both."),
        ({"mask_rate": 0}, "mask_rate=0"),
        ({"mask_random_share": 0.5}, "must not be above 1"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        SequenceConfig(**options)


def test_calls_that_make_no_sense():
    model, ids = masked(symmetry="shared"), bases(2, 5)
    with pytest.raises(ValueError, match="no state"):
        model(ids, return_state=True)
    with pytest.raises(ValueError, match="fills in"):
        model.generate(ids, 3)
    with pytest.raises(ValueError, match="exclude each other"):
        model.embed(ids[:1], lengths=[5], cu_seqlens=torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="lengths must lie between"):
        model(ids, lengths=[0, 5])
    with pytest.raises(ValueError, match="no begin token"):
        causal(begin_token=False).generate(None, 3)


def test_other_alphabets():
    for name in ("protein", "smiles", "text"):
        model = make(SequenceConfig(alphabet=name), layers())
        assert model.vocab_size == len(model.alphabet) and model.complement is None
        assert model.generate(None, 3).shape[0] <= 3


@pytest.mark.parametrize(("name", "count"), [("dna-500k", 522_368), ("dna-2m", 2_101_504), ("dna-2m-mlstm", 2_083_880)])
def test_named_sizes_have_the_published_numbers_of_parameters(name, count):
    model = SequenceModel(SequenceConfig(), named_size(name))
    assert sum(p.numel() for p in model.parameters()) == count
    assert named_size(name, direction="bidirectional").direction == "bidirectional"
    with pytest.raises(ValueError, match="dna-500k"):
        named_size("dna")
    assert set(SIZES) >= {name}


@pytest.mark.parametrize(("name", "count"), [("prot-26m", 25_918_080), ("prot-102m", 102_167_680)])
def test_sizes_of_proteins_have_the_published_numbers_of_parameters(name, count):
    with torch.device("meta"):
        model = SequenceModel(SequenceConfig(alphabet="protein"), named_size(name))
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.config.rotary_base == 500_000


def test_published_checkpoints_become_sequence_models(golden, tmp_path):
    for name in ("dna_xlstm_causal", "dna_xlstm_mlm_bidirectional_mixed", "dna_xlstm_mlm_ps_slstm_1head"):
        tensors, meta = golden(name)
        SequenceModel.from_published(meta, tensors).save_pretrained(tmp_path / name)
        model = SequenceModel.from_pretrained(tmp_path / name)
        torch.testing.assert_close(model(tensors["ids"]), tensors["logits"], rtol=1e-4, atol=1e-5)
    tensors, meta = golden("dna_xlstm_mlm_ps_slstm_4head_headflip")
    with pytest.raises(ValueError, match="breaks the symmetry"):
        SequenceModel.from_published(meta, tensors)
    model = SequenceModel.from_published({**meta, "legacy_head_flip": False}, tensors)
    ids = tensors["ids"]
    torch.testing.assert_close(turned(model, model(reverse_complement(model, ids))), model(ids), rtol=0, atol=1e-5)
