"""xLSTMState: saved, moved, picked apart and put together."""

import pytest
import torch
from safetensors.torch import save_file
from stacks import STACKS, make

from xlstm_apps.core import xLSTMState


def tensors(state):
    return [t for block in state.blocks for t in (*block.cell, block.conv) if t is not None]


@pytest.fixture(params=STACKS)
def backbone(request):
    return make(request.param)


def test_file_round_trip_is_exact(backbone, tmp_path):
    _, state = backbone(torch.randn(3, 5, 24).double(), return_state=True)
    state.save(tmp_path / "state.safetensors")
    loaded = xLSTMState.load(tmp_path / "state.safetensors")
    assert [type(block.cell) for block in loaded.blocks] == [type(block.cell) for block in state.blocks]
    for ours, theirs in zip(tensors(loaded), tensors(state), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    x = torch.randn(3, 4, 24).double()
    assert torch.equal(backbone(x, loaded), backbone(x, state))
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_rows_can_be_picked_repeated_and_joined(backbone):
    x, y = torch.randn(3, 5, 24).double(), torch.randn(3, 24).double()
    _, state = backbone(x, return_state=True)
    expected, _ = backbone.step(y, state)
    torch.testing.assert_close(backbone.step(y[[2, 0, 2]], state.select([2, 0, 2]))[0], expected[[2, 0, 2]])
    mask = torch.tensor([True, False, True])
    joined = xLSTMState.concat([state.select(~mask), state.select(mask)])
    torch.testing.assert_close(backbone.step(y[[1, 0, 2]], joined)[0], expected[[1, 0, 2]])
    assert joined.batch_size == 3


def test_detach_clone_and_to(backbone):
    _, state = backbone(torch.randn(1, 3, 24).double(), return_state=True)
    assert any(t.requires_grad for t in tensors(state))
    assert not any(t.requires_grad for t in tensors(state.detach()))
    for copy, own in zip(tensors(state.detach().clone()), tensors(state), strict=True):
        assert copy.numel() == 0 or copy.data_ptr() != own.data_ptr()
    assert {t.dtype for t in tensors(state.to(torch.float32))} == {torch.float32}


def test_a_state_does_not_keep_the_sequence_alive():
    backbone = make("mixed")
    _, state = backbone(torch.randn(1, 500, 24).double(), return_state=True)
    held = sum(t.untyped_storage().nbytes() - t.numel() * t.element_size() for t in tensors(state.detach()))
    assert held < 500 * 8  # less than one number for each step


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing: no such file"):
        xLSTMState.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("no tensors here")
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights")
    for name in ("text", "weights"):
        with pytest.raises(ValueError, match=f"{name}: not a state written by xLSTMState.save"):
            xLSTMState.load(tmp_path / name)
