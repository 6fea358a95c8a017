"""The backbone's promises: segments, steps, packing, directions, gradients, errors."""

import itertools

import pytest
import torch
from stacks import STACKS, make

from xlstm_apps.core import xLSTMBackbone, xLSTMConfig, xLSTMState
from xlstm_apps.core.rotary import rotation_at

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def rotations(backbone, x):
    """Rotations of the steps forwards and backwards, as arguments of blocks."""
    config = backbone.config
    if config.rotary_base is None:
        return {}, {}
    rotation = rotation_at(torch.arange(x.shape[1]).expand(x.shape[:2]), config.inner_dim, config.rotary_base, x.dtype)
    return {"rotation": rotation}, {"rotation": rotation.flip()}


@pytest.mark.parametrize("T", [1, 2, 13])
@pytest.mark.parametrize("name", STACKS)
def test_step_by_step_equals_one_pass(name, T):
    backbone, x = make(name), torch.randn(2, T, 24).double()
    y, last = backbone(x, return_state=True)
    torch.testing.assert_close(backbone(x), y)
    state, steps = None, []
    for t in range(T):
        y_t, state = backbone.step(x[:, t], state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps, 1), y, **CLOSE)
    after = torch.randn(2, 24).double()
    torch.testing.assert_close(backbone.step(after, state)[0], backbone.step(after, last)[0], **CLOSE)


@pytest.mark.parametrize("borders", [(1, 3, 8), (12,), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", STACKS)
def test_any_segmentation_equals_one_pass_in_values_and_gradients(name, borders):
    backbone, x = make(name), torch.randn(2, 13, 24).double().requires_grad_()
    weight = torch.randn(2, 13, 24).double()

    def run(borders):
        state, parts = None, []
        for start, stop in itertools.pairwise((0, *borders, 13)):
            y, state = backbone(x[:, start:stop], state, return_state=True)
            parts.append(y)
        y = torch.cat(parts, 1)
        return y, torch.autograd.grad((y * weight).sum(), [x, *backbone.parameters()])

    (whole, whole_grads), (parts, parts_grads) = run(()), run(borders)
    torch.testing.assert_close(parts, whole, **CLOSE)
    torch.testing.assert_close(parts_grads, whole_grads, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", STACKS)
def test_initial_state_is_no_state(name):
    backbone, x = make(name), torch.randn(2, 5, 24).double()
    state = backbone.initial_state(2)
    torch.testing.assert_close(backbone(x, state), backbone(x), **CLOSE)
    _, last = backbone(x, return_state=True)
    shapes = [[None if t is None else t.shape for t in (*block.cell, block.conv)] for block in state.blocks]
    assert shapes == [[None if t is None else t.shape for t in (*block.cell, block.conv)] for block in last.blocks]


@pytest.mark.parametrize("direction", ["causal", "bidirectional", "alternating"])
@pytest.mark.parametrize("name", STACKS)
def test_packed_documents_equal_separate_ones(name, direction):
    backbone, x = make(name, direction=direction), torch.randn(1, 13, 24).double().requires_grad_()
    borders, weight = [0, 1, 3, 13], torch.randn(1, 13, 24).double()
    packed = backbone(x, cu_seqlens=torch.tensor(borders, dtype=torch.int32))
    alone = torch.cat([backbone(x[:, a:b]) for a, b in itertools.pairwise(borders)], 1)
    torch.testing.assert_close(packed, alone, **CLOSE)
    parameters = [x, *backbone.parameters()]
    grads = [torch.autograd.grad((y * weight).sum(), parameters) for y in (packed, alone)]
    torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", STACKS)
def test_packed_state_has_a_row_for_each_document(name):
    backbone, x = make(name), torch.randn(1, 13, 24).double()
    borders, after = [0, 1, 3, 13], torch.randn(3, 24).double()
    _, packed = backbone(x, cu_seqlens=torch.tensor(borders), return_state=True)
    alone = [backbone(x[:, a:b], return_state=True)[1] for a, b in itertools.pairwise(borders)]
    expected, _ = backbone.step(after, xLSTMState.concat(alone))
    torch.testing.assert_close(backbone.step(after, packed)[0], expected, **CLOSE)


@pytest.mark.parametrize("name", STACKS)
def test_bidirectional_adds_both_readings_of_every_block(name):
    backbone, x = make(name, direction="bidirectional"), torch.randn(2, 7, 24).double()
    (ahead, back), y = rotations(backbone, x), x
    for block in backbone.blocks:
        y = block(y, **ahead)[0] + block(y.flip(1), **back)[0].flip(1)
    torch.testing.assert_close(backbone(x), backbone.final_norm(y))
    assert torch.autograd.functional.jacobian(lambda x: backbone(x)[0, 0], x)[:, 0, -1].abs().max() > 0


@pytest.mark.parametrize("name", STACKS)
def test_alternating_reads_even_blocks_backwards(name):
    backbone, x = make(name, direction="alternating", num_blocks=3), torch.randn(2, 7, 24).double()
    ahead, back = rotations(backbone, x)
    y = backbone.blocks[0](x.flip(1), **back)[0].flip(1)
    y = backbone.blocks[1](y, **ahead)[0]
    y = backbone.blocks[2](y.flip(1), **back)[0].flip(1)
    torch.testing.assert_close(backbone(x), backbone.final_norm(y))


@pytest.mark.parametrize("name", STACKS)
def test_causal_outputs_do_not_see_the_future(name):
    backbone, x = make(name), torch.randn(1, 9, 24).double()
    changed = x.clone()
    changed[:, 5:] += torch.randn(1, 4, 24)
    difference = (backbone(changed) - backbone(x)).abs().amax(-1)[0]
    assert difference[:5].max() < 1e-12
    assert difference[5:].min() > 1e-6


@pytest.mark.parametrize("name", STACKS)
def test_no_parameter_is_dead_at_initialisation(name):
    config = make(name).config
    backbone = xLSTMBackbone(config)
    (backbone(torch.randn(2, 6, 24)) * torch.randn(2, 6, 24)).sum().backward()
    dead = [key for key, p in backbone.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert dead == []


def test_dropout_only_while_training():
    backbone, x = make("mixed", dropout=0.5), torch.randn(1, 5, 24).double()
    assert not torch.equal(backbone(x), backbone(x))
    backbone.eval()
    assert torch.equal(backbone(x), backbone(x))


def test_initial_values_of_the_papers():
    backbone = xLSTMBackbone(xLSTMConfig(embedding_dim=256, num_blocks=2, slstm_at=(1,)))
    mlstm, slstm = backbone.blocks[0].mixer, backbone.blocks[1].mixer
    torch.testing.assert_close(mlstm.gates.bias[4:], torch.linspace(3, 6, 4))
    assert mlstm.proj_up.weight.std().item() == pytest.approx((2 / (5 * 256)) ** 0.5, rel=0.02)
    assert mlstm.proj_down.weight.std().item() == pytest.approx(2 / 2 / 256**0.5, rel=0.02)
    assert slstm.recurrent.abs().max() == 0
    assert (slstm.bias[1, 0, 0].item(), slstm.bias[1, 3, -1].item()) == (5.0, -7.0)
    large = xLSTMBackbone(xLSTMConfig(family="xlstm-large", num_blocks=1)).blocks[0].mixer
    assert large.gates.bias.tolist() == [-10.0] * 4 + [3.0, 4.0, 5.0, 6.0]


def test_bfloat16_and_autocast_stay_close():
    backbone = xLSTMBackbone(xLSTMConfig(embedding_dim=32, num_blocks=2, slstm_at=(1,)))
    x = torch.randn(2, 9, 32)
    y = backbone(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, state = backbone(x, return_state=True)
    assert state.blocks[0].cell.c.dtype == state.blocks[1].cell.h.dtype == torch.float32
    torch.testing.assert_close(mixed, y, rtol=0.1, atol=0.1)
    low = backbone.bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), y, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("direction", ["bidirectional", "alternating"])
def test_only_causal_backbones_have_a_state(direction):
    backbone, x = make("mixed", direction=direction), torch.randn(1, 4, 24).double()
    for call in (
        lambda: backbone(x, return_state=True),
        lambda: backbone.step(x[:, 0]),
        lambda: backbone.initial_state(1),
    ):
        with pytest.raises(ValueError, match="reads backwards too, so it has no state"):
            call()


def test_wrong_shapes_and_states_are_explained():
    backbone, x = make("mixed"), torch.randn(2, 4, 24).double()
    _, state = backbone(x, return_state=True)
    for call, message in (
        (lambda: backbone(x[..., :5]), r"expected x of shape \[batch, time >= 1, 24\], got \[2, 4, 5\]"),
        (lambda: backbone(x[:, :0]), "time >= 1"),
        (lambda: backbone.step(x), "step takes one time step"),
        (lambda: backbone(x[:1], state), "the state has 2 rows, x has 1"),
        (lambda: make("mixed", num_blocks=3)(x, state), "the state has 2 blocks, the backbone 3"),
        (lambda: make("slstm")(x, state), "another backbone: MLSTMState where RNNState"),
        (lambda: make("mixed", embedding_dim=36, num_heads=3)(x.repeat(1, 1, 2)[..., :36], state), "another backbone"),
        (lambda: backbone(x, cu_seqlens=torch.tensor([0, 4])), "into one row"),
        (lambda: backbone(x[:1], state.select([0]), cu_seqlens=torch.tensor([0, 4])), "beginning without a state"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("direction", ["causal", "bidirectional", "alternating"])
def test_until_gives_the_residual_stream_behind_any_block(direction):
    backbone, x = make("mixed", direction=direction), torch.randn(2, 7, 24).double()
    assert torch.equal(backbone(x, until=0), x)
    first = make("mixed", direction=direction, num_blocks=1, slstm_at=(), final_norm=False)
    first.blocks.load_state_dict(backbone.blocks[:1].state_dict())
    torch.testing.assert_close(backbone(x, until=1), first(x))
    torch.testing.assert_close(backbone.final_norm(backbone(x, until=2)), backbone(x))
    with pytest.raises(ValueError, match="0 to 2"):
        backbone(x, until=3)
