"""save_pretrained and from_pretrained."""

import json
import pickle

import pytest
import torch

from xlstm_apps.core import xLSTMConfig, xLSTMLanguageModel

CONFIG = xLSTMConfig(embedding_dim=16, num_blocks=2, num_heads=2, slstm_at=(1,), proj_round_to=8, norm_eps=1e-4)


@pytest.fixture
def folder(tmp_path):
    xLSTMLanguageModel(CONFIG, vocab_size=7).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", [{}, {"tie_weights": True, "eos_id": [1, 2], "logit_soft_cap": 5.0}])
def test_round_trip(tmp_path, options):
    model = xLSTMLanguageModel(CONFIG, 7, **options).eval()
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = xLSTMLanguageModel.from_pretrained(tmp_path)
    ids = torch.randint(7, (2, 5))
    assert torch.equal(loaded(ids), model(ids))
    assert loaded.config == CONFIG
    assert loaded.eos_id == model.eos_id
    assert (loaded.head.weight is loaded.embedding.weight) == bool(options)
    assert not loaded.training
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "config.json").read_text()


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c["backbone"].update(num_haeds=2), "unknown option 'backbone.num_haeds'; did you mean 'num_heads'"),
        (lambda c: c.update(vocabulary_size=2), "unknown option 'vocabulary_size'; did you mean 'vocab_size'"),
        (lambda c: c.pop("vocab_size"), "vocab_size"),
        (lambda c: c.update(vocab_size=8), "size mismatch for embedding.weight"),
        (lambda c: c["backbone"].update(num_blocks=3), "Missing key.*blocks.2"),
        (lambda c: c["backbone"].update(num_heads=0), "num_heads=0 must be a whole number"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_line(folder, change, message):
    edit(folder, change)
    with pytest.raises(ValueError, match=message) as error:
        xLSTMLanguageModel.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_broken_and_missing_files(folder, tmp_path):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot build a xLSTMLanguageModel"):
        xLSTMLanguageModel.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not valid JSON"):
        xLSTMLanguageModel.from_pretrained(folder)
    with pytest.raises(ValueError, match="no such folder"):
        xLSTMLanguageModel.from_pretrained(tmp_path / "elsewhere")


def test_pickles_are_never_loaded(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"no model.safetensors in this folder.*pickled weights are not loaded"):
        xLSTMLanguageModel.from_pretrained(folder)
