"""Saved sequence models found by folder: of a run, of a model, of a published checkpoint."""

import json

import pytest
import torch
from safetensors.torch import save_file

from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core import xLSTMConfig, xLSTMLanguageModel
from xlstm_apps.estimators.sequence_saved import load_sequence_model

BACKBONE = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2)


def test_run_folders_and_model_folders(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"task": "sequence"}))
    with pytest.raises(ValueError, match=r"no model yet; finish it with: xlstm-apps sequence train .* --resume"):
        load_sequence_model(run)
    model = SequenceModel(SequenceConfig(), BACKBONE).eval()
    model.save_pretrained(run / "model")
    for folder in (run, run / "model", str(run)):
        again = load_sequence_model(folder, "cpu")
        torch.testing.assert_close(again.score("ACGT"), model.score("ACGT"))
    (run / "run.json").write_text(json.dumps({"task": "forecast"}))
    with pytest.raises(ValueError, match=r"another task \(forecast\)"):
        load_sequence_model(run)


def test_other_models_are_no_sequence_models(tmp_path):
    xLSTMLanguageModel(BACKBONE, 12).save_pretrained(tmp_path / "lm")
    with pytest.raises(ValueError, match=r"no sequence model; its config\.json holds backbone"):
        load_sequence_model(tmp_path / "lm")
    with pytest.raises(ValueError, match=r"no config\.json in this folder"):
        load_sequence_model(tmp_path)
    with pytest.raises(ValueError, match="device 'tpu'"):
        load_sequence_model(tmp_path / "lm", "tpu")


def test_a_published_checkpoint_is_read_from_its_folder(golden, tmp_path):
    tensors, meta = golden("dna_xlstm_causal")
    weights = {key.removeprefix("sd."): value for key, value in tensors.items() if key.startswith("sd.")}
    (tmp_path / "model_config.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="found none"):
        load_sequence_model(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "checkpoints" / "loss.ckpt")
    model = load_sequence_model(tmp_path, "cpu")
    torch.testing.assert_close(model(tensors["ids"]), tensors["logits"], rtol=1e-4, atol=1e-4)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"found 2 \(checkpoints/loss\.ckpt, model\.safetensors\)"):
        load_sequence_model(tmp_path)
    (tmp_path / "checkpoints" / "loss.ckpt").unlink()
    torch.testing.assert_close(load_sequence_model(tmp_path, "cpu").score("ACGT"), model.score("ACGT"), equal_nan=True)


def test_a_published_protein_model_is_read_from_its_folder(golden, tmp_path):
    tensors, meta = golden("prot_xlstm")
    weights = {f"backbone.{key.removeprefix('sd.')}": value for key, value in tensors.items() if key.startswith("sd.")}
    (tmp_path / "config.json").write_text(json.dumps(meta["config"]))
    torch.save(weights, tmp_path / "pytorch_model.bin")
    model = load_sequence_model(tmp_path, "cpu")
    logits = model(tensors["ids"], positions=tensors["position_ids"])
    torch.testing.assert_close(logits, tensors["logits"], rtol=1e-4, atol=1e-4)


def test_a_pickle_of_anything_but_weights_is_refused(golden, tmp_path):
    _, meta = golden("dna_xlstm_causal")
    (tmp_path / "model_config.json").write_text(json.dumps(meta))
    torch.save({"state_dict": print}, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="not a file of plain weights"):
        load_sequence_model(tmp_path)
